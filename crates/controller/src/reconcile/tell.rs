//! What is told of an upgrade: its status, and events.

use instar_api::{ClusterUpgrade, ClusterUpgradeStatus};
use instar_planner::{Decision, Snapshot};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use serde_json::json;

use super::Context;
use crate::{
    api::{Error, FIELD_MANAGER, call},
    metrics::Written as Counted,
    report::{self, Health},
    views::Cluster,
    words::cut,
};

impl Context {
    pub(super) async fn report(
        &self,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        snapshot: &Snapshot,
        decision: &Decision,
        health: Health<'_>,
    ) -> Result<(), Error> {
        let status = report::status(upgrade, snapshot, decision, health);
        let before = upgrade.status.as_ref().map(|status| status.phase);
        self.write_status(upgrade, &status).await?;
        if before != Some(status.phase) {
            let first = status.waiting.first();
            let waiting = first.map_or_else(String::new, |first| format!(": {}", first.message));
            let note = format!("{} to {}{waiting}", status.phase.as_str(), upgrade.spec.target);
            self.tell(cluster, upgrade, EventType::Normal, status.phase.as_str(), &note)
                .await;
        }
        Ok(())
    }

    pub(super) async fn complain(
        &self,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        snapshot: &Snapshot,
        decision: &Decision,
        error: &Error,
    ) -> Result<(), Error> {
        let reason = match error {
            Error::Violation(_) => "InvariantBroken",
            Error::NameTaken { .. } => "NameTaken",
            Error::NoKind { .. } => "NoKind",
            Error::NoRight { .. } => "NoRight",
            Error::Call { .. } | Error::Silence { .. } | Error::NotLeader => "WriteFailed",
        };
        let message = error.to_string();
        let health = Health::Ill {
            reason,
            message: &message,
        };
        let status = report::status(upgrade, snapshot, decision, health);
        self.write_status(upgrade, &status).await?;
        self.tell(cluster, upgrade, EventType::Warning, reason, &message).await;
        Ok(())
    }

    pub(super) async fn write_status(
        &self,
        upgrade: &ClusterUpgrade,
        status: &ClusterUpgradeStatus,
    ) -> Result<(), Error> {
        if !report::differs(upgrade.status.as_ref(), status) {
            return Ok(());
        }
        self.may_write()?;
        let api: Api<ClusterUpgrade> = Api::namespaced(self.client.clone(), &upgrade.namespace().unwrap_or_default());
        let name = upgrade.name_any();
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({ "status": status }));
        let doing = || format!("writing the status of ClusterUpgrade {name}");
        call(doing, api.patch_status(&name, &parameters, &patch)).await?;
        self.counters.wrote(Counted::Status);
        Ok(())
    }

    /// An event that gets lost is no reason to stop.
    pub(super) async fn tell(
        &self,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        kind: EventType,
        reason: &str,
        note: &str,
    ) {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(cut(note)),
            action: "Upgrade".to_owned(),
            secondary: None,
        };
        for about in [cluster.object_ref(&()), upgrade.object_ref(&())] {
            let published = call(
                || "publishing an event".to_owned(),
                self.recorder.publish(&event, &about),
            )
            .await;
            if let Err(error) = published {
                tracing::warn!("{error}");
            }
        }
    }
}
