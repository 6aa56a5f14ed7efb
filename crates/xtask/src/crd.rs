//! The CRDs: their schema as the API server takes it, without what the derive adds on top.

use anyhow::{Result, bail};
use instar_api::{ClusterUpgrade, KubernetesRelease, UpgradePolicy};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::{Artifact, kustomization, kustomization::Folder};

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let mut folder = Folder::new("config/crd", kustomization::plain());
    for crd in crds()? {
        let plural = crd["spec"]["names"]["plural"].as_str().unwrap_or_default();
        folder = folder.with(&format!("bases/{}_{plural}.yaml", instar_api::GROUP), &crd)?;
    }
    folder.artifacts()
}

pub fn crds() -> Result<Vec<Value>> {
    Ok(vec![upgrades()?, crd()?, policies()?])
}

/// The CRD of KubernetesReleases.
pub fn crd() -> Result<Value> {
    cleaned(&KubernetesRelease::crd())
}

/// The CRD of ClusterUpgrades.
pub fn upgrades() -> Result<Value> {
    cleaned(&ClusterUpgrade::crd())
}

/// The CRD of `UpgradePolicy`.
pub fn policies() -> Result<Value> {
    cleaned(&UpgradePolicy::crd())
}

fn cleaned(crd: &CustomResourceDefinition) -> Result<Value> {
    let mut crd = serde_json::to_value(crd)?;
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        clean(&mut version["schema"]["openAPIV3Schema"])?;
    }
    Ok(crd)
}

fn clean(schema: &mut Value) -> Result<()> {
    let Some(members) = schema.as_object_mut() else {
        bail!("a schema is no object: {schema}");
    };
    // Without it the API server takes a null away, and the default holds. With it, a null would
    // stand where the fields' types expect none.
    members.remove("nullable");
    members.remove("title");
    for bound in ["maximum", "minimum"] {
        if let Some(number) = members.get_mut(bound) {
            *number = whole(number)?;
        }
    }
    if let Some(format) = members.get("format").and_then(Value::as_str) {
        let known = known_format(format, members);
        members.insert("format".to_owned(), json!(known));
    }
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().try_for_each(clean)?;
    }
    for nested in ["items", "additionalProperties"] {
        if let Some(nested) = members.get_mut(nested).filter(|nested| nested.is_object()) {
            clean(nested)?;
        }
    }
    Ok(())
}

/// The bounds of an integer are floats to the derive.
fn whole(number: &Value) -> Result<Value> {
    if number.is_i64() {
        return Ok(number.clone());
    }
    let text = number.to_string();
    match text.strip_suffix(".0").unwrap_or(&text).parse::<i64>() {
        Ok(whole) => Ok(json!(whole)),
        Err(_) => bail!("the bound {number} is no whole number"),
    }
}

/// OpenAPI has no unsigned formats; the smallest signed one that holds all of it takes their place.
fn known_format(format: &str, schema: &Map<String, Value>) -> String {
    let fits = |most: i32| {
        schema
            .get("maximum")
            .and_then(Value::as_i64)
            .is_some_and(|maximum| maximum <= i64::from(most))
    };
    match format {
        "uint8" | "uint16" => "int32",
        "uint32" if fits(i32::MAX) => "int32",
        "uint" | "uint32" | "uint64" => "int64",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_derive_adds_is_cleaned_away() {
        let mut schema = json!({
            "title": "T",
            "properties": {
                "title": { "type": "string", "nullable": true },
                "count": { "type": "integer", "format": "uint32", "minimum": 1.0, "maximum": 1_000_000.0 },
                "many": { "items": { "type": "integer", "format": "uint32", "nullable": true } },
            },
        });
        clean(&mut schema).unwrap();
        let expected = json!({
            "properties": {
                "title": { "type": "string" },
                "count": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 1_000_000 },
                "many": { "items": { "type": "integer", "format": "int64" } },
            },
        });
        assert_eq!(schema, expected);
        assert!(clean(&mut json!({ "maximum": 0.5 })).is_err());
    }
}
