//! What a release sets for an add-on goes back when the upgrade is taken back, and the rollback waits until that is ready.

use std::time::Duration;

use instar_api::{CATALOG_LABEL, ClusterUpgrade, GATE_HISTORY_ANNOTATION, HealthReason, UpgradePhase};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        gates,
        journeys::JourneyContext,
        ledger::Ledger,
        upgrade::{UPGRADE, phase},
    },
    wait::wait_for,
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    addons::{ROLE, SHAPE, observed_by_account},
    by_hand::{await_phase, record, records},
};

const RESTORED: &str = "example.org/cni";
const KEPT: &str = "example.org/kept";
const OBJECT: &str = "cni";

/// Time enough for a swap that shouldn't come.
const STILL: Duration = Duration::from_secs(10);

/// Two upgrades to other releases of the version set two annotations. When the second one is taken back, the one goes back that
/// the release says, to what the first upgrade had set, after the workers and before the control plane, and the object says
/// when it is ready. A value that another client has set is none to go back to: Instar sets none over it.
pub(crate) async fn what_was_there_before_goes_back(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let [first, target] = catalog(&scene, &rows).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    gates::let_account(&scene, ROLE, &observed_by_account()).await?;
    is_at(&scene, "v1").await?;
    let spec = json!({ "clusterName": NAME, "target": first });
    scene.apply_object(record("first", &spec)).await?;
    await_phase(&scene, "first", UpgradePhase::Completed).await?;
    assert_eq!(annotations(&scene).await?, (json!("v1"), json!("v1")));

    let spec = json!({ "clusterName": NAME, "target": target });
    scene.apply_object(record("up", &spec)).await?;
    says(
        &scene,
        "up",
        HealthReason::AddonNotReady,
        "self.data.version == written.value",
    )
    .await?;
    assert_eq!(annotations(&scene).await?, (json!("v2"), json!("v1")));
    let up = records(&scene).get("up").await?;
    let history = up.annotations().get(GATE_HISTORY_ANNOTATION).context("no history")?;
    assert!(history.contains(r#""before":{"value":"v1"}"#), "{history}");
    is_at(&scene, "v2").await?;
    await_phase(&scene, "up", UpgradePhase::Completed).await?;
    assert_eq!(annotations(&scene).await?, (json!("v2"), json!("v2")));
    says_what_would_go_back(&records(&scene).get("up").await?);

    say("the upgrade is taken back");
    let spec = json!({ "clusterName": NAME, "operation": "Rollback", "rollbackOf": "up" });
    scene.apply_object(record("back", &spec)).await?;
    says(
        &scene,
        "back",
        HealthReason::AddonNotReady,
        "self.data.version == written.value",
    )
    .await?;
    assert_eq!(annotations(&scene).await?, (json!("v1"), json!("v2")));
    let machines = machines(&ledger).await?;
    tokio::time::sleep(STILL).await;
    assert_eq!(
        self::machines(&ledger).await?,
        machines,
        "the control plane waits for what goes back before it"
    );
    is_at(&scene, "v1").await?;
    await_phase(&scene, "back", UpgradePhase::Completed).await?;
    await_phase(&scene, "up", UpgradePhase::RolledBack).await?;
    assert_eq!(annotations(&scene).await?, (json!("v1"), json!("v2")));
    says(
        &scene,
        "back",
        HealthReason::NotTakenBack,
        "stays as the upgrade has set it, since write.onRollback of it is Keep",
    )
    .await
}

/// The rows of a catalog of the journey's own, and the Cluster in it; the names of the two with add-ons.
async fn catalog(scene: &JourneyContext, rows: &Rows) -> Result<[String; 2]> {
    let name = |revision: u8| format!("{}-restored", rows.name(33, revision));
    for (revision, value) in [(1, None), (2, Some("v1")), (6, Some("v2"))] {
        let mut row = rows.row(33, revision);
        row["metadata"]["name"] = json!(name(revision));
        row["spec"]["catalog"] = json!("restored");
        if let Some(value) = value {
            row["spec"]["addons"] = addons(value);
        }
        scene.apply_object(row).await?;
    }
    let label = json!({ "metadata": { "labels": { CATALOG_LABEL: "restored" } } });
    classic::clusters(scene)
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&label))
        .await?;
    Ok([name(2), name(6)])
}

fn addons(value: &str) -> Value {
    let addon = |name: &str, when: &str, key: &str, ready_when: &str, on_rollback: &str| {
        json!({
            "name": name,
            "when": when,
            "observe": { "cluster": "Management", "apiVersion": "v1", "kind": "ConfigMap", "name": OBJECT },
            "readyWhen": ready_when,
            "generation": "Ignore",
            "settle": "2s",
            "write": { "annotation": { "key": key, "value": value }, "onRollback": on_rollback },
        })
    };
    json!([
        addon(
            "cni",
            "AfterControlPlane",
            RESTORED,
            "self.data.version == written.value",
            "Restore"
        ),
        addon("kept", "AfterWorkers", KEPT, "has(self.data.version)", "Keep"),
    ])
}

async fn is_at(scene: &JourneyContext, version: &str) -> Result<()> {
    gates::config_map(scene, OBJECT, &json!({ "version": version })).await
}

/// What goes back, and what stays.
async fn annotations(scene: &JourneyContext) -> Result<(Value, Value)> {
    let cluster = classic::clusters(scene).get(NAME).await?;
    let of = |key: &str| cluster.annotations().get(key).map_or(Value::Null, |value| json!(value));
    Ok((of(RESTORED), of(KEPT)))
}

async fn machines(ledger: &Ledger) -> Result<usize> {
    ledger.caught_up().await?;
    Ok(ledger.machines_ever(NAME)?.len())
}

fn says_what_would_go_back(up: &ClusterUpgrade) {
    let rollback = up.status.as_ref().and_then(|status| status.rollback.clone());
    let what = rollback.unwrap_or_default().what;
    let place = |text: &str| what.iter().position(|line| line.contains(text));
    let (workers, addon) = (place("MachineDeployment md-0 goes"), place("goes back to \"v1\""));
    assert!(
        workers.is_some() && workers < addon && addon < place("the control plane goes"),
        "{what:#?}"
    );
    assert!(what.last().is_some_and(|line| line.ends_with(" stays")), "{what:#?}");
}

/// Waits for a row of `status.health` with this reason that contains these words.
async fn says(scene: &JourneyContext, name: &str, reason: HealthReason, text: &str) -> Result<()> {
    wait_for(&format!("{reason} of {name} to say {text:?}"), UPGRADE, || async {
        let seen = records(scene).get(name).await?;
        let rows = seen.status.iter().flat_map(|status| &status.health);
        let mut rows = rows.filter(|row| row.reason == reason.as_str());
        if rows.any(|row| row.message.contains(text)) {
            Ok(())
        } else {
            Err(format!("{:?}: {:#?}", phase(&seen), seen.status).into())
        }
    })
    .await
}
