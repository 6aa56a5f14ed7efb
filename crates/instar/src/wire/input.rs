//! Bringing together what the wiring is made of.

use std::{collections::BTreeSet, io};

use instar_capi::{ClusterClassSpec, TemplateRef};
use instar_wiring::Templates;
use serde::Deserialize;
use serde_json::Value;

use super::WireArgs;
use super::{Error, cluster::Cluster, files::Files, releases::Releases};

/// What the wiring is made of.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) class: Value,
    pub(crate) templates: Templates,
    pub(crate) releases: Releases,
}

/// Reads it from the files and, where the class isn't in them, from the cluster.
pub(crate) async fn gather(args: &WireArgs) -> Result<Input, Error> {
    let files = Files::read(&args.files, io::stdin())?;
    match &args.class {
        Some(class) if !files.has_class(class, args.namespace.as_deref()) => {
            let cluster = Cluster::connect(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
            from_cluster(&cluster, &files, args.namespace.as_deref(), class).await
        }
        class => from_files(&files, args.namespace.as_deref(), class.as_deref()),
    }
}

/// Reads it from the files alone. Templates that they don't hold are named by the wiring.
pub(crate) fn from_files(files: &Files, namespace: Option<&str>, class: Option<&str>) -> Result<Input, Error> {
    let class = files.class(class, namespace)?;
    let namespace = class
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .or(namespace);
    let mut templates = Templates::new();
    for reference in references(class) {
        if let Some(template) = files.template(&reference, namespace)? {
            templates.insert(reference, template.clone());
        }
    }
    let mut releases = Releases::default();
    files.put_releases(&mut releases);
    Ok(Input {
        class: class.clone(),
        templates,
        releases,
    })
}

async fn from_cluster(cluster: &Cluster, files: &Files, namespace: Option<&str>, class: &str) -> Result<Input, Error> {
    let namespace = namespace.unwrap_or_else(|| cluster.namespace());
    let class = cluster.class(namespace, class).await?;
    let mut templates = Templates::new();
    for reference in references(&class) {
        let template = match files.template(&reference, Some(namespace))? {
            Some(template) => template.clone(),
            None => cluster.template(namespace, &reference).await?,
        };
        templates.insert(reference, template);
    }
    let mut releases = Releases::default();
    for release in cluster.releases().await? {
        releases.put(&release, "the cluster");
    }
    files.put_releases(&mut releases);
    Ok(Input {
        class,
        templates,
        releases,
    })
}

/// The templates of the control plane, its machines and the pools. Of a class that can't be read
/// there are none, and the wiring refuses it with the reason.
fn references(class: &Value) -> BTreeSet<TemplateRef> {
    let spec = class.get("spec").map(ClusterClassSpec::deserialize);
    let Some(Ok(spec)) = spec else {
        return BTreeSet::new();
    };
    let workers = spec
        .workers
        .machine_deployments
        .into_iter()
        .chain(spec.workers.machine_pools);
    [
        spec.control_plane.template_ref,
        spec.control_plane.machine_infrastructure.template_ref,
    ]
    .into_iter()
    .chain(workers.map(|worker| worker.infrastructure.template_ref))
    .flatten()
    .collect()
}
