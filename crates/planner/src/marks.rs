//! What Instar's marks hold in objects of Cluster API's, and the patch that takes them off an object where Instar is removed:
//! then nothing lets go any more what they hold. Records of what was done stay; they hold nothing.

use std::collections::BTreeMap;

use instar_api::{CONCURRENCY_ANNOTATION, HELD_ANNOTATION, HOOK_ANSWER_ANNOTATION, LandingMark};
use instar_capi::labels::{PAUSED, UNSAFE_VERSION, UPGRADE_CONCURRENCY};
use serde_json::{Map, Value, json};

use crate::{pause::PausedBy, snapshot::RaisedConcurrency};

/// A kind that may have marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkedKind {
    Cluster(HookAnswers),
    MachineDeployment,
    MachinePool,
    /// What makes the machines of a MachinePool.
    InfrastructurePool,
}

/// What becomes of the answers to Runtime Hooks: without one the server answers that a Cluster waits, so they stay for as long
/// as Cluster API asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookAnswers {
    TakenOff,
    Left,
}

/// A mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldMark {
    /// `spec.paused` of a MachineDeployment.
    Held,
    /// The annotation by which Cluster API pauses an object.
    Paused,
    /// A number of pools that was raised.
    Concurrency,
    /// What the Runtime Hooks answer.
    HookAnswer,
    /// Cluster API's check of version edits, switched off for one edit.
    VersionCheck,
}

impl HoldMark {
    /// What becomes of the object when the mark is taken off.
    #[must_use]
    pub const fn as_words(self) -> &'static str {
        match self {
            Self::Held => "spec.paused and the mark of its hold",
            Self::Paused => "the mark of its pause (cluster.x-k8s.io/paused)",
            Self::Concurrency => "the raised upgrade-concurrency",
            Self::HookAnswer => "the answer to Runtime Hooks",
            Self::VersionCheck => "the annotation that switched Cluster API's version check off",
        }
    }
}

/// Marks of an object, and the merge patch that takes them off.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleasedHolds {
    pub marks: Vec<HoldMark>,
    pub patch: Value,
}

/// What is taken off an object; nothing where it has no mark of ours. A user's pause is none.
#[must_use]
pub fn release_holds(
    kind: MarkedKind,
    annotations: &BTreeMap<String, String>,
    resource_version: Option<&str>,
) -> Option<ReleasedHolds> {
    let text = |name: &str| annotations.get(name).map(String::as_str);
    let mut marks = Vec::new();
    let mut change = Map::new();
    let mut spec = None;
    match kind {
        MarkedKind::Cluster(answers) => {
            if let Some(raised) = text(CONCURRENCY_ANNOTATION).map(RaisedConcurrency::from_annotation) {
                marks.push(HoldMark::Concurrency);
                change.insert(CONCURRENCY_ANNOTATION.to_owned(), Value::Null);
                // What else stands there is the user's again.
                if text(UPGRADE_CONCURRENCY) == Some(&raised.to) {
                    change.insert(UPGRADE_CONCURRENCY.to_owned(), json!(raised.before));
                }
            }
            match answers {
                HookAnswers::TakenOff if text(HOOK_ANSWER_ANNOTATION).is_some() => {
                    marks.push(HoldMark::HookAnswer);
                    change.insert(HOOK_ANSWER_ANNOTATION.to_owned(), Value::Null);
                }
                HookAnswers::TakenOff | HookAnswers::Left => {}
            }
            if text(UNSAFE_VERSION).and_then(LandingMark::from_annotation).is_some() {
                marks.push(HoldMark::VersionCheck);
                change.insert(UNSAFE_VERSION.to_owned(), Value::Null);
            }
        }
        MarkedKind::MachineDeployment => {
            if text(HELD_ANNOTATION).is_some() {
                marks.push(HoldMark::Held);
                change.insert(HELD_ANNOTATION.to_owned(), Value::Null);
                spec = Some(json!({ "paused": null }));
            }
            release_pause(text(PAUSED), &mut marks, &mut change);
        }
        MarkedKind::MachinePool | MarkedKind::InfrastructurePool => {
            release_pause(text(PAUSED), &mut marks, &mut change);
        }
    }
    if marks.is_empty() {
        return None;
    }
    let mut patch = json!({ "metadata": { "annotations": change } });
    if let Some(resource_version) = resource_version {
        patch["metadata"]["resourceVersion"] = json!(resource_version);
    }
    if let Some(spec) = spec {
        patch["spec"] = spec;
    }
    Some(ReleasedHolds { marks, patch })
}

fn release_pause(annotation: Option<&str>, marks: &mut Vec<HoldMark>, change: &mut Map<String, Value>) {
    match PausedBy::of(annotation) {
        PausedBy::Upgrade(_) => {
            marks.push(HoldMark::Paused);
            change.insert(PAUSED.to_owned(), Value::Null);
        }
        PausedBy::NoOne | PausedBy::User => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = r#"{"upgrade":"up","since":"2026-11-20T11:00:00Z","paused":"2026-11-20T12:00:00Z"}"#;
    const LANDING: &str = r#"{"setBy":"Instar","from":"v1.35.4","to":"v1.34.3"}"#;
    const RAISED: &str = r#"{"before":"2","to":"5"}"#;

    fn released(kind: MarkedKind, annotations: &[(&str, &str)]) -> Option<ReleasedHolds> {
        let annotations = annotations.iter();
        let annotations = annotations.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        release_holds(kind, &annotations.collect(), Some("7"))
    }

    #[test]
    fn every_mark_of_ours_is_taken_off() {
        for (kind, annotations, marks, patch) in [
            (
                MarkedKind::Cluster(HookAnswers::TakenOff),
                &[
                    (CONCURRENCY_ANNOTATION, RAISED),
                    (UPGRADE_CONCURRENCY, "5"),
                    ("kept", ""),
                ][..],
                &[HoldMark::Concurrency][..],
                json!({ "metadata": { "resourceVersion": "7", "annotations": {
                    (CONCURRENCY_ANNOTATION): null, (UPGRADE_CONCURRENCY): "2",
                }}}),
            ),
            // There was none before.
            (
                MarkedKind::Cluster(HookAnswers::TakenOff),
                &[(CONCURRENCY_ANNOTATION, r#"{"to":"5"}"#), (UPGRADE_CONCURRENCY, "5")],
                &[HoldMark::Concurrency],
                json!({ "metadata": { "resourceVersion": "7", "annotations": {
                    (CONCURRENCY_ANNOTATION): null, (UPGRADE_CONCURRENCY): null,
                }}}),
            ),
            // A user has set another one since.
            (
                MarkedKind::Cluster(HookAnswers::TakenOff),
                &[(CONCURRENCY_ANNOTATION, RAISED), (UPGRADE_CONCURRENCY, "9")],
                &[HoldMark::Concurrency],
                json!({ "metadata": { "resourceVersion": "7", "annotations": { (CONCURRENCY_ANNOTATION): null } } }),
            ),
            // What can't be read says nothing of what was there.
            (
                MarkedKind::Cluster(HookAnswers::TakenOff),
                &[(CONCURRENCY_ANNOTATION, "later"), (UPGRADE_CONCURRENCY, "5")],
                &[HoldMark::Concurrency],
                json!({ "metadata": { "resourceVersion": "7", "annotations": { (CONCURRENCY_ANNOTATION): null } } }),
            ),
            (
                MarkedKind::Cluster(HookAnswers::TakenOff),
                &[(HOOK_ANSWER_ANNOTATION, "{}"), (UNSAFE_VERSION, LANDING)],
                &[HoldMark::HookAnswer, HoldMark::VersionCheck],
                json!({ "metadata": { "resourceVersion": "7", "annotations": {
                    (HOOK_ANSWER_ANNOTATION): null, (UNSAFE_VERSION): null,
                }}}),
            ),
            (
                MarkedKind::MachineDeployment,
                &[(HELD_ANNOTATION, MARK), (PAUSED, MARK)],
                &[HoldMark::Held, HoldMark::Paused],
                json!({
                    "metadata": { "resourceVersion": "7", "annotations": { (HELD_ANNOTATION): null, (PAUSED): null } },
                    "spec": { "paused": null },
                }),
            ),
            // A later version of Instar may have written the mark.
            (
                MarkedKind::MachineDeployment,
                &[(HELD_ANNOTATION, "later"), (PAUSED, "")],
                &[HoldMark::Held],
                json!({
                    "metadata": { "resourceVersion": "7", "annotations": { (HELD_ANNOTATION): null } },
                    "spec": { "paused": null },
                }),
            ),
            (
                MarkedKind::MachinePool,
                &[(PAUSED, MARK)],
                &[HoldMark::Paused],
                json!({ "metadata": { "resourceVersion": "7", "annotations": { (PAUSED): null } } }),
            ),
            (
                MarkedKind::InfrastructurePool,
                &[(PAUSED, MARK)],
                &[HoldMark::Paused],
                json!({ "metadata": { "resourceVersion": "7", "annotations": { (PAUSED): null } } }),
            ),
        ] {
            let released = released(kind, annotations).unwrap();
            assert_eq!((&*released.marks, &released.patch), (marks, &patch), "{annotations:?}");
        }
    }

    #[test]
    fn what_is_a_user_s_stays() {
        for (kind, annotations) in [
            (MarkedKind::Cluster(HookAnswers::TakenOff), &[][..]),
            // Cluster API still asks.
            (
                MarkedKind::Cluster(HookAnswers::Left),
                &[(HOOK_ANSWER_ANNOTATION, "{}")],
            ),
            (
                MarkedKind::Cluster(HookAnswers::TakenOff),
                &[(UPGRADE_CONCURRENCY, "5"), (UNSAFE_VERSION, "true"), (PAUSED, "true")],
            ),
            (MarkedKind::MachineDeployment, &[(PAUSED, "")]),
            (MarkedKind::MachineDeployment, &[(PAUSED, r#"{"upgrade":"up"}"#)]),
            (MarkedKind::MachinePool, &[(PAUSED, "true"), (HELD_ANNOTATION, MARK)]),
            (MarkedKind::InfrastructurePool, &[(PAUSED, "true")]),
        ] {
            assert_eq!(released(kind, annotations), None, "{kind:?} {annotations:?}");
        }
    }
}
