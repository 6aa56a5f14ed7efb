//! What the infrastructure of a MachinePool had where an upgrade set values: it is changed in place, so nothing else says
//! what was there.

use std::collections::BTreeSet;

use instar_api::Values;
use instar_domain::{BuildOrder, JsonPointer, KubeVersion};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    swap_history::UpgradeId,
    values::{at, below_spec, includes, put, unescaped},
};

/// More than this isn't kept: the annotations of an object have 256 KiB.
const MOST_BYTES: usize = 64 * 1024;

/// The values before, kept in the annotation [`instar_api::VALUES_HISTORY_ANNOTATION`] of the infrastructure, and written
/// with those that take their place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuesHistory {
    /// The last upgrade that set values.
    upgrade: UpgradeId,
    /// Absent where they were too large to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<ValuesStep>>,
    /// What was there at all of their pointers when the pause ended in which values were last set: what the API server and
    /// the provider's webhooks have made of them. Absent during that pause, and in an annotation that an earlier Instar
    /// wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stands: Option<Values>,
    /// What was set back last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored: Option<RestoredValues>,
}

/// That a rollback has set back what was there. It does so once: a webhook may make the same of it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RestoredValues {
    by: UpgradeId,
    /// The version that the MachinePool had.
    to: KubeVersion,
}

/// The values before one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ValuesStep {
    /// The version that the MachinePool had.
    from: KubeVersion,
    /// What was there, before anything was set in this step. Null is what wasn't.
    values: Values,
}

impl ValuesHistory {
    /// Reads the annotation. A garbled one counts as none: what isn't known stays.
    #[must_use]
    pub fn from_annotation(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The annotation's text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        // Texts and values always have a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// With what is there now, before values are set at these pointers in a pool of this version.
    pub(crate) fn with(
        before: Option<&Self>,
        upgrade: &UpgradeId,
        from: &KubeVersion,
        spec: &Value,
        pointers: &BTreeSet<JsonPointer>,
    ) -> Self {
        let known = before.filter(|before| before.upgrade == *upgrade);
        let steps = known.map_or_else(|| Some(Vec::new()), |known| known.steps.clone());
        let steps = steps.map(|mut steps| {
            let there = |pointer: &JsonPointer| at(spec, pointer).cloned().unwrap_or_default();
            match steps.iter_mut().find(|step| step.from == *from) {
                // What this very step has set already isn't what was there.
                Some(step) => {
                    let earlier = step.values.clone();
                    for pointer in pointers.iter().filter(|pointer| !is_below(pointer, &earlier)) {
                        step.values.entry(pointer.clone()).or_insert_with(|| there(pointer));
                    }
                }
                None => steps.push(ValuesStep {
                    from: from.clone(),
                    values: pointers
                        .iter()
                        .map(|pointer| (pointer.clone(), there(pointer)))
                        .collect(),
                }),
            }
            steps
        });
        let history = Self {
            upgrade: upgrade.clone(),
            steps,
            stands: None,
            restored: None,
        };
        if history.to_annotation().len() <= MOST_BYTES {
            return history;
        }
        Self { steps: None, ..history }
    }

    /// With what reads back of the last values, when the pause ends in which they were set; nothing where that is known
    /// already, or too large to be kept.
    pub(crate) fn with_standing(&self, spec: &Value) -> Option<Self> {
        let steps = self.steps.as_ref().filter(|_| self.stands.is_none())?;
        let pointers = steps.iter().flat_map(|step| step.values.keys());
        let stands: Values = pointers
            .map(|pointer| (pointer.clone(), at(spec, pointer).cloned().unwrap_or_default()))
            .collect();
        let history = Self {
            stands: Some(stands),
            ..self.clone()
        };
        (history.to_annotation().len() <= MOST_BYTES).then_some(history)
    }

    /// A value that another client has changed since it was set, and that a rollback would overwrite with what was before.
    pub(crate) fn changed_since(&self, spec: &Value, before: &Values) -> Option<JsonPointer> {
        let stands = self.stands.as_ref()?;
        let is_changed = |(pointer, before): &(&JsonPointer, &Value)| {
            let there = at(spec, pointer).unwrap_or(&Value::Null);
            there != *before && stands.get(*pointer).is_some_and(|ours| !includes(there, ours))
        };
        let (pointer, _) = before.iter().find(is_changed)?;
        Some(pointer.clone())
    }

    /// With the mark that a rollback has set back what was there at a version.
    pub(crate) fn with_restored(&self, by: &UpgradeId, to: &KubeVersion) -> Self {
        Self {
            stands: None,
            restored: Some(RestoredValues {
                by: by.clone(),
                to: to.clone(),
            }),
            ..self.clone()
        }
    }

    /// Whether this rollback has set back what was there at a version.
    pub(crate) fn is_restored(&self, by: &UpgradeId, to: &KubeVersion) -> bool {
        let mut restored = self.restored.iter();
        restored.any(|restored| restored.by == *by && restored.to == *to)
    }

    /// Whether it is of an upgrade.
    pub(crate) fn is_of(&self, upgrade: &UpgradeId) -> bool {
        self.upgrade == *upgrade
    }

    /// What was there when the MachinePool was at a version, before an upgrade went on from it; absent where that isn't
    /// known. Null is what wasn't there.
    pub(crate) fn before(&self, upgrade: &UpgradeId, version: &KubeVersion) -> Option<Values> {
        let steps = self.steps.as_ref().filter(|_| self.is_of(upgrade))?;
        let is_known = steps.iter().any(|step| step.from == *version);
        let since = steps
            .iter()
            .filter(|step| step.from.compare(version) != BuildOrder::Less);
        let mut before = Values::new();
        for step in since {
            // Where an earlier step has set all of it, what was there before that one counts.
            let earlier = before.clone();
            for (pointer, value) in step.values.iter().filter(|(pointer, _)| !is_below(pointer, &earlier)) {
                before.entry(pointer.clone()).or_insert_with(|| value.clone());
            }
        }
        is_known.then_some(before)
    }
}

/// Whether a pointer is below one of those of these values.
fn is_below(pointer: &JsonPointer, values: &Values) -> bool {
    values.keys().any(|above| {
        let rest = pointer.as_str().strip_prefix(above.as_str());
        rest.is_some_and(|rest| rest.starts_with('/'))
    })
}

/// A spec with the values that were there; nothing where something else than an object is in the way of one.
pub(crate) fn restored(spec: &Value, before: &Values) -> Option<Value> {
    let mut spec = spec.clone();
    for (pointer, value) in before {
        if value.is_null() {
            remove(&mut spec, pointer);
        } else {
            put(&mut spec, below_spec(pointer), value.clone())?;
        }
    }
    Some(spec)
}

/// Takes a member away. Its parents stay, also where they were made for it: an empty object sets nothing.
fn remove(spec: &mut Value, pointer: &JsonPointer) {
    let Some((parent, member)) = below_spec(pointer).rsplit_once('/') else {
        return;
    };
    if let Some(members) = spec.pointer_mut(parent).and_then(Value::as_object_mut) {
        members.remove(&*unescaped(member));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(name: &str) -> UpgradeId {
        UpgradeId {
            name: name.to_owned(),
            started: None,
        }
    }

    fn pointers(texts: &[&str]) -> BTreeSet<JsonPointer> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn version(text: &str) -> KubeVersion {
        text.parse().unwrap()
    }

    #[test]
    fn each_step_keeps_what_was_there_first() {
        let image = pointers(&["/spec/image"]);
        let both = pointers(&["/spec/image", "/spec/disk/size"]);
        let (up, first, second) = (id("up"), version("v1.34.3"), version("v1.35.4"));
        let with = |before: Option<&ValuesHistory>, from, spec, at| ValuesHistory::with(before, &up, from, &spec, at);
        let history = with(None, &first, json!({ "image": "a", "other": 1 }), &image);
        // The release is another one by now: what the step has set isn't what was there.
        let history = with(Some(&history), &first, json!({ "image": "b" }), &both);
        let history = with(
            Some(&history),
            &second,
            json!({ "image": "c", "disk": { "size": 2 } }),
            &both,
        );
        assert_eq!(
            ValuesHistory::from_annotation(&history.to_annotation()),
            Some(history.clone())
        );

        let now = json!({ "image": "d", "disk": { "size": 3 }, "other": 1 });
        let back = |to: &KubeVersion| restored(&now, &history.before(&up, to).unwrap()).unwrap();
        assert_eq!(back(&first), json!({ "image": "a", "disk": {}, "other": 1 }));
        assert_eq!(
            back(&second),
            json!({ "image": "c", "disk": { "size": 2 }, "other": 1 })
        );
        assert_eq!(history.before(&up, &version("v1.33.5")), None, "nobody wrote it down");
        assert_eq!(history.before(&id("other"), &first), None);
        let other = ValuesHistory::with(Some(&history), &id("other"), &second, &now, &image);
        assert_eq!(other.before(&up, &first), None, "another upgrade has set values since");
        assert_eq!(
            restored(
                &json!({ "image": [] }),
                &[("/spec/image/id".parse().unwrap(), json!("a"))].into()
            ),
            None
        );
    }

    #[test]
    fn what_an_earlier_step_has_set_above_counts() {
        let (up, first, second) = (id("up"), version("v1.34.3"), version("v1.35.4"));
        let spec = json!({ "image": { "id": "a" } });
        let history = ValuesHistory::with(None, &up, &first, &spec, &pointers(&["/spec/image"]));
        let spec = json!({ "image": { "id": "b" } });
        let history = ValuesHistory::with(Some(&history), &up, &second, &spec, &pointers(&["/spec/image/id"]));
        for (to, id) in [(&first, "a"), (&second, "b")] {
            let now = json!({ "image": { "id": "c" } });
            let back = restored(&now, &history.before(&up, to).unwrap()).unwrap();
            assert_eq!(back, json!({ "image": { "id": id } }), "{to}");
        }
    }

    #[test]
    fn what_another_client_has_changed_is_told_from_what_a_webhook_has_made() {
        let (up, back, first) = (id("up"), id("back"), version("v1.34.3"));
        let history = ValuesHistory::with(None, &up, &first, &json!({ "image": "a" }), &pointers(&["/spec/image"]));
        let before = history.before(&up, &first).unwrap();
        let changed = |history: &ValuesHistory, spec| history.changed_since(&spec, &before).is_some();
        assert!(!changed(&history, json!({ "image": "mine" })), "the pause hasn't ended");
        let history = history.with_standing(&json!({ "image": { "id": "b" } })).unwrap();
        assert_eq!(history.with_standing(&json!({ "image": "mine" })), None, "it is known");
        for (spec, is_changed) in [
            (json!({ "image": { "id": "b" } }), false),
            (json!({ "image": { "id": "b", "default": 1 } }), false),
            (json!({ "image": "a" }), false),
            (json!({ "image": "mine" }), true),
            (json!({}), true),
        ] {
            assert_eq!(changed(&history, spec.clone()), is_changed, "{spec}");
        }
        let restored = history.with_restored(&back, &first);
        assert!(restored.is_restored(&back, &first) && !history.is_restored(&back, &first));
        assert!(!restored.is_restored(&up, &first) && !restored.is_restored(&back, &version("v1.35.4")));
        assert!(!changed(&restored, json!({ "image": "again" })));
        let read = ValuesHistory::from_annotation(&restored.to_annotation());
        assert_eq!(read, Some(restored));
    }

    #[test]
    fn what_is_too_large_is_not_known() {
        let large = json!({ "image": "x".repeat(MOST_BYTES) });
        let (up, at) = (id("up"), pointers(&["/spec/image"]));
        let history = ValuesHistory::with(None, &up, &version("v1.34.3"), &large, &at);
        assert_eq!(history.before(&up, &version("v1.34.3")), None);
        // The next step doesn't make it known.
        let next = ValuesHistory::with(Some(&history), &up, &version("v1.35.4"), &json!({ "image": "b" }), &at);
        assert_eq!(next.before(&up, &version("v1.34.3")), None);
        assert!(next.is_of(&up) && next.to_annotation().len() < 100);
    }
}
