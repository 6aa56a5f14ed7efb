//! What Cluster API says of a topology, passed on.

use instar_planner::{Condition, ConditionStatus, Lifecycle, Observed, PoolId, Stage};

use super::{cluster, control_plane, decide, pools, says, words};

#[test]
fn what_holds_cluster_api_is_said_in_its_words() {
    let hook = "Cluster is upgrading to v1.34.5\n  * Following hooks are blocking upgrade: BeforeClusterUpgrade: waiting for approval";
    // Cluster API has written down the step that it is at, so machines of its version are made.
    let step = "Cluster is upgrading to v1.34.5\n  * Following hooks are blocking upgrade: BeforeControlPlaneUpgrade: waiting for approval";
    let deferred = "Cluster is upgrading to v1.34.5\n  * MachineDeployment md-1 upgrade to version v1.34.5 deferred using defer-upgrade or hold-upgrade-sequence annotations";
    for (reason, message, told) in [
        (
            "ReconcileFailed",
            "error computing the desired state of the Cluster topology: ... error calling fail: no release is pinned for v1.34.5",
            "TopologyNotReconciled: Cluster API can't reconcile the topology: no release is pinned for v1.34.5"
                .to_owned(),
        ),
        (
            "ClusterClassNotReconciled",
            "ClusterClass not reconciled.",
            "TopologyNotReconciled: Cluster API can't reconcile the topology: ClusterClass not reconciled.".to_owned(),
        ),
        (
            "ClusterUpgrading",
            hook,
            format!(
                "StartBlocked: until the upgrade begins, Cluster API creates no machine of the Cluster, also not in place of \
                 one that failed: {hook}"
            ),
        ),
        ("ClusterUpgrading", step, format!("HookBlocking: {step}")),
        (
            "MachineDeploymentsUpgradeDeferred",
            deferred,
            format!("UpgradeDeferred: {deferred}"),
        ),
    ] {
        let mut snapshot = cluster("v1.33.5", "v1.34.5");
        says(&mut snapshot, ConditionStatus::False, reason, message);
        let decision = decide(&snapshot);
        assert_eq!(decision.progress.stage, Stage::Held, "{reason}");
        assert_eq!(words(&decision)[0], told);
        assert!(!decision.waiting.iter().any(instar_planner::Waiting::refuses));
    }
}

#[test]
fn what_cluster_api_says_of_its_objects_is_passed_on() {
    let mut snapshot = cluster("v1.33.5", "v1.34.5");
    let condition = |kind: &str, status, message: &str| Condition {
        kind: kind.to_owned(),
        status,
        reason: "R".to_owned(),
        message: message.to_owned(),
        observed_generation: 1,
    };
    control_plane(&mut snapshot).object.conditions = vec![
        condition("ScalingDown", ConditionStatus::False, "not this"),
        condition(
            "ScalingUp",
            ConditionStatus::True,
            "Scaling up from 3 to 4 replicas is blocked",
        ),
        condition(
            "RollingOut",
            ConditionStatus::True,
            "Rolling out 3 not up-to-date replicas",
        ),
        condition("Available", ConditionStatus::True, "nor this"),
    ];
    let pool = pools(&mut snapshot).next().unwrap();
    pool.object.lifecycle = Lifecycle::Paused;
    pool.object.conditions = vec![condition("RollingOut", ConditionStatus::True, "Rolling out 2")];
    let told = words(&decide(&snapshot));
    let ours: Vec<&str> = told
        .iter()
        .filter(|told| told.starts_with("ClusterApi") || told.starts_with("Paused"))
        .map(String::as_str)
        .collect();
    assert_eq!(
        ours,
        [
            "ClusterApi: KubeadmControlPlane blue, RollingOut: Rolling out 3 not up-to-date replicas",
            "ClusterApi: KubeadmControlPlane blue, ScalingUp: Scaling up from 3 to 4 replicas is blocked",
            "Paused: MachineDeployment md-0 is paused",
            "ClusterApi: MachineDeployment md-0, RollingOut: Rolling out 2",
        ]
    );
}

#[test]
fn a_pool_that_goes_away_in_the_middle_is_said_to() {
    let mut snapshot = cluster("v1.33.5", "v1.34.5");
    pools(&mut snapshot).next().unwrap().object.lifecycle = Lifecycle::Deleting;
    let told = words(&decide(&snapshot));
    let deleting = "Deleting: MachineDeployment md-0 is being deleted".to_owned();
    assert!(told.contains(&deleting), "{told:#?}");
}

#[test]
fn what_holds_up_the_deletion_of_a_machine_is_passed_on() {
    let mut snapshot = cluster("v1.33.5", "v1.34.5");
    let mut expected = Vec::new();
    for (at, pool) in [PoolId::ControlPlane, PoolId::Workers("md-0".to_owned())]
        .iter()
        .enumerate()
    {
        let mut machines = snapshot.machines.iter_mut().filter_map(|machine| match machine {
            Observed::Read(machine) => Some(machine),
            Observed::Invalid(_) => None,
        });
        let machine = machines.find(|machine| machine.pool.as_ref() == Some(pool)).unwrap();
        machine.lifecycle = Lifecycle::Deleting;
        machine.deletion_waits_for = Some(format!("hook {at}"));
        expected.push(format!("ClusterApi: Machine {}, Deleting: hook {at}", machine.name));
    }
    let told = words(&decide(&snapshot));
    assert!(expected.iter().all(|expected| told.contains(expected)), "{told:#?}");
}

type Stop = (fn(&mut instar_planner::Snapshot), &'static str);

#[test]
fn nothing_is_told_of_what_must_not_be_written_or_cannot_be_read() {
    let stops: [Stop; 4] = [
        (
            |s| s.cluster.lifecycle = Lifecycle::Paused,
            "Paused: Cluster blue is paused",
        ),
        (
            |s| s.cluster.lifecycle = Lifecycle::Deleting,
            "Deleting: Cluster blue is being deleted",
        ),
        (|s| s.upgrade_spec.paused = true, "Paused: ClusterUpgrade up is paused"),
        (
            |s| {
                s.pools.push(Observed::Invalid(instar_planner::Unreadable {
                    kind: "MachineDeployment".to_owned(),
                    name: "x".to_owned(),
                    reason: "no version".to_owned(),
                }));
            },
            "Unreadable: MachineDeployment x can't be read: no version",
        ),
    ];
    for (change, told) in stops {
        let mut snapshot = cluster("v1.33.5", "v1.34.5");
        change(&mut snapshot);
        let decision = decide(&snapshot);
        assert_eq!(decision.progress.stage, Stage::Held);
        assert_eq!(words(&decision), [told]);
    }
}
