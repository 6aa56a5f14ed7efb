//! What a verdict means once time has passed: `settle` and `timeout`.

use instar_api::OnTimeout;
use jiff::{SignedDuration, Timestamp};

use crate::verdict::{Gate, Verdict};

/// Since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The upgrade came to it: what was written for it was seen there, or it was first observed.
    pub begun: Timestamp,
    /// Each look has found it ready; absent where the last one hadn't.
    pub ready: Option<Timestamp>,
}

/// Whether the upgrade goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It does.
    Open,
    /// It doesn't yet.
    Closed {
        /// Why.
        message: String,
        /// When time alone may change it.
        until: Option<Timestamp>,
    },
    /// It is ready, and goes on if it stays so.
    Settling {
        /// Why it doesn't go on yet.
        message: String,
        /// Until when it has to stay so.
        until: Timestamp,
    },
    /// It doesn't, and has taken longer than its timeout.
    TimedOut {
        /// Why.
        message: String,
    },
    /// The same, and the upgrade ends for it.
    Failed {
        /// Why.
        message: String,
    },
}

impl Gate {
    /// What a verdict means at a time. A failure closes it, since it may be mended; only a timeout ends an upgrade, and
    /// only where the objects were seen.
    #[must_use]
    pub fn over_time(&self, verdict: &Verdict, since: Since, now: Timestamp) -> Outcome {
        let text = match verdict {
            Verdict::Ready => return self.settled(since, now),
            Verdict::NotApplicable => return Outcome::Open,
            Verdict::InProgress(text) | Verdict::Failed(text) | Verdict::Unknown(text) => text,
        };
        let Some(timeout) = self.timeout else {
            return Outcome::Closed {
                message: text.clone(),
                until: None,
            };
        };
        let deadline = after(since.begun, timeout);
        if now < deadline {
            return Outcome::Closed {
                message: text.clone(),
                until: Some(deadline),
            };
        }
        let message = format!("{text}; that takes longer than {timeout:#}");
        match (self.on_timeout, verdict) {
            (OnTimeout::Fail, Verdict::InProgress(_) | Verdict::Failed(_)) => Outcome::Failed { message },
            (OnTimeout::Hold, _) | (OnTimeout::Fail, Verdict::Unknown(_) | Verdict::Ready | Verdict::NotApplicable) => {
                Outcome::TimedOut { message }
            }
        }
    }

    /// Ready counts from when it began at the earliest: before, an old status may have been seen.
    fn settled(&self, since: Since, now: Timestamp) -> Outcome {
        let from = since.ready.unwrap_or(now).max(since.begun);
        let until = after(from, self.settle);
        if now >= until {
            return Outcome::Open;
        }
        Outcome::Settling {
            message: format!("ready, and has to stay so until {until:.0}"),
            until,
        }
    }
}

/// The end of time where there is nothing later.
fn after(from: Timestamp, duration: SignedDuration) -> Timestamp {
    from.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gate(timeout: &str, on_timeout: &str) -> Gate {
        let gate = json!({
            "name": "cni",
            "when": "AfterControlPlane",
            "observe": { "cluster": "Workload", "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "cni" },
            "readyWhen": "status.ready",
            "settle": "1m",
            "timeout": timeout,
            "onTimeout": on_timeout,
        });
        Gate::read(&serde_json::from_value(gate).unwrap()).unwrap()
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    #[test]
    fn ready_has_to_last_from_the_write_on() {
        let gate = gate("10m", "Fail");
        let since = |ready| Since {
            begun: at(5),
            ready: Some(at(ready)),
        };
        // It was ready before the write, by the status of the old version.
        for (ready, now, opens) in [(0, 5, 6), (0, 6, 0), (5, 5, 6), (7, 7, 8), (7, 8, 0)] {
            let outcome = gate.over_time(&Verdict::Ready, since(ready), at(now));
            let expected = if opens == 0 {
                Outcome::Open
            } else {
                Outcome::Settling {
                    message: format!("ready, and has to stay so until {}", at(opens)),
                    until: at(opens),
                }
            };
            assert_eq!(outcome, expected, "{ready}, {now}");
        }
        let first = Since {
            begun: at(0),
            ready: None,
        };
        assert!(matches!(
            gate.over_time(&Verdict::Ready, first, at(99)),
            Outcome::Settling { until, .. } if until == at(100)
        ));
    }

    #[test]
    fn a_timeout_ends_only_what_was_seen() {
        let since = Since {
            begun: at(0),
            ready: None,
        };
        let failed = Verdict::Failed("DaemonSet cni: failed".to_owned());
        let unknown = Verdict::Unknown("403".to_owned());
        let closed = |message: &str, until: Option<i64>| Outcome::Closed {
            message: message.to_owned(),
            until: until.map(at),
        };
        let (fail, hold) = (gate("10m", "Fail"), gate("10m", "Hold"));
        let early = closed("DaemonSet cni: failed", Some(10));
        assert_eq!(fail.over_time(&failed, since, at(9)), early);
        let message = "DaemonSet cni: failed; that takes longer than 10m";
        assert_eq!(
            fail.over_time(&failed, since, at(10)),
            Outcome::Failed {
                message: message.to_owned()
            }
        );
        let timed_out = |message: &str| Outcome::TimedOut {
            message: message.to_owned(),
        };
        assert_eq!(hold.over_time(&failed, since, at(10)), timed_out(message));
        assert_eq!(
            fail.over_time(&unknown, since, at(10)),
            timed_out("403; that takes longer than 10m")
        );
    }
}
