//! Objects of our kinds: no field that their definitions don't have, and none that can't be read.

use std::collections::BTreeMap;

use instar_api::{ClusterUpgrade, GROUP, KubernetesRelease, STORED_VERSION, UpgradePolicy};
use serde_json::Value;

/// The schemas of our kinds.
pub struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    pub fn new() -> Self {
        let schemas = xtask::crds().into_iter().map(|definition| {
            let kind = definition["spec"]["names"]["kind"].as_str().unwrap().to_owned();
            (
                kind,
                definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone(),
            )
        });
        Self(schemas.collect())
    }

    /// What a patch sets that a kind doesn't have, where it is one of ours; `kubectl` takes it in lower case too.
    pub fn unknown_of(&self, kind: &str, patch: &Value) -> Option<Vec<String>> {
        let (_, schema) = self.0.iter().find(|(ours, _)| ours.eq_ignore_ascii_case(kind))?;
        let mut unknown = Vec::new();
        let mut patch = patch.clone();
        if let Some(members) = patch.as_object_mut() {
            // Of these the definitions say nothing.
            members.retain(|name, _| !["apiVersion", "kind", "metadata"].contains(&name.as_str()));
        }
        find(schema, &patch, "", &mut unknown);
        Some(unknown)
    }

    /// What is wrong with an object, where it is of one of our kinds.
    pub fn wrong_with(&self, object: &Value) -> Option<Vec<String>> {
        let version = object.get("apiVersion")?.as_str()?;
        version.strip_prefix(GROUP)?;
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(mut wrong) = self.unknown_of(kind, object) else {
            return Some(vec![format!("no kind {kind}")]);
        };
        if version != format!("{GROUP}/{STORED_VERSION}") {
            wrong.push(format!("no version {version}"));
        }
        // Pages leave out what is beside the point, but what they have must be readable.
        let read = match kind {
            "ClusterUpgrade" => serde_json::from_value::<ClusterUpgrade>(object.clone()).map(drop),
            "KubernetesRelease" => serde_json::from_value::<KubernetesRelease>(object.clone()).map(drop),
            "UpgradePolicy" => serde_json::from_value::<UpgradePolicy>(object.clone()).map(drop),
            other => return Some(vec![format!("{other} is not read by this test")]),
        };
        wrong.extend(read.err().map(|error| error.to_string()));
        Some(wrong)
    }
}

fn find(schema: &Value, value: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let keeps_all = schema["x-kubernetes-preserve-unknown-fields"] == true;
            for (name, member) in members {
                let path = format!("{path}.{name}");
                let known = schema["properties"]
                    .get(name)
                    .or_else(|| schema.get("additionalProperties"));
                match known {
                    Some(schema) => find(schema, member, &path, unknown),
                    None if keeps_all || schema.get("properties").is_none() => {}
                    None => unknown.push(path),
                }
            }
        }
        Value::Array(items) => {
            for (item, place) in items.iter().zip(0..) {
                find(&schema["items"], item, &format!("{path}[{place}]"), unknown);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn what_a_definition_does_not_have_is_found() {
    let schemas = Schemas::new();
    let patch =
        serde_json::json!({ "spec": { "pausd": true, "approvals": [{ "befor": "Workers" }] }, "metadata": { "a": 1 } });
    let unknown = schemas.unknown_of("clusterupgrade", &patch).unwrap();
    assert_eq!(unknown, [".spec.approvals[0].befor", ".spec.pausd"]);
    assert_eq!(schemas.unknown_of("cluster", &patch), None);
    let object = serde_json::json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "ClusterUpgrade", "metadata": { "name": "u" },
        "spec": { "clusterName": 1, "target": "v1.35" },
    });
    assert_eq!(schemas.wrong_with(&object).unwrap().len(), 1);
}
