//! What is asked of a Cluster: which upgrade goes on, what its annotation asks for, and what an
//! upgrade asks.

mod active;
mod from_annotation;
mod history;
mod mistake;
mod on_failure;
mod reopened;
mod rollback_name;

use std::sync::Arc;

use instar_api::{
    ClusterUpgrade, GATE_HISTORY_ANNOTATION, Operation, RECORD_ANNOTATION, STARTED_ANNOTATION, StrategyType,
};
use instar_planner::{
    GateHistory, Operation as PlannedOperation, Origin, PinnedPath, PoolOverride, ResourceVersion, Rollback,
    RollbackScope, Strategy, Target, UpgradeId, UpgradeSpec,
};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::patches::Patches;

pub(crate) use active::{Upgrades, finished_marker, finished_phase, taken_back_by};
pub(crate) use from_annotation::{AnnotationRequest, CurrentVersions, from_annotation, record_of, record_of_release};
pub(crate) use history::{Needed, beyond_limit};
pub(crate) use mistake::annotation_mistake;
pub(crate) use on_failure::{existing_rollback, rollback_record};
pub(crate) use reopened::{
    MarkWrite, Reopened, begun_anew, begun_with_path, mark_write, mark_write_without_cluster, reopened,
};
pub(crate) use rollback_name::{is_superseded, rollback_name};

/// How many pools at a time for Parallel without a limit.
const PARALLEL: usize = 2;

/// What an upgrade asks, as the planner reads it.
pub(crate) fn upgrade_spec(upgrade: &ClusterUpgrade) -> UpgradeSpec {
    let spec = &upgrade.spec;
    let limit = spec.strategy.limit.map_or(PARALLEL, usize::from);
    let pools = spec.pools.iter().filter_map(|rule| {
        let upgrade_spec = match (&rule.release, rule.hold) {
            (Some(release), _) => PoolOverride::Pin(release.clone()),
            (None, Some(true)) => PoolOverride::Hold,
            (None, Some(false) | None) => return None,
        };
        Some((rule.name.clone(), upgrade_spec))
    });
    let patches = Patches::read(upgrade);
    UpgradeSpec {
        source: spec.source.clone(),
        strategy: match spec.strategy.kind {
            StrategyType::Ordered => Strategy::Ordered,
            StrategyType::Parallel => Strategy::Parallel { limit },
            StrategyType::All => Strategy::All,
        },
        order: spec.order.clone(),
        pools: pools.collect(),
        patches: patches.machines,
        bootstrap_patches: patches.bootstrap,
        unreadable: patches.unreadable,
        origin: if upgrade.annotations().contains_key(RECORD_ANNOTATION) {
            Origin::Cluster
        } else {
            Origin::Upgrade
        },
        paused: spec.paused,
        started: started(upgrade),
        gate_history: gate_history(upgrade),
        keep_addons: spec.keep_addons.clone(),
        retry: spec.retry,
        resource_version: ResourceVersion(upgrade.resource_version().unwrap_or_default()),
        ..UpgradeSpec::new(upgrade.name_any(), Target::Text(spec.target.clone()))
    }
}

/// What an upgrade is to do. `known` are all of its Cluster. What a rollback that has begun takes back, the Cluster's path
/// says: its record may be gone.
pub(crate) fn operation(
    upgrade: &ClusterUpgrade,
    known: &[Arc<ClusterUpgrade>],
    path: Option<&PinnedPath>,
) -> PlannedOperation {
    let scope = match upgrade.spec.operation {
        Operation::Upgrade => return PlannedOperation::Upgrade,
        Operation::Abort => return PlannedOperation::Abort,
        Operation::Refresh => return PlannedOperation::Refresh,
        Operation::Restart => return PlannedOperation::Restart,
        Operation::Rollback => RollbackScope::All,
        Operation::RollbackWorkers => RollbackScope::Workers,
    };
    let by = id_of(upgrade);
    let of_path = path.and_then(|path| path.takes_back.as_ref()).filter(|of| of.by == by);
    let of_path = of_path.map(|of| (of.upgrade.clone(), of.target.clone(), of.retry));
    let of_record = || {
        let of = taken_back_by(upgrade, known).filter(|of| !of.spec.operation.is_rollback())?;
        Some((id_of(&of), of.spec.target.clone(), of.spec.retry))
    };
    // No swap history knows one without a time, so that nothing is found to be taken back.
    let unknown = || {
        let id = UpgradeId {
            name: upgrade.spec.rollback_of.clone().unwrap_or_default(),
            started: None,
        };
        (id, String::new(), 0)
    };
    let (of, target, retry) = of_path.or_else(of_record).unwrap_or_else(unknown);
    PlannedOperation::Rollback(Rollback {
        of,
        target,
        retry,
        scope,
    })
}

/// When the turn of its add-ons and gates came, and what was there before.
pub(crate) fn gate_history(upgrade: &ClusterUpgrade) -> GateHistory {
    let text = upgrade.annotations().get(GATE_HISTORY_ANNOTATION);
    text.map_or_else(GateHistory::default, |text| GateHistory::from_annotation(text))
}

/// What tells an upgrade from all others of its Cluster.
pub(crate) fn id_of(upgrade: &ClusterUpgrade) -> UpgradeId {
    UpgradeId {
        name: upgrade.name_any(),
        started: started(upgrade),
    }
}

/// When it was first seen, where that is written down. A garbled time counts as none.
pub(crate) fn started(upgrade: &ClusterUpgrade) -> Option<Timestamp> {
    upgrade.annotations().get(STARTED_ANNOTATION)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use instar_api::{ClusterUpgradeSpec, ClusterUpgradeStatus, PoolRule, REQUEST_NUMBER_LABEL, UpgradePhase};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    pub(super) fn upgrade(name: &str, seconds: i64, phase: UpgradePhase) -> Arc<ClusterUpgrade> {
        let spec = ClusterUpgradeSpec {
            cluster_name: "c".to_owned(),
            target: "v1.35".to_owned(),
            ..ClusterUpgradeSpec::default()
        };
        let mut upgrade = ClusterUpgrade::new(name, spec);
        upgrade.metadata.generation = Some(1);
        upgrade.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(seconds).unwrap()));
        upgrade.status = Some(ClusterUpgradeStatus {
            phase,
            observed_generation: 1,
            ..ClusterUpgradeStatus::default()
        });
        Arc::new(upgrade)
    }

    /// Its spec was edited since.
    pub(super) fn reopened(name: &str, seconds: i64, phase: UpgradePhase) -> Arc<ClusterUpgrade> {
        let mut edited = upgrade(name, seconds, phase).as_ref().clone();
        edited.metadata.generation = Some(2);
        Arc::new(edited)
    }

    /// As the annotation makes it.
    pub(super) fn of_annotation(upgrade: &ClusterUpgrade, ordinal: u32, target: &str) -> Arc<ClusterUpgrade> {
        let mut upgrade = upgrade.clone();
        upgrade.metadata.labels = Some([(REQUEST_NUMBER_LABEL.to_owned(), ordinal.to_string())].into());
        target.clone_into(&mut upgrade.spec.target);
        Arc::new(upgrade)
    }

    #[test]
    fn the_spec_is_read_as_the_planner_reads_it() {
        let mut asked = upgrade("a", 1, UpgradePhase::Pending).as_ref().clone();
        asked.spec.strategy.kind = StrategyType::Parallel;
        asked.spec.paused = true;
        asked.spec.pools = vec![
            PoolRule {
                name: "held".to_owned(),
                hold: Some(true),
                ..PoolRule::default()
            },
            PoolRule {
                name: "pinned".to_owned(),
                release: Some("r".to_owned()),
                ..PoolRule::default()
            },
        ];
        let upgrade_spec = upgrade_spec(&asked);
        assert_eq!(upgrade_spec.strategy, Strategy::Parallel { limit: 2 });
        assert!(upgrade_spec.paused);
        assert_eq!(upgrade_spec.pools["held"], PoolOverride::Hold);
        assert_eq!(upgrade_spec.pools["pinned"], PoolOverride::Pin("r".to_owned()));
        assert_eq!(upgrade_spec.target, Target::Text("v1.35".to_owned()));
    }
}
