//! A MachinePool of a provider that honours a pause: its kind is defined here, and tests play its controller. Cluster API's
//! own controller reconciles the MachinePool. The pool is empty, since machines in memory have no pool: what is counted are
//! the rollouts that its provider would have begun.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use super::{catalog::Rows, classic::NAME, fixtures::core_kind, journeys::JourneyContext, topology::namespaced};
use crate::{failure::describe, progress::say, wait::wait_for};

/// The kind's group.
pub const GROUP: &str = "infrastructure.example.org";

/// The kind.
pub const KIND: &str = "JourneyMachinePool";

/// Its resource.
pub const PLURAL: &str = "journeymachinepools";

const VERSION: &str = "v1beta1";

/// The annotation by which Cluster API pauses an object.
pub const PAUSED: &str = "cluster.x-k8s.io/paused";

/// The role that lets the controller read and patch the kind. It stays, as a provider's does.
pub const ROLE: &str = "journey-machine-pool";

/// The name of the pool and of its infrastructure.
pub const POOL: &str = "mp";

const STEP: Duration = Duration::from_mins(2);

/// How often the played controller looks.
const LOOKS: Duration = Duration::from_millis(300);

/// An image, and the version with which machines are made of it.
pub type Rollout = (String, String);

/// The kind and the rights to it.
pub async fn define(scene: &JourneyContext) -> Result<()> {
    allow(scene).await?;
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
        infrastructure(scene).list(&ListParams::default()).await?;
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

/// Adds the pool to the Cluster, with what a row says of this image. [`define`] comes before, and its controller has to be
/// played for it to be reconciled.
pub async fn create(scene: &JourneyContext, image: &str, version: &str) -> Result<()> {
    scene
        .apply_object(json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": { "name": POOL },
            "spec": { "image": image, "size": "small" },
        }))
        .await?;
    scene.apply_object(machine_pool(POOL, version, GROUP, KIND)).await?;
    Ok(())
}

/// Waits until Cluster API has seen the pool.
pub async fn reconciled(scene: &JourneyContext) -> Result<()> {
    wait_for("the MachinePool to be reconciled", STEP, || async {
        let pool = machine_pools(scene).get(POOL).await?;
        let observed = pool.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
        if observed.is_some() && observed == pool.metadata.generation {
            Ok(())
        } else {
            Err(format!("{}", pool.data["status"]).into())
        }
    })
    .await
}

/// An empty MachinePool of the Cluster.
#[must_use]
pub fn machine_pool(name: &str, version: &str, group: &str, kind: &str) -> Value {
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

/// The image of the pool at a row.
#[must_use]
pub fn image(rows: &Rows, minor: u8, revision: u8) -> String {
    format!("pool-{}", rows.name(minor, revision))
}

/// A row that says this image of the pool too.
pub fn with_image(mut row: Value, image: &str) -> Result<Value> {
    let images = row["spec"]["machineImages"].as_array_mut().context("machineImages")?;
    images.push(json!({
        "apiGroup": GROUP, "kind": KIND, "role": "Worker",
        "values": [{ "pointer": "/spec/image", "value": image }],
    }));
    Ok(row)
}

/// The MachinePools of the journey.
#[must_use]
pub fn machine_pools(scene: &JourneyContext) -> Api<DynamicObject> {
    namespaced(scene, &core_kind("MachinePool", "machinepools"))
}

/// What makes their machines.
#[must_use]
pub fn infrastructure(scene: &JourneyContext) -> Api<DynamicObject> {
    namespaced(scene, &resource())
}

fn resource() -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: KIND.to_owned(),
        plural: PLURAL.to_owned(),
    }
}

/// What the annotation says by which the MachinePool and its infrastructure are paused.
pub async fn marks(scene: &JourneyContext) -> Result<[Option<String>; 2]> {
    let mark = |object: DynamicObject| object.annotations().get(PAUSED).cloned();
    Ok([
        mark(machine_pools(scene).get(POOL).await?),
        mark(infrastructure(scene).get(POOL).await?),
    ])
}

/// The provider's controller, in every namespace, until it is dropped. It says whether a pool is paused; while it isn't, it
/// would make machines of what both objects say.
#[derive(Debug)]
pub struct PoolController {
    rollouts: Arc<Mutex<BTreeMap<String, Vec<Rollout>>>>,
    task: JoinHandle<()>,
}

impl PoolController {
    /// Plays it.
    #[must_use]
    pub fn start(client: &Client) -> Self {
        let rollouts = Arc::default();
        let (client, seen) = (client.clone(), Arc::clone(&rollouts));
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = look(&client, &seen).await {
                    say(format!("the controller of MachinePools: {}", describe(&error)));
                }
                sleep(LOOKS).await;
            }
        });
        Self { rollouts, task }
    }

    /// What it has rolled the pool of a namespace to, the first one first.
    #[must_use]
    pub fn rollouts(&self, namespace: &str) -> Vec<Rollout> {
        let rollouts = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        rollouts.get(namespace).cloned().unwrap_or_default()
    }

    /// Waits until it has seen the pool as it is.
    pub async fn has_rolled(&self, scene: &JourneyContext, expected: &[Rollout]) -> Result<()> {
        wait_for("the last rollout of the MachinePool", STEP, || async {
            let seen = self.rollouts(&scene.namespace);
            if seen.last() == expected.last() {
                Ok(())
            } else {
                Err(format!("{seen:?}").into())
            }
        })
        .await?;
        let seen = self.rollouts(&scene.namespace);
        ensure!(seen == expected, "rollouts {seen:?}, and not {expected:?}");
        Ok(())
    }
}

impl Drop for PoolController {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(client: &Client, rollouts: &Mutex<BTreeMap<String, Vec<Rollout>>>) -> Result<()> {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource());
    for object in all.list(&ListParams::default()).await? {
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let its: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource());
        let is_paused = object.annotations().contains_key(PAUSED);
        if !is_paused {
            let kind = core_kind("MachinePool", "machinepools");
            let pools: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
            let Some(pool) = pools.get_opt(&name).await? else {
                continue;
            };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let pair = (
                text(&object.data["spec"]["image"]),
                text(&pool.data["spec"]["template"]["spec"]["version"]),
            );
            // What was read of both is of one moment.
            if its.get(&name).await?.resource_version() == object.resource_version() {
                let mut rollouts = rollouts.lock().unwrap_or_else(PoisonError::into_inner);
                let of_pool = rollouts.entry(namespace.clone()).or_default();
                if of_pool.last() != Some(&pair) {
                    of_pool.push(pair);
                }
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
        its.patch_status(&name, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}
