//! A topology Cluster: the record of its upgrade, and the two writes that are left for us.
//!
//! A write comes before its report here, since it may be refused: what Cluster API and admission
//! say then is what has to be reported.

use std::sync::Arc;

use instar_api::{ClusterUpgrade, UpgradePhase};
use instar_capi::Cluster;
use instar_planner::{
    Action as Write, AskedPoint, Decision, Lifecycle, Snapshot, Stage, Topology, check, follow, is_aimed_at_present,
    is_set_again, passed, release_held, replaces_changing_release, standing, under_way,
};
use instar_watch::Key;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Context, Done,
    classic::{is_paused, next_look_or_failure, upgrade_is_open},
};
use crate::{
    api::Error,
    execute::violation,
    gather::{CheckRules, gather, of_topology, preflight},
    report::{self, Attempt},
    upgrade_spec::{self, Upgrades},
};

/// Whose turn it is.
enum ActiveUpgrade {
    /// This one's.
    Of(Arc<ClusterUpgrade>),
    /// The Cluster moves, and this is to be its record.
    Record(Box<ClusterUpgrade>),
    /// None is active.
    None,
}

impl Context {
    /// One pass over a topology Cluster at a version.
    pub(super) async fn follow(&self, cluster: &Cluster, version: &str) -> Result<Done, Error> {
        let known = self.caches.of::<ClusterUpgrade>(&Key::of(cluster));
        // What is asked for in vain ends nothing that goes on.
        let is_rollback = |upgrade: &Arc<ClusterUpgrade>| upgrade.spec.operation.is_rollback();
        let (rollbacks, upgrades): (Vec<_>, Vec<_>) = known.iter().cloned().partition(is_rollback);
        let upgrades = Upgrades::sort(upgrades, None, None);
        let (record, snapshot) = self.record(cluster, version, &known);
        let name = record.name_any();
        if snapshot.cluster.lifecycle == Lifecycle::Deleting
            && let Some(done) = Box::pin(self.resume_pools(cluster)).await?
        {
            return Ok(done);
        }
        match (snapshot.cluster.lifecycle, &upgrades.active) {
            (Lifecycle::Active, _) => {}
            (Lifecycle::Deleting, Some(active)) => return self.report_deletion(cluster, active).await,
            (Lifecycle::Deleting | Lifecycle::Paused, _) => {
                self.memory.set_failure(&Key::of(cluster), None);
                return Ok(Done::Idle);
            }
        }
        self.write_finished_markers(cluster, &known, None).await?;
        self.refuse_rollbacks(cluster, &rollbacks).await?;
        let turn = if under_way(&snapshot) {
            self.turn(cluster, record, &known, &upgrades)
        } else {
            upgrades.active.clone().map_or(ActiveUpgrade::None, ActiveUpgrade::Of)
        };
        let active = match turn {
            ActiveUpgrade::Of(active) => active,
            ActiveUpgrade::Record(record) => return self.make(&record).await,
            ActiveUpgrade::None => {
                if let Some(done) = Box::pin(self.resume_pools(cluster)).await? {
                    return Ok(done);
                }
                if let Some(done) = Box::pin(self.write_leftover(cluster, &snapshot, &release_held(&snapshot))).await? {
                    return Ok(done);
                }
                let last = upgrades.last.as_deref();
                let trimmed = self.trim_history(cluster, &known, last, Some(&name)).await?;
                return Ok(trimmed.unwrap_or(Done::Idle));
            }
        };
        let open = upgrades.active.iter().chain(&upgrades.refused);
        let others: Vec<_> = open
            .filter(|open| open.name_any() != active.name_any())
            .cloned()
            .collect();
        self.refuse(cluster, &others, &active).await?;
        Box::pin(self.reconcile_topology(cluster, &active)).await
    }

    /// The record of what is under way, and the snapshot of it: of the version, or, once that has arrived, of a release that
    /// replaces another one.
    fn record(&self, cluster: &Cluster, version: &str, known: &[Arc<ClusterUpgrade>]) -> (ClusterUpgrade, Snapshot) {
        let record = upgrade_spec::record_of(cluster, version);
        let mut of_version = known.iter().filter(|known| known.name_any() == record.name_any());
        let goes_on = of_version.any(|known| upgrade_spec::finished_phase(known).is_none());
        let (snapshot, _) = self.snapshot(cluster, &record);
        let topology = snapshot.cluster.topology();
        match topology.and_then(Topology::changing_release).filter(|_| !goes_on) {
            Some(release) => {
                let record = upgrade_spec::record_of_release(cluster, release, known);
                let (snapshot, _) = self.snapshot(cluster, &record);
                (record, snapshot)
            }
            None => (record, snapshot),
        }
    }

    /// While a Cluster moves, it is the turn of who wants it where it goes: of one that is open, else of one that was
    /// aborted and is undone, else of the record. A record that is over and was not done has come true after all.
    fn turn(
        &self,
        cluster: &Cluster,
        record: ClusterUpgrade,
        known: &[Arc<ClusterUpgrade>],
        upgrades: &Upgrades,
    ) -> ActiveUpgrade {
        let open = || upgrades.active.iter().chain(&upgrades.refused);
        let wants_it = |open: &&Arc<ClusterUpgrade>| is_aimed_at_present(&self.snapshot(cluster, open).0);
        let replaces_it = |open: &&Arc<ClusterUpgrade>| replaces_changing_release(&self.snapshot(cluster, open).0);
        // A record would go on with what was ended.
        let has_ended_it = |known: &&Arc<ClusterUpgrade>| {
            upgrade_spec::finished_phase(known) == Some(UpgradePhase::Aborted)
                && is_set_again(&self.snapshot(cluster, known).0)
        };
        let of = open().find(wants_it).or_else(|| open().find(replaces_it));
        if let Some(of) = of.or_else(|| known.iter().find(has_ended_it)) {
            return ActiveUpgrade::Of(Arc::clone(of));
        }
        match known.iter().find(|known| known.name_any() == record.name_any()) {
            None => ActiveUpgrade::Record(Box::new(record)),
            Some(known) if upgrade_spec::finished_phase(known) == Some(UpgradePhase::Completed) => {
                upgrades.active.clone().map_or(ActiveUpgrade::None, ActiveUpgrade::Of)
            }
            Some(known) => ActiveUpgrade::Of(Arc::clone(known)),
        }
    }

    /// What is not known of templates only keeps a release change waiting, so that is no error.
    async fn read_templates(&self, snapshot: &mut Snapshot) {
        let topology = snapshot.cluster.topology();
        if topology.and_then(Topology::changed_pin).is_none() || follow(snapshot).unread.is_empty() {
            return;
        }
        let cluster = snapshot.cluster.name.clone();
        let read = async {
            let referred = self.referred();
            snapshot.templates = referred.templates(snapshot).await?;
            for template in follow(snapshot).unread {
                referred.read_template(snapshot, &template).await?;
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = Box::pin(read).await {
            tracing::warn!(%cluster, "Leaving out what templates say for now: {error}");
        }
    }

    async fn report_deletion(&self, cluster: &Cluster, upgrade: &ClusterUpgrade) -> Result<Done, Error> {
        let (snapshot, _) = self.snapshot(cluster, upgrade);
        if !upgrade.spec.paused {
            let decision = follow(&snapshot);
            self.report(cluster, upgrade, &snapshot, &decision, Attempt::Succeeded)
                .await?;
        }
        Ok(Done::Idle)
    }

    /// Its checks are still to be asked: they matter to the upgrade alone whose turn it is.
    fn snapshot(&self, cluster: &Cluster, upgrade: &ClusterUpgrade) -> (Snapshot, CheckRules) {
        let control_plane = of_topology(&self.caches, cluster);
        let (mut snapshot, rules) = gather(
            &self.caches,
            cluster,
            control_plane,
            upgrade,
            self.timing,
            Timestamp::now(),
        );
        self.hooks.note(&mut snapshot);
        (snapshot, rules)
    }

    async fn reconcile_topology(&self, cluster: &Cluster, upgrade: &ClusterUpgrade) -> Result<Done, Error> {
        let (mut snapshot, rules) = self.snapshot(cluster, upgrade);
        let key = Key::of(cluster);
        if is_paused(&snapshot) {
            self.memory.set_failure(&key, None);
            // What Cluster API was let begin is taken back.
            let taken_back = Box::pin(self.write_leftover(cluster, &snapshot, &follow(&snapshot))).await?;
            return Ok(taken_back.unwrap_or(Done::Idle));
        }
        snapshot.failure_rule.stood = self.memory.failure(&key);
        let readings = self.prober.readings(&key);
        let snapshots = self.prober.snapshots(&key);
        let cluster_api = Box::pin(self.cluster_api.version_for(&self.client, &rules, &snapshot)).await;
        preflight(&rules, upgrade, &readings, &snapshots, &cluster_api, &mut snapshot);
        self.read_templates(&mut snapshot).await;
        let mut addons = self.addons(&rules, cluster);
        let mut decision = loop {
            let decision = follow(&snapshot);
            let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
            if unseen.is_empty() {
                break decision;
            }
            for point in unseen {
                addons.look(point, &mut snapshot);
            }
        };
        self.memory.set_failure(&key, standing(&snapshot, &decision));
        self.probe(&rules, cluster, &snapshot, addons);
        let broken = check(&snapshot, &decision);
        if !broken.is_empty() {
            let error = violation(&decision.action, &broken);
            self.complain(cluster, upgrade, &snapshot, &decision, &error).await?;
            return Err(error);
        }
        keep_passed(upgrade, &passed(&snapshot), &mut decision);
        let outcome = self.execute(cluster, Some(upgrade), &decision).await;
        let refused = outcome.as_ref().err();
        if let Some(refused) = refused.and_then(|error| report::refused_write(&decision.action, error)) {
            decision.action = Write::Nothing;
            decision.progress.stage = Stage::Held;
            decision.waiting.insert(0, refused);
        }
        let failure = outcome.as_ref().err().filter(|error| error.refusal().is_none());
        match failure {
            Some(error) if self.is_told(cluster, error) => {
                self.complain(cluster, upgrade, &snapshot, &decision, error).await?;
            }
            Some(_) => {
                self.report(cluster, upgrade, &snapshot, &decision, Attempt::Untried)
                    .await?;
            }
            None => {
                self.report(cluster, upgrade, &snapshot, &decision, Attempt::Succeeded)
                    .await?;
            }
        }
        Ok(match outcome? {
            Done::Idle if upgrade_is_open(&decision) => next_look_or_failure(&snapshot, &decision),
            done => done,
        })
    }
}

/// Cluster API tells what is left of the path alone, and it may change on the way: the record keeps
/// what it had before, as far as that was passed.
fn keep_passed(upgrade: &ClusterUpgrade, passed: &[String], decision: &mut Decision) {
    let left = &decision.progress.path;
    let before = upgrade.status.iter().flat_map(|status| &status.path);
    let kept = before.filter(|release| passed.contains(release) && !left.contains(release));
    decision.progress.path = kept.chain(left).cloned().collect();
}

#[cfg(test)]
mod tests {
    use instar_api::ClusterUpgradeStatus;
    use instar_planner::Progress;

    use super::*;
    use instar_capi::ClusterSpec;

    #[test]
    fn the_path_keeps_what_was_passed_and_drops_what_is_not_gone_to_any_more() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (before, passed, left, path) in [
            (&[][..], &["33-1"][..], &["34-1", "35-1"][..], &["34-1", "35-1"][..]),
            (&["34-1", "35-1"], &["33-1", "34-1"], &["35-1"], &["34-1", "35-1"]),
            (&["34-1", "35-1"], &["33-1", "34-1", "35-1"], &[], &["34-1", "35-1"]),
            // The class' versions changed: 35-2 comes instead of 35-1.
            (&["34-1", "35-1"], &["33-1", "34-1"], &["35-2"], &["34-1", "35-2"]),
            // While the control plane goes there, 35-1 has a pin that is older.
            (
                &["34-1", "35-2"],
                &["33-1", "34-1", "35-1", "35-2"],
                &["35-2"],
                &["34-1", "35-2"],
            ),
        ] {
            let mut upgrade = upgrade_spec::record_of(&Cluster::new("c", ClusterSpec::default()), "v1.35.2");
            upgrade.status = Some(ClusterUpgradeStatus {
                path: names(before),
                ..ClusterUpgradeStatus::default()
            });
            let mut decision = Decision {
                action: Write::Nothing,
                waiting: Vec::new(),
                progress: Progress {
                    stage: Stage::ControlPlane,
                    path: names(left),
                    pools: Vec::new(),
                    templates: Vec::new(),
                },
                unread: Vec::new(),
            };
            keep_passed(&upgrade, &names(passed), &mut decision);
            assert_eq!(decision.progress.path, names(path), "{before:?} {passed:?} {left:?}");
        }
    }
}
