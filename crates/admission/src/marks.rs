//! Marks: what Instar's controller keeps in objects of others, and the hold that one of them is of. The API server asks only
//! where they change, and only of a user who lacks the right to override.

use instar_api::{
    GATE_HISTORY_ANNOTATION, GROUP, HELD_ANNOTATION, HOOK_ANSWER_ANNOTATION, Rule, SWAP_HISTORY_ANNOTATION,
};
use instar_capi::labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    Finding,
    edit::{Edit, finding, object_ref},
    upgrade::Right,
};

/// An object that may have marks, as far as it is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked {
    pub metadata: ObjectMeta,
    /// `spec.paused`.
    pub paused: bool,
}

/// The annotations that the controller alone writes. Without one of them it holds what it held, or begins again, so whoever
/// replaces an object as a whole may leave them out.
pub const KEPT: [&str; 3] = [SWAP_HISTORY_ANNOTATION, HOOK_ANSWER_ANNOTATION, GATE_HISTORY_ANNOTATION];

/// How a mark of Instar's pause begins: the annotation by which Cluster API pauses an object has any other value where a
/// user has set it.
pub const PAUSE_MARK: &str = "{\"upgrade\":";

const PAUSED: &str = "spec.paused";
const PAUSE: &str = "metadata.annotations[cluster.x-k8s.io/paused]";
const HELD: &str = "metadata.annotations[upgrade.cluster.x-k8s.io/held]";

/// Judges an edit by a user who lacks the right to override.
#[must_use]
pub fn judge(edit: Edit<'_, Marked>, user: &str) -> Vec<Finding> {
    // What is created brings along what it had elsewhere, as `clusterctl move` and a restore do.
    let Some(old) = edit.old else {
        return Vec::new();
    };
    let new = edit.new;
    let object = object_ref(edit.kind, &new.metadata);
    let right = format!(
        "ask for the right to {} clusterupgrades.{GROUP} in the namespace",
        Right::Override.verb()
    );
    let say = |field, what: String, remediation: &str| {
        let remediation = format!("{remediation}, or {right}");
        finding(Rule::MarksByHand, object.clone(), field, what, remediation)
    };
    let mut findings = Vec::new();
    let held = (
        annotation(&old.metadata, HELD_ANNOTATION),
        annotation(&new.metadata, HELD_ANNOTATION),
    );
    if held.0.is_some() && old.paused && !new.paused {
        findings.push(say(
            PAUSED,
            format!("Instar holds it until the gates of its upgrade are open, and {user} may not let it go"),
            "wait for what status.health of the ClusterUpgrade names, and leave spec.paused out of what you apply",
        ));
    }
    match held {
        (Some(old), new) if new != Some(old) => findings.push(say(
            HELD,
            format!("the mark of Instar's hold may not be changed by {user}"),
            "keep the annotation",
        )),
        (None, Some(_)) => findings.push(say(
            HELD,
            format!("the mark of Instar's hold may not be set by {user}"),
            "leave the annotation out",
        )),
        (Some(_) | None, _) => {}
    }
    let paused = (
        annotation(&old.metadata, labels::PAUSED),
        annotation(&new.metadata, labels::PAUSED),
    );
    match paused {
        (Some(old), None) if old.starts_with(PAUSE_MARK) => findings.push(say(
            PAUSE,
            format!("Instar has paused it, and {user} may not resume it"),
            "wait for what status.health of the ClusterUpgrade names, and keep the annotation",
        )),
        (old, Some(mark)) if mark.starts_with(PAUSE_MARK) && old != Some(mark) => findings.push(say(
            PAUSE,
            format!("the mark of Instar's pause may not be set by {user}"),
            "leave the annotation as it was",
        )),
        // A pause that is the user's own, the user may take off next.
        (Some(old), Some(own)) if old.starts_with(PAUSE_MARK) && own != old => findings.push(say(
            PAUSE,
            format!("the mark of Instar's pause may not be changed by {user}"),
            "keep the annotation, which pauses it already",
        )),
        (Some(_) | None, _) => {}
    }
    let forged = KEPT.iter().zip(FIELDS).filter(|(name, _)| {
        let (old, new) = (annotation(&old.metadata, name), annotation(&new.metadata, name));
        new.is_some() && new != old
    });
    findings.extend(forged.map(|(_, field)| {
        say(
            field,
            format!("Instar's controller keeps it, and {user} may not write it"),
            "leave the annotation out of what you apply",
        )
    }));
    findings
}

/// The fields of [`KEPT`], as kubectl writes them.
const FIELDS: [&str; 3] = [
    "metadata.annotations[upgrade.cluster.x-k8s.io/swap-history]",
    "metadata.annotations[upgrade.cluster.x-k8s.io/hook-answer]",
    "metadata.annotations[upgrade.cluster.x-k8s.io/gate-history]",
];

fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_annotation_has_its_field() {
        for (name, field) in KEPT.iter().zip(FIELDS) {
            assert_eq!(field, format!("metadata.annotations[{name}]"));
        }
        assert_eq!(HELD, format!("metadata.annotations[{HELD_ANNOTATION}]"));
    }
}
