//! Objects that may not be as their kind's definition here says.

mod cut;
mod field;

use std::{borrow::Cow, collections::BTreeMap};

use instar_capi::{Reference, labels::CLUSTER_NAME, owning_clusters};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Value, value::RawValue};

/// By which `kubectl apply` keeps the whole object once more.
const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object that is decoded by itself, so that one that can't be decoded doesn't hide the others of its list.
///
/// kube's `DeserializeGuard` does the same, but keeps the metadata alone: what the object refers to counts
/// as in use, so it has to be known too.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Box<Unreadable>>);

/// An object that can't be decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unreadable {
    /// Identity, labels, annotations and owners.
    pub metadata: ObjectMeta,
    /// The name of the Cluster that it belongs to: by `spec.clusterName`, its label or its owner.
    pub cluster: Option<String>,
    /// Whatever in its spec names a kind and a name, in the order of the fields.
    pub references: Vec<Reference>,
    /// Which field, and what is wrong with it.
    pub error: String,
}

impl Unreadable {
    /// The whole of it, since what couldn't be decoded is looked for by other means. The error is of one without a name.
    fn read(text: &str, error: String) -> Result<Self, String> {
        let object = serde_json::from_str(text).unwrap_or_else(|_| cut::cut(text));
        let nameless = format!("an object without a name: {error}");
        Self::new(&object, error).ok_or(nameless)
    }

    fn new(object: &Value, error: String) -> Option<Self> {
        let metadata = metadata(object.get("metadata")?)?;
        let spec = object.get("spec");
        let cluster = spec
            .and_then(|spec| spec.get("clusterName"))
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .or_else(|| metadata.labels.as_ref()?.get(CLUSTER_NAME).map(String::as_str))
            .or_else(|| owning_clusters(&metadata).next())
            .map(str::to_owned);
        Some(Self {
            references: spec.map(references_in).unwrap_or_default(),
            metadata,
            cluster,
            error,
        })
    }
}

/// As much of the metadata as can be read; nothing where there is no name.
fn metadata(value: &Value) -> Option<ObjectMeta> {
    let part = |name: &str| value.get(name).cloned().unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let map = |name: &str| serde_json::from_value::<BTreeMap<String, String>>(part(name)).ok();
    Some(ObjectMeta {
        name: Some(text("name")?),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        generation: value.get("generation").and_then(Value::as_i64),
        labels: map("labels"),
        annotations: map("annotations"),
        owner_references: serde_json::from_value::<Vec<OwnerReference>>(part("ownerReferences")).ok(),
        deletion_timestamp: serde_json::from_value(part("deletionTimestamp")).ok().flatten(),
        ..ObjectMeta::default()
    })
}

/// Whatever in a value names a kind and a name, in the order of the fields.
#[must_use]
pub fn references_in(value: &Value) -> Vec<Reference> {
    let mut references = Vec::new();
    collect_references(value, &mut references);
    references
}

fn collect_references(value: &Value, references: &mut Vec<Reference>) {
    match value {
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            if let (Some(kind), Some(name)) = (text("kind"), text("name")) {
                let group = text("apiVersion").and_then(|version| Some(version.split_once('/')?.0));
                references.push(Reference {
                    api_group: text("apiGroup").or(group).unwrap_or_default().to_owned(),
                    kind: kind.to_owned(),
                    name: name.to_owned(),
                });
            }
            for field in fields.values() {
                collect_references(field, references);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Half of an object may be about who wrote which of its fields, and a page of a list is in memory as a whole.
fn drop_unread(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED_ANNOTATION);
    }
}

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let decode = |text: &str| {
            let mut decoded = serde_json::from_str::<K>(text)?;
            drop_unread(decoded.meta_mut());
            Ok::<_, serde_json::Error>(decoded)
        };
        let error = match decode(text.get()) {
            Ok(decoded) => return Ok(Self(Ok(decoded))),
            Err(error) => error,
        };
        // Who wrote which fields is never read, but may be what can't be: it is as deep as the deepest field, also of one
        // that is unknown here. To leave it out costs something, so most objects are decoded with it.
        let shorter = cut::without_managed_fields(text.get());
        let (text, error) = match shorter.as_deref() {
            None => (text.get(), error),
            Some(shorter) => match decode(shorter) {
                Ok(decoded) => return Ok(Self(Ok(decoded))),
                Err(error) => (shorter, error),
            },
        };
        Unreadable::read(text, field::explain(text, &error))
            .map(|unreadable| Self(Err(Box::new(unreadable))))
            .map_err(D::Error::custom)
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0
            .as_mut()
            .map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use instar_capi::MachineDeployment;
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Guarded<MachineDeployment> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_can_be_decoded_is_as_it_was() {
        let object = read(json!({"metadata": {"name": "md"}, "spec": {"clusterName": "c"}}));
        assert_eq!(object.0.unwrap().spec.cluster_name, "c");
    }

    #[test]
    fn what_cannot_be_decoded_keeps_identity_cluster_and_references() {
        let owner = json!([{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "owner", "uid": "u"}]);
        let reference = |group: &str, kind: &str, name: &str| Reference {
            api_group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let mut object = json!({
            "metadata": {
                "name": "md", "namespace": "ns", "resourceVersion": "7",
                "labels": {CLUSTER_NAME: "label"}, "ownerReferences": owner,
            },
            "spec": {
                "clusterName": "spec",
                "template": {"spec": {
                    "version": 35,
                    "infrastructureRef": {"apiGroup": "i", "kind": "T", "name": "t"},
                    "bootstrap": {"configRef": {"apiVersion": "b/v1", "kind": "B", "name": "b"}},
                }},
            },
        });
        let Guarded(Err(unreadable)) = read(object.clone()) else {
            panic!("a version is text")
        };
        assert_eq!(
            unreadable.error,
            "spec.template.spec.version: invalid type: integer `35`, expected a string"
        );
        assert_eq!(unreadable.cluster.as_deref(), Some("spec"));
        assert_eq!(
            unreadable.references,
            [reference("b", "B", "b"), reference("i", "T", "t")]
        );
        assert_eq!(unreadable.metadata.resource_version.as_deref(), Some("7"));

        object["spec"]["clusterName"] = json!(null);
        let cluster = |object: &Value| read(object.clone()).0.unwrap_err().cluster;
        assert_eq!(cluster(&object).as_deref(), Some("label"));
        object["metadata"]["labels"] = json!({"replicas": 3});
        assert_eq!(
            cluster(&object).as_deref(),
            Some("owner"),
            "labels that are no text are none"
        );
    }

    #[test]
    fn what_is_never_read_goes_at_once() {
        let object = json!({
            "metadata": {
                "name": "md", "managedFields": [{ "manager": "m", "fieldsV1": { "f:spec": {} } }],
                "annotations": { LAST_APPLIED_ANNOTATION: "{}", "a": "b" },
            },
            "spec": { "clusterName": "c" },
        });
        let metadata = read(object).0.unwrap().metadata;
        assert_eq!(metadata.managed_fields, None);
        assert_eq!(metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn an_object_without_a_name_is_an_error() {
        let read = serde_json::from_value::<Guarded<MachineDeployment>>(json!({"metadata": {}, "spec": 1}));
        assert!(read.unwrap_err().to_string().starts_with("an object without a name"));
    }
}
