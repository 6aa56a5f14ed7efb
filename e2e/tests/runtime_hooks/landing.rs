//! Upgrades of topology Clusters that end where the control plane stands.

use instar_api::{HOOK_ANSWER_ANNOTATION, UpgradePhase};
use instar_e2e::{
    Result,
    progress::say,
    support::{
        catalog::Rows,
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        record::upgrades,
        runtime_hooks::opt_in,
        topology::{
            UPGRADE, apply_rows, apply_wired, assert_rolled, clusters, create, edit, namespaced, reconciled, resource,
            running, version,
        },
    },
    wait::wait_for,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::hooks::{BLOCKING, approve, held, says};

/// Cluster API's annotation that switches off its check of version edits.
const UNSAFE: &str = "unsafe.topology.cluster.x-k8s.io/disable-update-version-check";

/// Edited back before the first step; aborted between two steps; and refused where nothing holds the next step.
pub(crate) async fn where_it_stands(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    let listed = [33, 34, 35, 36].map(|minor| rows.row(minor, 1));
    apply_wired(&scene, CLUSTER_CLASS, &listed).await?;
    let first = rows.version(33);
    create(&scene, &cluster(&first)).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "UpgradePolicy",
            "metadata": { "name": "approval" },
            "spec": {
                "approval": { "before": ["EachStep"] },
                "rules": [{ "rule": "start-gates", "enforcement": "Warn" }],
            },
        }))
        .await?;
    let result = with_hooks(&scene, &rows, &ledger).await;
    // What runs after this has no server: Cluster API's core would wait for it.
    opt_in(&scene, false).await?;
    result?;
    without_hooks(&scene, &rows).await?;
    ledger.caught_up().await?;
    let rolled = [(33, Some(1)), (34, Some(1)), (35, Some(1)), (36, Some(1))];
    assert_rolled(&ledger, "c", &rows, &Pool::ControlPlane, 1, &rolled)?;
    let rolled = [(33, Some(1)), (34, Some(1)), (36, Some(1))];
    assert_rolled(&ledger, "c", &rows, &Pool::Workers("md-0".to_owned()), 1, &rolled)
}

fn cluster(version: &str) -> TopologyCluster<'_> {
    TopologyCluster {
        name: "c",
        version,
        control_planes: 1,
        workers: &[("md-0", 1)],
    }
}

async fn with_hooks(scene: &JourneyContext, rows: &Rows, ledger: &Ledger) -> Result<()> {
    opt_in(scene, true).await?;
    let (first, middle, target) = (rows.version(33), rows.version(34), rows.version(35));

    // By hand, before the first step.
    edit(scene, "c", &version(&target)).await?;
    let why = format!("{BLOCKING}the control plane goes to {middle} once that is approved");
    says(scene, &first, &why).await?;
    edited_back(scene, &first).await?;
    settled(scene, &first).await?;
    ledger.caught_up().await?;
    anyhow::ensure!(ledger.machines_ever("c")?.len() == 2, "something was replaced");
    say(format!("{}: edited back before the first step", scene.namespace));

    // By a ClusterUpgrade, between its steps.
    ask(scene, &target).await?;
    held(scene, &first, &middle).await?;
    approve(scene, &middle, &target).await?;
    // The hold is gone as soon as the step may begin.
    let_go(scene).await?;
    let refused = edit(scene, "c", &version(&first)).await;
    anyhow::ensure!(is_refused(&refused), "an edit down past the hold: {refused:?}");
    held(scene, &middle, &target).await?;
    let abort = json!({ "spec": { "operation": "Abort" } });
    upgrades(scene)
        .patch("up", &PatchParams::default(), &Patch::Merge(&abort))
        .await?;
    ends_as_aborted(scene).await?;
    running(scene, &cluster(&middle), UPGRADE).await?;
    settled(scene, &middle).await?;
    say(format!("{}: ended at {middle}", scene.namespace));

    // Git applies what it has again, and nothing moves.
    let before = clusters(scene).get("c").await?.metadata.generation;
    for _ in 0..5 {
        ask(scene, &target).await?;
    }
    ends_as_aborted(scene).await?;
    anyhow::ensure!(
        clusters(scene).get("c").await?.metadata.generation == before,
        "it moves again"
    );
    Ok(())
}

/// Without hooks nothing holds the next step, so that the version can't go down.
async fn without_hooks(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let kind = resource(
        "upgrade.cluster.x-k8s.io",
        "v1alpha1",
        "UpgradePolicy",
        "upgradepolicies",
    );
    namespaced(scene, &kind)
        .delete("approval", &DeleteParams::default())
        .await?;
    let (from, target) = (rows.version(34), rows.version(36));
    edit(scene, "c", &version(&target)).await?;
    let refused = edit(scene, "c", &version(&from)).await;
    anyhow::ensure!(is_refused(&refused), "an edit down without a hold: {refused:?}");
    running(scene, &cluster(&target), UPGRADE).await?;
    reconciled(scene, "c").await
}

fn is_refused<T>(edited: &Result<T>) -> bool {
    edited.as_ref().is_err_and(|error| {
        let text = error.to_string();
        text.contains("is older than") && text.contains("[rule no-downgrade]")
    })
}

/// The edit down, as soon as Cluster API has said that it waits.
pub(crate) async fn edited_back(scene: &JourneyContext, to: &str) -> Result<()> {
    wait_for("the edit back to be taken", UPGRADE, || async {
        match edit(scene, "c", &version(to)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string().into()),
        }
    })
    .await
}

/// The topology is reconciled at a version, and nothing of the landing is left.
pub(crate) async fn settled(scene: &JourneyContext, at: &str) -> Result<()> {
    reconciled(scene, "c").await?;
    wait_for("what a landing leaves to be taken off", UPGRADE, || async {
        let cluster = clusters(scene).get("c").await?;
        let annotations = cluster.annotations();
        let is_left = [UNSAFE, HOOK_ANSWER_ANNOTATION]
            .iter()
            .any(|name| annotations.contains_key(*name));
        let is_there = cluster.data["spec"]["topology"]["version"] == at;
        if is_left || !is_there {
            return Err(format!("{annotations:?} {}", cluster.data["spec"]["topology"]["version"]).into());
        }
        Ok(())
    })
    .await
}

async fn let_go(scene: &JourneyContext) -> Result<()> {
    wait_for("the step to be let go", UPGRADE, || async {
        let cluster = clusters(scene).get("c").await?;
        let answer = cluster
            .annotations()
            .get(HOOK_ANSWER_ANNOTATION)
            .cloned()
            .unwrap_or_default();
        if answer.contains(r#""answer":"Go""#) || answer.contains("has yet to be at") {
            return Ok(());
        }
        Err(answer.into())
    })
    .await
}

async fn ask(scene: &JourneyContext, target: &str) -> Result<()> {
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "up" },
            "spec": { "clusterName": "c", "target": target },
        }))
        .await?;
    Ok(())
}

async fn ends_as_aborted(scene: &JourneyContext) -> Result<()> {
    wait_for("the upgrade to be aborted", UPGRADE, || async {
        let upgrade = upgrades(scene).get("up").await?;
        let status = upgrade.status.unwrap_or_default();
        if status.phase == UpgradePhase::Aborted {
            return Ok(());
        }
        Err(format!("{:?}: {:?}", status.phase, status.health).into())
    })
    .await
}
