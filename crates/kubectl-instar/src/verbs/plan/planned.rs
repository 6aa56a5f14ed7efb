//! What an upgrade would do, from objects: nothing is read and nothing is written here.

mod admission;

use instar_api::{
    ClusterUpgrade, ClusterUpgradeSpec, HealthReason, KubernetesRelease, Operation, STARTED_ANNOTATION, UpgradePhase,
};
use instar_controller::{ClusterApiVersion, OfflineCluster, Timing};
use instar_forecast::{Detail, End, Forecast, forecast, forecast_topology};
use instar_planner::{AskedPoint, CheckOutcome, Snapshot};
use instar_report::{Invocation, Plan, PlanHold, PlanOutcome, PlanSubject, PlanTarget, is_unasked};
use jiff::{Timestamp, tz::TimeZone};
use kube::{Resource, ResourceExt};
use serde_json::Value;

use self::admission::{Admission, Answers};
use crate::{
    Error,
    verbs::{create, upgrade::is_record},
};

/// What the controller's flags say where nobody sets them: it isn't known to the plugin what they say.
const TIMING: (u32, u32) = (60, 600);

/// What admission says of a class that it doesn't know.
const CLASS_KNOWN: &str = "[rule class-known]";

/// A Cluster, of objects that don't change any more.
pub(super) struct Planned {
    offline: OfflineCluster,
    admission: Admission,
    upgrades: Vec<ClusterUpgrade>,
    cluster_api: ClusterApiVersion,
    unread: Vec<String>,
    /// Whether an upgrade of it couldn't be read: it may go on.
    is_undecided: bool,
    /// Whether there is any release, of whichever catalog.
    has_releases: bool,
    now: Timestamp,
    invocation: Invocation,
}

impl Planned {
    /// Reads it.
    pub(super) fn read(
        objects: Vec<Value>,
        (namespace, name): (&str, &str),
        cluster_api: ClusterApiVersion,
        mut unread: Vec<String>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let of = |object: &&Value| object.pointer("/spec/clusterName").and_then(Value::as_str) == Some(name);
        let own: Vec<&Value> = objects.iter().filter(of).collect();
        let before = unread.len();
        let upgrades = instar_report::all_of_kind(&own, &mut unread);
        let is_undecided = unread.len() > before;
        let is_release = |object: &Value| object["kind"] == KubernetesRelease::kind(&()).as_ref();
        let has_releases = objects.iter().any(is_release);
        let server = Admission::of(&objects, now)?;
        let offline =
            OfflineCluster::read(objects, namespace, name).map_err(|error| Error::Refused(error.to_string()))?;
        Ok(Self {
            offline,
            admission: server,
            upgrades,
            cluster_api,
            unread,
            is_undecided,
            has_releases,
            now,
            invocation: Invocation::default(),
        })
    }

    /// With commands that are called so.
    pub(super) fn called(self, invocation: &Invocation) -> Self {
        Self {
            invocation: invocation.in_namespace(&self.offline.cluster().namespace().unwrap_or_default()),
            ..self
        }
    }

    /// Whether there is anything to go to at all.
    pub(super) const fn has_releases(&self) -> bool {
        self.has_releases
    }

    /// What an upgrade to there would do.
    pub(super) fn to(&self, target: &str) -> Plan {
        self.planned(target, Detail::All)
    }

    fn planned(&self, target: &str, detail: Detail) -> Plan {
        let upgrade = self.upgrade_to(target);
        let mut gathered = self.offline.gather(
            &upgrade,
            Timing::in_seconds(TIMING.0, TIMING.1),
            &self.cluster_api,
            self.now,
        );
        let checks = without_unasked(&mut gathered.snapshot);
        let snapshot = gathered.snapshot.clone();
        let look = |point: AskedPoint, snapshot: &mut Snapshot| gathered.look(&point, snapshot);
        let (mut unread, mut is_undecided) = (self.unread.clone(), self.is_undecided);
        let asked = self.admission.ask(&self.offline, &self.upgrades, &upgrade);
        let Answers { mut findings, edit } = asked.unwrap_or_else(|why| {
            unread.push(format!("what admission says: {why}"));
            is_undecided = true;
            Answers::default()
        });
        if let Some(class) = self.missing_class() {
            findings.retain(|finding| !finding.message.contains(CLASS_KNOWN));
            unread.push(format!(
                "ClusterClass {class}: it is not among the objects; see that you may get it, and that a snapshot has it"
            ));
            is_undecided = true;
        }
        let in_the_way = self.in_the_way(target);
        let told = if in_the_way.is_some() {
            nothing()
        } else if self.offline.cluster().spec.topology.is_some() {
            forecast_topology(snapshot, edit.as_ref(), look)
        } else {
            forecast(snapshot, detail, look)
        };
        let mut plan = Plan::of(PlanSubject {
            snapshot: &gathered.snapshot,
            checks: &checks,
            forecast: &told,
            findings,
            unread,
            is_undecided,
            invocation: &self.invocation,
        });
        if let Some(hold) = in_the_way {
            plan.blocked_by.push(hold);
            if !is_undecided {
                plan.outcome = PlanOutcome::Blocked;
            }
            plan.next.clear();
        }
        if let Some(goes_on) = self.goes_on().filter(|_| !plan.next.is_empty()) {
            if goes_on.spec.target == target {
                let status = format!("status {}", plan.cluster.name);
                plan.next = self.invocation.command(&status, "--watch");
            } else if plan.outcome != PlanOutcome::UnderWay {
                plan.next.push_str(" --retarget");
            }
        }
        plan
    }

    /// The upgrade that isn't over.
    fn goes_on(&self) -> Option<&ClusterUpgrade> {
        let current = instar_report::current(&self.upgrades);
        current.filter(|upgrade| upgrade.finished_phase().is_none())
    }

    /// The upgrade that goes on, where it doesn't take another target: what comes after it can't be said before it is over.
    fn in_the_way(&self, target: &str) -> Option<PlanHold> {
        let goes_on = self.goes_on()?;
        let is_upgrade = goes_on.spec.operation == Operation::Upgrade;
        let name = goes_on.name_any();
        let why = if !is_upgrade {
            format!("ClusterUpgrade {name} goes on, and it is no upgrade to a target")
        } else if is_record(goes_on) && goes_on.spec.target != target {
            format!(
                "ClusterUpgrade {name} goes on: it is the record of an upgrade to {} that was asked for elsewhere, and takes no other target",
                goes_on.spec.target
            )
        } else {
            return None;
        };
        let reason = HealthReason::UpgradeUnderWay;
        Some(PlanHold {
            reason: reason.as_str().to_owned(),
            level: reason.level(),
            message: why,
            next: format!(
                "wait until it is over: {}",
                self.invocation
                    .command(&format!("status {}", goes_on.spec.cluster_name), "")
            ),
        })
    }

    /// The ClusterClass that the Cluster names, where it isn't among the objects.
    fn missing_class(&self) -> Option<String> {
        let cluster = self.offline.cluster();
        let class = &cluster.spec.topology.as_ref()?.class_ref;
        let own = cluster.namespace().unwrap_or_default();
        let namespace = class.namespace.as_deref().unwrap_or(&own);
        let is = |object: &Value| {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
            text("/kind") == Some("ClusterClass")
                && text("/metadata/name") == Some(class.name.as_str())
                && text("/metadata/namespace") == Some(namespace)
        };
        let is_there = self.offline.objects().iter().any(is);
        (!is_there).then(|| format!("{namespace}/{}", class.name))
    }

    /// Every version of the Cluster's catalog that isn't older than what runs, the nearest first.
    pub(super) fn targets(&self) -> Vec<PlanTarget> {
        let catalog = self.offline.catalog();
        let today = self.now.to_zoned(TimeZone::UTC).date();
        let present = self.offline.version();
        let versions = catalog.versions();
        let newer = versions.filter(|version| present.as_ref().is_none_or(|present| *version > present));
        let targets = newer.filter_map(|version| {
            let release = catalog.best(version, today)?;
            let text = version.to_string();
            Some(PlanTarget::of(
                &text,
                release.name(),
                &self.planned(&text, Detail::WithoutWayBack),
            ))
        });
        targets.collect()
    }

    /// The ClusterUpgrade that `kubectl instar upgrade` would create or change.
    fn upgrade_to(&self, target: &str) -> ClusterUpgrade {
        let taken_back = || {
            let mut all = instar_report::newest_first(&self.upgrades).into_iter();
            all.find(|upgrade| upgrade.spec.target == target && is_spent(upgrade.finished_phase()))
        };
        let goes_on = self.goes_on().filter(|_| self.in_the_way(target).is_none());
        if let Some(known) = goes_on.or_else(taken_back) {
            let mut upgrade = known.clone();
            target.clone_into(&mut upgrade.spec.target);
            return upgrade;
        }
        let cluster = self.offline.cluster();
        let spec = ClusterUpgradeSpec {
            cluster_name: cluster.name_any(),
            target: target.to_owned(),
            ..ClusterUpgradeSpec::default()
        };
        let namespace = cluster.namespace().unwrap_or_default();
        let mut upgrade = create::upgrade(&namespace, None, target, spec, &self.upgrades);
        let started = (STARTED_ANNOTATION.to_owned(), self.now.to_string());
        upgrade.metadata.annotations = Some([started].into());
        upgrade
    }
}

/// Where nothing is forecast.
const fn nothing() -> Forecast {
    Forecast {
        path: Vec::new(),
        moves: Vec::new(),
        before_completion: Vec::new(),
        pools: Vec::new(),
        end: End::Complete(Vec::new()),
    }
}

/// Whether what it asked for was taken back, so that it isn't gone to again by itself.
const fn is_spent(phase: Option<UpgradePhase>) -> bool {
    match phase {
        Some(UpgradePhase::RollingBack | UpgradePhase::RolledBack) => true,
        Some(
            UpgradePhase::Pending
            | UpgradePhase::ControlPlane
            | UpgradePhase::Workers
            | UpgradePhase::Verifying
            | UpgradePhase::Completed
            | UpgradePhase::Held
            | UpgradePhase::Refused
            | UpgradePhase::Failed
            | UpgradePhase::Aborted,
        )
        | None => false,
    }
}

/// All checks; those that only the controller can ask hold nothing here.
fn without_unasked(snapshot: &mut Snapshot) -> Vec<CheckOutcome> {
    let all = snapshot.preflight.clone();
    snapshot.preflight.retain(|outcome| !is_unasked(outcome));
    all
}

#[cfg(test)]
mod tests;
