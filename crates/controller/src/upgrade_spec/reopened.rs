//! An upgrade that was over, and whose spec was edited since.

use instar_api::{ClusterUpgrade, UpgradePhase};
use instar_planner::PinnedPath;

use super::{
    active::{is_taken_back, marked},
    id_of,
};

/// What an upgrade is that was over, once its spec is edited.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reopened {
    /// Over as before: it was taken back, and nothing else is asked for.
    Spent,
    /// The one that it was: what it has changed is its own, so that a rollback takes all of it back.
    GoesOn,
    /// Another one by the same name: what the one before has changed was done.
    Anew,
}

/// What an upgrade is that was over, once its spec is edited: by the path of a classic Cluster, where it has one.
pub(crate) fn reopened(upgrade: &ClusterUpgrade, path: Option<&PinnedPath>) -> Reopened {
    let Some(path) = path.filter(|_| !upgrade.spec.operation.is_rollback()) else {
        return Reopened::GoesOn;
    };
    let has_ended = match marked(upgrade) {
        Some(UpgradePhase::Completed | UpgradePhase::RolledBack) => true,
        Some(
            UpgradePhase::Refused
            | UpgradePhase::RollingBack
            | UpgradePhase::Aborted
            | UpgradePhase::Failed
            | UpgradePhase::Pending
            | UpgradePhase::Held
            | UpgradePhase::ControlPlane
            | UpgradePhase::Workers
            | UpgradePhase::Verifying,
        )
        | None => false,
    };
    let is_same = path.upgrade == id_of(upgrade) && path.target == upgrade.spec.target;
    if has_ended && is_taken_back(upgrade, path) {
        Reopened::Spent
    } else if has_ended && !is_same {
        Reopened::Anew
    } else {
        Reopened::GoesOn
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use instar_api::FINISHED_ANNOTATION;

    use super::*;
    use crate::upgrade_spec::{
        active::{Upgrades, tests::way_back},
        tests,
    };
    use UpgradePhase::{Completed, Refused};

    /// Its spec was edited after it had ended.
    fn edited_after(phase: UpgradePhase, edit: impl FnOnce(&mut ClusterUpgrade)) -> ClusterUpgrade {
        let mut edited = tests::reopened("up", 1, phase).as_ref().clone();
        let annotation = (FINISHED_ANNOTATION.to_owned(), phase.as_str().to_owned());
        edited.metadata.annotations = Some([annotation].into());
        edit(&mut edited);
        edited
    }

    #[test]
    fn another_target_after_the_end_is_another_upgrade() {
        let mut path = way_back("up", "earlier");
        path.target = "v1.35".to_owned();
        let other = |edited: &mut ClusterUpgrade| edited.spec.target = "v1.36".to_owned();
        let reopened = |phase, edit: fn(&mut ClusterUpgrade), path: Option<&PinnedPath>| {
            super::reopened(&edited_after(phase, edit), path)
        };
        assert_eq!(reopened(Completed, other, Some(&path)), Reopened::Anew);
        let order = |edited: &mut ClusterUpgrade| edited.spec.order = vec!["md-0".to_owned()];
        assert_eq!(
            reopened(Completed, order, Some(&path)),
            Reopened::GoesOn,
            "a rollback finds what it changed"
        );
        for phase in [
            Refused,
            UpgradePhase::Aborted,
            UpgradePhase::Failed,
            UpgradePhase::RollingBack,
        ] {
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
    }

    #[test]
    fn what_was_taken_back_begins_only_for_a_higher_number_or_another_target() {
        let mut path = way_back("back", "up");
        let of_path = |edit: fn(&mut ClusterUpgrade), path: &PinnedPath| {
            let edited = edited_after(UpgradePhase::RolledBack, edit);
            let active = Upgrades::sort(vec![Arc::new(edited.clone())], None, Some(path)).active;
            (super::reopened(&edited, Some(path)), active.is_some())
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
}
