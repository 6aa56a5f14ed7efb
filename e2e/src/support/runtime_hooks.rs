//! Namespaces whose Clusters Cluster API asks Instar about before each step.

use std::time::Duration;

use anyhow::Result;
use instar_api::{HOOKS_ENABLED, HOOKS_LABEL};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{journeys::JourneyContext, topology::resource};
use crate::wait::wait_for;

/// Sets the label by which a namespace opts in, or takes it off.
pub async fn label(scene: &JourneyContext, value: Option<&str>) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(scene.mgmt.client());
    let patch = json!({ "metadata": { "labels": { HOOKS_LABEL: value } } });
    namespaces
        .patch(&scene.namespace, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// Opts the journey's namespace in, or out, and waits until Cluster API asks, or is told of no server.
pub async fn opt_in(scene: &JourneyContext, wanted: bool) -> Result<()> {
    label(scene, wanted.then_some(HOOKS_ENABLED)).await?;
    let kind = resource(
        "runtime.cluster.x-k8s.io",
        "v1beta2",
        "ExtensionConfig",
        "extensionconfigs",
    );
    let api: Api<DynamicObject> = Api::all_with(scene.mgmt.client(), &kind);
    wait_for("the ExtensionConfig to come or go", Duration::from_mins(3), || async {
        let found = api.get_opt("instar").await?;
        let conditions = found
            .as_ref()
            .and_then(|found| found.data.pointer("/status/conditions"));
        let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
        let is_discovered =
            conditions.any(|condition| condition["type"] == "Discovered" && condition["status"] == "True");
        match (wanted, &found) {
            (true, Some(_)) if is_discovered => Ok(()),
            (false, None) => Ok(()),
            (_, _) => Err(format!("{:?}", found.map(|found| found.data)).into()),
        }
    })
    .await
}
