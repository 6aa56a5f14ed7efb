//! What upgrades that are over have left behind: templates whose time has come go.
//!
//! It needs no record: who refers to a template is what counts. It reads templates only when that
//! has changed, or when the time of one has come, so that the many events of a Cluster that isn't
//! upgraded cost nothing.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use instar_api::{ClusterUpgrade, ClusterUpgradeStatus, EventReason};
use instar_capi::Cluster;
use instar_planner::{
    ControlPlane, Decision, Lifecycle, MachineDeployment, MachineSet, Observed, Snapshot, Stage, Target, TemplateRef,
    UpgradeSpec, check, collect_templates, drifted,
};
use instar_watch::Key;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Context, Done,
    classic::{is_paused, next_deletion, until},
};
use crate::{
    api::Error,
    execute::violation,
    gather::{completed_at, gather_for},
    memory::{CollectedTemplates, LOOK_AGAIN},
    report,
    upgrade_spec::started,
};

/// A kind of templates that could not be read, and that nothing of the Cluster refers to, is asked for again after
/// this time: nothing tells the Cluster when it has an answer.
const KIND_AGAIN: Duration = Duration::from_mins(5);

impl Context {
    /// No upgrade is under way. `last` is the one that was completed last, of all that are `known`.
    pub(super) async fn collect_templates(
        &self,
        cluster: &Cluster,
        control_plane: Option<Observed<ControlPlane>>,
        last: Option<&ClusterUpgrade>,
        known: &[Arc<ClusterUpgrade>],
    ) -> Result<Done, Error> {
        let ended = known.iter().filter_map(|upgrade| completed_at(upgrade)).max();
        let mut snapshot = gather_for(
            &self.caches,
            cluster,
            control_plane,
            nothing_asked(last),
            ended,
            Timestamp::now(),
        );
        if is_paused(&snapshot) || !has_been_upgraded(&snapshot, last) {
            return Ok(Done::Idle);
        }
        if let Some(last) = last {
            // The next look does the rest.
            if self.report_drift(cluster, last, &snapshot).await? {
                return Ok(Done::Wrote);
            }
        }
        let key = Key::of(cluster);
        self.memory.forget_contents(&key);
        let mut look = CollectedTemplates {
            referred: referred(&snapshot),
            retention: snapshot.retention,
            record: last.map(ResourceExt::name_any),
            next: None,
        };
        if let Some(before) = self.memory.collected(&key) {
            look.next = before.next;
            if look == before && before.next.is_none_or(|next| snapshot.now < next) {
                return Ok(until(before.next, snapshot.now));
            }
        }
        let referred = self.referred();
        let all = referred.templates_of_all_kinds(&snapshot).await?;
        snapshot.templates = all.templates;
        snapshot.used_elsewhere = referred.used_elsewhere(&snapshot);
        let decision = collect_templates(&snapshot);
        let broken = check(&snapshot, &decision);
        if !broken.is_empty() {
            return Err(violation(&decision.action, &broken));
        }
        let name = last.map(ResourceExt::name_any);
        for other in known.iter().filter(|other| Some(other.name_any()) != name) {
            self.list_templates(other, None).await?;
        }
        if let Some(last) = last {
            self.list_templates(last, Some(&decision)).await?;
        }
        match self.execute(cluster, last, &decision).await? {
            done @ (Done::Wrote | Done::Until(_)) => return Ok(done),
            Done::Idle | Done::Gone => {}
        }
        match decision.progress.stage {
            Stage::Complete => {}
            // Something is paused or can't be read: the next event may be about that.
            Stage::Held | Stage::ControlPlane | Stage::Workers | Stage::Verifying => return Ok(Done::Idle),
        }
        let in_use = (!snapshot.used_elsewhere.is_empty()).then_some(LOOK_AGAIN);
        let left_out = (!all.is_whole).then_some(KIND_AGAIN);
        let again = in_use.into_iter().chain(left_out).map(|after| {
            let again = snapshot.now.saturating_add(after);
            again.unwrap_or(Timestamp::MAX)
        });
        look.next = next_deletion(&decision).into_iter().chain(again).min();
        let done = until(look.next, snapshot.now);
        self.memory.set_collected(&key, Some(look));
        Ok(done)
    }

    /// The record of the last upgrade says what of it doesn't stand any more. Whether that was news.
    async fn report_drift(&self, cluster: &Cluster, last: &ClusterUpgrade, snapshot: &Snapshot) -> Result<bool, Error> {
        let drift = drifted(snapshot);
        let Some(status) = report::drifted(last, &drift, snapshot) else {
            return Ok(false);
        };
        self.write_status(last, &status).await?;
        if let Some(first) = drift.first() {
            self.tell(cluster, last, EventReason::Drifted, &first.to_string());
        }
        Ok(true)
    }

    /// The newest record lists the templates; those before it list none.
    async fn list_templates(&self, upgrade: &ClusterUpgrade, decision: Option<&Decision>) -> Result<(), Error> {
        // Where nothing can be said, what was known last stays.
        let progress = decision.map(|decision| &decision.progress);
        let Some(before) = &upgrade.status else { return Ok(()) };
        if progress.is_some_and(|progress| progress.pools.is_empty()) {
            return Ok(());
        }
        let status = ClusterUpgradeStatus {
            templates: progress.map_or_else(Vec::new, report::templates),
            ..before.clone()
        };
        self.write_status(upgrade, &status).await
    }
}

/// Nothing is asked but that nothing be done while the last record is paused.
fn nothing_asked(last: Option<&ClusterUpgrade>) -> UpgradeSpec {
    let name = last.map(ResourceExt::name_any).unwrap_or_default();
    UpgradeSpec {
        paused: last.is_some_and(|last| last.spec.paused),
        started: last.and_then(started),
        ..UpgradeSpec::new(name, Target::Text(String::new()))
    }
}

/// Whether there is any sign of us: a record, or what a swap wrote. Other Clusters' templates are
/// never read.
fn has_been_upgraded(snapshot: &Snapshot, last: Option<&ClusterUpgrade>) -> bool {
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let machine_pools = snapshot.machine_pools.iter().filter_map(Observed::read);
    let mut objects = control_plane
        .map(|control_plane| &control_plane.object)
        .chain(pools.map(|pool| &pool.object))
        .chain(machine_pools.map(|pool| &pool.object));
    last.is_some() || objects.any(|object| object.swap_history.is_some())
}

fn referred(snapshot: &Snapshot) -> BTreeSet<TemplateRef> {
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let sets = snapshot.machine_sets.iter().filter_map(Observed::read);
    control_plane
        .filter_map(|control_plane| control_plane.infrastructure.as_ref())
        .chain(pools.flat_map(MachineDeployment::templates))
        .chain(
            sets.filter(|set| set.lifecycle != Lifecycle::Deleting)
                .flat_map(MachineSet::templates),
        )
        .cloned()
        .collect()
}
