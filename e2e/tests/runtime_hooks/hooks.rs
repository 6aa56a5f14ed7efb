//! Runtime Hooks: gates count between the steps of one edit, also while Instar is down.

use instar_api::{
    HOOK_ANSWER_ANNOTATION, HOOKS_ENABLED, HealthImpact, HealthLevel, HealthReason, HealthStatus, RuntimeHooksAre,
    UpgradePhase,
};
use instar_e2e::{
    Context, Result,
    components::RuntimeSdk,
    progress::say,
    support::{
        catalog::Rows,
        fixtures::{CLUSTER_CLASS, TopologyCluster, core_kind},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        record::{follow, record_of, upgrades},
        runtime_hooks::{label, opt_in},
        topology::{
            UPGRADE, apply_rows, apply_wired, assert_rolled, clusters, create, edit, lose_machine, namespaced,
            resource, version,
        },
        windows,
    },
    wait::{Seen, wait_for},
};
use kube::{
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::landing::{edited_back, settled};

/// What Cluster API says while one of its hooks holds.
pub(crate) const BLOCKING: &str = "Following hooks are blocking upgrade: BeforeControlPlaneUpgrade: ";

/// The annotation by which Cluster API lets no upgrade of a Cluster begin.
const BLOCKS_START: &str = "before-upgrade.hook.cluster.cluster.x-k8s.io/journey";

/// An edit by hand that is held and taken back; then two minors in one edit, with an approval before each step. Neither step begins before its own, whoever is down.
pub(crate) async fn hold_each_step(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    let listed = [33, 34, 35, 36].map(|minor| rows.row(minor, 1));
    apply_wired(&scene, CLUSTER_CLASS, &listed).await?;
    let (first, target) = (rows.version(33), rows.version(35));
    let cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: 1,
        workers: &[("md-0", 1)],
    };
    create(&scene, &cluster).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let result = with_hooks(&scene, &rows, &target).await;
    // What runs after this has neither: Cluster API's core would wait for a server that a journey has stopped.
    opt_in(&scene, false).await?;
    result?;
    scene.mgmt.restart_core(RuntimeSdk::Off).await?;
    let result = without_the_gate(&scene, &rows.version(36)).await;
    scene.mgmt.restart_core(RuntimeSdk::On).await?;
    result?;
    ledger.caught_up().await?;
    let rolled = [(33, Some(1)), (34, Some(1)), (35, Some(1))];
    assert_rolled(&ledger, "c", &rows, &Pool::ControlPlane, 1, &rolled)?;
    let mut workers: Vec<String> = Vec::new();
    for machine in ledger.machines_ever("c")? {
        if matches!(machine.pool, Pool::Workers(_)) {
            workers.push(machine.version.clone());
        }
    }
    workers.sort();
    // One of the first was lost, and came back while the step was held.
    assert_eq!(workers, [first.clone(), first, target], "the workers' machines");
    Ok(())
}

async fn with_hooks(scene: &JourneyContext, rows: &Rows, target: &str) -> Result<()> {
    opt_in(scene, true).await?;
    by_hand(scene, rows, target).await?;
    for object in [
        json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "UpgradePolicy",
            "metadata": { "name": "approval" },
            "spec": { "approval": { "before": ["EachStep"] } },
        }),
        json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "up" },
            "spec": { "clusterName": "c", "target": target },
        }),
    ] {
        scene.apply_object(object).await?;
    }
    // The edit needs no approval: the first step does.
    held(scene, &rows.version(33), &rows.version(34)).await?;
    approve(scene, &rows.version(34), target).await?;
    held(scene, &rows.version(34), target).await?;
    say(format!("{}: the second step is held", scene.namespace));

    scene.mgmt.controller().stop().await?;
    let result = without_instar(scene, rows, target).await;
    scene.mgmt.controller().start().await?;
    result?;
    follow(scene, "up", &target.parse()?).await?;
    wait_for("the answer to be taken off", UPGRADE, || async {
        match clusters(scene).get("c").await?.metadata.annotations {
            Some(annotations) if annotations.contains_key(HOOK_ANSWER_ANNOTATION) => {
                Err(format!("{annotations:?}").into())
            }
            Some(_) | None => Ok(()),
        }
    })
    .await?;
    // By the controller that was started last: the answer to the second step, and its end.
    let metrics = scene.mgmt.controller().metrics().await?;
    let written = "instar_writes_total{what=\"hook_answer\"} ";
    let written = metrics.lines().find_map(|line| line.strip_prefix(written));
    anyhow::ensure!(written == Some("2"), "answers written: {written:?}");
    Ok(())
}

/// With the feature gate off, the edit needs the approval that each step asked for before, and the record says why.
async fn without_the_gate(scene: &JourneyContext, target: &str) -> Result<()> {
    label(scene, Some(HOOKS_ENABLED)).await?;
    // It looks at once when it starts.
    scene.mgmt.controller().restart().await?;
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "next" },
            "spec": { "clusterName": "c", "target": target },
        }))
        .await?;
    wait_for("the record to say that the gate is off", UPGRADE, || async {
        let status = upgrades(scene).get("next").await?.status.unwrap_or_default();
        let is_held = status.health.iter().any(|row| row.reason == "ApprovalMissing");
        let off = "Cluster API's feature gate RuntimeSDK is off";
        let is_said = status
            .runtime_hooks
            .as_ref()
            .is_some_and(|hooks| hooks.state == RuntimeHooksAre::Off && hooks.message.contains(off));
        if is_held && is_said {
            return Ok(());
        }
        Err(format!("{:?} {:?}", status.runtime_hooks, status.health).into())
    })
    .await?;
    label(scene, None).await
}

/// The answer stands in the Cluster, so it holds without the controller; and without the server nothing is let go.
async fn without_instar(scene: &JourneyContext, rows: &Rows, target: &str) -> Result<()> {
    scene.mgmt.webhook().stop().await?;
    let unreached = unreached(scene, &rows.version(34)).await;
    scene.mgmt.webhook().start().await?;
    unreached?;
    touch(scene, "again").await?;
    says(scene, &rows.version(34), BLOCKING).await?;
    approve(scene, target, target).await?;
    // Nobody has answered since, so that it is asked again changes nothing.
    touch(scene, "approved").await?;
    says(scene, &rows.version(34), BLOCKING).await
}

async fn unreached(scene: &JourneyContext, at: &str) -> Result<()> {
    touch(scene, "down").await?;
    says(
        scene,
        at,
        "failed to call extension handler \"before-control-plane-upgrade.instar\"",
    )
    .await
}

/// An edit that means nothing: the topology controller looks at the Cluster.
async fn touch(scene: &JourneyContext, value: &str) -> Result<()> {
    let patch = json!({ "metadata": { "labels": { "journey.example.org/touched": value } } });
    edit(scene, "c", &patch).await.map(drop)
}

pub(crate) async fn approve(scene: &JourneyContext, step: &str, target: &str) -> Result<()> {
    let mut approvals = upgrades(scene).get("up").await?.spec.approvals;
    let approval = json!({ "before": "ControlPlane", "version": step, "target": target });
    approvals.push(serde_json::from_value(approval)?);
    let patch = json!({ "spec": { "approvals": approvals } });
    upgrades(scene)
        .patch("up", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// The control plane stays where it is, and Cluster API and the record say why.
pub(crate) async fn held(scene: &JourneyContext, at: &str, step: &str) -> Result<()> {
    let why = format!("{BLOCKING}the control plane goes to {step} once that is approved");
    says(scene, at, &why).await?;
    wait_for("the record to say what is waited for", UPGRADE, || async {
        let status = upgrades(scene).get("up").await?.status.unwrap_or_default();
        let missing = format!("the control plane goes to {step} once that is approved");
        let is_said = status
            .health
            .iter()
            .any(|row| row.reason == "ApprovalMissing" && row.message.starts_with(&missing));
        let hooks = status.runtime_hooks.as_ref().map(|hooks| hooks.state);
        if is_said && status.phase == UpgradePhase::Held && hooks == Some(RuntimeHooksAre::On) {
            return Ok(());
        }
        Err(format!("{:?} {hooks:?} {:?}", status.phase, status.health).into())
    })
    .await
}

/// Waits until Cluster API's condition says something, and fails if the control plane is elsewhere then.
pub(crate) async fn says(scene: &JourneyContext, at: &str, text: &str) -> Result<()> {
    wait_for(&format!("Cluster API to say {text}"), UPGRADE, || async {
        let message = topology_message(scene).await?;
        if !message.contains(text) {
            return Err(Seen::from(message));
        }
        Ok(())
    })
    .await?;
    let version = control_plane_version(scene).await?;
    anyhow::ensure!(version == at, "the control plane is at {version} and not at {at}");
    Ok(())
}

async fn topology_message(scene: &JourneyContext) -> Result<String> {
    let cluster = clusters(scene).get("c").await?;
    let conditions = cluster.data.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == "TopologyReconciled");
    Ok(found.map_or_else(String::new, |condition| {
        condition["message"].as_str().unwrap_or_default().to_owned()
    }))
}

async fn control_plane_version(scene: &JourneyContext) -> Result<String> {
    let group = "controlplane.cluster.x-k8s.io";
    let kind = resource(group, "v1beta2", "KubeadmControlPlane", "kubeadmcontrolplanes");
    let found = namespaced(scene, &kind).list(&ListParams::default()).await?.items;
    let version = found.first().and_then(|found| found.data["spec"]["version"].as_str());
    Ok(version.context("there is no control plane")?.to_owned())
}

/// A policy that takes an edit by hand while the windows are closed has it held before its first step. A machine that is
/// lost meanwhile is replaced, and one that is lost while Cluster API's own annotation blocks the start is not.
async fn by_hand(scene: &JourneyContext, rows: &Rows, target: &str) -> Result<()> {
    let first = rows.version(33);
    let mut taken = windows::closed_policy();
    taken["spec"]["rules"] = json!([{ "rule": "maintenance-window", "enforcement": "Warn" }]);
    scene.apply_object(taken).await?;
    let blocks = |value: Option<&str>| json!({ "metadata": { "annotations": { BLOCKS_START: value } } });
    edit(scene, "c", &blocks(Some("a journey"))).await?;
    edit(scene, "c", &version(target)).await?;
    let record = record_of(scene, target).await?;
    row_says(scene, &record, |row| {
        let is_serious = row.level == HealthLevel::Error && row.impact == HealthImpact::Capacity;
        row.reason == HealthReason::StartBlocked.as_str() && is_serious
    })
    .await?;
    lose_machine(scene, "md-0").await?;
    makes_none(scene).await?;

    edit(scene, "c", &blocks(None)).await?;
    let why = format!("{BLOCKING}{}", windows::CLOSED);
    says(scene, &first, &why).await?;
    row_says(scene, &record, |row| {
        row.reason == HealthReason::GateClosed.as_str() && row.message == windows::CLOSED
    })
    .await?;
    comes_back(scene, &first).await?;
    says(scene, &first, &why).await?;
    say(format!("{}: an edit by hand is held", scene.namespace));

    edited_back(scene, &first).await?;
    settled(scene, &first).await?;
    let kind = resource(
        "upgrade.cluster.x-k8s.io",
        "v1alpha1",
        "UpgradePolicy",
        "upgradepolicies",
    );
    namespaced(scene, &kind)
        .delete("maintenance", &DeleteParams::default())
        .await?;
    Ok(())
}

/// Waits for a row of the record's health.
async fn row_says(scene: &JourneyContext, record: &str, is_it: impl Fn(&HealthStatus) -> bool) -> Result<()> {
    wait_for("the row of the record", UPGRADE, || async {
        let status = upgrades(scene).get(record).await?.status.unwrap_or_default();
        if status.health.iter().any(&is_it) && status.phase == UpgradePhase::Held {
            return Ok(());
        }
        Err(format!("{:?}: {:#?}", status.phase, status.health).into())
    })
    .await
}

/// Cluster API says of the pool that it makes no machine.
async fn makes_none(scene: &JourneyContext) -> Result<()> {
    let sets = namespaced(scene, &core_kind("MachineSet", "machinesets"));
    wait_for("Cluster API to say that it makes no machine", UPGRADE, || async {
        let sets = sets.list(&ListParams::default()).await?.items;
        let conditions = sets.iter().flat_map(|set| {
            let conditions = set.data.pointer("/status/conditions").and_then(Value::as_array);
            conditions.into_iter().flatten()
        });
        let messages: Vec<&str> = conditions
            .filter(|condition| condition["type"] == "ScalingUp" && condition["status"] == "True")
            .filter_map(|condition| condition["message"].as_str())
            .collect();
        if messages.iter().any(|message| message.contains("is blocked because")) {
            say(format!("{}: {messages:?}", scene.namespace));
            return Ok(());
        }
        Err(format!("{messages:?}").into())
    })
    .await
}

/// A machine that was lost is replaced.
async fn comes_back(scene: &JourneyContext, at: &str) -> Result<()> {
    let machines = namespaced(scene, &core_kind("Machine", "machines"));
    let of_pool = ListParams::default().labels("topology.cluster.x-k8s.io/deployment-name=md-0");
    wait_for("the lost machine to be replaced", UPGRADE, || async {
        let found = machines.list(&of_pool).await?.items;
        let is_new = |machine: &DynamicObject| {
            machine.data["status"]["phase"] == "Running" && machine.data["spec"]["version"] == at
        };
        if found.len() == 1 && found.iter().all(is_new) {
            return Ok(());
        }
        Err(format!("{} machines", found.len()).into())
    })
    .await
}
