//! The status of an upgrade for which the planner is not asked.

use instar_api::{
    ClusterUpgrade, ClusterUpgradeStatus, FailureReason, HealthReason, REQUEST_NUMBER_LABEL, UpgradePhase,
};
use instar_capi::Cluster;
use instar_planner::{NoRestart, NoWayBack};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::{
    Attempt, conditions_of,
    health::{Found, row},
    progress::of_phase,
    set,
};
use crate::upgrade_spec::is_superseded;

/// The kind and the name of no object.
const NOTHING: (&str, &str) = ("", "");

/// Another upgrade of the Cluster goes on.
pub(crate) fn refused(upgrade: &ClusterUpgrade, active: &ClusterUpgrade, now: Timestamp) -> ClusterUpgradeStatus {
    let is_rollback = active.spec.operation.is_rollback();
    let is_superseded = is_superseded(upgrade, active);
    let active = &*active.name_any();
    let message = if is_superseded {
        format!(
            "ClusterUpgrade {active} goes to another target by now than the one whose failure this was to take back, so nothing is taken back: delete this"
        )
    } else if is_rollback {
        format!("ClusterUpgrade {active} of the same Cluster goes on: create this again when {active} is over")
    } else {
        format!(
            "ClusterUpgrade {active} of the same Cluster goes on: edit the target of {active}, or create this again when {active} is over"
        )
    };
    status(
        upgrade,
        UpgradePhase::Refused,
        vec![found(
            HealthReason::AnotherUpgrade,
            (ClusterUpgrade::kind(&()).as_ref(), active),
            message,
        )],
        Attempt::Succeeded,
        now,
    )
}

/// It asks for what can't be done with a topology Cluster.
pub(crate) fn no_way_back(upgrade: &ClusterUpgrade, now: Timestamp) -> ClusterUpgradeStatus {
    let message = NoWayBack::Topology.to_string();
    let found = found(
        HealthReason::NoWayBack,
        ("Cluster", &upgrade.spec.cluster_name),
        message,
    );
    status(upgrade, UpgradePhase::Refused, vec![found], Attempt::Succeeded, now)
}

/// Another upgrade takes it back, or has done so.
pub(crate) fn taken_back(upgrade: &ClusterUpgrade, by: &str, phase: TakenBack, now: Timestamp) -> ClusterUpgradeStatus {
    let name = by;
    let (phase, message) = match phase {
        TakenBack::UnderWay => (
            UpgradePhase::RollingBack,
            format!("ClusterUpgrade {name} takes this upgrade back"),
        ),
        TakenBack::LeftHalf => (
            UpgradePhase::RollingBack,
            format!(
                "ClusterUpgrade {name}, which took this upgrade back, is gone, and the Cluster may be half way: create another rollback of it, or upgrade to something else"
            ),
        ),
        TakenBack::Done { next_retry } => (
            UpgradePhase::RolledBack,
            format!(
                "ClusterUpgrade {name} has taken this upgrade back: {}",
                again(upgrade, next_retry)
            ),
        ),
    };
    let about = (&*ClusterUpgrade::kind(&()), name);
    let found = vec![found(HealthReason::RolledBack, about, message)];
    ClusterUpgradeStatus {
        rollback: None,
        ..status(upgrade, phase, found, Attempt::Succeeded, now)
    }
}

/// How a user asks for it again: the same words are spent.
fn again(upgrade: &ClusterUpgrade, next_retry: u32) -> String {
    let elsewhere = if upgrade.labels().contains_key(REQUEST_NUMBER_LABEL) {
        "set the annotation upgrade.cluster.x-k8s.io/version of the Cluster to another target"
    } else {
        "set spec.target to another one"
    };
    let (namespace, name) = (upgrade.namespace().unwrap_or_default(), upgrade.name_any());
    format!(
        "to upgrade again, {elsewhere}, or ask for it once more: kubectl -n {namespace} patch clusterupgrade {name} --type=merge -p '{{\"spec\":{{\"retry\":{next_retry}}}}}'"
    )
}

/// How far it has come to be taken back.
#[derive(Clone, Copy)]
pub(crate) enum TakenBack {
    UnderWay,
    /// Who did it is gone.
    LeftHalf,
    Done {
        /// Its `spec.retry` that would ask for it once more.
        next_retry: u32,
    },
}

/// Its Cluster isn't there.
pub(crate) fn report_missing_cluster(upgrade: &ClusterUpgrade, now: Timestamp) -> ClusterUpgradeStatus {
    let (cluster, namespace) = (&upgrade.spec.cluster_name, upgrade.namespace().unwrap_or_default());
    let message = format!(
        "there is no Cluster {cluster} in the namespace {namespace}: create it and this goes on, or delete this ClusterUpgrade"
    );
    ClusterUpgradeStatus {
        pools: Vec::new(),
        pool_count: 0,
        templates: Vec::new(),
        ..status(
            upgrade,
            UpgradePhase::Held,
            vec![found(HealthReason::NoCluster, ("Cluster", cluster), message)],
            Attempt::Succeeded,
            now,
        )
    }
}

/// Its Cluster can't be decoded.
pub(crate) fn unreadable_cluster(upgrade: &ClusterUpgrade, error: &str, now: Timestamp) -> ClusterUpgradeStatus {
    let cluster = &upgrade.spec.cluster_name;
    let message = format!(
        "Cluster {cluster} can't be decoded, so nothing of it is written: {error}; correct that field, or upgrade Instar if a newer Cluster API writes it"
    );
    status(
        upgrade,
        UpgradePhase::Held,
        vec![found(HealthReason::Unreadable, ("Cluster", cluster), message)],
        Attempt::Succeeded,
        now,
    )
}

/// What has to be known couldn't be read.
pub(crate) fn unread(
    upgrade: &ClusterUpgrade,
    reason: FailureReason,
    message: &str,
    now: Timestamp,
) -> ClusterUpgradeStatus {
    let before = upgrade.status.as_ref().map(|status| status.phase);
    let phase = match before {
        Some(
            phase @ (UpgradePhase::Held | UpgradePhase::ControlPlane | UpgradePhase::Workers | UpgradePhase::Verifying),
        ) => phase,
        // Edited since it was over, it is so no more.
        Some(
            UpgradePhase::Pending
            | UpgradePhase::Completed
            | UpgradePhase::Refused
            | UpgradePhase::RollingBack
            | UpgradePhase::RolledBack
            | UpgradePhase::Aborted
            | UpgradePhase::Failed,
        )
        | None => UpgradePhase::Held,
    };
    let attempt = Attempt::Failed { reason, message };
    let found = vec![found(reason.health(), NOTHING, message.to_owned())];
    status(upgrade, phase, found, attempt, now)
}

/// It is over, and its status was dropped.
pub(crate) fn restored(upgrade: &ClusterUpgrade, phase: UpgradePhase, now: Timestamp) -> ClusterUpgradeStatus {
    status(upgrade, phase, Vec::new(), Attempt::Succeeded, now)
}

/// It was refused, and its status was dropped.
pub(crate) fn restored_refusal(upgrade: &ClusterUpgrade, why: &NoRestart, now: Timestamp) -> ClusterUpgradeStatus {
    let cluster = (&*Cluster::kind(&()), &*upgrade.spec.cluster_name);
    let found = found(HealthReason::NoRestart, cluster, why.to_string());
    status(upgrade, UpgradePhase::Refused, vec![found], Attempt::Succeeded, now)
}

fn found(reason: HealthReason, (kind, name): (&str, &str), message: String) -> Found {
    Found {
        reason,
        kind: kind.to_owned(),
        name: name.to_owned(),
        message,
        next: reason.next(),
        since: None,
    }
}

fn status(
    upgrade: &ClusterUpgrade,
    phase: UpgradePhase,
    found: Vec<Found>,
    attempt: Attempt<'_>,
    now: Timestamp,
) -> ClusterUpgradeStatus {
    let before = upgrade.status.clone().unwrap_or_default();
    let generation = upgrade.metadata.generation.unwrap_or_default();
    let health: Vec<_> = found.into_iter().map(|found| row(&before.health, found, now)).collect();
    let mut conditions = before.conditions.clone();
    for condition in conditions_of(phase, &health, attempt, generation, now) {
        set(&mut conditions, condition);
    }
    ClusterUpgradeStatus {
        phase,
        health,
        conditions,
        observed_generation: generation,
        pools: of_phase(phase, before.pools),
        window: None,
        runtime_hooks: None,
        ..before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::differs;
    use instar_api::ClusterUpgradeSpec;
    use serde_json::json;

    fn upgrade(phase: &str) -> ClusterUpgrade {
        serde_json::from_value(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "up", "namespace": "n", "generation": 3 },
            "spec": { "clusterName": "c", "target": "v1.34" },
            "status": { "phase": phase, "step": "Minting", "observedGeneration": 2 },
        }))
        .unwrap()
    }

    fn named(name: &str) -> ClusterUpgrade {
        ClusterUpgrade::new(name, ClusterUpgradeSpec::default())
    }

    fn condition<'a>(status: &'a ClusterUpgradeStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
        let condition = status.conditions.iter().find(|condition| condition.type_ == kind);
        let condition = condition.unwrap();
        (&condition.status, &condition.reason, &condition.message)
    }

    #[test]
    fn the_second_is_told_who_goes_on_and_the_way_out() {
        let status = refused(&upgrade("Pending"), &named("first"), Timestamp::UNIX_EPOCH);
        assert!(status.is_finished(3));
        assert_eq!(status.health[0].reason, "AnotherUpgrade");
        assert_eq!(
            status.health[0].message,
            "ClusterUpgrade first of the same Cluster goes on: edit the target of first, or create this again when first is over"
        );
        assert_eq!(condition(&status, "Progressing").0, "False");
    }

    #[test]
    fn what_cannot_be_read_is_told_once_and_ends_nothing() {
        for (before, after) in [
            ("Pending", UpgradePhase::Held),
            ("Completed", UpgradePhase::Held),
            ("Refused", UpgradePhase::Held),
            ("Workers", UpgradePhase::Workers),
            ("Verifying", UpgradePhase::Verifying),
        ] {
            let mut upgrade = upgrade(before);
            let status = unread(&upgrade, FailureReason::NoKind, "no kind", Timestamp::UNIX_EPOCH);
            assert_eq!((status.phase, status.is_finished(3)), (after, false), "{before}");
            assert_eq!(condition(&status, "Healthy"), ("False", "NoKind", "no kind"));
            assert_eq!(status.step, "Minting", "what was done last stays");
            upgrade.status = Some(status);
            let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(1);
            let again = unread(&upgrade, FailureReason::NoKind, "no kind", later);
            assert!(
                !differs(upgrade.status.as_ref(), &again),
                "a second look is nothing new"
            );
        }
    }

    #[test]
    fn what_is_over_lists_no_machines() {
        let mut upgrade = upgrade("Workers");
        let pool = json!({ "name": "md-0", "machines": 40, "converged": 3, "unlisted": 39,
                           "machineDetails": [{ "name": "m", "phase": "Running" }] });
        upgrade.status.as_mut().unwrap().pools = vec![serde_json::from_value(pool).unwrap()];
        let over = refused(&upgrade, &named("first"), Timestamp::UNIX_EPOCH);
        let pool = &over.pools[0];
        assert_eq!((pool.machines, pool.converged, pool.unlisted), (40, 3, 0));
        assert_eq!(pool.machine_details, []);
        let open = unread(&upgrade, FailureReason::NoKind, "no kind", Timestamp::UNIX_EPOCH);
        assert_eq!(open.pools, upgrade.status.unwrap().pools, "it goes on");
    }

    #[test]
    fn a_cluster_that_is_not_there_is_named() {
        let status = report_missing_cluster(&upgrade("Workers"), Timestamp::UNIX_EPOCH);
        assert_eq!((status.phase, status.pool_count), (UpgradePhase::Held, 0));
        assert_eq!(status.health[0].reason, "NoCluster");
        assert!(
            status.health[0]
                .message
                .starts_with("there is no Cluster c in the namespace n: ")
        );
    }

    #[test]
    fn what_is_over_is_so_again() {
        let mut upgrade = upgrade("Pending");
        upgrade.status = None;
        let status = restored(&upgrade, UpgradePhase::Completed, Timestamp::UNIX_EPOCH);
        assert!(status.is_finished(3));
        assert_eq!(condition(&status, "Completed").0, "True");
        assert!(status.health.is_empty());
    }
}
