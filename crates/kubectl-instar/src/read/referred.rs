//! What a Cluster's objects refer to, of any provider: templates, and the infrastructure of MachinePools.

use std::collections::{BTreeMap, BTreeSet};

use instar::cluster::call;
use instar_api::RELEASE_LABEL;
use instar_capi::labels::CLUSTER_NAME;
use instar_planner::{TemplateRef, label_value};
use instar_watch::is_not_found;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
    discovery,
};
use serde_json::Value;

use super::{Objects, pages};
use crate::{Error, connection::Connection};

/// Those that are named, and what was minted for the Cluster of the same kinds: one list and a few objects of each kind. What
/// can't be read is named, and the rest is told without it.
pub(super) async fn read(connection: &Connection, cluster: &str, references: &[TemplateRef]) -> Result<Objects, Error> {
    let mut kinds: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for TemplateRef { group, kind, name } in references {
        // Nothing of the core group is a template, and a Secret is never read.
        if !group.is_empty() {
            kinds.entry((group, kind)).or_default().insert(name);
        }
    }
    let mut read = Objects::default();
    for ((group, kind), names) in kinds {
        match of_kind(connection, cluster, (group, kind), &names).await {
            Ok(objects) => read.objects.extend(objects),
            Err(error @ (Error::Cluster(instar::cluster::Error::Call { .. }) | Error::NotFound { .. })) => {
                read.unread.push(error.one_line());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

async fn of_kind(
    connection: &Connection,
    cluster: &str,
    (group, kind): (&str, &str),
    names: &BTreeSet<&str>,
) -> Result<Vec<Value>, Error> {
    let resource = resource(connection, group, kind).await?;
    let api: Api<DynamicObject> = Api::namespaced_with(connection.client.clone(), &connection.namespace, &resource);
    let minted = format!("{CLUSTER_NAME}={},{RELEASE_LABEL}", label_value(cluster));
    let mut objects = pages(&api, &ListParams::default().labels(&minted), kind).await?;
    for name in names {
        if objects.iter().any(|object| object.name_any() == *name) {
            continue;
        }
        match call(|| format!("cannot read {kind} {name}"), api.get(name)).await {
            Ok(object) => objects.push(object),
            // The plan says what comes of that.
            Err(instar::cluster::Error::Call { source, .. }) if is_not_found(&source) => {}
            Err(error) => return Err(error.into()),
        }
    }
    objects.iter().map(|object| value(&resource, object)).collect()
}

async fn resource(connection: &Connection, group: &str, kind: &str) -> Result<ApiResource, Error> {
    let what = || format!("cannot find the kind {kind} of {group}");
    let found = call(what, discovery::group(&connection.client, group)).await?;
    let mut resources = found.resources_by_stability().into_iter();
    let resource = resources.find(|(resource, _)| resource.kind == *kind);
    resource.map(|(resource, _)| resource).ok_or_else(|| Error::NotFound {
        what: format!("the kind {kind} of {group}"),
        namespace: connection.namespace.clone(),
        remedy: "see `kubectl api-resources`".to_owned(),
    })
}

/// With its kind, which a list leaves out, and without what only the API server reads.
fn value(resource: &ApiResource, object: &DynamicObject) -> Result<Value, Error> {
    let mut value = serde_json::to_value(object).map_err(|source| Error::Unreadable {
        what: format!("{} {}", resource.kind, object.name_any()),
        source,
    })?;
    value["apiVersion"] = Value::String(resource.api_version.clone());
    value["kind"] = Value::String(resource.kind.clone());
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(value)
}
