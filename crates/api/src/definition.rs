//! The CustomResourceDefinitions of our kinds: their schema as the API server takes it, without what the derive adds on top.

use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use semver::Version;
use serde_json::{Map, Value, json};

use crate::{ClusterUpgrade, INSTAR_VERSION_ANNOTATION, KubernetesRelease, UpgradePolicy};

/// The version of Instar, as its CustomResourceDefinitions have it in [`INSTAR_VERSION_ANNOTATION`].
pub const INSTAR_VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// The one version at which objects of our kinds are served and stored.
pub const STORED_VERSION: &str = "v1alpha1";

/// By which cluster-api-visualizer finds a definition whose objects it shows below the Cluster of their label
/// `cluster.x-k8s.io/cluster-name`.
/// Source: `VisualizeResourceLabel` of cluster-api-visualizer/api/v1/common_types.go.
const VISUALIZER_LABEL: &str = "visualizer.cluster.x-k8s.io";

/// The version of Instar, read.
#[must_use]
pub fn instar_version() -> Version {
    // Cargo has read it before; the other one can't come.
    read_version(INSTAR_VERSION).unwrap_or(Version::new(0, 0, 0))
}

/// Reads a version of Instar, with its v or without.
#[must_use]
pub fn read_version(text: &str) -> Option<Version> {
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

/// A kind of ours, as the API server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Definition {
    /// Of `ClusterUpgrade`.
    ClusterUpgrades,
    /// Of `KubernetesRelease`.
    KubernetesReleases,
    /// Of `UpgradePolicy`.
    UpgradePolicies,
}

impl Definition {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ClusterUpgrades, Self::KubernetesReleases, Self::UpgradePolicies];

    /// The name of the CustomResourceDefinition.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterUpgrades => "clusterupgrades.upgrade.cluster.x-k8s.io",
            Self::KubernetesReleases => "kubernetesreleases.upgrade.cluster.x-k8s.io",
            Self::UpgradePolicies => "upgradepolicies.upgrade.cluster.x-k8s.io",
        }
    }

    /// The CustomResourceDefinition.
    #[must_use]
    pub fn object(self) -> Value {
        let mut crd = match self {
            Self::ClusterUpgrades => ClusterUpgrade::crd(),
            Self::KubernetesReleases => KubernetesRelease::crd(),
            Self::UpgradePolicies => UpgradePolicy::crd(),
        };
        let annotations = crd.metadata.annotations.get_or_insert_default();
        annotations.insert(INSTAR_VERSION_ANNOTATION.to_owned(), INSTAR_VERSION.to_owned());
        match self {
            Self::ClusterUpgrades => {
                let labels = crd.metadata.labels.get_or_insert_default();
                labels.insert(VISUALIZER_LABEL.to_owned(), String::new());
            }
            // They belong to no single Cluster.
            Self::KubernetesReleases | Self::UpgradePolicies => {}
        }
        cleaned(&crd)
    }

    /// The schema of the stored version, which is made once.
    #[must_use]
    pub fn schema(self) -> &'static Value {
        static SCHEMAS: [OnceLock<Value>; Definition::ALL.len()] = [const { OnceLock::new() }; Definition::ALL.len()];
        let made = || schema_at(&self.object(), STORED_VERSION).unwrap_or_default();
        SCHEMAS[self as usize].get_or_init(made)
    }
}

/// The schema that a CustomResourceDefinition has at a version; absent where it doesn't have the version.
#[must_use]
pub fn schema_at(definition: &Value, version: &str) -> Option<Value> {
    let mut versions = definition["spec"]["versions"].as_array()?.iter();
    let found = versions.find(|found| found["name"] == version)?;
    Some(found["schema"]["openAPIV3Schema"].clone())
}

fn cleaned(crd: &CustomResourceDefinition) -> Value {
    // Texts and numbers always have a JSON form; the error can't come.
    let mut crd = serde_json::to_value(crd).unwrap_or_default();
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        clean(&mut version["schema"]["openAPIV3Schema"]);
    }
    crd
}

fn clean(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    // Without it the API server takes a null away, and the default holds. With it, a null would
    // stand where the fields' types expect none.
    members.remove("nullable");
    members.remove("title");
    for bound in ["maximum", "minimum"] {
        if let Some(number) = members.get_mut(bound) {
            *number = whole(number);
        }
    }
    if let Some(format) = members.get("format").and_then(Value::as_str) {
        let known = known_format(format, members);
        members.insert("format".to_owned(), json!(known));
    }
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(clean);
    }
    for nested in ["items", "additionalProperties"] {
        if let Some(nested) = members.get_mut(nested) {
            clean(nested);
        }
    }
}

/// The bounds of an integer are floats to the derive. One that is no whole number stays, and a test of the schemas finds it.
fn whole(number: &Value) -> Value {
    let text = number.to_string();
    let whole = text.strip_suffix(".0").unwrap_or(&text).parse::<i64>();
    whole.map_or_else(|_| number.clone(), |whole| json!(whole))
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
        clean(&mut schema);
        let expected = json!({
            "properties": {
                "title": { "type": "string" },
                "count": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 1_000_000 },
                "many": { "items": { "type": "integer", "format": "int64" } },
            },
        });
        assert_eq!(schema, expected);
    }

    #[test]
    fn each_has_its_name_the_version_of_instar_and_the_stored_schema() {
        assert_eq!(format!("v{}", instar_version()), INSTAR_VERSION);
        for definition in Definition::ALL {
            let object = definition.object();
            assert_eq!(object["metadata"]["name"], definition.name());
            assert_eq!(
                object["metadata"]["annotations"][INSTAR_VERSION_ANNOTATION],
                INSTAR_VERSION
            );
            let versions = object["spec"]["versions"].as_array().unwrap();
            let names: Vec<&Value> = versions.iter().map(|version| &version["name"]).collect();
            assert_eq!(names, [STORED_VERSION]);
            assert!(definition.schema()["properties"]["spec"].is_object(), "{definition:?}");
        }
    }
}
