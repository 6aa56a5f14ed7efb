//! The name of a catalog, and which catalog is a Cluster's.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CATALOG_LABEL, schema};

/// The name of a catalog: rows that belong together. The empty name is the default catalog's.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(transparent)]
pub struct CatalogName(String);

impl CatalogName {
    /// The catalog of a Cluster: what the label of its ClusterClass says, and of a classic Cluster its own. Without the
    /// label it is the default catalog.
    ///
    /// `class` is absent for a classic Cluster, and where the class isn't known. A topology Cluster's own label may only
    /// repeat that of its class, so it stands in for one that isn't known.
    #[must_use]
    pub fn of_cluster(own: Option<&BTreeMap<String, String>>, class: Option<&ObjectMeta>) -> Self {
        class.map_or_else(
            || Self::labelled(own).unwrap_or_default(),
            |class| Self::labelled(class.labels.as_ref()).unwrap_or_default(),
        )
    }

    /// What the label among these names.
    #[must_use]
    pub fn labelled(labels: Option<&BTreeMap<String, String>>) -> Option<Self> {
        labels?.get(CATALOG_LABEL).map(|name| Self(name.clone()))
    }

    /// The catalog of a ClusterClass, as JSON.
    #[must_use]
    pub fn of_class(class: &Value) -> Self {
        let name = class["metadata"]["labels"][CATALOG_LABEL].as_str();
        name.map_or_else(Self::default, Self::from)
    }

    /// Whether it is the default catalog.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// The name; empty for the default catalog.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for CatalogName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// As messages name it.
impl fmt::Display for CatalogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_default() {
            f.write_str("the default catalog")
        } else {
            write!(f, "catalog {}", self.0)
        }
    }
}

impl JsonSchema for CatalogName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CatalogName".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema::catalog_name(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_names_the_catalog_and_a_classic_cluster_its_own() {
        let labels = |name: &str| BTreeMap::from([(CATALOG_LABEL.to_owned(), name.to_owned())]);
        let class = |name: Option<&str>| ObjectMeta {
            labels: name.map(labels),
            ..ObjectMeta::default()
        };
        for (own, of_class, catalog) in [
            (None, None, ""),
            (Some("a"), None, "a"),
            (Some(""), None, ""),
            (None, Some(Some("b")), "b"),
            (Some("a"), Some(Some("b")), "b"),
            (Some("a"), Some(None), ""),
        ] {
            let class = of_class.map(class);
            let found = CatalogName::of_cluster(own.map(labels).as_ref(), class.as_ref());
            assert_eq!(found.as_str(), catalog, "{own:?}, {of_class:?}");
        }
        assert_eq!(CatalogName::from("a").to_string(), "catalog a");
        assert_eq!(CatalogName::default().to_string(), "the default catalog");
    }
}
