//! Where a pool goes that goes back: to what it was.

use super::Violation;
use crate::{
    decision::Swap,
    operation::Rollback,
    snapshot::Object,
    swap_history::{PoolState, SwapHistory},
};

/// Every state in which the upgrade that is taken back found an object.
pub(super) fn found<'o>(object: &'o Object, rollback: &'o Rollback) -> impl Iterator<Item = &'o PoolState> {
    let entries = object.swap_history.iter().flat_map(SwapHistory::entries);
    let of_it = entries.filter(|entry| entry.upgrade == rollback.of);
    of_it.map(|entry| &entry.before)
}

/// A pool goes to a state in which it was, and the history of that stays.
pub(super) fn check_target(object: &Object, swap: &Swap, rollback: &Rollback, broken: &mut Vec<Violation>) {
    let template = swap.template.as_ref().map(|template| &template.name);
    let was_there = |state: &PoolState| {
        state.version == swap.version
            && state.template.as_ref() == template
            && swap
                .bootstrap
                .as_ref()
                .is_none_or(|bootstrap| state.bootstrap.as_ref() == Some(&bootstrap.name))
    };
    if !found(object, rollback).any(was_there) {
        broken.push(Violation::NotWhatWas);
    }
}
