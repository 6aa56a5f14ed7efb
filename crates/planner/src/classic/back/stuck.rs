//! A step that never came up is taken back before another one is taken. A KubeadmControlPlane that is swapped forward
//! waits for the machine that never comes; swapped back, it deletes it.

use super::refusals;
use crate::{
    classic::{
        Next,
        control_plane::{Outlook, rolling_out, swap_to},
        goal::Goal,
        restore,
        view::ClassicView,
    },
    decision::{Action, StuckRemedy, Waiting},
    step::Step,
    swap::Course,
    swap_history::PoolState,
};

/// Of an upgrade that goes forward. What is under way turns around at once, so no gate is asked; the step that comes
/// after it asks all of them.
pub(in crate::classic) fn next(
    view: &ClassicView<'_>,
    goal: &Goal<'_>,
    before: &PoolState,
    waiting: &mut Vec<Waiting>,
) -> Next {
    let comes_next = goal.path.first().map(Step::name);
    let wait = |reasons: Vec<Waiting>, remedy, waiting: &mut Vec<Waiting>| {
        waiting.extend(reasons);
        waiting.extend(rolling_out(view, &Outlook { comes_next, remedy }));
    };
    let refused = refusals::of_next_step(view, before);
    if !refused.is_empty() {
        wait(refused, StuckRemedy::Repair, waiting);
        return Next::Wait;
    }
    match swap(view, before) {
        Ok(action) => {
            wait(Vec::new(), StuckRemedy::GoesBack(before.version.clone()), waiting);
            Next::Write(Box::new(action))
        }
        Err(reason) => {
            wait(vec![reason], StuckRemedy::Repair, waiting);
            Next::Wait
        }
    }
}

fn swap(view: &ClassicView<'_>, before: &PoolState) -> Result<Action, Waiting> {
    let source = restore::control_plane(view, before)?;
    Ok(swap_to(view, Course::TurnBackTo(before), source, false))
}
