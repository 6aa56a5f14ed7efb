//! What becomes of an upgrade that has failed.

use instar_api::{ClusterUpgrade, EventReason};
use instar_capi::Cluster;
use instar_planner::{Decision, Failed, FailureResponse};

use super::{AFTER_WRITE, Context, Done, annotated::Created};
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
            FailureResponse::Confirm { .. }
            | FailureResponse::Hold
            | FailureResponse::NotTakenBack { .. }
            | FailureResponse::End { .. } => return Ok(None),
        };
        let why = failed.to_string();
        match self.create(&rollback_record(cluster, upgrade, scope, &why)).await? {
            Created::Now => {}
            // Whose it is, the next pass sees in the cache.
            Created::Before => return Ok(Some(Done::Until(AFTER_WRITE))),
        }
        self.tell(cluster, upgrade, EventReason::CreatedRollback, &why);
        Ok(Some(Done::Wrote))
    }
}
