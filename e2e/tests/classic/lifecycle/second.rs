//! A second upgrade of the same Cluster, and what is over without its status.

use instar_api::{UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Result,
    support::{
        classic::NAME,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
    },
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    SMALL, SOON, assert_machines, await_event, await_mark, await_phase, await_reason, await_status, catalog, create,
    edit, events, records,
};
use instar_e2e::support::upgrade::{annotate, prepare};

pub(crate) async fn prepare_second(scene: JourneyContext) -> Result<()> {
    prepare(&scene, &SMALL).await
}

/// It is refused at once, stays so when the first is over, and an edit lets it try again. With every
/// status dropped, as a move does, nothing moves. The controller gives its lease back.
pub(crate) async fn second_upgrade_is_refused(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    catalog(&scene, &rows).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    create(
        &scene,
        "first",
        &json!({ "clusterName": NAME, "target": rows.name(34, 1) }),
    )
    .await?;
    await_phase(&scene, "first", UpgradePhase::ControlPlane).await?;
    annotate(&scene, "upgrade.cluster.x-k8s.io/verison", "v1.36").await?;
    await_event(&scene, "Cluster", "AnnotationWithoutEffect").await?;
    create(&scene, "second", &json!({ "clusterName": NAME, "target": "v1.35" })).await?;
    annotate(&scene, VERSION_ANNOTATION, "v1.34").await?;
    let message = "ClusterUpgrade first of the same Cluster goes on: edit the target of first, or create this again when first is over";
    await_reason(&scene, "second", UpgradePhase::Refused, "AnotherUpgrade", message).await?;
    await_mark(&scene, "second", Some("Refused")).await?;
    await_event(&scene, "Cluster", "VersionAnnotationWaits").await?;
    await_phase(&scene, "first", UpgradePhase::Completed).await?;
    await_mark(&scene, "first", Some("Completed")).await?;
    await_reason(&scene, "second", UpgradePhase::Refused, "AnotherUpgrade", message).await?;
    assert_eq!(
        events(&scene, "Cluster", "VersionAnnotationWaits").await?,
        1,
        "it is said once"
    );

    let controller = scene.mgmt.controller();
    controller.stop().await?;
    let leases: Api<Lease> = Api::namespaced(scene.mgmt.client(), "instar-system");
    let lease = leases.get("instar-controller").await?.spec.unwrap_or_default();
    let holder = lease.holder_identity.unwrap_or_default();
    assert_eq!(holder, "", "the lease was not given back");
    for name in ["first", "second"] {
        let patch = Patch::Merge(json!({ "status": null }));
        let dropped = records(&scene)
            .patch_status(name, &PatchParams::default(), &patch)
            .await?;
        assert!(dropped.status.is_none(), "{dropped:?}");
    }
    controller.start().await?;
    await_status(&scene, "first", "Completed again", SOON, |status| {
        status.phase == UpgradePhase::Completed
    })
    .await?;
    await_status(&scene, "second", "Refused again", SOON, |status| {
        status.phase == UpgradePhase::Refused
    })
    .await?;
    let nothing_more = || -> Result<()> {
        assert_machines(&ledger, &rows, &Pool::ControlPlane, &[(33, 1), (34, 1)])?;
        assert_machines(&ledger, &rows, &Pool::Workers("md-0".to_owned()), &[(33, 1), (34, 1)])
    };
    nothing_more()?;

    // The annotation, which nothing moves, made no record; and a row that comes moves nobody.
    assert_eq!(records(&scene).list(&ListParams::default()).await?.items.len(), 2);
    edit(&scene, "second", &json!({ "target": "v1.34" })).await?;
    await_phase(&scene, "second", UpgradePhase::Completed).await?;
    await_mark(&scene, "second", Some("Completed")).await?;
    nothing_more()
}
