//! What is left when upgrades are over: exactly the templates that retention allows.

use std::{collections::BTreeSet, time::Duration};

use instar_api::{ClusterUpgrade, FINISHED_ANNOTATION, REQUEST_NUMBER_LABEL, TemplateUse, UpgradePhase};
use instar_e2e::{
    Context, Result,
    support::{
        classic::{self, NAME, SMALL},
        fixtures::core_kind,
        journeys::JourneyContext,
        ledger::Ledger,
    },
    wait::wait_for,
};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::json;

use crate::by_hand::{await_phase, record, records};

/// How long the controller may take to delete what may go.
const SWEPT: Duration = Duration::from_secs(30);

/// With no time to keep, only what is in use stays; by default the previous ones stay for a day;
/// what a removed pool had goes; what is the user's stays. Then records beyond the limit go.
pub(crate) async fn retention_keeps_templates(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    classic::create_with(&scene, &rows, &SMALL).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    label(&scene, "short").await?;
    scene.apply_object(policy("short", "0s")).await?;
    scene.apply_object(policy("long", "48h")).await?;

    upgrade(&scene, "first", &rows.version(35)).await?;
    let originals = ["cp", "md-0", "md-1"];
    let at = |minor: u8, bases: &[&str]| -> Vec<String> {
        let slug = rows.version(minor).replace('.', "-");
        bases.iter().map(|base| format!("{base}-{slug}")).collect()
    };
    let expected = |minted: Vec<Vec<String>>| -> BTreeSet<String> {
        let originals = originals.iter().map(ToString::to_string);
        originals.chain(minted.into_iter().flatten()).collect()
    };
    let all = ["cp", "md-0", "md-1"];
    await_templates(&scene, &expected(vec![at(35, &all)])).await?;
    ledger.caught_up().await?;
    let gone: Vec<String> = ledger
        .templates_ever(NAME)?
        .into_iter()
        .filter(|template| template.deleted)
        .map(|template| template.name)
        .collect();
    assert!(
        gone.len() == 1 && gone[0].starts_with(&at(34, &["cp"])[0]),
        "the way there went through one template more: {gone:?}"
    );

    // Another label, another policy; then none.
    label(&scene, "none").await?;
    upgrade(&scene, "second", &rows.version(36)).await?;
    await_templates(&scene, &expected(vec![at(35, &all), at(36, &all)])).await?;
    let day = SignedDuration::from_hours(24);
    await_kept(&scene, TemplateUse::Kept, 3, Some(day)).await?;
    label(&scene, "long").await?;
    await_kept(&scene, TemplateUse::Kept, 3, Some(day * 2)).await?;
    let first = records(&scene).get("first").await?.status.context("it has no status")?;
    assert_eq!(first.templates, [], "the newest record lists them");

    remove_pool(&scene, "md-1").await?;
    await_kept(&scene, TemplateUse::Unused, 2, None).await?;
    label(&scene, "short").await?;
    await_templates(&scene, &expected(vec![at(36, &["cp", "md-0"])])).await?;
    let second = records(&scene)
        .get("second")
        .await?
        .status
        .context("it has no status")?;
    assert_eq!(second.phase, UpgradePhase::Completed);
    history_is_limited(&scene).await
}

/// Of the records that the controller made, as the label has it, those beyond the limit go, but for the last one.
async fn history_is_limited(scene: &JourneyContext) -> Result<()> {
    for (number, name) in ["a-first", "b-last"].into_iter().enumerate() {
        let mut made = record(name, &json!({ "clusterName": NAME, "target": "v1.36" }));
        made["metadata"]["labels"] = json!({ REQUEST_NUMBER_LABEL: (number + 1).to_string() });
        made["metadata"]["annotations"] = json!({ FINISHED_ANNOTATION: "Completed" });
        scene.apply_object(made).await?;
        await_phase(scene, name, UpgradePhase::Completed).await?;
    }
    let mut none = policy("short", "0s");
    none["spec"]["upgradeHistoryLimit"] = json!(0);
    scene.apply_object(none).await?;
    wait_for("the first record to be deleted", SWEPT, || async {
        let left: Vec<String> = records(scene)
            .list(&ListParams::default())
            .await?
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        if left == ["b-last", "first", "second"] {
            Ok(())
        } else {
            Err(format!("{left:?}").into())
        }
    })
    .await
}

pub(crate) fn policy(tier: &str, keep: &str) -> serde_json::Value {
    json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": tier },
        "spec": {
            "clusterSelector": { "matchLabels": { "journey.example.org/tier": tier } },
            "templates": { "keepPrevious": keep },
        },
    })
}

pub(crate) async fn label(scene: &JourneyContext, tier: &str) -> Result<()> {
    let patch = json!({ "metadata": { "labels": { "journey.example.org/tier": tier } } });
    let clusters = classic::clusters(scene);
    clusters
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// Asks for an upgrade of a Cluster, all of its pools at once.
pub(crate) async fn ask(scene: &JourneyContext, name: &str, cluster: &str, target: &str) -> Result<()> {
    let spec = json!({ "clusterName": cluster, "target": target, "strategy": { "type": "All" } });
    scene.apply_object(record(name, &spec)).await?;
    Ok(())
}

async fn upgrade(scene: &JourneyContext, name: &str, target: &str) -> Result<()> {
    ask(scene, name, NAME, target).await?;
    await_phase(scene, name, UpgradePhase::Completed).await
}

/// The second record says that so many templates are there for this, and how long after its end the
/// first of them goes. A MachineSet that is empty may refer to one for a moment more.
async fn await_kept(
    scene: &JourneyContext,
    state: TemplateUse,
    count: usize,
    kept: Option<SignedDuration>,
) -> Result<()> {
    wait_for(&format!("{count} templates to be {state:?}"), SWEPT, || async {
        let record: ClusterUpgrade = records(scene).get("second").await?;
        let status = record.status.context("it has no status")?;
        let ended = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Completed");
        let ended: Timestamp = ended.context("it has no condition Completed")?.last_transition_time.0;
        let templates = status.templates.iter().filter(|template| template.state == state);
        let times: Vec<Timestamp> = templates
            .filter_map(|template| template.kept_until.as_ref())
            .map(|time| time.0)
            .collect();
        let first = times.iter().min().map(|time| time.duration_since(ended));
        if times.len() == count && (kept.is_none() || first == kept) {
            Ok(())
        } else {
            Err(format!("{:?}", status.templates).into())
        }
    })
    .await
}

async fn remove_pool(scene: &JourneyContext, name: &str) -> Result<()> {
    let resource = core_kind("MachineDeployment", "machinedeployments");
    let pools: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &resource);
    pools.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// The machine templates of the namespace are these and no others; of ours, the beginning counts.
async fn await_templates(scene: &JourneyContext, expected: &BTreeSet<String>) -> Result<()> {
    let kind = GroupVersionKind::gvk("infrastructure.cluster.x-k8s.io", "v1beta2", "DevMachineTemplate");
    let resource = ApiResource::from_gvk_with_plural(&kind, "devmachinetemplates");
    let templates: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &resource);
    wait_for(&format!("the templates {expected:?}"), SWEPT, || async {
        let found = templates.list(&ListParams::default()).await?;
        let names: BTreeSet<String> = found
            .iter()
            .map(|template| {
                let name = template.name_any();
                match (
                    template.labels().contains_key("upgrade.cluster.x-k8s.io/release"),
                    name.rsplit_once('-'),
                ) {
                    (true, Some((beginning, _))) => beginning.to_owned(),
                    (_, _) => name,
                }
            })
            .collect();
        if names == *expected && found.items.len() == expected.len() {
            Ok(())
        } else {
            Err(format!("{names:?}").into())
        }
    })
    .await
}
