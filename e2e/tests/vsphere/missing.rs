//! A row whose VM template isn't in the vCenter: the check `machine-image-present` doesn't let the upgrade begin. Where a
//! user skips it, it is said in the provider's words, and no running machine is touched. Then forward to a good row,
//! without a hand on any Machine, and the workers back to the row before.

use std::collections::BTreeMap;

use instar_api::{ClusterUpgrade, PreflightResult, UpgradePhase};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        classic::NAME,
        fixtures::core_kind,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        topology::apply_rows,
        upgrade::{UPGRADE, phase, upgrades},
    },
    vcenter::inventory_name,
    wait::wait_for,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    classic::{POOL, create},
    look::{RECORD, finds, let_it_look, sessions, set_thumbprint, skip},
    scenery::{Catalog, count},
};

const NOWHERE: &str = "/DC0/vm/ubuntu-2404-lost-v1.34.3";

/// What is in its folder with names that are most like it.
const NEAR: [&str; 3] = [
    "ubuntu-2404-gpu-v1.34.3",
    "ubuntu-2404-gpu-v1.36.3",
    "ubuntu-2404-kube-v1.34.0",
];

/// The rollback that is asked for.
const BACK: &str = "back";

/// The thumbprint of no server, by SHA-256 as that of the simulator.
const OTHER: &str = "AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:\
                     AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB";

pub(crate) async fn stalls_and_goes_forward(scene: JourneyContext) -> Result<()> {
    let catalog = Catalog::apply(&scene).await?;
    let (old, new) = (catalog.version(33)?, catalog.version(34)?);
    apply_rows(&scene, &[lost(&catalog, &new)?]).await?;
    create(&scene, &catalog).await?;
    let ledger = count(&scene).await?;

    let vcenter = scene.mgmt.vcenter().await?;
    let host = vcenter.server.trim_start_matches("https://");
    let_it_look(&scene).await?;
    set_thumbprint(&scene, OTHER).await?;
    ask(&scene, &format!("{new}-2")).await?;
    let other_server = format!(
        "the images on the way were not looked for in the vCenter of VSphereCluster {NAME}: the certificate of {host} has the \
         thumbprint {}, and spec.thumbprint of the VSphereCluster is {OTHER}, so no credentials were sent: see whether it is \
         the right server, and set its thumbprint there",
        vcenter.thumbprint
    );
    finds(&scene, PreflightResult::Unknown, &other_server).await?;
    let before = sessions(&scene).await?;
    assert_eq!(before.logins, 0, "credentials were sent");
    set_thumbprint(&scene, &vcenter.thumbprint).await?;
    let lacks = format!(
        "KubeadmControlPlane {NAME}: the VM template \"{NOWHERE}\" of release {new}-2 is not in the vCenter {host} (/DC0/vm is \
         there, with {}); upload the VM template under the path that the message names, or create a release with the right \
         path and a higher revision",
        NEAR.join(", ")
    );
    finds(&scene, PreflightResult::Fail, &lacks).await?;
    assert_eq!(made(&ledger).await?, not_begun(&old));

    skip(&scene).await?;
    let words = format!("unable to find template by name \"{NOWHERE}\"");
    let told = wait_for("the missing VM template to be told", UPGRADE, || async {
        let upgrade = upgrades(&scene).get(RECORD).await?;
        let status = upgrade.status.unwrap_or_default();
        let row = status.health.iter().find(|row| row.message.contains(&words));
        match row {
            Some(row) => Ok(format!("{}: {}", row.reason, row.message)),
            None => Err(serde_json::to_string(&status)?.into()),
        }
    })
    .await?;
    say(format!("vsphere-missing-template: {told}"));
    let untouched = BTreeMap::from([
        ((Pool::ControlPlane, old.clone()), 1),
        ((Pool::ControlPlane, new.clone()), 1),
        ((Pool::Workers(POOL.to_owned()), old.clone()), 2),
    ]);
    assert_eq!(made(&ledger).await?, untouched);
    let gone: Vec<String> = ledger
        .machines_ever(NAME)?
        .into_iter()
        .filter(|machine| machine.deleted)
        .map(|machine| machine.name)
        .collect();
    assert_eq!(gone, Vec::<String>::new());

    ask(&scene, &format!("{new}-1")).await?;
    is_at(&scene, RECORD, UpgradePhase::Completed).await?;
    // The one that never had a VM, and one for each that was there.
    let forward = BTreeMap::from([
        ((Pool::ControlPlane, old.clone()), 1),
        ((Pool::ControlPlane, new.clone()), 2),
        ((Pool::Workers(POOL.to_owned()), old.clone()), 2),
        ((Pool::Workers(POOL.to_owned()), new.clone()), 2),
    ]);
    assert_eq!(made(&ledger).await?, forward);
    let sessions = sessions(&scene).await?;
    assert!(
        sessions.logins > 0 && sessions.logins == sessions.logouts,
        "{sessions:?}"
    );
    cloned(&scene, &ledger, &catalog, |_| &new).await?;

    back(&scene).await?;
    let mut returned = forward;
    returned.insert((Pool::Workers(POOL.to_owned()), old.clone()), 4);
    assert_eq!(made(&ledger).await?, returned);
    cloned(&scene, &ledger, &catalog, |pool| match pool {
        Pool::ControlPlane => &new,
        Pool::Workers(_) => &old,
    })
    .await
}

/// Takes the workers back. The simulated machines are joined by no kubeadm, so they may be of the minor before.
async fn back(scene: &JourneyContext) -> Result<()> {
    let kind = core_kind("MachineDeployment", "machinedeployments");
    let pools: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &kind);
    let skip = json!({ "machineset.cluster.x-k8s.io/skip-preflight-checks": "KubeadmVersionSkew" });
    let patch = Patch::Merge(json!({ "metadata": { "annotations": skip } }));
    pools.patch(POOL, &PatchParams::default(), &patch).await?;
    let rollback = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": BACK },
        "spec": { "clusterName": NAME, "operation": "RollbackWorkers", "rollbackOf": RECORD },
    });
    scene.apply_object(rollback).await?;
    is_at(scene, BACK, UpgradePhase::Completed).await?;
    is_at(scene, RECORD, UpgradePhase::RolledBack).await
}

async fn is_at(scene: &JourneyContext, name: &str, wanted: UpgradePhase) -> Result<()> {
    wait_for(&format!("{name} to be {}", wanted.as_str()), UPGRADE, || async {
        let upgrade: ClusterUpgrade = upgrades(scene).get(name).await?;
        if phase(&upgrade) == wanted {
            Ok(())
        } else {
            Err(serde_json::to_string(&upgrade.status)?.into())
        }
    })
    .await
}

/// The vCenter says that each VM that is there was cloned from the VM template that its pool has for this version.
async fn cloned<'v>(
    scene: &JourneyContext,
    ledger: &Ledger,
    catalog: &Catalog,
    version: impl Fn(&Pool) -> &'v String,
) -> Result<()> {
    let clones = scene.mgmt.clones().await?;
    for machine in ledger.machines_ever(NAME)?.iter().filter(|machine| !machine.deleted) {
        assert_eq!(machine.version, *version(&machine.pool), "{}", machine.name);
        let expected = inventory_name(&catalog.vm_template(&machine.version, &machine.pool)?);
        assert_eq!(clones.get(&machine.name), Some(&expected), "{}", machine.name);
    }
    Ok(())
}

/// A row of that version that only its name leads to, and whose control plane has no VM template.
fn lost(catalog: &Catalog, version: &str) -> Result<Value> {
    let row = catalog.rows.iter().find(|row| row["spec"]["version"] == version);
    let mut row = row.context("no row of that version")?.clone();
    row["metadata"]["name"] = json!(format!("{version}-2"));
    row["spec"]["revision"] = json!(2);
    row["spec"]["support"] = json!({ "tier": "Preview" });
    let images = row["spec"]["machineImages"].as_array_mut().context("no images")?;
    let image = images.iter_mut().find(|image| image["role"] == "ControlPlane");
    image.context("no image of the control plane")?["values"][0]["value"] = json!(NOWHERE);
    Ok(row)
}

async fn ask(scene: &JourneyContext, target: &str) -> Result<()> {
    let upgrade = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": RECORD },
        "spec": { "clusterName": NAME, "target": target },
    });
    upgrades(scene)
        .patch(RECORD, &PatchParams::apply("journey").force(), &Patch::Apply(&upgrade))
        .await?;
    Ok(())
}

/// Nothing was made for the upgrade.
fn not_begun(old: &str) -> BTreeMap<(Pool, String), usize> {
    BTreeMap::from([
        ((Pool::ControlPlane, old.to_owned()), 1),
        ((Pool::Workers(POOL.to_owned()), old.to_owned()), 2),
    ])
}

/// How many machines each pool ever had at each version.
async fn made(ledger: &Ledger) -> Result<BTreeMap<(Pool, String), usize>> {
    ledger.caught_up().await?;
    let groups = ledger.machines_by_version(NAME)?.into_iter();
    Ok(groups.map(|(group, machines)| (group, machines.len())).collect())
}
