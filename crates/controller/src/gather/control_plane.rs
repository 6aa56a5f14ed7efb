//! A Cluster's control plane. One of another kind than kubeadm's is read as Cluster API's contract says, from
//! whatever provider: such a kind is known only once a Cluster refers to it, and watched from then on.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::SWAP_HISTORY_ANNOTATION;
use instar_capi as capi;
use instar_capi::{Contract, KubeadmControlPlane, VersionCount};
use instar_domain::{InvalidVersion, KubeVersion};
use instar_planner::{
    ControlPlane, DrainTimeout, Flavor, ManagedBy, Object, Observed, Replicas, ResourceVersion, SwapHistory,
    TemplateRef, Unreadable,
};
use instar_watch::Key;
use kube::{Resource, ResourceExt, core::DynamicObject, discovery::ApiResource};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    api::{Class, Error},
    caches::{Caches, ForeignControlPlane, lifecycle, not_watched},
    gather::referred::{Found, Referred, find},
    kinds::Kind,
};

impl Referred<'_> {
    /// A classic Cluster's control plane, where there is one. What has to be done before it can be read is reported
    /// like an object that can't be read.
    pub(crate) async fn control_plane(&self, cluster: &capi::Cluster) -> Result<Option<Observed<ControlPlane>>, Error> {
        let key = Key::of(cluster);
        let Some(reference) = not_watched(cluster) else {
            return Ok(of_kubeadm(self.caches, cluster, &key));
        };
        match self.foreign_control_plane(&key, reference).await {
            Err(error) if error.class() == Class::Terminal => Ok(Some(unreadable(reference, &error))),
            found => found,
        }
    }

    async fn foreign_control_plane(
        &self,
        cluster: &Key,
        reference: &capi::Reference,
    ) -> Result<Option<Observed<ControlPlane>>, Error> {
        let capi::Reference { api_group, kind, name } = reference;
        let known = self.kinds.kind(self.client, api_group, kind).await?;
        let watches = &self.caches.foreign_control_planes;
        let kind = self.watch(watches, cluster, &known.resource).await?;
        let object = Key::new(cluster.namespace(), name);
        let found = find(
            watches.look_up(kind.as_str(), &object, ForeignControlPlane::get),
            &known.resource,
        );
        Ok(
            match found.inspect_err(|error| self.kinds.forget_after(error, &known.resource))? {
                Found::Present(object) => Some(match parsed(&object, &known) {
                    Ok(control_plane) => Observed::Read(control_plane),
                    Err(reason) => unreadable(reference, &reason),
                }),
                Found::Unreadable(reason) => Some(unreadable(reference, &reason)),
                Found::Absent => None,
            },
        )
    }
}

/// A classic Cluster's control plane, where it is among these objects. By which contract a provider's kind goes, its
/// definition says, which isn't among them: the form of the reference to its template says it too.
pub(crate) fn of_objects(
    caches: &Caches,
    cluster: &capi::Cluster,
    objects: &[DynamicObject],
) -> Option<Observed<ControlPlane>> {
    let Some(reference) = not_watched(cluster) else {
        return of_kubeadm(caches, cluster, &Key::of(cluster));
    };
    let object = objects.iter().find(|object| {
        let types = object.types.clone().unwrap_or_default();
        let group = types.api_version.split_once('/').map_or("", |(group, _)| group);
        (group, &types.kind, &object.name_any()) == (&*reference.api_group, &reference.kind, &reference.name)
    })?;
    let api_version = object.types.as_ref().map(|types| types.api_version.clone());
    let api_version = api_version.unwrap_or_default();
    let version = api_version.split_once('/').map_or("", |(_, version)| version);
    let is_earlier = object.data.pointer("/spec/machineTemplate/infrastructureRef").is_some();
    let known = Kind {
        resource: ApiResource {
            group: reference.api_group.clone(),
            version: version.to_owned(),
            api_version: api_version.clone(),
            kind: reference.kind.clone(),
            // Nothing is asked for by it.
            plural: String::new(),
        },
        contract: if is_earlier {
            Contract::V1Beta1
        } else {
            Contract::V1Beta2
        },
    };
    Some(match parsed(object, &known) {
        Ok(control_plane) => Observed::Read(control_plane),
        Err(reason) => unreadable(reference, &reason),
    })
}

/// A topology Cluster's control plane: of those only kubeadm's are known.
pub(crate) fn of_topology(caches: &Caches, cluster: &capi::Cluster) -> Option<Observed<ControlPlane>> {
    let kind = KubeadmControlPlane::kind(&());
    match not_watched(cluster) {
        None => of_kubeadm(caches, cluster, &Key::of(cluster)),
        Some(reference) => Some(unreadable(
            reference,
            &format!("of a topology Cluster's control planes, only a {kind} is followed"),
        )),
    }
}

fn of_kubeadm(caches: &Caches, cluster: &capi::Cluster, key: &Key) -> Option<Observed<ControlPlane>> {
    let reference = cluster.spec.control_plane_ref.as_ref()?;
    let mut found = caches.parts::<KubeadmControlPlane>(key).0.into_iter();
    found.find(|found| match found {
        Observed::Read(control_plane) => control_plane.object.name == reference.name,
        Observed::Invalid(unreadable) => unreadable.name == reference.name,
    })
}

fn unreadable(reference: &capi::Reference, reason: &impl ToString) -> Observed<ControlPlane> {
    Observed::Invalid(Unreadable {
        kind: reference.kind.clone(),
        name: reference.name.clone(),
        reason: reason.to_string(),
    })
}

/// Why a control plane can't be upgraded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it has no spec.version, so Instar can't upgrade it")]
    NoVersion,
    #[error("its {field} is no version: {source}")]
    Version {
        field: &'static str,
        source: InvalidVersion,
    },
    #[error("its {pointer} names no {field}")]
    Reference { pointer: &'static str, field: &'static str },
    #[error("its {pointer} is in namespace {namespace}: a template has to be in its own")]
    Elsewhere { pointer: &'static str, namespace: String },
    #[error("it isn't as Cluster API's contract says: {0}")]
    Shape(#[from] serde_json::Error),
}

/// What the contract says of every control plane.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields {
    spec: Spec,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    version: Option<String>,
    replicas: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: Option<i64>,
    version: Option<String>,
    versions: Vec<VersionCount>,
    replicas: Option<u32>,
    ready_replicas: Option<u32>,
    /// At the contract v1beta2.
    up_to_date_replicas: Option<u32>,
    /// At the contract v1beta1.
    updated_replicas: Option<u32>,
}

/// A reference in the form of either contract.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    api_group: String,
    api_version: String,
    kind: String,
    name: String,
    namespace: Option<String>,
}

fn parsed(object: &DynamicObject, known: &Kind) -> Result<ControlPlane, Unusable> {
    let Fields { spec, status } = Fields::deserialize(&object.data)?;
    let text = spec
        .version
        .filter(|text| !text.is_empty())
        .ok_or(Unusable::NoVersion)?;
    let version = |field, text: &str| {
        let parsed = text.parse::<KubeVersion>();
        parsed.map_err(|source| Unusable::Version { field, source })
    };
    let observed: Result<Vec<_>, _> = observed(&status)
        .into_iter()
        .map(|(field, text)| version(field, &text))
        .collect();
    Ok(ControlPlane {
        // Where the status doesn't say what edit it tells of, the versions in it have to: after a swap
        // to another version they differ until it is there.
        object: self::object(object, &known.resource, status.observed_generation),
        labels: labels(object)?,
        version: version("spec.version", &text)?,
        observed: observed?,
        infrastructure: infrastructure(object, known.contract)?,
        contract: known.contract,
        flavor: Flavor::Other,
        replicas: spec.replicas.map(|desired| replicas(desired, &status, known.contract)),
        drain_timeout: drain_timeout(object, known.contract),
        skipped_addons: BTreeSet::new(),
        rollout_after: None,
    })
}

/// The contract v1beta1 has a duration as Go writes it, which isn't read.
fn drain_timeout(object: &DynamicObject, contract: Contract) -> DrainTimeout {
    let at = |pointer: &str| object.data.pointer(pointer);
    match contract {
        Contract::V1Beta1 if at("/spec/machineTemplate/nodeDrainTimeout").is_some() => DrainTimeout::Unknown,
        Contract::V1Beta1 => DrainTimeout::None,
        Contract::V1Beta2 => {
            let seconds = at("/spec/machineTemplate/spec/deletion/nodeDrainTimeoutSeconds");
            DrainTimeout::of(seconds.and_then(serde_json::Value::as_i64))
        }
    }
}

/// The labels of its machines, which are at the same place in both contracts.
fn labels(object: &DynamicObject) -> Result<BTreeMap<String, String>, Unusable> {
    let labels = object.data.pointer("/spec/machineTemplate/metadata/labels");
    Ok(labels.map_or_else(|| Ok(BTreeMap::new()), Deserialize::deserialize)?)
}

/// What its machines run, by the field that says it. Cluster API takes a version without a v too.
fn observed(status: &Status) -> Vec<(&'static str, String)> {
    let with_v = |text: &str| match text.strip_prefix('v') {
        Some(_) => text.to_owned(),
        None => format!("v{text}"),
    };
    let counted = status.versions.iter().filter(|count| count.replicas != Some(0));
    let versions: Vec<_> = counted
        .map(|count| ("status.versions", with_v(&count.version)))
        .collect();
    if !versions.is_empty() {
        return versions;
    }
    let lowest = status.version.as_deref().filter(|text| !text.is_empty());
    lowest
        .map(|text| ("status.version", with_v(text)))
        .into_iter()
        .collect()
}

fn replicas(desired: u32, status: &Status, contract: Contract) -> Replicas {
    let total = status.replicas.unwrap_or_default();
    Replicas {
        desired,
        total,
        ready: status.ready_replicas.unwrap_or_default(),
        up_to_date: match contract {
            // Some providers of that contract never count them. Then the observed versions, of which
            // the status has the lowest, and the Machines have to show it.
            Contract::V1Beta1 => status.updated_replicas.unwrap_or(total),
            Contract::V1Beta2 => status.up_to_date_replicas.unwrap_or_default(),
        },
    }
}

/// The template of its machines. One whose machines are its own matter has none.
pub(crate) fn infrastructure(object: &DynamicObject, contract: Contract) -> Result<Option<TemplateRef>, Unusable> {
    let pointer = match contract {
        Contract::V1Beta1 => "/spec/machineTemplate/infrastructureRef",
        Contract::V1Beta2 => "/spec/machineTemplate/spec/infrastructureRef",
    };
    let Some(found) = object.data.pointer(pointer).filter(|found| **found != Value::Null) else {
        return Ok(None);
    };
    let reference = Reference::deserialize(found)?;
    if reference.kind.is_empty() && reference.name.is_empty() {
        return Ok(None);
    }
    let (field, group) = match contract {
        Contract::V1Beta1 => (
            "apiVersion",
            reference.api_version.split_once('/').map(|(group, _)| group),
        ),
        Contract::V1Beta2 => ("apiGroup", Some(&*reference.api_group)),
    };
    let named = [
        (field, group.unwrap_or_default()),
        ("kind", &reference.kind),
        ("name", &reference.name),
    ];
    if let Some((field, _)) = named.into_iter().find(|(_, text)| text.is_empty()) {
        return Err(Unusable::Reference { pointer, field });
    }
    let elsewhere = |namespace: &String| !namespace.is_empty() && object.namespace().as_ref() != Some(namespace);
    if let Some(namespace) = reference.namespace.filter(elsewhere) {
        return Err(Unusable::Elsewhere { pointer, namespace });
    }
    Ok(Some(TemplateRef {
        group: group.unwrap_or_default().to_owned(),
        kind: reference.kind.clone(),
        name: reference.name.clone(),
    }))
}

fn object(object: &DynamicObject, resource: &ApiResource, observed_generation: Option<i64>) -> Object {
    let generation = object.metadata.generation.unwrap_or_default();
    let swap_history = object.annotations().get(SWAP_HISTORY_ANNOTATION);
    Object {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        name: object.name_any(),
        resource_version: ResourceVersion(object.resource_version().unwrap_or_default()),
        generation,
        observed_generation: observed_generation.unwrap_or(generation),
        lifecycle: lifecycle(object, false),
        managed_by: ManagedBy::of(object.labels()),
        swap_history: swap_history.and_then(|text| SwapHistory::from_annotation(text)),
        // They are passed on of topology Clusters alone.
        conditions: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
