//! A MachinePool of a provider that honours a pause: upgraded, taken back, and left in the middle.

use std::time::Duration;

use instar_api::{
    RENDERED_ANNOTATION, RollbackExtent, SWAP_HISTORY_ANNOTATION, UpgradePhase, VALUES_HISTORY_ANNOTATION,
    VERSION_ANNOTATION,
};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        controller::{Kept, requests},
        fixtures::Shape,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        machine_pools::{
            POOL, PoolController, Rollout, create, define, image, infrastructure, machine_pool, machine_pools, marks,
            reconciled, with_image,
        },
        upgrade::{UPGRADE, annotate, phase, upgrade},
    },
    wait::wait_for,
};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use crate::by_hand::{await_phase, record, records};

pub(crate) use instar_e2e::support::machine_pools::ROLE;

const STEP: Duration = Duration::from_mins(2);

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[],
};

/// The patch release that is taken back.
const PATCH: &str = "patch";

pub(crate) async fn under_a_pause(scene: JourneyContext) -> Result<()> {
    let (rows, newer) = (scene.rows()?, scene.more_rows(1)?);
    for minor in [33, 34, 35, 36] {
        scene
            .apply_object(with_image(rows.row(minor, 1), &image(&rows, minor, 1))?)
            .await?;
    }
    define(&scene).await?;
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let first = rows.version(33);
    create(&scene, &image(&rows, 33, 1), &first).await?;
    // Cluster API's own provider for tests honours a pause and doesn't say so.
    let infrastructure = "infrastructure.cluster.x-k8s.io";
    scene
        .apply_object(json!({
            "apiVersion": format!("{infrastructure}/v1beta2"), "kind": "DevMachinePool", "metadata": { "name": "quiet" },
            "spec": { "backend": { "docker": {} } },
        }))
        .await?;
    scene
        .apply_object(machine_pool("quiet", &first, infrastructure, "DevMachinePool"))
        .await?;

    let controller = PoolController::start(&scene.mgmt.client());
    goes_to_its_release(&scene, &rows).await?;
    let mut rollouts: Vec<Rollout> = [33, 35].map(|minor| rollout(&rows, minor)).into();
    controller.has_rolled(&scene, &rollouts).await?;
    say("a patch release of a MachinePool, and the way back from it");
    scene
        .apply_object(with_image(newer.row(35, 1), &image(&newer, 35, 1))?)
        .await?;
    goes_to_a_patch(&scene, &rows, &newer).await?;
    rollouts.push(rollout(&newer, 35));
    controller.has_rolled(&scene, &rollouts).await?;
    is_taken_back(&scene, &rows).await?;
    rollouts.push(rollout(&rows, 35));
    controller.has_rolled(&scene, &rollouts).await?;
    ledger.caught_up().await?;
    let made: Vec<(String, usize)> = ledger
        .machines_by_version(NAME)?
        .into_iter()
        .map(|((pool, version), machines)| {
            assert_eq!(pool, Pool::ControlPlane);
            (version, machines.len())
        })
        .collect();
    let expected = [
        (rows.version(33), 1),
        (rows.version(34), 1),
        (rows.version(35), 2),
        (newer.version(35), 1),
    ];
    assert_eq!(made, expected, "the machines of the control plane");

    drop(controller);
    cancelled_in_the_middle(&scene, &rows).await
}

/// What its provider makes machines of at a release.
fn rollout(rows: &Rows, minor: u8) -> Rollout {
    (image(rows, minor, 1), rows.version(minor))
}

async fn goes_to_its_release(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    reconciled(scene).await?;
    annotate(scene, VERSION_ANNOTATION, &rows.version(35)).await?;
    let status = wait_for("the upgrade to be completed", UPGRADE, || async {
        match upgrade(scene).await? {
            Some(upgrade) if phase(&upgrade) == UpgradePhase::Completed => Ok(upgrade.status),
            seen => Err(format!("{:?}", seen.map(|upgrade| upgrade.status)).into()),
        }
    })
    .await?;
    stands_at(scene, rows).await?;
    let pool = machine_pools(scene).get(POOL).await?;
    assert!(
        pool.annotations().contains_key(SWAP_HISTORY_ANNOTATION),
        "there is no ledger"
    );
    let health = status.context("no status")?.health;
    let left = health.iter().find(|row| row.reason == "LeftToUser");
    let left = left.with_context(|| format!("{health:?}"))?;
    assert_eq!((&*left.kind, &*left.name), ("MachinePool", "quiet"));
    assert!(
        left.message.contains("DevMachinePool has no condition Paused"),
        "{}",
        left.message
    );
    let quiet = machine_pools(scene).get("quiet").await?;
    assert_eq!(
        quiet.data["spec"]["template"]["spec"]["version"],
        json!(rows.version(33))
    );
    Ok(())
}

/// Both objects say what a release of v1.35 has, and nothing of ours pauses them.
async fn stands_at(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let pool = machine_pools(scene).get(POOL).await?;
    assert_eq!(
        pool.data["spec"]["template"]["spec"]["version"],
        json!(rows.version(35))
    );
    let infrastructure = infrastructure(scene).get(POOL).await?;
    assert_eq!(
        infrastructure.data["spec"],
        json!({ "image": image(rows, 35, 1), "size": "small" })
    );
    assert_eq!(marks(scene).await?, [None, None]);
    Ok(())
}

/// Its record says what a rollback would do, as docs/way-back.md does.
async fn goes_to_a_patch(scene: &JourneyContext, rows: &Rows, newer: &Rows) -> Result<()> {
    let spec = json!({ "clusterName": NAME, "target": newer.version(35) });
    scene.apply_object(record(PATCH, &spec)).await?;
    await_phase(scene, PATCH, UpgradePhase::Completed).await?;
    stands_at(scene, newer).await?;
    let history = infrastructure(scene).get(POOL).await?;
    let history = history.annotations().get(VALUES_HISTORY_ANNOTATION).cloned();
    let history = history.context("nothing says what its infrastructure had")?;
    assert!(history.contains(&image(rows, 35, 1)), "{history}");
    let (from, to) = (newer.version(35), rows.version(35));
    wait_for("the record to say what would go back", STEP, || async {
        let status = records(scene).get(PATCH).await?.status.unwrap_or_default();
        let Some(rollback) = status.rollback else {
            return Err("it says nothing".into());
        };
        let what: Vec<&str> = rollback.what.iter().map(String::as_str).collect();
        let is_said = match what.as_slice() {
            [pool, control_plane] => {
                *pool == format!("MachinePool {POOL} goes from {from} to {to}")
                    && control_plane.starts_with(&format!("the control plane goes from {from} to {to}"))
            }
            _ => false,
        };
        if is_said && rollback.possible == RollbackExtent::All {
            Ok(())
        } else {
            Err(format!("{rollback:?}").into())
        }
    })
    .await
}

/// Its writes, in their order, are those of the way there: both are paused, then what was there, then the version; and the
/// control plane follows when the pool has arrived.
async fn is_taken_back(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let before = requests(scene)?.len();
    let spec = json!({ "clusterName": NAME, "operation": "Rollback", "rollbackOf": PATCH });
    scene.apply_object(record("back", &spec)).await?;
    await_phase(scene, "back", UpgradePhase::Completed).await?;
    await_phase(scene, PATCH, UpgradePhase::RolledBack).await?;
    stands_at(scene, rows).await?;
    let infrastructure = infrastructure(scene).get(POOL).await?;
    assert_eq!(
        infrastructure.annotations().get(RENDERED_ANNOTATION),
        None,
        "what was rendered is gone"
    );
    let written: Vec<String> = requests(scene)?
        .into_iter()
        .skip(before)
        .filter(|request| {
            let is_of_this = request.namespace == scene.namespace && request.kept == Kept::Yes && request.code < 300;
            is_of_this && request.verb == "patch"
        })
        .map(|request| request.resource)
        .filter(|resource| ["machinepools", "journeymachinepools", "kubeadmcontrolplanes"].contains(&&**resource))
        .collect();
    let (pool, infrastructure, control_plane) = ("machinepools", "journeymachinepools", "kubeadmcontrolplanes");
    assert_eq!(
        written,
        [
            // Paused.
            pool,
            infrastructure,
            // What they had.
            infrastructure,
            pool,
            // Let go, and arrived.
            infrastructure,
            pool,
            pool,
            // Swapped, and arrived.
            control_plane,
            control_plane,
        ]
    );
    Ok(())
}

/// While nothing says that it is paused, the record is deleted: our marks go too.
async fn cancelled_in_the_middle(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let spec = json!({ "clusterName": NAME, "target": rows.version(36) });
    scene.apply_object(record("second", &spec)).await?;
    wait_for("both objects to be marked", UPGRADE, || async {
        match marks(scene).await? {
            [Some(one), Some(other)] => {
                let ours = |mark: &str| mark.contains("\"upgrade\":\"second\"");
                assert!(ours(&one) && ours(&other), "{one} {other}");
                Ok(())
            }
            seen => Err(format!("{seen:?}, {:?}", records(scene).get("second").await?.status).into()),
        }
    })
    .await?;
    wait_for("the record to say what it waits for", STEP, || async {
        let status = records(scene).get("second").await?.status.unwrap_or_default();
        let awaits = |name: &str| name == "PauseAwaited";
        if status.health.iter().any(|row| awaits(&row.reason)) {
            Ok(())
        } else {
            Err(format!("{status:?}").into())
        }
    })
    .await?;
    records(scene).delete("second", &DeleteParams::default()).await?;
    wait_for("our marks to be taken off", STEP, || async {
        match marks(scene).await? {
            [None, None] => Ok(()),
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await?;
    let infrastructure = infrastructure(scene).get(POOL).await?;
    assert_eq!(
        infrastructure.data["spec"]["image"],
        json!(image(rows, 35, 1)),
        "nothing was set"
    );
    Ok(())
}
