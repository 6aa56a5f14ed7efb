//! When the support of each release ends, and how many Clusters run it: counted at most once a minute. What that means at
//! a time is for the alert to say.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use instar_api::{CatalogName, KubernetesRelease, Tier};
use instar_domain::KubeVersion;
use instar_serve::Metrics;
use instar_watch::{Key, Lookup};
use jiff::{ToSpan, civil::Date, tz::TimeZone};
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{MetricType, gauge::Gauge},
};

use crate::{
    caches::{Caches, Group, Pinned},
    upgrade_metrics::Taken,
};

/// For how long what was counted is said again. Counting reads every Cluster and Machine of the fleet, several Prometheus
/// may scrape, and the end of a support is days away.
const COUNTED_FOR: Duration = Duration::from_mins(1);

const END_OF_LIFE: &str = "When the support of a KubernetesRelease ends (spec.support.endOfLife), in Unix seconds; only of \
                           those that have an end.";
const CLUSTERS: &str = "Clusters that run a KubernetesRelease which has an end of life: those with Machines of its version, \
                        or without Machines but pinned to it last; counted at most once a minute. Where no pin says which release of a version it is, the \
                        one with the highest revision counts.";

/// A release whose support ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndingRelease {
    name: String,
    catalog: CatalogName,
    version: KubeVersion,
    tier: &'static str,
    /// The first second after the last day of support.
    ends: i64,
}

impl EndingRelease {
    fn of(name: &str, release: &KubernetesRelease) -> Option<Self> {
        let spec = &release.spec;
        Some(Self {
            name: name.to_owned(),
            catalog: spec.catalog.clone(),
            version: spec.version.clone(),
            tier: spec.support.tier.as_str(),
            ends: end_of(spec.support.end_of_life?)?,
        })
    }
}

fn end_of(day: Date) -> Option<i64> {
    let next = day.checked_add(1.day()).ok()?;
    Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// Each release with an end, and how many Clusters run it.
pub(crate) type Counted = BTreeMap<EndingRelease, i64>;

/// Where they are counted.
pub(crate) struct ReleaseMetrics(Box<dyn Fn() -> Counted + Send + Sync>);

impl fmt::Debug for ReleaseMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReleaseMetrics").finish_non_exhaustive()
    }
}

impl ReleaseMetrics {
    /// Counts in the caches: the Clusters while this process leads, so that the sum over all processes counts each once.
    pub(crate) fn register(metrics: &Metrics, caches: Arc<Caches>, leader: Gauge, taken: Taken) {
        let last = LastCount::default();
        let count = move || {
            let rows: Counted = caches
                .each_release(EndingRelease::of)
                .into_iter()
                .map(|row| (row, 0))
                .collect();
            if leader.get() == 0 || rows.is_empty() {
                last.forget();
                return rows;
            }
            last.of(rows, Instant::now(), |counted| add_clusters(counted, &caches, &taken))
        };
        metrics.register_collector(Self(Box::new(count)));
    }

    /// One that stands for all, for the page on the metrics.
    pub(crate) fn register_example(metrics: &Metrics) {
        let example = || {
            let row = "v1.34.0".parse().ok().map(|version| EndingRelease {
                name: "v1.34.0".to_owned(),
                catalog: CatalogName::default(),
                version,
                tier: Tier::Supported.as_str(),
                ends: 0,
            });
            row.into_iter().map(|row| (row, 0)).collect()
        };
        metrics.register_collector(Self(Box::new(example)));
    }
}

impl Collector for ReleaseMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counted = (self.0)();
        let mut ends =
            encoder.encode_descriptor("release_end_of_life_seconds", END_OF_LIFE, None, MetricType::Gauge)?;
        for row in counted.keys() {
            let version = row.version.to_string();
            let labels = [
                ("catalog", row.catalog.as_str()),
                ("release", row.name.as_str()),
                ("tier", row.tier),
                ("version", version.as_str()),
            ];
            ends.encode_family(&labels)?.encode_gauge(&row.ends)?;
        }
        let mut clusters = encoder.encode_descriptor("release_clusters", CLUSTERS, None, MetricType::Gauge)?;
        for (row, count) in &counted {
            let labels = [("catalog", row.catalog.as_str()), ("release", row.name.as_str())];
            clusters.encode_family(&labels)?.encode_gauge(count)?;
        }
        Ok(())
    }
}

/// What was counted last, and when.
#[derive(Default)]
struct LastCount(Mutex<Option<(Instant, Counted)>>);

impl LastCount {
    /// The count of these releases: the last one while it is young and of the same releases.
    fn of(&self, mut rows: Counted, now: Instant, count: impl FnOnce(&mut Counted)) -> Counted {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, counted)) = &*last
            && now.duration_since(*at) < COUNTED_FOR
            && counted.keys().eq(rows.keys())
        {
            return counted.clone();
        }
        count(&mut rows);
        *last = Some((now, rows.clone()));
        rows
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn add_clusters(counted: &mut Counted, caches: &Caches, taken: &Taken) {
    let versions: BTreeSet<String> = counted.keys().map(|row| row.version.to_string()).collect();
    let running = caches.running_versions(&versions);
    let mut clusters = caches.pinned_releases();
    clusters.retain(|(cluster, _)| taken.has(&Group::Cluster(cluster.clone())));
    count(counted, &clusters, &running, |cluster, version| {
        newest_release(caches, cluster, version)
    });
}

/// `running` has each Cluster with Machines; `newest` says which release it is where no pin says so.
fn count(
    counted: &mut Counted,
    clusters: &[(Key, Vec<Pinned>)],
    running: &HashMap<Key, BTreeSet<String>>,
    newest: impl Fn(&Key, &str) -> Option<String>,
) {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (cluster, pins) in clusters {
        let here: Vec<&String> = match running.get(cluster) {
            Some(versions) => versions.iter().collect(),
            None => pins.last().map(|(version, _)| version).into_iter().collect(),
        };
        let releases: BTreeSet<String> = here
            .into_iter()
            .filter_map(|version| {
                let pin = pins.iter().find(|(pinned, _)| pinned == version);
                let by_pin = pin.map(|(_, release)| release.clone());
                by_pin.or_else(|| newest(cluster, version))
            })
            .collect();
        for release in releases {
            *counts.entry(release).or_default() += 1;
        }
    }
    for (row, count) in counted {
        *count = counts.get(&row.name).copied().unwrap_or_default();
    }
}

/// The row of a version with the highest revision, in the catalog of a Cluster.
fn newest_release(caches: &Caches, cluster: &Key, version: &str) -> Option<String> {
    let Lookup::Present(cluster) = caches.cluster(cluster) else {
        return None;
    };
    let catalog = caches.catalog_of(&cluster);
    let newest = catalog.rows_of(&version.parse().ok()?).next_back()?;
    Some(newest.name().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, slice::from_ref};

    use serde_json::json;

    use super::*;

    fn row(name: &str, version: &str, end: &str) -> EndingRelease {
        let release = json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "KubernetesRelease", "metadata": { "name": name },
            "spec": { "version": version, "catalog": "flatcar", "support": { "tier": "LTS", "endOfLife": end } },
        });
        EndingRelease::of(name, &serde_json::from_value(release).unwrap()).unwrap()
    }

    fn cluster(name: &str, pins: &[(&str, &str)]) -> (Key, Vec<Pinned>) {
        let pins = pins
            .iter()
            .map(|(version, release)| ((*version).to_owned(), (*release).to_owned()));
        (Key::new("n", name), pins.collect())
    }

    #[test]
    fn support_ends_when_the_last_day_is_over() {
        assert_eq!(row("r", "v1.34.3", "2026-11-30").ends, 1_796_083_200);
        assert_eq!(end_of(Date::MAX), None);
    }

    #[test]
    fn what_machines_run_counts_and_not_what_was_left() {
        let rows = [
            row("v33", "v1.33.5", "2026-06-28"),
            row("v34-1", "v1.34.3", "2026-10-27"),
            row("v34-2", "v1.34.3", "2026-10-27"),
        ];
        let mut counted: Counted = rows.into_iter().map(|row| (row, 7)).collect();
        let both = [("v1.33.5", "v33"), ("v1.34.3", "v34-1")];
        let clusters = [
            cluster("under-way", &both),
            cluster("done", &both),
            cluster("without-machines", &both),
            cluster("adopted", &[]),
            cluster("new", &[]),
            cluster("elsewhere", &[("v1.35.4", "v35")]),
        ];
        let running = [
            ("under-way", vec!["v1.33.5", "v1.34.3"]),
            ("done", vec!["v1.34.3"]),
            ("adopted", vec!["v1.34.3"]),
            ("elsewhere", vec![]),
        ];
        let running = running.map(|(name, versions)| {
            let versions = versions.into_iter().map(ToOwned::to_owned).collect();
            (Key::new("n", name), versions)
        });
        count(&mut counted, &clusters, &running.into(), |_, version| {
            (version == "v1.34.3").then(|| "v34-2".to_owned())
        });
        let counts: Vec<_> = counted.iter().map(|(row, count)| (row.name.as_str(), *count)).collect();
        assert_eq!(counts, [("v33", 1), ("v34-1", 3), ("v34-2", 1)]);
    }

    #[test]
    fn the_fleet_is_read_once_a_minute_or_when_the_releases_change() {
        let counts = Cell::new(0);
        let (last, start) = (LastCount::default(), Instant::now());
        let count = |rows: &[EndingRelease], seconds: u64| {
            let rows = rows.iter().map(|row| (row.clone(), 0)).collect();
            let counted = last.of(rows, start + Duration::from_secs(seconds), |rows| {
                counts.set(counts.get() + 1);
                for count in rows.values_mut() {
                    *count = counts.get();
                }
            });
            counted.into_values().collect::<Vec<i64>>()
        };
        let (one, other) = (row("a", "v1.34.3", "2026-10-27"), row("b", "v1.35.0", "2027-10-27"));
        assert_eq!(count(from_ref(&one), 0), [1]);
        assert_eq!(count(from_ref(&one), 59), [1]);
        assert_eq!(count(from_ref(&one), 60), [2]);
        assert_eq!(count(&[one.clone(), other.clone()], 61), [3, 3]);
        assert_eq!(count(&[one.clone(), other], 62), [3, 3]);
        last.forget();
        assert_eq!(count(&[one], 63), [4], "another process has led meanwhile");
    }

    #[test]
    fn each_release_has_its_end_and_its_clusters() {
        let metrics = Metrics::default();
        let counted = || Counted::from([(row("v34", "v1.34.3", "2026-11-30"), 3)]);
        metrics.register_collector(ReleaseMetrics(Box::new(counted)));
        let text = metrics.encode().unwrap();
        for line in [
            r#"instar_release_end_of_life_seconds{catalog="flatcar",release="v34",tier="LTS",version="v1.34.3"} 1796083200"#,
            r#"instar_release_clusters{catalog="flatcar",release="v34"} 3"#,
        ] {
            assert!(text.lines().any(|said| said == line), "{text}");
        }
    }
}
