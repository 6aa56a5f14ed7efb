//! Checks that read the workload cluster. The Secret leads to the management cluster's own API server, since the simulated
//! ones have no evictions: each check fails for its own reason, nothing has begun, and when all is mended it begins.

use base64::{Engine, prelude::BASE64_STANDARD};
use instar_api::{PreflightCheck, PreflightResult, PreflightStatus, UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    support::{
        classic::{self, NAME},
        fixtures::{Shape, core_kind},
        journeys::JourneyContext,
        upgrade::{UPGRADE, annotate, phase, upgrade},
    },
    wait::wait_for,
};
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

/// What lets the controller read the Secret.
pub(crate) const ROLE: &str = "instar-workload";

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1)],
};

/// No Machine has it.
const LONE_NODE: &str = "instar-workload-lone";

const SECRET: &str = "c-workload";

pub(crate) async fn read_by_its_kubeconfig(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for minor in [33, 34] {
        scene.apply_object(rows.row(minor, 1)).await?;
    }
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let present = rows.version(33);
    let nodes: Api<Node> = Api::all(scene.mgmt.client());
    add_node(&scene, &nodes, &present).await?;
    hold_a_pod(&scene).await?;
    let_it_read(&scene, "999999h").await?;
    annotate(&scene, VERSION_ANNOTATION, &rows.version(34)).await?;

    let namespace = &scene.namespace;
    let (nodes_ready, unknown) = (PreflightCheck::NodesReady, PreflightResult::Unknown);
    let no_right = format!(
        "the controller has no right to read Secret {namespace}/{SECRET}: kubectl apply -k config/workload && kubectl -n \
         {namespace} create rolebinding {ROLE} --clusterrole {ROLE}"
    );
    found(&scene, nodes_ready, unknown, &no_right).await?;
    bind(&scene).await?;
    let missing = format!("Secret {namespace}/{SECRET} is not there");
    found(&scene, nodes_ready, unknown, &missing).await?;

    let kubeconfig = std::fs::read_to_string(scene.mgmt.run().kubeconfig())?;
    let kubeconfig: Value = serde_json::from_str(&kubeconfig)?;
    let mut hostile = kubeconfig.clone();
    hostile["users"][0]["user"] = json!({ "exec": { "apiVersion": "v1", "command": "/bin/false" } });
    write_secret(&scene, &hostile).await?;
    let runs = format!("Secret {namespace}/{SECRET}, key value: users[].user.exec runs a program");
    found(&scene, nodes_ready, unknown, &runs).await?;

    write_secret(&scene, &kubeconfig).await?;
    let ill = format!("of Node {LONE_NODE} Ready is False, KubeletNotReady: the journey says so");
    found(&scene, nodes_ready, PreflightResult::Fail, &ill).await?;
    let skew = "is newer than the API server (v1.33)";
    found(&scene, PreflightCheck::KubeletSkew, PreflightResult::Fail, skew).await?;
    let holds = format!("PodDisruptionBudget db of namespace {namespace} doesn't let Pod db-0 on Node");
    found(
        &scene,
        PreflightCheck::PodDisruptionBudgets,
        PreflightResult::Fail,
        &holds,
    )
    .await?;
    // It has no Pod, and one Lease. No API with an end is served by default, so nothing that is gone can be asked of it.
    let young = "has to run for 999999h (minUptime) before its count of requests is believed";
    found(&scene, PreflightCheck::RemovedApis, unknown, young).await?;
    let control_plane = classic::control_planes(&scene).get(NAME).await?;
    assert_eq!(control_plane.data["spec"]["version"], json!(present), "it has begun");
    let pods: Api<Pod> = Api::namespaced(scene.mgmt.client(), namespace);
    assert!(
        pods.get("db-0").await?.metadata.deletion_timestamp.is_none(),
        "it was evicted"
    );

    let_it_read(&scene, "0s").await?;
    set_node(&nodes, "True", &present).await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(scene.mgmt.client(), namespace);
    budgets.delete("db", &DeleteParams::default()).await?;
    wait_for("the upgrade to be completed", UPGRADE, || async {
        match upgrade(&scene).await? {
            Some(record) if phase(&record) == UpgradePhase::Completed => Ok(()),
            seen => Err(format!("{:?}", seen.map(|record| record.status)).into()),
        }
    })
    .await?;
    found(&scene, PreflightCheck::RemovedApis, PreflightResult::Pass, "").await?;
    nodes.delete(LONE_NODE, &DeleteParams::default()).await?;
    Ok(())
}

/// A Node that is not ready, with a kubelet that is too new.
async fn add_node(scene: &JourneyContext, nodes: &Api<Node>, present: &str) -> Result<()> {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": LONE_NODE } });
    scene.apply_object(node).await?;
    assert!(present.starts_with("v1.33."), "{present}");
    set_node(nodes, "False", "v1.34.0").await
}

async fn set_node(nodes: &Api<Node>, ready: &str, kubelet: &str) -> Result<()> {
    let now = Timestamp::now();
    let status = json!({ "status": {
        "conditions": [{
            "type": "Ready", "status": ready, "reason": "KubeletNotReady", "message": "the journey says so",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }],
        "nodeInfo": {
            "kubeletVersion": kubelet, "architecture": "", "bootID": "", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "", "osImage": "",
            "systemUUID": "",
        },
    } });
    let parameters = PatchParams::default();
    nodes
        .patch_status(LONE_NODE, &parameters, &Patch::Merge(&status))
        .await?;
    Ok(())
}

/// A Pod on the worker's Node, and a budget that lets none go. No controller of budgets runs here.
async fn hold_a_pod(scene: &JourneyContext) -> Result<()> {
    let machines = core_kind("Machine", "machines");
    let machines: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &machines);
    let workers = ListParams::default().labels("cluster.x-k8s.io/deployment-name=md-0");
    let workers = machines.list(&workers).await?;
    let worker = workers.items.first().context("md-0 has no Machine")?;
    let node = worker.data["status"]["nodeRef"]["name"]
        .as_str()
        .context("it has no Node")?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "db-0", "labels": { "app": "db" } },
        "spec": { "nodeName": node, "containers": [{ "name": "db", "image": "db" }] },
    });
    scene.apply_object(pod).await?;
    let pods: Api<Pod> = Api::namespaced(scene.mgmt.client(), &scene.namespace);
    let status = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    let parameters = PatchParams::default();
    pods.patch_status("db-0", &parameters, &Patch::Merge(&status)).await?;
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": { "name": "db" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "db" } } },
    });
    scene.apply_object(budget).await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(scene.mgmt.client(), &scene.namespace);
    let status = json!({ "status": {
        "observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
    } });
    budgets.patch_status("db", &parameters, &Patch::Merge(&status)).await?;
    Ok(())
}

async fn let_it_read(scene: &JourneyContext, min_uptime: &str) -> Result<()> {
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "workload" },
        "spec": {
            "workload": { "access": "Enabled", "kubeconfigSecret": { "name": "{cluster}-workload" } },
            "preflight": { "checks": [
                { "name": "nodes-ready", "mode": "Enforce" },
                { "name": "removed-apis", "mode": "Enforce", "removedApis": { "minUptime": min_uptime } },
                // What else this management cluster has is not the journey's.
                { "name": "webhooks-in-the-way", "mode": "Off" },
                { "name": "certificate-authorities", "mode": "Warn" },
            ] },
        },
    });
    scene.apply_object(policy).await.map(drop)
}

/// As docs/workload-checks.md says.
pub(crate) async fn bind(scene: &JourneyContext) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRole",
        "metadata": { "name": ROLE },
        "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }],
    });
    scene.apply_object(role).await?;
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": { "name": ROLE },
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": ROLE },
        "subjects": [{ "kind": "ServiceAccount", "name": "instar-controller", "namespace": "instar-system" }],
    });
    scene.apply_object(binding).await.map(drop)
}

pub(crate) async fn write_secret(scene: &JourneyContext, kubeconfig: &Value) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": SECRET, "labels": { "cluster.x-k8s.io/cluster-name": NAME } },
        "data": { "value": BASE64_STANDARD.encode(kubeconfig.to_string()) },
    });
    scene.apply_object(secret).await.map(drop)
}

/// Waits until a check has this result, with a message that contains these words.
async fn found(scene: &JourneyContext, check: PreflightCheck, result: PreflightResult, says: &str) -> Result<()> {
    wait_for(&format!("{check} to say {says:?}"), UPGRADE, || async {
        let status = upgrade(scene)
            .await?
            .and_then(|record| record.status)
            .unwrap_or_default();
        let is_it =
            |found: &&PreflightStatus| found.check == check && found.result == result && found.message.contains(says);
        match status.preflight.iter().find(is_it) {
            Some(_) => Ok(()),
            None => Err(format!("{:#?}", status.preflight).into()),
        }
    })
    .await
}
