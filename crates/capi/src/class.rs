//! `ClusterClass`: its templates, its pools' classes and its patches.

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of a ClusterClass' spec that Instar reads.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "ClusterClass",
    plural = "clusterclasses",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    doc = "A ClusterClass, as far as Instar reads it."
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterClassSpec {
    /// The template of the infrastructure cluster.
    pub infrastructure: TemplateHolder,
    /// The control plane.
    pub control_plane: ControlPlaneClass,
    /// The classes of pools.
    pub workers: WorkersClass,
    /// The patches, in the order in which they are applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// What is asked for an upgrade's plan.
    pub upgrade: Upgrade,
    /// The versions that Cluster API chooses a path from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kubernetes_versions: Vec<String>,
}

/// A class' control plane.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneClass {
    /// Labels and annotations of its machines.
    pub metadata: ClassMetadata,
    /// The control plane's template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<TemplateRef>,
    /// The template of its machines; absent where the control plane has none.
    pub machine_infrastructure: TemplateHolder,
    /// The `MachineHealthCheck` of its machines.
    pub health_check: HealthCheckClass,
}

/// A class' pools.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkersClass {
    /// Classes of MachineDeployments.
    pub machine_deployments: Vec<WorkerClass>,
    /// Classes of MachinePools.
    pub machine_pools: Vec<WorkerClass>,
}

/// One class of pools.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerClass {
    /// Its name.
    pub class: String,
    /// Labels and annotations of the pools' machines.
    pub metadata: ClassMetadata,
    /// The template of the machines, or of the pool.
    pub infrastructure: TemplateHolder,
    /// The template of what bootstraps the machines.
    pub bootstrap: TemplateHolder,
    /// The `MachineHealthCheck` of the machines; a class of MachinePools has none.
    pub health_check: HealthCheckClass,
}

/// A class' `MachineHealthCheck`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct HealthCheckClass {
    /// The template of what repairs a machine, where Cluster API doesn't.
    pub remediation: TemplateHolder,
}

/// Labels and annotations of machines, and of a control plane itself.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct ClassMetadata {
    /// The labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a class wraps around a template's reference.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateHolder {
    /// The reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<TemplateRef>,
}

/// A reference to a template in the class' namespace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateRef {
    /// Group and version: the version in which Cluster API reads and patches the template.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

/// What is asked for an upgrade's plan.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Upgrade {
    /// Extensions.
    pub external: UpgradeExtensions,
}

/// Extensions of an upgrade.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct UpgradeExtensions {
    /// A Runtime Extension that chooses the path, which is not known before it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate_upgrade_plan_extension: Option<String>,
}

/// One patch of a class.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Patch {
    /// Its name, unique in the class.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A Go template: the patch is applied where it renders `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled_if: Option<String>,
    /// What it does, for an inline patch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<Definition>,
    /// The extensions that are asked, for an external patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<Value>,
}

/// JSON patches for the templates that a selector matches.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Definition {
    /// Which templates.
    pub selector: Selector,
    /// What to do to them, in order.
    pub json_patches: Vec<JsonPatch>,
}

/// Which templates a definition is for.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// Exactly the one that the class' reference names.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Where the template is used.
    pub match_resources: MatchResources,
}

/// Where a template is used.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchResources {
    /// As the control plane or its machines' template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<bool>,
    /// As the infrastructure cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infrastructure_cluster: Option<bool>,
    /// By MachineDeployments of these classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_deployment_class: Option<MatchClasses>,
    /// By MachinePools of these classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_pool_class: Option<MatchClasses>,
}

/// Names of classes, each with at most one `*` at an end.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct MatchClasses {
    /// The names.
    pub names: Vec<String>,
}

/// One operation.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct JsonPatch {
    /// `add`, `replace` or `remove`.
    pub op: String,
    /// A JSON Pointer.
    pub path: String,
    /// A fixed value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Where the value comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// Where a patch's value comes from.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct ValueFrom {
    /// A variable's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// A Go template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

impl MatchClasses {
    /// Whether a class' name is matched, as Cluster API does it.
    #[must_use]
    pub fn matches(&self, class: &str) -> bool {
        self.names.iter().any(|name| {
            name == class
                || name == "*"
                || name.strip_prefix('*').is_some_and(|end| class.ends_with(end))
                || name.strip_suffix('*').is_some_and(|start| class.starts_with(start))
        })
    }
}

impl Selector {
    /// Whether it is for templates of that kind, at exactly that version. Where they are used is another question.
    #[must_use]
    pub fn is_of(&self, template: &TemplateRef) -> bool {
        self.api_version == template.api_version && self.kind == template.kind
    }
}

impl TemplateRef {
    /// The API group, without the version.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

impl WorkersClass {
    /// A MachineDeployment class by its name.
    #[must_use]
    pub fn machine_deployment(&self, class: &str) -> Option<&WorkerClass> {
        self.machine_deployments.iter().find(|worker| worker.class == class)
    }

    /// A MachinePool class by its name.
    #[must_use]
    pub fn machine_pool(&self, class: &str) -> Option<&WorkerClass> {
        self.machine_pools.iter().find(|worker| worker.class == class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_match_as_in_cluster_api() {
        let names = |names: &[&str]| MatchClasses {
            names: names.iter().map(ToString::to_string).collect(),
        };
        assert!(names(&["*"]).matches("default-worker"));
        assert!(names(&["default-*"]).matches("default-worker"));
        assert!(names(&["*-worker"]).matches("default-worker"));
        assert!(names(&["gpu", "default-worker"]).matches("default-worker"));
        assert!(!names(&["gpu*"]).matches("default-worker"));
        assert!(!names(&[]).matches("default-worker"));
    }
}
