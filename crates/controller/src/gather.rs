//! From the caches to a snapshot. Nothing is decided here.

mod control_plane;
mod referred;
mod templates;
mod topology;

use std::collections::BTreeMap;

use instar_api::{ClusterUpgrade, SWAP_HISTORY_ANNOTATION};
use instar_domain::KubeVersion;
use instar_planner::{
    Cluster as PlannedCluster, ClusterKind, Contract, ControlPlane, Flavor, Lifecycle, Machine, MachineDeployment,
    MachinePool, MachineSet, ManagedBy, Node, Object, Observed, Replicas, ResourceVersion, Retention, Rollout,
    Snapshot, SwapHistory, TemplateRef, UpgradeSpec,
};
use instar_watch::Key;
use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use crate::{
    caches::{Caches, DEPLOYMENT_LABEL, KeptMachine, lifecycle, observed},
    policy::retention,
    upgrade_spec::{CurrentVersions, upgrade_spec},
    views,
};

pub(crate) use control_plane::of_topology;
pub(crate) use referred::Referred;
pub(crate) use templates::content;

/// The condition of a `KubeadmControlPlane` that says whether machines are replaced.
const ROLLING_OUT: &str = "RollingOut";

/// A snapshot without its templates, for an upgrade that goes on.
pub(crate) fn gather(
    caches: &Caches,
    cluster: &views::Cluster,
    control_plane: Option<Observed<ControlPlane>>,
    upgrade: &ClusterUpgrade,
    now: Timestamp,
) -> Snapshot {
    // Where it ends at this moment, its record doesn't say so yet.
    let ended = completed_at(upgrade).unwrap_or(now);
    gather_for(caches, cluster, control_plane, upgrade_spec(upgrade), Some(ended), now)
}

/// The same for what is asked, and for upgrades that ended at a time.
pub(crate) fn gather_for(
    caches: &Caches,
    cluster: &views::Cluster,
    control_plane: Option<Observed<ControlPlane>>,
    upgrade_spec: UpgradeSpec,
    ended: Option<Timestamp>,
    now: Timestamp,
) -> Snapshot {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let key = Key::of(cluster);
    let sets = caches.of::<views::MachineSet>(&key);
    let template_of_set: BTreeMap<String, String> = sets
        .iter()
        .map(|set| (set.name_any(), set.spec.template.spec.infrastructure_ref.name.clone()))
        .collect();
    Snapshot {
        now,
        cluster: PlannedCluster {
            lifecycle: lifecycle_of(cluster),
            kind: match &cluster.spec.topology {
                Some(topology) => ClusterKind::Topology(Box::new(observed(cluster, topology::read(cluster, topology)))),
                None => ClusterKind::Classic,
            },
            uid: cluster.uid().unwrap_or_default(),
            namespace: namespace.clone(),
            name: name.clone(),
        },
        upgrade_spec,
        catalog: caches.catalog(),
        gates: BTreeMap::new(),
        retention: retention_of(caches, cluster, ended),
        control_plane,
        pools: caches.observe::<views::MachineDeployment, _>(&key, |_, kept| deployment(kept.as_object())),
        machine_sets: caches.observe::<views::MachineSet, _>(&key, |_, kept| set(kept.as_object())),
        machine_pools: caches.observe::<views::MachinePool, _>(&key, |_, kept| machine_pool(kept.as_object())),
        machines: caches.observe::<views::Machine, _>(&key, |key, kept| machine(key, kept, &template_of_set)),
        templates: Vec::new(),
        unreadable: caches.unreadable::<ClusterUpgrade>(&key),
    }
}

/// While a policy of its namespace can't be decoded, a Cluster's templates are kept.
fn retention_of(caches: &Caches, cluster: &views::Cluster, ended: Option<Timestamp>) -> Retention {
    let namespace = cluster.namespace().unwrap_or_default();
    if caches.unreadable_policies(&namespace).is_empty() {
        retention(&caches.policies(&namespace), cluster.labels(), ended)
    } else {
        Retention {
            previous: SignedDuration::MAX,
            other: SignedDuration::MAX,
            ended,
        }
    }
}

/// When an upgrade was found complete, by its own record. It is asked how long old templates are
/// kept, and for nothing else: where it is lost, they are kept longer.
pub(crate) fn completed_at(upgrade: &ClusterUpgrade) -> Option<Timestamp> {
    let conditions = upgrade.status.iter().flat_map(|status| &status.conditions);
    let mut completed = conditions.filter(|condition| condition.type_ == "Completed" && condition.status == "True");
    completed.next().map(|condition| condition.last_transition_time.0)
}

fn kubeadm(object: &views::KubeadmControlPlane) -> Result<ControlPlane, String> {
    let status = object.status.clone().unwrap_or_default();
    let counted = status.versions.iter().filter(|count| count.replicas != Some(0));
    let mut versions: Vec<&str> = counted.map(|count| count.version.as_str()).collect();
    if versions.is_empty() {
        versions.extend(status.version.as_deref());
    }
    let observed: Result<Vec<KubeVersion>, String> = versions.into_iter().map(version).collect();
    // The status' own generation is written only by a reconcile without an error, and one of CoreDNS
    // comes at its end. The counts and this condition are always of the same look.
    let counted = status
        .conditions
        .iter()
        .filter(|condition| condition.kind == ROLLING_OUT);
    let counted = counted.map(|condition| condition.observed_generation).max();
    let seen = status.observed_generation.max(counted.unwrap_or_default());
    let machines = &object.spec.machine_template.spec.infrastructure_ref;
    Ok(ControlPlane {
        object: self::object(object, Lifecycle::Active, seen, &status.conditions),
        version: version(&object.spec.version)?,
        observed: observed?,
        infrastructure: machines.as_ref().map(template_ref),
        contract: Contract::V1Beta2,
        flavor: Flavor::Kubeadm {
            cluster_configuration: object.spec.kubeadm_config_spec.cluster_configuration.clone(),
        },
        replicas: Some(Replicas {
            // Cluster API's own default.
            desired: object.spec.replicas.unwrap_or(1),
            total: status.replicas.unwrap_or_default(),
            ready: status.ready_replicas.unwrap_or_default(),
            up_to_date: status.up_to_date_replicas.unwrap_or_default(),
        }),
    })
}

fn deployment(object: &views::MachineDeployment) -> Result<MachineDeployment, String> {
    let machines = &object.spec.template.spec;
    let paused = if object.spec.paused {
        Lifecycle::Paused
    } else {
        Lifecycle::Active
    };
    let status = object.status.clone().unwrap_or_default();
    Ok(MachineDeployment {
        object: self::object(object, paused, status.observed_generation, &status.conditions),
        labels: object.spec.template.metadata.labels.clone(),
        version: version(&machines.version)?,
        infrastructure: template_ref(&machines.infrastructure_ref),
        bootstrap: machines.bootstrap.config_ref.as_ref().map(template_ref),
        rollout: match object.spec.rollout.strategy.kind.as_str() {
            "OnDelete" => Rollout::OnDelete,
            _ => Rollout::Rolling,
        },
    })
}

fn set(object: &views::MachineSet) -> Result<MachineSet, String> {
    let machines = &object.spec.template.spec;
    Ok(MachineSet {
        name: object.name_any(),
        pool: object.labels().get(DEPLOYMENT_LABEL).cloned(),
        version: version(&machines.version)?,
        infrastructure: template_ref(&machines.infrastructure_ref),
        bootstrap: machines.bootstrap.config_ref.as_ref().map(template_ref),
        replicas: object.spec.replicas.unwrap_or(1),
        lifecycle: lifecycle(object, false),
    })
}

fn machine_pool(object: &views::MachinePool) -> Result<MachinePool, String> {
    Ok(MachinePool {
        name: object.name_any(),
        version: version(&object.spec.template.spec.version)?,
        observed: object
            .status
            .iter()
            .flat_map(|status| &status.versions)
            .filter_map(|count| version(&count.version).ok())
            .collect(),
        managed_by: ManagedBy::of(object.labels()),
    })
}

fn machine(key: &Key, kept: &KeptMachine, template_of_set: &BTreeMap<String, String>) -> Result<Machine, String> {
    // A control plane's own count says which of its machines are up to date.
    let template = kept.set.as_deref().and_then(|set| template_of_set.get(set));
    Ok(Machine {
        name: key.name().to_owned(),
        pool: kept.pool.clone(),
        version: version(&kept.version)?,
        template: template.cloned(),
        phase: kept.phase,
        node: match &kept.node {
            None => Node::Absent,
            Some(node) => Node::Joined {
                name: node.name.to_string(),
                version: version(&node.kubelet).ok(),
            },
        },
        lifecycle: kept.lifecycle,
    })
}

fn version(text: &str) -> Result<KubeVersion, String> {
    text.parse()
        .map_err(|error| format!("its version can't be read: {error}"))
}

fn template_ref(reference: &views::Reference) -> TemplateRef {
    TemplateRef {
        group: reference.api_group.clone(),
        kind: reference.kind.clone(),
        name: reference.name.clone(),
    }
}

/// Whether a Cluster may be written to.
pub(crate) fn lifecycle_of(cluster: &views::Cluster) -> Lifecycle {
    lifecycle(cluster, cluster.spec.paused)
}

/// The versions that a Cluster is at, its pools but for those that the topology controller owns.
pub(crate) fn current_versions(
    caches: &Caches,
    cluster: &views::Cluster,
    control_plane: Option<&Observed<ControlPlane>>,
) -> CurrentVersions {
    let key = Key::of(cluster);
    if !caches.unreadable::<views::MachineDeployment>(&key).is_empty() {
        return CurrentVersions::Unreadable;
    }
    let control_plane = match control_plane {
        None => return CurrentVersions::Unseen,
        Some(Observed::Invalid(_)) => return CurrentVersions::Unreadable,
        Some(Observed::Read(control_plane)) => control_plane.version.clone(),
    };
    let pools = caches.of::<views::MachineDeployment>(&key);
    let pools = pools
        .iter()
        .filter(|pool| ManagedBy::of(pool.labels()) == ManagedBy::User)
        .map(|pool| version(&pool.spec.template.spec.version));
    match std::iter::once(Ok(control_plane)).chain(pools).collect() {
        Ok(versions) => CurrentVersions::At(versions),
        Err(_) => CurrentVersions::Unreadable,
    }
}

/// The upgrade for which the control plane was written last.
pub(crate) fn begun(control_plane: Option<&Observed<ControlPlane>>) -> Option<&str> {
    let swap_history = control_plane?.read()?.object.swap_history.as_ref()?;
    Some(&swap_history.upgrade)
}

/// `own` is what the object's spec says of it.
fn object<K: Resource<DynamicType = ()>>(
    object: &K,
    own: Lifecycle,
    observed_generation: i64,
    conditions: &[views::Condition],
) -> Object {
    let swap_history = object.annotations().get(SWAP_HISTORY_ANNOTATION);
    Object {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: object.name_any(),
        resource_version: ResourceVersion(object.resource_version().unwrap_or_default()),
        generation: object.meta().generation.unwrap_or_default(),
        observed_generation,
        lifecycle: lifecycle(object, own == Lifecycle::Paused),
        managed_by: ManagedBy::of(object.labels()),
        swap_history: swap_history.and_then(|text| SwapHistory::from_annotation(text)),
        conditions: conditions.iter().map(topology::condition).collect(),
    }
}
