//! A `ClusterUpgrade` that somebody writes.

use instar_api::{ClusterUpgrade, UpgradePhase};
use instar_e2e::{
    Result,
    support::{
        classic::{self, NAME, SMALL, assert_rolled},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
    },
    wait::wait_for,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use instar_e2e::support::upgrade::{UPGRADE, phase};

/// One pool is held, and the rest goes; a second record is refused; what is immutable is.
pub(crate) async fn held_and_all_at_once(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    classic::create_with(&scene, &rows, &SMALL).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    scene
        .apply_object(record(
            "first",
            &json!({
                "clusterName": NAME,
                "target": "v1.34",
                "strategy": { "type": "All" },
                "pools": [{ "name": "md-1", "hold": true }],
            }),
        ))
        .await?;
    scene
        .apply_object(record(
            "second",
            &json!({ "clusterName": NAME, "target": rows.version(33) }),
        ))
        .await?;
    await_phase(&scene, "first", UpgradePhase::Completed).await?;
    assert_rolled(&ledger, &rows, &Pool::ControlPlane, 1, &[33, 34])?;
    assert_rolled(&ledger, &rows, &Pool::Workers("md-0".to_owned()), 1, &[33, 34])?;
    assert_rolled(&ledger, &rows, &Pool::Workers("md-1".to_owned()), 1, &[33])?;
    await_phase(&scene, "second", UpgradePhase::Refused).await?;

    refused(
        &scene,
        &json!({ "clusterName": "another" }),
        "spec.clusterName: it is the record of an upgrade of Cluster c, and would be one of Cluster another",
    )
    .await?;
    refused(
        &scene,
        &json!({ "strategy": { "limit": 3 } }),
        "limit is for the type Parallel alone",
    )
    .await?;
    let both = json!({ "pools": [{ "name": "md-1", "hold": true, "release": "r" }] });
    refused(&scene, &both, "hold: true and release must not both be set").await
}

pub(crate) fn record(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// The ClusterUpgrades of the journey.
pub(crate) fn records(scene: &JourneyContext) -> Api<ClusterUpgrade> {
    Api::namespaced(scene.mgmt.client(), &scene.namespace)
}

pub(crate) async fn await_phase(scene: &JourneyContext, name: &str, wanted: UpgradePhase) -> Result<()> {
    let records = records(scene);
    wait_for(&format!("{name} to be {wanted:?}"), UPGRADE, || async {
        let record = records.get(name).await?;
        if phase(&record) == wanted {
            Ok(())
        } else {
            Err(format!("{:?}", record.status).into())
        }
    })
    .await
}

/// The API server refuses an edit, and says why.
async fn refused(scene: &JourneyContext, spec: &Value, why: &str) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": spec }));
    match records(scene).patch("first", &PatchParams::default(), &patch).await {
        Ok(_) => anyhow::bail!("{spec} was accepted"),
        Err(error) => anyhow::ensure!(error.to_string().contains(why), "{spec}: {error}"),
    }
    Ok(())
}
