//! Which upgrade of a Cluster goes on, and which are over.

use std::{cmp::Reverse, sync::Arc};

use instar_api::{ClusterUpgrade, FINISHED_ANNOTATION, UpgradePhase};
use instar_planner::UpgradeId;
use kube::ResourceExt;

use super::id_of;

/// The upgrades of one Cluster.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    /// The one that goes on.
    pub(crate) active: Option<Arc<ClusterUpgrade>>,
    /// Those that came while it does.
    pub(crate) refused: Vec<Arc<ClusterUpgrade>>,
    /// The last that was completed, where none goes on.
    pub(crate) last: Option<Arc<ClusterUpgrade>>,
}

/// What is to be done so that an upgrade that is over is known to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FinishedMarker {
    /// Nothing.
    Right,
    /// The annotation is to say this.
    Put(UpgradePhase),
    /// The annotation is to go: the upgrade begins again.
    Take,
    /// The status was dropped: it is to say this again, so that an edit of the spec is seen.
    Restore(UpgradePhase),
}

impl Upgrades {
    /// One goes on: the one that is under way, or else whose name the control plane's last swap
    /// carries (`begun`), or else the oldest.
    pub(crate) fn sort(mut upgrades: Vec<Arc<ClusterUpgrade>>, begun: Option<&UpgradeId>) -> Self {
        upgrades.retain(|upgrade| upgrade.metadata.deletion_timestamp.is_none());
        let created = |upgrade: &Arc<ClusterUpgrade>| {
            let time = upgrade.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (time, upgrade.name_any())
        };
        let has_begun = |upgrade: &Arc<ClusterUpgrade>| begun == Some(&id_of(upgrade));
        let (completed, mut open): (Vec<_>, Vec<_>) = upgrades
            .into_iter()
            .filter(|upgrade| finished_phase(upgrade) != Some(UpgradePhase::Refused))
            .partition(|upgrade| finished_phase(upgrade).is_some());
        open.sort_by_key(|upgrade| {
            (
                Reverse(is_under_way(upgrade)),
                Reverse(has_begun(upgrade)),
                created(upgrade),
            )
        });
        let mut open = open.into_iter();
        let active = open.next();
        let last = completed
            .into_iter()
            .max_by_key(|upgrade| (has_begun(upgrade), created(upgrade)));
        Self {
            last: last.filter(|_| active.is_none()),
            refused: open.collect(),
            active,
        }
    }
}

/// The phase at the end of an upgrade that is over. The status knows, and the annotation where there
/// is none.
pub(crate) fn finished_phase(upgrade: &ClusterUpgrade) -> Option<UpgradePhase> {
    let generation = upgrade.metadata.generation.unwrap_or_default();
    match upgrade.status.as_ref().filter(|status| status.observed_generation > 0) {
        Some(status) => status.is_finished(generation).then_some(status.phase),
        None => marked(upgrade),
    }
}

/// Whether its annotation is as it should be.
pub(crate) fn finished_marker(upgrade: &ClusterUpgrade) -> FinishedMarker {
    let knows = upgrade
        .status
        .as_ref()
        .is_some_and(|status| status.observed_generation > 0);
    match (finished_phase(upgrade), marked(upgrade)) {
        (Some(phase), Some(_)) if !knows => FinishedMarker::Restore(phase),
        (Some(phase), marked) if marked != Some(phase) => FinishedMarker::Put(phase),
        (None, Some(_)) => FinishedMarker::Take,
        (Some(_) | None, _) => FinishedMarker::Right,
    }
}

/// What the annotation says. A garbled one was put there too.
fn marked(upgrade: &ClusterUpgrade) -> Option<UpgradePhase> {
    let text = upgrade.annotations().get(FINISHED_ANNOTATION)?;
    Some(if text == UpgradePhase::Completed.as_str() {
        UpgradePhase::Completed
    } else {
        UpgradePhase::Refused
    })
}

fn is_under_way(upgrade: &ClusterUpgrade) -> bool {
    match upgrade.status.as_ref().map(|status| status.phase) {
        Some(UpgradePhase::Held | UpgradePhase::ControlPlane | UpgradePhase::Workers | UpgradePhase::Verifying) => true,
        Some(UpgradePhase::Pending | UpgradePhase::Completed | UpgradePhase::Refused) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade_spec::tests::{reopened, upgrade};
    use UpgradePhase::{Completed, ControlPlane, Held, Pending, Refused, Workers};

    type Names = (Option<String>, Vec<String>, Option<String>);

    fn names(upgrades: Vec<Arc<ClusterUpgrade>>, begun: Option<&str>) -> Names {
        let begun = begun.map(|name| UpgradeId {
            name: name.to_owned(),
            started: None,
        });
        let upgrades = Upgrades::sort(upgrades, begun.as_ref());
        let name = |upgrade: &Arc<ClusterUpgrade>| upgrade.name_any();
        (
            upgrades.active.as_ref().map(name),
            upgrades.refused.iter().map(name).collect(),
            upgrades.last.as_ref().map(name),
        )
    }

    fn moved(name: &str, seconds: i64, over: Option<&str>) -> Arc<ClusterUpgrade> {
        let mut moved = upgrade(name, seconds, Pending).as_ref().clone();
        moved.status = None;
        let marks = over.map(|phase| (FINISHED_ANNOTATION.to_owned(), phase.to_owned()));
        moved.metadata.annotations = Some(marks.into_iter().collect());
        Arc::new(moved)
    }

    #[test]
    fn the_oldest_that_is_not_over_goes_on() {
        let all = vec![
            upgrade("d", 4, Pending),
            upgrade("a", 1, Completed),
            upgrade("c", 3, Pending),
            upgrade("b", 2, Pending),
        ];
        let expected = (Some("b".to_owned()), vec!["c".to_owned(), "d".to_owned()], None);
        assert_eq!(names(all, None), expected);
        assert_eq!(names(Vec::new(), None), (None, Vec::new(), None));
    }

    #[test]
    fn what_is_under_way_is_not_overtaken() {
        for phase in [Held, ControlPlane, Workers] {
            let all = vec![reopened("a", 1, Completed), upgrade("b", 2, phase)];
            assert_eq!(
                names(all, Some("a")),
                (Some("b".to_owned()), vec!["a".to_owned()], None)
            );
        }
        // Without a status, the control plane knows who has begun.
        let all = vec![moved("a", 1, None), moved("b", 2, None)];
        assert_eq!(names(all.clone(), Some("b")).0, Some("b".to_owned()));
        assert_eq!(names(all, None).0, Some("a".to_owned()));
    }

    #[test]
    fn one_that_was_made_again_under_its_name_has_not_begun() {
        let all = vec![moved("a", 1, None), moved("b", 2, None)];
        let begun = UpgradeId {
            name: "b".to_owned(),
            started: Some(jiff::Timestamp::UNIX_EPOCH),
        };
        let active = Upgrades::sort(all, Some(&begun)).active;
        assert_eq!(active.map(|active| active.name_any()).as_deref(), Some("a"));
    }

    #[test]
    fn the_last_that_was_completed_keeps_the_templates() {
        let all = vec![
            upgrade("a", 1, Completed),
            upgrade("b", 2, Completed),
            upgrade("c", 3, Refused),
        ];
        assert_eq!(names(all.clone(), None), (None, Vec::new(), Some("b".to_owned())));
        assert_eq!(names(all, Some("a")), (None, Vec::new(), Some("a".to_owned())));
    }

    #[test]
    fn an_edit_of_the_spec_begins_again() {
        for phase in [Completed, Refused] {
            let edited = reopened("a", 1, phase);
            assert_eq!(finished_marker(&edited), FinishedMarker::Right);
            assert_eq!(names(vec![edited], None).0, Some("a".to_owned()));
        }
    }

    #[test]
    fn what_is_over_stays_over_without_its_status() {
        for (text, phase) in [("Completed", Completed), ("Refused", Refused), ("garbled", Refused)] {
            let moved = moved("a", 1, Some(text));
            assert_eq!(finished_phase(&moved), Some(phase));
            assert_eq!(finished_marker(&moved), FinishedMarker::Restore(phase));
            assert_eq!(names(vec![moved], Some("a")).0, None);
        }
        let open = moved("a", 1, None);
        assert_eq!(
            (finished_phase(&open), finished_marker(&open)),
            (None, FinishedMarker::Right)
        );
    }

    #[test]
    fn the_mark_follows_the_status() {
        let marked = |upgrade: &Arc<ClusterUpgrade>, text: &str| {
            let mut marked = upgrade.as_ref().clone();
            let annotation = (FINISHED_ANNOTATION.to_owned(), text.to_owned());
            marked.metadata.annotations = Some([annotation].into());
            finished_marker(&marked)
        };
        let completed = upgrade("a", 1, Completed);
        assert_eq!(finished_marker(&completed), FinishedMarker::Put(Completed));
        assert_eq!(marked(&completed, "Refused"), FinishedMarker::Put(Completed));
        assert_eq!(marked(&completed, "Completed"), FinishedMarker::Right);
        assert_eq!(marked(&reopened("a", 1, Completed), "Completed"), FinishedMarker::Take);
        assert_eq!(marked(&upgrade("a", 1, Workers), "Refused"), FinishedMarker::Take);
        assert_eq!(finished_marker(&upgrade("a", 1, Workers)), FinishedMarker::Right);
    }
}
