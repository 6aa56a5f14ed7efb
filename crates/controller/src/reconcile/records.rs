//! Records that nothing is decided for: those that are over, those that came second, and those
//! whose Cluster isn't there.

use std::{sync::Arc, time::Duration};

use instar_api::{
    ClusterUpgrade, ClusterUpgradeStatus, FINISHED_ANNOTATION, FinishedMarker, GATE_HISTORY_ANNOTATION,
    STARTED_ANNOTATION,
};
use instar_capi::{Cluster, labels::WATCH_FILTER};
use instar_planner::{PinnedPath, plan};
use instar_watch::{Key, Lookup};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::{Context, Done};
use crate::{
    api::Error,
    gather::{begun, gather, pinned_path},
    metrics::Written as Counted,
    report::{self, Attempt, TakenBack},
    upgrade_spec::{
        MarkWrite, Upgrades, begun_anew, begun_with_path, finished_phase, gate_history, mark_write,
        mark_write_without_cluster, started,
    },
};

impl Context {
    /// Keeps what is over known to be so, also where every status is dropped. Where one begins anew or is about to,
    /// nothing else is written in this pass: it is another upgrade from then on.
    pub(super) async fn write_finished_markers(
        &self,
        cluster: &Cluster,
        upgrades: &[Arc<ClusterUpgrade>],
        path: Option<&PinnedPath>,
    ) -> Result<Option<Done>, Error> {
        for upgrade in upgrades.iter().filter(|upgrade| may_be_reported(upgrade)) {
            let write = mark_write(upgrade, cluster, upgrades, path);
            if let Some(done) = self.write_mark(upgrade, write).await? {
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    async fn write_mark(&self, upgrade: &ClusterUpgrade, write: MarkWrite) -> Result<Option<Done>, Error> {
        match write {
            MarkWrite::Nothing => {}
            MarkWrite::Put(mark @ FinishedMarker::CompletedBefore) => {
                self.write_finished_marker(upgrade, Some(mark)).await?;
                return Ok(Some(Done::Wrote));
            }
            MarkWrite::Put(
                mark @ (FinishedMarker::Over(_)
                | FinishedMarker::RefusedAfterCompleted
                | FinishedMarker::FailedAfterCompleted
                | FinishedMarker::AbortedAfterCompleted
                | FinishedMarker::RefusedAfterMove { .. }),
            ) => {
                self.write_finished_marker(upgrade, Some(mark)).await?;
            }
            MarkWrite::Remove => self.write_finished_marker(upgrade, None).await?,
            MarkWrite::Restore(phase) => {
                let status = report::restored(upgrade, phase, Timestamp::now());
                self.write_status(upgrade, &status).await?;
            }
            MarkWrite::RestoreRefusal(why) => {
                let status = report::restored_refusal(upgrade, &why, Timestamp::now());
                self.write_status(upgrade, &status).await?;
            }
            MarkWrite::BeginAnew => {
                let begun = begun_anew(upgrade, Timestamp::now());
                return self.begin_anew(&begun).await.map(Some);
            }
            MarkWrite::BeginAs(started) => {
                let begun = begun_with_path(upgrade, started);
                return self.begin_anew(&begun).await.map(Some);
            }
        }
        Ok(None)
    }

    /// Writes down when an upgrade was first seen, before anything is written for it.
    pub(super) async fn write_started_marker(&self, upgrade: &ClusterUpgrade) -> Result<Done, Error> {
        let now = Timestamp::now().to_string();
        let annotations = json!({ STARTED_ANNOTATION: now });
        self.mark(upgrade, &annotations, Counted::StartedMarker).await?;
        Ok(Done::Wrote)
    }

    /// Makes another upgrade of one that was over: in the swap histories, and for its add-ons and gates. It comes as it
    /// will be ([`begun_anew`], [`begun_with_path`]): of its gates, those stay that have begun for its target.
    async fn begin_anew(&self, begun: &ClusterUpgrade) -> Result<Done, Error> {
        let gates = gate_history(begun).of_target(&begun.spec.target);
        let annotations = json!({
            FINISHED_ANNOTATION: null,
            GATE_HISTORY_ANNOTATION: gates.map(|gates| gates.to_annotation()),
            STARTED_ANNOTATION: started(begun).map(|started| started.to_string()),
        });
        self.mark(begun, &annotations, Counted::StartedMarker).await?;
        Ok(Done::Wrote)
    }

    async fn write_finished_marker(&self, upgrade: &ClusterUpgrade, mark: Option<FinishedMarker>) -> Result<(), Error> {
        let mark = mark.map(|mark| mark.to_string());
        let annotations = json!({ FINISHED_ANNOTATION: mark });
        self.mark(upgrade, &annotations, Counted::FinishedMarker).await
    }

    /// Puts annotations on a record, or takes them away.
    async fn mark(
        &self,
        upgrade: &ClusterUpgrade,
        annotations: &serde_json::Value,
        counted: Counted,
    ) -> Result<(), Error> {
        self.may_write()?;
        let name = upgrade.name_any();
        let patch = json!({ "metadata": {
            // What was edited since isn't over.
            "resourceVersion": upgrade.resource_version(),
            "annotations": annotations,
        } });
        self.patch_record(upgrade, &patch, || format!("marking ClusterUpgrade {name}"))
            .await?;
        self.counters.wrote(counted);
        Ok(())
    }

    /// Refuses those that came while another goes on.
    pub(super) async fn refuse(
        &self,
        cluster: &Cluster,
        upgrades: &[Arc<ClusterUpgrade>],
        active: &ClusterUpgrade,
    ) -> Result<(), Error> {
        for upgrade in upgrades.iter().filter(|upgrade| may_be_reported(upgrade)) {
            let status = report::refused(upgrade, active, Timestamp::now());
            let about = [cluster.object_ref(&()), upgrade.object_ref(&())];
            self.write_and_publish(upgrade, &status, &about, Vec::new()).await?;
        }
        Ok(())
    }

    /// Refuses rollbacks of a topology Cluster.
    pub(super) async fn refuse_rollbacks(
        &self,
        cluster: &Cluster,
        rollbacks: &[Arc<ClusterUpgrade>],
    ) -> Result<(), Error> {
        let open = rollbacks.iter().filter(|upgrade| finished_phase(upgrade).is_none());
        for rollback in open.filter(|upgrade| may_be_reported(upgrade)) {
            let status = report::no_way_back(rollback, Timestamp::now());
            let about = [cluster.object_ref(&()), rollback.object_ref(&())];
            self.write_and_publish(rollback, &status, &about, Vec::new()).await?;
        }
        Ok(())
    }

    /// Says of upgrades that another one takes them back, or has done so.
    pub(super) async fn report_taken_back(&self, cluster: &Cluster, upgrades: &Upgrades) -> Result<(), Error> {
        let under_way = upgrades.taking_back.iter().zip(&upgrades.active);
        let under_way = under_way.map(|(of, by)| (of, by.name_any(), TakenBack::UnderWay));
        let by = pinned_path(cluster).and_then(|path| path.takes_back);
        let next_retry = by.as_ref().map_or(1, |taken_back| taken_back.retry.saturating_add(1));
        let left = upgrades.left_half.iter().map(|of| (of, TakenBack::LeftHalf));
        let stays = upgrades.stays_taken_back.iter();
        let stays = stays.map(|of| (of, TakenBack::Done { next_retry }));
        // Who did it is gone, so that the path alone knows its name.
        let alone = left.chain(stays).zip(by.iter().cycle());
        let alone = alone.map(|((of, how_far), taken_back)| (of, taken_back.by.name.clone(), how_far));
        let done = upgrades.taken_back.iter();
        let done = done.map(|(of, by)| (of, by.name_any(), TakenBack::Done { next_retry }));
        let all = under_way.chain(alone).chain(done);
        for (of, by, how_far) in all.filter(|(of, ..)| may_be_reported(of)) {
            let status = report::taken_back(of, &by, how_far, Timestamp::now());
            let about = [cluster.object_ref(&()), of.object_ref(&())];
            self.write_and_publish(of, &status, &about, Vec::new()).await?;
        }
        Ok(())
    }

    /// The Cluster is being deleted: its objects are left alone, but for our marks, and the record says so.
    pub(super) async fn report_deleting(
        &self,
        cluster: &Cluster,
        known: Vec<Arc<ClusterUpgrade>>,
    ) -> Result<Done, Error> {
        if let Some(done) = Box::pin(self.resume_pools(cluster)).await? {
            return Ok(done);
        }
        if known.is_empty() {
            return Ok(Done::Idle);
        }
        // It decides only which record is the active one, so that it can't be read stops nothing.
        let control_plane = self.referred().control_plane(cluster).await.unwrap_or_default();
        let path = pinned_path(cluster);
        let upgrades = Upgrades::sort(known, begun(control_plane.as_ref()), path.as_ref());
        if let Some(active) = upgrades.active.filter(|active| may_be_reported(active)) {
            let (snapshot, _) = gather(
                &self.caches,
                cluster,
                control_plane,
                &active,
                self.timing,
                Timestamp::now(),
            );
            let decision = plan(&snapshot);
            self.report(cluster, &active, &snapshot, &decision, Attempt::Succeeded)
                .await?;
        }
        Ok(Done::Idle)
    }

    /// There is no such Cluster: what is asked of it says so. Where several controllers run, the label of the record names
    /// the one that says it: one that has yet to see the Cluster of another one would write over its status.
    pub(super) async fn report_missing_cluster(&self, cluster: &Key) -> Result<Done, Error> {
        for upgrade in self.caches.of::<ClusterUpgrade>(cluster) {
            let label = upgrade.labels().get(WATCH_FILTER);
            if !self.scope.filter.takes(label.map(String::as_str)) {
                continue;
            }
            // It may have come in the meantime.
            if !matches!(self.caches.cluster(cluster), Lookup::Absent) {
                return Ok(Done::Until(Duration::ZERO));
            }
            let status = report::report_missing_cluster(&upgrade, Timestamp::now());
            self.report_without_cluster(&upgrade, &status).await?;
        }
        Ok(Done::Gone)
    }

    /// The Cluster can't be decoded: nothing of it is written, and what is asked of it says so.
    pub(super) async fn report_unreadable_cluster(&self, cluster: &Key, error: &str) -> Result<Done, Error> {
        for upgrade in self.caches.of::<ClusterUpgrade>(cluster) {
            let status = report::unreadable_cluster(&upgrade, error, Timestamp::now());
            self.report_without_cluster(&upgrade, &status).await?;
        }
        Ok(Done::Idle)
    }

    /// Of an upgrade that isn't over.
    async fn report_without_cluster(
        &self,
        upgrade: &Arc<ClusterUpgrade>,
        status: &ClusterUpgradeStatus,
    ) -> Result<(), Error> {
        if !may_be_reported(upgrade) {
            return Ok(());
        }
        self.write_mark(upgrade, mark_write_without_cluster(upgrade)).await?;
        if finished_phase(upgrade).is_some() {
            return Ok(());
        }
        self.write_and_publish(upgrade, status, &[upgrade.object_ref(&())], Vec::new())
            .await
    }
}

/// Whether a record may be written to.
pub(super) fn may_be_reported(upgrade: &ClusterUpgrade) -> bool {
    !upgrade.spec.paused && upgrade.metadata.deletion_timestamp.is_none()
}
