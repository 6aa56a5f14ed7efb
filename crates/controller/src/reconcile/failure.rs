//! What becomes of an upgrade that has failed.

use instar_api::{ClusterUpgrade, EventReason};
use instar_capi::Cluster;
use instar_planner::{Decision, Failed, FailureResponse, Snapshot, deadline_of_step};

use super::{
    Context, Done,
    classic::{next_look, until},
};
use crate::{api::Error, upgrade_spec::rollback_record};

impl Context {
    /// Creates the rollback that a failure asks for. It has one name, so that a crash or a cache that is behind creates no
    /// second one; once it is there, it has its turn.
    pub(super) async fn take_back(
        &self,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        decision: &Decision,
    ) -> Result<Option<Done>, Error> {
        let Some(failed @ Failed { response, .. }) = decision.failed() else {
            return Ok(None);
        };
        let scope = match response {
            FailureResponse::TakeBack { scope, .. } => *scope,
            FailureResponse::Hold | FailureResponse::NotTakenBack { .. } | FailureResponse::End { .. } => {
                return Ok(None);
            }
        };
        let why = failed.to_string();
        let done = self.make(&rollback_record(cluster, upgrade, scope, &why)).await?;
        self.tell(cluster, upgrade, EventReason::CreatedRollback, &why).await;
        Ok(Some(done))
    }
}

/// When to look at an upgrade under way again: also when a step of it will have failed.
pub(super) fn next_look_or_failure(snapshot: &Snapshot, decision: &Decision) -> Done {
    let (look, deadline) = (next_look(decision, snapshot.now), deadline_of_step(snapshot, decision));
    match (look, until(deadline, snapshot.now)) {
        (Done::Until(look), Done::Until(deadline)) => Done::Until(look.min(deadline)),
        (look, _) => look,
    }
}
