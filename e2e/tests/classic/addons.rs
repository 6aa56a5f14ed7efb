//! Add-ons of releases and gates of policies: each part of an upgrade waits for them, whatever they come to. The Secret of
//! the workload cluster leads to the management cluster's own API server, since the simulated ones have no such kinds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use instar_api::{
    CATALOG_LABEL, GATE_HISTORY_ANNOTATION, HealthReason, HealthStatus, UpgradePhase, VERSION_ANNOTATION,
};
use instar_e2e::{
    Context, Result,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        fixtures::Shape,
        gates,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        upgrade::{UPGRADE, annotate, phase, upgrade},
    },
    wait::wait_for,
};
use k8s_openapi::{
    api::core::v1::Event, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};

use crate::workload::{bind, write_secret};

/// What lets the controller read what the journey's gates look at on the management cluster.
pub(crate) const ROLE: &str = "instar-gate-journey";

pub(crate) const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1)],
};

const KUBE_OVN: &str = "cpaas.io/kube-ovn-version";
const NETWORK_TYPE: &str = "cpaas.io/network-type";

/// A gate of a policy before the control plane, and kube-ovn of the release after it.
pub(crate) async fn each_part_waits_for_what_the_release_brings(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let [_, preset] = preset("kube-ovn")?;
    let mut addons = preset["spec"]["addons"].clone();
    addons[0]["settle"] = json!("3s");
    addons[0]["observe"]["namespace"] = json!(scene.namespace);
    let value = addons[0]["write"]["annotation"]["value"].clone();
    classic::create_with(&scene, &rows, &SHAPE).await?;
    catalog(&scene, &rows, "addons", addons).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let app_release = define(&scene, "operator.alauda.io/v1alpha1", "AppRelease", "appreleases").await?;
    let_it_look(&scene).await?;
    // What Git has: the network plugin's version as it was.
    git(&scene, "v4.2.0").await?;
    annotate(&scene, VERSION_ANNOTATION, &rows.version(34)).await?;

    let (not_ready, failed, unknown) = (
        HealthReason::AddonNotReady,
        HealthReason::AddonFailed,
        HealthReason::AddonUnknown,
    );
    told(&scene, unknown, "cannot get resource \"configmaps\"").await?;
    gates::let_account(&scene, ROLE, &observed_by_account()).await?;
    told(
        &scene,
        not_ready,
        "ConfigMap database is not there, in the management cluster",
    )
    .await?;
    config_map(&scene, "no").await?;
    told(&scene, not_ready, "readyWhen doesn't hold: self.data.ready == 'yes'").await?;
    assert_at(&ledger, &rows, &Pool::ControlPlane, &[33]).await?;
    config_map(&scene, "yes").await?;

    // Its value stands in Git, so Git has to change it.
    let conflict = "is not set, since another client manages it: Apply failed with 1 conflict: conflict with \"git\"";
    told(&scene, unknown, conflict).await?;
    told(&scene, unknown, &format!("let that client set it to {value}")).await?;
    assert_at(&ledger, &rows, &Pool::ControlPlane, &[33, 34]).await?;
    git(&scene, value.as_str().unwrap_or_default()).await?;
    let missing = format!(
        "AppRelease {}/cni-kube-ovn is not there, in the workload cluster",
        scene.namespace
    );
    told(&scene, not_ready, &missing).await?;

    let release = Observed {
        resource: app_release,
        namespace: Some(scene.namespace.clone()),
        name: "cni-kube-ovn".to_owned(),
    };
    for (says, (reason, message)) in [
        (
            kube_ovn("HealthChecking", "v4.3.11", "False"),
            (not_ready, "(Health is False: the journey says so)"),
        ),
        (
            kube_ovn("Success", "v4.2.0", "True"),
            (not_ready, "readyWhen doesn't hold"),
        ),
        (
            kube_ovn("DeployFailed", "v4.2.0", "False"),
            (failed, "failedWhen holds"),
        ),
    ] {
        release
            .is(&scene, &json!({}), |generation| seen(&says, generation))
            .await?;
        told(&scene, reason, message).await?;
    }
    let record = upgrade(&scene).await?.context("no record")?;
    assert_eq!(phase(&record), UpgradePhase::Held, "what failed holds it");
    assert!(
        record.annotations()[GATE_HISTORY_ANNOTATION].contains("\"name\":\"kube-ovn\""),
        "{:?}",
        record.annotations()
    );
    let ready = kube_ovn("Success", "v4.3.11", "True");
    let before = |generation: i64| seen(&ready, generation - 1);
    release.is(&scene, &json!({ "edited": "again" }), before).await?;
    told(&scene, not_ready, "its status is of generation").await?;
    assert_at(&ledger, &rows, &Pool::Workers("md-0".to_owned()), &[33]).await?;
    release
        .is(&scene, &json!({ "edited": "again" }), |generation| {
            seen(&ready, generation)
        })
        .await?;
    completed(&scene).await?;
    assert_at(&ledger, &rows, &Pool::ControlPlane, &[33, 34]).await?;
    assert_at(&ledger, &rows, &Pool::Workers("md-0".to_owned()), &[33, 34]).await?;
    told_by_events(&scene).await
}

async fn told_by_events(scene: &JourneyContext) -> Result<()> {
    let events: Api<Event> = Api::namespaced(scene.mgmt.client(), &scene.namespace);
    let events = events.list(&ListParams::default()).await?.items;
    for (reason, gate) in [
        ("GateClosed", "gate database of UpgradePolicy gates"),
        ("GateOpened", "gate database of UpgradePolicy gates"),
        ("GateClosed", "add-on kube-ovn of KubernetesRelease"),
        ("GateOpened", "add-on kube-ovn of KubernetesRelease"),
    ] {
        let is_it = |event: &Event| {
            let message = event.message.as_deref().unwrap_or_default();
            event.reason.as_deref() == Some(reason) && message.contains(gate)
        };
        assert!(events.iter().any(is_it), "no Event {reason} of {gate}");
    }
    Ok(())
}

/// A status of this generation.
fn seen(status: &Value, generation: i64) -> Value {
    let mut status = status.clone();
    status["observedGeneration"] = json!(generation);
    status
}

fn kube_ovn(phase: &str, revision: &str, health: &str) -> Value {
    json!({
        "conditions": [
            { "type": "Sync", "status": "True" },
            { "type": "Health", "status": health, "message": "the journey says so" },
        ],
        "charts": { "acp/chart-cpaas-kube-ovn": {
            "phase": phase, "revision": "v4.3.11", "installedRevision": revision,
        } },
    })
}

/// The rows of a catalog of the journey's own, since the others' rows have no add-ons.
pub(crate) fn rows_of(rows: &Rows, catalog: &str, addons: &Value) -> [Value; 2] {
    [33, 34].map(|minor| {
        let mut row = rows.row(minor, 1);
        row["metadata"]["name"] = json!(format!("{}-{catalog}", rows.version(minor)));
        row["spec"]["catalog"] = json!(catalog);
        if minor == 34 {
            row["spec"]["addons"] = addons.clone();
        }
        row
    })
}

/// These rows, and the Cluster in their catalog.
pub(crate) async fn catalog(scene: &JourneyContext, rows: &Rows, name: &str, addons: Value) -> Result<()> {
    for row in rows_of(rows, name, &addons) {
        scene.apply_object(row).await?;
    }
    let label = json!({ "metadata": { "labels": { CATALOG_LABEL: name } } });
    classic::clusters(scene)
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&label))
        .await?;
    Ok(())
}

/// The Cluster's annotations, as a GitOps tool applies them.
pub(crate) async fn git(scene: &JourneyContext, version: &str) -> Result<()> {
    let applied = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": { "name": NAME, "annotations": { NETWORK_TYPE: "kube-ovn", KUBE_OVN: version } },
    });
    let parameters = PatchParams::apply("git");
    classic::clusters(scene)
        .patch(NAME, &parameters, &Patch::Apply(&applied))
        .await?;
    Ok(())
}

pub(crate) async fn config_map(scene: &JourneyContext, ready: &str) -> Result<()> {
    gates::config_map(scene, "database", &json!({ "ready": ready })).await
}

/// A policy with a gate, that lets the workload cluster be read, and its Secret.
pub(crate) async fn let_it_look(scene: &JourneyContext) -> Result<()> {
    let off = |name: &str| json!({ "name": name, "mode": "Off" });
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "gates" },
        "spec": {
            "workload": { "access": "Enabled", "kubeconfigSecret": { "name": "{cluster}-workload" } },
            // What this management cluster runs beside is not the journey's.
            "preflight": { "checks": [
                off("nodes-ready"), off("kubelet-skew"), off("webhooks-in-the-way"), off("pod-disruption-budgets"),
                off("certificate-authorities"), off("removed-apis"),
            ] },
            "gates": [{
                "name": "database",
                "when": "BeforeControlPlane",
                "observe": { "cluster": "Management", "apiVersion": "v1", "kind": "ConfigMap", "name": "database" },
                "readyWhen": "self.data.ready == 'yes'",
                "generation": "Ignore",
                "settle": "2s",
            }],
        },
    });
    scene.apply_object(policy).await?;
    bind(scene).await?;
    let kubeconfig = fs::read_to_string(scene.mgmt.run().kubeconfig())?;
    write_secret(scene, &serde_json::from_str(&kubeconfig)?).await
}

/// What both journeys' gates name on the management cluster.
pub(crate) fn observed_by_account() -> Value {
    let get = |group: &str, resource: &str| json!({ "apiGroups": [group], "resources": [resource], "verbs": ["get"] });
    json!([
        get("", "configmaps"),
        get("argoproj.io", "applications"),
        get("helm.toolkit.fluxcd.io", "helmreleases"),
        get("kustomize.toolkit.fluxcd.io", "kustomizations"),
        get("addons.cluster.x-k8s.io", "helmchartproxies"),
    ])
}

async fn assert_at(ledger: &Ledger, rows: &Rows, pool: &Pool, minors: &[u8]) -> Result<()> {
    ledger.caught_up().await?;
    classic::assert_rolled(ledger, rows, pool, 1, minors)
}

async fn completed(scene: &JourneyContext) -> Result<()> {
    wait_for("the upgrade to be completed", UPGRADE, || async {
        match upgrade(scene).await? {
            Some(record) if phase(&record) == UpgradePhase::Completed => Ok(()),
            seen => Err(format!("{:?}", seen.map(|record| record.status)).into()),
        }
    })
    .await
}

/// Waits for a row of `status.health` with this reason that contains these words.
async fn told(scene: &JourneyContext, reason: HealthReason, says: &str) -> Result<()> {
    wait_for(&format!("{reason} to say {says:?}"), UPGRADE, || async {
        let status = upgrade(scene)
            .await?
            .and_then(|record| record.status)
            .unwrap_or_default();
        let is_it = |row: &&HealthStatus| row.reason == reason.as_str() && row.message.contains(says);
        match status.health.iter().find(is_it) {
            Some(_) => Ok(()),
            None => Err(format!("{:#?}", status.health).into()),
        }
    })
    .await
}

/// An object that a gate looks at.
pub(crate) struct Observed {
    pub(crate) resource: ApiResource,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl Observed {
    pub(crate) fn api(&self, scene: &JourneyContext) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(scene.mgmt.client(), namespace, &self.resource),
            None => Api::all_with(scene.mgmt.client(), &self.resource),
        }
    }

    /// Makes the object so: what it was before is gone.
    pub(crate) async fn is(&self, scene: &JourneyContext, spec: &Value, status: impl Fn(i64) -> Value) -> Result<()> {
        let api = self.api(scene);
        if api.get_opt(&self.name).await?.is_none() {
            let object = json!({
                "apiVersion": self.resource.api_version,
                "kind": self.resource.kind,
                "metadata": { "name": self.name },
                "spec": spec,
            });
            api.create(&PostParams::default(), &serde_json::from_value(object)?)
                .await?;
        }
        // The controller may write at the same moment.
        wait_for(
            &format!("{} {} to be changed", self.resource.kind, self.name),
            UPGRADE,
            || async {
                let mut present = api.get(&self.name).await?;
                if present.data["spec"] != *spec {
                    present.data["spec"] = spec.clone();
                    present = api.replace(&self.name, &PostParams::default(), &present).await?;
                }
                present.data["status"] = status(present.metadata.generation.unwrap_or_default());
                api.replace_status(&self.name, &PostParams::default(), &present).await?;
                Ok(())
            },
        )
        .await
    }
}

/// A kind that takes every object.
pub(crate) async fn define(scene: &JourneyContext, api_version: &str, kind: &str, plural: &str) -> Result<ApiResource> {
    let (group, version) = api_version.split_once('/').context("a group")?;
    let free = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural },
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": free, "status": free } } },
                "subresources": { "status": {} },
            }],
        },
    });
    scene.apply_object(definition).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(scene.mgmt.client());
    let name = format!("{plural}.{group}");
    wait_for(&format!("{name} to be served"), UPGRADE, || async {
        let status = definitions.get(&name).await?.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let is_served = conditions
            .iter()
            .any(|one| one.type_ == "Established" && one.status == "True");
        if is_served {
            Ok(())
        } else {
            Err(format!("{conditions:?}").into())
        }
    })
    .await?;
    Ok(ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(group, version, kind),
        plural,
    ))
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The role and the list of a preset.
pub(crate) fn preset(name: &str) -> Result<[Value; 2]> {
    let path = root().join(format!("config/gates/{name}.yaml"));
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let both: Option<[Value; 2]> = documents.try_into().ok();
    both.with_context(|| format!("{name}: a role and a list"))
}
