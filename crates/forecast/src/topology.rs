//! What an upgrade of a topology Cluster would do: Instar edits the version and writes the pins, and Cluster API does the
//! rest in an order of its own.
//!
//! What holds the edit is the planner's to say, the pins are admission's, and the versions at which the workers stop are those
//! of [`instar_catalog::path::Path`], as admission computed them. The names of the templates Cluster API chooses.

use instar_api::{Pin, Pins, Values};
use instar_capi::labels::{TOPOLOGY_DEPLOYMENT_NAME, TOPOLOGY_POOL_NAME};
use instar_catalog::path::{Path, Source};
use instar_domain::KubeVersion;
use instar_planner::{
    Action, AskedPoint, ClusterKind, Decision, MachineDeployment, MachinePool, ManagedBy, Observed, PoolId,
    RuntimeHooks, Snapshot, Stage, Waiting, follow, is_aimed_at_present,
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
    let (holds, before) = before_edit(&mut snapshot, &mut look);
    let edit = match before {
        Before::Edit => edit,
        Before::End(_) => None,
    };
    let end = match before {
        Before::Edit => End::Complete(Vec::new()),
        Before::End(end) => end,
    };
    let mut told = Forecast {
        path: Vec::new(),
        moves: Vec::new(),
        before_completion: Vec::new(),
        pools: pools.into_values().collect(),
        end,
    };
    let Some(edit) = edit else {
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
    match told.moves.first_mut() {
        Some(first) => first.holds = holds,
        None => told.before_completion = holds,
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

/// What becomes of the wish for an upgrade.
enum Before {
    /// The planner would edit the version.
    Edit,
    /// It doesn't come to that.
    End(End),
}

/// What the upgrade waits for before it edits the version, and whether it comes to that.
fn before_edit(snapshot: &mut Snapshot, look: &mut impl FnMut(AskedPoint, &mut Snapshot)) -> (Vec<Waiting>, Before) {
    let mut holds = Vec::new();
    for _ in 0..LOOKS {
        let decision = decide(snapshot, look);
        let is_held = match decision.progress.stage {
            Stage::Complete => return (holds, Before::End(End::Complete(decision.waiting))),
            Stage::Held => true,
            Stage::ControlPlane | Stage::Workers | Stage::Verifying => false,
        };
        match &decision.action {
            action @ Action::BeginGates(_) => apply(snapshot, action),
            // Where it is held, what is written takes back what was done for an edit.
            action if is_held || *action == Action::Nothing => {
                let opened = open(snapshot, &decision.waiting);
                if opened.holds.is_empty() && !opened.has_waited {
                    let end = if is_aimed_at_present(snapshot) {
                        End::UnderWay
                    } else {
                        End::Blocked(decision.waiting)
                    };
                    return (holds, Before::End(end));
                }
                run::add(&mut holds, opened.holds);
            }
            // The Cluster's version is the target: what is written ends the upgrade to it.
            _ if is_aimed_at_present(snapshot) => return (holds, Before::End(End::UnderWay)),
            // The edit, or what comes first for its sake.
            _ => return (holds, Before::Edit),
        }
        if let Ok(later) = snapshot.now.checked_add(SignedDuration::from_secs(1)) {
            snapshot.now = later;
        }
    }
    (holds, Before::End(End::Unclear(Unclear::TooLong)))
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
    // Admission's pins of the present version may be those of another release already.
    let own = topology.pins.as_ref().and_then(|pins| pins.releases.get(present));
    let own = own.or_else(|| pin(present).filter(|_| edit.version != *present));
    let before = |version: &KubeVersion| if version == present { own } else { pin(version) };
    let replicas = control_plane.replicas.map_or(0, |counts| counts.desired);
    let (mut done, mut at) = (Vec::new(), present.clone());
    let mut workers_at: Option<KubeVersion> = None;
    for version in &path.control_plane {
        let mut differences = Vec::new();
        for of in [|pin: &Pin| pin.kubeadm.clone(), |pin: &Pin| pin.control_plane.clone()] {
            differences.extend(changed(before(&at).map(of), pin(version).map(of)));
        }
        done.push(Move {
            holds: Vec::new(),
            change: Change::Swap(PoolSwap {
                pool: PoolId::ControlPlane,
                to: version.clone(),
                release: pin(version).map(|pin| pin.release.clone()),
                template: None,
                bootstrap: None,
                machines: replaced(replicas, at != *version || !differences.is_empty()),
                from: at,
                differences,
                way_back: None,
            }),
        });
        at = version.clone();
        if path.workers.contains(version) {
            let stop = Stop {
                before: before(workers_at.as_ref().unwrap_or(present)),
                after: pin(version),
                from: workers_at.as_ref(),
                to: version,
            };
            done.extend(of_workers(snapshot, edit, &stop));
            workers_at = Some(version.clone());
        }
    }
    let changes = |done: &Move| swap(done).is_some_and(|swap| swap.from != swap.to || !swap.differences.is_empty());
    if !done.iter().any(changes) {
        return Some((Vec::new(), Vec::new()));
    }
    let releases = path.control_plane.iter().filter_map(pin);
    Some((releases.map(|pin| pin.release.clone()).collect(), done))
}

/// Machines are replaced where something of them changes.
const fn replaced(machines: u32, changes: bool) -> u32 {
    if changes { machines } else { 0 }
}

/// A version at which the workers stop.
struct Stop<'a> {
    before: Option<&'a Pin>,
    after: Option<&'a Pin>,
    /// The stop before it; absent at the first, where each pool has a version of its own.
    from: Option<&'a KubeVersion>,
    to: &'a KubeVersion,
}

/// The workers at one version: MachineDeployments in the order of the topology, so many at a time as its annotation says, and
/// MachinePools.
fn of_workers(snapshot: &Snapshot, edit: &TopologyEdit, stop: &Stop<'_>) -> Vec<Move> {
    let (before, after) = (stop.before, stop.after);
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
        // Pins know it by its name in the topology.
        let named = pool.labels.get(TOPOLOGY_POOL_NAME).unwrap_or(name);
        let values = |pin: &Pin| pin.machine_pool(named).clone();
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
        .map(|(pool, present, machines, differences)| {
            let from = stop.from.cloned().unwrap_or(present);
            Move {
                holds: Vec::new(),
                change: Change::Swap(PoolSwap {
                    pool,
                    to: stop.to.clone(),
                    release: after.map(|pin| pin.release.clone()),
                    template: None,
                    bootstrap: None,
                    machines: replaced(machines, from != *stop.to || !differences.is_empty()),
                    from,
                    differences,
                    way_back: None,
                }),
            }
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
