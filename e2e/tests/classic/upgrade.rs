//! Two minors by one annotation: as it should be, and paused in the middle.

use std::time::Duration;

use instar_api::{BREAK_GLASS_ANNOTATION, UpgradePhase};
use instar_e2e::{
    Context, Result,
    support::{
        catalog::Rows,
        classic::{self, FULL, NAME, assert_two_minors},
        commands::plugin_exits,
        controller::writes_but_to,
        fixtures::core_kind,
        journeys::JourneyContext,
        upgrade::{UPGRADE, assert_record, begin, completed, upgrade, upgrades},
    },
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

pub(crate) async fn two_minors_by_one_annotation(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let ledger = begin(&scene, &rows, &FULL).await?;
    // Asked right after the edit, when there is no ClusterUpgrade yet.
    plugin_exits(&scene, &["status", NAME, "--wait", "--timeout", "30m"], 0).await?;
    completed(&scene, &rows, &FULL, None).await?;
    assert_two_minors(&ledger, &rows).await?;
    assert_record(&scene, &rows, &FULL).await?;
    what_git_sets_back_is_told(&scene, &rows).await
}

/// An old manifest, applied again: Cluster API creates no machine of it, and the record says why.
async fn what_git_sets_back_is_told(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    set_version(scene, &rows.version(33)).await?;
    let message = format!(
        "MachineDeployment md-0: spec.template.spec.version was set back to {} by another client after the upgrade had set {}",
        rows.version(33),
        rows.version(35)
    );
    let drift = || async {
        let status = upgrade(scene)
            .await?
            .and_then(|upgrade| upgrade.status)
            .unwrap_or_default();
        let condition = status.conditions.iter().find(|condition| condition.type_ == "Drifted");
        let condition = condition.map(|condition| condition.status.clone());
        let first = status
            .health
            .first()
            .map(|first| (first.reason.clone(), first.message.clone()));
        Ok::<_, anyhow::Error>((status.phase, condition, first))
    };
    wait_for("the drift to be told", UPGRADE, || async {
        match drift().await? {
            (UpgradePhase::Completed, Some(holds), Some((reason, said)))
                if holds == "True" && reason == "Drifted" && said.starts_with(&message) =>
            {
                Ok(())
            }
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await?;
    set_version(scene, &rows.version(35)).await?;
    wait_for("it to stand again", UPGRADE, || async {
        match drift().await? {
            (UpgradePhase::Completed, Some(holds), None) if holds == "False" => Ok(()),
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await
}

async fn set_version(scene: &JourneyContext, version: &str) -> Result<()> {
    let kind = core_kind("MachineDeployment", "machinedeployments");
    let pools: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &kind);
    // The rule one-rollout asks for the template of that version.
    let patch = json!({
        "metadata": { "annotations": { BREAK_GLASS_ANNOTATION: format!("one-rollout: as Git has it, {version}") } },
        "spec": { "template": { "spec": { "version": version } } },
    });
    pools
        .patch("md-0", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

pub(crate) async fn paused_in_the_middle(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let ledger = begin(&scene, &rows, &FULL).await?;
    let middle = rows.version(34);
    let control_planes = classic::control_planes(&scene);
    let at_middle = || async {
        let control_plane = control_planes.get(NAME).await?;
        let version = control_plane
            .data
            .pointer("/spec/version")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let left = control_plane
            .data
            .pointer("/status/versions")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        Ok::<_, kube::Error>((version.as_deref() == Some(middle.as_str()), left))
    };
    wait_for("the control plane to be on its way", UPGRADE, || async {
        match at_middle().await? {
            (true, _) => Ok(()),
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await?;
    let record = upgrade(&scene).await?.context("there is no ClusterUpgrade")?.name_any();
    pause(&scene, &record, true).await?;
    // Two versions in the status: the first new machine is there, long after the edit was seen.
    wait_for("the first new machine", UPGRADE, || async {
        match at_middle().await? {
            (true, 2..) => Ok(()),
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await?;
    let before = writes_but_to(&scene, "second")?;
    wait_for("the control plane to have arrived", UPGRADE, || async {
        let control_plane = control_planes.get(NAME).await?;
        let at = |pointer: &str| control_plane.data.pointer(pointer).cloned().unwrap_or_default();
        let arrived = at("/status/versions") == json!([{ "version": middle, "replicas": 3 }]);
        if arrived && at("/status/readyReplicas") == json!(3) && at("/status/replicas") == json!(3) {
            Ok(())
        } else {
            Err(at("/status").to_string().into())
        }
    })
    .await?;
    // The paused one goes on, so it is refused, and that shows that the Cluster was looked at.
    let second = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": "second" },
        "spec": { "clusterName": NAME, "target": rows.version(35) },
    });
    scene.apply_object(second).await?;
    let records = upgrades(&scene);
    wait_for("the controller to have looked", Duration::from_secs(30), || async {
        match records.get("second").await?.status {
            Some(_) => Ok(()),
            None => Err("no status".into()),
        }
    })
    .await?;
    records.delete("second", &DeleteParams::default()).await?;
    assert_eq!(writes_but_to(&scene, "second")?, before, "writes while it was paused");
    assert!(at_middle().await?.0, "the control plane went on");

    pause(&scene, &record, false).await?;
    completed(&scene, &rows, &FULL, None).await?;
    assert_two_minors(&ledger, &rows).await?;
    assert_record(&scene, &rows, &FULL).await
}

async fn pause(scene: &JourneyContext, name: &str, paused: bool) -> Result<()> {
    let patch = json!({ "spec": { "paused": paused } });
    upgrades(scene)
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}
