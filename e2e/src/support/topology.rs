//! Clusters of a wired ClusterClass: wire the class, create a Cluster, edit it, see what it became.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};

use super::{
    catalog::{IMAGE, Rows},
    commands::instar,
    fixtures::{CLUSTER_CLASS, COMES_UP, TopologyCluster, core_kind, of_cluster, wait_counted, wait_running},
    journeys::JourneyContext,
    ledger::{Ledger, MachineRecord, Pool},
    metrics::metric,
};
use crate::wait::{Seen, wait_for};

/// How long an upgrade of seven machines may take.
pub const UPGRADE: Duration = Duration::from_mins(12);

/// The annotation that carries the pins.
pub const PINS: &str = "upgrade.cluster.x-k8s.io/releases";

/// Applies rows, and waits until Instar has seen them: what it has not seen it refuses.
pub async fn apply_rows(scene: &JourneyContext, rows: &[Value]) -> Result<()> {
    for row in rows {
        scene.apply_object(row.clone()).await?;
    }
    let catalog = releases(scene);
    wait_for("Instar to have seen every release", Duration::from_mins(1), || async {
        let there = catalog.list(&ListParams::default()).await?.items.len();
        let seen = metric(scene, "instar_cached_objects{kind=\"kubernetesreleases\"}").await?;
        if usize::try_from(seen).is_ok_and(|seen| seen >= there) {
            return Ok(());
        }
        Err(format!("{seen} of {there}").into())
    })
    .await
}

/// A kind, as far as a client needs to know it.
#[must_use]
pub fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Objects of a kind in the journey's namespace.
#[must_use]
pub fn namespaced(scene: &JourneyContext, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(scene.mgmt.client(), &scene.namespace, resource)
}

/// The catalog.
#[must_use]
pub fn releases(scene: &JourneyContext) -> Api<DynamicObject> {
    let resource = resource(
        "upgrade.cluster.x-k8s.io",
        "v1alpha1",
        "KubernetesRelease",
        "kubernetesreleases",
    );
    Api::all_with(scene.mgmt.client(), &resource)
}

/// The class of the journeys, with an etcd of its own.
#[must_use]
pub fn with_etcd(tag: &str) -> String {
    let spec = "      kubeadmConfigSpec:\n";
    let etcd =
        format!("        clusterConfiguration:\n          etcd:\n            local:\n              imageTag: {tag}\n");
    CLUSTER_CLASS.replace(spec, &format!("{spec}{etcd}"))
}

/// `instar wire` for a class, its templates and rows in files, as `make` or a Git tool would call it.
pub async fn wire(scene: &JourneyContext, class: &str, rows: &[Value]) -> Result<String> {
    let mut documents = vec![class.to_owned()];
    documents.extend(rows.iter().map(Value::to_string));
    let printed = instar(scene, &["wire", "-f", "-", "-o", "json"], &documents.join("\n---\n")).await?;
    anyhow::ensure!(printed.succeeded, "instar wire failed: {}", printed.stderr);
    Ok(printed.stdout)
}

/// Applies a class with its templates as it is, and then its wired form.
pub async fn apply_wired(scene: &JourneyContext, class: &str, rows: &[Value]) -> Result<Value> {
    scene.apply(class).await?;
    let wired = wire(scene, class, rows).await?;
    scene.apply(&wired).await?;
    Ok(serde_json::from_str(&wired)?)
}

/// The Clusters of the journey's namespace.
#[must_use]
pub fn clusters(scene: &JourneyContext) -> Api<DynamicObject> {
    namespaced(scene, &core_kind("Cluster", "clusters"))
}

/// A merge patch of a Cluster. What the server says against it is the error's text.
pub async fn edit(scene: &JourneyContext, name: &str, patch: &Value) -> Result<DynamicObject> {
    Ok(clusters(scene)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?)
}

/// The patch that edits a Cluster's version.
#[must_use]
pub fn version(version: &str) -> Value {
    json!({ "spec": { "topology": { "version": version } } })
}

/// The pins of a Cluster.
pub async fn pins(scene: &JourneyContext, name: &str) -> Result<Value> {
    let cluster = clusters(scene).get(name).await?;
    let text = cluster
        .annotations()
        .get(PINS)
        .with_context(|| format!("Cluster {name} has no pins"))?;
    Ok(serde_json::from_str(text)?)
}

/// The releases that a Cluster is pinned to, as `version=release`.
#[must_use]
pub fn pinned(pins: &Value) -> Vec<String> {
    let releases = pins["releases"].as_object().cloned().unwrap_or_default();
    releases
        .iter()
        .map(|(version, pin)| format!("{version}={}", pin["release"].as_str().unwrap_or("nothing")))
        .collect()
}

/// Creates a Cluster and waits until all of its machines run.
pub async fn create(scene: &JourneyContext, cluster: &TopologyCluster<'_>) -> Result<()> {
    scene.apply_object(cluster.object()).await?;
    running(scene, cluster, COMES_UP).await?;
    wait_counted(&scene.mgmt, &scene.namespace, cluster.name, COMES_UP).await
}

/// The Machines of the journey, and the name of one of a pool.
pub async fn one_machine_of(scene: &JourneyContext, pool: &str) -> Result<(Api<DynamicObject>, String)> {
    let machines: Api<DynamicObject> =
        Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &core_kind("Machine", "machines"));
    let of_pool = ListParams::default().labels(&format!("topology.cluster.x-k8s.io/deployment-name={pool}"));
    let found = machines.list(&of_pool).await?;
    let name = found.items.first().map(ResourceExt::name_any);
    let name = name.with_context(|| format!("{pool} has no machine"))?;
    Ok((machines, name))
}

/// Waits until a Cluster's machines are exactly those that it asks for, at its version, and until
/// the topology controller has nothing left to do.
pub async fn running(scene: &JourneyContext, cluster: &TopologyCluster<'_>, deadline: Duration) -> Result<()> {
    wait_running(
        &scene.mgmt,
        &scene.namespace,
        cluster.name,
        cluster.version,
        &cluster.shape(),
        deadline,
    )
    .await?;
    reconciled(scene, cluster.name).await
}

/// Waits until the topology controller has seen the Cluster as it is, and rendered it.
pub async fn reconciled(scene: &JourneyContext, name: &str) -> Result<()> {
    let api = clusters(scene);
    wait_for(
        &format!("the topology of {name} to be reconciled"),
        Duration::from_mins(2),
        || async {
            let cluster = api.get(name).await?;
            let conditions = cluster
                .data
                .pointer("/status/conditions")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let condition = conditions
                .iter()
                .find(|condition| condition["type"] == "TopologyReconciled")
                .cloned()
                .unwrap_or_default();
            let is_current = condition["observedGeneration"].as_i64() == cluster.metadata.generation;
            if condition["status"] != "True" || !is_current {
                return Err(format!("generation {:?}, {condition}", cluster.metadata.generation).into());
            }
            has_seen_its_spec(scene, name).await
        },
    )
    .await
}

/// That the control plane of a Cluster has compared its machines with what it asks for now: before that, no etcd follows.
async fn has_seen_its_spec(scene: &JourneyContext, cluster: &str) -> Result<(), Seen> {
    let group = "controlplane.cluster.x-k8s.io";
    let kind = resource(group, "v1beta2", "KubeadmControlPlane", "kubeadmcontrolplanes");
    let selector = of_cluster(cluster);
    for control_plane in namespaced(scene, &kind).list(&selector).await? {
        let conditions = control_plane
            .data
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        let mut conditions = conditions.into_iter().flatten();
        let rolling_out = conditions.find(|condition| condition["type"] == "RollingOut");
        let observed = rolling_out.and_then(|condition| condition["observedGeneration"].as_i64());
        if observed < control_plane.metadata.generation {
            let generation = control_plane.metadata.generation;
            return Err(Seen::from(format!(
                "generation {generation:?} of the control plane, {rolling_out:?}"
            )));
        }
    }
    Ok(())
}

/// What the template that a machine was cloned from carries.
#[must_use]
pub fn image_of(machine: &MachineRecord) -> Option<String> {
    let spec = &machine.template.as_ref()?.spec;
    Some(spec.pointer(IMAGE.trim_start_matches("/spec"))?.as_str()?.to_owned())
}

/// Asserts that a pool's machines were made exactly `replicas` times for each of the versions, in no
/// other version, and each from a template that carries the row's value.
///
/// # Panics
/// Says what is wrong, by a failed assertion.
pub fn assert_rolled(
    ledger: &Ledger,
    cluster: &str,
    rows: &Rows,
    pool: &Pool,
    replicas: usize,
    minors: &[(u8, Option<u8>)],
) -> Result<()> {
    let groups = ledger.machines_by_version(cluster)?;
    let of_pool: Vec<(&String, &Vec<MachineRecord>)> = groups
        .iter()
        .filter(|((found, _), _)| found == pool)
        .map(|((_, version), machines)| (version, machines))
        .collect();
    let expected: Vec<String> = minors.iter().map(|(minor, _)| rows.version(*minor)).collect();
    let found: Vec<&String> = of_pool.iter().map(|(version, _)| *version).collect();
    assert_eq!(
        found,
        expected.iter().collect::<Vec<_>>(),
        "the versions that {pool:?} went through"
    );
    for ((version, machines), (minor, revision)) in of_pool.into_iter().zip(minors) {
        let names: Vec<&str> = machines.iter().map(|machine| machine.name.as_str()).collect();
        assert_eq!(machines.len(), replicas, "{pool:?} at {version} had {names:?}");
        for machine in machines {
            let wanted = revision.map(|revision| rows.image(*minor, revision));
            let template = machine.template.as_ref();
            let source = &template
                .with_context(|| format!("{} was cloned from nothing", machine.name))?
                .name;
            assert_eq!(
                image_of(machine),
                wanted,
                "{} of {version} was cloned from {source}",
                machine.name
            );
        }
    }
    Ok(())
}

/// The MachineDeployments of the journey, by name.
pub async fn deployments(scene: &JourneyContext) -> Result<BTreeMap<String, DynamicObject>> {
    let api = namespaced(scene, &core_kind("MachineDeployment", "machinedeployments"));
    let found = api.list(&ListParams::default()).await?.items.into_iter();
    Ok(found.map(|pool| (pool.name_any(), pool)).collect())
}

/// Deletes a Machine of a pool, and waits until it is gone.
pub async fn lose_machine(scene: &JourneyContext, pool: &str) -> Result<()> {
    let (machines, gone) = one_machine_of(scene, pool).await?;
    machines.delete(&gone, &DeleteParams::default()).await?;
    wait_for("the lost machine to go", Duration::from_mins(2), || async {
        match machines.get_opt(&gone).await? {
            None => Ok(()),
            Some(machine) => Err(format!("{gone} is {}", machine.data["status"]["phase"]).into()),
        }
    })
    .await
}

/// Edits a guarded field of Cluster `c` in dry runs until `ends`, and counts them: both halves of admission are called, and
/// nothing changes.
pub async fn edit_in_dry_runs(scene: JourneyContext, ends: Arc<AtomicBool>, calls: Arc<AtomicUsize>) -> Result<()> {
    let patch = json!({ "metadata": { "annotations": { PINS: Value::Null } } });
    let api = clusters(&scene);
    while !ends.load(Ordering::Relaxed) {
        api.patch("c", &PatchParams::default().dry_run(), &Patch::Merge(&patch))
            .await
            .context("a call through the API server")?;
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
