//! What becomes of an upgrade that fails, without a hand.

use std::time::Duration;

use instar_api::{FINISHED_ANNOTATION, HealthReason, ON_FAILURE_ANNOTATION, Operation, UpgradePhase};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        classic::{self, NAME, SMALL},
        gates,
        journeys::JourneyContext,
    },
    wait::wait_for,
};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    addons::{ROLE, observed_by_account},
    by_hand::records,
    way_back::{Machines, ended, machines, never_boots, upgrade, versions},
};

/// Time enough for a control loop that would do something.
const STILL: Duration = Duration::from_secs(20);
const UPGRADE: Duration = Duration::from_mins(12);

/// Workers whose new machine never joins go back when their deadline is over, as the policy asks for: the control plane
/// stays, no worker that was there is replaced, and the record says why. A gate with `onTimeout: Fail` ends an upgrade, which
/// goes on when its spec is edited.
pub(crate) async fn what_fails_goes_back_or_ends_by_itself(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for row in rows.all().into_iter().chain([never_boots(&rows, 7, "Worker")]) {
        scene.apply_object(row).await?;
    }
    classic::create_with(&scene, &rows, &SMALL).await?;
    gates::let_account(&scene, ROLE, &observed_by_account()).await?;
    let (old, new) = (rows.version(33), rows.version(34));
    let before = machines(&scene).await?;

    say("workers that never join, with a policy that takes them back");
    policy(
        &scene,
        &json!({ "rollback": { "onFailure": "RollbackWorkers", "progressDeadline": "45s" } }),
    )
    .await?;
    upgrade(&scene, "joins-never", &rows.name(34, 7)).await?;
    let status = ended(&scene, "joins-never", UpgradePhase::RolledBack).await?;
    assert_eq!(
        status.health.first().map(|row| row.reason.as_str()),
        Some(HealthReason::RolledBack.as_str()),
        "{status:?}"
    );
    let all = records(&scene).list(&ListParams::default()).await?.items;
    let rollbacks: Vec<_> = all.iter().filter(|record| record.spec.rollback_of.is_some()).collect();
    assert_eq!(rollbacks.len(), 1, "{rollbacks:#?}");
    let rollback = rollbacks[0];
    assert_eq!(rollback.spec.operation, Operation::RollbackWorkers);
    assert_eq!(rollback.spec.rollback_of.as_deref(), Some("joins-never"));
    let why = &rollback.annotations()[ON_FAILURE_ANNOTATION];
    assert!(
        why.starts_with("MachineDeployment md-0 has made no progress since "),
        "{why}"
    );
    ended(&scene, &rollback.name_any(), UpgradePhase::Completed).await?;
    let workers = |machines: &Machines| -> Machines {
        let workers = machines.iter().filter(|(pool, _)| pool.starts_with("md-"));
        workers.cloned().collect()
    };
    let after = machines(&scene).await?;
    assert_eq!(
        workers(&after),
        workers(&before),
        "no worker that was there was replaced"
    );
    let expected = [(NAME, &new), ("md-0", &old), ("md-1", &old)].map(|(name, at)| (name.to_owned(), at.clone()));
    assert_eq!(versions(&scene).await?, expected);
    tokio::time::sleep(STILL).await;
    assert_eq!(machines(&scene).await?, after, "it isn't tried again");

    say("a gate that ends the upgrade");
    gates::config_map(&scene, "database", &json!({ "ready": "no" })).await?;
    policy(&scene, &json!({ "gates": [gate()] })).await?;
    upgrade(&scene, "gated", &rows.name(34, 1)).await?;
    let status = ended(&scene, "gated", UpgradePhase::Failed).await?;
    let first = status.health.first().context("it doesn't say why")?;
    assert_eq!(first.reason, HealthReason::UpgradeFailed.as_str(), "{status:?}");
    assert!(
        first
            .message
            .contains("that takes longer than 5s; the upgrade has failed"),
        "{status:?}"
    );
    wait_for("the mark of an upgrade that is over", UPGRADE, || async {
        let seen = records(&scene).get("gated").await?;
        match seen.annotations().get(FINISHED_ANNOTATION).map(String::as_str) {
            Some("Failed") => Ok(()),
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await?;
    gates::config_map(&scene, "database", &json!({ "ready": "yes" })).await?;
    tokio::time::sleep(STILL).await;
    let versions_after = versions(&scene).await?;
    assert_eq!(versions_after[1..], expected[1..], "what has failed stays so");

    say("mended, it goes on when its spec is edited");
    for paused in [true, false] {
        let patch = json!({ "spec": { "paused": paused } });
        records(&scene)
            .patch("gated", &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
    }
    ended(&scene, "gated", UpgradePhase::Completed).await?;
    let done = [NAME, "md-0", "md-1"].map(|name| (name.to_owned(), new.clone()));
    assert_eq!(versions(&scene).await?, done);
    Ok(())
}

fn gate() -> Value {
    json!({
        "name": "database",
        "when": "BeforeWorkers",
        "observe": { "cluster": "Management", "apiVersion": "v1", "kind": "ConfigMap", "name": "database" },
        "readyWhen": "self.data.ready == 'yes'",
        "generation": "Ignore",
        "settle": "2s",
        "timeout": "5s",
        "onTimeout": "Fail",
    })
}

async fn policy(scene: &JourneyContext, spec: &Value) -> Result<()> {
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "failure" },
        "spec": spec,
    });
    scene.apply_object(policy).await.map(drop)
}
