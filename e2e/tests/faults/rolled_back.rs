//! An upgrade that is taken back while things go wrong: a classic cluster goes to another release of its version before
//! that, and back from it.

use anyhow::Context;
use instar_api::{ClusterUpgrade, FINISHED_ANNOTATION, UpgradePhase};
use instar_e2e::{
    Result,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        fixtures::{Shape, core_kind},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        topology::namespaced,
        upgrade::{UPGRADE, upgrades},
    },
    wait::wait_for,
};
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::{each_write::record, pools};

const UP: &str = "up";
const BACK: &str = "back";

/// The release that is taken back.
pub(crate) const REVISION: u8 = 2;

/// The Cluster goes there, with nothing in its way.
pub(crate) async fn upgraded(scene: JourneyContext, rows: &Rows) -> Result<()> {
    scene
        .apply_object(pools::row(rows.row(33, REVISION), rows, 33, REVISION)?)
        .await?;
    scene.apply_object(record(UP, &rows.name(33, REVISION))).await?;
    wait_for("the upgrade that is to be taken back", UPGRADE, || async {
        let seen = upgrades(&scene).get(UP).await?;
        if finished(&seen) == Some(UpgradePhase::Completed.as_str()) {
            Ok(())
        } else {
            Err(format!("{:?}", seen.status).into())
        }
    })
    .await
}

pub(crate) async fn asked(scene: &JourneyContext) -> Result<()> {
    let rollback: Value = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": BACK },
        "spec": { "clusterName": NAME, "operation": "Rollback", "rollbackOf": UP },
    });
    scene.apply_object(rollback).await.map(drop)
}

/// Whether both records say how it ended.
pub(crate) async fn is_over(scene: &JourneyContext) -> Result<bool> {
    let records = upgrades(scene);
    let (up, back) = (records.get(UP).await?, records.get(BACK).await?);
    Ok(finished(&back).is_some() && finished(&up) == Some(UpgradePhase::RolledBack.as_str()))
}

fn finished(record: &ClusterUpgrade) -> Option<&str> {
    record.annotations().get(FINISHED_ANNOTATION).map(String::as_str)
}

/// Every object refers to what it did, and each machine was replaced once.
pub(crate) async fn violations(
    scene: &JourneyContext,
    ledger: &Ledger,
    rows: &Rows,
    shape: &Shape<'_>,
) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let records = upgrades(scene);
    for (name, phase) in [(BACK, UpgradePhase::Completed), (UP, UpgradePhase::RolledBack)] {
        let status = records.get(name).await?.status.unwrap_or_default();
        if status.phase != phase {
            broken.push(format!("{name} says {status:?}"));
        }
    }
    let control_plane = classic::control_planes(scene).get(NAME).await?;
    let refers = |object: &Value, pointer: &str| object.pointer(pointer).cloned().context("no template");
    let template = "/spec/machineTemplate/spec/infrastructureRef/name";
    if refers(&control_plane.data, template)? != json!("cp") {
        broken.push(format!("the control plane has {}", control_plane.data["spec"]));
    }
    let pools = namespaced(scene, &core_kind("MachineDeployment", "machinedeployments"));
    for pool in pools.list(&ListParams::default()).await? {
        if refers(&pool.data, "/spec/template/spec/infrastructureRef/name")? != json!(pool.name_any()) {
            broken.push(format!("{} has {}", pool.name_any(), pool.data["spec"]));
        }
    }
    ledger.caught_up().await?;
    let made = ledger.machines_by_version(NAME)?;
    let pools = shape
        .pools
        .iter()
        .map(|(name, machines)| (Pool::Workers((*name).to_owned()), *machines));
    let mut wrong = Vec::new();
    for (pool, machines) in pools.chain([(Pool::ControlPlane, shape.control_plane)]) {
        let seen = made.get(&(pool.clone(), rows.version(33))).map_or(0, Vec::len);
        if seen != 2 * machines {
            wrong.push(format!("{pool:?} had {seen} machines, and not {}", 2 * machines));
        }
    }
    if made.len() != shape.pools.len() + 1 {
        wrong.push(format!("there were machines of {:?}", made.keys()));
    }
    broken.extend(wrong);
    Ok(broken)
}
