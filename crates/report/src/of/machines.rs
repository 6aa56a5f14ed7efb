//! The Machines, each with how far it has come.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use instar_api::{ClusterUpgrade, MachineUpgradePhase};
use instar_capi::{
    Machine,
    labels::{CONTROL_PLANE, DEPLOYMENT_NAME, POOL_NAME},
};
use kube::ResourceExt;

use super::ClusterObjects;
use crate::{MachineRow, pace::Arrival, record};

/// What an owner's controller writes into a Machine that is what the owner's spec says.
const UP_TO_DATE: &str = "True";

/// All Machines. Of one that the record lists, the record says how far it has come: it knows where the pool goes in the end.
/// Of the others the Machine says whether it is what its pool's spec says.
pub(super) fn of(objects: &ClusterObjects, record: Option<&ClusterUpgrade>) -> Vec<MachineRow> {
    let known = Known::of(record);
    let machines = objects.machines.iter();
    let control_plane = objects.control_plane.as_ref();
    let control_plane = control_plane.and_then(|object| object.pointer("/metadata/name")?.as_str());
    machines
        .map(|machine| row(machine, control_plane.unwrap_or_default(), &known))
        .collect()
}

/// What a record says of machines.
struct Known<'a> {
    listed: BTreeMap<&'a str, MachineUpgradePhase>,
    /// Pools of which it leaves machines out, and of which none is where it goes.
    to_come: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(record: Option<&'a ClusterUpgrade>) -> Self {
        let status = record.and_then(|record| record.status.as_ref());
        let pools = status.map(|status| status.pools.as_slice()).unwrap_or_default();
        let details = pools.iter().flat_map(|pool| &pool.machine_details);
        let to_come = pools.iter().filter(|pool| pool.unlisted > 0 && pool.converged == 0);
        Self {
            listed: details.map(|detail| (detail.name.as_str(), detail.phase)).collect(),
            to_come: to_come.map(|pool| pool.name.as_str()).collect(),
        }
    }

    fn phase_of(&self, machine: &Machine, pool: &str, is_failed: bool) -> MachineUpgradePhase {
        match self.listed.get(machine.name_any().as_str()) {
            // A status may be older than the Machine.
            Some(_) if is_failed => MachineUpgradePhase::Failed,
            Some(phase) => *phase,
            None => match phase_of(machine) {
                // It is as its pool's spec says, which has still to change.
                MachineUpgradePhase::Running if self.to_come.contains(pool) => MachineUpgradePhase::Pending,
                phase => phase,
            },
        }
    }
}

fn row(machine: &Machine, control_plane: &str, known: &Known<'_>) -> MachineRow {
    let labels = machine.labels();
    let is_control_plane = labels.contains_key(CONTROL_PLANE);
    let pool = labels.get(DEPLOYMENT_NAME).or_else(|| labels.get(POOL_NAME)).cloned();
    let name = machine.name_any();
    let status = machine.status.clone().unwrap_or_default();
    // As the record names it: the control plane has none.
    let recorded = pool.as_deref().filter(|_| !is_control_plane).unwrap_or_default();
    let phase = known.phase_of(machine, recorded, status.phase == "Failed");
    let node_ready = status.conditions.node_ready.as_ref();
    let waits = status.deletion_waits_for().map(ToOwned::to_owned);
    let not_ready = node_ready.filter(|condition| condition.status != "True");
    let not_ready = not_ready.map(|condition| condition.message.clone());
    MachineRow {
        pool: if is_control_plane {
            control_plane.to_owned()
        } else {
            pool.unwrap_or_default()
        },
        control_plane: is_control_plane,
        name,
        node: status.node_ref.map(|node| node.name).unwrap_or_default(),
        version: status.node_info.kubelet_version,
        phase,
        created: machine.metadata.creation_timestamp.clone(),
        message: waits.or(not_ready).unwrap_or_default(),
    }
}

fn phase_of(machine: &Machine) -> MachineUpgradePhase {
    let Some(status) = &machine.status else {
        return MachineUpgradePhase::Upgrading;
    };
    let is_there = status.phase == "Running" && status.node_info.kubelet_version == machine.spec.version;
    let up_to_date = matches!(status.conditions.up_to_date.as_str(), UP_TO_DATE | "");
    if status.phase == "Failed" {
        MachineUpgradePhase::Failed
    } else if machine.metadata.deletion_timestamp.is_some() {
        MachineUpgradePhase::Upgrading
    } else if !up_to_date {
        MachineUpgradePhase::Pending
    } else if is_there {
        MachineUpgradePhase::Running
    } else {
        MachineUpgradePhase::Upgrading
    }
}

/// The machines of this upgrade that are there, with their times. What `clusterctl move` has created anew says nothing: its
/// node is older than the Machine.
pub(super) fn arrivals(objects: &ClusterObjects, record: &ClusterUpgrade, rows: &[MachineRow]) -> Vec<Arrival> {
    let Some(began) = record::began(record) else {
        return Vec::new();
    };
    let machines = objects.machines.iter().zip(rows);
    let arrived = machines.filter(|(_, row)| row.phase == MachineUpgradePhase::Running);
    let times = arrived.filter_map(|(machine, _)| {
        let created = machine.metadata.creation_timestamp.as_ref()?.0;
        let ready = machine.status.as_ref()?.conditions.node_ready.as_ref()?;
        let ready = ready.last_transition_time.as_ref()?.0;
        (created >= began && ready >= created).then_some(Arrival { created, ready })
    });
    times.collect()
}

/// Those that a user looks for come first.
pub(super) fn by_need(one: &MachineRow, other: &MachineRow) -> Ordering {
    let key = |row: &MachineRow| (need(row.phase), !row.control_plane);
    let order = key(one).cmp(&key(other));
    order.then_with(|| (&one.pool, &one.name).cmp(&(&other.pool, &other.name)))
}

const fn need(phase: MachineUpgradePhase) -> u8 {
    match phase {
        MachineUpgradePhase::Failed => 0,
        MachineUpgradePhase::Upgrading => 1,
        MachineUpgradePhase::Pending => 2,
        MachineUpgradePhase::Running => 3,
    }
}
