//! Another release of the version that runs: the control plane first, then pool by pool; and a control plane image that
//! never boots.

use instar_api::UpgradePhase;
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        catalog::IMAGE,
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        ledger::{Ledger, MachineRecord, Pool},
        record::upgrades,
        topology::{UPGRADE, apply_rows, apply_wired, create, pinned, pins},
    },
    wait::wait_for,
};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const POOLS: [&str; 2] = ["md-0", "md-1"];

/// The first machine of a release never boots. Another release is named in the record: the controller deletes that
/// Machine, the control plane goes there, then one pool after the other, none of which ever had the first release.
pub(crate) async fn goes_on_past_an_image_that_never_boots(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    let version = rows.version(34);
    let cluster = TopologyCluster {
        name: "c",
        version: &version,
        control_planes: 1,
        workers: &POOLS.map(|pool| (pool, 1)),
    };
    create(&scene, &cluster).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;

    let mut never_boots = rows.row(34, 2);
    let images = never_boots["spec"]["machineImages"].as_array_mut();
    let of_control_plane = json!({
        "kind": "DevMachineTemplate",
        "role": "ControlPlane",
        "values": [{ "pointer": IMAGE, "value": "1h" }],
    });
    // The first one that fits counts.
    images.context("a row has images")?.insert(0, of_control_plane);
    apply_rows(&scene, &[never_boots, rows.row(34, 3)]).await?;
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "refresh" },
            "spec": { "clusterName": "c", "operation": "Refresh", "target": rows.name(34, 2) },
        }))
        .await?;
    let stuck = stuck(&scene).await?;
    say(format!("{}: Machine {stuck} never boots", scene.namespace));
    let patch = Patch::Merge(json!({ "spec": { "target": rows.name(34, 3) } }));
    upgrades(&scene)
        .patch("refresh", &PatchParams::default(), &patch)
        .await?;
    wait_for("the refresh to be completed", UPGRADE, || async {
        let status = upgrades(&scene).get("refresh").await?.status.unwrap_or_default();
        if status.phase == UpgradePhase::Completed {
            return Ok(());
        }
        Err(format!("{:?}: {:?}", status.phase, status.health).into())
    })
    .await?;

    ledger.caught_up().await?;
    let made = |pool: Pool| -> Result<Vec<MachineRecord>> {
        let machines = ledger.machines_ever("c")?.into_iter();
        let mut machines: Vec<_> = machines
            .filter(|machine| machine.pool == pool && !machine.surplus)
            .collect();
        machines.sort_by_key(|machine| machine.created);
        Ok(machines)
    };
    let image = |machine: &MachineRecord| {
        let template = machine.template.as_ref();
        let image = template.and_then(|template| template.spec.pointer(IMAGE.trim_start_matches("/spec")));
        image.and_then(Value::as_str).unwrap_or("nothing").to_owned()
    };
    let images = |machines: &[MachineRecord]| machines.iter().map(image).collect::<Vec<_>>();
    let [first, last] = [rows.image(34, 1), rows.image(34, 3)];
    let control_plane = made(Pool::ControlPlane)?;
    assert_eq!(
        images(&control_plane),
        [first.as_str(), "1h", last.as_str()],
        "{control_plane:#?}"
    );
    let never_booted = &control_plane[1];
    assert_eq!((&never_booted.name, never_booted.deleted), (&stuck, true));
    let mut before = control_plane[2].created;
    for pool in POOLS {
        let machines = made(Pool::Workers(pool.to_owned()))?;
        assert_eq!(images(&machines), [first.as_str(), last.as_str()], "{machines:#?}");
        assert!(
            machines[1].created >= before,
            "{pool} went at {}, {before} came first",
            machines[1].created
        );
        before = machines[1].created;
    }
    let pins = pins(&scene, "c").await?;
    assert_eq!(pinned(&pins), [format!("{version}={}", rows.name(34, 3))]);
    let pin = &pins["releases"][&version];
    assert_eq!((pin.get("change"), &pin["machineDeployments"]), (None, &json!({})));
    Ok(())
}

/// The Machine that the record names.
async fn stuck(scene: &JourneyContext) -> Result<String> {
    wait_for("the Machine that never boots to be named", UPGRADE, || async {
        let status = upgrades(scene).get("refresh").await?.status.unwrap_or_default();
        let mut rows = status.health.iter();
        match rows.find(|row| row.reason == "ControlPlaneStuck") {
            Some(row) => Ok(row.name.clone()),
            None => Err(format!("{:?}: {:?}", status.phase, status.health).into()),
        }
    })
    .await
}
