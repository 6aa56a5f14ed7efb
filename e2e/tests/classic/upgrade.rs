//! Two minors by one annotation: as it should be, killed on the way, and paused in the middle.

use std::time::Duration;

use instar_api::{ClusterUpgrade, FINISHED_ANNOTATION, TemplateUse, UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    support::{
        catalog::Rows,
        classic::{self, FULL, NAME, assert_two_minors},
        fixtures::{Shape, wait_running},
        journeys::JourneyContext,
        ledger::Ledger,
    },
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::controller::{Controller, writes_but_to};

/// How long an upgrade of seven machines may take.
pub(crate) const UPGRADE: Duration = Duration::from_mins(12);

pub(crate) async fn two_minors_by_one_annotation(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let ledger = begin(&scene, &rows, &FULL).await?;
    completed(&scene, &rows, &FULL, None).await?;
    assert_two_minors(&ledger, &rows).await?;
    assert_record(&scene, &rows, &FULL).await
}

pub(crate) async fn paused_in_the_middle(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let ledger = begin(&scene, &rows, &FULL).await?;
    let middle = rows.version(34);
    let control_planes = classic::control_planes(&scene);
    let at_middle = || async {
        let control_plane = control_planes.get(NAME).await?;
        let version = control_plane
            .data
            .pointer("/spec/version")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let left = control_plane
            .data
            .pointer("/status/versions")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        Ok::<_, kube::Error>((version.as_deref() == Some(middle.as_str()), left))
    };
    wait_for("the control plane to be on its way", UPGRADE, || async {
        match at_middle().await? {
            (true, _) => Ok(()),
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await?;
    let record = upgrade(&scene).await?.context("there is no ClusterUpgrade")?.name_any();
    pause(&scene, &record, true).await?;
    // Two versions in the status: the first new machine is there, long after the edit was seen.
    wait_for("the first new machine", UPGRADE, || async {
        match at_middle().await? {
            (true, 2..) => Ok(()),
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await?;
    let before = writes_but_to(&scene, "second")?;
    wait_for("the control plane to have arrived", UPGRADE, || async {
        let control_plane = control_planes.get(NAME).await?;
        let at = |pointer: &str| control_plane.data.pointer(pointer).cloned().unwrap_or_default();
        let arrived = at("/status/versions") == json!([{ "version": middle, "replicas": 3 }]);
        if arrived && at("/status/readyReplicas") == json!(3) && at("/status/replicas") == json!(3) {
            Ok(())
        } else {
            Err(at("/status").to_string().into())
        }
    })
    .await?;
    // The paused one goes on, so it is refused, and that shows that the Cluster was looked at.
    let second = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": "second" },
        "spec": { "clusterName": NAME, "target": rows.version(35) },
    });
    scene.apply_object(second).await?;
    let records = upgrades(&scene);
    wait_for("the controller to have looked", Duration::from_secs(30), || async {
        match records.get("second").await?.status {
            Some(_) => Ok(()),
            None => Err("no status".into()),
        }
    })
    .await?;
    records.delete("second", &DeleteParams::default()).await?;
    assert_eq!(writes_but_to(&scene, "second")?, before, "writes while it was paused");
    assert!(at_middle().await?.0, "the control plane went on");

    pause(&scene, &record, false).await?;
    completed(&scene, &rows, &FULL, None).await?;
    assert_two_minors(&ledger, &rows).await?;
    assert_record(&scene, &rows, &FULL).await
}

/// A running cluster, for a journey that runs later. Of the rows it takes only the one that the cluster
/// is at: on the way, others' clusters would take the rest.
pub(crate) async fn prepare(scene: &JourneyContext, shape: &Shape<'_>) -> Result<()> {
    let rows = scene.rows()?;
    scene.apply_object(rows.row(33, 1)).await?;
    classic::create_with(scene, &rows, shape).await
}

/// A running cluster and a catalog; then the annotation. The ledger begins in between: in a hurry,
/// Cluster API makes machines for a new cluster that it takes away again.
pub(crate) async fn begin(scene: &JourneyContext, rows: &Rows, shape: &Shape<'_>) -> Result<Ledger> {
    classic::create_with(scene, rows, shape).await?;
    begin_prepared(scene, rows).await
}

/// The same for a cluster that runs.
pub(crate) async fn begin_prepared(scene: &JourneyContext, rows: &Rows) -> Result<Ledger> {
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    annotate(scene, VERSION_ANNOTATION, &rows.version(35)).await?;
    Ok(ledger)
}

/// Annotates the Cluster.
pub(crate) async fn annotate(scene: &JourneyContext, name: &str, value: &str) -> Result<()> {
    let patch = json!({ "metadata": { "annotations": { name: value } } });
    classic::clusters(scene)
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

fn upgrades(scene: &JourneyContext) -> Api<ClusterUpgrade> {
    Api::namespaced(scene.mgmt.client(), &scene.namespace)
}

/// The one record.
pub(crate) async fn upgrade(scene: &JourneyContext) -> Result<Option<ClusterUpgrade>> {
    let found = upgrades(scene).list(&ListParams::default()).await?.items;
    anyhow::ensure!(found.len() <= 1, "more than one ClusterUpgrade");
    Ok(found.into_iter().next())
}

pub(crate) fn phase(upgrade: &ClusterUpgrade) -> UpgradePhase {
    upgrade.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

async fn pause(scene: &JourneyContext, name: &str, paused: bool) -> Result<()> {
    let patch = json!({ "spec": { "paused": paused } });
    upgrades(scene)
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// Waits until the record says so and every machine does. Without a controller of the journey's
/// own, the installed one has to run.
pub(crate) async fn completed<'a>(
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
pub(crate) fn is_marked(upgrade: &ClusterUpgrade) -> bool {
    upgrade.annotations().contains_key(FINISHED_ANNOTATION)
}

pub(crate) async fn assert_record(scene: &JourneyContext, rows: &Rows, shape: &Shape<'_>) -> Result<()> {
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
    assert_eq!(status.waiting, []);
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
