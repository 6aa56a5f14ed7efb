//! What is set for an add-on, and whether it is there.

use instar_api::{Addon, AddonWrite, ClusterSide};
use instar_capi::Cluster;
use instar_planner::hash;
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
    value: Value,
}

impl Target {
    /// What is set for an add-on of a Cluster; nothing where it sets nothing, or where admission would refuse it.
    #[must_use]
    pub fn of(addon: &Addon, (namespace, cluster): (&str, &str)) -> Option<Self> {
        let AddonWrite { annotation, field } = addon.write.as_ref()?;
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
        })
    }

    /// The value, as expressions see it (`written.value`).
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// Whether the object has the value: of an object what it sets, since definitions add defaults beside that.
    #[must_use]
    pub fn is_set(&self, object: &Value) -> bool {
        let at = self.found(object);
        contains(at.unwrap_or(&Value::Null), &self.value)
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

    /// What is applied: the one field, and the resourceVersion of the object in which it was missing, to compare with.
    #[must_use]
    pub fn applied(&self, object: &Value) -> Value {
        let mut applied = self.merged(object);
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
        let version = &object["metadata"]["resourceVersion"];
        let mut merged = json!({ "metadata": { "resourceVersion": version } });
        let mut at = &mut merged;
        for member in &self.path {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[member.as_str()];
        }
        *at = self.value.clone();
        merged
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
            assert_eq!(target.value(), &found);
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
