//! Rounds of load: there and back again, so that what drifts hits all alike.

use std::time::Duration;

use anyhow::{Context, Result};
use instar_benches::process;
use rustls::RootCertStore;

use crate::{
    bodies::Body,
    client::{Amount, Client, Protocol},
    server::Server,
};

/// How long, and how often.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
}

/// The servers take turns within a round: what slows a machine down for seconds then hits all alike. It is
/// long enough for the handshakes at its begin to be less than a hundredth.
const TURN: Duration = Duration::from_millis(500);

/// One round of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Microseconds of CPU time of the server for one request.
    pub(crate) cpu: f64,
    pub(crate) per_second: f64,
}

/// The middle one of some figures, with the lowest and the highest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (lower, upper) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
        let middle = f64::midpoint(*figures.get(lower)?, *figures.get(upper)?);
        Some(Self {
            median: middle,
            lowest: *figures.first()?,
            highest: *figures.last()?,
        })
    }
}

/// The rounds of each server. A failure voids all of them.
pub(crate) async fn run(
    servers: &[&Server],
    protocol: Protocol,
    roots: &RootCertStore,
    body: &Body,
    plan: Plan,
) -> Result<Vec<Vec<Round>>> {
    let mut clients = Vec::new();
    for server in servers {
        let client = Client::new(server.address, protocol, roots, body)?;
        client
            .load(Amount::Time(Duration::from_millis(300)))
            .await
            .context("warming up")?;
        clients.push(client);
    }
    let turns = u32::try_from(plan.time.as_millis().div_ceil(TURN.as_millis()).max(1))?;
    let mut order: Vec<usize> = (0..servers.len()).collect();
    let mut rounds = vec![Vec::new(); servers.len()];
    for _ in 0..plan.rounds {
        let mut sums = vec![Sum::default(); servers.len()];
        for _ in 0..turns {
            for place in &order {
                let (Some(server), Some(client), Some(sum)) =
                    (servers.get(*place), clients.get(*place), sums.get_mut(*place))
                else {
                    continue;
                };
                let before = process::cpu(server.pid())?;
                let load = client.load(Amount::Time(plan.time / turns)).await;
                let load = load.context("the round is void")?;
                sum.used += process::cpu(server.pid())?.saturating_sub(before);
                sum.requests += load.requests;
                sum.took += load.took;
            }
            order.reverse();
        }
        for (rounds, sum) in rounds.iter_mut().zip(sums) {
            rounds.push(sum.round());
        }
    }
    Ok(rounds)
}

/// The turns of one server in one round.
#[derive(Clone, Copy, Default)]
struct Sum {
    used: Duration,
    requests: u64,
    took: Duration,
}

impl Sum {
    fn round(self) -> Round {
        Round {
            cpu: self.used.as_secs_f64() * 1e6 / self.requests as f64,
            per_second: self.requests as f64 / self.took.as_secs_f64(),
        }
    }
}

/// The ratios of the CPU times of rounds that were neighbours.
pub(crate) fn ratio(ours: &[Round], theirs: &[Round]) -> Option<Spread> {
    Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| theirs.cpu / ours.cpu))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_middle_of_some_figures() {
        for (figures, expected) in [
            (vec![3.0, 1.0, 2.0], (2.0, 1.0, 3.0)),
            (vec![4.0, 1.0, 2.0, 3.0], (2.5, 1.0, 4.0)),
            (vec![7.0], (7.0, 7.0, 7.0)),
        ] {
            let Spread {
                median,
                lowest,
                highest,
            } = Spread::of(figures).unwrap();
            assert_eq!(format!("{:?}", (median, lowest, highest)), format!("{expected:?}"));
        }
        assert!(Spread::of([]).is_none());
    }
}
