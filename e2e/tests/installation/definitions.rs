//! CustomResourceDefinitions that don't fit the programs: nothing is written until they do.

use std::time::Duration;

use instar_api::{Definition, INSTAR_VERSION_ANNOTATION};
use instar_e2e::{
    Result, ports,
    support::{journeys::JourneyContext, record::upgrades},
    wait::wait_for,
};
use k8s_openapi::{
    api::events::v1::Event, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::removal::instar;

pub(crate) const SOON: Duration = Duration::from_mins(2);

/// A definition of a later minor version stops the controller's writes; those of the program let it go on. And they are not
/// applied over a field that an object has.
pub(crate) async fn that_do_not_fit(scene: JourneyContext) -> Result<()> {
    let result = both_ways(&scene).await;
    // Journeys after this one have the definitions of the program again.
    let (done, said) = instar(&scene, &["crd", "--apply"]).await?;
    result?;
    anyhow::ensure!(done && said.matches("unchanged").count() == 3, "{said}");
    Ok(())
}

async fn both_ways(scene: &JourneyContext) -> Result<()> {
    let policies = Definition::UpgradePolicies.name();
    patch(
        scene,
        policies,
        &json!({ "metadata": { "annotations": { (INSTAR_VERSION_ANNOTATION): "v99.0.0" } } }),
    )
    .await?;
    let why = format!("CustomResourceDefinition {policies} is newer than this program by a minor version (v99.0.0, ");
    wait_for("the controller not to be ready", SOON, || async {
        let (ready, said) = readiness(scene).await?;
        if !ready && said.contains(&why) {
            return Ok(());
        }
        Err(said.into())
    })
    .await?;
    wait_for("the Event on the definition", SOON, || async {
        let events = Api::<Event>::namespaced(scene.mgmt.client(), "default");
        let events = events.list(&ListParams::default()).await?.items;
        let is_it = |event: &Event| {
            let regarding = event.regarding.as_ref().and_then(|object| object.name.as_deref());
            event.reason.as_deref() == Some("CrdSkew") && regarding == Some(policies)
        };
        if events.iter().any(is_it) {
            return Ok(());
        }
        Err("none yet".into())
    })
    .await?;

    // Its Cluster isn't there, and its status would say so.
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "up" },
            "spec": { "clusterName": "none", "target": "v1.35.0" },
        }))
        .await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(upgrades(scene).get("up").await?.status, None, "it was written to");
    let (done, said) = instar(scene, &["crd", "--apply"]).await?;
    let configured = format!("customresourcedefinition.apiextensions.k8s.io/{policies} configured\n");
    assert!(done && said.contains(&configured), "{said}");
    wait_for("the controller to go on by itself", SOON, || async {
        let (ready, said) = readiness(scene).await?;
        let status = upgrades(scene).get("up").await?.status;
        if ready && status.is_some() {
            return Ok(());
        }
        Err(format!("{said} {status:?}").into())
    })
    .await?;
    refused_for_a_field(scene).await
}

/// As a later version of Instar may have written it.
async fn refused_for_a_field(scene: &JourneyContext) -> Result<()> {
    let name = Definition::ClusterUpgrades.name();
    let mut versions = Definition::ClusterUpgrades.object()["spec"]["versions"].clone();
    let fields = &mut versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    fields["later"] = json!({ "type": "string" });
    patch(scene, name, &json!({ "spec": { "versions": versions } })).await?;
    let set = |value: Option<&str>| json!({ "spec": { "later": value } });
    let written = async |value: Option<&'static str>| {
        let object = upgrades(scene);
        object
            .patch("up", &PatchParams::default(), &Patch::Merge(set(value)))
            .await
    };
    let lost = format!("ClusterUpgrade {}/up (spec.later)", scene.namespace);
    wait_for("the field to be stored, and not lost", SOON, || async {
        written(Some("x")).await?;
        let (done, said) = instar(scene, &["crd", "--apply"]).await?;
        if !done && said.contains(&lost) {
            return Ok(());
        }
        Err(said.into())
    })
    .await?;
    written(None).await?;
    let (done, said) = instar(scene, &["crd", "--apply"]).await?;
    anyhow::ensure!(done && said.contains(&format!("{name} configured")), "{said}");
    Ok(())
}

pub(crate) async fn patch(scene: &JourneyContext, name: &str, patch: &serde_json::Value) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(scene.mgmt.client());
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Whether the installed controller is ready, and what it says.
pub(crate) async fn readiness(scene: &JourneyContext) -> Result<(bool, String)> {
    let url = format!("http://127.0.0.1:{}/readyz", ports::CONTROLLER_HEALTH);
    let answer = scene.mgmt.http().get(url).send().await?;
    Ok((answer.status().is_success(), answer.text().await?))
}
