//! What is set for an add-on, and whether it is there.

use instar_api::{Addon, AddonWrite, ClusterSide, OnRollback};
use instar_capi::Cluster;
use instar_planner::{ValueBefore, hash};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use serde_json::{Map, Value, json};

/// What the managers of fields that are set for add-ons begin with.
pub const FIELD_MANAGER: &str = "instar-addon";

/// A field of one object, and the value that it gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub cluster: ClusterSide,
    pub api_version: String,
    pub kind: String,
    /// Absent for a kind without namespaces.
    pub namespace: Option<String>,
    pub name: String,
    /// The members on the way to the field, which is the last one.
    path: Vec<String>,
    /// What the release sets.
    value: Value,
    goes: Goes,
    on_rollback: OnRollback,
}

/// Which way a field goes.
#[derive(Debug, Clone, PartialEq)]
enum Goes {
    /// To what the release sets.
    Forward,
    /// To what was there before; what was there even earlier is further back, and fits too.
    Back {
        before: Option<Value>,
        earlier: Vec<ValueBefore>,
    },
}

/// What a field is to have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted<'a> {
    Value(&'a Value),
    /// The field is to go.
    Absent,
}

impl std::fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(value) => write!(f, "set it to {value}"),
            Self::Absent => f.write_str("take it away"),
        }
    }
}

impl Target {
    /// What is set for an add-on of a Cluster; nothing where it sets nothing, or where admission would refuse it.
    #[must_use]
    pub fn of(addon: &Addon, (namespace, cluster): (&str, &str)) -> Option<Self> {
        let AddonWrite {
            annotation,
            field,
            on_rollback,
        } = addon.write.as_ref()?;
        let (goes, on_rollback) = (Goes::Forward, *on_rollback);
        if let Some(annotation) = annotation {
            let path = ["metadata", "annotations", &annotation.key];
            return Some(Self {
                cluster: ClusterSide::Management,
                api_version: Cluster::api_version(&()).into_owned(),
                kind: Cluster::kind(&()).into_owned(),
                namespace: Some(namespace.to_owned()),
                name: cluster.to_owned(),
                path: path.map(str::to_owned).to_vec(),
                value: json!(annotation.value),
                goes,
                on_rollback,
            });
        }
        let field = field.as_ref()?;
        let value = match (&field.value, &field.json) {
            (Some(IntOrString::Int(number)), _) => json!(number),
            (Some(IntOrString::String(text)), _) => json!(text),
            (None, Some(text)) => serde_json::from_str(text).ok()?,
            (None, None) => return None,
        };
        let tokens = field.pointer.strip_prefix('/')?.split('/');
        let path: Vec<String> = tokens
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect();
        let of_cluster = match field.cluster {
            ClusterSide::Management => Some(namespace.to_owned()),
            ClusterSide::Workload => None,
        };
        Some(Self {
            cluster: field.cluster,
            api_version: field.api_version.clone(),
            kind: field.kind.clone(),
            namespace: field.namespace.clone().or(of_cluster),
            name: field.name.clone(),
            path,
            value,
            goes,
            on_rollback,
        })
    }

    /// The way back: to what was there before it was set for the first time. Nothing where that isn't kept.
    #[must_use]
    pub fn back_to(self, before: &ValueBefore, earlier: Vec<ValueBefore>) -> Option<Self> {
        let before = match before {
            ValueBefore::Value(value) => Some(value.clone()),
            ValueBefore::Absent => None,
            ValueBefore::NoObject | ValueBefore::TooLarge | ValueBefore::NotKept => return None,
        };
        let goes = Goes::Back { before, earlier };
        Some(Self { goes, ..self })
    }

    /// What is to be there, as expressions see it (`written.value`).
    #[must_use]
    pub const fn wanted(&self) -> Wanted<'_> {
        match &self.goes {
            Goes::Forward => Wanted::Value(&self.value),
            Goes::Back {
                before: Some(before), ..
            } => Wanted::Value(before),
            Goes::Back { before: None, .. } => Wanted::Absent,
        }
    }

    /// Whether it takes back what was set.
    #[must_use]
    pub const fn goes_back(&self) -> bool {
        match self.goes {
            Goes::Forward => false,
            Goes::Back { .. } => true,
        }
    }

    /// Whether what is there now is to be known before it is set.
    #[must_use]
    pub const fn keeps_before(&self) -> bool {
        match self.on_rollback {
            OnRollback::Restore => true,
            OnRollback::Keep => false,
        }
    }

    /// Whether the object has what is to be there: of an object what is set, since definitions add defaults beside that.
    #[must_use]
    pub fn is_set(&self, object: &Value) -> bool {
        match &self.goes {
            Goes::Forward => self.has_ours(object),
            Goes::Back { before, earlier } => {
                let found = self.found(object);
                let earlier = earlier.iter().any(|earlier| match earlier {
                    ValueBefore::Value(value) => found == Some(value),
                    ValueBefore::Absent => found.is_none_or(Value::is_null),
                    ValueBefore::NoObject | ValueBefore::TooLarge | ValueBefore::NotKept => false,
                });
                earlier || is_back(found.unwrap_or(&Value::Null), before.as_ref(), &self.value)
            }
        }
    }

    /// Whether the object has what the release sets.
    #[must_use]
    pub fn has_ours(&self, object: &Value) -> bool {
        contains(self.found(object).unwrap_or(&Value::Null), &self.value)
    }

    /// Whether a value of the field is what the release sets.
    #[must_use]
    pub fn is_as_set(&self, value: &Value) -> bool {
        contains(value, &self.value)
    }

    /// Who manages the field beside ourselves, by the object's own account.
    #[must_use]
    pub fn other_managers<'o>(&self, object: &'o Value) -> Vec<&'o str> {
        let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        let own = self.field_manager();
        let has_it = |entry: &&Value| {
            let mut path = self.path.iter();
            path.try_fold(&entry["fieldsV1"], |at, member| at.get(format!("f:{member}")))
                .is_some()
        };
        let names = managers.filter(has_it).filter_map(|entry| entry["manager"].as_str());
        names.filter(|name| *name != own).collect()
    }

    /// What the object has in the field.
    #[must_use]
    pub fn found<'o>(&self, object: &'o Value) -> Option<&'o Value> {
        self.path.iter().try_fold(object, |at, member| at.get(member))
    }

    /// Whose field it is, for server-side apply. Each field has a manager of its own: an API server takes away what a
    /// manager applied before and leaves out now.
    #[must_use]
    pub fn field_manager(&self) -> String {
        format!("{FIELD_MANAGER}-{}", hash(&self.path.join("/")))
    }

    /// The field, as messages name it.
    #[must_use]
    pub fn field(&self) -> String {
        let members: Vec<String> = self
            .path
            .iter()
            .map(|member| {
                if member.contains(['.', '/']) {
                    format!("[{member}]")
                } else {
                    member.clone()
                }
            })
            .collect();
        members.join(".").replace(".[", "[")
    }

    /// The object, as messages name it.
    #[must_use]
    pub fn object(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }

    /// What is applied: the one field, and the resourceVersion of the object in which it was missing, to compare with. An
    /// API server takes away what a manager applied before and leaves out.
    #[must_use]
    pub fn applied(&self, object: &Value) -> Value {
        let mut applied = match self.wanted() {
            Wanted::Value(_) => self.merged(object),
            Wanted::Absent => compared(object),
        };
        applied["apiVersion"] = json!(self.api_version);
        applied["kind"] = json!(self.kind);
        applied["metadata"]["name"] = json!(self.name);
        if let Some(namespace) = &self.namespace {
            applied["metadata"]["namespace"] = json!(namespace);
        }
        applied
    }

    /// The same as a merge patch, for an API server that doesn't know how to apply.
    #[must_use]
    pub fn merged(&self, object: &Value) -> Value {
        let mut merged = compared(object);
        let mut at = &mut merged;
        for member in &self.path {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[member.as_str()];
        }
        *at = match &self.goes {
            Goes::Forward => self.value.clone(),
            Goes::Back { before, .. } => without(before.as_ref(), &self.value),
        };
        merged
    }
}

fn compared(object: &Value) -> Value {
    let version = &object["metadata"]["resourceVersion"];
    json!({ "metadata": { "resourceVersion": version } })
}

/// What was there before, as a merge patch of what was set: what is left out there stays.
fn without(before: Option<&Value>, ours: &Value) -> Value {
    let mut merged = before.cloned().unwrap_or_default();
    if let (Value::Object(before), Value::Object(ours)) = (&mut merged, ours) {
        for (name, ours) in ours {
            let part = without(before.get(name), ours);
            before.insert(name.clone(), part);
        }
    }
    merged
}

/// Whether what was there before is there, and nothing is left of what was set.
fn is_back(found: &Value, before: Option<&Value>, ours: &Value) -> bool {
    match (before, ours) {
        (None, _) => found.is_null(),
        (Some(before), Value::Object(members)) => {
            contains(found, before)
                && members
                    .iter()
                    .all(|(name, ours)| match (before.get(name), found.get(name)) {
                        (_, None) => true,
                        (None, Some(found)) => !contains(found, ours),
                        (Some(before), Some(found)) => is_back(found, Some(before), ours),
                    })
        }
        (Some(before), _) => contains(found, before),
    }
}

fn contains(found: &Value, value: &Value) -> bool {
    match (found, value) {
        (Value::Object(found), Value::Object(members)) => members
            .iter()
            .all(|(name, value)| contains(found.get(name).unwrap_or(&Value::Null), value)),
        _ => found == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(write: &Value) -> Option<Target> {
        let addon = json!({
            "name": "a",
            "when": "AfterControlPlane",
            "observe": { "cluster": "Workload", "apiVersion": "v1", "kind": "ConfigMap", "name": "a" },
            "readyWhen": "true",
            "write": write,
        });
        Target::of(&serde_json::from_value(addon).unwrap(), ("prod", "blue"))
    }

    #[test]
    fn an_annotation_is_the_clusters() {
        let write = json!({ "annotation": { "key": "example.org/version", "value": "v2" } });
        let target = target(&write).unwrap();
        assert_eq!(target.object(), "Cluster prod/blue");
        assert_eq!(target.field(), "metadata.annotations[example.org/version]");
        let cluster = json!({ "metadata": { "resourceVersion": "7", "annotations": { "example.org/version": "v1" } } });
        assert!(!target.is_set(&cluster));
        let merged = json!({
            "metadata": { "resourceVersion": "7", "annotations": { "example.org/version": "v2" } },
        });
        assert_eq!(target.merged(&cluster), merged);
        let mut after = cluster.clone();
        after["metadata"]["annotations"]["example.org/version"] = json!("v2");
        assert!(target.is_set(&after));
        assert_eq!(
            target.applied(&cluster),
            json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2",
                "kind": "Cluster",
                "metadata": {
                    "name": "blue",
                    "namespace": "prod",
                    "resourceVersion": "7",
                    "annotations": { "example.org/version": "v2" },
                },
            })
        );
    }

    #[test]
    fn each_field_has_a_manager_of_its_own() {
        let of = |key: &str, value: &str| {
            let write = json!({ "annotation": { "key": key, "value": value } });
            target(&write).unwrap().field_manager()
        };
        assert_eq!(of("example.org/a", "1"), of("example.org/a", "2"));
        assert_ne!(of("example.org/a", "1"), of("example.org/b", "1"));
        assert!(of("example.org/a", "1").starts_with("instar-addon-"));
    }

    #[test]
    fn what_is_beside_a_value_is_no_matter() {
        let field = json!({ "field": {
            "cluster": "Workload", "apiVersion": "v1", "kind": "Search", "name": "s", "pointer": "/spec/image",
            "json": "{\"tag\": \"v2\", \"mode\": null}",
        } });
        let target = target(&field).unwrap();
        let with = |image: Value| json!({ "spec": { "image": image } });
        assert!(target.is_set(&with(json!({ "tag": "v2", "pull": "Always" }))));
        assert!(!target.is_set(&with(json!({ "tag": "v2", "mode": "x" }))));
        assert!(!target.is_set(&with(json!({ "pull": "Always" }))));
        assert!(!target.is_set(&json!({})));
    }

    #[test]
    fn what_was_there_before_goes_back_and_nothing_else_stays() {
        let image = |write: Value| {
            let field = json!({
                "cluster": "Workload", "apiVersion": "v1", "kind": "Search", "name": "s", "pointer": "/spec/image",
                "json": write.to_string(),
            });
            target(&json!({ "field": field, "onRollback": "Restore" })).unwrap()
        };
        let with = |image: Value| json!({ "metadata": { "resourceVersion": "7" }, "spec": { "image": image } });
        let value = |value: Value| ValueBefore::Value(value);
        let forward = image(json!("v2"));
        assert!(forward.keeps_before() && !forward.goes_back());

        let back = forward
            .clone()
            .back_to(&value(json!("v1")), vec![value(json!("v0"))])
            .unwrap();
        assert_eq!(back.wanted().to_string(), "set it to \"v1\"");
        for (found, is_back) in [("v1", true), ("v0", true), ("v2", false), ("v3", false)] {
            assert_eq!(back.is_set(&with(json!(found))), is_back, "{found}");
        }
        assert_eq!(back.applied(&with(json!("v2")))["spec"], json!({ "image": "v1" }));

        let gone = forward.back_to(&ValueBefore::Absent, Vec::new()).unwrap();
        assert_eq!(
            (gone.wanted(), gone.is_set(&json!({ "spec": {} }))),
            (Wanted::Absent, true)
        );
        assert!(!gone.is_set(&with(json!("v2"))));
        assert_eq!(
            gone.applied(&with(json!("v2")))["spec"],
            Value::Null,
            "what is left out goes"
        );
        assert_eq!(gone.merged(&with(json!("v2")))["spec"], json!({ "image": null }));

        let parts = image(json!({ "tag": "v2", "pull": "Always" }));
        let back = parts
            .clone()
            .back_to(&value(json!({ "tag": "v2", "mode": "a" })), Vec::new())
            .unwrap();
        assert!(
            !back.is_set(&with(json!({ "tag": "v2", "mode": "a", "pull": "Always" }))),
            "a part is left"
        );
        assert!(back.is_set(&with(json!({ "tag": "v2", "mode": "a", "other": 1 }))));
        assert_eq!(
            back.merged(&with(json!({})))["spec"]["image"],
            json!({ "tag": "v2", "mode": "a", "pull": null })
        );
        for kept in [ValueBefore::NoObject, ValueBefore::TooLarge, ValueBefore::NotKept] {
            assert_eq!(parts.clone().back_to(&kept, Vec::new()), None);
        }
    }

    #[test]
    fn the_others_that_manage_a_field_are_named() {
        let write = json!({ "annotation": { "key": "example.org/version", "value": "v2" } });
        let target = target(&write).unwrap();
        let fields = json!({ "f:metadata": { "f:annotations": { "f:example.org/version": {} } } });
        let object = json!({ "metadata": { "managedFields": [
            { "manager": target.field_manager(), "fieldsV1": fields },
            { "manager": "flux", "fieldsV1": fields },
            { "manager": "kubectl", "fieldsV1": { "f:metadata": { "f:labels": {} } } },
        ] } });
        assert_eq!(target.other_managers(&object), ["flux"]);
        assert!(target.other_managers(&json!({})).is_empty());
    }

    #[test]
    fn a_field_has_any_value_and_its_own_names() {
        let field = |value: (&str, Value)| {
            let mut field = json!({
                "cluster": "Workload",
                "apiVersion": "example.org/v1",
                "kind": "Search",
                "name": "s",
                "pointer": "/spec/a~1b/c~0d",
            });
            field[value.0] = value.1;
            target(&json!({ "field": field })).unwrap()
        };
        let object = json!({ "metadata": { "resourceVersion": "3" }, "spec": {} });
        for (given, found) in [
            (("value", json!("v2")), json!("v2")),
            (("value", json!(3)), json!(3)),
            (("json", json!("[true]")), json!([true])),
        ] {
            let target = field(given);
            assert_eq!(target.wanted(), Wanted::Value(&found));
            assert_eq!(target.field(), "spec[a/b].c~d");
            assert_eq!(target.object(), "Search s");
            assert!(!target.is_set(&object));
            let merged = target.merged(&object);
            assert_eq!(merged["spec"], json!({ "a/b": { "c~d": found } }));
            assert!(target.is_set(&merged));
        }
        let managed = json!({ "field": {
            "cluster": "Management",
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "a",
            "pointer": "/spec/x",
            "value": "v",
        } });
        assert_eq!(target(&managed).unwrap().object(), "ConfigMap prod/a");
    }
}
