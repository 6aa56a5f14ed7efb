//! Pools of a topology cluster that wait for their gates, with the user's topology untouched.

use std::time::Duration;

use instar_api::{HELD_ANNOTATION, HealthReason, HealthStatus, UpgradePhase};
use instar_e2e::{
    Result,
    progress::say,
    support::{
        fixtures::{CLUSTER_CLASS, TopologyCluster, core_kind},
        gates,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        record::{follow, upgrades},
        topology::{
            UPGRADE, apply_rows, apply_wired, assert_rolled, clusters, create, deployments, namespaced, one_machine_of,
        },
    },
    wait::wait_for,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

const CONCURRENCY: &str = "topology.cluster.x-k8s.io/upgrade-concurrency";
const NETWORK: &str = "network";
pub(crate) const POOLS: [&str; 3] = ["md-0", "md-1", "md-2"];

/// The control plane goes first; the pools get their version and stay, until that is approved and what the release brings is
/// ready; then they go one by one in the order that was asked for. A machine that is deleted meanwhile comes back at the new version, and only then.
pub(crate) async fn until_their_gates_open(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let mut listed = [rows.row(33, 1), rows.row(34, 1), rows.row(35, 1)];
    listed[2]["spec"]["addons"] = json!([network()]);
    apply_rows(&scene, &listed).await?;
    apply_wired(&scene, CLUSTER_CLASS, &listed).await?;
    let (first, target) = (rows.version(34), rows.version(35));
    let cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: 1,
        workers: &POOLS.map(|pool| (pool, 1)),
    };
    create(&scene, &cluster).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "UpgradePolicy",
            "metadata": { "name": "approval" },
            "spec": { "approval": { "before": ["Workers"] } },
        }))
        .await?;
    let topology = clusters(&scene).get("c").await?.data["spec"]["topology"].clone();
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "up" },
            "spec": { "clusterName": "c", "target": target, "order": ["md-2", "md-0"] },
        }))
        .await?;

    // Each pool has its version, and no machine of it moves.
    wait_for("every pool to be held at its new version", UPGRADE, || async {
        let pools = deployments(&scene).await?;
        let held = pools.values().filter(|pool| {
            pool.data["spec"]["paused"] == true
                && pool.annotations().contains_key(HELD_ANNOTATION)
                && pool.data["spec"]["template"]["spec"]["version"] == target.as_str()
        });
        let held = held.count();
        let status = upgrades(&scene).get("up").await?.status.unwrap_or_default();
        let first = status
            .health
            .first()
            .map(|row| (row.reason.clone(), row.message.clone()));
        let waits = first.as_ref().is_some_and(|(reason, message)| {
            reason == "ApprovalMissing"
                && message.starts_with(&format!("the workers go to {target} once that is approved"))
        });
        let rows = status.health.iter().filter(|row| row.reason == "PoolHeld").count();
        if held == POOLS.len() && waits && rows == POOLS.len() && status.phase == UpgradePhase::Held {
            return Ok(());
        }
        Err(format!("{held} held; {:?} {first:?}, {rows} rows", status.phase).into())
    })
    .await?;
    let object = clusters(&scene).get("c").await?;
    assert_eq!(object.annotations().get(CONCURRENCY).map(String::as_str), Some("3"));
    say(format!("{}: all pools are held", scene.namespace));

    lose_a_machine(&scene).await?;
    none_has_moved(&scene, &ledger, &target).await?;

    let approval = json!({ "before": "Workers", "version": target, "target": target });
    let approve = json!({ "spec": { "approvals": [approval] } });
    upgrades(&scene)
        .patch("up", &PatchParams::default(), &Patch::Merge(&approve))
        .await?;
    let mut expected = topology;
    expected["version"] = target.clone().into();
    its_network_holds(&scene, &target).await?;
    none_has_moved(&scene, &ledger, &target).await?;
    let object = clusters(&scene).get("c").await?;
    assert_eq!(object.data["spec"]["topology"], expected, "while the add-on holds it");
    gates::config_map(&scene, NETWORK, &json!({ "state": "ready" })).await?;
    follow(&scene, "up", &target.parse()?).await?;

    let object = clusters(&scene).get("c").await?;
    assert_eq!(object.annotations().get(CONCURRENCY), None, "there was none before");
    assert_eq!(
        object.data["spec"]["topology"], expected,
        "nothing else of the user's was changed"
    );
    for (name, pool) in deployments(&scene).await? {
        assert_eq!(pool.annotations().get(HELD_ANNOTATION), None, "{name}");
        assert_eq!(pool.data["spec"].get("paused"), None, "{name}");
    }
    ledger.caught_up().await?;
    let rolled = [(34, Some(1)), (35, Some(1))];
    assert_rolled(&ledger, "c", &rows, &Pool::ControlPlane, 1, &rolled)?;
    for pool in POOLS {
        assert_rolled(&ledger, "c", &rows, &Pool::Workers(pool.to_owned()), 1, &rolled)?;
    }
    in_order(&ledger, &target)
}

/// An add-on of the release for which the pools wait.
fn network() -> Value {
    json!({
        "name": NETWORK,
        "when": "BeforeWorkers",
        "observe": { "cluster": "Management", "apiVersion": "v1", "kind": "ConfigMap", "name": NETWORK },
        "failedWhen": "self.data.state == 'failed'",
        "readyWhen": "self.data.state == 'ready'",
        "generation": "Ignore",
        "settle": "2s",
    })
}

/// What was approved waits for the release's add-on: until the controller may look, until the object is there, and while it
/// has failed.
async fn its_network_holds(scene: &JourneyContext, target: &str) -> Result<()> {
    let about = format!("add-on {NETWORK} of KubernetesRelease {target}-1 (BeforeWorkers {target}): ");
    let says = async |reason: HealthReason, what: &str| {
        wait_for(&format!("{reason} to say {what:?}"), UPGRADE, || async {
            let status = upgrades(scene).get("up").await?.status.unwrap_or_default();
            let is_it = |row: &&HealthStatus| {
                let message = row.message.strip_prefix(&about);
                row.reason == reason.as_str() && message.is_some_and(|message| message.contains(what))
            };
            let is_said = status.health.iter().any(|row| is_it(&row));
            let held = status.health.iter().filter(|row| row.reason == "PoolHeld").count();
            if is_said && held == POOLS.len() {
                return Ok(());
            }
            Err(format!("{:?} {:#?}", status.phase, status.health).into())
        })
        .await
    };
    says(HealthReason::AddonUnknown, "cannot get resource \"configmaps\"").await?;
    let may_get = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }]);
    gates::let_account(scene, "instar-gate-network", &may_get).await?;
    says(HealthReason::AddonNotReady, "ConfigMap network is not there").await?;
    gates::config_map(scene, NETWORK, &json!({ "state": "failed" })).await?;
    says(HealthReason::AddonFailed, "failedWhen holds").await?;
    let status = upgrades(scene).get("up").await?.status.unwrap_or_default();
    assert_eq!(status.phase, UpgradePhase::Held, "what failed holds it");
    Ok(())
}

/// Every pool is held, and no machine of it is at the target.
async fn none_has_moved(scene: &JourneyContext, ledger: &Ledger, target: &str) -> Result<()> {
    for (name, pool) in deployments(scene).await? {
        assert_eq!(pool.data["spec"]["paused"], true, "{name}");
        assert!(pool.annotations().contains_key(HELD_ANNOTATION), "{name}");
    }
    ledger.caught_up().await?;
    let moved = ledger
        .machines_ever("c")?
        .into_iter()
        .filter(|machine| matches!(machine.pool, Pool::Workers(_)) && machine.version == target);
    assert_eq!(moved.count(), 0, "a machine of a pool that is held was replaced");
    Ok(())
}

/// A machine of a pool that is held is deleted: Cluster API makes none of the older minor under the newer control plane.
async fn lose_a_machine(scene: &JourneyContext) -> Result<()> {
    let (machines, name) = one_machine_of(scene, "md-1").await?;
    machines.delete(&name, &DeleteParams::default()).await?;
    wait_for(
        "Cluster API to say that it makes no machine",
        Duration::from_mins(3),
        || async {
            let sets = namespaced(scene, &core_kind("MachineSet", "machinesets"));
            let of_pool = ListParams::default().labels("topology.cluster.x-k8s.io/deployment-name=md-1");
            let sets = sets.list(&of_pool).await?.items;
            let conditions = sets.iter().flat_map(|set| {
                let conditions = set.data.pointer("/status/conditions").and_then(Value::as_array);
                conditions.into_iter().flatten()
            });
            let messages: Vec<&str> = conditions
                .filter(|condition| condition["type"] == "ScalingUp" && condition["status"] == "True")
                .filter_map(|condition| condition["message"].as_str())
                .collect();
            if messages.iter().any(|message| message.contains("do not conform")) {
                return Ok(());
            }
            Err(format!("{messages:?}").into())
        },
    )
    .await
}

/// The pools that were named went first, one after the other.
pub(crate) fn in_order(ledger: &Ledger, target: &str) -> Result<()> {
    let mut first = Vec::new();
    for machine in ledger.machines_ever("c")? {
        if let Pool::Workers(pool) = &machine.pool
            && machine.version == target
        {
            first.push((machine.created, pool.clone()));
        }
    }
    first.sort();
    let order: Vec<&str> = first.iter().map(|(_, pool)| pool.as_str()).collect();
    anyhow::ensure!(order == ["md-2", "md-0", "md-1"], "they went as {order:?}");
    Ok(())
}
