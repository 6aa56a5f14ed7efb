//! Two Clusters of a namespace that share their templates.

use std::{collections::BTreeSet, time::Duration};

use instar_api::{TemplateUse, UpgradePhase};
use instar_e2e::{
    Context, Result,
    support::{
        classic::{self, NAME, SMALL, machine_templates},
        fixtures::core_kind,
        journeys::JourneyContext,
    },
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;

use crate::{
    by_hand::{await_phase, records},
    templates::{ask, label, policy},
};

/// The second Cluster.
const OTHER: &str = "d";

/// How long the controller may take to delete what may go, once nothing refers to it.
const COLLECTED: Duration = Duration::from_mins(3);

/// Each gets copies of its own, and both arrive. What one minted and the other one uses stays, and keeps no other
/// template.
pub(crate) async fn by_two_clusters(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    classic::create_with(&scene, &rows, &SMALL).await?;
    classic::create_sharing(&scene, &rows, OTHER).await?;

    // Nothing of it can be upgraded, and it holds nothing.
    let unversioned = "unversioned";
    classic::add_pool_without_version(&scene, unversioned, "md-1").await?;

    let both = [("first", NAME), ("others", OTHER)];
    for (name, cluster) in both {
        ask(&scene, name, cluster, &rows.version(34)).await?;
    }
    for (name, _) in both {
        await_phase(&scene, name, UpgradePhase::Completed).await?;
    }
    let status = records(&scene).get("first").await?.status.context("it has no status")?;
    let named = status.health.iter().find(|row| row.reason == "NoVersion");
    assert_eq!(named.map(|row| &*row.name), Some(unversioned), "{status:#?}");
    let at = |minor: u8, base: &str| format!("{base}-{}", rows.version(minor).replace('.', "-"));
    let of = |cluster: &str, names: &[String]| -> Vec<(String, String)> {
        names.iter().map(|name| (cluster.to_owned(), name.clone())).collect()
    };
    let others = of(OTHER, &[at(34, "cp"), at(34, "md-0")]);
    let first = of(NAME, &[at(34, "cp"), at(34, "md-0"), at(34, "md-1")]);
    await_minted(&scene, first.iter().chain(&others).cloned().collect()).await?;

    // A warning, and no more: Cluster API lets Clusters share a template.
    let shared = minted(&scene)
        .await?
        .into_iter()
        .find(|(cluster, beginning, _)| cluster == NAME && *beginning == at(34, "md-0"))
        .map(|(_, _, name)| name)
        .context("it has no such template")?;
    let patch = json!({ "spec": { "template": { "spec": { "infrastructureRef": { "name": shared } } } } });
    let resource = core_kind("MachineDeployment", "machinedeployments");
    let pools: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &resource);
    pools
        .patch(&format!("{OTHER}-md"), &PatchParams::default(), &Patch::Merge(&patch))
        .await?;

    scene.apply_object(policy("short", "0s")).await?;
    label(&scene, "short").await?;
    ask(&scene, "second", NAME, &rows.version(35)).await?;
    await_phase(&scene, "second", UpgradePhase::Completed).await?;
    let now = of(NAME, &[at(34, "md-0"), at(35, "cp"), at(35, "md-0"), at(35, "md-1")]);
    await_minted(&scene, now.iter().chain(&others).cloned().collect()).await?;
    wait_for("the shared template to be in use", COLLECTED, || async {
        let record = records(&scene).get("second").await?;
        let templates = record.status.context("it has no status")?.templates;
        match templates.iter().find(|template| template.name == shared) {
            Some(template) if template.state == TemplateUse::InUse => Ok(()),
            seen => Err(format!("{seen:?}").into()),
        }
    })
    .await
}

/// What was minted: for which Cluster, the name without its hash, and the whole name.
async fn minted(scene: &JourneyContext) -> Result<Vec<(String, String, String)>> {
    let found = machine_templates(scene).list(&ListParams::default()).await?;
    let minted = found.iter().filter_map(|template| {
        let labels = template.labels();
        let name = template.name_any();
        labels.get("upgrade.cluster.x-k8s.io/release")?;
        let cluster = labels.get("cluster.x-k8s.io/cluster-name")?.clone();
        let beginning = name.rsplit_once('-')?.0.to_owned();
        Some((cluster, beginning, name))
    });
    Ok(minted.collect())
}

async fn await_minted(scene: &JourneyContext, expected: BTreeSet<(String, String)>) -> Result<()> {
    wait_for(&format!("the templates {expected:?}"), COLLECTED, || async {
        let found = minted(scene).await?;
        let count = found.len();
        let names: BTreeSet<_> = found.into_iter().map(|(cluster, name, _)| (cluster, name)).collect();
        if names == expected && count == expected.len() {
            Ok(())
        } else {
            Err(format!("{names:?}").into())
        }
    })
    .await
}
