//! A ClusterUpgrade that is made by hand for a topology cluster.

use std::time::Duration;

use instar_api::UpgradePhase;
use instar_e2e::{
    Context, Result,
    support::{
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        record::{follow, upgrades},
        topology::{
            UPGRADE, apply_rows, apply_wired, assert_rolled, clusters, create, deployments, edit, lose_machine,
            running, version,
        },
        windows::{self, RollingPool},
    },
    wait::wait_for,
};
use kube::{ResourceExt, api::ListParams};
use serde_json::json;

/// It makes the edit, once, when the windows open, and a pool stops where they close; a prefix that is satisfied changes nothing; a refused edit says why.
pub(crate) async fn makes_the_edit(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    // A row that the class doesn't list.
    let listed = [rows.row(33, 1), rows.row(34, 1), rows.row(35, 1)];
    apply_wired(&scene, CLUSTER_CLASS, &listed).await?;
    let first = rows.version(34);
    let cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: 1,
        // One by one.
        workers: &[("md-0", 3)],
    };
    create(&scene, &cluster).await?;
    refused_while_windows_are_closed(&scene, &cluster, &rows.version(35)).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;

    ask(&scene, "up", "v1.35").await?;
    let target = rows.version(35);
    let deployment = deployments(&scene).await?.into_keys().next();
    let deployment = deployment.context("there is no MachineDeployment")?;
    let pool = RollingPool {
        cluster: "c",
        pool: "md-0",
        deployment: &deployment,
        target: &target,
    };
    pool.stops_when_windows_close(&scene, &ledger).await?;
    windows::policy(&scene, &json!({ "onClose": "FinishMachine" })).await?;
    follow(&scene, "up", &rows.version(35).parse()?).await?;
    let object = clusters(&scene).get("c").await?;
    assert_eq!(object.data["spec"]["topology"]["version"], rows.version(35).as_str());
    ledger.caught_up().await?;
    let rolled = [(34, Some(1)), (35, Some(1))];
    assert_rolled(&ledger, "c", &rows, &Pool::ControlPlane, 1, &rolled)?;
    assert_rolled(&ledger, "c", &rows, &Pool::Workers("md-0".to_owned()), 3, &rolled)?;
    pool.goes_on(&scene).await?;

    let generation = object.metadata.generation;
    ask(&scene, "satisfied", "v1.35").await?;
    ends(&scene, "satisfied", UpgradePhase::Completed, "").await?;
    assert_eq!(clusters(&scene).get("c").await?.metadata.generation, generation);

    ask(&scene, "lower", &rows.version(34)).await?;
    let older = format!("{} is older than {}", rows.version(34), rows.version(35));
    ends(&scene, "lower", UpgradePhase::Refused, &older).await?;

    ask(&scene, "refused", &rows.version(36)).await?;
    let why = format!("the class does not list {} in kubernetesVersions", rows.version(36));
    ends(&scene, "refused", UpgradePhase::Held, &why).await?;
    assert_eq!(clusters(&scene).get("c").await?.metadata.generation, generation);

    // It is its own record: no other was made.
    let records = upgrades(&scene).list(&ListParams::default()).await?.items;
    let names: Vec<String> = records.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["lower", "refused", "satisfied", "up"]);
    Ok(())
}

/// While the windows are closed, an edit by hand is refused, so that the Cluster stays as it is: a machine that is lost
/// comes back.
async fn refused_while_windows_are_closed(
    scene: &JourneyContext,
    cluster: &TopologyCluster<'_>,
    target: &str,
) -> Result<()> {
    windows::policy(scene, &windows::closed()).await?;
    let edited = edit(scene, "c", &version(target)).await;
    let refusal = edited.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let why = "spec.topology.version: upgrades are excluded: a move; create a ClusterUpgrade";
    anyhow::ensure!(
        refusal.contains(why) && refusal.contains("[rule maintenance-window]"),
        "an edit outside the windows: {edited:?}"
    );
    lose_machine(scene, "md-0").await?;
    running(scene, cluster, UPGRADE).await?;
    windows::policy(scene, &json!({ "onClose": "FinishMachine" })).await
}

async fn ask(scene: &JourneyContext, name: &str, target: &str) -> Result<()> {
    let record = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": name },
        "spec": { "clusterName": "c", "target": target },
    });
    scene.apply_object(record).await?;
    Ok(())
}

async fn ends(scene: &JourneyContext, name: &str, phase: UpgradePhase, why: &str) -> Result<()> {
    wait_for(
        &format!("{name} to be {phase:?}"),
        UPGRADE.min(Duration::from_mins(1)),
        || async {
            let status = upgrades(scene).get(name).await?.status.context("no status yet")?;
            let says = why.is_empty() || status.health.iter().any(|row| row.message.contains(why));
            if status.phase == phase && says {
                Ok(())
            } else {
                Err(format!("{:?}: {:?}", status.phase, status.health).into())
            }
        },
    )
    .await
}
