//! An upgrade of a classic cluster by two minors: asked for by one annotation, and as it has to end.

use std::time::Duration;

use anyhow::{Context, Result};
use instar_api::{
    ClusterUpgrade, FINISHED_ANNOTATION, PATH_ANNOTATION, Pins, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION,
    TemplateUse, UpgradePhase, VERSION_ANNOTATION,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    catalog::Rows,
    classic::{self, NAME},
    controller::Controller,
    fixtures::{Shape, wait_running},
    journeys::JourneyContext,
    ledger::Ledger,
};
use crate::wait::wait_for;

/// How long an upgrade of seven machines may take.
pub const UPGRADE: Duration = Duration::from_mins(12);

/// A running cluster, for a journey that runs later. Of the rows it takes only the one that the cluster
/// is at: on the way, others' clusters would take the rest.
pub async fn prepare(scene: &JourneyContext, shape: &Shape<'_>) -> Result<()> {
    let rows = scene.rows()?;
    scene.apply_object(rows.row(33, 1)).await?;
    classic::create_with(scene, &rows, shape).await
}

/// A running cluster and a catalog; then the annotation. The ledger begins in between: in a hurry,
/// Cluster API makes machines for a new cluster that it takes away again.
pub async fn begin(scene: &JourneyContext, rows: &Rows, shape: &Shape<'_>) -> Result<Ledger> {
    classic::create_with(scene, rows, shape).await?;
    begin_prepared(scene, rows).await
}

/// The same for a cluster that runs.
pub async fn begin_prepared(scene: &JourneyContext, rows: &Rows) -> Result<Ledger> {
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    annotate(scene, VERSION_ANNOTATION, &rows.version(35)).await?;
    Ok(ledger)
}

/// Annotates the Cluster.
pub async fn annotate(scene: &JourneyContext, name: &str, value: &str) -> Result<()> {
    let patch = json!({ "metadata": { "annotations": { name: value } } });
    classic::clusters(scene)
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// The records of the journey's namespace.
#[must_use]
pub fn upgrades(scene: &JourneyContext) -> Api<ClusterUpgrade> {
    Api::namespaced(scene.mgmt.client(), &scene.namespace)
}

/// The one record.
pub async fn upgrade(scene: &JourneyContext) -> Result<Option<ClusterUpgrade>> {
    let found = upgrades(scene).list(&ListParams::default()).await?.items;
    anyhow::ensure!(found.len() <= 1, "more than one ClusterUpgrade");
    Ok(found.into_iter().next())
}

/// What the record says; nothing yet is its default.
#[must_use]
pub fn phase(upgrade: &ClusterUpgrade) -> UpgradePhase {
    upgrade.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// Waits until the record says so and every machine does. Without a controller of the journey's
/// own, the installed one has to run.
pub async fn completed<'a>(
    scene: &JourneyContext,
    rows: &Rows,
    shape: &Shape<'_>,
    controller: impl Into<Option<&'a Controller<'a>>>,
) -> Result<()> {
    let controller = controller.into();
    wait_for("the upgrade to be completed", UPGRADE, || async {
        match controller {
            Some(own) => own.runs()?,
            None => scene.mgmt.controller().check_runs().await?,
        }
        match upgrade(scene).await? {
            Some(upgrade) if phase(&upgrade) == UpgradePhase::Completed => Ok(()),
            Some(upgrade) => Err(format!("{:?}", upgrade.status).into()),
            None => Err("no ClusterUpgrade".into()),
        }
    })
    .await?;
    // It said so when it was true: there is nothing left to wait for.
    let last = rows.version(35);
    wait_running(
        &scene.mgmt,
        &scene.namespace,
        NAME,
        &last,
        shape,
        Duration::from_secs(1),
    )
    .await?;
    wait_for("the upgrade to be marked as over", UPGRADE, || async {
        match upgrade(scene).await? {
            Some(upgrade) if is_marked(&upgrade) => Ok(()),
            seen => Err(format!("{:?}", seen.map(|upgrade| upgrade.metadata)).into()),
        }
    })
    .await
}

/// Whether it is known to be over also where its status is dropped: nothing is written after that.
#[must_use]
pub fn is_marked(upgrade: &ClusterUpgrade) -> bool {
    upgrade.annotations().contains_key(FINISHED_ANNOTATION)
}

/// Holds against each other what the Cluster and its control plane carry and what they should after the two minors.
async fn assert_pinned(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let steps = [rows.name(34, 1), rows.name(35, 1)];
    let cluster = classic::clusters(scene).get(NAME).await?;
    let text = |name: &str| cluster.annotations().get(name).context(format!("no annotation {name}"));
    let pins = Pins::from_annotation(text(RELEASES_ANNOTATION)?)?;
    let pinned: Vec<&String> = pins.releases.values().map(|pin| &pin.release).collect();
    assert_eq!(pinned, steps.iter().collect::<Vec<_>>());
    assert_eq!(
        pins.adopted.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [rows.version(33)]
    );
    let path: Value = serde_json::from_str(text(PATH_ANNOTATION)?)?;
    assert_eq!(path["releases"], json!(steps));
    assert_eq!(path["target"], json!(rows.version(35)));

    let control_plane = classic::control_planes(scene).get(NAME).await?;
    let history = control_plane.annotations().get(SWAP_HISTORY_ANNOTATION);
    let history: Value = serde_json::from_str(history.context("no swap history")?)?;
    let swaps = history.as_array().context("the swap history is no list")?;
    let versions = |place: &str| {
        swaps
            .iter()
            .map(|swap| swap[place]["version"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(versions("before"), [rows.version(33), rows.version(34)], "{history:#}");
    assert_eq!(versions("after"), [rows.version(34), rows.version(35)], "{history:#}");
    assert!(swaps.iter().all(|swap| swap["converged"].is_string()), "{history:#}");
    Ok(())
}

/// Holds against each other what the record says and what it should after the two minors.
///
/// # Panics
/// Where it says something else.
pub async fn assert_record(scene: &JourneyContext, rows: &Rows, shape: &Shape<'_>) -> Result<()> {
    assert_pinned(scene, rows).await?;
    let upgrade = upgrade(scene).await?.context("there is no ClusterUpgrade")?;
    let status = upgrade.status.context("it has no status")?;
    assert_eq!(status.path, [rows.name(34, 1), rows.name(35, 1)]);
    let last = rows.version(35);
    let pools: Vec<(&str, &str, u32, u32)> = status
        .pools
        .iter()
        .map(|pool| (pool.name.as_str(), pool.version.as_str(), pool.machines, pool.converged))
        .collect();
    let mut expected = Vec::new();
    for (name, machines) in [("", shape.control_plane)].iter().chain(shape.pools) {
        let machines = u32::try_from(*machines)?;
        expected.push((*name, last.as_str(), machines, machines));
    }
    assert_eq!(pools, expected);
    let kept: Vec<&str> = status
        .templates
        .iter()
        .filter(|template| template.state == TemplateUse::Kept)
        .map(|template| template.release.as_str())
        .collect();
    assert_eq!(kept, [rows.name(34, 1)], "{:?}", status.templates);
    // Two of the control plane, one of each pool.
    assert_eq!(status.templates.len(), 2 + shape.pools.len(), "{:?}", status.templates);
    assert_eq!(status.health, []);
    let conditions: Vec<(&str, &str)> = status
        .conditions
        .iter()
        .map(|condition| (condition.type_.as_str(), condition.status.as_str()))
        .collect();
    assert_eq!(
        conditions,
        [("Progressing", "False"), ("Completed", "True"), ("Healthy", "True")]
    );
    Ok(())
}
