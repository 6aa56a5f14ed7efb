//! What an upgrade changed, taken back: with machines that never came up, of workers that have rolled, and what can't be.

use std::{collections::BTreeSet, time::Duration};

use instar_api::{ClusterUpgrade, ClusterUpgradeStatus, HealthLevel, RollbackExtent, UpgradePhase};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        catalog::{IMAGE, Rows},
        classic::{self, NAME, SMALL},
        fixtures::core_kind,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        upgrade::{UPGRADE, phase},
    },
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    by_hand::{record, records},
    tried::{NOT_YET, refuse, refuse_no_more},
};

/// Time enough for a control loop that would do something.
const STILL: Duration = Duration::from_secs(20);
const SKIP: &str = "machineset.cluster.x-k8s.io/skip-preflight-checks";

/// An upgrade whose first machine of the control plane never boots goes back to what there was; so do the workers of one
/// whose first worker never joins, while the control plane stays. What etcd and kubeadm don't allow is refused with its
/// reason, and the upgrade goes on. No machine that is old still is replaced, and what was taken back stays so when Git
/// applies it again.
pub(crate) async fn what_can_be_undone_is_and_what_cannot_says_why(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let of_role = |revision: u8, role: &str| never_boots(&rows, revision, role);
    for row in rows
        .all()
        .into_iter()
        .chain([of_role(6, "ControlPlane"), of_role(7, "Worker")])
    {
        scene.apply_object(row).await?;
    }
    classic::create_with(&scene, &rows, &SMALL).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let before = machines(&scene).await?;
    a_control_plane_that_never_boots(&scene, &rows, &ledger, &before).await?;
    workers_that_never_join(&scene, &rows, &ledger, &before).await?;
    workers_that_have_rolled(&scene, &rows).await?;
    aborted(&scene, &rows).await?;
    ledger.caught_up().await?;
    assert_machines(&ledger, &rows)
}

pub(crate) type Machines = BTreeSet<(String, String)>;

async fn a_control_plane_that_never_boots(
    scene: &JourneyContext,
    rows: &Rows,
    ledger: &Ledger,
    before: &Machines,
) -> Result<()> {
    let (old, new) = (rows.version(33), rows.version(34));
    say("a control plane whose new machine never boots");
    upgrade(scene, "boots-never", &rows.name(34, 6)).await?;
    wait_for("a new machine of the control plane", UPGRADE, || async {
        let made = of_pool(ledger, &Pool::ControlPlane, &new)?;
        if made == 1 {
            Ok(())
        } else {
            Err(format!("{made} are made").into())
        }
    })
    .await?;
    extent(scene, "boots-never", RollbackExtent::All, "").await?;
    rollback(scene, "back-1", "Rollback", "boots-never").await?;
    ended(scene, "back-1", UpgradePhase::Completed).await?;
    ended(scene, "boots-never", UpgradePhase::RolledBack).await?;
    assert_eq!(machines(scene).await?, *before, "none that was there was replaced");
    assert_eq!(
        versions(scene).await?,
        [
            ("c".to_owned(), old.clone()),
            ("md-0".to_owned(), old.clone()),
            ("md-1".to_owned(), old.clone())
        ]
    );

    say("Git applies the upgrade again that was taken back");
    upgrade(scene, "boots-never", &rows.name(34, 6)).await?;
    tokio::time::sleep(STILL).await;
    assert_eq!(machines(scene).await?, *before);
    Ok(())
}

async fn workers_that_never_join(
    scene: &JourneyContext,
    rows: &Rows,
    ledger: &Ledger,
    before: &Machines,
) -> Result<()> {
    let (old, new) = (rows.version(33), rows.version(34));
    say("workers whose new machine never joins");
    upgrade(scene, "joins-never", &rows.name(34, 7)).await?;
    wait_for("a new machine of a pool", UPGRADE, || async {
        let made = of_pool(ledger, &Pool::Workers("md-0".to_owned()), &new)?;
        if made == 1 {
            Ok(())
        } else {
            Err(format!("{made} are made").into())
        }
    })
    .await?;
    let etcd = "etcd 3.6.5-0 has run, and its data can't be read by 3.5.26-0: take the workers alone back by the operation \
                RollbackWorkers, restore a snapshot of etcd, or go forward";
    extent(scene, "joins-never", RollbackExtent::Workers, etcd).await?;
    rollback(scene, "too-late", "Rollback", "joins-never").await?;
    let refused = ended(scene, "too-late", UpgradePhase::Refused).await?;
    assert_eq!(
        refused
            .health
            .first()
            .map(|row| (row.reason.as_str(), row.message.as_str())),
        Some(("NoWayBack", etcd)),
        "{refused:?}"
    );
    let goes_on = records(scene).get("joins-never").await?;
    assert_eq!(
        phase(&goes_on),
        UpgradePhase::Workers,
        "what is refused changes nothing"
    );
    rollback(scene, "back-2", "RollbackWorkers", "joins-never").await?;
    ended(scene, "back-2", UpgradePhase::Completed).await?;
    ended(scene, "joins-never", UpgradePhase::RolledBack).await?;
    let workers = |machines: &Machines| -> Machines {
        machines
            .iter()
            .filter(|(pool, _)| pool.starts_with("md-"))
            .cloned()
            .collect()
    };
    let after = machines(scene).await?;
    assert_eq!(
        workers(&after),
        workers(before),
        "no worker that was there was replaced"
    );
    assert_eq!(
        versions(scene).await?,
        [
            ("c".to_owned(), new.clone()),
            ("md-0".to_owned(), old.clone()),
            ("md-1".to_owned(), old.clone())
        ]
    );
    Ok(())
}

async fn workers_that_have_rolled(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let (old, new) = (rows.version(33), rows.version(34));
    say("workers that have rolled");
    upgrade(scene, "rolled", &rows.name(34, 1)).await?;
    let status = ended(scene, "rolled", UpgradePhase::Completed).await?;
    let older = format!(
        "Cluster API makes no machine of {old} for MachineDeployment md-0 while the control plane is at {new}, since kubeadm \
         joins no other minor version: "
    );
    let said = status.rollback.context("nothing is said of a rollback")?;
    assert_eq!(said.possible, RollbackExtent::Nothing, "{said:?}");
    assert!(said.why.starts_with(&older) && said.what.is_empty(), "{said:?}");
    rollback(scene, "by-kubeadm", "Rollback", "rolled").await?;
    let refused = ended(scene, "by-kubeadm", UpgradePhase::Refused).await?;
    let first = refused.health.first().context("it doesn't say why")?;
    assert!(first.message.starts_with(&older), "{refused:?}");

    say("the same where kubeadm may join older machines");
    for pool in ["md-0", "md-1"] {
        let patch = json!({ "metadata": { "annotations": { SKIP: "KubeadmVersionSkew" } } });
        pools(scene)
            .patch(pool, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
    }
    a_control_plane_that_may_not_go(scene, rows).await?;
    ended(scene, "back-3", UpgradePhase::Completed).await?;
    ended(scene, "rolled", UpgradePhase::RolledBack).await?;
    assert_eq!(
        versions(scene).await?,
        [
            ("c".to_owned(), new.clone()),
            ("md-0".to_owned(), old.clone()),
            ("md-1".to_owned(), old.clone())
        ]
    );
    asked_for_again(scene, rows).await
}

/// A policy of the management cluster refuses the control plane's way back: the rollback is held before the first worker
/// goes, says so, and goes on by itself without the policy.
async fn a_control_plane_that_may_not_go(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    say("a control plane whose way back a policy refuses");
    refuse(scene, "object.spec == oldObject.spec", &rows.version(35)).await?;
    let stood = (versions(scene).await?, machines(scene).await?);
    rollback(scene, "back-3", "Rollback", "rolled").await?;
    let held = ended(scene, "back-3", UpgradePhase::Held).await?;
    let first = held.health.first().context("it doesn't say why")?;
    assert_eq!(
        (
            first.reason.as_str(),
            first.level,
            first.kind.as_str(),
            first.name.as_str()
        ),
        ("Refused", HealthLevel::Error, "KubeadmControlPlane", NAME),
        "{held:?}"
    );
    let told = [
        "nothing is taken back yet",
        "trying to point KubeadmControlPlane",
        NOT_YET,
    ];
    assert!(told.iter().all(|part| first.message.contains(part)), "{held:?}");
    assert!(first.next.contains("RollbackWorkers"), "{held:?}");
    assert_eq!((versions(scene).await?, machines(scene).await?), stood, "nothing moves");
    refuse_no_more(scene).await
}

/// Applied again as it was, nothing moves; with a higher number, it goes where it went.
async fn asked_for_again(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    say("what was taken back, asked for once more");
    let (before, stood) = (versions(scene).await?, machines(scene).await?);
    upgrade(scene, "rolled", &rows.name(34, 1)).await?;
    tokio::time::sleep(STILL).await;
    assert_eq!((versions(scene).await?, machines(scene).await?), (before, stood));
    let patch = json!({ "spec": { "retry": 1 } });
    records(scene)
        .patch("rolled", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    ended(scene, "rolled", UpgradePhase::Completed).await?;
    let new = rows.version(34);
    let there = ["c", "md-0", "md-1"].map(|name| (name.to_owned(), new.clone()));
    assert_eq!(versions(scene).await?, there);
    Ok(())
}

async fn aborted(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    say("an upgrade that is aborted once its control plane has moved");
    upgrade(scene, "aborted", &rows.name(35, 1)).await?;
    wait_for("the control plane to move", UPGRADE, || async {
        let seen = versions(scene).await?;
        if seen[0].1 == rows.version(35) {
            Ok(())
        } else {
            Err(format!("{seen:?}").into())
        }
    })
    .await?;
    let patch = json!({ "spec": { "operation": "Abort" } });
    records(scene)
        .patch("aborted", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    ended(scene, "aborted", UpgradePhase::Aborted).await?;
    let last = rows.version(35);
    assert_eq!(
        versions(scene).await?,
        [
            ("c".to_owned(), last.clone()),
            ("md-0".to_owned(), last.clone()),
            ("md-1".to_owned(), last)
        ]
    );
    Ok(())
}

/// A release of v1.34 whose machines of a role take an hour to start.
pub(crate) fn never_boots(rows: &Rows, revision: u8, role: &str) -> Value {
    let mut row = rows.row(34, revision);
    row["spec"]["support"] = json!({ "tier": "Preview" });
    let image = |role: &str, value: Value| json!({ "kind": "DevMachineTemplate", "role": role, "values": [{ "pointer": IMAGE, "value": value }] });
    let value = |of: &str| {
        if of == role {
            json!("1h")
        } else {
            json!(rows.image(34, revision))
        }
    };
    row["spec"]["machineImages"] = json!([
        image("ControlPlane", value("ControlPlane")),
        image("Worker", value("Worker")),
    ]);
    row
}

pub(crate) async fn upgrade(scene: &JourneyContext, name: &str, target: &str) -> Result<()> {
    scene
        .apply_object(record(name, &json!({ "clusterName": NAME, "target": target })))
        .await?;
    Ok(())
}

pub(crate) async fn rollback(scene: &JourneyContext, name: &str, operation: &str, of: &str) -> Result<()> {
    let spec = json!({ "clusterName": NAME, "operation": operation, "rollbackOf": of });
    scene.apply_object(record(name, &spec)).await?;
    Ok(())
}

pub(crate) async fn ended(scene: &JourneyContext, name: &str, wanted: UpgradePhase) -> Result<ClusterUpgradeStatus> {
    wait_for(&format!("{name} to be {}", wanted.as_str()), UPGRADE, || async {
        let seen: ClusterUpgrade = records(scene).get(name).await?;
        match seen.status {
            Some(status) if status.phase == wanted => Ok(status),
            status => Err(format!("{status:?}").into()),
        }
    })
    .await
}

/// What the record says of a rollback, before one is asked for.
async fn extent(scene: &JourneyContext, name: &str, possible: RollbackExtent, why: &str) -> Result<()> {
    wait_for(&format!("{name} to say what can be taken back"), UPGRADE, || async {
        let seen = records(scene).get(name).await?;
        let said = seen.status.and_then(|status| status.rollback);
        match said {
            Some(said) if said.possible == possible && said.why == why && !said.what.is_empty() => Ok(()),
            said => Err(format!("{said:?}").into()),
        }
    })
    .await
}

fn pools(scene: &JourneyContext) -> Api<DynamicObject> {
    let kind = core_kind("MachineDeployment", "machinedeployments");
    Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &kind)
}

/// The versions that the control plane and the pools are to have.
pub(crate) async fn versions(scene: &JourneyContext) -> Result<Vec<(String, String)>> {
    let control_plane = classic::control_planes(scene).get(NAME).await?;
    let text = |object: &DynamicObject, pointer: &str| -> Result<String> {
        let version = object.data.pointer(pointer).and_then(Value::as_str);
        Ok(version.context("no version")?.to_owned())
    };
    let mut versions = vec![(NAME.to_owned(), text(&control_plane, "/spec/version")?)];
    for pool in pools(scene).list(&ListParams::default()).await? {
        versions.push((pool.name_any(), text(&pool, "/spec/template/spec/version")?));
    }
    Ok(versions)
}

/// The Machines that stay: their pool and their name.
pub(crate) async fn machines(scene: &JourneyContext) -> Result<Machines> {
    let kind = core_kind("Machine", "machines");
    let api: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &kind);
    let all = api.list(&ListParams::default()).await?;
    let stay = all
        .into_iter()
        .filter(|machine| machine.metadata.deletion_timestamp.is_none());
    let name = |machine: DynamicObject| {
        let pool = machine.labels().get("cluster.x-k8s.io/deployment-name").cloned();
        (pool.unwrap_or_default(), machine.name_any())
    };
    Ok(stay.map(name).collect())
}

/// How many machines of a pool were ever made for a version.
fn of_pool(ledger: &Ledger, pool: &Pool, version: &str) -> Result<usize> {
    let made = ledger.machines_by_version(NAME)?;
    Ok(made.get(&(pool.clone(), version.to_owned())).map_or(0, Vec::len))
}

/// All that ever were: each rollout made each machine once.
fn assert_machines(ledger: &Ledger, rows: &Rows) -> Result<()> {
    let [old, new, last] = [33, 34, 35].map(|minor| rows.version(minor));
    let pool = |name: &str| Pool::Workers(name.to_owned());
    for (pool, version, made) in [
        // The one that was there at first.
        (Pool::ControlPlane, &old, 1),
        // One that never booted, then those of the releases 7 and 1, of 7 again, and of 1 when that was asked for again.
        (Pool::ControlPlane, &new, 5),
        (Pool::ControlPlane, &last, 1),
        // The one that was there at first, and the one after the rollback.
        (pool("md-0"), &old, 2),
        (pool("md-1"), &old, 2),
        // One that never joined, one that did, and one when it was asked for again.
        (pool("md-0"), &new, 3),
        (pool("md-1"), &new, 2),
        (pool("md-0"), &last, 1),
        (pool("md-1"), &last, 1),
    ] {
        let seen = of_pool(ledger, &pool, version)?;
        assert_eq!(
            seen,
            made,
            "{pool:?} at {version}: {:#?}",
            ledger.machines_by_version(NAME)?
        );
    }
    Ok(())
}
