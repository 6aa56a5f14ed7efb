//! `clusterctl move` in the middle of an upgrade.

use std::collections::BTreeSet;

use instar_api::{BREAK_GLASS_ANNOTATION, FINISHED_ANNOTATION, KubernetesRelease, UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Result,
    clusterctl::{MoveTarget, move_namespace},
    support::{
        catalog::Rows,
        classic::{self, NAME, assert_rolled},
        fixtures::{Shape, core_kind, wait_running},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        lost::{keep_releases, lose},
    },
    wait::{Seen, wait_for},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;

use super::{SOON, await_control_plane, await_mark, await_phase, await_status, catalog, create, edit, records};
use instar_e2e::support::upgrade::{UPGRADE, annotate, prepare};

/// A control plane takes its time, so that the upgrade is in the middle while it is looked at.
const SHAPE: Shape<'_> = Shape {
    control_plane: 3,
    pools: &[("md-0", 1), ("md-1", 1)],
};

/// What is over before the move, and how.
const OVER: [(&str, UpgradePhase); 2] = [("older", UpgradePhase::Completed), ("second", UpgradePhase::Refused)];

/// The rollback.
const BACK: &str = "back";
const SKIP: &str = "machineset.cluster.x-k8s.io/skip-preflight-checks";

/// Why nothing goes on while the Cluster is in files only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// There is no controller. The one that takes over has seen nothing of before, and finds no
    /// catalog at first: that isn't moved.
    Stopped,
    /// The upgrade is paused, and the controller sees all of it go and come again.
    Paused,
}

pub(crate) async fn prepare_moved(scene: JourneyContext) -> Result<()> {
    prepare(&scene, &SHAPE).await
}

/// The management cluster is lost, and another takes the files: the upgrade goes on by itself.
pub(crate) async fn moved_in_the_middle(scene: JourneyContext) -> Result<()> {
    goes_on(scene, Held::Stopped).await
}

/// The Cluster is lost and restored where it was: the upgrade goes on when it is resumed.
pub(crate) async fn restored_in_the_middle(scene: JourneyContext) -> Result<()> {
    goes_on(scene, Held::Paused).await
}

/// The control plane has made the first of two minors when everything goes into files, is lost, and
/// comes back with new uids and without a status. What was over stays over.
async fn goes_on(scene: JourneyContext, held: Held) -> Result<()> {
    let rows = scene.rows()?;
    if held == Held::Paused {
        classic::create_with(&scene, &rows, &SHAPE).await?;
    }
    catalog(&scene, &rows).await?;
    create(
        &scene,
        "older",
        &json!({ "clusterName": NAME, "target": rows.version(33) }),
    )
    .await?;
    await_mark(&scene, "older", Some("Completed")).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    annotate(&scene, VERSION_ANNOTATION, &rows.version(35)).await?;
    let record = asked(&scene).await?;
    create(&scene, "second", &json!({ "clusterName": NAME, "target": "v1.36" })).await?;
    await_control_plane(&scene, &rows.version(34)).await?;
    await_mark(&scene, "second", Some("Refused")).await?;
    match held {
        Held::Stopped => scene.mgmt.controller().stop().await?,
        Held::Paused => edit(&scene, &record, &json!({ "paused": true })).await?,
    }
    rolled_out(&scene, &rows).await?;
    ledger.caught_up().await?;
    assert_rolled(&ledger, &rows, &Pool::ControlPlane, 3, &[33, 34])?;
    for (pool, machines) in SHAPE.pools {
        assert_rolled(&ledger, &rows, &Pool::Workers((*pool).to_owned()), *machines, &[33])?;
    }
    let before = live(&ledger)?;
    drop(ledger);

    let directory = tempfile::tempdir()?;
    move_namespace(&scene.mgmt, &scene.namespace, MoveTarget::ToDirectory, directory.path()).await?;
    keep_releases(directory.path(), &[])?;
    let uid = classic::clusters(&scene).get(NAME).await?.uid();
    lose(&scene, directory.path(), &[NAME]).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    move_namespace(
        &scene.mgmt,
        &scene.namespace,
        MoveTarget::FromDirectory,
        directory.path(),
    )
    .await?;
    let moved = classic::clusters(&scene).get(NAME).await?.uid();
    assert_ne!(moved, uid, "the Cluster was not lost");
    if held == Held::Stopped {
        for name in OVER.map(|(name, _)| name).into_iter().chain([&*record]) {
            let found = records(&scene).get(name).await?;
            assert!(found.status.is_none(), "{name} came with a status: {:?}", found.status);
        }
    }
    ledger.caught_up().await?;
    assert_eq!(live(&ledger)?, before, "what was moved");

    match held {
        Held::Stopped => {
            // A management cluster without the catalog: the way is in the Cluster, and came with it.
            let releases: Api<KubernetesRelease> = Api::all(scene.mgmt.client());
            let why = json!({ "metadata": { "annotations": {
                BREAK_GLASS_ANNOTATION: "release-in-use: there is none on the other side",
            } } });
            for name in [33, 34, 35, 36].map(|minor| rows.name(minor, 1)) {
                let parameters = PatchParams::default();
                releases.patch(&name, &parameters, &Patch::Merge(&why)).await?;
                releases.delete(&name, &DeleteParams::default()).await?;
            }
            scene.mgmt.controller().start().await?;
            await_phase(&scene, &record, UpgradePhase::Completed).await?;
            catalog(&scene, &rows).await?;
        }
        Held::Paused => {
            stay_over(&scene).await?;
            assert_eq!(live(&ledger)?, before, "what is there while it is paused");
            edit(&scene, &record, &json!({ "paused": false })).await?;
        }
    }
    await_phase(&scene, &record, UpgradePhase::Completed).await?;
    await_mark(&scene, &record, Some("Completed")).await?;
    let last = rows.version(35);
    wait_running(&scene.mgmt, &scene.namespace, NAME, &last, &SHAPE, SOON).await?;
    stay_over(&scene).await?;
    assert_eq!(records(&scene).list(&ListParams::default()).await?.items.len(), 3);

    ledger.caught_up().await?;
    assert_rolled(&ledger, &rows, &Pool::ControlPlane, 3, &[34, 35])?;
    for (pool, machines) in SHAPE.pools {
        assert_rolled(&ledger, &rows, &Pool::Workers((*pool).to_owned()), *machines, &[33, 35])?;
    }
    assert_templates(&scene, &ledger, &rows, moved.as_deref()).await?;
    drop(ledger);
    match held {
        Held::Stopped => Ok(()),
        Held::Paused => rolled_back_across_a_move(&scene, &rows, &record).await,
    }
}

/// The workers go back one after the other, and the first of them is back when all is lost and restored. Its rollback goes
/// on where it was, and nothing is done twice.
async fn rolled_back_across_a_move(scene: &JourneyContext, rows: &Rows, record: &str) -> Result<()> {
    let (old, last) = (rows.version(33), rows.version(35));
    let pools: Api<DynamicObject> = Api::namespaced_with(
        scene.mgmt.client(),
        &scene.namespace,
        &core_kind("MachineDeployment", "machinedeployments"),
    );
    let version_of = |pool: DynamicObject| pool.data["spec"]["template"]["spec"]["version"].clone();
    for (name, _) in SHAPE.pools {
        let skip = json!({ "metadata": { "annotations": { SKIP: "KubeadmVersionSkew" } } });
        pools.patch(name, &PatchParams::default(), &Patch::Merge(&skip)).await?;
    }
    let spec = json!({ "clusterName": NAME, "operation": "RollbackWorkers", "rollbackOf": record });
    create(scene, BACK, &spec).await?;
    wait_for("the first pool to go back", UPGRADE, || async {
        let at = version_of(pools.get("md-0").await?);
        if at == json!(old) {
            Ok(())
        } else {
            Err(Seen::from(at.to_string()))
        }
    })
    .await?;
    edit(scene, BACK, &json!({ "paused": true })).await?;
    stands_still(scene, &old).await?;
    assert_eq!(
        version_of(pools.get("md-1").await?),
        json!(last),
        "it is paused in the middle"
    );
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    ledger.caught_up().await?;
    let before = live(&ledger)?;
    drop(ledger);

    let directory = tempfile::tempdir()?;
    let (to, from) = (MoveTarget::ToDirectory, MoveTarget::FromDirectory);
    move_namespace(&scene.mgmt, &scene.namespace, to, directory.path()).await?;
    keep_releases(directory.path(), &[])?;
    lose(scene, directory.path(), &[NAME]).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    move_namespace(&scene.mgmt, &scene.namespace, from, directory.path()).await?;
    ledger.caught_up().await?;
    assert_eq!(live(&ledger)?, before, "what was moved");
    edit(scene, BACK, &json!({ "paused": false })).await?;
    await_phase(scene, BACK, UpgradePhase::Completed).await?;
    await_phase(scene, record, UpgradePhase::RolledBack).await?;
    await_mark(scene, record, Some("RolledBack")).await?;
    ledger.caught_up().await?;
    assert_rolled(&ledger, rows, &Pool::ControlPlane, 3, &[35])?;
    assert_rolled(&ledger, rows, &Pool::Workers("md-0".to_owned()), 1, &[33])?;
    assert_rolled(&ledger, rows, &Pool::Workers("md-1".to_owned()), 1, &[33, 35])
}

/// Waits until the first pool is back and nothing is on its way out. `clusterctl move` skips a Machine without a node; one
/// that is being deleted would come back, and a MachineSet that is gone when its turn comes ends the move.
async fn stands_still(scene: &JourneyContext, old: &str) -> Result<()> {
    let all = |kind, plural| {
        let api: Api<DynamicObject> =
            Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &core_kind(kind, plural));
        api
    };
    let (machines, sets) = (all("Machine", "machines"), all("MachineSet", "machinesets"));
    let of_pool = ListParams::default().labels("cluster.x-k8s.io/deployment-name=md-0");
    wait_for("the first pool to be back, and nothing to go", UPGRADE, || async {
        let of_first = (machines.list(&of_pool).await?.items, sets.list(&of_pool).await?.items);
        let (every_machine, every_set) = (
            machines.list(&ListParams::default()).await?.items,
            sets.list(&ListParams::default()).await?.items,
        );
        let goes = every_machine
            .iter()
            .chain(&every_set)
            .any(|object| object.metadata.deletion_timestamp.is_some());
        let is_back = |machine: &DynamicObject| {
            machine.data["spec"]["version"] == json!(old) && machine.data["status"]["nodeRef"].is_object()
        };
        match (of_first.0.as_slice(), of_first.1.as_slice()) {
            ([machine], [_]) if is_back(machine) && !goes => Ok(()),
            (machines, sets) => {
                let data = |object: &DynamicObject| format!("{}: {}", object.name_any(), object.data["status"]);
                let seen: Vec<String> = machines.iter().chain(sets).map(data).collect();
                Err(Seen::from(seen.join("\n")))
            }
        }
    })
    .await
}

/// Waits until the status of what was over says so again, as its annotation does.
async fn stay_over(scene: &JourneyContext) -> Result<()> {
    for (name, phase) in OVER {
        let found = await_status(scene, name, phase.as_str(), SOON, |status| status.phase == phase).await?;
        let mark = found.annotations().get(FINISHED_ANNOTATION);
        assert_eq!(mark.map(String::as_str), Some(phase.as_str()), "{name}");
    }
    Ok(())
}

/// The name of the record that the annotation made.
async fn asked(scene: &JourneyContext) -> Result<String> {
    wait_for("the record of the annotation", SOON, || async {
        let found = records(scene).list(&ListParams::default()).await?;
        let mut names = found.iter().map(ResourceExt::name_any);
        match names.find(|name| name != "older") {
            Some(name) => Ok(name),
            None => Err(Seen::from("none")),
        }
    })
    .await
}

/// Waits until the control plane has made the first minor. Nothing comes after it: it is held.
async fn rolled_out(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let middle = rows.version(34);
    let machines: Api<DynamicObject> =
        Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &core_kind("Machine", "machines"));
    wait_for("the control plane to have arrived", UPGRADE, || async {
        let control_plane = classic::control_planes(scene).get(NAME).await?;
        let at = |pointer: &str| control_plane.data.pointer(pointer).cloned().unwrap_or_default();
        let count = machines.list(&ListParams::default()).await?.items.len();
        let arrived = at("/spec/version") == json!(middle)
            && at("/status/versions") == json!([{ "version": middle, "replicas": 3 }])
            && at("/status/readyReplicas") == json!(3);
        if arrived && count == SHAPE.machines() {
            Ok(())
        } else {
            Err(Seen::from(format!("{count} machines, {}", at("/status"))))
        }
    })
    .await
}

/// The machines and templates that are there.
fn live(ledger: &Ledger) -> Result<BTreeSet<String>> {
    let machines = ledger.machines_ever(NAME)?;
    let machines = machines
        .into_iter()
        .filter(|machine| !machine.deleted)
        .map(|machine| machine.name);
    let templates = ledger.templates_ever(NAME)?;
    let templates = templates
        .into_iter()
        .filter(|template| !template.deleted)
        .map(|template| template.name);
    Ok(machines.chain(templates).collect())
}

/// Those that two minors take and no other, each the new Cluster's.
async fn assert_templates(scene: &JourneyContext, ledger: &Ledger, rows: &Rows, uid: Option<&str>) -> Result<()> {
    let templates = ledger.templates_ever(NAME)?;
    let mut names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    names.sort_unstable();
    let slug = |minor| rows.version(minor).replace('.', "-");
    let (middle, last) = (slug(34), slug(35));
    let expected = [
        "cp".to_owned(),
        format!("cp-{middle}-"),
        format!("cp-{last}-"),
        "md-0".to_owned(),
        format!("md-0-{last}-"),
        "md-1".to_owned(),
        format!("md-1-{last}-"),
    ];
    let as_expected = names.len() == expected.len()
        && names
            .iter()
            .zip(&expected)
            .all(|(name, start)| name.starts_with(start.as_str()));
    assert!(as_expected, "{names:?}, and not {expected:?}");
    assert!(templates.iter().all(|template| !template.deleted), "{templates:?}");
    let types = kube::core::TypeMeta {
        api_version: "infrastructure.cluster.x-k8s.io/v1beta2".to_owned(),
        kind: "DevMachineTemplate".to_owned(),
    };
    let (resource, _) = scene.mgmt.applier().kind(&types).await?;
    let api: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &resource);
    for template in api.list(&ListParams::default()).await? {
        let owners: Vec<_> = template.owner_references().iter().map(|owner| &*owner.uid).collect();
        assert_eq!(owners, uid.into_iter().collect::<Vec<_>>(), "{}", template.name_any());
    }
    Ok(())
}
