//! What a failed test leaves: its objects, its events, and the logs of all processes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::DynamicObject,
    discovery::{Discovery, Scope, verbs},
};
use tokio::time::timeout;

use crate::{cache::Cache, failure::describe, mgmt::Mgmt, progress::say};

/// How long a dump may take: what it is made of may be what is broken.
const ENOUGH: Duration = Duration::from_mins(1);

/// Writes what there is to see of a test and its namespaces; the result is the directory.
///
/// Logs come first, objects as far as the API server answers.
pub async fn dump(mgmt: &Mgmt, test: &str, namespaces: &[String]) -> Result<PathBuf> {
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%S");
    let safe: String = test
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let dir = Cache::locate()?.dumps().join(format!("{safe}-{stamp}"));
    fs::create_dir_all(&dir)?;
    copy_logs(&mgmt.run().logs(), &dir.join("logs"))?;
    match timeout(ENOUGH, objects(mgmt, namespaces, &dir)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => say(format!("the dump of {test} lacks objects: {}", describe(&error))),
        Err(_) => say(format!(
            "the dump of {test} lacks objects: no answer in {} s",
            ENOUGH.as_secs()
        )),
    }
    Ok(dir)
}

fn copy_logs(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)
        .with_context(|| from.display().to_string())?
        .flatten()
    {
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

async fn objects(mgmt: &Mgmt, namespaces: &[String], dir: &Path) -> Result<()> {
    let discovery = Discovery::new(mgmt.client()).run_aggregated().await?;
    for group in discovery.groups() {
        let ours = group.name() == "cluster.x-k8s.io" || group.name().ends_with(".cluster.x-k8s.io");
        for (resource, capabilities) in group.recommended_resources() {
            let wanted = ours || (group.name().is_empty() && resource.kind == "Event");
            if !wanted || !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            let file = match group.name() {
                "" => format!("{}.yaml", resource.plural),
                group => format!("{}.{group}.yaml", resource.plural),
            };
            if capabilities.scope == Scope::Cluster {
                write(
                    Api::all_with(mgmt.client(), &resource),
                    &dir.join("cluster-wide").join(&file),
                )
                .await?;
            } else {
                for namespace in namespaces {
                    let api = Api::namespaced_with(mgmt.client(), namespace, &resource);
                    write(api, &dir.join(namespace).join(&file)).await?;
                }
            }
        }
    }
    Ok(())
}

async fn write(api: Api<DynamicObject>, path: &Path) -> Result<()> {
    let list = api
        .list(&ListParams::default())
        .await
        .with_context(|| path.display().to_string())?;
    if list.items.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for mut object in list.items {
        // Longer than all the rest, and no test is about it.
        object.managed_fields_mut().clear();
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&object)?);
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}
