//! Other people's hands in the middle: a pool that is added, a version that is raised, an object that
//! is paused, a kind that nobody knows.

use instar_api::{BREAK_GLASS_ANNOTATION, ClusterUpgradeStatus, UpgradePhase};
use instar_e2e::{
    Result,
    support::{
        classic::{self, NAME},
        fixtures::core_kind,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
    },
    wait::{Seen, wait_for},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;

use super::{SOON, assert_machines, await_event, await_phase, await_status, catalog, create, events, running};

/// What is said while a version that somebody raised stands.
const RAISED: &str = "the control plane: spec.version was changed by another client after Instar set it, and the upgrade \
                      continues from there";

pub(crate) async fn edits_made_outside_instar(scene: JourneyContext) -> Result<()> {
    catalog(&scene, &scene.rows()?).await?;
    let ledger = running(&scene, &scene.rows()?).await?;
    let pools: Api<DynamicObject> = Api::namespaced_with(
        scene.mgmt.client(),
        &scene.namespace,
        &core_kind("MachineDeployment", "machinedeployments"),
    );
    // What can't be read is told once, and no more when it is gone.
    unknown_kind(&scene, &pools).await?;

    pause(&pools, true).await?;
    // Its first machine of v1.34 is there when somebody raises the version, and nothing else.
    wait_for("a machine of v1.34", super::UPGRADE, || async {
        let machines = ledger.machines_by_version(NAME)?;
        if machines.contains_key(&(Pool::ControlPlane, scene.rows()?.version(34))) {
            Ok(())
        } else {
            Err(Seen::from(format!("{:?}", machines.keys())))
        }
    })
    .await?;
    raise_control_plane(&scene).await?;
    classic::add_pool(&scene, "late", &scene.rows()?.version(33), 1).await?;
    await_status(&scene, "up", "telling of the hand", SOON, |status| {
        status.phase == UpgradePhase::ControlPlane && says(status, "ForeignWriter", RAISED)
    })
    .await?;
    await_status(&scene, "up", "waiting for the paused pool", super::UPGRADE, |status| {
        status.phase == UpgradePhase::Workers && says(status, "Paused", "MachineDeployment md-0 is paused")
    })
    .await?;
    pause(&pools, false).await?;
    await_phase(&scene, "up", UpgradePhase::Completed).await?;

    // One of v1.35 as the hand made it, with the image of v1.34, and one as the release says.
    assert_machines(
        &ledger,
        &scene.rows()?,
        &Pool::ControlPlane,
        &[(33, 1), (34, 1), (35, 2)],
    )?;
    let images = images(&ledger, &scene.rows()?.version(35))?;
    assert_eq!(images, [scene.rows()?.image(34, 1), scene.rows()?.image(35, 1)]);
    assert_machines(
        &ledger,
        &scene.rows()?,
        &Pool::Workers("md-0".to_owned()),
        &[(33, 1), (35, 1)],
    )?;
    let late = ledger.machines_by_version(NAME)?;
    let at_the_end = late.get(&(Pool::Workers("late".to_owned()), scene.rows()?.version(35)));
    assert_eq!(at_the_end.map(Vec::len), Some(1), "{late:?}");
    Ok(())
}

/// A pool whose template is of a kind that no provider has: admission would refuse it.
async fn unknown_kind(scene: &JourneyContext, pools: &Api<DynamicObject>) -> Result<()> {
    classic::add_pool(scene, "odd", &scene.rows()?.version(33), 0).await?;
    let kind = json!({
        "metadata": { "annotations": { BREAK_GLASS_ANNOTATION: "template-kind: its provider comes later" } },
        "spec": { "template": { "spec": { "infrastructureRef": { "kind": "OddMachineTemplate" } } } },
    });
    pools
        .patch("odd", &PatchParams::default(), &Patch::Merge(&kind))
        .await?;
    create(scene, "up", &json!({ "clusterName": NAME, "target": "v1.35" })).await?;
    let message =
        "the API server knows no kind OddMachineTemplate in infrastructure.cluster.x-k8s.io: install its provider";
    await_status(scene, "up", "unwell", SOON, |status| {
        status.phase == UpgradePhase::Held && says(status, "NoKind", message) && healthy(status) == ("False", "NoKind")
    })
    .await?;
    await_event(scene, "ClusterUpgrade", "NoKind").await?;
    pools.delete("odd", &DeleteParams::default()).await?;
    await_status(scene, "up", "well again", SOON, |status| {
        status.phase == UpgradePhase::ControlPlane && healthy(status) == ("True", "Fine")
    })
    .await?;
    assert_eq!(events(scene, "ClusterUpgrade", "NoKind").await?, 1, "it is said once");
    Ok(())
}

async fn pause(pools: &Api<DynamicObject>, paused: bool) -> Result<()> {
    let value = paused.then_some("yes");
    let patch = json!({ "metadata": { "annotations": { "cluster.x-k8s.io/paused": value } } });
    pools
        .patch("md-0", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// The version alone, as `kubectl patch` does, and while a machine may still be two minors behind.
async fn raise_control_plane(scene: &JourneyContext) -> Result<()> {
    let why = "one-rollout api-servers-together: it has to be there tonight";
    let patch = json!({
        "metadata": { "annotations": { BREAK_GLASS_ANNOTATION: why } },
        "spec": { "version": scene.rows()?.version(35) },
    });
    classic::control_planes(scene)
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// What the control plane's machines of a version were made from, in the order of their making.
fn images(ledger: &Ledger, version: &str) -> Result<Vec<String>> {
    let machines = ledger.machines_ever(NAME)?;
    let machines = machines
        .iter()
        .filter(|machine| machine.pool == Pool::ControlPlane && machine.version == version);
    Ok(machines.filter_map(classic::image).collect())
}

fn says(status: &ClusterUpgradeStatus, reason: &str, message: &str) -> bool {
    let mut rows = status.health.iter();
    rows.any(|row| row.reason == reason && row.message == message)
}

fn healthy(status: &ClusterUpgradeStatus) -> (&str, &str) {
    let mut conditions = status.conditions.iter();
    let healthy = conditions.find(|condition| condition.type_ == "Healthy");
    healthy.map_or(("", ""), |healthy| (&healthy.status, &healthy.reason))
}
