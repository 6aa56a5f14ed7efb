//! How long what is left may take, from what this upgrade's own machines took.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

/// How long the machines that are left may take, one after the other as those before came.
#[derive(Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TimeLeft {
    /// If each takes as long as the quick ones did, in seconds.
    pub at_least_seconds: i64,
    /// If each takes as long as the slow ones did, in seconds.
    pub at_most_seconds: i64,
    /// How many machines of this upgrade were measured.
    pub samples: u32,
}

/// A machine that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub created: Timestamp,
    pub ready: Timestamp,
}

/// How long `left` machines may take. `None` where none has arrived, or none is left.
///
/// A sample is the time from one arrival to the next, so machines that come at the same time share theirs. Where the next
/// one was created only after the last had arrived, as when a window was closed between, it is that machine's own time.
pub(crate) fn time_left(mut arrivals: Vec<Arrival>, left: u32) -> Option<TimeLeft> {
    if left == 0 || arrivals.is_empty() {
        return None;
    }
    arrivals.sort_by_key(|arrival| arrival.ready);
    let mut last: Option<Timestamp> = None;
    let mut samples: Vec<SignedDuration> = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        let from = last.map_or(arrival.created, |last| last.max(arrival.created));
        samples.push(arrival.ready.duration_since(from).max(SignedDuration::ZERO));
        last = Some(arrival.ready);
    }
    samples.sort();
    // The quarters at both ends are left out once there are enough: one machine that hung says nothing of the others.
    let cut = samples.len() / 4;
    let seconds = |at: usize| samples.get(at).map_or(0, SignedDuration::as_secs);
    Some(TimeLeft {
        at_least_seconds: seconds(cut).saturating_mul(i64::from(left)),
        at_most_seconds: seconds(samples.len() - 1 - cut).saturating_mul(i64::from(left)),
        samples: u32::try_from(samples.len()).unwrap_or(u32::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(times: &[(i64, i64)]) -> Vec<Arrival> {
        let at = |second| Timestamp::from_second(second).unwrap();
        let times = times.iter().map(|&(created, ready)| Arrival {
            created: at(created),
            ready: at(ready),
        });
        times.collect()
    }

    #[test]
    fn it_is_measured_in_arrivals() {
        for (times, left, expected) in [
            // Nothing is there, or nothing is left.
            (&[][..], 3, None),
            (&[(0, 100)], 0, None),
            // One machine after the other.
            (&[(0, 100)], 2, Some((200, 200, 1))),
            (&[(0, 100), (100, 250)], 2, Some((200, 300, 2))),
            // Three at a time: each counts for a third.
            (&[(0, 90), (0, 90), (0, 90)], 1, Some((0, 90, 3))),
            // An hour in which nothing moved is nobody's time.
            (&[(0, 100), (3700, 3800)], 1, Some((100, 100, 2))),
            // One that hung is left out once there are four.
            (&[(0, 10), (10, 20), (20, 30), (30, 900)], 10, Some((100, 100, 4))),
            // Clocks that differ.
            (&[(100, 90)], 1, Some((0, 0, 1))),
        ] {
            let expected = expected.map(|(at_least_seconds, at_most_seconds, samples)| TimeLeft {
                at_least_seconds,
                at_most_seconds,
                samples,
            });
            assert_eq!(time_left(arrivals(times), left), expected, "{times:?} and {left} left");
        }
    }
}
