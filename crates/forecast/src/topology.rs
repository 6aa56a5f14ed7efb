//! What an upgrade of a topology Cluster would do: Instar edits the version and writes the pins, and Cluster API does the
//! rest in an order of its own.
//!
//! What holds the edit is the planner's to say, the pins are admission's, and the versions at which the workers stop are those
//! of [`instar_catalog::path::Path`], as admission computed them. The names of the templates Cluster API chooses.

use instar_api::{Pin, Pins, Values};
use instar_capi::labels::TOPOLOGY_DEPLOYMENT_NAME;
use instar_catalog::path::{Path, Source};
use instar_domain::KubeVersion;
use instar_planner::{
    Action, AskedPoint, ClusterKind, Decision, MachineDeployment, MachinePool, ManagedBy, Observed, PoolId,
    RuntimeHooks, Snapshot, Stage, Waiting, follow,
};
use jiff::SignedDuration;

use crate::{
    Change, End, Forecast, Move, PoolSwap, Unclear, apply::apply, differences::ValueDifference, open::open, run,
};

/// More looks than gates can close one after the other.
const LOOKS: usize = 64;

/// What admission makes of the edit of a topology Cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct TopologyEdit {
    /// The version that it gets.
    pub version: KubeVersion,
    /// Its pins then; absent where its class isn't wired.
    pub pins: Option<Pins>,
    /// The names that its topology has for MachineDeployments, in its order.
    pub order: Vec<String>,
}

/// What the upgrade of this snapshot would do. Of an edit that admission refuses nothing comes. `look` is as for
/// [`forecast`](crate::forecast()).
#[must_use]
pub fn forecast_topology(
    mut snapshot: Snapshot,
    edit: Option<&TopologyEdit>,
    mut look: impl FnMut(AskedPoint, &mut Snapshot),
) -> Forecast {
    let mut pools = run::totals(&snapshot);
    // Those that the topology doesn't make are their user's.
    pools.retain(|pool, _| is_of_topology(&snapshot, pool));
    if let ClusterKind::Topology(topology) = &mut snapshot.cluster.kind
        && let Observed::Read(topology) = &mut **topology
    {
        topology.hooks = RuntimeHooks::Off("a plan takes the steps between as they come".to_owned());
    }
    let (holds, end) = before_edit(&mut snapshot, &mut look);
    let mut told = Forecast {
        path: Vec::new(),
        moves: Vec::new(),
        before_completion: Vec::new(),
        pools: pools.into_values().collect(),
        end,
    };
    let (Some(edit), End::Complete(_)) = (edit, &told.end) else {
        told.before_completion = holds;
        return told;
    };
    match moves(&snapshot, edit) {
        Some((path, moves)) => {
            told.path = path;
            told.moves = moves;
        }
        // Admission has found a path, so that this can't be.
        None => told.end = End::Unclear(Unclear::TooLong),
    }
    if let Some(first) = told.moves.first_mut() {
        first.holds = holds;
    }
    for total in &mut told.pools {
        for swap in told
            .moves
            .iter()
            .filter_map(swap)
            .filter(|swap| swap.pool == total.pool)
        {
            total.to = swap.to.clone();
            total.machines = total.machines.saturating_add(swap.machines);
            total.rollouts = total.rollouts.saturating_add(u32::from(swap.machines > 0));
        }
    }
    told
}

/// What the upgrade waits for before it edits the version, and whether it comes to that.
fn before_edit(snapshot: &mut Snapshot, look: &mut impl FnMut(AskedPoint, &mut Snapshot)) -> (Vec<Waiting>, End) {
    let mut holds = Vec::new();
    for _ in 0..LOOKS {
        let decision = decide(snapshot, look);
        match decision.progress.stage {
            Stage::Complete => return (holds, End::Complete(decision.waiting)),
            Stage::Held | Stage::ControlPlane | Stage::Workers | Stage::Verifying => {}
        }
        match &decision.action {
            Action::Nothing => {
                let opened = open(snapshot, &decision.waiting);
                if opened.holds.is_empty() && !opened.has_waited {
                    return (holds, End::Blocked(decision.waiting));
                }
                holds.extend(opened.holds);
            }
            action @ Action::BeginGates(_) => apply(snapshot, action),
            // What comes first for the edit's sake is no hold, and neither is the edit.
            Action::EditVersion(_)
            | Action::HoldPool(_)
            | Action::SetConcurrency(_)
            | Action::AnswerHook(_)
            | Action::CompletePins(_)
            | Action::FollowRelease(_)
            | Action::RestoreVersionCheck(_)
            | Action::DeleteMachine(_)
            | Action::MintTemplate(_)
            | Action::SwapControlPlane(_)
            | Action::SwapWorkers(_)
            | Action::PatchMachinePool(_)
            | Action::DeleteTemplate(_)
            | Action::PinPath(_)
            | Action::RecordConvergence(_) => return (holds, End::Complete(Vec::new())),
        }
        if let Ok(later) = snapshot.now.checked_add(SignedDuration::from_secs(1)) {
            snapshot.now = later;
        }
    }
    (holds, End::Unclear(Unclear::TooLong))
}

fn decide(snapshot: &mut Snapshot, look: &mut impl FnMut(AskedPoint, &mut Snapshot)) -> Decision {
    loop {
        let decision = follow(snapshot);
        let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
        if unseen.is_empty() {
            return decision;
        }
        for point in unseen {
            look(point.clone(), snapshot);
            snapshot.addons.found.entry(point).or_default();
        }
    }
}

const fn swap(done: &Move) -> Option<&PoolSwap> {
    match &done.change {
        Change::Swap(swap) => Some(swap),
        Change::Mint(_) | Change::SetValues(_) => None,
    }
}

fn is_of_topology(snapshot: &Snapshot, pool: &PoolId) -> bool {
    match pool {
        PoolId::ControlPlane => true,
        PoolId::Workers(name) => deployments(snapshot).any(|pool| pool.object.name == *name),
        PoolId::MachinePool(name) => machine_pools(snapshot).any(|pool| pool.object.name == *name),
    }
}

fn deployments(snapshot: &Snapshot) -> impl Iterator<Item = &MachineDeployment> {
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    pools.filter(|pool| pool.object.managed_by == ManagedBy::Topology)
}

fn machine_pools(snapshot: &Snapshot) -> impl Iterator<Item = &MachinePool> {
    let pools = snapshot.machine_pools.iter().filter_map(Observed::read);
    pools.filter(|pool| pool.object.managed_by == ManagedBy::Topology)
}

/// The releases on the path, and what Cluster API replaces: the control plane at each version, and the workers where they
/// stop, after it.
fn moves(snapshot: &Snapshot, edit: &TopologyEdit) -> Option<(Vec<String>, Vec<Move>)> {
    let control_plane = snapshot.control_plane.as_ref()?.read()?;
    let topology = snapshot.cluster.topology()?;
    let present = &topology.version;
    let pins = edit.pins.as_ref();
    let pin = |version: &KubeVersion| pins.and_then(|pins| pins.releases.get(version));
    let on_the_way = pins.into_iter().flat_map(|pins| pins.releases.keys());
    let on_the_way = on_the_way.filter(|version| *version > present && **version <= edit.version);
    let mut listed: Vec<KubeVersion> = on_the_way.cloned().collect();
    if !listed.contains(&edit.version) {
        listed.push(edit.version.clone());
    }
    let workers = deployments(snapshot).map(|pool| &pool.version);
    let workers = workers.chain(machine_pools(snapshot).map(|pool| &pool.version));
    let oldest = workers.fold(present, |oldest, version| oldest.min(version));
    let found = Path::find(present, oldest, &edit.version, Source::ClassVersions(&listed)).ok()?;
    // Another release of the version that runs.
    let path = found.unwrap_or_else(|| Path {
        control_plane: vec![edit.version.clone()],
        workers: vec![edit.version.clone()],
    });
    let replicas = control_plane.replicas.map_or(0, |counts| counts.desired);
    let (mut done, mut at, mut workers_at) = (Vec::new(), present.clone(), present.clone());
    for version in &path.control_plane {
        let mut differences = Vec::new();
        for of in [|pin: &Pin| pin.kubeadm.clone(), |pin: &Pin| pin.control_plane.clone()] {
            differences.extend(changed(pin(&at).map(of), pin(version).map(of)));
        }
        done.push(Move {
            holds: Vec::new(),
            change: Change::Swap(PoolSwap {
                pool: PoolId::ControlPlane,
                from: at,
                to: version.clone(),
                release: pin(version).map(|pin| pin.release.clone()),
                template: None,
                bootstrap: None,
                differences,
                machines: replicas,
                way_back: None,
            }),
        });
        at = version.clone();
        if path.workers.contains(version) {
            done.extend(of_workers(snapshot, edit, (pin(&workers_at), pin(version)), version));
            workers_at = version.clone();
        }
    }
    let releases = path.control_plane.iter().filter_map(pin);
    Some((releases.map(|pin| pin.release.clone()).collect(), done))
}

/// The workers at one version: MachineDeployments in the order of the topology, so many at a time as its annotation says, and
/// MachinePools.
fn of_workers(
    snapshot: &Snapshot,
    edit: &TopologyEdit,
    (before, after): (Option<&Pin>, Option<&Pin>),
    version: &KubeVersion,
) -> Vec<Move> {
    let named = |pool: &MachineDeployment| {
        let name = pool.labels.get(TOPOLOGY_DEPLOYMENT_NAME);
        name.unwrap_or(&pool.object.name).clone()
    };
    let mut pools: Vec<(String, &MachineDeployment)> = deployments(snapshot).map(|pool| (named(pool), pool)).collect();
    pools.sort_by_key(|(name, pool)| {
        let at = edit.order.iter().position(|listed| listed == name);
        (at.unwrap_or(usize::MAX), pool.object.name.clone())
    });
    let deployments = pools.into_iter().map(|(name, pool)| {
        let values = |pin: &Pin| pin.machine_deployment(&name).clone();
        let differences = changed(before.map(values), after.map(values));
        let id = PoolId::Workers(pool.object.name.clone());
        (id, pool.version.clone(), pool.replicas, differences)
    });
    let mut pools: Vec<&MachinePool> = machine_pools(snapshot).collect();
    pools.sort_by_key(|pool| pool.object.name.clone());
    let machine_pools = pools.into_iter().map(|pool| {
        let name = &pool.object.name;
        let values = |pin: &Pin| pin.machine_pool(name).clone();
        let differences = changed(before.map(values), after.map(values));
        let replicas = pool.replicas.map_or(0, |counts| counts.desired);
        (
            PoolId::MachinePool(name.clone()),
            pool.version.clone(),
            replicas,
            differences,
        )
    });
    deployments
        .chain(machine_pools)
        .map(|(pool, from, machines, differences)| Move {
            holds: Vec::new(),
            change: Change::Swap(PoolSwap {
                pool,
                from,
                to: version.clone(),
                release: after.map(|pin| pin.release.clone()),
                template: None,
                bootstrap: None,
                differences,
                machines,
                way_back: None,
            }),
        })
        .collect()
}

/// The values that become others. Of a version without a pin, those of before aren't known.
fn changed(before: Option<Values>, after: Option<Values>) -> Vec<ValueDifference> {
    let before = before.unwrap_or_default();
    let after = after.unwrap_or_default();
    let changes = after.into_iter().filter_map(|(pointer, value)| {
        let was = before.get(&pointer).cloned();
        (was.as_ref() != Some(&value)).then(|| ValueDifference {
            pointer: pointer.to_string(),
            before: was,
            after: Some(value),
        })
    });
    changes.collect()
}
