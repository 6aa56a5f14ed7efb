//! Which upgrade of a Cluster goes on, and which are over.

use std::{cmp::Reverse, sync::Arc};

use instar_api::{ClusterUpgrade, FinishedMarker, HealthReason, UpgradePhase};
use instar_planner::{PinnedPath, UpgradeId};
use kube::ResourceExt;

use super::{id_of, rollback_name::is_superseded};

/// The upgrades of one Cluster.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    /// The one that goes on.
    pub(crate) active: Option<Arc<ClusterUpgrade>>,
    /// The one that it takes back, once that has begun: a rollback that is refused changes nothing of it.
    pub(crate) taking_back: Option<Arc<ClusterUpgrade>>,
    /// Those that have been taken back, and don't say so yet, each with who took it back.
    pub(crate) taken_back: Vec<(Arc<ClusterUpgrade>, Arc<ClusterUpgrade>)>,
    /// The one that is half taken back, where who did that is gone.
    pub(crate) left_half: Option<Arc<ClusterUpgrade>>,
    /// The one that was taken back to the end and was edited since without asking for more, where who did that is gone.
    pub(crate) stays_taken_back: Option<Arc<ClusterUpgrade>>,
    /// Those that came while it does.
    pub(crate) refused: Vec<Arc<ClusterUpgrade>>,
    /// The last that was completed, where none goes on.
    pub(crate) last: Option<Arc<ClusterUpgrade>>,
}

/// What is to be done so that an upgrade that is over is known to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MarkerIs {
    /// Nothing.
    Right,
    /// The annotation is to say this.
    Put(UpgradePhase),
    /// The annotation is to go, to change or to stay, as [`reopened`](super::reopened) says: the spec was edited since.
    Take,
    /// The status was dropped: it is to say this again, so that an edit of the spec is seen.
    Restore(UpgradePhase),
}

impl Upgrades {
    /// One goes on: the one that is under way, or else whose name the control plane's last swap
    /// carries (`begun`), or else the oldest. What the Cluster's path takes back, it says itself: no status has to.
    pub(crate) fn sort(
        mut upgrades: Vec<Arc<ClusterUpgrade>>,
        begun: Option<&UpgradeId>,
        path: Option<&PinnedPath>,
    ) -> Self {
        upgrades.retain(|upgrade| upgrade.metadata.deletion_timestamp.is_none());
        let created = |upgrade: &Arc<ClusterUpgrade>| {
            let time = upgrade.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (time, upgrade.name_any())
        };
        let taken_back = path.and_then(|path| path.takes_back.as_ref());
        let by = taken_back.map(|taken_back| &taken_back.by);
        let is_rollback = |upgrade: &ClusterUpgrade| by == Some(&id_of(upgrade));
        let is_taken_back = |upgrade: &ClusterUpgrade| path.is_some_and(|path| is_taken_back(upgrade, path));
        let has_begun = |upgrade: &Arc<ClusterUpgrade>| begun == Some(&id_of(upgrade)) || is_rollback(upgrade);
        let has_ended = |upgrade: &&Arc<ClusterUpgrade>| finished_phase(upgrade) == Some(UpgradePhase::Completed);
        let done = upgrades.iter().find(|upgrade| is_rollback(upgrade)).filter(has_ended);
        let says_so = |upgrade: &ClusterUpgrade| finished_phase(upgrade) == Some(UpgradePhase::RolledBack);
        let is_left = |upgrade: &ClusterUpgrade| is_taken_back(upgrade) && !says_so(upgrade);
        // An edit leaves the mark, so that it says how far it had come.
        let says_all = |upgrade: &ClusterUpgrade| marked(upgrade) == Some(UpgradePhase::RolledBack);
        let (finished, mut open): (Vec<_>, Vec<_>) = upgrades
            .iter()
            .cloned()
            .partition(|upgrade| finished_phase(upgrade).is_some());
        open.retain(|upgrade| !is_taken_back(upgrade));
        open.sort_by_key(|upgrade| {
            (
                Reverse(is_under_way(upgrade)),
                Reverse(has_begun(upgrade)),
                created(upgrade),
            )
        });
        let is_there = |upgrade: &Arc<ClusterUpgrade>| is_rollback(upgrade);
        let is_gone = by.is_some() && !upgrades.iter().any(is_there);
        let active = turn(&open, &upgrades, is_rollback);
        let asked_back = active.as_ref().and_then(|active| active.spec.rollback_of.clone());
        open.retain(|upgrade| {
            let name = Some(upgrade.name_any());
            name != asked_back && name != active.as_ref().map(|active| active.name_any())
        });
        let taking_back = active.as_ref().filter(|active| is_rollback(active));
        let taking_back = taking_back.and_then(|by| {
            let mut taken_back = upgrades.iter().filter(|upgrade| is_taken_back(upgrade));
            // Where it says so already, what is seen of the rollback is of before its end.
            taken_back.find(|of| !says_so(of) || !names_rollback(of, by))
        });
        let last = finished
            .iter()
            .filter(|upgrade| match finished_phase(upgrade) {
                Some(UpgradePhase::Completed | UpgradePhase::Aborted | UpgradePhase::Failed) => !is_taken_back(upgrade),
                // What is left of the others is what took them back, or nothing.
                Some(
                    UpgradePhase::Refused
                    | UpgradePhase::RollingBack
                    | UpgradePhase::RolledBack
                    | UpgradePhase::Pending
                    | UpgradePhase::Held
                    | UpgradePhase::ControlPlane
                    | UpgradePhase::Workers
                    | UpgradePhase::Verifying,
                )
                | None => false,
            })
            .max_by_key(|upgrade| (has_begun(upgrade), created(upgrade)));
        Self {
            last: last.filter(|_| active.is_none()).cloned(),
            refused: open,
            taken_back: done
                .into_iter()
                .flat_map(|by| {
                    let of = upgrades.iter().filter(|of| is_taken_back(of) && !says_so(of));
                    of.map(|of| (Arc::clone(of), Arc::clone(by)))
                })
                .collect(),
            left_half: upgrades
                .iter()
                .find(|upgrade| is_gone && is_left(upgrade) && !says_all(upgrade))
                .filter(|_| active.is_none())
                .cloned(),
            stays_taken_back: upgrades
                .iter()
                .find(|upgrade| is_gone && is_left(upgrade) && says_all(upgrade))
                .cloned(),
            taking_back: taking_back.cloned(),
            active,
        }
    }
}

/// Whether the status of an upgrade that is taken back names this rollback.
fn names_rollback(upgrade: &ClusterUpgrade, by: &ClusterUpgrade) -> bool {
    let rows = upgrade.status.iter().flat_map(|status| &status.health);
    let (reason, by) = (HealthReason::RolledBack.as_str(), by.name_any());
    rows.into_iter().any(|row| row.reason == reason && row.name == by)
}

/// Whose turn it is of those that are open, which come in the order of their turns: a rollback's before that of the
/// upgrade that it takes back, and no other's while one is under way. One that was created for a failure and hasn't begun
/// has none when the upgrade goes to another target by then.
fn turn(
    open: &[Arc<ClusterUpgrade>],
    known: &[Arc<ClusterUpgrade>],
    takes_back: impl Fn(&ClusterUpgrade) -> bool,
) -> Option<Arc<ClusterUpgrade>> {
    let first = open.iter().find(|upgrade| !upgrade.spec.operation.is_rollback());
    let mut rollbacks = open.iter().filter(|upgrade| upgrade.spec.operation.is_rollback());
    let rollback = rollbacks.find(|rollback| {
        let of = rollback.spec.rollback_of.as_deref();
        let is_next = first.is_none_or(|first| of == Some(&*first.name_any()));
        // One that is only prepared stops nothing.
        let is_outdated = || known.iter().any(|of| is_superseded(rollback, of));
        takes_back(rollback) || (is_next && !rollback.spec.paused && !is_outdated())
    });
    rollback.or(first).cloned()
}

/// The upgrade that a rollback takes back, where it is there.
pub(crate) fn taken_back_by(rollback: &ClusterUpgrade, known: &[Arc<ClusterUpgrade>]) -> Option<Arc<ClusterUpgrade>> {
    let of = rollback.spec.rollback_of.as_deref()?;
    known.iter().find(|known| known.name_any() == of).cloned()
}

/// The phase at the end of an upgrade that is over.
pub(crate) fn finished_phase(upgrade: &ClusterUpgrade) -> Option<UpgradePhase> {
    upgrade.finished_phase()
}

/// Whether its annotation is as it should be.
pub(crate) fn finished_marker(upgrade: &ClusterUpgrade) -> MarkerIs {
    let knows = upgrade
        .status
        .as_ref()
        .is_some_and(|status| status.observed_generation > 0);
    match (finished_phase(upgrade), marked(upgrade)) {
        (Some(phase), Some(_)) if !knows => MarkerIs::Restore(phase),
        (Some(phase), marked) if marked != Some(phase) => MarkerIs::Put(phase),
        (None, Some(_)) => MarkerIs::Take,
        (Some(_) | None, _) => MarkerIs::Right,
    }
}

/// Whether an upgrade is or was taken back, and asks for nothing else since.
pub(super) fn is_taken_back(upgrade: &ClusterUpgrade, path: &PinnedPath) -> bool {
    path.has_taken_back(&id_of(upgrade), &upgrade.spec.target, upgrade.spec.retry)
}

/// The phase at the end of an upgrade that its annotation says to be over.
fn marked(upgrade: &ClusterUpgrade) -> Option<UpgradePhase> {
    FinishedMarker::of(upgrade)?.phase()
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
            | UpgradePhase::Aborted
            | UpgradePhase::Failed,
        )
        | None => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        report,
        upgrade_spec::{
            rollback_name,
            tests::{reopened, upgrade},
        },
    };
    use UpgradePhase::{Completed, ControlPlane, Held, Pending, Refused, Workers};
    use instar_api::{FINISHED_ANNOTATION, ON_FAILURE_ANNOTATION, Operation};
    use instar_planner::{RollbackScope, TakenBack};
    use jiff::Timestamp;

    type Names = (Option<String>, Vec<String>, Option<String>);

    fn names(upgrades: Vec<Arc<ClusterUpgrade>>, begun: Option<&str>) -> Names {
        let begun = begun.map(|name| UpgradeId {
            name: name.to_owned(),
            started: None,
        });
        let upgrades = Upgrades::sort(upgrades, begun.as_ref(), None);
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
    fn a_rollback_of_a_failure_waits_for_no_other_target() {
        let of = upgrade("up", 1, Workers);
        let mut rollback = upgrade(&rollback_name(&of), 2, Pending).as_ref().clone();
        rollback.spec.operation = Operation::RollbackWorkers;
        rollback.spec.rollback_of = Some("up".to_owned());
        let by_hand = Arc::new(rollback.clone());
        rollback
            .annotations_mut()
            .insert(ON_FAILURE_ANNOTATION.to_owned(), "md-0 is stalled".to_owned());
        let rollback = Arc::new(rollback);
        let mut edited = of.as_ref().clone();
        edited.spec.target = "v1.36".to_owned();
        let edited = Arc::new(edited);
        let active = |of: &Arc<ClusterUpgrade>, rollback: &Arc<ClusterUpgrade>| {
            let upgrades = Upgrades::sort(vec![Arc::clone(of), Arc::clone(rollback)], None, None);
            let refused: Vec<_> = upgrades.refused.iter().map(|refused| refused.name_any()).collect();
            (upgrades.active.unwrap().name_any(), refused)
        };
        let name = rollback.name_any();
        assert_eq!(active(&of, &rollback), (name.clone(), Vec::new()));
        assert_eq!(active(&edited, &rollback), ("up".to_owned(), vec![name.clone()]));
        assert_eq!(
            active(&edited, &by_hand),
            (name, Vec::new()),
            "its user knows what it has gone to"
        );
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
        let active = Upgrades::sort(all, Some(&begun), None).active;
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
        for phase in [Completed, Refused, UpgradePhase::Failed] {
            let edited = reopened("a", 1, phase);
            assert_eq!(finished_marker(&edited), MarkerIs::Right);
            assert_eq!(names(vec![edited], None).0, Some("a".to_owned()));
        }
    }

    #[test]
    fn what_is_over_stays_over_without_its_status() {
        for (text, phase) in [
            ("Completed", Completed),
            ("Refused", Refused),
            ("RolledBack", UpgradePhase::RolledBack),
            ("Failed", UpgradePhase::Failed),
            ("garbled", Refused),
        ] {
            let moved = moved("a", 1, Some(text));
            assert_eq!(finished_phase(&moved), Some(phase));
            assert_eq!(finished_marker(&moved), MarkerIs::Restore(phase));
            assert_eq!(names(vec![moved], Some("a")).0, None);
        }
        let open = moved("a", 1, None);
        assert_eq!((finished_phase(&open), finished_marker(&open)), (None, MarkerIs::Right));
    }

    pub(in crate::upgrade_spec) fn rollback(
        name: &str,
        seconds: i64,
        of: &str,
        phase: UpgradePhase,
    ) -> Arc<ClusterUpgrade> {
        let mut rollback = upgrade(name, seconds, phase).as_ref().clone();
        rollback.spec.operation = Operation::Rollback;
        rollback.spec.rollback_of = Some(of.to_owned());
        rollback.spec.target = String::new();
        Arc::new(rollback)
    }

    /// The Cluster's path once a rollback has begun.
    pub(in crate::upgrade_spec) fn way_back(by: &str, of: &str) -> PinnedPath {
        let id = |name: &str| UpgradeId {
            name: name.to_owned(),
            started: None,
        };
        PinnedPath {
            upgrade: id(by),
            target: String::new(),
            since: None,
            from: "v1.35.4".parse().unwrap(),
            releases: Vec::new(),
            addons: Vec::new(),
            takes_back: Some(TakenBack {
                reached: None,
                upgrade: id(of),
                target: "v1.35".to_owned(),
                retry: 0,
                by: id(by),
                scope: RollbackScope::All,
            }),
        }
    }

    fn name(upgrade: &Arc<ClusterUpgrade>) -> String {
        upgrade.name_any()
    }

    #[test]
    fn a_rollback_goes_before_what_it_takes_back_and_no_other() {
        let all = vec![upgrade("up", 1, Workers), rollback("back", 2, "up", Pending)];
        let seen = Upgrades::sort(all.clone(), None, None);
        assert_eq!(seen.active.as_ref().map(name).as_deref(), Some("back"));
        assert!(
            seen.refused.is_empty() && seen.taking_back.is_none(),
            "it may be refused yet"
        );
        let seen = Upgrades::sort(all, None, Some(&way_back("back", "up")));
        assert_eq!(seen.taking_back.as_ref().map(name).as_deref(), Some("up"));
        // Of another one, it comes second.
        let all = vec![upgrade("up", 1, Workers), rollback("back", 2, "earlier", Pending)];
        let seen = Upgrades::sort(all, None, None);
        assert_eq!(seen.active.as_ref().map(name).as_deref(), Some("up"));
        assert_eq!(seen.refused.iter().map(name).collect::<Vec<_>>(), ["back"]);
    }

    /// A cache may have the end of the upgrade before that of its rollback.
    #[test]
    fn what_says_that_it_was_taken_back_says_nothing_else_of_the_same_rollback() {
        let mut up = upgrade("up", 1, UpgradePhase::RolledBack).as_ref().clone();
        let done = report::TakenBack::Done { next_retry: 1 };
        up.status = Some(report::taken_back(&up, "back", done, Timestamp::UNIX_EPOCH));
        let up = Arc::new(up);
        let taking_back = |by: &str| {
            let all = vec![Arc::clone(&up), rollback(by, 2, "up", Workers)];
            let seen = Upgrades::sort(all, None, Some(&way_back(by, "up")));
            assert_eq!(seen.active.as_ref().map(name).as_deref(), Some(by));
            seen.taking_back.as_ref().map(name)
        };
        assert_eq!(taking_back("back"), None);
        assert_eq!(
            taking_back("further").as_deref(),
            Some("up"),
            "its workers alone were before"
        );
    }

    #[test]
    fn a_rollback_that_is_only_prepared_or_refused_stops_nothing() {
        let mut paused = rollback("back", 2, "up", Pending).as_ref().clone();
        paused.spec.paused = true;
        let all = vec![upgrade("up", 1, Workers), Arc::new(paused)];
        let seen = Upgrades::sort(all, None, None);
        assert_eq!(seen.active.as_ref().map(name).as_deref(), Some("up"));
        let all = vec![upgrade("up", 1, Workers), rollback("back", 2, "up", Refused)];
        let seen = Upgrades::sort(all, None, None);
        assert_eq!(seen.active.as_ref().map(name).as_deref(), Some("up"));
        assert_eq!((seen.taking_back, seen.taken_back), (None, Vec::new()));
    }

    #[test]
    fn no_other_begins_while_one_is_under_way_also_after_a_move() {
        let mut back = rollback("back", 2, "up", Workers).as_ref().clone();
        back.status = None;
        let all = vec![
            moved("up", 1, Some("RollingBack")),
            Arc::new(back),
            upgrade("other", 3, Pending),
        ];
        let seen = Upgrades::sort(all, None, Some(&way_back("back", "up")));
        assert_eq!(seen.active.as_ref().map(name).as_deref(), Some("back"));
        assert_eq!(seen.refused.iter().map(name).collect::<Vec<_>>(), ["other"]);
    }

    #[test]
    fn what_was_taken_back_never_has_its_turn_again() {
        // Paused, it can't be told; another upgrade has begun since.
        let mut paused = upgrade("up", 1, Workers).as_ref().clone();
        paused.spec.paused = true;
        let mut path = way_back("back", "up");
        path.upgrade.name = "next".to_owned();
        let all = vec![
            Arc::new(paused),
            rollback("back", 2, "up", Completed),
            upgrade("next", 3, Workers),
        ];
        let seen = Upgrades::sort(all, None, Some(&path));
        assert_eq!(seen.active.as_ref().map(name).as_deref(), Some("next"));
        assert_eq!(seen.refused, Vec::new());
    }

    #[test]
    fn one_that_was_left_half_way_is_told_so() {
        let path = way_back("back", "up");
        let all = vec![upgrade("up", 1, UpgradePhase::RollingBack)];
        let seen = Upgrades::sort(all, None, Some(&path));
        assert_eq!(seen.left_half.as_ref().map(name).as_deref(), Some("up"));
        // Another rollback of it goes on.
        let all = vec![
            upgrade("up", 1, UpgradePhase::RollingBack),
            rollback("again", 3, "up", Pending),
        ];
        let seen = Upgrades::sort(all, None, Some(&path));
        assert_eq!(seen.active.as_ref().map(name).as_deref(), Some("again"));
        assert_eq!(seen.left_half, None);
    }

    #[test]
    fn an_edit_of_what_was_taken_back_to_the_end_leaves_nothing_half_way() {
        let mut edited = reopened("up", 1, UpgradePhase::RolledBack).as_ref().clone();
        let mark = (FINISHED_ANNOTATION.to_owned(), "RolledBack".to_owned());
        edited.metadata.annotations = Some([mark].into());
        let path = way_back("back", "up");
        let seen = Upgrades::sort(vec![Arc::new(edited.clone())], None, Some(&path));
        assert_eq!((seen.left_half, seen.active), (None, None));
        assert_eq!(seen.stays_taken_back.as_ref().map(name).as_deref(), Some("up"));
        // It is told once.
        edited.status.as_mut().unwrap().observed_generation = 2;
        let seen = Upgrades::sort(vec![Arc::new(edited)], None, Some(&path));
        assert_eq!((seen.left_half, seen.stays_taken_back), (None, None));
    }

    #[test]
    fn what_was_taken_back_says_so_once_whatever_it_was_in() {
        let path = way_back("back", "up");
        for phase in [Pending, Held, Workers, Completed, UpgradePhase::RollingBack] {
            let all = vec![upgrade("up", 1, phase), rollback("back", 2, "up", Completed)];
            let seen = Upgrades::sort(all, None, Some(&path));
            let told: Vec<_> = seen.taken_back.iter().map(|(of, by)| (name(of), name(by))).collect();
            assert_eq!(told, [("up".to_owned(), "back".to_owned())], "{phase:?}");
            assert_eq!(seen.active, None, "{phase:?}");
            assert_eq!(seen.last.as_ref().map(name).as_deref(), Some("back"));
        }
        let all = vec![
            upgrade("up", 1, UpgradePhase::RolledBack),
            rollback("first", 2, "up", Completed),
            rollback("back", 3, "up", Completed),
        ];
        assert_eq!(Upgrades::sort(all, None, Some(&path)).taken_back, Vec::new());
        // Another target is another wish.
        let mut again = reopened("up", 1, UpgradePhase::RolledBack).as_ref().clone();
        again.spec.target = "v1.36".to_owned();
        let all = vec![Arc::new(again), rollback("back", 2, "up", Completed)];
        let seen = Upgrades::sort(all, None, Some(&path));
        assert_eq!(seen.active.as_ref().map(name).as_deref(), Some("up"));
        assert_eq!(seen.taken_back, Vec::new());
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
        assert_eq!(finished_marker(&completed), MarkerIs::Put(Completed));
        assert_eq!(marked(&completed, "Refused"), MarkerIs::Put(Completed));
        assert_eq!(marked(&completed, "Completed"), MarkerIs::Right);
        assert_eq!(marked(&reopened("a", 1, Completed), "Completed"), MarkerIs::Take);
        assert_eq!(marked(&upgrade("a", 1, Workers), "Refused"), MarkerIs::Take);
        assert_eq!(finished_marker(&upgrade("a", 1, Workers)), MarkerIs::Right);
    }
}
