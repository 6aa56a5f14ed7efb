//! No Cluster yet, another source than asserted, and a Cluster that is deleted in the middle.

use instar_api::UpgradePhase;
use instar_e2e::{
    Context, Result,
    support::{
        classic::{self, NAME},
        journeys::JourneyContext,
        ledger::Pool,
    },
    wait::wait_for,
};
use kube::api::DeleteParams;
use serde_json::json;

use super::{SOON, assert_machines, await_control_plane, await_reason, await_status, catalog, create, edit, running};
use instar_e2e::support::{controller::steps, upgrade::UPGRADE};

/// It waits for its Cluster, is refused where it begins elsewhere, goes on after an edit, and says so
/// when its Cluster goes.
pub(crate) async fn missing_cluster_wrong_source_and_deletion(scene: JourneyContext) -> Result<()> {
    catalog(&scene, &scene.rows()?).await?;
    let spec = json!({ "clusterName": NAME, "target": "v1.34", "source": "v1.32" });
    create(&scene, "up", &spec).await?;
    let nowhere = format!(
        "there is no Cluster {NAME} in the namespace {}: create it and this goes on, or delete this ClusterUpgrade",
        scene.namespace
    );
    await_reason(&scene, "up", UpgradePhase::Held, "NoCluster", &nowhere).await?;

    let ledger = running(&scene, &scene.rows()?).await?;
    let message = format!(
        "the control plane is at {}, and spec.source asks for v1.32: correct spec.source or leave it out",
        scene.rows()?.version(33)
    );
    await_reason(&scene, "up", UpgradePhase::Refused, "SourceMismatch", &message).await?;
    assert_machines(&ledger, &scene.rows()?, &Pool::ControlPlane, &[(33, 1)])?;
    edit(&scene, "up", &json!({ "source": "v1.33" })).await?;
    await_control_plane(&scene, &scene.rows()?.version(34)).await?;

    classic::clusters(&scene)
        .delete(NAME, &DeleteParams::background())
        .await?;
    await_status(&scene, "up", "Deleting", SOON, |status| {
        let mut rows = status.health.iter();
        status.phase == UpgradePhase::Held && rows.any(|row| row.reason == "Deleting")
    })
    .await?;
    let before = steps(&scene)?;
    wait_for("the Cluster to be gone", UPGRADE, || async {
        match classic::clusters(&scene).get_opt(NAME).await? {
            None => Ok(()),
            Some(cluster) => Err(format!("{:?}", cluster.metadata.finalizers).into()),
        }
    })
    .await?;
    await_reason(&scene, "up", UpgradePhase::Held, "NoCluster", &nowhere).await?;
    assert_eq!(steps(&scene)?, before, "writes to what is being deleted");
    let log = scene.mgmt.run().log("instar-controller");
    let text = std::fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
    let mut failures = text.lines().filter(|line| line.contains(&scene.namespace));
    let failure = failures.find(|line| line.contains("trying again"));
    assert_eq!(failure, None, "a pass failed");
    Ok(())
}
