//! The versions between the one that runs and the one that is wanted.
//!
//! For a topology cluster this computes the path that Cluster API will choose, since the pins are
//! written before it chooses. Source: `GetUpgradePlanFromClusterClassVersions`, `GetUpgradePlanOneMinor` and
//! `DefaultAndValidateUpgradePlans` in cluster-api's `exp/topology/desiredstate/upgrade_plan.go`.

use std::{cmp::Ordering, collections::BTreeMap};

use instar_domain::{
    BuildOrder, KubeVersion, Minor,
    skew::{self, SkewViolation},
};

/// Where Cluster API takes the control plane's path from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// The class lists versions: the newest of each minor, up to the one that is wanted.
    ClassVersions(&'a [KubeVersion]),
    /// The class lists none: one step of at most one minor.
    OneMinor,
    /// A Runtime Extension chooses: the path is not known before it is called.
    Extension,
}

/// A path: at least one version, the last is the one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// What the control plane goes through, in order.
    pub control_plane: Vec<KubeVersion>,
    /// Where the workers stop: a subset of the control plane's.
    pub workers: Vec<KubeVersion>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPath {
    #[error("{wanted} is older than {present}, which runs")]
    Downgrade { present: KubeVersion, wanted: KubeVersion },
    #[error("{wanted} is of another major than {present}, which runs")]
    OtherMajor { present: KubeVersion, wanted: KubeVersion },
    #[error("the class does not list {wanted} in kubernetesVersions, which has {}", list(.listed))]
    NotListed {
        wanted: KubeVersion,
        listed: Vec<KubeVersion>,
    },
    /// The class lists versions, and none of a minor between.
    #[error("the class lists no {missing} in kubernetesVersions, and a control plane can't skip a minor")]
    Gap { missing: Minor },
    /// More than a minor, and the class lists no versions to go through.
    #[error("{wanted} is {minors} minors above {present}, and the class lists no kubernetesVersions to go through")]
    TooFar {
        present: KubeVersion,
        wanted: KubeVersion,
        minors: u64,
    },
    /// The two versions differ in build tags only, and Cluster API can't go from one to the other by a list.
    #[error(
        "{wanted} and {present} differ only in build tags, between which Cluster API finds no path in kubernetesVersions"
    )]
    BuildTags { present: KubeVersion, wanted: KubeVersion },
    #[error(
        "the class lets an extension choose the path (generateUpgradePlanExtension), so its steps can't be pinned before it is asked"
    )]
    Extension,
    /// The workers would fall too far behind before they move.
    #[error("the workers would be at {workers} while the control plane goes to {control_plane}, and kubelets of {} may be {allowed} minors behind at most", .workers.minor())]
    Skew {
        workers: KubeVersion,
        control_plane: KubeVersion,
        /// How many minors the kubelets may be behind.
        allowed: u64,
    },
}

fn list(versions: &[KubeVersion]) -> String {
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Path {
    /// The path from what runs to what is wanted, or nothing where both are the same.
    ///
    /// `workers` is the oldest version of a worker, where it isn't the control plane's.
    pub fn find(
        present: &KubeVersion,
        workers: &KubeVersion,
        wanted: &KubeVersion,
        source: Source<'_>,
    ) -> Result<Option<Self>, NoPath> {
        if present == wanted {
            return Ok(None);
        }
        let (present_minor, wanted_minor) = (present.minor(), wanted.minor());
        if wanted.compare(present) == BuildOrder::Less {
            return Err(NoPath::Downgrade {
                present: present.clone(),
                wanted: wanted.clone(),
            });
        }
        if present_minor.major != wanted_minor.major {
            return Err(NoPath::OtherMajor {
                present: present.clone(),
                wanted: wanted.clone(),
            });
        }
        let control_plane = match source {
            Source::Extension => return Err(NoPath::Extension),
            Source::OneMinor => match wanted_minor.minor.saturating_sub(present_minor.minor) {
                0 | 1 => vec![wanted.clone()],
                minors => {
                    return Err(NoPath::TooFar {
                        present: present.clone(),
                        wanted: wanted.clone(),
                        minors,
                    });
                }
            },
            Source::ClassVersions(listed) => through(listed, present, wanted)?,
        };
        let workers_stop = worker_stops(workers, present, &control_plane, wanted);
        hold_skew(workers, &control_plane, &workers_stop)?;
        Ok(Some(Self {
            control_plane,
            workers: workers_stop,
        }))
    }
}

/// The last listed version of each minor above the present one, and the wanted one at the end.
fn through(listed: &[KubeVersion], present: &KubeVersion, wanted: &KubeVersion) -> Result<Vec<KubeVersion>, NoPath> {
    if !listed.contains(wanted) {
        return Err(NoPath::NotListed {
            wanted: wanted.clone(),
            listed: listed.to_vec(),
        });
    }
    if wanted.precedence(present) == Ordering::Equal {
        return Err(NoPath::BuildTags {
            present: present.clone(),
            wanted: wanted.clone(),
        });
    }
    if wanted.minor() == present.minor() {
        return Ok(vec![wanted.clone()]);
    }
    let mut last_of_minor: BTreeMap<Minor, &KubeVersion> = BTreeMap::new();
    for version in listed {
        if version.minor() > present.minor() && version.compare(wanted) != BuildOrder::Greater {
            last_of_minor.insert(version.minor(), version);
        }
        if version == wanted {
            break;
        }
    }
    let mut path = Vec::with_capacity(last_of_minor.len());
    for minor in present.minor().minor + 1..=wanted.minor().minor {
        let minor = Minor {
            major: wanted.minor().major,
            minor,
        };
        let version = last_of_minor.get(&minor).ok_or(NoPath::Gap { missing: minor })?;
        path.push((*version).clone());
    }
    Ok(path)
}

/// As few stops as Cluster API makes: every third minor above the workers, and the end.
fn worker_stops(
    workers: &KubeVersion,
    present: &KubeVersion,
    control_plane: &[KubeVersion],
    wanted: &KubeVersion,
) -> Vec<KubeVersion> {
    let at_minor: BTreeMap<u64, &KubeVersion> = std::iter::once(present)
        .chain(control_plane)
        .map(|version| (version.minor().minor, version))
        .collect();
    let (from, to) = (workers.minor().minor, wanted.minor().minor);
    let mut stops: Vec<KubeVersion> = (from..to)
        .skip(3)
        .step_by(3)
        .filter_map(|minor| at_minor.get(&minor).map(|version| (*version).clone()))
        .collect();
    if stops.last() != Some(wanted) {
        stops.push(wanted.clone());
    }
    stops
}

/// The workers move to a stop only when the control plane has got there.
fn hold_skew(workers: &KubeVersion, control_plane: &[KubeVersion], stops: &[KubeVersion]) -> Result<(), NoPath> {
    let mut at = workers;
    for step in control_plane {
        match skew::kubelet(at, step) {
            Err(SkewViolation::TooFarBehind { allowed, .. }) => {
                return Err(NoPath::Skew {
                    workers: at.clone(),
                    control_plane: step.clone(),
                    allowed,
                });
            }
            // A worker that is ahead of its control plane is no matter of the path.
            Ok(())
            | Err(
                SkewViolation::Newer { .. }
                | SkewViolation::TooFarAhead { .. }
                | SkewViolation::OtherMajor { .. }
                | SkewViolation::OtherMinor { .. },
            ) => {}
        }
        if stops.contains(step) {
            at = step;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> KubeVersion {
        text.parse().unwrap()
    }

    fn versions(texts: &[&str]) -> Vec<KubeVersion> {
        texts.iter().map(|text| version(text)).collect()
    }

    fn find(present: &str, wanted: &str, listed: &[&str]) -> Result<Option<Path>, String> {
        let listed = versions(listed);
        let source = if listed.is_empty() {
            Source::OneMinor
        } else {
            Source::ClassVersions(&listed)
        };
        let present = version(present);
        Path::find(&present, &present, &version(wanted), source).map_err(|error| error.to_string())
    }

    #[test]
    fn finds_what_cluster_api_chooses() {
        let listed = [
            "v1.33.5", "v1.33.7", "v1.34.1", "v1.34.3", "v1.35.4", "v1.36.0", "v1.36.3", "v1.37.0",
        ];
        for (present, wanted, control_plane, workers) in [
            ("v1.33.5", "v1.35.4", vec!["v1.34.3", "v1.35.4"], vec!["v1.35.4"]),
            ("v1.33.5", "v1.33.7", vec!["v1.33.7"], vec!["v1.33.7"]),
            ("v1.33.5", "v1.34.1", vec!["v1.34.1"], vec!["v1.34.1"]),
            (
                "v1.33.5",
                "v1.36.0",
                vec!["v1.34.3", "v1.35.4", "v1.36.0"],
                vec!["v1.36.0"],
            ),
            (
                "v1.33.5",
                "v1.37.0",
                vec!["v1.34.3", "v1.35.4", "v1.36.3", "v1.37.0"],
                vec!["v1.36.3", "v1.37.0"],
            ),
        ] {
            let path = find(present, wanted, &listed).unwrap().unwrap();
            assert_eq!(path.control_plane, versions(&control_plane), "{present} to {wanted}");
            assert_eq!(path.workers, versions(&workers), "{present} to {wanted}");
        }
        assert_eq!(find("v1.34.3", "v1.34.3", &listed), Ok(None));
        assert_eq!(
            find("v1.34.3", "v1.35.9", &[]).unwrap().unwrap().control_plane,
            versions(&["v1.35.9"])
        );
        // Without a list a build tag alone can be changed; with one, Cluster API finds no step.
        assert!(find("v1.34.3+a", "v1.34.3+b", &[]).unwrap().is_some());
    }

    #[test]
    fn says_why_there_is_none() {
        for (present, wanted, listed, message) in [
            (
                "v1.35.4",
                "v1.34.3",
                vec![],
                "v1.34.3 is older than v1.35.4, which runs",
            ),
            (
                "v1.35.4",
                "v2.0.0",
                vec![],
                "v2.0.0 is of another major than v1.35.4, which runs",
            ),
            (
                "v1.33.5",
                "v1.35.4",
                vec![],
                "v1.35.4 is 2 minors above v1.33.5, and the class lists no kubernetesVersions to go through",
            ),
            (
                "v1.33.5",
                "v1.35.4",
                vec!["v1.33.5", "v1.34.3"],
                "the class does not list v1.35.4 in kubernetesVersions, which has v1.33.5, v1.34.3",
            ),
            (
                "v1.33.5",
                "v1.35.4",
                vec!["v1.33.5", "v1.35.4"],
                "the class lists no v1.34 in kubernetesVersions, and a control plane can't skip a minor",
            ),
            (
                "v1.34.3+a",
                "v1.34.3+b",
                vec!["v1.34.3+a", "v1.34.3+b"],
                "v1.34.3+b and v1.34.3+a differ only in build tags, between which Cluster API finds no path in kubernetesVersions",
            ),
            (
                "v1.24.0",
                "v1.27.0",
                vec!["v1.25.0", "v1.26.0", "v1.27.0"],
                "the workers would be at v1.24.0 while the control plane goes to v1.27.0, and kubelets of v1.24 may be 2 minors behind at most",
            ),
        ] {
            assert_eq!(find(present, wanted, &listed).unwrap_err(), message);
        }
        let present = version("v1.34.3");
        assert_eq!(
            Path::find(&present, &present, &version("v1.35.4"), Source::Extension),
            Err(NoPath::Extension)
        );
    }

    proptest! {
        #[test]
        fn a_path_never_skips_and_never_breaks_skew(from in 20u64..40, minors in 0u64..9, patch in 0u64..3, behind in 0u64..3) {
            let listed: Vec<KubeVersion> = (from..=from + minors).flat_map(|minor| (0..3).map(move |patch| version(&format!("v1.{minor}.{patch}")))).collect();
            let present = version(&format!("v1.{from}.0"));
            let workers = version(&format!("v1.{}.0", from - behind));
            let wanted = version(&format!("v1.{}.{patch}", from + minors));
            if let Ok(Some(path)) = Path::find(&present, &workers, &wanted, Source::ClassVersions(&listed)) {
                prop_assert_eq!(path.control_plane.last(), Some(&wanted));
                prop_assert_eq!(path.workers.last(), Some(&wanted));
                let mut control_plane = &present;
                let mut kubelet = &workers;
                for step in &path.control_plane {
                    prop_assert!(step > control_plane);
                    prop_assert!(step.minor().minor - control_plane.minor().minor <= 1);
                    prop_assert!(skew::kubelet(kubelet, step).is_ok(), "{} below {}", kubelet, step);
                    if path.workers.contains(step) { kubelet = step; }
                    control_plane = step;
                }
            }
        }
    }
}
