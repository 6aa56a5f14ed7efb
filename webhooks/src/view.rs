//! Views of objects with the fields that rules need, read directly from the review's bytes.
//!
//! A third of an object is managed fields, which no rule needs; [`ObjectMeta`] itself would make a tree of them.
//! Fields that aren't named below are skipped, and nothing is read twice.

use std::{collections::BTreeMap, ops::Deref};

use instar_admission::{marks::Marked, template::Text, worker::Worker};
use instar_capi::WorkerKind;
use instar_capi::{
    Bootstrap, Cluster, ClusterClass, ClusterClassSpec, ClusterConfiguration, ClusterSpec, ClusterStatus, Condition,
    ControlPlaneMachines, ControlPlaneRollout, ControlPlaneSpec, ControlPlaneStatus, KubeadmConfigSpec,
    KubeadmControlPlane, MachineDeletion, MachineSpec, MachineTemplate, Reference, VersionCount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::reader;

/// Metadata without the fields that only servers and other controllers use.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    deletion_timestamp: Option<Time>,
}

impl From<Metadata> for ObjectMeta {
    fn from(read: Metadata) -> Self {
        let Metadata {
            name,
            generate_name,
            namespace,
            generation,
            labels,
            annotations,
            owner_references,
            deletion_timestamp,
        } = read;
        Self {
            name,
            generate_name,
            namespace,
            generation,
            labels,
            annotations,
            owner_references,
            deletion_timestamp,
            ..Self::default()
        }
    }
}

/// Reads metadata as far as rules read it.
fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Metadata::deserialize(deserializer).map(Into::into)
}

/// The same metadata, whose fields stay text: of most templates nobody asks for them. A field that is as it was in the
/// old object is passed at once, and managed fields are passed once.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TextMetadata<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    generate_name: Option<Text<'a>>,
    #[serde(borrow)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    generation: Option<Text<'a>>,
    #[serde(borrow)]
    labels: Option<Text<'a>>,
    #[serde(borrow)]
    annotations: Option<Text<'a>>,
    #[serde(borrow)]
    owner_references: Option<Text<'a>>,
    #[serde(borrow)]
    deletion_timestamp: Option<Text<'a>>,
}

impl TextMetadata<'_> {
    pub(crate) fn read(&self) -> serde_json::Result<ObjectMeta> {
        Ok(ObjectMeta {
            name: field(self.name)?,
            generate_name: field(self.generate_name)?,
            namespace: field(self.namespace)?,
            generation: field(self.generation)?,
            labels: field(self.labels)?,
            owner_references: field(self.owner_references)?,
            deletion_timestamp: field(self.deletion_timestamp)?,
            ..self.read_annotations()?
        })
    }

    /// Only the annotations.
    pub(crate) fn read_annotations(&self) -> serde_json::Result<ObjectMeta> {
        Ok(ObjectMeta {
            annotations: field(self.annotations)?,
            ..ObjectMeta::default()
        })
    }
}

fn field<'a, T: Deserialize<'a>>(text: Option<Text<'a>>) -> serde_json::Result<Option<T>> {
    text.map(|Text(text)| reader::read(text.as_bytes())).transpose()
}

/// The outside of every object. All that an API server sends have metadata, and what is written into it
/// must have a place there.
#[derive(Deserialize)]
#[serde(bound(deserialize = "Spec: Deserialize<'de>, Status: Deserialize<'de>"))]
struct Object<Spec, Status> {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    spec: Spec,
    #[serde(default = "nothing")]
    status: Option<Status>,
}

const fn nothing<T>() -> Option<T> {
    None
}

/// A view of an object, as this module reads it.
pub(crate) struct Read<T>(T);

impl<T> Deref for Read<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What is made of the parts of an object.
pub(crate) trait View {
    type Spec: for<'de> Deserialize<'de>;
    type Status: for<'de> Deserialize<'de>;

    fn of(metadata: ObjectMeta, spec: Self::Spec, status: Option<Self::Status>) -> Self;
}

impl<'de, T: View> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object { metadata, spec, status } = Object::<T::Spec, T::Status>::deserialize(deserializer)?;
        Ok(Self(T::of(metadata, spec, status)))
    }
}

/// What Cluster API says of a Cluster's topology: by it a version may go down.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct SaidOfTopology {
    conditions: Option<Vec<Condition>>,
}

impl View for Cluster {
    type Spec = ClusterSpec;
    type Status = SaidOfTopology;

    fn of(metadata: ObjectMeta, spec: ClusterSpec, status: Option<SaidOfTopology>) -> Self {
        let status = status.and_then(|status| {
            let mut conditions = status.conditions?;
            conditions.retain(|condition| condition.kind == Condition::TOPOLOGY_RECONCILED);
            Some(ClusterStatus {
                conditions,
                ..ClusterStatus::default()
            })
        });
        Self { metadata, spec, status }
    }
}

/// What a control plane runs, and how far its machines are as it asks. With the conditions of its status, a decision would cost a third more.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ObservedVersions {
    observed_generation: i64,
    version: Option<String>,
    versions: Vec<VersionCount>,
    replicas: Option<u32>,
    up_to_date_replicas: Option<u32>,
}

/// What a control plane asks for, without the components' arguments: no rule reads them.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JudgedControlPlane {
    version: String,
    replicas: Option<u32>,
    machine_template: ControlPlaneMachines,
    kubeadm_config_spec: JudgedConfigSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JudgedConfigSpec {
    cluster_configuration: ClusterConfiguration,
}

impl View for KubeadmControlPlane {
    type Spec = JudgedControlPlane;
    type Status = ObservedVersions;

    fn of(metadata: ObjectMeta, spec: JudgedControlPlane, status: Option<ObservedVersions>) -> Self {
        let spec = ControlPlaneSpec {
            version: spec.version,
            replicas: spec.replicas,
            machine_template: spec.machine_template,
            kubeadm_config_spec: KubeadmConfigSpec {
                cluster_configuration: spec.kubeadm_config_spec.cluster_configuration,
                settings: Vec::new(),
            },
            rollout: ControlPlaneRollout::default(),
        };
        let status = status.map(|status| ControlPlaneStatus {
            observed_generation: status.observed_generation,
            version: status.version,
            versions: status.versions,
            replicas: status.replicas,
            up_to_date_replicas: status.up_to_date_replicas,
            ..ControlPlaneStatus::default()
        });
        Self { metadata, spec, status }
    }
}

impl View for ClusterClass {
    type Spec = ClusterClassSpec;
    type Status = IgnoredAny;

    fn of(metadata: ObjectMeta, spec: ClusterClassSpec, _: Option<IgnoredAny>) -> Self {
        Self { metadata, spec }
    }
}

/// A worker of any kind: its kind is known only when the review has been read, and a Machine alone has
/// in its own spec what the others have in their template's.
#[derive(Deserialize)]
pub(crate) struct AnyWorker {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    spec: AnyWorkerSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AnyWorkerSpec {
    cluster_name: String,
    template: MachineTemplate,
    version: String,
    infrastructure_ref: Reference,
    bootstrap: Bootstrap,
}

impl AnyWorker {
    pub(crate) fn of(self, kind: WorkerKind) -> Worker {
        let Self { metadata, spec } = self;
        match kind {
            WorkerKind::MachineDeployment | WorkerKind::MachineSet | WorkerKind::MachinePool => Worker {
                metadata,
                cluster: spec.cluster_name,
                labels: spec.template.metadata.labels,
                machines: spec.template.spec,
            },
            WorkerKind::Machine => Worker {
                labels: metadata.labels.clone().unwrap_or_default(),
                metadata,
                cluster: spec.cluster_name.clone(),
                machines: MachineSpec {
                    cluster_name: spec.cluster_name,
                    version: spec.version,
                    infrastructure_ref: spec.infrastructure_ref,
                    bootstrap: spec.bootstrap,
                    // No rule asks for it.
                    deletion: MachineDeletion::default(),
                },
            },
        }
    }
}

/// An object of any kind that may have marks.
#[derive(Deserialize)]
pub(crate) struct AnyMarked {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PausableSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PausableSpec {
    paused: Option<bool>,
}

impl AnyMarked {
    pub(crate) fn read(self) -> Marked {
        Marked {
            metadata: self.metadata,
            paused: self.spec.paused.unwrap_or_default(),
        }
    }
}
