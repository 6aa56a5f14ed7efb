//! Maintenance windows: an upgrade begins when one opens, and in the middle it ends the step that it has begun. A user lets
//! the rest go on. In the middle of a pool's rollout it goes on to its end, or stops with what has begun.

use std::time::Duration;

use instar_api::{HealthReason, UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    support::{
        classic::{self, NAME},
        fixtures::{Shape, core_kind},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        topology::namespaced,
        upgrade::{UPGRADE, annotate, phase, upgrade, upgrades},
    },
    wait::wait_for,
};
use jiff::{SignedDuration, Timestamp};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1)],
};

pub(crate) async fn opens_and_closes(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for minor in [33, 34] {
        scene.apply_object(rows.row(minor, 1)).await?;
    }
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;

    policy(&scene, &excluded_until("2199-01-01T00:00:00Z")).await?;
    annotate(&scene, VERSION_ANNOTATION, &rows.version(34)).await?;
    held(&scene, "maintenance window: upgrades are excluded: a move").await?;

    // Nothing but the time wakes the controller then.
    let opens = (Timestamp::now() + SignedDuration::from_secs(10)).round(jiff::Unit::Second)?;
    policy(&scene, &excluded_until(&opens.to_string())).await?;
    let began = wait_for("the control plane to be asked for the version", UPGRADE, || async {
        let control_plane = classic::control_planes(&scene).get(NAME).await?;
        if control_plane.data["spec"]["version"] == json!(rows.version(34)) {
            Ok(Timestamp::now())
        } else {
            Err(format!("{:?}", upgrade(&scene).await?.map(|upgrade| upgrade.status)).into())
        }
    })
    .await?;
    assert!(began >= opens, "it began at {began}, and the window opens at {opens}");

    // In the middle of the control plane's step.
    let freeze =
        json!({ "windows": [{ "name": "freeze", "kind": "Deny", "schedule": "0 0 * * *", "duration": "24h" }] });
    policy(&scene, &freeze).await?;
    held(&scene, "maintenance window: the window \"freeze\" denies upgrades").await?;
    let control_plane = classic::control_planes(&scene).get(NAME).await?;
    assert_eq!(
        control_plane.data["status"]["upToDateReplicas"],
        json!(1),
        "the step of the control plane has not ended"
    );
    ledger.caught_up().await?;
    classic::assert_rolled(&ledger, &rows, &Pool::ControlPlane, 1, &[33, 34])?;
    let workers = Pool::Workers("md-0".to_owned());
    classic::assert_rolled(&ledger, &rows, &workers, 1, &[33])?;

    override_window(&scene).await?;
    is_completed(&scene).await?;
    ledger.caught_up().await?;
    classic::assert_rolled(&ledger, &rows, &Pool::ControlPlane, 1, &[33, 34])?;
    classic::assert_rolled(&ledger, &rows, &workers, 1, &[33, 34])
}

/// The annotation by which Cluster API pauses an object.
const PAUSED: &str = "cluster.x-k8s.io/paused";

/// One by one.
const THREE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 3)],
};

/// How long nothing may happen to a pool that has stopped.
const STANDS: Duration = Duration::from_secs(8);

/// With `onClose: FinishMachine` a pool stops after the machines that are under way, and goes on when a window opens.
pub(crate) async fn closes_while_a_pool_rolls(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for minor in [33, 34] {
        scene.apply_object(rows.row(minor, 1)).await?;
    }
    classic::create_with(&scene, &rows, &THREE).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let open = json!({ "onClose": "FinishMachine" });
    policy(&scene, &open).await?;
    let target = rows.version(34);
    annotate(&scene, VERSION_ANNOTATION, &target).await?;
    wait_for("the first new machine of the pool", UPGRADE, || async {
        match new_machines(&ledger, &target)? {
            0 => Err("there is none".into()),
            _ => Ok(()),
        }
    })
    .await?;
    let mut closed = excluded_until("2199-01-01T00:00:00Z");
    closed["onClose"] = json!("FinishMachine");
    policy(&scene, &closed).await?;
    wait_for("the pool to stop", UPGRADE, || async {
        let mark = pause(&scene).await?;
        let status = upgrade(&scene).await?.and_then(|record| record.status);
        let mut rows = status.iter().flat_map(|status| &status.health);
        let is_told = rows.any(|row| row.reason == HealthReason::RolloutPaused.as_str());
        match mark.filter(|_| is_told) {
            Some(mark) if mark.starts_with("{\"upgrade\":") => Ok(()),
            mark => Err(format!("{mark:?} {status:?}").into()),
        }
    })
    .await?;
    held(&scene, "maintenance window: upgrades are excluded: a move").await?;
    wait_for("what had begun to be finished", UPGRADE, || async {
        let machines = namespaced(&scene, &core_kind("Machine", "machines"));
        let machines = machines.list(&ListParams::default()).await?;
        let unfinished = machines.iter().filter(|machine| {
            machine.metadata.deletion_timestamp.is_some() || machine.data["status"]["phase"] != json!("Running")
        });
        let unfinished: Vec<String> = unfinished.map(ResourceExt::name_any).collect();
        if unfinished.is_empty() {
            Ok(())
        } else {
            Err(format!("{unfinished:?}").into())
        }
    })
    .await?;
    let begun = new_machines(&ledger, &target)?;
    assert!(begun < 3, "the window closed too late");
    tokio::time::sleep(STANDS).await;
    ledger.caught_up().await?;
    assert_eq!(new_machines(&ledger, &target)?, begun, "another machine was begun");

    policy(&scene, &open).await?;
    is_completed(&scene).await?;
    assert_eq!(pause(&scene).await?, None);
    ledger.caught_up().await?;
    classic::assert_rolled(&ledger, &rows, &Pool::Workers("md-0".to_owned()), 3, &[33, 34])
}

/// How many machines of the new version the pool has had.
fn new_machines(ledger: &Ledger, version: &str) -> Result<usize> {
    let groups = ledger.machines_by_version(NAME)?;
    let machines = groups.get(&(Pool::Workers("md-0".to_owned()), version.to_owned()));
    Ok(machines.map_or(0, Vec::len))
}

/// The value of the annotation by which Cluster API pauses the pool.
async fn pause(scene: &JourneyContext) -> Result<Option<String>> {
    let pools = namespaced(scene, &core_kind("MachineDeployment", "machinedeployments"));
    Ok(pools.get("md-0").await?.annotations().get(PAUSED).cloned())
}

async fn is_completed(scene: &JourneyContext) -> Result<()> {
    wait_for("the upgrade to be completed", UPGRADE, || async {
        match upgrade(scene).await? {
            Some(record) if phase(&record) == UpgradePhase::Completed => Ok(()),
            seen => Err(format!("{:?}", seen.map(|record| record.status)).into()),
        }
    })
    .await
}

async fn policy(scene: &JourneyContext, maintenance: &Value) -> Result<()> {
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "maintenance" },
        "spec": { "maintenance": maintenance },
    });
    scene.apply_object(policy).await.map(drop)
}

fn excluded_until(to: &str) -> Value {
    json!({ "exclusions": [{ "from": "2020-01-01T00:00:00Z", "to": to, "reason": "a move" }] })
}

/// Lets the upgrade go on though the window stays closed.
async fn override_window(scene: &JourneyContext) -> Result<()> {
    let name = upgrade(scene).await?.context("no record")?.name_any();
    let patch = json!({ "spec": { "overrideWindow": { "reason": "the freeze begins tomorrow" } } });
    let patched = upgrades(scene)
        .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    let stamp = patched.spec.override_window.and_then(|window| window.set_by);
    assert!(stamp.is_some(), "nobody is on record");
    Ok(())
}

/// Waits until the record says that its gate is closed.
async fn held(scene: &JourneyContext, message: &str) -> Result<()> {
    wait_for(&format!("{message:?}"), UPGRADE, || async {
        let status = upgrade(scene).await?.and_then(|record| record.status);
        let mut rows = status.iter().flat_map(|status| &status.health);
        let says = rows.any(|row| row.reason == HealthReason::GateClosed.as_str() && row.message == message);
        if says {
            Ok(())
        } else {
            Err(format!("{status:?}").into())
        }
    })
    .await
}
