//! The name of the rollback that a failure creates, and what it tells.

use instar_api::{ClusterUpgrade, ON_FAILURE_ANNOTATION};
use instar_planner::hash;
use kube::ResourceExt;

use super::started;

/// How much of the upgrade's name its rollback's has.
const LONGEST: usize = 200;

/// One name for an upgrade, its target and how many times that was asked for again, so that it is created once: what was
/// taken back never goes there again by itself.
pub(crate) fn rollback_name(upgrade: &ClusterUpgrade) -> String {
    let name: String = upgrade.name_any().chars().take(LONGEST).collect();
    let started = started(upgrade).map_or_else(String::new, |started| started.to_string());
    let retry = match upgrade.spec.retry {
        0 => String::new(),
        retry => format!("\n{retry}"),
    };
    let hash = hash(&format!(
        "{}\n{started}\n{}{retry}",
        upgrade.name_any(),
        upgrade.spec.target
    ));
    format!("{}-rollback-{hash}", name.trim_end_matches(['-', '.']))
}

/// Whether a rollback was created for a failure of another target than the upgrade has now: its name tells.
pub(crate) fn is_superseded(rollback: &ClusterUpgrade, of: &ClusterUpgrade) -> bool {
    let is_of_it = rollback.spec.rollback_of.as_deref() == Some(&*of.name_any());
    is_of_failure(rollback) && is_of_it && rollback.name_any() != rollback_name(of)
}

/// Whether the controller created it for a failure.
pub(crate) fn is_of_failure(upgrade: &ClusterUpgrade) -> bool {
    upgrade.annotations().contains_key(ON_FAILURE_ANNOTATION)
}

#[cfg(test)]
mod tests {
    use instar_api::{STARTED_ANNOTATION, UpgradePhase};

    use super::*;
    use crate::upgrade_spec::tests::upgrade;

    #[test]
    fn one_rollback_for_one_wish() {
        let of = |name: &str, started: &str, target: &str| {
            let mut upgrade = upgrade(name, 1, UpgradePhase::Workers).as_ref().clone();
            upgrade
                .annotations_mut()
                .insert(STARTED_ANNOTATION.to_owned(), started.to_owned());
            target.clone_into(&mut upgrade.spec.target);
            rollback_name(&upgrade)
        };
        let (first, later) = ("2026-11-20T12:00:00Z", "2026-11-21T12:00:00Z");
        let name = of("up", first, "v1.35");
        assert!(name.starts_with("up-rollback-"), "{name}");
        assert_eq!(of("up", first, "v1.35"), name, "a crash creates no second one");
        assert_ne!(of("up", first, "v1.36"), name, "another target");
        assert_ne!(of("up", later, "v1.35"), name, "one that was made again under its name");
        let mut again = upgrade("up", 1, UpgradePhase::Workers).as_ref().clone();
        let first_try = rollback_name(&again);
        again.spec.retry = 1;
        assert_ne!(rollback_name(&again), first_try, "one that was asked for again");
        let long = of(&"a.".repeat(126), first, "v1.35");
        assert!(long.len() <= 253 && long.contains("a-rollback-"), "{long}");
    }
}
