//! A provider whose conversion webhook has no answer: its kind can't be read.

use instar_api::RELEASE_LABEL;
use instar_e2e::{
    Context, Result,
    support::classic::{machine_template, machine_template_kind},
    wait::wait_for,
};
use kube::api::ListParams;
use serde_json::json;

use super::{OURS, STEP, World, open, resource};

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const KIND: &str = "SilentMachineTemplate";
const OLD: &str = "k3s-old";

/// A template of another provider's Cluster that nothing refers to any more is deleted all the same.
pub(super) async fn holds_back_nothing_else(world: &World) -> Result<()> {
    define(world).await?;
    let mut old = machine_template(OLD, &world.rows.image(33, 1));
    old["metadata"]["labels"] = json!({
        "cluster.x-k8s.io/cluster-name": "k3s",
        RELEASE_LABEL: world.rows.version(33),
    });
    world.apply(old).await?;
    world
        .apply(json!({
            "apiVersion": format!("{OURS}/v1alpha1"), "kind": "UpgradePolicy", "metadata": { "name": "all" },
            "spec": { "clusterSelector": {}, "templates": { "keepPrevious": "1s" } },
        }))
        .await?;
    let templates = world.api(&machine_template_kind());
    wait_for("the old template to be deleted", STEP, || async {
        if templates.get_opt(OLD).await?.is_none() {
            return Ok(());
        }
        let status = world.record("k3s-34").await?.status;
        Err(format!("{OLD} is there, {status:?}").into())
    })
    .await?;
    // It is still so.
    is_silent(world).await
}

async fn define(world: &World) -> Result<()> {
    let version = |name: &str, is_stored: bool| {
        json!({
            "name": name, "served": true, "storage": is_stored, "schema": { "openAPIV3Schema": open() },
        })
    };
    world
        .apply(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("silentmachinetemplates.{INFRASTRUCTURE}"),
                "labels": { "cluster.x-k8s.io/v1beta2": "v1beta2" },
            },
            "spec": {
                "group": INFRASTRUCTURE,
                "scope": "Namespaced",
                "names": { "kind": KIND, "plural": "silentmachinetemplates", "singular": "silentmachinetemplate" },
                "versions": [version("v1beta1", true), version("v1beta2", false)],
                // Nothing listens there.
                "conversion": {
                    "strategy": "Webhook",
                    "webhook": { "clientConfig": { "url": "https://127.0.0.1:9/convert" }, "conversionReviewVersions": ["v1"] },
                },
            },
        }))
        .await?;
    wait_for("an object of the kind to be there", STEP, || async {
        world
            .apply(json!({
                "apiVersion": format!("{INFRASTRUCTURE}/v1beta1"), "kind": KIND, "metadata": { "name": "silent" },
            }))
            .await?;
        Ok(())
    })
    .await?;
    is_silent(world).await
}

async fn is_silent(world: &World) -> Result<()> {
    let listed = world
        .api(&resource(INFRASTRUCTURE, KIND))
        .list(&ListParams::default())
        .await;
    let error = listed.err().context("a kind without a conversion webhook is listed")?;
    assert!(error.to_string().contains("conversion webhook"), "{error}");
    Ok(())
}
