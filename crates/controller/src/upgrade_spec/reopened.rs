//! An upgrade that was over, and whose spec was edited since.

use std::{sync::Arc, time::Duration};

use instar_api::{
    ClusterUpgrade, FINISHED_ANNOTATION, FinishedMarker, GATE_HISTORY_ANNOTATION, Operation, STARTED_ANNOTATION,
    UpgradeOutcome, UpgradePhase,
};
use instar_capi::Cluster;
use instar_planner::{NoRestart, PinnedPath, TakenBack};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    active::{MarkerIs, finished_marker, finished_phase, is_taken_back},
    id_of, started,
};

/// What an upgrade is that was over, once its spec is edited.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reopened {
    /// Over as before: it was taken back, and nothing else is asked for.
    Spent,
    /// The one that it was: what it has changed is its own, so that a rollback takes all of it back.
    GoesOn,
    /// The one that it was until the path to its new target is written into the Cluster, and another one from then on: where
    /// that target is refused or held, what was done before can still be taken back.
    AnewWithPath,
    /// Another one by the same name: its path is written into the Cluster, and the record is to get the time that stands
    /// there.
    Begun(Timestamp),
    /// Another one by the same name: what the one before has changed was done, or was taken back.
    Anew,
}

/// What is to be written of an upgrade so that it is known whether it is over, and which one it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MarkWrite {
    Nothing,
    /// The annotation is to say this.
    Put(FinishedMarker),
    /// The annotation is to go.
    Remove,
    /// The status is to say this again.
    Restore(UpgradePhase),
    /// The status is to say again that the upgrade was refused, and why.
    RestoreRefusal(NoRestart),
    /// It gets another time, and nothing of what it was before.
    BeginAnew,
    /// It gets the time that its path has, and keeps of its gates what has begun for its target.
    BeginAs(Timestamp),
}

/// What an upgrade is that was over, once its spec is edited: by the path of a classic Cluster, where it has one.
/// `known` are all of its Cluster.
pub(crate) fn reopened(upgrade: &ClusterUpgrade, known: &[Arc<ClusterUpgrade>], path: Option<&PinnedPath>) -> Reopened {
    if let Some(started) = path.and_then(|path| begun_by_path(upgrade, path)) {
        return Reopened::Begun(started);
    }
    // What a rollback is to undo and what a restart replaces hangs on when they began, and an edit asks for neither again.
    let may_begin_anew = match upgrade.spec.operation {
        Operation::Upgrade | Operation::Abort | Operation::Refresh => true,
        Operation::Rollback | Operation::RollbackWorkers | Operation::Restart => false,
    };
    let Some(path) = path.filter(|_| may_begin_anew) else {
        return Reopened::GoesOn;
    };
    let outcome = FinishedMarker::of(upgrade).map_or(UpgradeOutcome::Neither, FinishedMarker::outcome);
    let was_completed = outcome == UpgradeOutcome::Completed;
    let was_taken_back = outcome == UpgradeOutcome::TakenBack;
    let has_ended = was_completed || was_taken_back;
    if is_taken_back(upgrade, path) {
        return if has_ended { Reopened::Spent } else { Reopened::GoesOn };
    }
    if let Some(taken_back) = asked_beyond(upgrade, path) {
        // While it is taken back, or is left half way, a rollback needs what it was. The mark may be gone or behind, so
        // that the rollback's own end decides.
        let is_over = was_taken_back || has_ended_by(taken_back, known);
        return if is_over { Reopened::Anew } else { Reopened::GoesOn };
    }
    let is_own = path.upgrade == id_of(upgrade);
    let is_same = is_own && path.target == upgrade.spec.target;
    if !has_ended || is_same {
        Reopened::GoesOn
    } else if was_completed && is_own {
        Reopened::AnewWithPath
    } else {
        Reopened::Anew
    }
}

/// When the path was written that made another one of an upgrade that was completed. One that was created again under the
/// same name is younger than the path.
fn begun_by_path(upgrade: &ClusterUpgrade, path: &PinnedPath) -> Option<Timestamp> {
    let is_prepared = FinishedMarker::of(upgrade) == Some(FinishedMarker::CompletedBefore);
    let begun = path.upgrade.started.filter(|_| is_prepared)?;
    let before = started(upgrade)?;
    (path.upgrade.name == upgrade.name_any() && begun > before).then_some(begun)
}

/// The same by the path alone.
fn mark_write_by_path(upgrade: &ClusterUpgrade, known: &[Arc<ClusterUpgrade>], path: Option<&PinnedPath>) -> MarkWrite {
    let reopened = || reopened(upgrade, known, path);
    if let Reopened::Begun(started) = reopened() {
        return MarkWrite::BeginAs(started);
    }
    match finished_marker(upgrade) {
        MarkerIs::Right if finished_phase(upgrade).is_some() => MarkWrite::Nothing,
        MarkerIs::Right => match reopened() {
            Reopened::Anew => MarkWrite::BeginAnew,
            Reopened::Begun(started) => MarkWrite::BeginAs(started),
            Reopened::GoesOn if FinishedMarker::of(upgrade).is_some() => MarkWrite::Remove,
            Reopened::GoesOn | Reopened::Spent | Reopened::AnewWithPath => MarkWrite::Nothing,
        },
        MarkerIs::Put(phase) => {
            let of_completed = of_completed(phase).filter(|_| reopened() == Reopened::AnewWithPath);
            MarkWrite::Put(of_completed.unwrap_or(FinishedMarker::Over(phase)))
        }
        MarkerIs::Take => match reopened() {
            Reopened::Spent => MarkWrite::Nothing,
            Reopened::GoesOn => MarkWrite::Remove,
            Reopened::AnewWithPath => MarkWrite::Put(FinishedMarker::CompletedBefore),
            Reopened::Anew => MarkWrite::BeginAnew,
            Reopened::Begun(started) => MarkWrite::BeginAs(started),
        },
        // What was asked for beyond what was taken back came while nothing was written, and before the status was dropped.
        MarkerIs::Restore(phase) if path.and_then(|path| asked_beyond(upgrade, path)).is_none() => {
            MarkWrite::Restore(phase)
        }
        MarkerIs::Restore(phase) => match reopened() {
            Reopened::Anew => MarkWrite::BeginAnew,
            Reopened::Begun(started) => MarkWrite::BeginAs(started),
            Reopened::GoesOn => MarkWrite::Remove,
            Reopened::Spent | Reopened::AnewWithPath => MarkWrite::Restore(phase),
        },
    }
}

/// What says of an upgrade that had reached its target how it ended before anything was changed for the next one, so that
/// what was reached can still be taken back.
const fn of_completed(phase: UpgradePhase) -> Option<FinishedMarker> {
    match phase {
        UpgradePhase::Refused => Some(FinishedMarker::RefusedAfterCompleted),
        UpgradePhase::Failed => Some(FinishedMarker::FailedAfterCompleted),
        UpgradePhase::Aborted => Some(FinishedMarker::AbortedAfterCompleted),
        UpgradePhase::Completed
        | UpgradePhase::RollingBack
        | UpgradePhase::RolledBack
        | UpgradePhase::Pending
        | UpgradePhase::Held
        | UpgradePhase::ControlPlane
        | UpgradePhase::Workers
        | UpgradePhase::Verifying => None,
    }
}

/// What is to be written of an upgrade whose Cluster isn't there or can't be decoded: nothing that its path decides.
pub(crate) fn mark_write_without_cluster(upgrade: &ClusterUpgrade) -> MarkWrite {
    match finished_marker(upgrade) {
        MarkerIs::Right
        | MarkerIs::Take
        | MarkerIs::Put(UpgradePhase::Refused | UpgradePhase::Failed | UpgradePhase::Aborted)
        | MarkerIs::Restore(UpgradePhase::RollingBack | UpgradePhase::RolledBack) => MarkWrite::Nothing,
        MarkerIs::Put(phase) => MarkWrite::Put(FinishedMarker::Over(phase)),
        MarkerIs::Restore(phase) => MarkWrite::Restore(phase),
    }
}

/// An upgrade as it will be once it has begun anew.
pub(crate) fn begun_anew(upgrade: &ClusterUpgrade, now: Timestamp) -> ClusterUpgrade {
    let mut begun = upgrade.clone();
    let annotations = begun.annotations_mut();
    annotations.remove(FINISHED_ANNOTATION);
    annotations.remove(GATE_HISTORY_ANNOTATION);
    annotations.insert(STARTED_ANNOTATION.to_owned(), now.to_string());
    begun
}

/// The same with its path, which is written with this time: what its gates have begun for the new target is its own, and
/// stands beside what was set for the one before until the record says that it has begun. A clock that has gone back makes
/// it no older than the one before.
pub(crate) fn begun_with_path(upgrade: &ClusterUpgrade, now: Timestamp) -> ClusterUpgrade {
    let after = started(upgrade).and_then(|before| before.checked_add(Duration::from_millis(1)).ok());
    let mut begun = upgrade.clone();
    let annotations = begun.annotations_mut();
    let started = after.map_or(now, |after| after.max(now));
    annotations.insert(STARTED_ANNOTATION.to_owned(), started.to_string());
    begun
}

/// What is to be written of an upgrade of a Cluster that was read. A restart that was refused since its Cluster was created
/// after it was asked for begins anew only where its number was raised since: what its machines were made for isn't known
/// any more, so that no other edit makes it go on.
pub(crate) fn mark_write(
    upgrade: &ClusterUpgrade,
    cluster: &Cluster,
    known: &[Arc<ClusterUpgrade>],
    path: Option<&PinnedPath>,
) -> MarkWrite {
    let write = mark_write_by_path(upgrade, known, path);
    let Some(moved) = moved_restart(upgrade, cluster) else {
        return write;
    };
    let marker = FinishedMarker::of(upgrade);
    let refused_now = FinishedMarker::RefusedAfterMove {
        retry: upgrade.spec.retry,
    };
    match (marker, write) {
        (Some(FinishedMarker::RefusedAfterMove { retry }), _) if upgrade.spec.retry > retry => MarkWrite::BeginAnew,
        (_, MarkWrite::Put(FinishedMarker::Over(UpgradePhase::Refused)))
        | (Some(FinishedMarker::Over(UpgradePhase::Refused)), MarkWrite::Nothing) => MarkWrite::Put(refused_now),
        (_, MarkWrite::Restore(UpgradePhase::Refused)) => MarkWrite::RestoreRefusal(moved),
        (_, write) => write,
    }
}

/// Why a restart of a Cluster that was created after it was asked for is refused.
fn moved_restart(upgrade: &ClusterUpgrade, cluster: &Cluster) -> Option<NoRestart> {
    let created = cluster.metadata.creation_timestamp.as_ref().map(|time| time.0)?;
    let asked = started(upgrade).filter(|asked| created > *asked)?;
    (upgrade.spec.operation == Operation::Restart).then(|| NoRestart::Moved {
        namespace: upgrade.namespace().unwrap_or_default(),
        cluster: cluster.name_any(),
        created,
        asked,
        upgrade: upgrade.name_any(),
        retry: upgrade.spec.retry.saturating_add(1),
    })
}

/// What was taken back of this very upgrade, where it asks for more than that and hasn't begun with it.
fn asked_beyond<'p>(upgrade: &ClusterUpgrade, path: &'p PinnedPath) -> Option<&'p TakenBack> {
    let id = id_of(upgrade);
    let taken_back = path.takes_back.as_ref().filter(|taken_back| taken_back.upgrade == id);
    taken_back.filter(|_| path.upgrade != id && !is_taken_back(upgrade, path))
}

fn has_ended_by(taken_back: &TakenBack, known: &[Arc<ClusterUpgrade>]) -> bool {
    let by = known.iter().find(|known| id_of(known) == taken_back.by);
    by.is_some_and(|by| finished_phase(by) == Some(UpgradePhase::Completed))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::upgrade_spec::{
        active::{
            Upgrades,
            tests::{rollback, way_back},
        },
        tests,
    };
    use UpgradePhase::{Completed, Held, Pending, Refused, RolledBack, RollingBack, Workers};

    fn put(upgrade: &mut ClusterUpgrade, mark: &str) {
        let annotation = (FINISHED_ANNOTATION.to_owned(), mark.to_owned());
        upgrade.metadata.annotations = Some([annotation].into());
    }

    /// Its spec was edited after it had ended.
    fn edited_after(phase: UpgradePhase, edit: impl FnOnce(&mut ClusterUpgrade)) -> ClusterUpgrade {
        let mut edited = tests::reopened("up", 1, phase).as_ref().clone();
        put(&mut edited, phase.as_str());
        edit(&mut edited);
        edited
    }

    /// The path of an upgrade to v1.35 that takes nothing back.
    fn own_path() -> PinnedPath {
        PinnedPath {
            target: "v1.35".to_owned(),
            takes_back: None,
            ..way_back("up", "earlier")
        }
    }

    #[test]
    fn another_target_after_the_end_is_another_upgrade() {
        let mut path = own_path();
        let other = |edited: &mut ClusterUpgrade| edited.spec.target = "v1.36".to_owned();
        let reopened = |phase, edit: fn(&mut ClusterUpgrade), path: Option<&PinnedPath>| {
            super::reopened(&edited_after(phase, edit), &[], path)
        };
        assert_eq!(reopened(Completed, other, Some(&path)), Reopened::AnewWithPath);
        let order = |edited: &mut ClusterUpgrade| edited.spec.order = vec!["md-0".to_owned()];
        assert_eq!(
            reopened(Completed, order, Some(&path)),
            Reopened::GoesOn,
            "a rollback finds what it changed"
        );
        for phase in [Refused, UpgradePhase::Aborted, UpgradePhase::Failed, RollingBack] {
            assert_eq!(
                reopened(phase, other, Some(&path)),
                Reopened::GoesOn,
                "{phase:?} isn't done"
            );
        }
        assert_eq!(
            reopened(Completed, other, None),
            Reopened::GoesOn,
            "a topology Cluster has no path"
        );
        // Another one has begun since.
        path.upgrade.name = "next".to_owned();
        assert_eq!(reopened(Completed, order, Some(&path)), Reopened::Anew);
        let restart = |edited: &mut ClusterUpgrade| edited.spec.operation = Operation::Restart;
        assert_eq!(
            reopened(Completed, restart, Some(&path)),
            Reopened::GoesOn,
            "no machine is replaced again for an edit"
        );
    }

    #[test]
    fn a_refused_target_leaves_what_was_completed_its_way_back() {
        let path = own_path();
        let write = |upgrade: &ClusterUpgrade| mark_write_by_path(upgrade, &[], Some(&path));
        let mut up = edited_after(Completed, |up| up.spec.target = "v1.34".to_owned());
        assert_eq!(write(&up), MarkWrite::Put(FinishedMarker::CompletedBefore));
        put(&mut up, &FinishedMarker::CompletedBefore.to_string());
        assert_eq!(write(&up), MarkWrite::Nothing);
        // It is refused.
        let status = up.status.as_mut().unwrap();
        (status.phase, status.observed_generation) = (Refused, 2);
        assert_eq!(write(&up), MarkWrite::Put(FinishedMarker::RefusedAfterCompleted));
        put(&mut up, &FinishedMarker::RefusedAfterCompleted.to_string());
        assert_eq!(write(&up), MarkWrite::Nothing);
        let moved = ClusterUpgrade {
            status: None,
            ..up.clone()
        };
        assert_eq!(write(&moved), MarkWrite::Restore(Refused));
        // Another target is another upgrade still, and the one that it was none.
        up.metadata.generation = Some(3);
        up.spec.target = "v1.36".to_owned();
        assert_eq!(write(&up), MarkWrite::Put(FinishedMarker::CompletedBefore));
        up.spec.target = "v1.35".to_owned();
        assert_eq!(write(&up), MarkWrite::Remove);
        put(&mut up, &FinishedMarker::CompletedBefore.to_string());
        assert_eq!(write(&up), MarkWrite::Remove);
        // What waits for its first write is open wherever it is moved to.
        up.spec.target = "v1.36".to_owned();
        up.status = None;
        assert_eq!((finished_phase(&up), write(&up)), (None, MarkWrite::Nothing));
        assert_eq!(reopened(&up, &[], Some(&path)), Reopened::AnewWithPath);
    }

    /// Its path is one write, and its record follows: killed between the two, it is the one of its path.
    #[test]
    fn the_write_of_the_path_makes_another_one_of_a_completed_upgrade() {
        let mut path = own_path();
        path.upgrade.started = Some(Timestamp::UNIX_EPOCH);
        let mut up = edited_after(Completed, |up| up.spec.target = "v1.36".to_owned());
        put(&mut up, &FinishedMarker::CompletedBefore.to_string());
        let gates = r#"{"target":"v1.36","gates":[{"point":"BeforeControlPlane","step":"v1.36.2","name":"cni","begun":"2026-11-20T12:00:00Z"}]}"#;
        let before = [
            (STARTED_ANNOTATION.to_owned(), Timestamp::UNIX_EPOCH.to_string()),
            (GATE_HISTORY_ANNOTATION.to_owned(), gates.to_owned()),
        ];
        up.annotations_mut().extend(before);
        let write = |upgrade: &ClusterUpgrade, path: &PinnedPath| mark_write_by_path(upgrade, &[], Some(path));

        // Before it, a gate may close for as long as it wants: the record is the one that was completed.
        assert_eq!(reopened(&up, &[], Some(&path)), Reopened::AnewWithPath);
        assert_eq!(write(&up, &path), MarkWrite::Nothing);
        for now in ["1960-01-01T00:00:00Z", "2026-11-20T12:00:00Z"] {
            let planned = begun_with_path(&up, now.parse().unwrap());
            assert_eq!(planned.annotations()[GATE_HISTORY_ANNOTATION], gates);
            let begun = started(&planned).unwrap();
            assert!(begun > Timestamp::UNIX_EPOCH, "{now}: a clock that has gone back");
            // The path is written, and the process is killed.
            let written = PinnedPath {
                upgrade: id_of(&planned),
                target: "v1.36".to_owned(),
                ..path.clone()
            };
            assert_eq!(reopened(&up, &[], Some(&written)), Reopened::Begun(begun), "{now}");
            assert_eq!(write(&up, &written), MarkWrite::BeginAs(begun), "{now}");
            for target in ["v1.35", "v1.37"] {
                let mut edited = up.clone();
                edited.spec.target = target.to_owned();
                assert_eq!(write(&edited, &written), MarkWrite::BeginAs(begun), "{now}: {target}");
            }
            let moved = ClusterUpgrade {
                status: None,
                ..up.clone()
            };
            assert_eq!(
                write(&moved, &written),
                MarkWrite::BeginAs(begun),
                "{now}: it was moved"
            );
            // The record follows.
            let mut followed = planned.clone();
            followed.annotations_mut().remove(FINISHED_ANNOTATION);
            assert_eq!(write(&followed, &written), MarkWrite::Nothing, "{now}");
            assert_eq!(reopened(&followed, &[], Some(&written)), Reopened::GoesOn, "{now}");
        }
        // One that was created again under its name is none that has begun.
        path.target = "v1.36".to_owned();
        let again = begun_with_path(&up, "2026-11-21T12:00:00Z".parse().unwrap());
        assert_eq!(reopened(&again, &[], Some(&path)), Reopened::Anew);
    }

    #[test]
    fn what_begins_anew_has_nothing_of_what_it_was() {
        let mut up = edited_after(Completed, |_| ());
        let annotations = up.annotations_mut();
        annotations.insert(GATE_HISTORY_ANNOTATION.to_owned(), "{}".to_owned());
        annotations.insert(STARTED_ANNOTATION.to_owned(), "2026-11-20T11:00:00Z".to_owned());
        let begun = begun_anew(&up, Timestamp::UNIX_EPOCH);
        assert_eq!(id_of(&begun).started, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(begun.annotations().len(), 1, "{:?}", begun.annotations());
    }

    #[test]
    fn what_was_taken_back_begins_only_for_a_higher_number_or_another_target() {
        let mut path = way_back("back", "up");
        let of_path = |edit: fn(&mut ClusterUpgrade), path: &PinnedPath| {
            let edited = edited_after(RolledBack, edit);
            let active = Upgrades::sort(vec![Arc::new(edited.clone())], None, Some(path)).active;
            (super::reopened(&edited, &[], Some(path)), active.is_some())
        };
        assert_eq!(of_path(|_| (), &path), (Reopened::Spent, false));
        assert_eq!(of_path(|up| up.spec.retry = 1, &path), (Reopened::Anew, true));
        let other = |up: &mut ClusterUpgrade| up.spec.target = "v1.36".to_owned();
        assert_eq!(of_path(other, &path), (Reopened::Anew, true));
        path.takes_back.as_mut().unwrap().retry = 1;
        assert_eq!(
            of_path(|up| up.spec.retry = 1, &path),
            (Reopened::Spent, false),
            "Git applies it again"
        );
        assert_eq!(of_path(|up| up.spec.retry = 2, &path), (Reopened::Anew, true));
    }

    #[test]
    fn what_is_asked_once_more_while_it_is_taken_back_begins_anew_when_that_has_ended() {
        let path = way_back("back", "up");
        let write = |up: &ClusterUpgrade, back: Option<UpgradePhase>| {
            let back = back.map(|phase| rollback("back", 2, "up", phase));
            mark_write_by_path(up, back.as_slice(), Some(&path))
        };
        let retry = |up: &mut ClusterUpgrade| up.spec.retry = 1;
        for phase in [RollingBack, Completed] {
            let up = edited_after(phase, retry);
            assert_eq!(
                write(&up, Some(Workers)),
                MarkWrite::Remove,
                "{phase:?}: the rollback needs it"
            );
            assert_eq!(write(&up, Some(Completed)), MarkWrite::BeginAnew, "{phase:?}");
            assert_eq!(write(&up, None), MarkWrite::Remove, "{phase:?}: it is half way");
        }
        // The mark is gone, or was never there.
        for phase in [Workers, Held, RollingBack, RolledBack] {
            let mut up = edited_after(phase, retry);
            up.metadata.annotations = None;
            assert_eq!(write(&up, Some(Workers)), MarkWrite::Nothing, "{phase:?}");
            assert_eq!(write(&up, Some(Completed)), MarkWrite::BeginAnew, "{phase:?}");
        }
        // It has begun with it under its old name already.
        let begun = PinnedPath {
            upgrade: id_of(&edited_after(Pending, retry)),
            ..path.clone()
        };
        let mut up = edited_after(Workers, retry);
        up.metadata.annotations = None;
        let known = [rollback("back", 2, "up", Completed)];
        assert_eq!(mark_write_by_path(&up, &known, Some(&begun)), MarkWrite::Nothing);
    }

    #[test]
    fn what_is_asked_once_more_of_a_paused_cluster_survives_a_move() {
        let path = way_back("back", "up");
        let write = |retry: u32, phase: UpgradePhase, back: UpgradePhase| {
            let mut moved = edited_after(phase, |up| up.spec.retry = retry);
            moved.status = None;
            mark_write_by_path(&moved, &[rollback("back", 2, "up", back)], Some(&path))
        };
        assert_eq!(write(0, RolledBack, Completed), MarkWrite::Restore(RolledBack));
        assert_eq!(write(1, RolledBack, Completed), MarkWrite::BeginAnew);
        assert_eq!(write(0, RollingBack, Workers), MarkWrite::Restore(RollingBack));
        assert_eq!(write(1, RollingBack, Workers), MarkWrite::Remove);
        assert_eq!(write(1, RollingBack, Completed), MarkWrite::BeginAnew);
    }

    #[test]
    fn what_the_path_decides_waits_for_the_cluster() {
        let retry = |up: &mut ClusterUpgrade| up.spec.retry = 1;
        for phase in [Completed, RollingBack, RolledBack] {
            let up = edited_after(phase, retry);
            assert_eq!(mark_write_without_cluster(&up), MarkWrite::Nothing, "{phase:?}");
        }
        let mut moved = edited_after(RolledBack, retry);
        moved.status = None;
        assert_eq!(mark_write_without_cluster(&moved), MarkWrite::Nothing);
        put(&mut moved, "Completed");
        assert_eq!(mark_write_without_cluster(&moved), MarkWrite::Restore(Completed));
    }

    #[test]
    fn what_ends_before_anything_is_changed_leaves_what_was_completed_its_way_back() {
        let path = own_path();
        for (phase, marker) in [
            (Refused, FinishedMarker::RefusedAfterCompleted),
            (UpgradePhase::Failed, FinishedMarker::FailedAfterCompleted),
            (UpgradePhase::Aborted, FinishedMarker::AbortedAfterCompleted),
        ] {
            let mut up = edited_after(Completed, |up| up.spec.target = "v1.36".to_owned());
            put(&mut up, &FinishedMarker::CompletedBefore.to_string());
            let status = up.status.as_mut().unwrap();
            (status.phase, status.observed_generation) = (phase, 2);
            assert_eq!(mark_write_by_path(&up, &[], Some(&path)), MarkWrite::Put(marker));
            assert_eq!(mark_write_without_cluster(&up), MarkWrite::Nothing, "{phase:?}");
            put(&mut up, &marker.to_string());
            assert_eq!(mark_write_by_path(&up, &[], Some(&path)), MarkWrite::Nothing);
            // It is mended, and goes on.
            up.metadata.generation = Some(3);
            let before = MarkWrite::Put(FinishedMarker::CompletedBefore);
            assert_eq!(mark_write_by_path(&up, &[], Some(&path)), before, "{phase:?}");
        }
    }

    #[test]
    fn a_restart_of_a_cluster_that_was_moved_begins_anew_for_a_number_alone() {
        let mut cluster = Cluster::new("c", instar_capi::ClusterSpec::default());
        let created = "2026-11-20T12:00:00Z".parse().unwrap();
        cluster.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created));
        let restart = |phase: UpgradePhase, started: &str, retry: u32| {
            let mut restart = edited_after(phase, |restart| {
                restart.spec.operation = Operation::Restart;
                restart.spec.retry = retry;
            });
            let started = (STARTED_ANNOTATION.to_owned(), started.to_owned());
            restart.annotations_mut().extend([started]);
            restart
        };
        let (before, after) = ("2026-11-20T11:00:00.5Z", "2026-11-20T12:00:00.5Z");
        let write = |upgrade: &ClusterUpgrade| mark_write(upgrade, &cluster, &[], None);
        let refused_with = |retry| FinishedMarker::RefusedAfterMove { retry };

        // The refusal is told, and its number kept.
        let mut told = restart(Refused, before, 2);
        told.status.as_mut().unwrap().observed_generation = 2;
        told.annotations_mut().remove(FINISHED_ANNOTATION);
        assert_eq!(write(&told), MarkWrite::Put(refused_with(2)));
        let mut elsewhere = told.clone();
        put(&mut elsewhere, "Refused");
        elsewhere
            .annotations_mut()
            .extend([(STARTED_ANNOTATION.to_owned(), before.to_owned())]);
        assert_eq!(
            write(&elsewhere),
            MarkWrite::Put(refused_with(2)),
            "it was refused before the move too"
        );

        // What it was refused with, and whether anything else is edited since.
        for (retry, expected) in [
            (1, MarkWrite::Remove),
            (2, MarkWrite::Remove),
            (3, MarkWrite::BeginAnew),
        ] {
            let mut edited = restart(Refused, before, retry);
            edited
                .annotations_mut()
                .insert(FINISHED_ANNOTATION.to_owned(), refused_with(2).to_string());
            assert_eq!(write(&edited), expected, "{retry}");
        }
        // It was moved once more, and the number raised before anybody looked.
        for (retry, begins) in [(2, false), (3, true)] {
            let mut moved = restart(Refused, before, retry);
            moved
                .annotations_mut()
                .insert(FINISHED_ANNOTATION.to_owned(), refused_with(2).to_string());
            moved.status = None;
            match write(&moved) {
                MarkWrite::BeginAnew => assert!(begins),
                MarkWrite::RestoreRefusal(NoRestart::Moved { retry, .. }) => assert!(!begins && retry == 3),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            write(&restart(Completed, before, 1)),
            MarkWrite::Remove,
            "it was completed before the move"
        );
        let mut not_moved = restart(Refused, after, 3);
        not_moved
            .annotations_mut()
            .insert(FINISHED_ANNOTATION.to_owned(), refused_with(2).to_string());
        assert_eq!(write(&not_moved), MarkWrite::Remove);
    }
}
