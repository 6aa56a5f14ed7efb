//! The rollback of an upgrade that has failed.

use instar_api::{ClusterUpgrade, ClusterUpgradeSpec, ON_FAILURE_ANNOTATION, Operation, PoolRule, UpgradeStrategy};
use instar_capi::{Cluster, labels::CLUSTER_NAME};
use instar_planner::{RollbackScope, hash, label_value};
use kube::{ResourceExt, core::ObjectMeta};

use super::{from_annotation::owned_by, started};
use crate::text::cut;

/// How much of the upgrade's name its rollback's has.
const LONGEST: usize = 200;

/// The record that takes an upgrade back, with why.
pub(crate) fn rollback_record(
    cluster: &Cluster,
    upgrade: &ClusterUpgrade,
    scope: RollbackScope,
    why: &str,
) -> ClusterUpgrade {
    let held = upgrade.spec.pools.iter().filter(|pool| pool.hold == Some(true));
    let spec = ClusterUpgradeSpec {
        cluster_name: upgrade.spec.cluster_name.clone(),
        operation: match scope {
            RollbackScope::All => Operation::Rollback,
            RollbackScope::Workers => Operation::RollbackWorkers,
        },
        rollback_of: Some(upgrade.name_any()),
        strategy: UpgradeStrategy {
            canary: None,
            ..upgrade.spec.strategy
        },
        order: upgrade.spec.order.clone(),
        pools: held
            .map(|pool| PoolRule {
                name: pool.name.clone(),
                hold: Some(true),
                ..PoolRule::default()
            })
            .collect(),
        ..ClusterUpgradeSpec::default()
    };
    let mut record = ClusterUpgrade::new(&rollback_name(upgrade), spec);
    record.metadata = ObjectMeta {
        namespace: cluster.namespace(),
        labels: Some([(CLUSTER_NAME.to_owned(), label_value(&cluster.name_any()))].into()),
        annotations: Some([(ON_FAILURE_ANNOTATION.to_owned(), cut(why))].into()),
        owner_references: Some(vec![owned_by(cluster)]),
        ..record.metadata
    };
    record
}

/// One name for an upgrade and its target, so that it is created once: what was taken back never goes there again by itself.
pub(crate) fn rollback_name(upgrade: &ClusterUpgrade) -> String {
    let name: String = upgrade.name_any().chars().take(LONGEST).collect();
    let started = started(upgrade).map_or_else(String::new, |started| started.to_string());
    let hash = hash(&format!("{}\n{started}\n{}", upgrade.name_any(), upgrade.spec.target));
    format!("{}-rollback-{hash}", name.trim_end_matches(['-', '.']))
}

/// Whether the controller created it for a failure.
pub(crate) fn is_of_failure(upgrade: &ClusterUpgrade) -> bool {
    upgrade.annotations().contains_key(ON_FAILURE_ANNOTATION)
}

#[cfg(test)]
mod tests {
    use instar_api::{STARTED_ANNOTATION, UpgradePhase};
    use instar_capi::ClusterSpec;

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
        let long = of(&"a.".repeat(126), first, "v1.35");
        assert!(long.len() <= 253 && long.contains("a-rollback-"), "{long}");
    }

    #[test]
    fn it_says_what_is_taken_back_and_why() {
        let mut cluster = Cluster::new("c", ClusterSpec::default());
        cluster.metadata.namespace = Some("n".to_owned());
        let mut of = upgrade("up", 1, UpgradePhase::Workers).as_ref().clone();
        of.spec.order = vec!["md-1".to_owned()];
        of.spec.pools = vec![
            PoolRule {
                name: "md-2".to_owned(),
                hold: Some(true),
                ..PoolRule::default()
            },
            PoolRule {
                name: "md-3".to_owned(),
                release: Some("r".to_owned()),
                ..PoolRule::default()
            },
        ];
        let record = rollback_record(
            &cluster,
            &of,
            RollbackScope::Workers,
            "MachineDeployment md-0 is stalled",
        );
        let spec = &record.spec;
        assert_eq!(spec.operation, Operation::RollbackWorkers);
        assert_eq!((spec.rollback_of.as_deref(), spec.target.as_str()), (Some("up"), ""));
        let pools: Vec<_> = spec.pools.iter().map(|pool| (pool.name.as_str(), pool.hold)).collect();
        assert_eq!(pools, [("md-2", Some(true))]);
        assert_eq!(
            record.annotations()[ON_FAILURE_ANNOTATION],
            "MachineDeployment md-0 is stalled"
        );
        assert_eq!(record.owner_references()[0].name, "c");
        assert_eq!(record.labels()[CLUSTER_NAME], "c");
        assert!(is_of_failure(&record));
    }
}
