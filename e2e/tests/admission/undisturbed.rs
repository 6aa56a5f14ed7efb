//! With every rule enforced, Cluster API and Instar's own controller do what they always do.

use std::time::Duration;

use instar_api::{Adjustable, Rule, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    clusterctl::{MoveTarget, move_namespace},
    support::{
        catalog::Rows,
        classic::{self, NAME, SMALL},
        fixtures::{CLUSTER_CLASS, TopologyCluster, core_kind},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        metrics::{metric, metrics},
        second_cluster::SecondCluster,
        topology::{UPGRADE, apply_rows, apply_wired, assert_rolled, create, edit, one_machine_of, running, version},
    },
    wait::{Seen, wait_for},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::json;

/// How long all that belongs to a Cluster may take to go.
const GONE: Duration = Duration::from_mins(3);

/// Every rule that a policy can set is enforced for every Cluster of the namespace.
async fn enforce_all(scene: &JourneyContext) -> Result<()> {
    let rules: Vec<_> = Rule::ALL
        .iter()
        .filter(|rule| rule.adjustable() == Adjustable::ByPolicy)
        .map(|rule| json!({ "rule": rule.id(), "enforcement": "Enforce" }))
        .collect();
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "all" },
        "spec": { "rules": rules, "templates": { "keepPrevious": "0s" } },
    });
    let seen = "instar_cached_objects{kind=\"upgradepolicies\"}";
    let before = metric(scene, seen).await?;
    scene.apply_object(policy).await?;
    wait_for("Instar to have seen the policy", Duration::from_secs(30), || async {
        let now = metric(scene, seen).await?;
        if now > before {
            Ok(())
        } else {
            Err(Seen::from(format!("{now} policies")))
        }
    })
    .await
}

/// What the server has refused or warned of so far, by rule.
async fn said(scene: &JourneyContext) -> Result<Vec<String>> {
    let text = metrics(scene).await?;
    let lines = text.lines().filter(|line| {
        line.starts_with("instar_admission_denials_total{") || line.starts_with("instar_admission_warnings_total{")
    });
    let mut lines: Vec<String> = lines.map(ToOwned::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// A topology cluster is created, goes two minors, is scaled, loses a machine to a health check, and
/// is deleted: nothing is refused and nothing is left.
pub(crate) async fn a_topology_cluster(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    enforce_all(&scene).await?;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    let before = said(&scene).await?;

    let (first, last) = (rows.version(33), rows.version(35));
    let mut cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: 1,
        workers: &[("md-0", 1)],
    };
    create(&scene, &cluster).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    edit(&scene, "c", &version(&last)).await?;
    cluster.version = &last;
    running(&scene, &cluster, UPGRADE).await?;
    ledger.caught_up().await?;
    let minors = [(33, Some(1)), (34, Some(1)), (35, Some(1))];
    assert_rolled(&ledger, "c", &rows, &Pool::ControlPlane, 1, &minors)?;

    let replicas = json!({ "spec": { "topology": {
        "controlPlane": { "replicas": 3 },
        "workers": { "machineDeployments": [{ "class": "default-worker", "name": "md-0", "replicas": 2 }] },
    } } });
    edit(&scene, "c", &replicas).await?;
    cluster.control_planes = 3;
    cluster.workers = &[("md-0", 2)];
    running(&scene, &cluster, UPGRADE).await?;

    let replaced = remediate(&scene, "c").await?;
    running(&scene, &cluster, UPGRADE)
        .await
        .with_context(|| format!("after {replaced} was replaced"))?;

    delete_cluster(&scene, "c").await?;
    assert_eq!(said(&scene).await?, before, "what was refused or warned of");
    Ok(())
}

/// A classic cluster goes two minors by Instar's controller, its old templates are retired, and
/// `clusterctl move` takes it to another management cluster.
pub(crate) async fn a_classic_cluster(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    classic::create_with(&scene, &rows, &SMALL).await?;
    enforce_all(&scene).await?;
    let before = said(&scene).await?;
    let annotated = json!({ "metadata": { "annotations": { VERSION_ANNOTATION: rows.version(35) } } });
    edit(&scene, NAME, &annotated).await?;
    let last = rows.version(35);
    instar_e2e::support::fixtures::wait_running(&scene.mgmt, &scene.namespace, NAME, &last, &SMALL, UPGRADE).await?;
    let between = minted_for(&rows, 34);
    wait_for("the templates of the step between to be retired", UPGRADE, || async {
        let mut names = names(&classic::machine_templates(&scene)).await?;
        names.retain(|name| name.contains(&between));
        if names.is_empty() {
            Ok(())
        } else {
            Err(Seen::from(format!("{names:?}")))
        }
    })
    .await?;
    assert_eq!(said(&scene).await?, before, "what was refused or warned of");

    in_use_stay(&scene, &minted_for(&rows, 35)).await?;
    let before = said(&scene).await?;
    moved_elsewhere(&scene, NAME).await?;
    assert_eq!(
        said(&scene).await?,
        before,
        "what was refused or warned of while it moved"
    );
    Ok(())
}

async fn names(api: &Api<DynamicObject>) -> Result<Vec<String>> {
    let found = api.list(&ListParams::default()).await?;
    Ok(found.iter().map(ResourceExt::name_any).collect())
}

/// A `MachineHealthCheck` finds a worker that somebody has marked, and Cluster API replaces it.
async fn remediate(scene: &JourneyContext, cluster: &str) -> Result<String> {
    scene
        .apply_object(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "MachineHealthCheck",
            "metadata": { "name": "workers" },
            "spec": {
                "clusterName": cluster,
                "selector": { "matchLabels": { "topology.cluster.x-k8s.io/deployment-name": "md-0" } },
                "checks": { "unhealthyNodeConditions": [{ "type": "Ready", "status": "False", "timeoutSeconds": 600 }] },
            },
        }))
        .await?;
    let (machines, lost) = one_machine_of(scene, "md-0").await?;
    let mark = json!({ "metadata": { "annotations": { "cluster.x-k8s.io/remediate-machine": "" } } });
    machines
        .patch(&lost, &PatchParams::default(), &Patch::Merge(mark))
        .await?;
    wait_for("the marked machine to be replaced", GONE, || async {
        match machines.get_opt(&lost).await? {
            None => Ok(()),
            Some(machine) => Err(Seen::from(format!("{lost}: {}", machine.data["status"]))),
        }
    })
    .await?;
    Ok(lost)
}

/// What is in the name of a template that Instar has minted for a row.
fn minted_for(rows: &Rows, minor: u8) -> String {
    format!("-{}-", rows.version(minor).replace('.', "-"))
}

/// The templates that are in use are kept, so that what goes with a move goes by an exception.
async fn in_use_stay(scene: &JourneyContext, part: &str) -> Result<()> {
    let templates = classic::machine_templates(scene);
    let mut in_use = names(&templates).await?;
    in_use.retain(|name| name.contains(part));
    assert_eq!(in_use.len(), 1 + SMALL.pools.len(), "{in_use:?}");
    for name in in_use {
        let text = match templates.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) => status.message.clone(),
            other => panic!("{name}, which is in use, was deleted: {other:?}"),
        };
        assert!(text.ends_with("[rule template-in-use]"), "{text}");
    }
    Ok(())
}

/// `clusterctl move` to another management cluster: all is there, and nothing is left here.
async fn moved_elsewhere(scene: &JourneyContext, name: &str) -> Result<()> {
    let templates = classic::machine_templates(scene);
    let moved = names(&templates).await?;
    let elsewhere = SecondCluster::start(&scene.mgmt).await?;
    let path = elsewhere.kubeconfig();
    move_namespace(&scene.mgmt, &scene.namespace, MoveTarget::ToCluster, &path).await?;
    assert_gone(scene).await?;
    let there: Api<DynamicObject> =
        Api::namespaced_with(elsewhere.client(), &scene.namespace, &core_kind("Cluster", "clusters"));
    there.get(name).await.context("the Cluster on the other side")?;
    let kind = classic::machine_template_kind();
    let templates: Api<DynamicObject> = Api::namespaced_with(elsewhere.client(), &scene.namespace, &kind);
    assert_eq!(names(&templates).await?, moved, "the templates on the other side");
    elsewhere.stop().await
}

/// Deletes a Cluster, and waits until nothing of it is left.
async fn delete_cluster(scene: &JourneyContext, name: &str) -> Result<()> {
    classic::clusters(scene).delete(name, &DeleteParams::default()).await?;
    assert_gone(scene).await
}

async fn assert_gone(scene: &JourneyContext) -> Result<()> {
    let kind = |group: &str, kind: &str, plural: &str| {
        let gvk = GroupVersionKind::gvk(&format!("{group}.cluster.x-k8s.io"), "v1beta2", kind);
        ApiResource::from_gvk_with_plural(&gvk, plural)
    };
    let kinds = [
        core_kind("Cluster", "clusters"),
        core_kind("Machine", "machines"),
        core_kind("MachineDeployment", "machinedeployments"),
        core_kind("MachineSet", "machinesets"),
        kind("controlplane", "KubeadmControlPlane", "kubeadmcontrolplanes"),
        kind("infrastructure", "DevMachineTemplate", "devmachinetemplates"),
    ];
    wait_for("all of the Cluster to be gone", GONE, || async {
        let mut left = Vec::new();
        for kind in &kinds {
            let api: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, kind);
            let found = api.list(&ListParams::default()).await?;
            // The class' own templates stay.
            let belonging = found.iter().filter(|object| {
                let owner = object
                    .owner_references()
                    .iter()
                    .any(|owner| owner.kind != "ClusterClass");
                owner || kind.kind != "DevMachineTemplate"
            });
            left.extend(belonging.map(|object| format!("{} {}", kind.kind, object.name_any())));
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(Seen::from(left.join(", ")))
        }
    })
    .await
}
