//! What expressions know beside the object.

use std::collections::BTreeMap;

use instar_api::KubernetesReleaseSpec;
use instar_domain::KubeVersion;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::expression::Variable;

/// What was written for an add-on, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The value of the annotation or the field.
    pub value: Value,
    /// When it was first seen there.
    pub at: Timestamp,
}

/// Whose add-on it is, and when it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    release: Value,
    cluster: Value,
    written: Value,
    pub(crate) now: Timestamp,
}

/// The release that a cluster goes to, as expressions see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseView {
    /// Absent where none of the catalog is known.
    pub name: Option<String>,
    pub version: KubeVersion,
    /// Absent where none of the catalog is known.
    pub revision: Option<u32>,
}

impl ReleaseView {
    /// Of a release its name and its spec.
    #[must_use]
    pub fn of(name: &str, spec: &KubernetesReleaseSpec) -> Self {
        Self {
            name: Some(name.to_owned()),
            version: spec.version.clone(),
            revision: Some(spec.revision),
        }
    }

    fn to_json(&self) -> Value {
        let mut json = json!({ "version": self.version.to_string() });
        if let Some(name) = &self.name {
            json["name"] = json!(name);
        }
        if let Some(revision) = self.revision {
            json["revision"] = json!(revision);
        }
        json
    }
}

impl Subject {
    /// `cluster` is the Cluster as JSON.
    #[must_use]
    pub fn new(release: &ReleaseView, cluster: &Value, written: Option<&Written>, now: Timestamp) -> Self {
        Self {
            release: release.to_json(),
            cluster: with_maps(cluster),
            written: written.map_or_else(
                || json!({}),
                |written| json!({ "value": written.value, "at": written.at.to_string() }),
            ),
            now,
        }
    }

    /// Of a made-up Cluster and release, to try an expression.
    pub(crate) fn of_nobody(cluster: &Value, now: Timestamp) -> Self {
        Self {
            release: json!({ "name": "v1.0.0", "version": "v1.0.0", "revision": 1 }),
            cluster: with_maps(cluster),
            written: json!({ "value": "value", "at": now.to_string() }),
            now,
        }
    }

    /// Of the Cluster alone: of no release, and nothing was written.
    pub(crate) fn of_cluster(cluster: &Value, now: Timestamp) -> Self {
        Self {
            release: json!({}),
            cluster: with_maps(cluster),
            written: json!({}),
            now,
        }
    }

    /// Of an expression over no object.
    pub(crate) fn alone(&self) -> BTreeMap<Variable, Value> {
        BTreeMap::from([
            (Variable::Release, self.release.clone()),
            (Variable::Cluster, self.cluster.clone()),
            (Variable::Written, self.written.clone()),
        ])
    }

    /// Of an expression over an object, as far as it asks for them. An object may lack a part: Kubernetes leaves out
    /// what is empty.
    pub(crate) fn with<'a>(
        &self,
        object: &Value,
        used: impl IntoIterator<Item = &'a Variable>,
    ) -> BTreeMap<Variable, Value> {
        let part = |name: &str| object.get(name).filter(|part| !part.is_null()).cloned();
        let values = used.into_iter().filter_map(|variable| {
            let value = match variable {
                Variable::Object => Some(object.clone()),
                Variable::Metadata => part("metadata"),
                Variable::Spec => part("spec"),
                Variable::Status => part("status"),
                Variable::Release => Some(self.release.clone()),
                Variable::Cluster => Some(self.cluster.clone()),
                Variable::Written => Some(self.written.clone()),
                Variable::Now => None,
            };
            Some((*variable, value?))
        });
        values.collect()
    }
}

/// A Cluster whose labels and annotations are there, so that an expression may look into them.
fn with_maps(cluster: &Value) -> Value {
    let mut cluster = cluster.clone();
    if let Some(metadata) = cluster.get_mut("metadata").and_then(Value::as_object_mut) {
        for member in ["labels", "annotations"] {
            let map = metadata.entry(member).or_insert_with(|| json!({}));
            if map.is_null() {
                *map = json!({});
            }
        }
    }
    cluster
}
