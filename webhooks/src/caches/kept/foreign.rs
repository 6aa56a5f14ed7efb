//! Control planes of other kinds than kubeadm's.

use instar_admission::{
    cluster_of,
    cluster_state::{Versions, observed},
    template::TemplateType,
};
use instar_capi::{ControlPlaneSpec, ControlPlaneStatus, VersionCount};
use instar_domain::KubeVersion;
use instar_watch::{Entry, Guarded, Kept, Key, Row, Unreadable, references_in};
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

use super::{super::group::Group, Use, groups_of_unreadable, in_use, namespace, same_uses, use_bytes, uses_of};

/// Of a control plane of another provider: whose it is, its versions, the templates that it refers to. There may be as
/// many as Clusters, and some have files for their machines in them.
#[derive(Debug)]
pub(crate) struct ForeignControlPlane {
    cluster: Option<Box<str>>,
    versions: Option<Versions>,
    uses: Box<[Use]>,
}

impl ForeignControlPlane {
    pub(in super::super) fn versions(&self) -> Option<Versions> {
        self.versions.clone()
    }

    pub(in super::super) fn cluster_name(&self) -> Option<String> {
        self.cluster.as_deref().map(str::to_owned)
    }

    pub(in super::super) fn uses_mut(&mut self) -> &mut [Use] {
        &mut self.uses
    }
}

impl Entry for ForeignControlPlane {
    type Group = Group;

    fn groups(&self, _: &Key) -> Vec<Group> {
        in_use(&self.uses).collect()
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        groups_of_unreadable(key, unreadable)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.versions == other.versions && same_uses(&self.uses, &other.uses)
    }

    fn heap_bytes(&self) -> usize {
        self.cluster.as_ref().map_or(0, |name| name.len()) + use_bytes(&self.uses)
    }
}

impl Kept for ForeignControlPlane {
    type Object = Guarded<DynamicObject>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |object| {
            let metadata = &object.metadata;
            let (spec, status) = (&object.data["spec"], &object.data["status"]);
            let templates = templates(spec, namespace(metadata));
            Self {
                cluster: cluster_of(metadata).map(Into::into),
                versions: versions(spec, status),
                uses: uses_of(metadata, templates),
            }
        })
    }
}

/// The templates that it refers to, wherever it does. The contract has one place for that of its machines, but providers
/// keep theirs elsewhere too: `spec.infrastructureTemplate` of a `TalosControlPlane`, `spec.infrastructureRef` of an
/// `RKE2ControlPlane`, `spec.machineTemplate.infrastructureTemplate` of a `MicroK8sControlPlane`.
fn templates(spec: &Value, namespace: &str) -> Vec<Option<Use>> {
    let mut references = references_in(spec);
    references.retain(|reference| reference.kind.ends_with("Template"));
    // Some name the same one at two places.
    references.sort_unstable();
    references.dedup();
    let used = references.iter().map(|reference| {
        let is_of_machines = reference.kind.ends_with("MachineTemplate");
        Use::of(is_of_machines.then_some(TemplateType::Machine), namespace, reference)
    });
    used.collect()
}

/// What the contract says of every control plane's versions.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Running {
    version: Option<String>,
    versions: Vec<VersionCount>,
}

/// The versions that it runs: those that its status counts, or the lowest of them, or else what is asked.
fn versions(spec: &Value, status: &Value) -> Option<Versions> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(with_v);
    let asked = text(&spec["version"]).and_then(|text| text.parse::<KubeVersion>().ok());
    let read = |text: &str| as_asked(&with_v(text), asked.as_ref());
    // What isn't as the contract says is as if it weren't there.
    let Running { version, versions } = Running::deserialize(status).unwrap_or_default();
    let status = ControlPlaneStatus {
        version: version.filter(|text| !text.is_empty()).map(|text| read(&text)),
        versions: versions
            .into_iter()
            .filter(|count| count.replicas != Some(0))
            .map(|count| VersionCount {
                version: read(&count.version),
                ..count
            })
            .collect(),
        ..ControlPlaneStatus::default()
    };
    let spec = ControlPlaneSpec {
        version: asked.as_ref().map(ToString::to_string).unwrap_or_default(),
        ..ControlPlaneSpec::default()
    };
    observed(&spec, Some(&status))
}

/// Cluster API takes a version without a v too.
fn with_v(text: &str) -> String {
    format!("v{}", text.strip_prefix('v').unwrap_or(text))
}

/// Some providers write a distribution's mark in one field and not in the other, and what differs in it alone would look
/// like a rollout that never ends.
fn as_asked(text: &str, asked: Option<&KubeVersion>) -> String {
    let is_asked = |asked: &&KubeVersion| {
        text.parse::<KubeVersion>()
            .is_ok_and(|runs| runs.is_build_of(asked) || asked.is_build_of(&runs))
    };
    asked
        .filter(is_asked)
        .map_or_else(|| text.to_owned(), ToString::to_string)
}
