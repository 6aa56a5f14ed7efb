//! Checks before an upgrade: a sick cluster holds it, a mended one lets it begin, and so does a user who skips the check.
//! Then each part waits for its approval.

use instar_api::{
    ApprovedPart, ClusterUpgrade, HealthReason, HealthStatus, PreflightCheck, PreflightResult, PreflightStatus,
    UpgradePhase, VERSION_ANNOTATION,
};
use instar_e2e::{
    Context, Result,
    support::{
        classic::{self, NAME},
        fixtures::{Shape, core_kind},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        upgrade::{UPGRADE, annotate, phase, upgrades},
    },
    wait::wait_for,
};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1)],
};

/// A feature gate that the API server of v1.34 has no more, and one that it has until v1.34.
const GONE: &str = "DevicePluginCDIDevices";
const GONE_LATER: &str = "SizeMemoryBackedVolumes";

/// Longer than any journey takes.
const NEVER: &str = "24h";

pub(crate) async fn a_sick_cluster_is_not_upgraded(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for minor in [33, 34, 35] {
        scene.apply_object(rows.row(minor, 1)).await?;
    }
    create_with_gates(&scene, &rows.version(33), &[GONE, GONE_LATER]).await?;
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let to = |minor: u8| rows.version(minor);

    add_sick_pool(&scene, "sick", &to(33)).await?;
    annotate(&scene, VERSION_ANNOTATION, &to(34)).await?;
    held(&scene, &to(34)).await?;
    let found = preflight(&scene, &to(34)).await?;
    assert_eq!(
        results(&found),
        [
            (PreflightCheck::ClusterAvailable, PreflightResult::Fail),
            (PreflightCheck::ControlPlaneHealthy, PreflightResult::Pass),
            (PreflightCheck::MachinesReady, PreflightResult::Warn),
            (PreflightCheck::NoRolloutUnderWay, PreflightResult::Pass),
            (PreflightCheck::ControlPlaneFlags, PreflightResult::Fail),
            (PreflightCheck::TemplatesPresent, PreflightResult::Pass),
            (PreflightCheck::Disks, PreflightResult::Pass),
            // No clusterctl installed it.
            (PreflightCheck::CapiReady, PreflightResult::NotApplicable),
        ],
        "{found:#?}"
    );
    let of_machines = (&*found[2].kind, &*found[2].name);
    assert_eq!(of_machines, ("MachineDeployment", "sick"), "{found:#?}");
    nothing_has_begun(&scene, &to(33), &ledger).await?;

    scale(&scene, "sick", 0).await?;
    held_by_flags(&scene, &to(34), &no_gate(GONE, 34)).await?;
    nothing_has_begun(&scene, &to(33), &ledger).await?;

    let mended = json!({ "spec": { "kubeadmConfigSpec": { "clusterConfiguration": with_gates(&[GONE_LATER]) } } });
    classic::control_planes(&scene)
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&mended))
        .await?;
    completed(&scene, &to(34)).await?;
    let found = results(&preflight(&scene, &to(34)).await?);
    for check in [PreflightCheck::ClusterAvailable, PreflightCheck::ControlPlaneFlags] {
        assert!(
            found.contains(&(check, PreflightResult::Pass)),
            "{check} when it began: {found:?}"
        );
    }

    add_sick_pool(&scene, "sick-too", &to(34)).await?;
    ask_for_approvals(&scene).await?;
    annotate(&scene, VERSION_ANNOTATION, &to(35)).await?;
    held(&scene, &to(35)).await?;
    skip(&scene, &to(35)).await?;
    lacks_approval(&scene, &to(35), ApprovedPart::ControlPlane).await?;
    let ill = format!("condition Available of Cluster {NAME} is False");
    is_skipped(&scene, &to(35), PreflightCheck::ClusterAvailable, &ill).await?;
    let flags = PreflightCheck::ControlPlaneFlags;
    is_skipped(&scene, &to(35), flags, &no_gate(GONE_LATER, 35)).await?;
    nothing_has_begun(&scene, &to(34), &ledger).await?;
    scale(&scene, "sick-too", 0).await?;
    approve(&scene, &to(35), &[ApprovedPart::ControlPlane]).await?;
    lacks_approval(&scene, &to(35), ApprovedPart::Workers).await?;
    ledger.caught_up().await?;
    let workers = Pool::Workers("md-0".to_owned());
    assert_control_planes(&ledger, &[&to(33), &to(34), &to(35)])?;
    classic::assert_rolled(&ledger, &rows, &workers, 1, &[33, 34])?;
    approve(&scene, &to(35), &[ApprovedPart::ControlPlane, ApprovedPart::Workers]).await?;
    completed(&scene, &to(35)).await?;
    ledger.caught_up().await?;
    assert_control_planes(&ledger, &[&to(33), &to(34), &to(35)])?;
    classic::assert_rolled(&ledger, &rows, &workers, 1, &[33, 34, 35])
}

/// The control plane as it will be, but for these feature gates of its API server: what is applied later leaves them.
async fn create_with_gates(scene: &JourneyContext, version: &str, gates: &[&str]) -> Result<()> {
    let mut control_plane = classic::control_plane(NAME, version, SHAPE.control_plane);
    control_plane["spec"]["kubeadmConfigSpec"]["clusterConfiguration"] = with_gates(gates);
    classic::control_planes(scene)
        .create(&PostParams::default(), &serde_json::from_value(control_plane)?)
        .await?;
    Ok(())
}

fn with_gates(gates: &[&str]) -> Value {
    let gates: Vec<String> = gates.iter().map(|gate| format!("{gate}=true")).collect();
    json!({ "apiServer": { "extraArgs": [{ "name": "feature-gates", "value": gates.join(",") }] } })
}

/// What is found of a gate that is gone since a minor.
fn no_gate(gate: &str, since: u8) -> String {
    format!(
        "KubeadmControlPlane {NAME}: spec.kubeadmConfigSpec.clusterConfiguration.apiServer.extraArgs: kube-apiserver has no \
         feature gate {gate} since v1.{since}"
    )
}

/// One machine for each version, but that of the first whose API server lost a gate was replaced.
fn assert_control_planes(ledger: &Ledger, versions: &[&str]) -> Result<()> {
    let groups = ledger.machines_by_version(NAME)?;
    let of_control_plane = groups.iter().filter(|((pool, _), _)| *pool == Pool::ControlPlane);
    let found: Vec<(&str, usize)> = of_control_plane
        .map(|((_, version), machines)| (version.as_str(), machines.len()))
        .collect();
    let expected: Vec<(&str, usize)> = versions.iter().copied().zip([2, 1, 1]).collect();
    assert_eq!(found, expected, "the control plane's machines");
    Ok(())
}

/// A pool of one machine that never starts. It ends when Cluster API finds the Cluster unavailable.
async fn add_sick_pool(scene: &JourneyContext, name: &str, version: &str) -> Result<()> {
    scene.apply_object(classic::machine_template(name, NEVER)).await?;
    scene.apply_object(classic::bootstrap_template(name)).await?;
    let pool = classic::deployment(NAME, name, name, version, 1);
    scene.apply_object(pool).await?;
    wait_for("the Cluster to be found unavailable", UPGRADE, || async {
        let cluster = classic::clusters(scene).get(NAME).await?;
        let conditions = cluster.data["status"]["conditions"].as_array().into_iter().flatten();
        let mut available = conditions.filter(|condition| condition["type"] == "Available");
        match available.next() {
            Some(condition) if condition["status"] == "False" => Ok(()),
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await
}

async fn scale(scene: &JourneyContext, pool: &str, replicas: u32) -> Result<()> {
    let pools = core_kind("MachineDeployment", "machinedeployments");
    let pools: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &pools);
    let patch = json!({ "spec": { "replicas": replicas } });
    pools
        .patch(pool, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// The record of the upgrade to a version.
async fn record(scene: &JourneyContext, target: &str) -> Result<ClusterUpgrade> {
    let records = upgrades(scene).list(&ListParams::default()).await?;
    let mut records = records.items.into_iter();
    let found = records.find(|record| record.spec.target == target);
    found.with_context(|| format!("no ClusterUpgrade to {target}"))
}

/// Waits until the record says that the check holds it.
async fn held(scene: &JourneyContext, target: &str) -> Result<()> {
    let message =
        format!("check cluster-available failed: condition Available of Cluster {NAME} is False: * WorkersAvailable: ");
    wait_for(&format!("{message:?}"), UPGRADE, || async {
        let status = record(scene, target).await?.status.unwrap_or_default();
        let says = status.health.first().is_some_and(|row| {
            let HealthStatus { reason, kind, name, .. } = row;
            let is_it = (&**reason, &**kind, &**name) == (HealthReason::PreflightFailed.as_str(), "Cluster", NAME);
            is_it && row.message.starts_with(&message)
        });
        if says && status.phase == UpgradePhase::Held {
            Ok(())
        } else {
            Err(format!("{status:?}").into())
        }
    })
    .await
}

/// Waits until the record says that the check of flags alone holds it.
async fn held_by_flags(scene: &JourneyContext, target: &str, what: &str) -> Result<()> {
    let check = PreflightCheck::ControlPlaneFlags;
    let message = format!("check {check} failed: {what}; {}", check.remedy());
    wait_for(&format!("only {message:?}"), UPGRADE, || async {
        let status = record(scene, target).await?.status.unwrap_or_default();
        let rows = status.health.iter().map(|row| {
            let HealthStatus { reason, kind, name, .. } = row;
            (&**reason, &**kind, &**name, &*row.message)
        });
        let failed = HealthReason::PreflightFailed.as_str();
        let rows: Vec<_> = rows.filter(|(reason, _, _, _)| *reason == failed).collect();
        if rows == [(failed, "KubeadmControlPlane", NAME, &*message)] && status.phase == UpgradePhase::Held {
            Ok(())
        } else {
            Err(format!("{status:?}").into())
        }
    })
    .await
}

async fn preflight(scene: &JourneyContext, target: &str) -> Result<Vec<PreflightStatus>> {
    let status = record(scene, target).await?.status;
    Ok(status.context("no status")?.preflight)
}

fn results(found: &[PreflightStatus]) -> Vec<(PreflightCheck, PreflightResult)> {
    found.iter().map(|found| (found.check, found.result)).collect()
}

/// No version was set, and no template minted that isn't in use.
async fn nothing_has_begun(scene: &JourneyContext, version: &str, ledger: &Ledger) -> Result<()> {
    let control_plane = classic::control_planes(scene).get(NAME).await?;
    assert_eq!(control_plane.data["spec"]["version"], json!(version));
    ledger.caught_up().await?;
    let newer: Vec<String> = ledger
        .machines_by_version(NAME)?
        .into_keys()
        .map(|(_, made)| made)
        .filter(|made| made.as_str() > version)
        .collect();
    assert!(newer.is_empty(), "machines were made at {newer:?}");
    Ok(())
}

async fn skip(scene: &JourneyContext, target: &str) -> Result<()> {
    let name = record(scene, target).await?.name_any();
    let skip = [PreflightCheck::ClusterAvailable, PreflightCheck::ControlPlaneFlags].map(|check| {
        json!({
            "name": check, "reason": "it is to be repaired later",
            "setBy": { "user": "another", "time": "2020-01-01T00:00:00Z" },
        })
    });
    let patch = json!({ "spec": { "preflight": { "skip": skip } } });
    let patched = upgrades(scene)
        .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    for skip in patched.spec.preflight.skip {
        let set_by = skip.set_by.context("no stamp")?;
        // As the journeys' kubeconfig calls itself.
        assert_ne!(set_by.user, "another", "a stamp that was forged");
        assert!(
            set_by.time > "2026-01-01T00:00:00Z".parse::<Timestamp>()?,
            "a stamp that was forged: {set_by:?}"
        );
    }
    Ok(())
}

/// The record says who skipped a check, and what it found.
async fn is_skipped(scene: &JourneyContext, target: &str, check: PreflightCheck, what: &str) -> Result<()> {
    let said = format!("(\"it is to be repaired later\"): {what}");
    let found = preflight(scene, target).await?;
    let of_check = found.iter().find(|found| found.check == check).context("no result")?;
    assert_eq!(of_check.result, PreflightResult::Skipped, "{found:?}");
    let message = &of_check.message;
    assert!(
        message.contains(" skipped it at ") && message.contains(&said),
        "{message}"
    );
    Ok(())
}

async fn ask_for_approvals(scene: &JourneyContext) -> Result<()> {
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "approval" },
        "spec": { "approval": { "before": ["ControlPlane", "Workers"] } },
    });
    scene.apply_object(policy).await.map(drop)
}

/// Waits until the record says that the upgrade stands still for an approval.
async fn lacks_approval(scene: &JourneyContext, target: &str, part: ApprovedPart) -> Result<()> {
    let entry = format!(
        "{{\"before\": \"{}\", \"version\": \"{target}\", \"target\": \"{target}\"}}",
        part.as_str()
    );
    wait_for(&format!("it to wait for {entry}"), UPGRADE, || async {
        let record = record(scene, target).await?;
        let status = record.status.clone().unwrap_or_default();
        let says = status.health.first().is_some_and(|row| {
            let is_it = row.reason == HealthReason::ApprovalMissing.as_str() && row.name == record.name_any();
            is_it && row.message.contains(&entry)
        });
        if says && status.phase == UpgradePhase::Held {
            Ok(())
        } else {
            Err(format!("{status:?}").into())
        }
    })
    .await
}

/// Approves parts of the upgrade, as a manifest in Git would: without a stamp, also of what is approved already.
async fn approve(scene: &JourneyContext, target: &str, parts: &[ApprovedPart]) -> Result<()> {
    let before = record(scene, target).await?;
    let approvals: Vec<_> = parts
        .iter()
        .map(|part| json!({ "before": part.as_str(), "version": target, "target": target }))
        .collect();
    let patch = json!({ "spec": { "approvals": approvals } });
    let patched = upgrades(scene)
        .patch(&before.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    let stamps = |record: &ClusterUpgrade| -> Vec<_> {
        let approvals = record.spec.approvals.iter();
        approvals.map(|approval| approval.set_by.clone()).collect()
    };
    let (before, after) = (stamps(&before), stamps(&patched));
    assert!(after.iter().all(Option::is_some), "{after:?}");
    assert!(after.starts_with(&before), "{before:?} was stamped again: {after:?}");
    Ok(())
}

async fn completed(scene: &JourneyContext, target: &str) -> Result<()> {
    wait_for("the upgrade to be completed", UPGRADE, || async {
        let record = record(scene, target).await?;
        if phase(&record) == UpgradePhase::Completed {
            Ok(())
        } else {
            Err(format!("{:?}", record.status).into())
        }
    })
    .await
}
