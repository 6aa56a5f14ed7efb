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
    /// The one that it takes back, once that has begun: a rollback that is refused changes nothing of it.
    pub(crate) taking_back: Option<Arc<ClusterUpgrade>>,
    /// Those that have been taken back, and don't say so yet, each with who took it back.
    pub(crate) taken_back: Vec<(Arc<ClusterUpgrade>, Arc<ClusterUpgrade>)>,
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
        let (finished, mut open): (Vec<_>, Vec<_>) = upgrades
            .iter()
            .cloned()
            .partition(|upgrade| finished_phase(upgrade).is_some());
        open.sort_by_key(|upgrade| {
            (
                Reverse(is_under_way(upgrade)),
                Reverse(has_begun(upgrade)),
                created(upgrade),
            )
        });
        let active = turn(&open, has_begun);
        let taking_back = active.as_ref().and_then(|active| taken_back_by(active, &upgrades));
        open.retain(|upgrade| !is_one_of(upgrade, active.iter().chain(&taking_back)));
        // What is left of the others is what took them back, or nothing.
        let ended_well = finished.iter().filter(|upgrade| {
            matches!(
                finished_phase(upgrade),
                Some(UpgradePhase::Completed | UpgradePhase::Aborted)
            )
        });
        let last = ended_well
            .clone()
            .max_by_key(|upgrade| (has_begun(upgrade), created(upgrade)));
        let rollbacks = ended_well
            .clone()
            .filter(|upgrade| upgrade.spec.operation.is_rollback());
        let taken_back = rollbacks.filter_map(|by| {
            let of = taken_back_by(by, &upgrades)?;
            (finished_phase(&of) == Some(UpgradePhase::RollingBack)).then(|| (of, Arc::clone(by)))
        });
        Self {
            last: last.filter(|_| active.is_none()).cloned(),
            refused: open,
            taken_back: taken_back.collect(),
            taking_back: taking_back.filter(|_| active.as_ref().is_some_and(is_under_way)),
            active,
        }
    }
}

/// Whose turn it is of those that are open, which come in the order of their turns: a rollback's before that of the
/// upgrade that it takes back, and no other's while one is under way.
fn turn(open: &[Arc<ClusterUpgrade>], has_begun: impl Fn(&Arc<ClusterUpgrade>) -> bool) -> Option<Arc<ClusterUpgrade>> {
    let first = open.iter().find(|upgrade| !upgrade.spec.operation.is_rollback());
    let mut rollbacks = open.iter().filter(|upgrade| upgrade.spec.operation.is_rollback());
    let rollback = rollbacks.find(|rollback| {
        let of = rollback.spec.rollback_of.as_deref();
        first.is_none_or(|first| of == Some(&*first.name_any())) || is_under_way(rollback) || has_begun(rollback)
    });
    rollback.or(first).cloned()
}

/// The upgrade that a rollback takes back, where it is there.
pub(crate) fn taken_back_by(rollback: &ClusterUpgrade, known: &[Arc<ClusterUpgrade>]) -> Option<Arc<ClusterUpgrade>> {
    let of = rollback.spec.rollback_of.as_deref()?;
    known.iter().find(|known| known.name_any() == of).cloned()
}

fn is_one_of<'u>(upgrade: &ClusterUpgrade, mut others: impl Iterator<Item = &'u Arc<ClusterUpgrade>>) -> bool {
    others.any(|other| other.name_any() == upgrade.name_any())
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
    Some(UpgradePhase::of_finished(text))
}

fn is_under_way(upgrade: &Arc<ClusterUpgrade>) -> bool {
    match upgrade.status.as_ref().map(|status| status.phase) {
        Some(UpgradePhase::Held | UpgradePhase::ControlPlane | UpgradePhase::Workers | UpgradePhase::Verifying) => true,
        Some(
            UpgradePhase::Pending
            | UpgradePhase::Completed
            | UpgradePhase::Refused
            | UpgradePhase::RollingBack
            | UpgradePhase::RolledBack
            | UpgradePhase::Aborted,
        )
        | None => false,
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
