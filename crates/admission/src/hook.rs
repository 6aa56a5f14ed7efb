//! Runtime Hooks: whether a step of a topology Cluster may begin, from the Cluster that Cluster API sends alone. What the
//! controller found stands in an annotation of it; while there is none, what is Instar's waits.

use instar_api::{ApprovedPart, HookAnswer, HookVerdict};
use instar_domain::KubeVersion;
use jiff::Timestamp;

/// A hook that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Asked each time before the control plane gets a version.
    BeforeControlPlaneUpgrade,
    /// Asked before workers get the version that the control plane has.
    BeforeWorkersUpgrade,
}

impl Hook {
    pub const ALL: [Self; 2] = [Self::BeforeControlPlaneUpgrade, Self::BeforeWorkersUpgrade];

    /// The name in Cluster API's catalog of hooks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeControlPlaneUpgrade => "BeforeControlPlaneUpgrade",
            Self::BeforeWorkersUpgrade => "BeforeWorkersUpgrade",
        }
    }

    /// The name of the handler, which is a DNS label.
    #[must_use]
    pub const fn handler(self) -> &'static str {
        match self {
            Self::BeforeControlPlaneUpgrade => "before-control-plane-upgrade",
            Self::BeforeWorkersUpgrade => "before-workers-upgrade",
        }
    }

    /// What goes if it is let.
    #[must_use]
    pub const fn part(self) -> ApprovedPart {
        match self {
            Self::BeforeControlPlaneUpgrade => ApprovedPart::ControlPlane,
            Self::BeforeWorkersUpgrade => ApprovedPart::Workers,
        }
    }
}

/// What a hook needs of the Cluster.
#[derive(Clone, Copy, Debug)]
pub struct HookedCluster<'a> {
    /// `spec.topology.version`; absent where it has no topology.
    pub version: Option<&'a str>,
    pub upgraded_by: UpgradedBy,
    pub machine_pools: MachinePools,
    /// The annotation [`instar_api::HOOK_ANSWER_ANNOTATION`], if it has one.
    pub answer: Option<&'a str>,
}

/// Whose an upgrade of a Cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradedBy {
    /// Admission has pinned what it goes through, or a ClusterUpgrade edited its version: the controller has a record of it.
    Instar,
    /// Instar has written nothing into it.
    Others,
}

/// Whether a topology has workers that nothing but a hook holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachinePools {
    Some,
    None,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookDecision {
    /// The step may begin.
    Go,
    /// It may not yet.
    Hold {
        /// What it waits for: it stands in the Cluster's conditions.
        message: String,
        /// When Cluster API asks again, in seconds.
        retry_after: u32,
    },
}

/// How soon a hook is asked again that has an answer of the controller's. Each time costs Cluster API a reconcile.
const HELD: u32 = 20;

/// The same where the controller has yet to answer, which takes it a moment.
const UNANSWERED: u32 = 5;

/// Answers a hook at a point in time. `step` is the version that its part goes to.
#[must_use]
pub fn decide(hook: Hook, step: &str, cluster: &HookedCluster<'_>, now: Timestamp) -> HookDecision {
    let is_ours = cluster.upgraded_by == UpgradedBy::Instar || cluster.answer.is_some();
    let is_held_otherwise = hook == Hook::BeforeWorkersUpgrade && cluster.machine_pools == MachinePools::None;
    let Some(version) = cluster.version.filter(|_| is_ours && !is_held_otherwise) else {
        return HookDecision::Go;
    };
    match cluster.answer.and_then(HookAnswer::from_annotation) {
        Some(answer) if counts(&answer, hook, step, version) => match &answer.verdict {
            HookVerdict::Go { until: Some(until) } if *until <= now => HookDecision::Hold {
                message: format!(
                    "{} might go to {step} until {until}, when the maintenance window closed, and Instar's controller has \
                     not looked since: if this stays, see whether the controller runs",
                    hook.part().as_words()
                ),
                retry_after: HELD,
            },
            HookVerdict::Go { .. } => HookDecision::Go,
            verdict @ HookVerdict::Hold { .. } => HookDecision::Hold {
                message: verdict.hold_message().unwrap_or_default(),
                retry_after: HELD,
            },
        },
        Some(_) | None => HookDecision::Hold {
            message: format!(
                "Instar's controller has yet to say whether {} may go to {step}: if this stays, see whether the controller \
                 runs, and what the ClusterUpgrades of the Cluster say",
                hook.part().as_words()
            ),
            retry_after: UNANSWERED,
        },
    }
}

/// Whether an answer is to this very question.
fn counts(answer: &HookAnswer, hook: Hook, step: &str, version: &str) -> bool {
    let is = |text: &str, wanted: &KubeVersion| text.parse().as_ref() == Ok(wanted);
    answer.part == hook.part() && is(step, &answer.step) && is(version, &answer.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO: &str = r#"{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3","answer":"Go"}"#;
    const GO_UNTIL: &str =
        r#"{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3","answer":"Go","until":"2026-11-20T11:00:00Z"}"#;
    const HOLD: &str = r#"{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3","answer":"Hold","reason":"the window is closed"}"#;
    const WORKERS: &str = r#"{"target":"v1.35.4","part":"Workers","step":"v1.34.3","answer":"Go"}"#;

    fn cluster(answer: Option<&str>) -> HookedCluster<'_> {
        HookedCluster {
            version: Some("v1.35.4"),
            upgraded_by: UpgradedBy::Instar,
            machine_pools: MachinePools::Some,
            answer,
        }
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-11-20T{time}Z").parse().unwrap()
    }

    fn said(decision: &HookDecision) -> String {
        match decision {
            HookDecision::Go => "go".to_owned(),
            HookDecision::Hold { message, retry_after } => format!("{retry_after}: {message}"),
        }
    }

    #[test]
    fn only_the_answer_to_the_very_step_counts() {
        let (control_plane, workers) = (Hook::BeforeControlPlaneUpgrade, Hook::BeforeWorkersUpgrade);
        let waits = "5: Instar's controller has yet to say whether ";
        for (hook, step, answer, expected) in [
            (control_plane, "v1.34.3", Some(GO), "go"),
            (control_plane, "v1.34.3", Some(HOLD), "20: the window is closed"),
            (workers, "v1.34.3", Some(WORKERS), "go"),
            // Of another step, part or target, unreadable, or not there.
            (control_plane, "v1.35.4", Some(GO), waits),
            (control_plane, "v1.34.3", Some(WORKERS), waits),
            (workers, "v1.34.3", Some(GO), waits),
            (control_plane, "v1.34.3", Some("Go"), waits),
            (control_plane, "v1.34.3", Some(""), waits),
            (control_plane, "v1.34.3", None, waits),
            (workers, "v1.34.3", None, waits),
            (control_plane, "not a version", Some(GO), waits),
        ] {
            let found = said(&decide(hook, step, &cluster(answer), at("12:00:00")));
            assert!(found.starts_with(expected), "{hook:?} {step} {answer:?}: {found}");
        }
        let other = HookedCluster {
            version: Some("v1.36.1"),
            ..cluster(Some(GO))
        };
        assert!(said(&decide(control_plane, "v1.34.3", &other, at("12:00:00"))).starts_with(waits));
    }

    #[test]
    fn what_was_let_go_in_a_window_ends_with_it() {
        let hook = Hook::BeforeControlPlaneUpgrade;
        for (time, expected) in [
            ("10:59:59", "go"),
            (
                "11:00:00",
                "20: the control plane might go to v1.34.3 until 2026-11-20T11:00:00Z",
            ),
            ("23:00:00", "20: the control plane might"),
        ] {
            let found = said(&decide(hook, "v1.34.3", &cluster(Some(GO_UNTIL)), at(time)));
            assert!(found.starts_with(expected), "{time}: {found}");
            let found = said(&decide(hook, "v1.34.3", &cluster(Some(GO)), at(time)));
            assert_eq!(found, "go");
        }
    }

    #[test]
    fn what_is_not_instars_goes_on() {
        for hook in Hook::ALL {
            for answer in [None, Some(GO), Some(HOLD)] {
                let without_topology = HookedCluster {
                    version: None,
                    ..cluster(answer)
                };
                assert_eq!(
                    decide(hook, "v1.34.3", &without_topology, at("12:00:00")),
                    HookDecision::Go
                );
            }
            let others = HookedCluster {
                upgraded_by: UpgradedBy::Others,
                ..cluster(None)
            };
            assert_eq!(decide(hook, "v1.34.3", &others, at("12:00:00")), HookDecision::Go);
        }
        // A backup may have the answer and not the pins: what was held stays so.
        let left = HookedCluster {
            upgraded_by: UpgradedBy::Others,
            ..cluster(Some(HOLD))
        };
        assert_ne!(
            decide(Hook::BeforeControlPlaneUpgrade, "v1.34.3", &left, at("12:00:00")),
            HookDecision::Go
        );
    }

    #[test]
    fn pools_that_are_held_one_by_one_need_no_hook() {
        for answer in [None, Some(GO), Some("garbled")] {
            let cluster = HookedCluster {
                machine_pools: MachinePools::None,
                ..cluster(answer)
            };
            assert_eq!(
                decide(Hook::BeforeWorkersUpgrade, "v1.34.3", &cluster, at("12:00:00")),
                HookDecision::Go
            );
        }
    }

    #[test]
    fn handlers_are_dns_labels() {
        for hook in Hook::ALL {
            let handler = hook.handler();
            assert!(handler.len() <= 63 && handler.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            assert_eq!(handler.replace('-', ""), hook.name().to_lowercase());
        }
    }
}
