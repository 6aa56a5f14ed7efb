//! What people do in a journey: wire a class, create a Cluster, edit it, look at it.

use std::{process::Stdio, time::Duration};

use instar_e2e::{
    Context, Result,
    binaries::Binary,
    fixtures::{CLUSTER_CLASS, COMES_UP, TopologyCluster, core_kind, wait_running},
    journeys::Scene,
    ledger::{Ledger, MachineRecord, Pool},
    ports,
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::catalog::{IMAGE, Rows};

/// How long an upgrade of seven machines may take.
pub(crate) const UPGRADE: Duration = Duration::from_mins(6);

/// The annotation that carries the pins.
pub(crate) const PINS: &str = "upgrade.cluster.x-k8s.io/releases";

/// What a program printed.
pub(crate) struct Printed {
    pub(crate) succeeded: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program as the administrator would, with a text as its input.
async fn run(scene: &Scene, mut command: Command, input: &str) -> Result<Printed> {
    command
        .env("KUBECONFIG", scene.mgmt.run().kubeconfig())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let mut stdin = child.stdin.take().context("the child's standard input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    Ok(Printed {
        succeeded: output.status.success(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// kubectl in the journey's namespace.
pub(crate) async fn kubectl(scene: &Scene, arguments: &[&str], input: &str) -> Result<Printed> {
    let mut command = Command::new(scene.mgmt.built().program(Binary::Kubectl)?);
    command.args(["--namespace", &scene.namespace]).args(arguments);
    run(scene, command, input).await
}

/// `kubectl patch` of a Cluster, with what it prints.
pub(crate) async fn kubectl_patch(scene: &Scene, name: &str, patch: &Value) -> Result<Printed> {
    let kind = if patch.is_array() {
        "--type=json"
    } else {
        "--type=merge"
    };
    let patch = patch.to_string();
    kubectl(
        scene,
        &["patch", "clusters.cluster.x-k8s.io", name, kind, "-p", &patch],
        "",
    )
    .await
}

/// Applies rows, and waits until Instar has seen them: what it has not seen it refuses.
pub(crate) async fn apply_rows(scene: &Scene, rows: &[Value]) -> Result<()> {
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
pub(crate) fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Objects of a kind in the journey's namespace.
pub(crate) fn namespaced(scene: &Scene, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(scene.mgmt.client(), &scene.namespace, resource)
}

/// The catalog.
pub(crate) fn releases(scene: &Scene) -> Api<DynamicObject> {
    let resource = resource(
        "upgrade.cluster.x-k8s.io",
        "v1alpha1",
        "KubernetesRelease",
        "kubernetesreleases",
    );
    Api::all_with(scene.mgmt.client(), &resource)
}

/// How many requests the server has been asked, all routes and verdicts together.
pub(crate) async fn admission_requests(scene: &Scene) -> Result<i64> {
    let text = metrics(scene).await?;
    let counts = text
        .lines()
        .filter(|line| line.starts_with("instar_admission_requests_total{"));
    counts
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, count)| Ok(count.parse::<i64>()?))
        .sum()
}

pub(crate) async fn metrics(scene: &Scene) -> Result<String> {
    metrics_at(scene, ports::WEBHOOK_HEALTH).await
}

pub(crate) async fn metrics_at(scene: &Scene, port: u16) -> Result<String> {
    let url = format!("http://127.0.0.1:{port}/metrics");
    Ok(scene
        .mgmt
        .http()
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?)
}

/// A metric of the server, by its name and labels.
pub(crate) async fn metric(scene: &Scene, name: &str) -> Result<i64> {
    let text = metrics(scene).await?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name} in {text}"))?;
    Ok(line.trim().parse()?)
}

/// The class of the journeys, with an etcd of its own.
pub(crate) fn with_etcd(tag: &str) -> String {
    let spec = "      kubeadmConfigSpec:\n";
    let etcd =
        format!("        clusterConfiguration:\n          etcd:\n            local:\n              imageTag: {tag}\n");
    CLUSTER_CLASS.replace(spec, &format!("{spec}{etcd}"))
}

/// `instar wire` for a class, its templates and rows in files, as `make` or a Git tool would call it.
pub(crate) async fn wire(scene: &Scene, class: &str, rows: &[Value]) -> Result<String> {
    let mut documents = vec![class.to_owned()];
    documents.extend(rows.iter().map(Value::to_string));
    let printed = instar(scene, &["wire", "-f", "-", "-o", "json"], &documents.join("\n---\n")).await?;
    anyhow::ensure!(printed.succeeded, "instar wire failed: {}", printed.stderr);
    Ok(printed.stdout)
}

/// The program `instar`, as the administrator would call it.
pub(crate) async fn instar(scene: &Scene, arguments: &[&str], input: &str) -> Result<Printed> {
    let mut command = Command::new(instar_e2e::instar::program()?);
    command.args(arguments);
    run(scene, command, input).await
}

/// Applies a class with its templates as it is, and then its wired form.
pub(crate) async fn apply_wired(scene: &Scene, class: &str, rows: &[Value]) -> Result<Value> {
    scene.apply(class).await?;
    let wired = wire(scene, class, rows).await?;
    scene.apply(&wired).await?;
    Ok(serde_json::from_str(&wired)?)
}

/// The Clusters of the journey's namespace.
pub(crate) fn clusters(scene: &Scene) -> Api<DynamicObject> {
    namespaced(scene, &core_kind("Cluster", "clusters"))
}

/// A merge patch of a Cluster. What the server says against it is the error's text.
pub(crate) async fn edit(scene: &Scene, name: &str, patch: &Value) -> Result<DynamicObject> {
    Ok(clusters(scene)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?)
}

/// The patch that edits a Cluster's version.
pub(crate) fn version(version: &str) -> Value {
    json!({ "spec": { "topology": { "version": version } } })
}

/// The pins of a Cluster.
pub(crate) async fn pins(scene: &Scene, name: &str) -> Result<Value> {
    let cluster = clusters(scene).get(name).await?;
    let text = cluster
        .annotations()
        .get(PINS)
        .with_context(|| format!("Cluster {name} has no pins"))?;
    Ok(serde_json::from_str(text)?)
}

/// The releases that a Cluster is pinned to, as `version=release`.
pub(crate) fn pinned(pins: &Value) -> Vec<String> {
    let releases = pins["releases"].as_object().cloned().unwrap_or_default();
    releases
        .iter()
        .map(|(version, pin)| format!("{version}={}", pin["release"].as_str().unwrap_or("nothing")))
        .collect()
}

/// Creates a Cluster and waits until all of its machines run.
pub(crate) async fn create(scene: &Scene, cluster: &TopologyCluster<'_>) -> Result<()> {
    scene.apply_object(cluster.object()).await?;
    running(scene, cluster, COMES_UP).await
}

/// Waits until a Cluster's machines are exactly those that it asks for, at its version, and until
/// the topology controller has nothing left to do.
pub(crate) async fn running(scene: &Scene, cluster: &TopologyCluster<'_>, deadline: Duration) -> Result<()> {
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
pub(crate) async fn reconciled(scene: &Scene, name: &str) -> Result<()> {
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
            if condition["status"] == "True" && is_current {
                return Ok(());
            }
            Err(format!("generation {:?}, {condition}", cluster.metadata.generation).into())
        },
    )
    .await
}

/// What the template that a machine was cloned from carries.
pub(crate) fn image_of(machine: &MachineRecord) -> Option<String> {
    let spec = &machine.template.as_ref()?.spec;
    Some(spec.pointer(IMAGE.trim_start_matches("/spec"))?.as_str()?.to_owned())
}

/// Asserts that a pool's machines were made exactly `replicas` times for each of the versions, in no
/// other version, and each from a template that carries the row's value.
pub(crate) fn assert_rolled(
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
