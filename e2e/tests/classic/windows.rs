//! Maintenance windows: an upgrade begins when one opens, and in the middle it ends the step that it has begun. A user lets
//! the rest go on. In the middle of a pool's rollout it goes on to its end, or stops with what has begun.

use instar_api::{UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    support::{
        classic::{self, NAME},
        fixtures::Shape,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        upgrade::{UPGRADE, annotate, phase, upgrade, upgrades},
        windows::{CLOSED, RollingPool, closed, excluded_until, held, policy},
    },
    wait::wait_for,
};
use jiff::{SignedDuration, Timestamp};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

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

    policy(&scene, &closed()).await?;
    annotate(&scene, VERSION_ANNOTATION, &rows.version(34)).await?;
    held(&scene, CLOSED).await?;

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

/// One by one.
const THREE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 3)],
};

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
    let pool = RollingPool {
        cluster: NAME,
        pool: "md-0",
        deployment: "md-0",
        target: &target,
    };
    pool.stops_when_windows_close(&scene, &ledger).await?;

    policy(&scene, &open).await?;
    is_completed(&scene).await?;
    pool.goes_on(&scene).await?;
    ledger.caught_up().await?;
    classic::assert_rolled(&ledger, &rows, &Pool::Workers("md-0".to_owned()), 3, &[33, 34])
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
