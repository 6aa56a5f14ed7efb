//! What an upgrade would do, from objects: nothing is read and nothing is written here.

mod admission;

use instar_api::{ClusterUpgrade, ClusterUpgradeSpec, STARTED_ANNOTATION, UpgradePhase};
use instar_controller::{ClusterApiVersion, OfflineCluster, Timing};
use instar_forecast::{forecast, forecast_topology};
use instar_planner::{AskedPoint, CheckOutcome, Snapshot};
use instar_report::{Plan, PlanSubject, PlanTarget, is_unasked};
use jiff::{Timestamp, tz::TimeZone};
use kube::ResourceExt;
use serde_json::Value;

use self::admission::{Admission, Answers};
use crate::{Error, verbs::create};

/// What the controller's flags say where nobody sets them: it isn't known to the plugin what they say.
const TIMING: (u32, u32) = (60, 600);

/// A Cluster, of objects that don't change any more.
pub(super) struct Planned {
    offline: OfflineCluster,
    admission: Admission,
    upgrades: Vec<ClusterUpgrade>,
    cluster_api: ClusterApiVersion,
    unread: Vec<String>,
    now: Timestamp,
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
        let upgrades = instar_report::all_of_kind(&own, &mut unread);
        let server = Admission::of(&objects, now)?;
        let offline =
            OfflineCluster::read(objects, namespace, name).map_err(|error| Error::Refused(error.to_string()))?;
        Ok(Self {
            offline,
            admission: server,
            upgrades,
            cluster_api,
            unread,
            now,
        })
    }

    /// What an upgrade to there would do.
    pub(super) fn to(&self, target: &str) -> Plan {
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
        let mut unread = self.unread.clone();
        let Answers { findings, edit } = match self.admission.ask(&self.offline, &self.upgrades, &upgrade) {
            Ok(answers) => answers,
            Err(why) => {
                unread.push(format!("what admission says: {why}"));
                Answers::default()
            }
        };
        let told = if self.offline.cluster().spec.topology.is_some() {
            forecast_topology(snapshot, edit.as_ref(), look)
        } else {
            forecast(snapshot, look)
        };
        let mut plan = Plan::of(PlanSubject {
            snapshot: &gathered.snapshot,
            checks: &checks,
            forecast: &told,
            findings,
            unread,
        });
        if let Some(goes_on) = self.goes_on().filter(|_| !plan.next.is_empty()) {
            if goes_on.spec.target == target {
                let cluster = &plan.cluster;
                plan.next = format!(
                    "kubectl instar status {} -n {} --watch",
                    cluster.name, cluster.namespace
                );
            } else {
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
            Some(PlanTarget::of(&text, release.name(), &self.to(&text)))
        });
        targets.collect()
    }

    /// The ClusterUpgrade that `kubectl instar upgrade` would create or change.
    fn upgrade_to(&self, target: &str) -> ClusterUpgrade {
        let taken_back = || {
            let mut all = instar_report::newest_first(&self.upgrades).into_iter();
            all.find(|upgrade| upgrade.spec.target == target && is_spent(upgrade.finished_phase()))
        };
        if let Some(known) = self.goes_on().or_else(taken_back) {
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
