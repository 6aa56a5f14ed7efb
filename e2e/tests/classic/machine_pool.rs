//! A MachinePool of a provider that honours a pause: its kind is defined here, and the journey plays its controller.
//! Cluster API's own controller reconciles the MachinePool. The pool is empty, since machines in memory have no pool.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use instar_api::{SWAP_HISTORY_ANNOTATION, UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        fixtures::{Shape, core_kind},
        journeys::JourneyContext,
        upgrade::{UPGRADE, annotate, phase, upgrade},
    },
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use serde_json::{Value, json};
use tokio::{select, time::sleep};

use crate::by_hand::{record, records};

const GROUP: &str = "infrastructure.example.org";
const KIND: &str = "JourneyMachinePool";
const PLURAL: &str = "journeymachinepools";
const VERSION: &str = "v1beta1";
const PAUSED: &str = "cluster.x-k8s.io/paused";

/// The role that lets the controller read and patch the kind. It stays, as a provider's does.
pub(crate) const ROLE: &str = "journey-machine-pool";

const STEP: Duration = Duration::from_mins(2);

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[],
};

/// The images and versions of which its controller would have made machines.
type Made = BTreeSet<(String, String)>;

pub(crate) async fn under_a_pause(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for minor in [33, 34, 35, 36] {
        scene.apply_object(row(&rows, minor)?).await?;
    }
    allow(&scene).await?;
    define(&scene).await?;
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let first = rows.version(33);
    scene
        .apply_object(json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": { "name": "mp" },
            "spec": { "image": image(&rows, 33), "size": "small" },
        }))
        .await?;
    scene.apply_object(machine_pool("mp", &first, GROUP, KIND)).await?;
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

    let made = Mutex::new(Made::new());
    select! {
        ended = plays_its_controller(&scene, &made) => ended?,
        ended = goes_to_its_release(&scene, &rows) => ended?,
    }
    let made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    let pair = |minor| (image(&rows, minor), rows.version(minor));
    assert_eq!(
        made,
        BTreeSet::from([pair(33), pair(35)]),
        "half of a change was made machines of"
    );
    cancelled_in_the_middle(&scene, &rows).await
}

async fn goes_to_its_release(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    wait_for("the MachinePool to be reconciled", STEP, || async {
        let pool = machine_pools(scene).get("mp").await?;
        let observed = pool.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
        if observed.is_some() && observed == pool.metadata.generation {
            Ok(())
        } else {
            Err(format!("{}", pool.data["status"]).into())
        }
    })
    .await?;
    annotate(scene, VERSION_ANNOTATION, &rows.version(35)).await?;
    let status = wait_for("the upgrade to be completed", UPGRADE, || async {
        match upgrade(scene).await? {
            Some(upgrade) if phase(&upgrade) == UpgradePhase::Completed => Ok(upgrade.status),
            seen => Err(format!("{:?}", seen.map(|upgrade| upgrade.status)).into()),
        }
    })
    .await?;
    let pool = machine_pools(scene).get("mp").await?;
    assert_eq!(
        pool.data["spec"]["template"]["spec"]["version"],
        json!(rows.version(35))
    );
    assert!(
        pool.annotations().contains_key(SWAP_HISTORY_ANNOTATION),
        "there is no ledger"
    );
    let infrastructure = pools(scene).get("mp").await?;
    assert_eq!(
        infrastructure.data["spec"],
        json!({ "image": image(rows, 35), "size": "small" })
    );
    assert_eq!(marks(scene).await?, [None, None]);
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
    // Its controller sees that it goes on.
    sleep(Duration::from_secs(2)).await;
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
    let infrastructure = pools(scene).get("mp").await?;
    assert_eq!(
        infrastructure.data["spec"]["image"],
        json!(image(rows, 35)),
        "nothing was set"
    );
    Ok(())
}

/// What the annotation says by which the MachinePool and its infrastructure are paused.
async fn marks(scene: &JourneyContext) -> Result<[Option<String>; 2]> {
    let mark = |object: DynamicObject| object.annotations().get(PAUSED).cloned();
    Ok([
        mark(machine_pools(scene).get("mp").await?),
        mark(pools(scene).get("mp").await?),
    ])
}

/// Says whether it is paused; while it isn't, it would make machines of what both objects say.
async fn plays_its_controller(scene: &JourneyContext, made: &Mutex<Made>) -> Result<()> {
    loop {
        let object = pools(scene).get("mp").await?;
        let is_paused = object.annotations().contains_key(PAUSED);
        if !is_paused {
            let pool = machine_pools(scene).get("mp").await?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let pair = (
                text(&object.data["spec"]["image"]),
                text(&pool.data["spec"]["template"]["spec"]["version"]),
            );
            let is_still = pools(scene).get("mp").await?.resource_version() == object.resource_version();
            if is_still {
                made.lock().unwrap_or_else(PoisonError::into_inner).insert(pair);
            }
        }
        let status = json!({ "status": {
            "ready": true,
            "replicas": 0,
            "observedGeneration": object.metadata.generation,
            "conditions": [{
                "type": "Paused",
                "status": if is_paused { "True" } else { "False" },
                "reason": if is_paused { "Paused" } else { "NotPaused" },
                "observedGeneration": object.metadata.generation,
                "lastTransitionTime": "2026-11-20T12:00:00Z",
            }],
        }});
        let patch = Patch::Merge(&status);
        pools(scene).patch_status("mp", &PatchParams::default(), &patch).await?;
        sleep(Duration::from_millis(300)).await;
    }
}

fn image(rows: &Rows, minor: u8) -> String {
    format!("pool-{}", rows.version(minor))
}

fn row(rows: &Rows, minor: u8) -> Result<Value> {
    let mut row = rows.row(minor, 1);
    let images = row["spec"]["machineImages"].as_array_mut().context("machineImages")?;
    images.push(json!({
        "apiGroup": GROUP, "kind": KIND, "role": "Worker",
        "values": [{ "pointer": "/spec/image", "value": image(rows, minor) }],
    }));
    Ok(row)
}

fn machine_pool(name: &str, version: &str, group: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachinePool", "metadata": { "name": name },
        "spec": {
            "clusterName": NAME,
            "replicas": 0,
            "template": { "spec": {
                "clusterName": NAME,
                "version": version,
                "bootstrap": { "dataSecretName": "none" },
                "infrastructureRef": { "apiGroup": group, "kind": kind, "name": name },
            } },
        },
    })
}

fn machine_pools(scene: &JourneyContext) -> Api<DynamicObject> {
    let kind = core_kind("MachinePool", "machinepools");
    Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &kind)
}

fn pools(scene: &JourneyContext) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: KIND.to_owned(),
        plural: PLURAL.to_owned(),
    };
    Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &resource)
}

async fn define(scene: &JourneyContext) -> Result<()> {
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let name = format!("{PLURAL}.{GROUP}");
    scene
        .apply_object(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": name, "labels": { "cluster.x-k8s.io/v1beta2": VERSION } },
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": { "kind": KIND, "plural": PLURAL, "singular": KIND.to_lowercase() },
                "versions": [{
                    "name": VERSION,
                    "served": true,
                    "storage": true,
                    "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": {
                        "type": "object",
                        "properties": { "spec": open, "status": open },
                    } },
                }],
            },
        }))
        .await?;
    wait_for(&format!("{name} to be served"), STEP, || async {
        pools(scene).list(&ListParams::default()).await?;
        Ok(())
    })
    .await
}

/// Rights like those that `config/providers` gives for the kinds of providers that are known.
async fn allow(scene: &JourneyContext) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    scene
        .apply_object(json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRole",
            "metadata": { "name": ROLE },
            "rules": [{ "apiGroups": [GROUP], "resources": [PLURAL], "verbs": ["list", "watch", "patch"] }],
        }))
        .await?;
    scene
        .apply_object(json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": { "name": ROLE },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": ROLE },
            "subjects": [{ "kind": "ServiceAccount", "name": "instar-controller", "namespace": "instar-system" }],
        }))
        .await?;
    Ok(())
}
