//! How long the machines of this upgrade have taken, by times of the objects.

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
            let slowest = swapped(snapshot)
                .filter_map(|(pool, swap)| of_machine(snapshot, &pool, swap))
                .max();
            let measured = slowest.map_or(SignedDuration::ZERO, |slowest| slowest.saturating_mul(FACTOR));
            measured.clamp(ProgressDeadline::SHORTEST, ProgressDeadline::LONGEST)
        }
    }
}

/// How long one machine of a pool took in the last step, on average. Where several were made at a time, that is less than it
/// was, and never more.
fn of_machine(snapshot: &Snapshot, pool: &PoolId, swap: &SwapEntry) -> Option<SignedDuration> {
    let machines = snapshot.machines.iter().filter_map(Observed::read);
    let is_new = |machine: &&Machine| machine.pool.as_ref() == Some(pool) && machine.version == swap.after.version;
    // A Node that was not Ready for a while says nothing of how long its machine took.
    let in_step = |time: &Timestamp| *time >= swap.since && swap.converged.is_none_or(|converged| *time <= converged);
    let ready = machines
        .filter(is_new)
        .filter_map(|machine| match machine.node_readiness {
            NodeReadiness::Ready { since } => Some(since).filter(in_step),
            NodeReadiness::NotReady { .. } | NodeReadiness::Unknown { .. } => None,
        });
    let (count, last) = ready.fold((0_i32, None), |(count, last), since| {
        (count.saturating_add(1), last.max(Some(since)))
    });
    last?.duration_since(swap.since).checked_div(count)
}
