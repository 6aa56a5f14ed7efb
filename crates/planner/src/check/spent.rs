//! What was taken back.

use crate::{decision::Action, operation::Operation, snapshot::Snapshot};

/// Whether an upgrade would go where the last one was taken back from.
pub(super) fn is_spent(snapshot: &Snapshot, action: &Action) -> bool {
    let goes_on = match action {
        Action::MintTemplate(_) | Action::SwapControlPlane(_) | Action::SwapWorkers(_) | Action::PinPath(_) => {
            matches!(snapshot.upgrade_spec.operation, Operation::Upgrade | Operation::Refresh)
        }
        Action::PatchMachinePool(_)
        | Action::RecordConvergence(_)
        | Action::DeleteTemplate(_)
        | Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::AnswerHook(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::RestoreVersionCheck(_)
        | Action::Nothing => false,
    };
    let path = snapshot.cluster.classic().and_then(|classic| classic.path.as_ref());
    let upgrade_spec = &snapshot.upgrade_spec;
    let target = upgrade_spec.target.as_str();
    goes_on
        && path.is_some_and(|path| {
            path.spent_by(&upgrade_spec.upgrade, target, upgrade_spec.retry)
                .is_some()
        })
}
