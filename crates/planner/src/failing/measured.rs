//! How long the machines of this upgrade have taken, by times of the objects.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::swapped;
use crate::{
    failure::ProgressDeadline,
    observed::Observed,
    pool_id::PoolId,
    snapshot::{Machine, NodeReadiness, Snapshot},
    swap_history::SwapEntry,
};

/// A machine may take so many times as long as those before it: another host, a drain, an image that isn't cached.
const FACTOR: i32 = 3;

/// How long a step may go without progress.
pub(super) fn deadline(snapshot: &Snapshot) -> SignedDuration {
    match snapshot.failure_rule.progress_deadline {
        ProgressDeadline::Fixed(deadline) => deadline,
        ProgressDeadline::Measured => {
            let mut machines: BTreeMap<&PoolId, Vec<&Machine>> = BTreeMap::new();
            for machine in snapshot.machines.iter().filter_map(Observed::read) {
                if let Some(pool) = &machine.pool {
                    machines.entry(pool).or_default().push(machine);
                }
            }
            let slowest = swapped(snapshot)
                .filter_map(|(pool, swap)| of_machines(machines.get(&pool)?, swap))
                .max();
            let measured = slowest.map_or(SignedDuration::ZERO, |slowest| slowest.saturating_mul(FACTOR));
            measured.clamp(ProgressDeadline::SHORTEST, ProgressDeadline::LONGEST)
        }
    }
}

/// How long the machines of a pool took in the last step: the longest time between two of them becoming ready, or from the
/// swap to the first. Where several are made at a time they become ready together, so each batch counts as one machine.
fn of_machines(machines: &[&Machine], swap: &SwapEntry) -> Option<SignedDuration> {
    let is_new = |machine: &&&Machine| machine.version == swap.after.version;
    // A Node that was not Ready for a while says nothing of how long its machine took.
    let in_step = |time: &Timestamp| *time >= swap.since && swap.converged.is_none_or(|converged| *time <= converged);
    let ready = machines
        .iter()
        .filter(is_new)
        .filter_map(|machine| match machine.node_readiness {
            NodeReadiness::Ready { since } => Some(since).filter(in_step),
            NodeReadiness::NotReady { .. } | NodeReadiness::Unknown { .. } => None,
        });
    let mut times: Vec<Timestamp> = ready.chain([swap.since]).collect();
    times.sort();
    let took = times.iter().zip(times.iter().skip(1));
    took.map(|(one, next)| next.duration_since(*one)).max()
}
