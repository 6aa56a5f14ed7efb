//! A management cluster that is lost, with its objects in files.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use instar_api::BREAK_GLASS_ANNOTATION;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{journeys::JourneyContext, topology};
use crate::{
    clusterctl::moved,
    wait::{Seen, wait_for},
};

/// How long what is only a matter of a look may take.
const SOON: Duration = Duration::from_mins(2);

/// Takes away all that was moved, as if the management cluster were gone: no finalizer is heeded, so
/// that the machines, which are somewhere else, go on.
pub async fn lose(scene: &JourneyContext, directory: &Path, clusters: &[&str]) -> Result<()> {
    let pause = Patch::Merge(json!({ "spec": { "paused": true } }));
    for name in clusters {
        topology::clusters(scene)
            .patch(name, &PatchParams::default(), &pause)
            .await?;
    }
    let mut left = Vec::new();
    for object in moved(directory)? {
        // KubernetesReleases belong to no Cluster: whether they are lost too is for the journey to say.
        if is_release(&object) {
            continue;
        }
        ensure!(
            object.namespace().as_ref() == Some(&scene.namespace),
            "{object:?} is of another namespace"
        );
        let types = object.types.as_ref().context("a file without a kind")?;
        let (resource, _) = scene.mgmt.applier().kind(types).await?;
        let api: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &resource);
        left.push((api, object));
    }
    let is_class = |object: &DynamicObject| object.types.as_ref().is_some_and(|types| types.kind == "ClusterClass");
    // Whoever has not seen the pause would hold on to what goes.
    wait_for("all controllers to have paused", SOON, || async {
        // A class belongs to no Cluster.
        for (api, object) in left.iter().filter(|(_, object)| !is_class(object)) {
            let object = api.get(&object.name_any()).await?;
            let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
            let paused = conditions
                .into_iter()
                .flatten()
                .find(|condition| condition["type"] == "Paused");
            if paused.is_some_and(|condition| condition["status"] != "True") {
                return Err(Seen::from(object.name_any()));
            }
        }
        Ok(())
    })
    .await?;
    // Owners come last, so that nothing is collected on the way, and classes after their Clusters.
    while !left.is_empty() {
        let owners: BTreeSet<String> = left
            .iter()
            .flat_map(|(_, object)| object.owner_references())
            .map(|owner| owner.uid.clone())
            .collect();
        let only_classes = left.iter().all(|(_, object)| is_class(object));
        let (later, now): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, object)| {
            let is_owner = object.uid().is_some_and(|uid| owners.contains(&uid));
            is_owner || is_class(object) && !only_classes
        });
        ensure!(!now.is_empty(), "objects own each other: {later:?}");
        for (api, object) in &now {
            let name = object.name_any();
            if object
                .types
                .as_ref()
                .is_some_and(|types| types.kind.ends_with("Template"))
            {
                break_glass(api, &name, "template-in-use template-kept: all of it is lost").await?;
            }
            api.delete(&name, &DeleteParams::default()).await?;
            if !object.finalizers().is_empty() {
                let bare = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
                api.patch(&name, &PatchParams::default(), &bare).await?;
            }
            wait_for(&format!("{name} to be gone"), SOON, || async {
                match api.get_opt(&name).await? {
                    None => Ok(()),
                    Some(object) => Err(Seen::from(format!("{:?}", object.metadata))),
                }
            })
            .await?;
        }
        left = later;
    }
    Ok(())
}

/// Takes the releases that were moved out of the files, but for those of these names: other journeys have theirs, and
/// create and delete them meanwhile.
pub fn keep_releases(directory: &Path, names: &[String]) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let object: DynamicObject = serde_json::from_slice(&fs::read(&path)?)?;
        if is_release(&object) && !names.contains(&object.name_any()) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn is_release(object: &DynamicObject) -> bool {
    object
        .types
        .as_ref()
        .is_some_and(|types| types.kind == "KubernetesRelease")
}

/// Switches rules off for the deletion of an object.
async fn break_glass(api: &Api<DynamicObject>, name: &str, why: &str) -> Result<()> {
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { BREAK_GLASS_ANNOTATION: why } } }));
    api.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}
