//! Another target while an upgrade runs, by the Cluster's annotation.

use instar_api::{ClusterUpgrade, REQUEST_NUMBER_LABEL, UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    support::{
        classic::{self, NAME},
        fixtures::wait_running,
        journeys::JourneyContext,
        ledger::Pool,
    },
    wait::wait_for,
};
use kube::{ResourceExt, api::ListParams};

use super::{SMALL, SOON, assert_machines, await_control_plane, await_phase, await_reason, catalog, records, running};
use instar_e2e::support::{controller::steps, upgrade::annotate};

/// What is left behind is refused, what it stands at ends it there, and what is further on is gone to.
pub(crate) async fn another_target_in_the_middle(scene: JourneyContext) -> Result<()> {
    catalog(&scene, &scene.rows()?).await?;
    let ledger = running(&scene, &scene.rows()?).await?;
    annotate(&scene, VERSION_ANNOTATION, "v1.36").await?;
    await_control_plane(&scene, &scene.rows()?.version(34)).await?;
    let first = the(&scene, 1).await?.name_any();

    let before = steps(&scene)?;
    annotate(&scene, VERSION_ANNOTATION, &scene.rows()?.version(33)).await?;
    let (old, at) = (scene.rows()?.version(33), scene.rows()?.version(34));
    let message = format!(
        "{old} is older than {at}, to which the control plane has gone: set the target to {at} to stop there, or to a newer version to go on"
    );
    await_reason(&scene, &first, UpgradePhase::Refused, "NoPath", &message).await?;
    wait_running_at_the_control_plane(&scene, &at).await?;
    super::await_mark(&scene, &first, Some("Refused")).await?;
    // The target, and the mark; a swap or a template would be more.
    assert_eq!(
        steps(&scene)? - before,
        2,
        "nothing else is written while it is refused"
    );

    annotate(&scene, VERSION_ANNOTATION, "v1.34").await?;
    await_phase(&scene, &first, UpgradePhase::Completed).await?;
    wait_running(&scene.mgmt, &scene.namespace, NAME, &at, &SMALL, SOON).await?;
    assert_eq!(records(&scene).list(&ListParams::default()).await?.items.len(), 1);

    annotate(&scene, VERSION_ANNOTATION, "v1.35").await?;
    await_control_plane(&scene, &scene.rows()?.version(35)).await?;
    annotate(&scene, VERSION_ANNOTATION, "v1.36").await?;
    let second = the(&scene, 2).await?.name_any();
    await_phase(&scene, &second, UpgradePhase::Completed).await?;
    assert_eq!(records(&scene).get(&second).await?.spec.target, "v1.36");
    wait_running(
        &scene.mgmt,
        &scene.namespace,
        NAME,
        &scene.rows()?.version(36),
        &SMALL,
        SOON,
    )
    .await?;
    assert_eq!(records(&scene).list(&ListParams::default()).await?.items.len(), 2);
    let all = [(33, 1), (34, 1), (35, 1), (36, 1)];
    assert_machines(&ledger, &scene.rows()?, &Pool::ControlPlane, &all)?;
    assert_machines(
        &ledger,
        &scene.rows()?,
        &Pool::Workers("md-0".to_owned()),
        &[(33, 1), (34, 1), (36, 1)],
    )?;
    Ok(())
}

/// The how many-th record of the annotation.
async fn the(scene: &JourneyContext, ordinal: u8) -> Result<ClusterUpgrade> {
    let selector = ListParams::default().labels(&format!("{REQUEST_NUMBER_LABEL}={ordinal}"));
    let found = records(scene).list(&selector).await?;
    found.items.into_iter().next().context("the annotation made no record")
}

/// The control plane's rollout ends by itself, also while nothing is asked of it.
async fn wait_running_at_the_control_plane(scene: &JourneyContext, version: &str) -> Result<()> {
    wait_for("the control plane to have arrived", super::UPGRADE, || async {
        let control_plane = classic::control_planes(scene).get(NAME).await?;
        let at = |pointer: &str| control_plane.data.pointer(pointer).cloned().unwrap_or_default();
        if at("/status/versions") == serde_json::json!([{ "version": version, "replicas": 1 }]) {
            Ok(())
        } else {
            Err(at("/status").to_string().into())
        }
    })
    .await
}
