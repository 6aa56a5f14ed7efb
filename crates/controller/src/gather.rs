//! From the caches to a snapshot. Nothing is decided here.

mod addons;
mod classic;
mod control_plane;
mod gates;
mod infrastructure_pools;
mod referred;
mod templates;
mod topology;

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{ClusterUpgrade, MinorRollback, OnClose};
use instar_capi as capi;
use instar_planner::{
    Addons, Approvals, Cluster as PlannedCluster, ClusterKind, Condition, ControlPlane, Initialization, Lifecycle,
    Machine, ManagedBy, Node, Observed, PinnedPath, Retention, Snapshot, Unversioned, UpgradeId, UpgradeSpec,
    WorkerKind,
};
use instar_watch::Key;
use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use crate::{
    caches::{Caches, KeptMachine, lifecycle, observed, tells_of_trouble},
    fields::{condition, version},
    policy::retention,
    timing::Timing,
    upgrade_spec::{CurrentVersions, gate_history, id_of, operation, upgrade_spec},
};

pub(crate) use addons::AddonLook;
pub(crate) use control_plane::{infrastructure, of_objects, of_topology};
pub(crate) use gates::{CheckRules, preflight, wanted_images, wanted_probes, wanted_snapshots};
pub(crate) use infrastructure_pools::infrastructure_pools_among;
pub(crate) use referred::Referred;
pub(crate) use templates::{content, template_references, templates_among};

/// A snapshot without its templates and the infrastructure of its MachinePools, for an upgrade that goes on. Its checks
/// are still to be asked by the rules that come with it ([`preflight`]).
pub(crate) fn gather(
    caches: &Caches,
    cluster: &capi::Cluster,
    control_plane: Option<Observed<ControlPlane>>,
    upgrade: &ClusterUpgrade,
    timing: Timing,
    now: Timestamp,
) -> (Snapshot, CheckRules) {
    // Where it ends at this moment, its record doesn't say so yet.
    let ended = completed_at(upgrade).unwrap_or(now);
    let mut upgrade_spec = upgrade_spec(upgrade);
    let known = caches.of::<ClusterUpgrade>(&Key::of(cluster));
    upgrade_spec.operation = operation(upgrade, &known, pinned_path(cluster).as_ref());
    let mut snapshot = gather_for(caches, cluster, control_plane, upgrade_spec, Some(ended), now);
    snapshot.nodes_ready_for = Some(timing.nodes_ready_for);
    snapshot.machine_start = timing.machine_start;
    snapshot.addons.taken_back = snapshot.upgrade_spec.operation.rollback().and_then(|rollback| {
        let of = known.iter().find(|known| id_of(known) == rollback.of)?;
        Some(gate_history(of).set)
    });
    let rules = gates::look(caches, cluster, upgrade, &mut snapshot);
    (snapshot, rules)
}

/// The same for what is left of upgrades that ended at a time: no gate holds that, so none is looked at.
pub(crate) fn gather_for(
    caches: &Caches,
    cluster: &capi::Cluster,
    control_plane: Option<Observed<ControlPlane>>,
    upgrade_spec: UpgradeSpec,
    ended: Option<Timestamp>,
    now: Timestamp,
) -> Snapshot {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let key = Key::of(cluster);
    let (pools, mut unversioned) = caches.parts::<capi::MachineDeployment>(&key);
    let (machine_sets, without) = caches.parts::<capi::MachineSet>(&key);
    unversioned.extend(without);
    let (machine_pools, without) = caches.parts::<capi::MachinePool>(&key);
    unversioned.extend(without);
    unversioned.extend(lone_machines_without_version(caches, &key));
    let sets: BTreeMap<&str, &instar_planner::MachineSet> = machine_sets
        .iter()
        .filter_map(Observed::read)
        .map(|set| (&*set.name, set))
        .collect();
    let kind = capi::Machine::kind(&());
    let machines = caches.observe::<capi::Machine, _>(&key, |key, kept| {
        let read = || observed(&kind, key.name(), machine(key, kept, &sets));
        kept.version().is_some().then(read)
    });
    Snapshot {
        now,
        cluster: PlannedCluster {
            lifecycle: lifecycle_of(cluster),
            kind: match &cluster.spec.topology {
                Some(topology) => ClusterKind::Topology(Box::new(observed(
                    &capi::Cluster::kind(&()),
                    &name,
                    topology::read(cluster, topology),
                ))),
                None => ClusterKind::Classic(Box::new(classic::read(cluster))),
            },
            initialization: match &cluster.status {
                Some(status) if status.awaits_control_plane() => Initialization::Awaited,
                Some(_) | None => Initialization::Done,
            },
            created: cluster.metadata.creation_timestamp.as_ref().map(|time| time.0),
            generation: cluster.metadata.generation.unwrap_or_default(),
            conditions: unhealthy(cluster),
            uid: cluster.uid().unwrap_or_default(),
            namespace: namespace.clone(),
            name: name.clone(),
            labels: cluster.labels().clone(),
        },
        upgrade_spec,
        catalog: caches.catalog_of(cluster),
        gates: BTreeMap::new(),
        on_close: OnClose::FinishPool,
        preflight: Vec::new(),
        addons: Addons::default(),
        approvals: Approvals::default(),
        canary: None,
        retention: retention_of(caches, cluster, ended),
        minor_rollback: MinorRollback::Refuse,
        failure_rule: instar_planner::FailureRule::default(),
        nodes_ready_for: None,
        machine_start: SignedDuration::MAX,
        control_plane,
        pools,
        machine_sets,
        machine_pools,
        infrastructure_pools: Vec::new(),
        machines,
        templates: Vec::new(),
        used_elsewhere: BTreeSet::new(),
        unversioned,
        unreadable: caches.unreadable::<ClusterUpgrade>(&key),
    }
}

/// The conditions that tell of a Cluster's health and aren't True.
fn unhealthy(cluster: &capi::Cluster) -> Vec<Condition> {
    let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|said| tells_of_trouble(said))
        .map(condition)
        .collect()
}

/// The Machines that have no version and stand alone: elsewhere, what makes them is named.
fn lone_machines_without_version(caches: &Caches, cluster: &Key) -> Vec<Unversioned> {
    caches.each::<capi::Machine, _>(cluster, |key, kept| {
        let stands_alone = kept.version().is_none() && kept.maker().is_none() && kept.pool().is_none();
        stands_alone.then(|| Unversioned {
            kind: WorkerKind::Machine,
            name: key.name().to_owned(),
            maker: None,
            templates: Vec::new(),
        })
    })
}

/// While a policy of its namespace can't be decoded, a Cluster's templates are kept.
fn retention_of(caches: &Caches, cluster: &capi::Cluster, ended: Option<Timestamp>) -> Retention {
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

fn machine(
    key: &Key,
    kept: &KeptMachine,
    sets: &BTreeMap<&str, &instar_planner::MachineSet>,
) -> Result<Machine, String> {
    // A control plane's own count says which of its machines are up to date.
    let set = kept.maker().and_then(|set| sets.get(set));
    Ok(Machine {
        name: key.name().to_owned(),
        pool: kept.pool(),
        maker: kept.maker().filter(|_| kept.pool().is_none()).map(str::to_owned),
        version: version(kept.version().unwrap_or_default())?,
        template: set.map(|set| set.infrastructure.name.clone()),
        phase: kept.phase,
        node: match kept.node() {
            None => Node::Absent,
            Some((name, kubelet)) => Node::Joined {
                name: name.to_owned(),
                version: version(kubelet).ok(),
            },
        },
        node_readiness: kept.node_readiness(),
        lifecycle: kept.lifecycle,
        created: kept.created(),
        deletion_waits_for: kept.deletion_waits_for().map(str::to_owned),
        up_to_date: kept.up_to_date,
        rollout_time: match kept.pool() {
            Some(instar_planner::PoolId::ControlPlane) => kept.created(),
            Some(instar_planner::PoolId::Workers(_) | instar_planner::PoolId::MachinePool(_)) | None => {
                set.and_then(|set| set.created)
            }
        },
    })
}

/// The path that a classic Cluster carries.
pub(crate) fn pinned_path(cluster: &capi::Cluster) -> Option<PinnedPath> {
    classic::read(cluster).path
}

/// Whether a Cluster may be written to.
pub(crate) fn lifecycle_of(cluster: &capi::Cluster) -> Lifecycle {
    lifecycle(cluster, cluster.spec.paused)
}

/// The versions that a Cluster is at, its pools but for those that the topology controller owns.
pub(crate) fn current_versions(
    caches: &Caches,
    cluster: &capi::Cluster,
    control_plane: Option<&Observed<ControlPlane>>,
) -> CurrentVersions {
    let key = Key::of(cluster);
    let control_plane = match control_plane {
        None => return CurrentVersions::Unseen,
        Some(Observed::Invalid(_)) => return CurrentVersions::Unreadable,
        Some(Observed::Read(control_plane)) => control_plane.version.clone(),
    };
    let mut versions = vec![control_plane];
    for pool in caches.parts::<capi::MachineDeployment>(&key).0 {
        match pool {
            Observed::Invalid(_) => return CurrentVersions::Unreadable,
            Observed::Read(pool) if pool.object.managed_by == ManagedBy::User => versions.push(pool.version),
            Observed::Read(_) => {}
        }
    }
    for pool in caches.parts::<capi::MachinePool>(&key).0 {
        match pool {
            Observed::Invalid(_) => return CurrentVersions::Unreadable,
            Observed::Read(pool) if pool.object.managed_by == ManagedBy::User => versions.push(pool.version),
            Observed::Read(_) => {}
        }
    }
    CurrentVersions::At(versions)
}

/// The upgrade for which the control plane was written last.
pub(crate) fn begun(control_plane: Option<&Observed<ControlPlane>>) -> Option<&UpgradeId> {
    let swap_history = control_plane?.read()?.object.swap_history.as_ref()?;
    swap_history.last().map(|swap| &swap.upgrade)
}
