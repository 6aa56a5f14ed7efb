//! Without the server: what goes on, and what is refused.

use instar_e2e::{
    Context, Result,
    support::{
        fixtures::TopologyCluster,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        topology::{UPGRADE, assert_rolled, edit, lose_machine, reconciled, running, version},
    },
};
use serde_json::json;

use crate::pins::small;

pub(crate) async fn without_the_server(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let (first, last) = (rows.version(34), rows.version(35));
    let mut cluster = small(&first);
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;

    scene.mgmt.webhook().stop().await?;
    let result = goes_on(&scene, &mut cluster, &last).await;
    scene.mgmt.webhook().start().await?;
    result?;

    edit(&scene, "c", &version(&last)).await?;
    cluster.version = &last;
    running(&scene, &cluster, UPGRADE).await?;
    ledger.caught_up().await?;
    assert_rolled(
        &ledger,
        "c",
        &rows,
        &Pool::ControlPlane,
        3,
        &[(34, Some(1)), (35, Some(1))],
    )?;
    let workers = ledger.machines_by_version("c")?;
    let of_last = workers
        .get(&(Pool::Workers("md-0".to_owned()), last.clone()))
        .map_or(0, Vec::len);
    assert_eq!(of_last, 2, "the workers at {last}");
    Ok(())
}

/// Scales, replaces a lost machine, takes another edit; refuses another version.
async fn goes_on(scene: &JourneyContext, cluster: &mut TopologyCluster<'_>, last: &str) -> Result<()> {
    edit(
        scene,
        "c",
        &json!({ "spec": { "topology": {
        "controlPlane": { "replicas": 3 },
        "workers": { "machineDeployments": [{ "class": "default-worker", "name": "md-0", "replicas": 2 }] },
    } } }),
    )
    .await
    .context("scaling while Instar is down")?;
    cluster.control_planes = 3;
    cluster.workers = &[("md-0", 2)];
    running(scene, cluster, UPGRADE).await?;

    lose_machine(scene, "md-0").await?;
    running(scene, cluster, UPGRADE).await?;

    edit(scene, "c", &json!({
        "metadata": { "labels": { "journey.example.org/label": "yes" } },
        "spec": { "topology": { "workers": { "machineDeployments": [
            { "class": "default-worker", "name": "md-0", "replicas": 2, "metadata": { "labels": { "journey.example.org/pool": "yes" } } },
        ] } } },
    }))
    .await
    .context("editing labels while Instar is down")?;
    reconciled(scene, "c").await?;

    let refused = edit(scene, "c", &version(last))
        .await
        .err()
        .context("a version edit was accepted without Instar")?;
    let text = instar_e2e::failure::describe(&refused);
    assert!(
        text.contains("failed calling webhook \"mutate.cluster.upgrade.cluster.x-k8s.io\""),
        "{text}"
    );
    reconciled(scene, "c").await
}
