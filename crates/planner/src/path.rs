//! The releases that a classic control plane goes through: minor by minor, from the catalog alone.

use instar_api::Tier;
use instar_capi::ExternalEtcd;
use instar_catalog::{
    Catalog, Pool, Release,
    etcd::{Etcd, EtcdRefusal},
};
use instar_domain::{BuildOrder, KubeVersion, Minor};
use jiff::civil::Date;

use crate::{snapshot::Flavor, swap_history::PoolState};

/// Where a path begins.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The version that runs.
    pub version: &'a KubeVersion,
    pub etcd: StartEtcd,
    /// The control plane, as far as the choice of its image goes; absent where it has none.
    pub pool: Option<Pool<'a>>,
}

/// The etcd of a control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartEtcd {
    /// No Kubernetes version moves it.
    Elsewhere,
    /// A stacked one, with the tag that the control plane sets, if any.
    Stacked(Option<String>),
}

/// Why there is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPath {
    /// The wanted version is older.
    #[error(
        "{wanted} is older than {present}, to which the control plane has gone: set the target to {present} to stop there, or to a newer version to go on"
    )]
    Downgrade {
        /// What the control plane's spec says.
        present: KubeVersion,
        /// What is wanted: a version, or a minor.
        wanted: String,
    },
    /// The versions are of different majors.
    #[error("{wanted} is of another major than {present}, which runs")]
    OtherMajor {
        /// What runs.
        present: KubeVersion,
        /// What is wanted.
        wanted: KubeVersion,
    },
    /// A minor between has no release.
    #[error("the catalog has no release of {missing} that may be gone through, and a control plane can't skip a minor")]
    Gap {
        /// The minor.
        missing: Minor,
    },
    /// A release doesn't accept what comes before it.
    #[error("release {release} upgrades from {requirement}, and {before} comes before it")]
    UpgradesFrom {
        release: String,
        /// What it asks.
        requirement: String,
        /// What would come before it.
        before: KubeVersion,
    },
    /// A release's etcd may not follow on the one before it.
    #[error(transparent)]
    Etcd(Box<EtcdStep>),
    /// A release has no image for the control plane.
    #[error("release {release} has no image for the control plane")]
    NoImage { release: String },
}

/// A step between two etcds that isn't safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("release {release} runs etcd {etcd} after etcd {before}, and {why}; {}", remediation(*.why, .first.as_deref()))]
pub struct EtcdStep {
    pub release: String,
    pub etcd: Etcd,
    /// The one before it.
    pub before: Etcd,
    /// What is wrong with that.
    pub why: EtcdRefusal,
    /// A release that lies between.
    pub first: Option<String>,
}

fn remediation(why: EtcdRefusal, first: Option<&str>) -> String {
    match (why, first) {
        (EtcdRefusal::Unsafe, Some(first)) => format!("go first to release {first}"),
        (EtcdRefusal::Unsafe, None) => "create a release of the version before it with etcd 3.5.26".to_owned(),
        (EtcdRefusal::SkipsMinor, _) => {
            "create a release of the version before it with an etcd of the minor between".to_owned()
        }
    }
}

/// A way to a release, and the etcd at its end.
#[derive(Clone)]
struct Way<'c> {
    releases: Vec<&'c Release>,
    etcd: StartEtcd,
}

/// The releases to go through, the wanted one at the end: one for each minor between, the best
/// from which the way goes on. Where the wanted one is of the version that runs, it is the path.
///
/// # Errors
/// The reason why there is none.
pub fn classic_path<'c>(
    start: &Start<'_>,
    wanted: &'c Release,
    catalog: &'c Catalog,
    today: Date,
) -> Result<Vec<&'c Release>, NoPath> {
    let (present, version) = (start.version, wanted.version());
    if version.minor().major != present.minor().major {
        return Err(NoPath::OtherMajor {
            present: present.clone(),
            wanted: version.clone(),
        });
    }
    if version.compare(present) == BuildOrder::Less {
        return Err(NoPath::Downgrade {
            present: present.clone(),
            wanted: version.to_string(),
        });
    }
    let mut ways = vec![Way {
        releases: Vec::new(),
        etcd: start.etcd.clone(),
    }];
    for minor in present.minor().minor + 1..version.minor().minor {
        let minor = Minor {
            major: version.minor().major,
            minor,
        };
        let candidates = candidates(catalog, minor, today);
        if candidates.is_empty() {
            return Err(NoPath::Gap { missing: minor });
        }
        ways = step(start, &ways, &candidates, catalog)?;
    }
    let ways = step(start, &ways, &[wanted], catalog)?;
    Ok(ways.into_iter().next().map(|way| way.releases).unwrap_or_default())
}

/// The rows of a minor that are chosen without being named: the supported before the deprecated,
/// within each the newest first.
fn candidates(catalog: &Catalog, minor: Minor, today: Date) -> Vec<&Release> {
    let of_minor = catalog.releases().filter(|row| row.version().minor() == minor);
    let mut rows: Vec<&Release> = of_minor.filter(|row| row.tier() != Tier::Preview).collect();
    // The catalog lists from the oldest to the newest, and the sort is stable.
    rows.reverse();
    rows.sort_by_key(|row| !row.is_supported(today));
    rows
}

/// One way to each candidate that can be reached; where none can, the reason for the best.
fn step<'c>(
    start: &Start<'_>,
    ways: &[Way<'c>],
    candidates: &[&'c Release],
    catalog: &Catalog,
) -> Result<Vec<Way<'c>>, NoPath> {
    let mut reached = Vec::new();
    let mut refusal = None;
    for row in candidates {
        for way in ways {
            match go(start, way, row, catalog) {
                Ok(way) => {
                    reached.push(way);
                    break;
                }
                Err(reason) => {
                    refusal.get_or_insert(reason);
                }
            }
        }
    }
    match refusal {
        Some(reason) if reached.is_empty() => Err(reason),
        Some(_) | None => Ok(reached),
    }
}

fn go<'c>(start: &Start<'_>, way: &Way<'c>, row: &'c Release, catalog: &Catalog) -> Result<Way<'c>, NoPath> {
    let before = way.releases.last().map_or(start.version, |row| row.version());
    if let Some(requirement) = row.refuses_source(before) {
        return Err(NoPath::UpgradesFrom {
            release: row.name().to_owned(),
            requirement,
            before: before.clone(),
        });
    }
    if start.pool.as_ref().is_some_and(|pool| row.image(pool).is_none()) {
        return Err(NoPath::NoImage {
            release: row.name().to_owned(),
        });
    }
    let next = match &way.etcd {
        StartEtcd::Elsewhere => StartEtcd::Elsewhere,
        // A tag that the release doesn't set stays as it is.
        StartEtcd::Stacked(tag) => StartEtcd::Stacked(row.etcd_tag().map(str::to_owned).or_else(|| tag.clone())),
    };
    let (running, coming) = (way.etcd.at(before), next.at(row.version()));
    if let Some(why) = running.refuses(&coming) {
        let between = catalog.rows_of(before).rev().find(|row| {
            row.etcd_tag()
                .is_some_and(|tag| Etcd::Tag(tag.to_owned()).is_the_step_before())
        });
        return Err(NoPath::Etcd(Box::new(EtcdStep {
            release: row.name().to_owned(),
            etcd: coming,
            before: running,
            why,
            first: between.map(|row| row.name().to_owned()),
        })));
    }
    let mut releases = way.releases.clone();
    releases.push(row);
    Ok(Way { releases, etcd: next })
}

impl StartEtcd {
    pub(crate) fn of(flavor: &Flavor) -> Self {
        match flavor {
            Flavor::Other => Self::Elsewhere,
            Flavor::Kubeadm {
                cluster_configuration, ..
            } => {
                let etcd = &cluster_configuration.etcd;
                match &etcd.external {
                    Some(ExternalEtcd {}) => Self::Elsewhere,
                    None => Self::Stacked(etcd.local.image_tag.clone()),
                }
            }
        }
    }

    /// The one that it had at another moment: an external one is so at each.
    pub(crate) fn of_state(flavor: &Flavor, state: &PoolState) -> Self {
        match Self::of(flavor) {
            Self::Elsewhere => Self::Elsewhere,
            Self::Stacked(_) => Self::Stacked(state.etcd.tag.clone()),
        }
    }

    pub(crate) fn at(&self, version: &KubeVersion) -> Etcd {
        match self {
            Self::Elsewhere => Etcd::Elsewhere,
            Self::Stacked(Some(tag)) => Etcd::Tag(tag.clone()),
            Self::Stacked(None) => Etcd::Kubeadm(version.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
