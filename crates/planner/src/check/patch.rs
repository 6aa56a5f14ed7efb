//! What a patch compares with, and what it touches.

use serde_json::Value;

use crate::snapshot::ResourceVersion;

/// What a patch may change beside annotations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Also {
    Nothing,
    /// `spec.topology.version`.
    Version,
    /// `spec.paused`.
    Paused,
    /// `spec.rollout.after`.
    RolloutAfter,
    /// Whatever stands in the spec.
    Spec,
}

/// Whether a patch compares with the version of the object that is there, and says so.
pub(super) fn compares(patch: &Value, named: &ResourceVersion, present: &ResourceVersion) -> bool {
    let compared = patch.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    named == present && compared == Some(&present.0)
}

pub(super) fn annotation<'p>(patch: &'p Value, name: &str) -> Option<&'p str> {
    patch.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// Whether a patch changes these annotations, in alphabetical order, what it may beside them, and nothing else.
pub(super) fn touches_only(patch: &Value, annotations: &[&str], also: Also) -> bool {
    let keys = |value: Option<&Value>| -> Vec<String> {
        let members = value.and_then(Value::as_object);
        members.map_or_else(Vec::new, |members| members.keys().cloned().collect())
    };
    let (top, spec): (&[&str], bool) = match also {
        Also::Nothing => (&["metadata"], true),
        Also::Spec => (&["metadata", "spec"], true),
        Also::Version => (
            &["metadata", "spec"],
            keys(patch.get("spec")) == ["topology"] && keys(patch.pointer("/spec/topology")) == ["version"],
        ),
        Also::Paused => (&["metadata", "spec"], keys(patch.get("spec")) == ["paused"]),
        Also::RolloutAfter => (
            &["metadata", "spec"],
            keys(patch.get("spec")) == ["rollout"] && keys(patch.pointer("/spec/rollout")) == ["after"],
        ),
    };
    keys(Some(patch)) == top
        && keys(patch.get("metadata")) == ["annotations", "resourceVersion"]
        && keys(patch.pointer("/metadata/annotations")) == annotations
        && spec
}
