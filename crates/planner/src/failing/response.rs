//! What becomes of an upgrade that has failed.

use instar_api::OnFailure;

use crate::{
    classic::{WayBack, resume, way_back},
    decision::{Action, Decision, Stage, Waiting},
    failure::{Failure, FailureResponse, StandingFailure},
    operation::{Operation, RollbackScope},
    pool_id::PoolId,
    snapshot::{ClusterKind, Snapshot},
    topology::under_way,
    way_back::NoWayBack,
};

pub(super) fn to(snapshot: &Snapshot, decision: &Decision, failure: &Failure) -> FailureResponse {
    let until = match failure {
        // It has a deadline of its own.
        Failure::AddonFailed { .. } => None,
        Failure::StalledStep { .. } | Failure::VerificationFailed { .. } | Failure::CanaryFailed { .. } => {
            stands(snapshot, failure).to_stand_until(snapshot.failure_rule.grace)
        }
    };
    if let Some(until) = until {
        return FailureResponse::Confirm { until };
    }
    match snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Refresh => {}
        // What was there before is what is there.
        Operation::Restart if ends(snapshot, decision, failure) => return FailureResponse::End { because: None },
        // A user has said what becomes of the others.
        Operation::Restart | Operation::Abort | Operation::Rollback(_) => return FailureResponse::Hold,
    }
    match taken_back(snapshot) {
        Ok(Some((scope, because))) => FailureResponse::TakeBack { scope, because },
        Ok(None) if ends(snapshot, decision, failure) => FailureResponse::End { because: None },
        Ok(None) => FailureResponse::Hold,
        Err(because) if ends(snapshot, decision, failure) => FailureResponse::End { because: Some(because) },
        Err(because) => FailureResponse::NotTakenBack { because },
    }
}

/// A failure, and since when each pass has found it, this one included.
pub(super) fn stands(snapshot: &Snapshot, failure: &Failure) -> StandingFailure {
    let before = snapshot.failure_rule.stood.as_ref();
    StandingFailure::after(before, snapshot.upgrade_spec.id(), failure, snapshot.now)
}

/// How much is to be taken back, and why not all that should be; an error says why nothing is.
fn taken_back(snapshot: &Snapshot) -> Result<Option<(RollbackScope, Option<String>)>, String> {
    let rule = &snapshot.failure_rule;
    let wanted = match rule.on_failure {
        OnFailure::Hold => return Ok(None),
        OnFailure::RollbackWorkers => RollbackScope::Workers,
        OnFailure::Rollback => RollbackScope::All,
    };
    if let Some(created) = &rule.created {
        return Err(created.to_string());
    }
    match &snapshot.cluster.kind {
        ClusterKind::Classic(_) => {}
        ClusterKind::Topology(_) => return Err(NoWayBack::Topology.to_string()),
    }
    let back = way_back(snapshot, &snapshot.upgrade_spec.id());
    let back = back.ok_or_else(|| "what it changed can't be read".to_owned())?;
    let workers = match back.workers_refused.first() {
        Some(reason) => Err(reason.to_string()),
        None if returns_workers(&back) => Ok(RollbackScope::Workers),
        None => Err("no MachineDeployment has gone anywhere that it could come back from".to_owned()),
    };
    match wanted {
        RollbackScope::Workers => workers.map(|scope| Some((scope, None))),
        RollbackScope::All => match back.refused.first().map(Waiting::to_string) {
            None if !back.returning.is_empty() || back.addons.iter().any(|addon| addon.step.is_some()) => {
                Ok(Some((RollbackScope::All, None)))
            }
            None => Err("nothing has gone anywhere that it could come back from".to_owned()),
            Some(because) => match workers {
                Ok(scope) => Ok(Some((scope, Some(because)))),
                Err(_) => Err(because),
            },
        },
    }
}

fn returns_workers(back: &WayBack) -> bool {
    back.returning.iter().any(|returning| match returning.pool {
        PoolId::Workers(_) | PoolId::MachinePool(_) => true,
        PoolId::ControlPlane => false,
    })
}

/// Whether the upgrade ends: an add-on says so, and nothing moves. A topology Cluster that moves goes on whatever its record
/// says, and pools that are held have to stay so.
fn ends(snapshot: &Snapshot, decision: &Decision, failure: &Failure) -> bool {
    let is_addon = match failure {
        Failure::AddonFailed { .. } => true,
        Failure::StalledStep { .. } | Failure::VerificationFailed { .. } | Failure::CanaryFailed { .. } => false,
    };
    let moves = match &snapshot.cluster.kind {
        // One that is changed in place has to come to its end.
        ClusterKind::Classic(_) => resume(snapshot).action != Action::Nothing,
        ClusterKind::Topology(_) => under_way(snapshot),
    };
    is_addon && decision.progress.stage == Stage::Held && !moves
}
