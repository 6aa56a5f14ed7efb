//! The rollback of an upgrade that has failed.

use instar_api::{
    ClusterUpgrade, ClusterUpgradeSpec, ON_FAILURE_ANNOTATION, Operation, PoolRule, UpgradePhase, UpgradeStrategy,
};
use instar_capi::{Cluster, labels::CLUSTER_NAME};
use instar_planner::{ExistingRollback, ExistingState, RollbackScope, label_value};
use kube::{ResourceExt, core::ObjectMeta};

use super::{active::finished_phase, from_annotation::owned_by, rollback_name::rollback_name};
use crate::text::cut;

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

/// What a record that has the name of an upgrade's rollback is to it.
pub(crate) fn existing_rollback(upgrade: &ClusterUpgrade, named: &ClusterUpgrade) -> ExistingRollback {
    let (of, spec) = (&upgrade.spec, &named.spec);
    let is_its_rollback = spec.operation.is_rollback()
        && spec.cluster_name == of.cluster_name
        && spec.rollback_of.as_deref() == Some(&*upgrade.name_any());
    let state = if !is_its_rollback {
        ExistingState::Foreign
    } else if finished_phase(named) == Some(UpgradePhase::Completed) {
        ExistingState::Completed
    } else {
        ExistingState::Open
    };
    ExistingRollback {
        name: named.name_any(),
        state,
    }
}

#[cfg(test)]
mod tests {
    use instar_capi::ClusterSpec;

    use super::*;
    use crate::upgrade_spec::{rollback_name::is_of_failure, tests::upgrade};

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

    #[test]
    fn a_record_that_has_its_name_is_told_apart() {
        let of = upgrade("up", 1, UpgradePhase::Workers);
        let named = |phase: UpgradePhase, edit: fn(&mut ClusterUpgradeSpec)| {
            let mut named = upgrade(&rollback_name(&of), 2, phase).as_ref().clone();
            named.spec.operation = Operation::RollbackWorkers;
            named.spec.rollback_of = Some("up".to_owned());
            edit(&mut named.spec);
            existing_rollback(&of, &named).state
        };
        assert_eq!(named(UpgradePhase::Pending, |_| ()), ExistingState::Open);
        assert_eq!(named(UpgradePhase::Refused, |_| ()), ExistingState::Open);
        assert_eq!(named(UpgradePhase::Completed, |_| ()), ExistingState::Completed);
        let foreign: [fn(&mut ClusterUpgradeSpec); 3] = [
            |spec| spec.cluster_name = "other".to_owned(),
            |spec| spec.rollback_of = Some("other".to_owned()),
            |spec| spec.operation = Operation::Upgrade,
        ];
        for edit in foreign {
            assert_eq!(named(UpgradePhase::Completed, edit), ExistingState::Foreign);
        }
    }
}
