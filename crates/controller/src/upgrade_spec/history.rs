//! How many records of upgrades that are over are kept.

use std::{cmp::Reverse, sync::Arc};

use instar_api::{ClusterUpgrade, RECORD_ANNOTATION};
use kube::ResourceExt;

use super::{
    active::{MarkerIs, finished_marker, finished_phase},
    from_annotation::ordinal,
    rollback_name::is_of_failure,
};

/// Records that stay however old they are, beside the one that the Cluster's annotation made last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needed<'a> {
    /// The name of the last that was completed: it lists the templates that are kept for the way back.
    pub(crate) last: Option<&'a str>,
    /// The name of the one that ended last: the time for which templates are kept is counted from it.
    pub(crate) ended: Option<&'a str>,
    /// The name of the record of the version that a topology Cluster has: without it, it would be made again.
    pub(crate) of_version: Option<&'a str>,
}

/// The oldest record beyond the limit, where no upgrade is active. Records that the controller didn't make are
/// neither counted nor deleted.
pub(crate) fn beyond_limit<'k>(
    known: &'k [Arc<ClusterUpgrade>],
    needed: &Needed<'_>,
    limit: usize,
) -> Option<&'k Arc<ClusterUpgrade>> {
    // The number of the next one is counted from it, and its target is what the annotation asked for last.
    let latest = known
        .iter()
        .map(|upgrade| ordinal(upgrade))
        .max()
        .filter(|last| *last > 0);
    let needed = [needed.last, needed.ended, needed.of_version];
    let is_needed =
        |upgrade: &ClusterUpgrade| latest == Some(ordinal(upgrade)) || needed.contains(&Some(&*upgrade.name_any()));
    let mut finished: Vec<_> = known.iter().filter(|upgrade| may_go(upgrade)).collect();
    // The number says it also where `clusterctl move` has made all of them again.
    finished.sort_by_key(|upgrade| {
        let created = upgrade.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Reverse((ordinal(upgrade), created, upgrade.name_any()))
    });
    let mut beyond = finished.into_iter().skip(limit);
    beyond.rfind(|upgrade| !is_needed(upgrade))
}

/// Whether it is over, is known to be, and was made by the controller.
fn may_go(upgrade: &ClusterUpgrade) -> bool {
    let is_record = upgrade.annotations().contains_key(RECORD_ANNOTATION) || is_of_failure(upgrade);
    let is_own = ordinal(upgrade) > 0 || is_record;
    let is_finished = finished_phase(upgrade).is_some() && finished_marker(upgrade) == MarkerIs::Right;
    is_own && is_finished && !upgrade.spec.paused && upgrade.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use instar_api::{FINISHED_ANNOTATION, UpgradePhase};
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::upgrade_spec::tests::{of_annotation, reopened, upgrade};
    use UpgradePhase::{Completed, Refused, Workers};

    type Edit = fn(&mut ClusterUpgrade);

    fn edited(mut upgrade: Arc<ClusterUpgrade>, edit: impl FnOnce(&mut ClusterUpgrade)) -> Arc<ClusterUpgrade> {
        edit(Arc::make_mut(&mut upgrade));
        upgrade
    }

    fn annotate(upgrade: &mut ClusterUpgrade, name: &str, value: &str) {
        upgrade.annotations_mut().insert(name.to_owned(), value.to_owned());
    }

    /// Over, and marked so.
    fn over(upgrade: Arc<ClusterUpgrade>) -> Arc<ClusterUpgrade> {
        let phase = finished_phase(&upgrade).unwrap();
        edited(upgrade, |upgrade| {
            annotate(upgrade, FINISHED_ANNOTATION, phase.as_str());
        })
    }

    /// `r1` to `r9`, as the annotation made them, the newest first.
    fn history() -> Vec<Arc<ClusterUpgrade>> {
        let record = |number: u32| {
            let record = upgrade(&format!("r{number}"), i64::from(number), Completed);
            over(of_annotation(&record, number, "v1.35"))
        };
        (1..10).rev().map(record).collect()
    }

    /// All that go, one after another.
    fn gone(mut known: Vec<Arc<ClusterUpgrade>>, needed: &Needed<'_>, limit: usize) -> String {
        let mut gone = Vec::new();
        while let Some(next) = beyond_limit(&known, needed, limit).map(|next| next.name_any()) {
            known.retain(|upgrade| upgrade.name_any() != next);
            gone.push(next);
        }
        gone.join(" ")
    }

    #[test]
    fn the_oldest_beyond_the_limit_go() {
        for (limit, expected) in [
            (10, ""),
            (9, ""),
            (7, "r1 r2"),
            (1, "r1 r2 r3 r4 r5 r6 r7 r8"),
            // The next one is numbered by it, and it is what the annotation has asked for.
            (0, "r1 r2 r3 r4 r5 r6 r7 r8"),
        ] {
            assert_eq!(gone(history(), &Needed::default(), limit), expected, "{limit}");
        }
        assert_eq!(gone(Vec::new(), &Needed::default(), 0), "");
    }

    #[test]
    fn the_number_counts_where_all_were_made_again() {
        let mut moved = history();
        moved.reverse();
        let created = |at: i64| Some(Time(Timestamp::from_second(100 - at).unwrap()));
        let moved = (0..).zip(moved);
        let moved =
            moved.map(|(at, upgrade)| edited(upgrade, |upgrade| upgrade.metadata.creation_timestamp = created(at)));
        assert_eq!(gone(moved.collect(), &Needed::default(), 7), "r1 r2");
    }

    #[test]
    fn what_is_needed_or_not_ours_stays() {
        let needed = Needed {
            last: Some("r2"),
            ended: Some("r1"),
            of_version: Some("r3"),
        };
        assert_eq!(gone(history(), &needed, 4), "r4 r5");

        let table: [(&str, Edit); 6] = [
            ("a user made it", |upgrade| upgrade.metadata.labels = None),
            ("its mark is to come", |upgrade| upgrade.metadata.annotations = None),
            ("its mark is wrong", |upgrade| {
                annotate(upgrade, FINISHED_ANNOTATION, "Refused");
            }),
            ("it is paused", |upgrade| upgrade.spec.paused = true),
            ("it begins again", |upgrade| upgrade.metadata.generation = Some(2)),
            ("it is being deleted", |upgrade| {
                upgrade.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
            }),
        ];
        for (why, edit) in table {
            let known = history().into_iter().map(|upgrade| {
                if upgrade.name_any() == "r1" {
                    edited(upgrade, edit)
                } else {
                    upgrade
                }
            });
            let gone = gone(known.collect(), &Needed::default(), 7);
            assert_eq!(gone, "r2", "{why}: it counts no more");
        }
        let known = vec![
            reopened("a", 1, Completed),
            upgrade("b", 2, Workers),
            over(upgrade("c", 3, Refused)),
        ];
        assert_eq!(gone(known, &Needed::default(), 0), "");
    }

    #[test]
    fn a_topology_clusters_records_go_by_their_age() {
        let record = |seconds: i64| {
            let record = over(upgrade(&format!("t{seconds}"), seconds, Completed));
            edited(record, |record| annotate(record, RECORD_ANNOTATION, "true"))
        };
        let known: Vec<_> = [3, 1, 4, 2].map(record).into();
        let needed = Needed {
            of_version: Some("t1"),
            ..Needed::default()
        };
        assert_eq!(gone(known.clone(), &needed, 2), "t2");
        assert_eq!(gone(known, &needed, 0), "t2 t3 t4");
    }
}
