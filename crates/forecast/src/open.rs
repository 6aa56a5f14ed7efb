//! What holds an upgrade and is taken as open, so that it can be said what comes after.

use instar_planner::{
    AddonState, ClosedAddon, Gate, GateState, Machine, NodeReadiness, Snapshot, UnreadyNode, Waiting,
};

use crate::apply::read_mut;

/// What was done about what a decision waits for.
#[derive(Default)]
pub(crate) struct Opened {
    /// What held it, and is open now.
    pub(crate) holds: Vec<Waiting>,
    /// Whether the machines of pools are to be deleted that replace only those.
    pub(crate) deletes_machines: bool,
    /// Whether time has passed.
    pub(crate) has_waited: bool,
}

/// Opens all of it that opens by time, by an approval, or once something outside is well.
pub(crate) fn open(snapshot: &mut Snapshot, waiting: &[Waiting]) -> Opened {
    let mut opened = Opened::default();
    for reason in waiting {
        let mut told = reason.clone();
        let opens = match reason {
            Waiting::GateClosed { gate: Gate::Window, .. } => {
                let open = GateState::Open { until: None };
                snapshot.gates.insert(Gate::Window, open);
                true
            }
            Waiting::GateClosed {
                gate: Gate::Canary,
                until: Some(until),
                ..
            } => {
                snapshot.now = snapshot.now.max(*until);
                if let Some(rule) = snapshot.canary {
                    // When that will be, nobody knows yet.
                    told = Waiting::GateClosed {
                        gate: Gate::Canary,
                        reason: format!(
                            "the pools that go first run for {:#} before the others follow",
                            rule.bake
                        ),
                        until: None,
                    };
                }
                true
            }
            Waiting::ApprovalMissing { part, version, .. } => {
                snapshot.approvals.given.insert((*part, version.clone()));
                true
            }
            Waiting::PreflightFailed { .. } | Waiting::PreflightUnknown { .. } => {
                snapshot.preflight.clear();
                true
            }
            Waiting::AddonClosed(closed) => open_addon(snapshot, closed),
            Waiting::NodeNotReady(unready) => ready(snapshot, unready),
            Waiting::OnDelete { .. } => {
                opened.deletes_machines = true;
                true
            }
            Waiting::NodesSettling { until, .. } => {
                snapshot.now = snapshot.now.max(*until);
                opened.has_waited = true;
                false
            }
            // Nothing of it opens by itself.
            _ => false,
        };
        if opens {
            opened.holds.push(told);
        }
    }
    opened
}

fn open_addon(snapshot: &mut Snapshot, closed: &ClosedAddon) -> bool {
    let gates = snapshot.addons.found.values_mut().flatten();
    let mut is_found = false;
    for gate in gates.filter(|gate| gate.id == closed.id) {
        gate.state = AddonState::Open;
        is_found = true;
    }
    is_found
}

fn ready(snapshot: &mut Snapshot, unready: &UnreadyNode) -> bool {
    let is = |machine: &&mut Machine| machine.name == unready.machine;
    let since = snapshot
        .nodes_ready_for
        .and_then(|ready_for| snapshot.now.checked_sub(ready_for).ok());
    let Some(machine) = read_mut(&mut snapshot.machines).find(is) else {
        return false;
    };
    machine.node_readiness = NodeReadiness::Ready {
        since: since.unwrap_or(snapshot.now),
    };
    true
}
