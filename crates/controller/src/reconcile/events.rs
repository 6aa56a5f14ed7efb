//! Where an upgrade is reported: its status, and events.

use instar_api::{
    ClusterUpgrade, ClusterUpgradeSpec, ClusterUpgradeStatus, EventReason, FailureReason, Operation, UpgradePhase,
};
use instar_capi::Cluster;
use instar_planner::{Decision, Snapshot, hash};
use instar_watch::Key;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::Context;
use crate::{
    api::{Error, FIELD_MANAGER, call},
    events::UPGRADE,
    metrics::Written as Counted,
    report::{self, Attempt, GateChange, LetThrough},
};

impl Context {
    pub(super) async fn report(
        &self,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        snapshot: &Snapshot,
        decision: &Decision,
        attempt: Attempt<'_>,
    ) -> Result<(), Error> {
        // What Cluster API asks concerns topology Clusters alone.
        let awaits_hooks = cluster.spec.topology.is_some() && self.hooks.awaits_first_look();
        let awaits_look = awaits_hooks || self.prober.awaits_first_look(&Key::of(cluster));
        if awaits_look && report::stands_until_known(upgrade, decision) {
            return Ok(());
        }
        let status = report::status(upgrade, snapshot, decision, attempt);
        let about = [cluster.object_ref(&()), upgrade.object_ref(&())];
        let addons = report::open_addons(snapshot);
        self.write_and_publish(upgrade, &status, &about, addons).await
    }

    /// Writes a status, and publishes an event where its phase or a gate is another.
    pub(super) async fn write_and_publish(
        &self,
        upgrade: &ClusterUpgrade,
        status: &ClusterUpgradeStatus,
        about: &[ObjectReference],
        open_addons: Vec<String>,
    ) -> Result<(), Error> {
        let before = upgrade.status.as_ref().map(|status| status.phase);
        self.write_status(upgrade, status).await?;
        if before != Some(status.phase)
            && let Some(reason) = EventReason::of_phase(status.phase)
        {
            let note = phase_note(status, &title(&upgrade.spec));
            self.publish(about, reason, &note);
        }
        for note in report::failed_steps(upgrade.status.as_ref(), status) {
            self.publish(about, EventReason::StepFailed, note);
        }
        let let_through = LetThrough {
            approvals: &upgrade.spec.approvals,
            addons: open_addons,
        };
        for GateChange { gate, to, note } in report::gate_changes(upgrade.status.as_ref(), status, &let_through) {
            self.counters.gate_changed(gate, to);
            self.publish(about, to.event(gate), &note);
        }
        Ok(())
    }

    /// What has to be known couldn't be read: it is reported when it is new.
    pub(super) async fn unread(&self, cluster: &Cluster, upgrade: &ClusterUpgrade, error: &Error) {
        let reason = error.reason(FailureReason::ReadFailed);
        let message = report::steady(upgrade.status.as_ref(), reason, error.to_string());
        let status = report::unread(upgrade, reason, &message, Timestamp::now());
        // That the record can't be written either is no news then.
        if let Err(error) = self.warn(cluster, upgrade, &status, reason, &message).await {
            tracing::warn!("{error}");
        }
    }

    pub(super) async fn complain(
        &self,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        snapshot: &Snapshot,
        decision: &Decision,
        error: &Error,
    ) -> Result<(), Error> {
        let reason = error.reason(FailureReason::WriteFailed);
        let message = report::steady(upgrade.status.as_ref(), reason, error.to_string());
        let attempt = Attempt::Failed {
            reason,
            message: &message,
        };
        let status = report::status(upgrade, snapshot, decision, attempt);
        self.warn(cluster, upgrade, &status, reason, &message).await
    }

    /// Writes a status that tells of trouble, and publishes an event where it is news.
    async fn warn(
        &self,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        status: &ClusterUpgradeStatus,
        reason: FailureReason,
        message: &str,
    ) -> Result<(), Error> {
        let is_news = !report::tells_of(upgrade.status.as_ref(), reason, message);
        self.write_status(upgrade, status).await?;
        if is_news {
            self.tell(cluster, upgrade, reason.into(), message);
        }
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
        let api = self.records(upgrade);
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

    pub(super) fn tell(&self, cluster: &Cluster, upgrade: &ClusterUpgrade, reason: EventReason, note: &str) {
        let about = [cluster.object_ref(&()), upgrade.object_ref(&())];
        self.publish(&about, reason, note);
    }

    pub(super) fn publish(&self, about: &[ObjectReference], reason: EventReason, note: &str) {
        // Events of one reason and action become one, with the first one's note: a rollback's would read as the upgrade's.
        let action = format!("{UPGRADE}-{}", hash(note));
        self.events.publish(about, reason, note, &action);
    }
}

/// The note of the Event when an upgrade enters a phase.
fn phase_note(status: &ClusterUpgradeStatus, title: &str) -> String {
    let because = || {
        let first = status.health.first();
        first.map_or_else(String::new, |first| format!(": {}", first.message))
    };
    match status.phase {
        UpgradePhase::Pending => format!("{title} has not begun"),
        UpgradePhase::Held => format!("{title} is held{}", because()),
        UpgradePhase::ControlPlane => format!("{title}: the machines of the control plane are being replaced"),
        UpgradePhase::Workers => format!("{title}: the machines of the workers are being replaced"),
        UpgradePhase::Verifying => format!("{title}: all machines are there, and the cluster is verified"),
        UpgradePhase::Completed => format!("{title} is complete"),
        UpgradePhase::Refused => format!("{title} is refused{}", because()),
        UpgradePhase::RollingBack => format!("{title} is being taken back{}", because()),
        UpgradePhase::RolledBack => format!("{title} has been taken back{}", because()),
        UpgradePhase::Aborted => format!("{title} was aborted, and has ended"),
        UpgradePhase::Failed => format!("{title} has failed{}", because()),
    }
}

/// What an upgrade is called in its Events.
fn title(spec: &ClusterUpgradeSpec) -> String {
    let of = spec.rollback_of.as_deref().unwrap_or_default();
    match spec.operation {
        Operation::Upgrade | Operation::Abort => format!("Upgrade to {}", spec.target),
        Operation::Refresh => format!("Refresh to {}", spec.target),
        Operation::Restart => format!("Restart at {}", spec.target),
        Operation::Rollback => format!("Rollback of {of}"),
        Operation::RollbackWorkers => format!("Rollback of {of}, of its workers alone,"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_a_sentence() {
        let health =
            ["MachineDeployment md-0 is paused", "Machine m is Pending"].map(|message| report::row_of("", message));
        for (phase, with_reasons, without) in [
            (UpgradePhase::Pending, " has not begun", " has not begun"),
            (
                UpgradePhase::Held,
                " is held: MachineDeployment md-0 is paused",
                " is held",
            ),
            (
                UpgradePhase::Refused,
                " is refused: MachineDeployment md-0 is paused",
                " is refused",
            ),
            (
                UpgradePhase::ControlPlane,
                ": the machines of the control plane are being replaced",
                ": the machines of the control plane are being replaced",
            ),
            (
                UpgradePhase::Workers,
                ": the machines of the workers are being replaced",
                ": the machines of the workers are being replaced",
            ),
            (
                UpgradePhase::Verifying,
                ": all machines are there, and the cluster is verified",
                ": all machines are there, and the cluster is verified",
            ),
            (UpgradePhase::Completed, " is complete", " is complete"),
            (
                UpgradePhase::Failed,
                " has failed: MachineDeployment md-0 is paused",
                " has failed",
            ),
        ] {
            let mut status = ClusterUpgradeStatus {
                phase,
                health: health.to_vec(),
                ..ClusterUpgradeStatus::default()
            };
            let note = |status: &_| phase_note(status, "Upgrade to v1.35.2");
            assert_eq!(note(&status), format!("Upgrade to v1.35.2{with_reasons}"));
            status.health.clear();
            assert_eq!(note(&status), format!("Upgrade to v1.35.2{without}"));
        }
    }
}
