//! A pool of a topology cluster that goes first, and runs for a while before the others follow.

use std::collections::BTreeMap;

use instar_api::{HELD_ANNOTATION, SWAP_HISTORY_ANNOTATION};
use instar_e2e::{
    Result,
    progress::say,
    support::{
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        record::{follow, upgrades},
        topology::{UPGRADE, apply_rows, apply_wired, assert_rolled, create, deployments},
    },
    wait::wait_for,
};
use jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};

use crate::topology_held::{POOLS, in_order};

const BAKE: SignedDuration = SignedDuration::from_secs(20);

/// The last of three pools by name goes first. The others are held at the new version until it has been there for as long
/// as the policy asks, by the time that is written into it.
pub(crate) async fn goes_first_and_bakes(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    let listed = [rows.row(33, 1), rows.row(34, 1), rows.row(35, 1)];
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
            "metadata": { "name": "canary" },
            "spec": { "canary": { "pools": 1, "bake": format!("{}s", BAKE.as_secs()) } },
        }))
        .await?;
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "up" },
            "spec": { "clusterName": "c", "target": target, "order": ["md-2"] },
        }))
        .await?;

    wait_for("the first pool to be there and hold the others", UPGRADE, || async {
        let status = upgrades(&scene).get("up").await?.status.unwrap_or_default();
        let mut rows = status.health.iter().map(|row| (row.reason.as_str(), &row.message));
        let bakes = rows.any(|(reason, message)| {
            reason == "GateClosed"
                && message.starts_with("canary: MachineDeployment c-md-2-")
                && message.contains(" went first and has been there since ")
        });
        let pools = by_topology_name(&scene).await?;
        let held = pools
            .iter()
            .filter(|(_, pool)| pool.annotations().contains_key(HELD_ANNOTATION));
        let held: Vec<&String> = held.map(|(name, _)| name).collect();
        if bakes && held == ["md-0", "md-1"] {
            return Ok(());
        }
        Err(format!("{held:?} are held, {:?}", status.health).into())
    })
    .await?;
    let arrived = arrived(&scene).await?;
    say(format!("{}: md-2 has been there since {arrived}", scene.namespace));
    follow(&scene, "up", &target.parse()?).await?;

    ledger.caught_up().await?;
    let early = ledger.machines_ever("c")?.into_iter().filter(|machine| {
        let follows = matches!(&machine.pool, Pool::Workers(pool) if pool != "md-2");
        // Creation times are whole seconds.
        follows && machine.version == target && machine.created + SignedDuration::from_secs(1) < arrived + BAKE
    });
    let early: Vec<_> = early.map(|machine| machine.created).collect();
    assert!(early.is_empty(), "machines of the others came at {early:?}");
    in_order(&ledger, &target)?;
    for pool in POOLS {
        let rolled = [(34, Some(1)), (35, Some(1))];
        assert_rolled(&ledger, "c", &rows, &Pool::Workers(pool.to_owned()), 1, &rolled)?;
    }
    for (name, pool) in by_topology_name(&scene).await? {
        let annotations = pool.annotations();
        assert!(!annotations.contains_key(HELD_ANNOTATION), "{name}");
        assert_eq!(
            annotations.contains_key(SWAP_HISTORY_ANNOTATION),
            name == "md-2",
            "{name}"
        );
    }
    Ok(())
}

async fn by_topology_name(scene: &JourneyContext) -> Result<BTreeMap<String, DynamicObject>> {
    let pools = deployments(scene).await?.into_values();
    let name = |pool: &DynamicObject| pool.labels().get("topology.cluster.x-k8s.io/deployment-name").cloned();
    Ok(pools.map(|pool| (name(&pool).unwrap_or_default(), pool)).collect())
}

/// When the first pool was there, as its MachineDeployment says.
async fn arrived(scene: &JourneyContext) -> Result<Timestamp> {
    let pools = by_topology_name(scene).await?;
    let history = pools
        .get("md-2")
        .and_then(|pool| pool.annotations().get(SWAP_HISTORY_ANNOTATION));
    let history: Value = serde_json::from_str(history.map_or("null", String::as_str))?;
    let converged = history.pointer("/0/converged").and_then(Value::as_str);
    Ok(converged.unwrap_or_default().parse()?)
}
