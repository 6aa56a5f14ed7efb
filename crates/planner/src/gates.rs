//! What holds the next swap.

use crate::{
    decision::Waiting,
    preflight,
    snapshot::Snapshot,
    upgrade_spec::{Gate, GateState},
};

/// Those of the gates that don't let through, and the checks that hold an upgrade that hasn't begun, as what is waited
/// for.
pub(crate) fn closed(snapshot: &Snapshot, gates: &[Gate]) -> Vec<Waiting> {
    let closed = gates.iter().filter_map(|gate| match snapshot.gates.get(gate) {
        None | Some(GateState::Open) => None,
        Some(GateState::Closed { reason, until }) => Some(Waiting::GateClosed {
            gate: *gate,
            reason: reason.clone(),
            until: *until,
        }),
    });
    preflight::held(snapshot).chain(closed).collect()
}
