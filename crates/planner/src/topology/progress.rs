//! Where a topology cluster is, and what Cluster API waits for.

use instar_domain::KubeVersion;

use super::{
    release_name,
    scene::Scene,
    words::{is_held_by_hook, useful_end},
};
use crate::{
    decision::{MachineProgress, MachineState, PoolProgress, Stage, Waiting},
    settled::converged,
    snapshot::{Condition, ConditionStatus, Machine, MachinePhase, Node, Object, PoolId, Standing},
};

/// The conditions of a control plane or a MachineDeployment that say what it is at.
const TELLING: [&str; 4] = ["Paused", "RollingOut", "ScalingDown", "ScalingUp"];

/// What the upgrade is at, and what it waits for.
pub(super) fn stage(scene: &Scene<'_>, waiting: &mut Vec<Waiting>) -> Stage {
    let blocked = blocked(scene);
    let is_blocked = blocked.is_some();
    waiting.extend(blocked);
    let control_plane = control_plane(scene);
    let workers = workers(scene);
    let arrived = scene.control_plane.version == scene.topology.version && control_plane.is_empty();
    let done = arrived && workers.is_empty();
    waiting.extend(control_plane);
    waiting.extend(workers);
    if !is_blocked && (!done || !is_reconciled(scene)) {
        waiting.extend(said_of_the_topology(scene));
    }
    match (is_blocked, arrived, done && is_reconciled(scene)) {
        (true, _, _) => Stage::Held,
        (false, false, _) => Stage::ControlPlane,
        (false, true, false) => Stage::Workers,
        (false, true, true) => Stage::Complete,
    }
}

/// Whether the topology controller has seen the Cluster as it is, and has nothing left to do.
fn is_reconciled(scene: &Scene<'_>) -> bool {
    scene.topology.reconciled().is_some_and(|condition| {
        condition.status == ConditionStatus::True && condition.observed_generation >= scene.topology.generation
    })
}

/// Why Cluster API doesn't go on before somebody does something.
fn blocked(scene: &Scene<'_>) -> Option<Waiting> {
    let condition = scene.topology.reconciled()?;
    let message = condition.message.clone();
    match (condition.status, condition.reason.as_str()) {
        (ConditionStatus::True, _) => None,
        (_, "ReconcileFailed" | "ClusterClassNotReconciled") => Some(Waiting::TopologyNotReconciled {
            message: useful_end(&message),
        }),
        (_, "MachineDeploymentsUpgradeDeferred" | "MachinePoolsUpgradeDeferred") => {
            Some(Waiting::UpgradeDeferred { message })
        }
        (_, _) if is_held_by_hook(&message) => Some(Waiting::HookBlocking { message }),
        (_, _) => None,
    }
}

fn said_of_the_topology(scene: &Scene<'_>) -> Option<Waiting> {
    let condition = scene.topology.reconciled()?;
    let is_news = condition.status != ConditionStatus::True && !condition.message.is_empty();
    is_news.then(|| says("Cluster", &scene.snapshot.cluster.name, condition))
}

fn control_plane(scene: &Scene<'_>) -> Vec<Waiting> {
    let control_plane = scene.control_plane;
    let is_there = control_plane.version == scene.topology.version;
    let is_settled = scene.control_plane_settled();
    if is_there && is_settled {
        return Vec::new();
    }
    let counts = control_plane.replicas;
    let mut waiting = vec![Waiting::ControlPlaneRollingOut {
        version: if is_settled {
            scene.topology.version.clone()
        } else {
            control_plane.version.clone()
        },
        lowest: control_plane.observed.iter().min().cloned(),
        up_to_date: counts.filter(|_| !is_settled).map_or(0, |counts| counts.up_to_date),
        desired: counts.map_or(0, |counts| counts.desired),
    }];
    waiting.extend(unready(scene, &PoolId::ControlPlane, &control_plane.version));
    waiting.extend(said(&control_plane.object));
    waiting
}

fn workers(scene: &Scene<'_>) -> Vec<Waiting> {
    let wanted = &scene.topology.version;
    let mut waiting = Vec::new();
    for pool in &scene.pools {
        if pool.version == *wanted && scene.pool_settled(pool) {
            continue;
        }
        let id = PoolId::Workers(pool.object.name.clone());
        waiting.push(Waiting::PoolRollingOut {
            version: wanted.clone(),
            converged: scene
                .machines_of(&id)
                .filter(|machine| converged(machine, wanted))
                .count(),
            machines: scene.machines_of(&id).count(),
            pool: id.clone(),
        });
        if pool.object.standing == Standing::Paused {
            waiting.push(Waiting::Paused {
                kind: pool.object.kind.clone(),
                name: pool.object.name.clone(),
            });
        }
        if pool.version == *wanted {
            waiting.extend(unready(scene, &id, wanted));
        }
        waiting.extend(said(&pool.object));
    }
    for pool in &scene.machine_pools {
        if pool.version != *wanted || !Scene::machine_pool_settled(pool) {
            waiting.push(Waiting::MachinePoolRollingOut {
                name: pool.name.clone(),
                version: wanted.clone(),
            });
        }
    }
    waiting
}

/// The new machines that aren't there yet.
fn unready<'a>(scene: &Scene<'a>, pool: &'a PoolId, version: &'a KubeVersion) -> impl Iterator<Item = Waiting> {
    scene
        .machines_of(pool)
        .filter(|machine| machine.version == *version && machine.standing == Standing::Live)
        .filter(|machine| !converged(machine, version))
        .map(|machine| Waiting::MachineNotReady {
            name: machine.name.clone(),
            phase: machine.phase,
        })
}

/// What Cluster API says of an object that hasn't got there.
fn said(object: &Object) -> impl Iterator<Item = Waiting> {
    let mut telling: Vec<&Condition> = object
        .conditions
        .iter()
        .filter(|condition| TELLING.contains(&condition.kind.as_str()))
        .filter(|condition| condition.status == ConditionStatus::True && !condition.message.is_empty())
        .collect();
    telling.sort();
    telling
        .into_iter()
        .map(|condition| says(&object.kind, &object.name, condition))
}

fn says(kind: &str, name: &str, condition: &Condition) -> Waiting {
    Waiting::ClusterApi {
        kind: kind.to_owned(),
        name: name.to_owned(),
        condition: condition.kind.clone(),
        message: condition.message.clone(),
    }
}

/// The releases that the control plane has still to go through: what it is at, and what Cluster API
/// plans; before there is a plan, what is pinned.
pub(super) fn path(scene: &Scene<'_>) -> Vec<String> {
    let (topology, present) = (scene.topology, &scene.control_plane.version);
    let is_on_its_way = *present > *scene.lowest() && !scene.control_plane_settled();
    let at = is_on_its_way.then_some(present);
    let plan = &topology.control_plane_plan;
    let left: Vec<&KubeVersion> = if plan.last() == Some(&topology.version) {
        plan.iter().collect()
    } else {
        let pinned = topology.pins.iter().flat_map(|pins| pins.releases.keys());
        pinned
            .filter(|version| *version > present && **version <= topology.version)
            .collect()
    };
    let left = left.into_iter().filter(|version| *version != present);
    at.into_iter()
        .chain(left)
        .map(|version| release_name(scene, version))
        .collect()
}

/// The releases up to the control plane's version.
pub(super) fn passed(scene: &Scene<'_>) -> Vec<String> {
    let pinned = scene.topology.pins.iter().flat_map(|pins| pins.releases.keys());
    let present = &scene.control_plane.version;
    let passed = pinned.chain([present]).filter(|version| *version <= present);
    passed.map(|version| release_name(scene, version)).collect()
}

/// Each pool, the control plane first, then by name.
pub(super) fn pools(scene: &Scene<'_>) -> Vec<PoolProgress> {
    let pool = |pool: PoolId, version: &KubeVersion| PoolProgress {
        version: version.clone(),
        machines: scene
            .machines_of(&pool)
            .map(|machine| machine_progress(scene, machine, version))
            .collect(),
        pool,
    };
    let control_plane = pool(PoolId::ControlPlane, &scene.control_plane.version);
    let workers = scene
        .pools
        .iter()
        .map(|workers| pool(PoolId::Workers(workers.object.name.clone()), &workers.version));
    std::iter::once(control_plane).chain(workers).collect()
}

/// `version` is what its pool's spec says; where the pool ends, the Cluster says.
fn machine_progress(scene: &Scene<'_>, machine: &Machine, version: &KubeVersion) -> MachineProgress {
    let (node, runs) = match &machine.node {
        Node::Absent => (None, None),
        Node::Joined { name, version } => (Some(name.clone()), version.clone()),
    };
    let is_old = machine.version != *version;
    let state = if machine.phase == MachinePhase::Failed {
        MachineState::Failed
    } else if converged(machine, &scene.topology.version) {
        MachineState::Running
    } else if machine.standing == Standing::Deleting || (!is_old && !converged(machine, version)) {
        MachineState::Upgrading
    } else {
        MachineState::Pending
    };
    MachineProgress {
        name: machine.name.clone(),
        node,
        state,
        version: runs,
    }
}
