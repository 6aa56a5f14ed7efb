//! MachinePools of the classic clusters: upgraded and taken back with them, whatever goes wrong.

use futures::future::try_join_all;
use instar_e2e::{
    Result,
    support::{
        catalog::Rows,
        fixtures::core_kind,
        journeys::JourneyContext,
        machine_pools::{PAUSED, PoolController, Rollout, create, define, image, marks, reconciled, with_image},
        topology::namespaced,
    },
};
use kube::{ResourceExt, api::ListParams};
use serde_json::Value;

/// A pool for each of these Clusters, and what makes their machines.
pub(crate) async fn added(scenes: &[JourneyContext], rows: &Rows) -> Result<PoolController> {
    for scene in scenes {
        define(scene).await?;
        create(scene, &image(rows, 33, 1), &rows.version(33)).await?;
    }
    let controller = match scenes.first() {
        Some(scene) => PoolController::start(&scene.mgmt.client()),
        None => anyhow::bail!("there is no Cluster"),
    };
    try_join_all(scenes.iter().map(reconciled)).await?;
    Ok(controller)
}

/// A row with its image of the pools.
pub(crate) fn row(row: Value, rows: &Rows, minor: u8, revision: u8) -> Result<Value> {
    with_image(row, &image(rows, minor, revision))
}

/// A release, as its provider makes machines of it.
pub(crate) fn at(rows: &Rows, minor: u8, revision: u8) -> Rollout {
    (image(rows, minor, revision), rows.version(minor))
}

/// It has gone through these releases and no others, each once and never half of one; and nothing is paused any more.
pub(crate) async fn violations(
    scene: &JourneyContext,
    controller: &PoolController,
    expected: &[Rollout],
) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    if let Err(error) = controller.has_rolled(scene, expected).await {
        broken.push(format!("its MachinePool: {error:#}"));
    }
    let left = marks(scene).await?;
    if left != [None, None] {
        broken.push(format!(
            "its MachinePool and the infrastructure are still paused: {left:?}"
        ));
    }
    let pools = namespaced(scene, &core_kind("MachineDeployment", "machinedeployments"));
    for pool in pools.list(&ListParams::default()).await? {
        if let Some(mark) = pool.annotations().get(PAUSED) {
            broken.push(format!("{} is still paused: {mark}", pool.name_any()));
        }
    }
    Ok(broken)
}
