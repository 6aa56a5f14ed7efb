//! The upgrade that goes on: what is decided, and the one write.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use instar_api::{ClusterUpgrade, Enforcement, EventReason, OnFailure, PreflightCheck};
use instar_capi::Cluster;
use instar_planner::{
    Action as Write, AskedPoint, ControlPlane, Decision, Hold, Lifecycle, NormalisedValue, Observed, Snapshot, Stage,
    Waiting, check, deadline_of_step, plan, standing,
};
use instar_preflight::{Unread, unread};
use instar_watch::Key;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{AFTER_WRITE, Context, Done};
use crate::{
    api::{Class, Error},
    execute::{ActionDescription, Effect, Executor, violation},
    gather::{AddonLook, CheckRules, gather, preflight},
    metrics::Written as Counted,
    report::{self, Attempt},
    upgrade_spec::{Reopened, begun_with_path},
};

/// An upgrade under way is looked at this often, whatever the watches tell.
pub(super) const RESYNC_INTERVAL: Duration = Duration::from_mins(1);

impl Context {
    pub(super) async fn reconcile_classic(
        &self,
        cluster: &Cluster,
        control_plane: Option<Observed<ControlPlane>>,
        upgrade: &ClusterUpgrade,
        reopened: &Reopened,
    ) -> Result<Done, Error> {
        let now = Timestamp::now();
        let upgrade = &*as_planned(upgrade, reopened, now);
        let (mut snapshot, rules) = gather(&self.caches, cluster, control_plane, upgrade, self.timing, now);
        let key = Key::of(cluster);
        if is_paused(&snapshot) {
            self.memory.set_failure(&key, None);
            return Ok(Done::Idle);
        }
        snapshot.failure_rule.stood = self.memory.failure(&key);
        snapshot.failure_rule.on_failure = on_failure(reopened, snapshot.failure_rule.on_failure);
        let mut addons = self.addons(&rules, cluster);
        let mut decision = match Box::pin(self.decide(&rules, cluster, upgrade, &mut snapshot, &mut addons)).await {
            Ok(decision) => decision,
            Err(error) => {
                let is_told = match error.class() {
                    Class::Conflict => self.is_told(cluster, &error),
                    Class::Transient | Class::Terminal => true,
                };
                if is_told {
                    self.unread(cluster, upgrade, &error).await;
                }
                return Err(error);
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
        // A write that failed before is to be tried again before anything is said to be well.
        let attempt = match decision.action {
            Write::Nothing => Attempt::Succeeded,
            Write::MintTemplate(_)
            | Write::SwapControlPlane(_)
            | Write::SwapWorkers(_)
            | Write::PatchMachinePool(_)
            | Write::PinPath(_)
            | Write::RecordConvergence(_)
            | Write::DeleteTemplate(_)
            | Write::EditVersion(_)
            | Write::HoldPool(_)
            | Write::SetConcurrency(_)
            | Write::BeginGates(_)
            | Write::AnswerHook(_)
            | Write::RestoreVersionCheck(_)
            | Write::FollowRelease(_)
            | Write::DeleteMachine(_)
            | Write::CompletePins(_) => Attempt::Untried,
        };
        let planned = (decision.waiting.clone(), decision.progress.stage);
        let write = ActionDescription(&decision.action).to_string();
        // It stands in the status until another try goes well.
        if let Some(refused) = self.memory.refused(&key, &write) {
            report::put_refused(&mut decision, refused);
        }
        self.report(cluster, upgrade, &snapshot, &decision, attempt).await?;
        let outcome = match self.take_back(cluster, upgrade, &decision).await {
            Ok(None) => self.execute(cluster, Some(upgrade), &decision).await,
            Ok(Some(done)) => Ok(done),
            Err(error) => Err(error),
        };
        (decision.waiting, decision.progress.stage) = planned;
        let failed = outcome.as_ref().err();
        match failed.and_then(|error| report::refused_write(&decision.action, error)) {
            Some(refused) => {
                report::put_refused(&mut decision, refused.clone());
                self.memory.keep_refused(&key, write, refused);
            }
            None if failed.is_none() => self.memory.forget_refused(&key),
            None => {}
        }
        match &outcome {
            Err(error) if self.is_told(cluster, error) => {
                self.complain(cluster, upgrade, &snapshot, &decision, error).await?;
            }
            Ok(_) if report::is_ill(upgrade.status.as_ref()) => {
                self.report(cluster, upgrade, &snapshot, &decision, Attempt::Succeeded)
                    .await?;
            }
            Ok(_) | Err(_) => {}
        }
        Ok(match outcome? {
            Done::Idle if upgrade_is_open(&decision) => next_look_or_failure(&snapshot, &decision),
            Done::Idle => until(next_deletion(&decision), snapshot.now),
            done => done,
        })
    }

    /// The decision, once all that decides of the templates was read.
    async fn decide(
        &self,
        rules: &CheckRules,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        snapshot: &mut Snapshot,
        addons: &mut AddonLook<'_>,
    ) -> Result<Decision, Error> {
        let referred = self.referred();
        snapshot.templates = referred.templates(snapshot).await?;
        snapshot.used_elsewhere = referred.used_elsewhere(snapshot);
        snapshot.infrastructure_pools = referred.infrastructure_pools(snapshot).await?;
        Box::pin(self.read_for_checks(&rules.settings.modes, snapshot)).await?;
        let readings = self.prober.readings(&Key::of(cluster));
        let snapshots = self.prober.snapshots(&Key::of(cluster));
        let cluster_api = Box::pin(self.cluster_api.version_for(&self.client, rules, snapshot)).await;
        preflight(rules, upgrade, &readings, &snapshots, &cluster_api, snapshot);
        loop {
            let decision = plan(snapshot);
            let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
            if decision.unread.is_empty() && unseen.is_empty() {
                return Ok(decision);
            }
            for template in &decision.unread {
                referred.read_template(snapshot, template).await?;
            }
            for point in unseen {
                addons.look(point, snapshot);
            }
        }
    }

    /// Reads what the checks ask for, where they are asked.
    async fn read_for_checks(
        &self,
        modes: &BTreeMap<PreflightCheck, Enforcement>,
        snapshot: &mut Snapshot,
    ) -> Result<(), Error> {
        let referred = self.referred();
        for unread in unread(snapshot, modes) {
            match unread {
                Unread::Content(template) => referred.read_template(snapshot, &template).await?,
                Unread::KubeletArguments(template) => referred.read_kubelet_arguments(snapshot, &template).await?,
            }
        }
        Ok(())
    }

    /// What an upgrade left behind that goes on no more: its one write, if there is one.
    pub(super) async fn write_leftover(
        &self,
        cluster: &Cluster,
        snapshot: &Snapshot,
        decision: &Decision,
    ) -> Result<Option<Done>, Error> {
        if decision.action == Write::Nothing {
            return Ok(None);
        }
        let broken = check(snapshot, decision);
        if !broken.is_empty() {
            return Err(violation(&decision.action, &broken));
        }
        self.execute(cluster, None, decision).await.map(Some)
    }

    /// The one write. What is left of upgrades whose records are gone is written without one.
    pub(super) async fn execute(
        &self,
        cluster: &Cluster,
        upgrade: Option<&ClusterUpgrade>,
        decision: &Decision,
    ) -> Result<Done, Error> {
        let (reason, counted) = match &decision.action {
            Write::Nothing => return Ok(Done::Idle),
            Write::PinPath(_) => (Some(EventReason::PinnedPath), Counted::Path),
            Write::MintTemplate(_) => (Some(EventReason::MintedTemplate), Counted::Mint),
            Write::SwapControlPlane(_) => (Some(EventReason::UpgradingControlPlane), Counted::Swap),
            Write::SwapWorkers(_) => (Some(EventReason::UpgradingWorkers), Counted::Swap),
            // The status says what is waited for.
            Write::PatchMachinePool(_) => (None, Counted::MachinePool),
            // The status says so.
            Write::RecordConvergence(_) => (None, Counted::Convergence),
            Write::DeleteTemplate(_) => (Some(EventReason::DeletedTemplate), Counted::Delete),
            Write::EditVersion(_) => (Some(EventReason::EditedVersion), Counted::Edit),
            Write::CompletePins(_) => (Some(EventReason::CompletedPins), Counted::Pins),
            Write::HoldPool(hold) => {
                let reason = match hold.change {
                    Hold::Hold | Hold::PauseRollout => EventReason::HeldPool,
                    Hold::Release | Hold::ResumeRollout => EventReason::ReleasedPool,
                };
                (Some(reason), Counted::PoolHold)
            }
            Write::SetConcurrency(_) => (None, Counted::Concurrency),
            Write::BeginGates(_) => (None, Counted::Gates),
            // The status and Cluster API's conditions say so.
            Write::AnswerHook(_) => (None, Counted::HookAnswer),
            // The edit before it was told.
            Write::RestoreVersionCheck(_) => (None, Counted::VersionCheck),
            Write::FollowRelease(follow) => {
                let reason = (!follow.pools.is_empty()).then_some(EventReason::FollowedRelease);
                (reason, Counted::Follow)
            }
            Write::DeleteMachine(_) => (Some(EventReason::DeletedMachine), Counted::Machine),
        };
        let step = ActionDescription(&decision.action).to_string();
        tracing::info!(
            cluster = %Key::of(cluster),
            upgrade = upgrade.map(ResourceExt::name_any),
            "{step}"
        );
        self.may_write()?;
        let key = Key::of(cluster);
        let normalised = match self.executor(&key).execute(&decision.action).await? {
            Effect::Done => Vec::new(),
            Effect::Normalised(values) => values,
            // The watch that is behind wakes the Cluster.
            Effect::DoneBefore | Effect::Kept => return Ok(Done::Until(AFTER_WRITE)),
        };
        self.counters.wrote(counted);
        if let Some(upgrade) = upgrade {
            if let Some(reason) = reason {
                self.tell(cluster, upgrade, reason, &step);
            }
            if !normalised.is_empty() {
                let note = normalised_note(&step, &normalised);
                self.tell(cluster, upgrade, EventReason::ValueNormalised, &note);
            }
        }
        Ok(Done::Wrote)
    }

    fn executor<'a>(&'a self, cluster: &'a Key) -> Executor<'a> {
        Executor {
            client: &self.client,
            caches: &self.caches,
            kinds: &self.kinds,
            memory: &self.memory,
            cluster,
        }
    }
}

/// The upgrade as it is planned for: as another one already where it becomes that when its path is written.
fn as_planned<'u>(upgrade: &'u ClusterUpgrade, reopened: &Reopened, now: Timestamp) -> Cow<'u, ClusterUpgrade> {
    match reopened {
        Reopened::AnewWithPath => Cow::Owned(begun_with_path(upgrade, now)),
        // A paused record is to get its time yet.
        Reopened::Begun(started) => Cow::Owned(begun_with_path(upgrade, *started)),
        // What is taken back, or begins anew at once, isn't planned for.
        Reopened::GoesOn | Reopened::Spent | Reopened::Anew => Cow::Borrowed(upgrade),
    }
}

/// What becomes of it where it fails: before anything is changed for its new target, a rollback would take back what was
/// completed.
const fn on_failure(reopened: &Reopened, asked: OnFailure) -> OnFailure {
    match reopened {
        Reopened::AnewWithPath => OnFailure::Hold,
        Reopened::GoesOn | Reopened::Spent | Reopened::Anew | Reopened::Begun(_) => asked,
    }
}

fn normalised_note(step: &str, values: &[NormalisedValue]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!("{step}: {}", values.join(", "))
}

/// Whether nothing at all may be written, our own status included.
pub(super) fn is_paused(snapshot: &Snapshot) -> bool {
    snapshot.upgrade_spec.paused || snapshot.cluster.lifecycle != Lifecycle::Active
}

pub(super) fn upgrade_is_open(decision: &Decision) -> bool {
    match decision.progress.stage {
        Stage::Held | Stage::ControlPlane | Stage::Workers | Stage::Verifying => true,
        Stage::Complete => false,
    }
}

/// When to look at an upgrade under way again: at the latest when a gate opens.
fn next_look(decision: &Decision, now: Timestamp) -> Done {
    let opens = decision.waiting.iter().filter_map(|waiting| {
        if let Waiting::GateClosed { until, .. } = waiting {
            *until
        } else if let Waiting::NodesSettling { until, .. } = waiting {
            Some(*until)
        } else if let Waiting::AddonClosed(closed) = waiting {
            closed.until
        } else {
            None
        }
    });
    let resync = now + RESYNC_INTERVAL;
    until(Some(opens.fold(resync, Timestamp::min)), now)
}

/// When to look at an upgrade under way again: also when a step of it will have failed.
pub(super) fn next_look_or_failure(snapshot: &Snapshot, decision: &Decision) -> Done {
    let (look, deadline) = (next_look(decision, snapshot.now), deadline_of_step(snapshot, decision));
    match (look, until(deadline, snapshot.now)) {
        (Done::Until(look), Done::Until(deadline)) => Done::Until(look.min(deadline)),
        (look, _) => look,
    }
}

/// When the next template goes.
pub(super) fn next_deletion(decision: &Decision) -> Option<Timestamp> {
    let times = decision.waiting.iter().filter_map(|waiting| {
        if let Waiting::Retained { until, .. } = waiting {
            Some(*until)
        } else {
            None
        }
    });
    times.min()
}

pub(super) fn until(time: Option<Timestamp>, now: Timestamp) -> Done {
    let Some(time) = time else { return Done::Idle };
    let left = Duration::try_from(time.duration_since(now)).unwrap_or_default();
    Done::Until(left.max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade_spec::id_of;

    #[test]
    fn a_completed_upgrade_is_planned_for_as_another_one_where_it_has_a_new_target() {
        let upgrade = ClusterUpgrade::new("up", instar_api::ClusterUpgradeSpec::default());
        let now = Timestamp::UNIX_EPOCH;
        for (reopened, started, failure) in [
            (Reopened::AnewWithPath, Some(now), OnFailure::Hold),
            (
                Reopened::Begun(Timestamp::MIN),
                Some(Timestamp::MIN),
                OnFailure::Rollback,
            ),
            (Reopened::GoesOn, None, OnFailure::Rollback),
        ] {
            assert_eq!(id_of(&as_planned(&upgrade, &reopened, now)).started, started);
            assert_eq!(
                on_failure(&reopened, OnFailure::Rollback),
                failure,
                "{reopened:?}: what was completed stands"
            );
        }
    }
}
