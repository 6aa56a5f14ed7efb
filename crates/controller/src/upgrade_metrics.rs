//! How many upgrades there are in each phase, and how many of them need a user: counted at each scrape, in one pass
//! over the cache.

use std::{collections::HashMap, fmt, sync::Arc};

use instar_api::{ClusterUpgrade, FinishedMarker, HealthLevel, UpgradeOutcome, UpgradePhase};
use instar_serve::Metrics;
use instar_watch::{Cache, Index};
use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{MetricType, gauge::Gauge},
};

use crate::{
    caches::{Caches, Group, Object},
    scope::{Scope, WatchFilter},
    upgrade_spec::{finished_phase, started},
};

/// The cache of upgrades.
type Upgrades = Cache<Object<ClusterUpgrade>>;

/// Counts the upgrades of a cache while this process leads, of the Clusters that it looks after: so that the sum over all
/// processes counts each once.
#[derive(Debug)]
pub(crate) struct UpgradeMetrics {
    upgrades: Arc<Upgrades>,
    leader: Gauge,
    taken: Taken,
}

/// Which Clusters are looked after.
pub(crate) enum Taken {
    /// All.
    All,
    /// Those that a filter takes.
    By(Arc<Caches>, WatchFilter),
}

impl Taken {
    pub(crate) fn by(caches: &Arc<Caches>, scope: &Scope) -> Self {
        match &scope.filter {
            WatchFilter::All => Self::All,
            filter @ WatchFilter::Label(_) => Self::By(Arc::clone(caches), filter.clone()),
        }
    }

    pub(crate) fn has(&self, group: &Group) -> bool {
        match (self, group) {
            (Self::By(caches, filter), Group::Cluster(cluster)) => caches.is_taken(filter, cluster),
            (Self::By(..) | Self::All, _) => true,
        }
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::By(_, filter) => f.debug_tuple("By").field(filter).finish(),
        }
    }
}

impl UpgradeMetrics {
    pub(crate) fn register(metrics: &Metrics, upgrades: Arc<Upgrades>, leader: Gauge, taken: Taken) {
        metrics.register_collector(Self {
            upgrades,
            leader,
            taken,
        });
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        if self.leader.get() == 0 {
            return counts;
        }
        match &self.taken {
            Taken::All => {
                let upgrades = self.upgrades.read();
                counts.add_groups(&upgrades, upgrades.groups());
            }
            Taken::By(caches, filter) => {
                // Whether a Cluster is looked after is asked of another cache, and nobody holds two.
                let mut groups: Vec<Group> = self.upgrades.read().groups().cloned().collect();
                groups.retain(|group| match group {
                    Group::Cluster(cluster) => caches.is_taken(filter, cluster),
                    Group::Namespace(_) => true,
                });
                counts.add_groups(&self.upgrades.read(), &groups);
            }
        }
        counts
    }
}

impl Collector for UpgradeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.counts();
        let mut phases = encoder.encode_descriptor("upgrades", "ClusterUpgrades by phase.", None, MetricType::Gauge)?;
        for phase in UpgradePhase::ALL {
            let count = counts.phases.get(&phase).copied().unwrap_or_default();
            let label = [("phase", phase_label(phase))];
            phases.encode_family(&label)?.encode_gauge(&count)?;
        }
        let help = "ClusterUpgrades with something in status.health, by the highest level of it; error also where Instar itself \
                    can't go on (condition Healthy). One that is over counts until its Cluster has a newer one.";
        let mut levels = encoder.encode_descriptor("upgrades_by_health", help, None, MetricType::Gauge)?;
        for level in HealthLevel::ALL {
            let count = counts.levels.get(&level).copied().unwrap_or_default();
            let label = [("level", level_label(level))];
            levels.encode_family(&label)?.encode_gauge(&count)?;
        }
        for (name, help, since) in [
            (
                "upgrades_error_since_seconds",
                "Since when a ClusterUpgrade is at the level error, of the one that is so for longest, in Unix seconds; 0 \
                 where none is.",
                counts.error_since,
            ),
            (
                "upgrades_unfinished_since_seconds",
                "When the oldest ClusterUpgrade that isn't over was first seen, or got another target after its end, in Unix \
                 seconds; 0 where all are over.",
                counts.unfinished_since,
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&seconds(since))?;
        }
        Ok(())
    }
}

fn seconds(time: Option<Timestamp>) -> i64 {
    time.map_or(0, Timestamp::as_second)
}

const fn phase_label(phase: UpgradePhase) -> &'static str {
    match phase {
        UpgradePhase::Pending => "pending",
        UpgradePhase::Held => "held",
        UpgradePhase::ControlPlane => "control_plane",
        UpgradePhase::Workers => "workers",
        UpgradePhase::Verifying => "verifying",
        UpgradePhase::Completed => "completed",
        UpgradePhase::Refused => "refused",
        UpgradePhase::RollingBack => "rolling_back",
        UpgradePhase::RolledBack => "rolled_back",
        UpgradePhase::Aborted => "aborted",
        UpgradePhase::Failed => "failed",
    }
}

const fn level_label(level: HealthLevel) -> &'static str {
    match level {
        HealthLevel::Info => "info",
        HealthLevel::Warning => "warning",
        HealthLevel::Error => "error",
    }
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    phases: HashMap<UpgradePhase, i64>,
    levels: HashMap<HealthLevel, i64>,
    error_since: Option<Timestamp>,
    unfinished_since: Option<Timestamp>,
}

impl Counts {
    fn add_groups<'g>(
        &mut self,
        upgrades: &Index<Object<ClusterUpgrade>>,
        groups: impl IntoIterator<Item = &'g Group>,
    ) {
        let mut of_cluster = Vec::new();
        for group in groups {
            of_cluster.clear();
            of_cluster.extend(upgrades.group(group).map(|(_, kept)| kept.as_object()));
            self.add(&of_cluster);
        }
    }

    /// Counts the upgrades of one Cluster.
    fn add(&mut self, of_cluster: &[&ClusterUpgrade]) {
        let newest = of_cluster.iter().map(|upgrade| rank(upgrade)).max();
        for upgrade in of_cluster {
            let finished = finished_phase(upgrade);
            *self.phases.entry(phase(upgrade, finished)).or_default() += 1;
            if upgrade.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if finished.is_none() {
                earliest(&mut self.unfinished_since, unfinished_since(upgrade));
            } else if newest > Some(rank(upgrade)) {
                continue;
            }
            let error_since = error_since(upgrade, finished);
            earliest(&mut self.error_since, error_since);
            let rows = upgrade.status.iter().flat_map(|status| &status.health);
            let level = rows
                .map(|row| row.level)
                .chain(error_since.map(|_| HealthLevel::Error))
                .max();
            if let Some(level) = level {
                *self.levels.entry(level).or_default() += 1;
            }
        }
    }
}

fn earliest(of: &mut Option<Timestamp>, other: Option<Timestamp>) {
    *of = (*of).into_iter().chain(other).min();
}

/// Since when an upgrade isn't over. One that was completed and has another target is another one, which gets its time with
/// the first change: until then its condition says when it was asked for.
fn unfinished_since(upgrade: &ClusterUpgrade) -> Option<Timestamp> {
    match FinishedMarker::of(upgrade) {
        Some(FinishedMarker::CompletedBefore) => {
            let mut conditions = upgrade.status.iter().flat_map(|status| &status.conditions);
            let completed = conditions.find(|condition| condition.type_ == "Completed");
            let since = completed.map(|completed| completed.last_transition_time.0);
            since.or_else(|| created(upgrade))
        }
        Some(
            FinishedMarker::Over(_)
            | FinishedMarker::RefusedAfterCompleted
            | FinishedMarker::FailedAfterCompleted
            | FinishedMarker::AbortedAfterCompleted
            | FinishedMarker::RefusedAfterMove { .. },
        )
        | None => started(upgrade).or_else(|| created(upgrade)),
    }
}

fn created(upgrade: &ClusterUpgrade) -> Option<Timestamp> {
    upgrade.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn phase(upgrade: &ClusterUpgrade, finished: Option<UpgradePhase>) -> UpgradePhase {
    let told = || upgrade.status.as_ref().map(|status| status.phase);
    finished.or_else(told).unwrap_or_default()
}

/// What comes after what, of a Cluster's upgrades. `clusterctl move` creates all within a second: then one that goes on,
/// or that has arrived, comes after one that ended otherwise.
fn rank(upgrade: &ClusterUpgrade) -> (Option<Timestamp>, bool) {
    let is_current = finished_phase(upgrade).is_none_or(|phase| phase.outcome() == UpgradeOutcome::Completed);
    (created(upgrade), is_current)
}

/// Since when a user has to act.
fn error_since(upgrade: &ClusterUpgrade, finished: Option<UpgradePhase>) -> Option<Timestamp> {
    let status = upgrade.status.as_ref();
    let rows = status.into_iter().flat_map(|status| &status.health);
    let errors = rows
        .filter(|row| row.level == HealthLevel::Error)
        .map(|row| row.since.0);
    let conditions = status.into_iter().flat_map(|status| &status.conditions);
    let ill = conditions
        .filter(|condition| condition.type_ == "Healthy" && condition.status == "False")
        .map(|condition| condition.last_transition_time.0);
    // A move drops the status, and the annotation still says that it failed.
    let failed = (finished == Some(UpgradePhase::Failed))
        .then(|| created(upgrade))
        .flatten();
    errors.chain(ill).min().or(failed)
}

#[cfg(test)]
mod tests {
    use instar_api::ClusterUpgradeSpec;
    use serde_json::{Value, json};

    use super::*;

    /// Created at that second, in that phase, with rows of these levels and times.
    fn upgrade(created: i64, phase: &str, rows: &[(&str, i64)]) -> ClusterUpgrade {
        let time = |second: i64| Timestamp::from_second(second).unwrap();
        let rows = rows.iter().map(|(level, since)| {
            json!({ "level": level, "impact": "None", "since": time(*since), "count": 1, "reason": "NoRow",
                    "message": "", "next": "" })
        });
        serde_json::from_value(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": format!("up-{created}"), "namespace": "n", "generation": 1,
                          "creationTimestamp": time(created) },
            "spec": { "clusterName": "c", "target": "v1.34" },
            "status": { "phase": phase, "observedGeneration": 1, "health": rows.collect::<Vec<Value>>() },
        }))
        .unwrap()
    }

    fn counted(of_cluster: &[ClusterUpgrade]) -> Counts {
        let mut counts = Counts::default();
        counts.add(&of_cluster.iter().collect::<Vec<_>>());
        counts
    }

    /// How many are at the level error, since when, and since when one isn't over.
    fn told(of_cluster: &[ClusterUpgrade]) -> (i64, i64, i64) {
        let counts = counted(of_cluster);
        let errors = counts.levels.get(&HealthLevel::Error).copied().unwrap_or_default();
        (errors, seconds(counts.error_since), seconds(counts.unfinished_since))
    }

    #[test]
    fn an_error_counts_from_its_first_row_on() {
        let both = [("Warning", 5), ("Error", 30), ("Error", 20)];
        assert_eq!(told(&[upgrade(10, "Held", &both)]), (1, 20, 10));
        assert_eq!(told(&[upgrade(10, "Held", &[("Warning", 5)])]), (0, 0, 10));
        let counts = counted(&[upgrade(10, "Held", &[("Info", 7), ("Warning", 5)])]);
        assert_eq!(counts.levels, HashMap::from([(HealthLevel::Warning, 1)]));
        assert_eq!(told(&[upgrade(10, "Completed", &[])]), (0, 0, 0));
    }

    #[test]
    fn what_a_newer_upgrade_has_replaced_needs_nobody() {
        let failed = || upgrade(10, "Failed", &[("Error", 20)]);
        assert_eq!(told(&[failed()]), (1, 20, 0));
        for newer in ["Completed", "Workers", "Refused", "Aborted"] {
            assert_eq!(told(&[failed(), upgrade(30, newer, &[])]).0, 0, "{newer}");
        }
        let counts = counted(&[failed(), upgrade(30, "Completed", &[])]);
        let phases = [(UpgradePhase::Failed, 1), (UpgradePhase::Completed, 1)];
        assert_eq!(
            counts.phases,
            HashMap::from(phases),
            "each is in its phase all the same"
        );
        assert_eq!(told(&[upgrade(5, "Completed", &[]), failed()]).0, 1, "an older one");
    }

    #[test]
    fn one_that_goes_on_counts_whatever_came_after_it() {
        let held = || upgrade(10, "Held", &[("Error", 20)]);
        assert_eq!(told(&[held(), upgrade(30, "Refused", &[("Error", 31)])]), (2, 20, 10));
    }

    #[test]
    fn a_completed_upgrade_with_another_target_isnt_over_since_it_got_that() {
        let time = |second: i64| Timestamp::from_second(second).unwrap().to_string();
        let mut reopened = upgrade(10, "Held", &[]);
        reopened.metadata.annotations = Some(
            [
                (instar_api::FINISHED_ANNOTATION, "CompletedBefore".to_owned()),
                (instar_api::STARTED_ANNOTATION, time(11)),
            ]
            .map(|(name, text)| (name.to_owned(), text))
            .into(),
        );
        let condition = json!([{ "type": "Completed", "status": "False", "reason": "Held", "message": "",
                                 "lastTransitionTime": time(70) }]);
        reopened.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
        assert_eq!(told(&[reopened.clone()]), (0, 0, 70));
        reopened
            .metadata
            .annotations
            .as_mut()
            .unwrap()
            .remove(instar_api::FINISHED_ANNOTATION);
        assert_eq!(told(&[reopened]), (0, 0, 11));
    }

    #[test]
    fn what_a_move_creates_at_once_is_told_apart_by_how_it_ended() {
        let failed = || upgrade(10, "Failed", &[("Error", 20)]);
        assert_eq!(told(&[failed(), upgrade(10, "Completed", &[])]).0, 0);
        assert_eq!(told(&[failed(), upgrade(10, "Aborted", &[])]).0, 1);
        let mut moved = failed();
        moved.status = None;
        moved.metadata.annotations = Some([(instar_api::FINISHED_ANNOTATION.to_owned(), "Failed".to_owned())].into());
        assert_eq!(told(&[moved]), (1, 10, 0));
    }

    #[test]
    fn what_instar_cannot_write_is_an_error_and_what_goes_is_none() {
        let mut ill = upgrade(10, "Workers", &[]);
        let condition = json!({ "type": "Healthy", "status": "False", "reason": "NoRight", "message": "",
                                "lastTransitionTime": Timestamp::from_second(40).unwrap() });
        ill.status.as_mut().unwrap().conditions = vec![serde_json::from_value(condition).unwrap()];
        assert_eq!(told(std::slice::from_ref(&ill)), (1, 40, 10));
        ill.metadata.deletion_timestamp = ill.metadata.creation_timestamp.clone();
        assert_eq!(told(&[ill]), (0, 0, 0));
    }

    #[test]
    fn one_that_nobody_has_looked_at_is_pending() {
        let unseen = ClusterUpgrade::new("up", ClusterUpgradeSpec::default());
        let counts = counted(&[unseen]);
        assert_eq!(counts.phases, HashMap::from([(UpgradePhase::Pending, 1)]));
    }

    #[test]
    fn only_a_process_that_leads_counts() {
        use instar_watch::{Key, Row};
        use kube::runtime::watcher::Event;

        let metrics = Metrics::default();
        let (upgrades, leader) = (Arc::new(Upgrades::default()), Gauge::default());
        UpgradeMetrics::register(&metrics, Arc::clone(&upgrades), leader.clone(), Taken::All);
        let row = Row {
            key: Key::new("n", "up-10"),
            read: Ok(Object::new(upgrade(10, "ControlPlane", &[("Error", 20)]))),
        };
        drop(upgrades.apply(Event::Apply(row)));
        let said = |line: &str| metrics.encode().unwrap().lines().any(|said| said == line);
        let lines = [
            r#"instar_upgrades{phase="control_plane"} "#,
            r#"instar_upgrades_by_health{level="error"} "#,
            "instar_upgrades_error_since_seconds ",
            "instar_upgrades_unfinished_since_seconds ",
        ];
        assert!(lines.iter().all(|line| said(&format!("{line}0"))));
        leader.set(1);
        for (line, value) in lines.iter().zip(["1", "1", "20", "10"]) {
            assert!(said(&format!("{line}{value}")), "{line}");
        }
        assert!(said(r#"instar_upgrades{phase="workers"} 0"#));
    }
}
