//! What stops an upgrade until a user mends it: a release with a typo, and machines that never come up.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use instar_api::{ClusterUpgrade, ClusterUpgradeStatus, UpgradePhase};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        classic::{NAME, SMALL, create_with},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
    },
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use instar_e2e::support::upgrade::UPGRADE;

const RECORD: &str = "mended";
const PAUSED: &str = "cluster.x-k8s.io/paused";

/// How long a machine takes to start here: time enough to break it.
const STARTS: &str = "4s";

/// The template's kind has no such field.
const TYPO: &str = "/spec/template/spec/backend/inMemory/vm/provisioning/startupDurations";

/// A release with a typo is named with its pointer, and another one takes its place. Then the first new machine of the
/// control plane and that of the first pool stop short of their nodes. Each time the rest is held and the machine is
/// named, and each time the upgrade goes on by itself.
pub(crate) async fn a_machine_that_never_comes_up(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let mut slow = rows.row(34, 9);
    slow["spec"]["support"] = json!({ "tier": "Preview" });
    for image in slow["spec"]["machineImages"]
        .as_array_mut()
        .context("a row has images")?
    {
        image["values"][0]["value"] = json!(STARTS);
    }
    let mut typo = slow.clone();
    typo["metadata"]["name"] = json!(rows.name(34, 8));
    typo["spec"]["revision"] = json!(8);
    for image in typo["spec"]["machineImages"]
        .as_array_mut()
        .context("a row has images")?
    {
        image["values"][0]["pointer"] = json!(TYPO);
    }
    for row in rows.all().into_iter().chain([slow, typo]) {
        scene.apply_object(row).await?;
    }
    create_with(&scene, &rows, &SMALL).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;

    let breaking = break_first_of_each(&scene, ["cp-", "md-0-"]);
    ask(&scene, &rows.name(34, 8)).await?;
    typo_is_named(&scene).await?;
    ask(&scene, &rows.name(34, 9)).await?;
    let (old, new) = (rows.version(33), rows.version(34));

    let stuck = named(&scene, UpgradePhase::ControlPlane).await?;
    held(&scene, &stuck, [("", &new), ("md-0", &old), ("md-1", &old)]).await?;
    mend(&scene, &stuck).await?;

    let stuck = named(&scene, UpgradePhase::Workers).await?;
    held(&scene, &stuck, [("", &new), ("md-0", &new), ("md-1", &old)]).await?;
    mend(&scene, &stuck).await?;

    wait_for("the upgrade to be completed", UPGRADE, || async {
        match status(&scene).await? {
            Some(status) if status.phase == UpgradePhase::Completed => Ok(()),
            status => Err(format!("{status:?}").into()),
        }
    })
    .await?;
    let status = status(&scene).await?.context("no status")?;
    assert_eq!(healthy(&status), Some("True"), "{status:?}");
    breaking.await??;
    ledger.caught_up().await?;
    let made = ledger.machines_by_version(NAME)?;
    let pools = ["md-0", "md-1"].map(|name| Pool::Workers(name.to_owned()));
    for pool in [Pool::ControlPlane].into_iter().chain(pools) {
        for version in [&old, &new] {
            let machines = made.get(&(pool.clone(), version.clone())).map_or(0, Vec::len);
            assert_eq!(machines, 1, "{pool:?} at {version}: {made:#?}");
        }
    }
    assert_eq!(made.len(), 6, "{made:#?}");
    Ok(())
}

async fn ask(scene: &JourneyContext, target: &str) -> Result<()> {
    let upgrade = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": RECORD },
        "spec": { "clusterName": NAME, "target": target },
    });
    scene.apply_object(upgrade).await?;
    Ok(())
}

/// The pointer is named, for the control plane, with the API server's own words.
async fn typo_is_named(scene: &JourneyContext) -> Result<()> {
    let unknown = format!("unknown field \"{}\"", TYPO.trim_start_matches('/').replace('/', "."));
    wait_for("the typo to be named", UPGRADE, || async {
        let Some(status) = status(scene).await? else {
            return Err("no status".into());
        };
        let is_named = |message: &str| {
            message.starts_with(&format!("DevMachineTemplate has no field {TYPO},"))
                && message.contains("for the control plane")
                && message.contains(&unknown)
        };
        let rows = &status.health;
        let named = rows
            .first()
            .is_some_and(|row| row.reason == "Refused" && is_named(&row.message));
        if named && healthy(&status) == Some("False") {
            Ok(())
        } else {
            Err(format!("{status:?}").into())
        }
    })
    .await
}

fn healthy(status: &ClusterUpgradeStatus) -> Option<&str> {
    let healthy = status.conditions.iter().find(|condition| condition.type_ == "Healthy");
    healthy.map(|condition| condition.status.as_str())
}

/// Pauses the first machine that is cloned from a minted template of each of these pools, so that
/// its provider does nothing more for it.
fn break_first_of_each(scene: &JourneyContext, pools: [&'static str; 2]) -> JoinHandle<Result<()>> {
    let api = machines_of_provider(scene);
    tokio::spawn(async move {
        let mut left = pools.to_vec();
        let mut events = watcher(api.clone(), watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .boxed();
        while !left.is_empty() {
            let machine = events.try_next().await?.context("the watch ended")?;
            let template = machine.annotations().get("cluster.x-k8s.io/cloned-from-name");
            let Some(template) = template else { continue };
            let Some(place) = left.iter().position(|pool| template.starts_with(pool)) else {
                continue;
            };
            left.remove(place);
            say(format!("breaking {} of {template}", machine.name_any()));
            annotate(&api, &machine.name_any(), json!("true")).await?;
        }
        Ok(())
    })
}

async fn mend(scene: &JourneyContext, machine: &str) -> Result<()> {
    say(format!("mending {machine}"));
    annotate(&machines_of_provider(scene), machine, Value::Null).await
}

async fn annotate(api: &Api<DynamicObject>, name: &str, value: Value) -> Result<()> {
    let patch = json!({ "metadata": { "annotations": { PAUSED: value } } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// The machine that the record says isn't ready, while it is at this phase, once it is one of the
/// provider's that is broken.
async fn named(scene: &JourneyContext, phase: UpgradePhase) -> Result<String> {
    let api = machines_of_provider(scene);
    wait_for("the broken machine to be named", UPGRADE, || async {
        let Some(status) = status(scene).await? else {
            return Err("no status".into());
        };
        let broken: Vec<String> = api
            .list(&ListParams::default())
            .await?
            .iter()
            .filter(|machine| machine.annotations().contains_key(PAUSED))
            .map(ResourceExt::name_any)
            .collect();
        let named = broken.iter().find(|machine| {
            let is_it = |message: &str| message.contains(&format!("Machine {machine} is "));
            status.phase == phase
                && status
                    .health
                    .iter()
                    .any(|row| row.reason == "MachineNotReady" && is_it(&row.message))
        });
        named
            .cloned()
            .ok_or_else(|| format!("broken are {broken:?}, and {status:?}").into())
    })
    .await
}

/// Nothing else has moved, and for as long as it takes Cluster API to look again nothing does.
async fn held(scene: &JourneyContext, stuck: &str, expected: [(&str, &str); 3]) -> Result<()> {
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let status = status(scene).await?.context("no status")?;
        let pools: Vec<(&str, &str)> = status
            .pools
            .iter()
            .map(|pool| (pool.name.as_str(), pool.version.as_str()))
            .collect();
        assert_eq!(pools, expected, "while {stuck} is broken: {status:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn status(scene: &JourneyContext) -> Result<Option<ClusterUpgradeStatus>> {
    let api: Api<ClusterUpgrade> = Api::namespaced(scene.mgmt.client(), &scene.namespace);
    Ok(api.get_opt(RECORD).await?.and_then(|upgrade| upgrade.status))
}

fn machines_of_provider(scene: &JourneyContext) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("infrastructure.cluster.x-k8s.io", "v1beta2", "DevMachine");
    let resource = ApiResource::from_gvk_with_plural(&kind, "devmachines");
    Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &resource)
}
