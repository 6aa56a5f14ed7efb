//! The one write that points a pool at its release: everything that must move together, and the
//! compare.

use instar_api::{SWAP_HISTORY_ANNOTATION, Values};
use instar_capi::{ClusterConfiguration, Contract};
use instar_catalog::core_dns;
use instar_domain::KubeVersion;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    decision::{Convergence, Swap},
    pool_id::PoolId,
    snapshot::{ControlPlane, Flavor, MachineDeployment, MachinePool, Object, TemplateRef},
    step::Step,
    swap_history::{ComponentImage, Direction, PoolState, SwapEntry, SwapHistory, UpgradeId},
    values::put,
};

/// What a KubeadmControlPlaneTemplate has above the spec of a KubeadmControlPlane.
const TEMPLATE: &str = "/spec/template/spec";
/// Of a KubeadmControlPlane and of a MachineDeployment.
const ROLLOUT_AFTER: &str = "/spec/rollout/after";
const CONFIGURATION: &str = "/kubeadmConfigSpec/clusterConfiguration";
const ETCD: &str = "/etcd/";
const ETCD_TAG: &str = "/etcd/local/imageTag";
const ETCD_REPOSITORY: &str = "/etcd/local/imageRepository";
const DNS: &str = "/dns/";
const DNS_TAG: &str = "/dns/imageTag";
const DNS_REPOSITORY: &str = "/dns/imageRepository";

/// Where a pool goes.
pub(crate) struct Destination<'a> {
    pub(crate) upgrade: UpgradeId,
    /// The time.
    pub(crate) now: Timestamp,
    pub(crate) to: Course<'a>,
    pub(crate) template: Option<TemplateRef>,
    pub(crate) bootstrap: Option<TemplateRef>,
    /// Where it is now.
    pub(crate) origin: Origin,
}

/// Forward or back.
#[derive(Clone, Copy)]
pub(crate) enum Course<'a> {
    /// To a release.
    To(Step<'a>),
    /// To what was there before an upgrade.
    BackTo(&'a PoolState),
    /// To what was there before a step of this upgrade, or of the one before it, that never came up.
    TurnBackTo(&'a PoolState),
    /// To new machines of what is there, at this version, in the place of those from before a time.
    Restart(&'a KubeVersion, Timestamp),
}

impl<'a> Course<'a> {
    pub(crate) const fn version(self) -> &'a KubeVersion {
        match self {
            Self::To(step) => step.version(),
            Self::BackTo(before) | Self::TurnBackTo(before) => &before.version,
            Self::Restart(version, _) => version,
        }
    }

    /// The release; absent where it isn't known, since Instar hadn't set what was there before.
    fn release(self) -> Option<&'a str> {
        match self {
            Self::To(step) => Some(step.name()),
            Self::BackTo(before) | Self::TurnBackTo(before) => before.release.as_deref(),
            Self::Restart(..) => None,
        }
    }
}

/// Where a pool is when it is swapped, beside what its spec says.
pub(crate) struct Origin {
    /// The release that its machine template was minted for, where it is known.
    pub(crate) release: Option<String>,
    /// Whether all its machines are as its spec says.
    pub(crate) has_converged: bool,
}

/// The swap of the control plane: version, reference, etcd's and CoreDNS' images.
pub(crate) fn control_plane(control_plane: &ControlPlane, destination: Destination<'_>) -> Swap {
    let reference = match control_plane.contract {
        Contract::V1Beta1 => "/spec/machineTemplate/infrastructureRef/name",
        Contract::V1Beta2 => "/spec/machineTemplate/spec/infrastructureRef/name",
    };
    let mut writes = vec![("/spec/version".to_owned(), json!(destination.to.version()))];
    if let Some(template) = &destination.template {
        writes.push((reference.to_owned(), json!(template.name)));
    }
    let before = PoolState {
        version: control_plane.version.clone(),
        release: destination.origin.release.clone(),
        template: control_plane
            .infrastructure
            .as_ref()
            .map(|template| template.name.clone()),
        bootstrap: None,
        etcd: component(control_plane, ETCD_TAG, ETCD_REPOSITORY),
        core_dns: component(control_plane, DNS_TAG, DNS_REPOSITORY),
    };
    let mut after = PoolState {
        template: destination.template.as_ref().map(|template| template.name.clone()),
        ..before.clone()
    };
    for (below, value) in destination.to.components(control_plane) {
        let text = value.as_str().map(str::to_owned);
        writes.push((format!("/spec{CONFIGURATION}{below}"), value));
        match below {
            ETCD_TAG => after.etcd.tag = text,
            ETCD_REPOSITORY => after.etcd.repository = text,
            DNS_TAG => after.core_dns.tag = text,
            DNS_REPOSITORY => after.core_dns.repository = text,
            _ => {}
        }
    }
    if before.etcd != after.etcd && leaves_no_etcd(control_plane, &after) {
        let etcd = format!("/spec{CONFIGURATION}{ETCD}");
        writes.retain(|(pointer, _)| !pointer.starts_with(&etcd));
        writes.push((etcd.trim_end_matches('/').to_owned(), Value::Null));
    }
    swap(
        PoolId::ControlPlane,
        &control_plane.object,
        destination,
        (before, after),
        writes,
    )
}

/// Whether nothing would be left of `etcd` but an empty `local`, which the definition of a KubeadmControlPlane refuses.
fn leaves_no_etcd(control_plane: &ControlPlane, after: &PoolState) -> bool {
    let is_all = match &control_plane.flavor {
        Flavor::Kubeadm {
            cluster_configuration, ..
        } => !cluster_configuration.etcd.local.has_more && cluster_configuration.etcd.external.is_none(),
        Flavor::Other => false,
    };
    is_all && after.etcd == ComponentImage::default()
}

/// The image of a component as `clusterConfiguration` has it.
fn component(control_plane: &ControlPlane, tag: &str, repository: &str) -> ComponentImage {
    let Flavor::Kubeadm {
        cluster_configuration, ..
    } = &control_plane.flavor
    else {
        return ComponentImage::default();
    };
    let text = |below| present(cluster_configuration, below).map(str::to_owned);
    ComponentImage {
        tag: text(tag),
        repository: text(repository),
    }
}

/// Writes down that all machines of an object are as its last swap says; nothing where that is written.
pub(crate) fn convergence(pool: PoolId, object: &Object, now: Timestamp) -> Option<Convergence> {
    let history = object.swap_history.as_ref()?;
    history.last().filter(|last| last.converged.is_none())?;
    Some(with_history(pool, object, &history.converged(now)))
}

/// Writes a history into an object, and nothing else.
pub(crate) fn with_history(pool: PoolId, object: &Object, history: &SwapHistory) -> Convergence {
    Convergence {
        pool,
        api_version: object.api_version.clone(),
        kind: object.kind.clone(),
        name: object.name.clone(),
        resource_version: object.resource_version.clone(),
        patch: json!({"metadata": {
            "resourceVersion": object.resource_version,
            "annotations": {SWAP_HISTORY_ANNOTATION: history.to_annotation()},
        }}),
    }
}

/// The swap of a MachineDeployment: version and references. Kind and group stay, so a reference's
/// name is all that changes, in both forms of the object.
pub(crate) fn workers(pool: &MachineDeployment, destination: Destination<'_>) -> Swap {
    let spec = "/spec/template/spec";
    let mut writes = vec![(format!("{spec}/version"), json!(destination.to.version()))];
    if let Some(template) = &destination.template {
        writes.push((format!("{spec}/infrastructureRef/name"), json!(template.name)));
    }
    if let Some(bootstrap) = &destination.bootstrap {
        writes.push((format!("{spec}/bootstrap/configRef/name"), json!(bootstrap.name)));
    }
    let name = |template: &TemplateRef| template.name.clone();
    let before = PoolState {
        version: pool.version.clone(),
        release: destination.origin.release.clone(),
        template: Some(pool.infrastructure.name.clone()),
        bootstrap: pool.bootstrap.as_ref().map(name),
        etcd: ComponentImage::default(),
        core_dns: ComponentImage::default(),
    };
    let after = PoolState {
        template: destination.template.as_ref().map(name),
        bootstrap: destination.bootstrap.as_ref().or(pool.bootstrap.as_ref()).map(name),
        ..before.clone()
    };
    swap(
        PoolId::Workers(pool.object.name.clone()),
        &pool.object,
        destination,
        (before, after),
        writes,
    )
}

/// The swap of a MachinePool, whose infrastructure has the release's values already: its version alone.
pub(crate) fn machine_pool(pool: &MachinePool, destination: Destination<'_>) -> Swap {
    let writes = vec![(
        "/spec/template/spec/version".to_owned(),
        json!(destination.to.version()),
    )];
    let before = PoolState {
        version: pool.version.clone(),
        release: destination.origin.release.clone(),
        template: None,
        bootstrap: None,
        etcd: ComponentImage::default(),
        core_dns: ComponentImage::default(),
    };
    let id = PoolId::MachinePool(pool.object.name.clone());
    swap(id, &pool.object, destination, (before.clone(), before), writes)
}

/// The time before which Cluster API replaces what was made, and nothing else: of a control plane.
pub(crate) fn restart_control_plane(control_plane: &ControlPlane, destination: Destination<'_>) -> Swap {
    let state = PoolState {
        version: control_plane.version.clone(),
        release: destination.origin.release.clone(),
        template: destination.template.as_ref().map(|template| template.name.clone()),
        bootstrap: None,
        etcd: component(control_plane, ETCD_TAG, ETCD_REPOSITORY),
        core_dns: component(control_plane, DNS_TAG, DNS_REPOSITORY),
    };
    restart(PoolId::ControlPlane, &control_plane.object, destination, state)
}

/// The same of a MachineDeployment.
pub(crate) fn restart_workers(pool: &MachineDeployment, destination: Destination<'_>) -> Swap {
    let state = PoolState {
        version: pool.version.clone(),
        release: destination.origin.release.clone(),
        template: Some(pool.infrastructure.name.clone()),
        bootstrap: pool.bootstrap.as_ref().map(|template| template.name.clone()),
        etcd: ComponentImage::default(),
        core_dns: ComponentImage::default(),
    };
    restart(
        PoolId::Workers(pool.object.name.clone()),
        &pool.object,
        destination,
        state,
    )
}

fn restart(id: PoolId, object: &Object, destination: Destination<'_>, state: PoolState) -> Swap {
    let time = match destination.to {
        Course::Restart(_, time) => json!(time),
        Course::To(_) | Course::BackTo(_) | Course::TurnBackTo(_) => Value::Null,
    };
    let writes = vec![(ROLLOUT_AFTER.to_owned(), time)];
    swap(id, object, destination, (state.clone(), state), writes)
}

/// Whether the control plane has the images that a release sets for etcd and CoreDNS.
pub(crate) fn has_components(control_plane: &ControlPlane, step: &Step<'_>) -> bool {
    let Flavor::Kubeadm {
        cluster_configuration, ..
    } = &control_plane.flavor
    else {
        return true;
    };
    components(control_plane, step)
        .into_iter()
        .all(|(below, value)| present(cluster_configuration, below) == value.as_str())
}

impl<'a> Course<'a> {
    /// What goes below `clusterConfiguration` with it. On the way back CoreDNS stays, since Cluster API lowers none.
    fn components(self, control_plane: &ControlPlane) -> Vec<(&'a str, Value)> {
        match self {
            Self::Restart(..) => Vec::new(),
            Self::To(step) => {
                let components = components(control_plane, &step).into_iter();
                components.map(|(below, value)| (below, value.clone())).collect()
            }
            Self::BackTo(before) | Self::TurnBackTo(before) => {
                let present = component(control_plane, ETCD_TAG, ETCD_REPOSITORY);
                let etcd = [
                    (ETCD_TAG, &before.etcd.tag, present.tag),
                    (ETCD_REPOSITORY, &before.etcd.repository, present.repository),
                ];
                let changed = etcd.into_iter().filter(|(_, before, present)| *before != present);
                // What kubeadm chose before is taken out.
                changed.map(|(below, before, _)| (below, json!(before))).collect()
            }
        }
    }
}

/// What a release sets below `clusterConfiguration`: no etcd where it is external, and no CoreDNS
/// that is lower than the present one, since Cluster API refuses it.
fn components<'r>(control_plane: &ControlPlane, step: &Step<'r>) -> Vec<(&'r str, &'r Value)> {
    let Flavor::Kubeadm {
        cluster_configuration, ..
    } = &control_plane.flavor
    else {
        return Vec::new();
    };
    let external = cluster_configuration.etcd.external.is_some();
    let values = below_configuration(step.kubeadm());
    let tag = values.iter().find(|(below, _)| *below == DNS_TAG);
    let lowers = match (
        cluster_configuration.dns.image_tag.as_deref(),
        tag.and_then(|(_, tag)| tag.as_str()),
    ) {
        (Some(present), Some(next)) => core_dns::lowers(present, next),
        (None, _) | (_, None) => false,
    };
    values
        .into_iter()
        .filter(|(below, _)| !(external && below.starts_with(ETCD)))
        .filter(|(below, _)| !(lowers && below.starts_with(DNS)))
        .collect()
}

/// What `clusterConfiguration` has where a release may set something.
fn present<'c>(configuration: &'c ClusterConfiguration, below: &str) -> Option<&'c str> {
    let ClusterConfiguration { etcd, dns } = configuration;
    match below {
        ETCD_TAG => etcd.local.image_tag.as_deref(),
        ETCD_REPOSITORY => etcd.local.image_repository.as_deref(),
        DNS_TAG => dns.image_tag.as_deref(),
        DNS_REPOSITORY => dns.image_repository.as_deref(),
        _ => None,
    }
}

fn below_configuration(values: &Values) -> Vec<(&str, &Value)> {
    let below = |pointer| str::strip_prefix(pointer, TEMPLATE)?.strip_prefix(CONFIGURATION);
    values
        .iter()
        .filter_map(|(pointer, value)| Some((below(pointer.as_str())?, value)))
        .collect()
}

fn swap(
    pool: PoolId,
    object: &Object,
    destination: Destination<'_>,
    (before, after): (PoolState, PoolState),
    writes: Vec<(String, Value)>,
) -> Swap {
    let (to, now) = (destination.to, destination.now);
    let version = to.version().clone();
    let (release, after_time) = match to {
        Course::Restart(_, time) => (before.release.clone(), Some(time)),
        Course::To(_) | Course::BackTo(_) | Course::TurnBackTo(_) => (to.release().map(str::to_owned), None),
    };
    let known = object.swap_history.as_ref();
    // What another client has set back since has not converged, whatever its machines are.
    let stands = |history: &SwapHistory| {
        let last = history.last();
        last.is_some_and(|last| last.after.is_at(&before.version, before.template.as_ref()))
    };
    let known = known.map(|history| {
        if destination.origin.has_converged && stands(history) {
            history.converged(now)
        } else {
            history.clone()
        }
    });
    let entry = SwapEntry {
        upgrade: destination.upgrade,
        since: now,
        before,
        after: PoolState {
            version: version.clone(),
            release: release.clone(),
            ..after
        },
        converged: None,
        direction: match to {
            Course::To(_) | Course::BackTo(_) | Course::Restart(..) => Direction::Forward,
            Course::TurnBackTo(_) => Direction::Back,
        },
    };
    let swap_history = match to {
        Course::To(_) | Course::TurnBackTo(_) => SwapHistory::with(known.as_ref(), entry),
        Course::Restart(..) => SwapHistory::with_restart(known.as_ref(), entry),
        Course::BackTo(_) => SwapHistory::with_way_back(known.as_ref(), entry),
    };
    let mut patch = json!({"metadata": {
        "resourceVersion": object.resource_version,
        "annotations": {SWAP_HISTORY_ANNOTATION: swap_history.to_annotation()},
    }});
    for (pointer, value) in writes {
        // The patch is made of objects alone, so nothing is in a pointer's way.
        let _ = put(&mut patch, &pointer, value);
    }
    Swap {
        pool,
        api_version: object.api_version.clone(),
        kind: object.kind.clone(),
        name: object.name.clone(),
        resource_version: object.resource_version.clone(),
        version,
        release,
        template: destination.template,
        bootstrap: destination.bootstrap,
        rollout_after: after_time,
        patch,
    }
}

#[cfg(test)]
mod tests {
    use instar_api::{Component, Components, KubernetesReleaseSpec};
    use instar_catalog::Release;

    use super::*;

    /// One that couldn't would be set in every pass, for ever.
    #[test]
    fn whatever_a_release_sets_can_be_compared() {
        let component = || {
            Some(Component {
                image_tag: "1.2.3".to_owned(),
                image_repository: Some("example.org".to_owned()),
            })
        };
        // Without `..`, so that the compiler asks for a component that is new in the API.
        let components = Components {
            etcd: component(),
            core_dns: component(),
        };
        let row: KubernetesReleaseSpec =
            serde_json::from_value(json!({"version": "v1.34.3", "components": components})).unwrap();
        let release = Release::read("r", &row).unwrap();
        let mut spec = Value::Null;
        for (pointer, value) in release.kubeadm() {
            put(&mut spec, pointer.as_str(), value.clone()).unwrap();
        }
        let spec = spec.pointer(TEMPLATE).and_then(|spec| spec.pointer(CONFIGURATION));
        let configuration: ClusterConfiguration = serde_json::from_value(spec.unwrap().clone()).unwrap();
        let set = below_configuration(release.kubeadm());
        assert_eq!(set.len(), release.kubeadm().len());
        for (below, value) in set {
            assert_eq!(present(&configuration, below), value.as_str(), "{below}");
        }
    }
}
