//! One Cluster and what belongs to it, in a number of requests that the fleet doesn't change.

mod control_plane;
mod referred;

use instar::cluster::call;
use instar_admission::cluster::class_of;
use instar_api::{ClusterUpgrade, KubernetesRelease, UpgradePolicy};
use instar_capi::{Cluster, ClusterClass, Machine, MachineDeployment, MachinePool, MachineSet, labels::CLUSTER_NAME};
use instar_controller::OfflineCluster;
use instar_report::{ClusterObjects, Report, all_of_kind, read_all_of_kind, text::FleetRow};
use instar_watch::is_not_found;
use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
    core::{NamespaceResourceScope, PartialObjectMeta},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, connection::Connection};

pub(crate) use control_plane::read as referenced;

/// Of the lists: what a page has.
const PAGE: u32 = 500;

/// Objects as the API server has them, and what couldn't be read.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) objects: Vec<Value>,
    pub(crate) unread: Vec<String>,
}

/// What is to be said of a Cluster.
pub(crate) async fn report(connection: &Connection, name: &str) -> Result<Report, Error> {
    let Objects { objects, unread } = Box::pin(objects(connection, name)).await?;
    let mut all = ClusterObjects::of(name, &objects).ok_or_else(|| missing(name, &connection.namespace))?;
    all.unread.extend(unread);
    Ok(Report::of(&all))
}

/// The Cluster and its pools, Machines and upgrades.
pub(crate) async fn objects(connection: &Connection, name: &str) -> Result<Objects, Error> {
    let labelled = ListParams::default().labels(&format!("{CLUSTER_NAME}={name}"));
    let (cluster, upgrades, deployments, pools, machines) = tokio::try_join!(
        cluster(connection, name),
        upgrade_values(connection, name),
        raw::<MachineDeployment>(connection, &labelled),
        raw::<MachinePool>(connection, &labelled),
        raw::<Machine>(connection, &labelled),
    )?;
    let mut read = Objects {
        objects: [upgrades, deployments, pools, machines].concat(),
        unread: Vec::new(),
    };
    if let Some(reference) = cluster.typed.spec.control_plane_ref {
        match control_plane::read(connection, &reference).await? {
            Ok(object) => read.objects.push(object),
            Err(why) => read.unread.push(why),
        }
    }
    read.objects.push(cluster.object);
    Ok(read)
}

/// The same, and all else that a decision about the Cluster needs: never a Secret.
pub(crate) async fn snapshot(connection: &Connection, name: &str) -> Result<Objects, Error> {
    let labelled = ListParams::default().labels(&format!("{CLUSTER_NAME}={name}"));
    let releases =
        Api::<DynamicObject>::all_with(connection.client.clone(), &ApiResource::erase::<KubernetesRelease>(&()));
    let params = ListParams::default();
    let (mut read, sets, policies, releases) = tokio::try_join!(
        Box::pin(objects(connection, name)),
        raw::<MachineSet>(connection, &labelled),
        raw::<UpgradePolicy>(connection, &params),
        values::<KubernetesRelease>(&releases, &params),
    )?;
    read.objects.extend([sets, policies, releases].concat());
    // What can't be read as a Cluster is said by who asks for it.
    if let Ok(offline) = OfflineCluster::read(read.objects.clone(), &connection.namespace, name) {
        let references = offline.references(Timestamp::now());
        let referred = Box::pin(referred::read(connection, name, &references)).await?;
        read.objects.extend(referred.objects);
        read.unread.extend(referred.unread);
        if let Some(class) = class_of(offline.cluster()) {
            match class_object(connection, class).await? {
                Ok(class) => read.objects.push(class),
                Err(why) => read.unread.push(why),
            }
        }
    }
    Ok(read)
}

/// The ClusterClass, or why that isn't shown.
async fn class_object(
    connection: &Connection,
    (namespace, name): (String, String),
) -> Result<Result<Value, String>, Error> {
    let resource = ApiResource::erase::<ClusterClass>(&());
    let api = Api::<DynamicObject>::namespaced_with(connection.client.clone(), &namespace, &resource);
    match call(
        || format!("cannot read ClusterClass {namespace}/{name}"),
        api.get(&name),
    )
    .await
    {
        Ok(object) => value::<ClusterClass>(&object).map(Ok),
        Err(error @ instar::cluster::Error::Call { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// A Cluster as it is, and as it is read.
pub(crate) struct ReadCluster {
    pub(crate) object: Value,
    pub(crate) typed: Cluster,
}

/// The Cluster, or an error that says what to do.
pub(crate) async fn cluster(connection: &Connection, name: &str) -> Result<ReadCluster, Error> {
    let what = || format!("cannot read Cluster {name}");
    match call(what, dynamic::<Cluster>(connection).get(name)).await {
        Ok(object) => {
            let object = value::<Cluster>(&object)?;
            let typed = serde_json::from_value(object.clone());
            let typed = typed.map_err(|source| Error::Unreadable {
                what: format!("Cluster {name}"),
                source,
            })?;
            Ok(ReadCluster { object, typed })
        }
        Err(instar::cluster::Error::Call { source, .. }) if is_not_found(&source) => {
            Err(missing(name, &connection.namespace))
        }
        Err(error) => Err(error.into()),
    }
}

/// The ClusterUpgrades of a Cluster, so that the fleet makes no answer longer. An API server that can't select them by the
/// field answers with all of the namespace: Kubernetes before 1.31, and a definition of an older Instar.
async fn upgrade_values(connection: &Connection, cluster: &str) -> Result<Vec<Value>, Error> {
    const BAD_REQUEST: u16 = 400;
    let own = ListParams::default().fields(&format!("spec.clusterName={cluster}"));
    match raw::<ClusterUpgrade>(connection, &own).await {
        Err(Error::Cluster(instar::cluster::Error::Call {
            source: kube::Error::Api(status),
            ..
        })) if status.code == BAD_REQUEST => raw::<ClusterUpgrade>(connection, &ListParams::default()).await,
        listed => listed,
    }
}

fn missing(name: &str, namespace: &str) -> Error {
    Error::NotFound {
        what: format!("Cluster {name}"),
        namespace: namespace.to_owned(),
        remedy: "see `kubectl get clusters -A`, and name the namespace with -n".to_owned(),
    }
}

/// The ClusterUpgrades of a Cluster. One that can't be read may be the one that goes on, so nothing is said without it; those
/// of other Clusters stop nothing.
pub(crate) async fn upgrades(connection: &Connection, cluster: &str) -> Result<Vec<ClusterUpgrade>, Error> {
    let objects = upgrade_values(connection, cluster).await?;
    let of = |object: &&Value| object.pointer("/spec/clusterName").and_then(Value::as_str) == Some(cluster);
    let own: Vec<&Value> = objects.iter().filter(of).collect();
    let mut unread = Vec::new();
    let upgrades = all_of_kind(&own, &mut unread);
    if unread.is_empty() {
        Ok(upgrades)
    } else {
        Err(Error::Unread(unread.join("; ")))
    }
}

/// The upgrade of each Cluster; one that can't be read has a row too.
pub(crate) async fn fleet(api: &Api<DynamicObject>) -> Result<Vec<FleetRow>, Error> {
    let objects = values::<ClusterUpgrade>(api, &ListParams::default()).await?;
    let (upgrades, unreadable) = read_all_of_kind(&objects.iter().collect::<Vec<&Value>>());
    Ok(FleetRow::of_all(upgrades, &unreadable))
}

/// All objects of a kind that can be read; the others are named on standard error.
pub(crate) async fn readable<K>(api: &Api<DynamicObject>) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let objects = values::<K>(api, &ListParams::default()).await?;
    let mut unread = Vec::new();
    let read = all_of_kind(&objects.iter().collect::<Vec<&Value>>(), &mut unread);
    for why in unread {
        eprintln!("not shown: {why}");
    }
    Ok(read)
}

pub(crate) fn dynamic<K>(connection: &Connection) -> Api<DynamicObject>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let resource = ApiResource::erase::<K>(&());
    Api::namespaced_with(connection.client.clone(), &connection.namespace, &resource)
}

/// All objects of a kind in the namespace that the parameters select.
async fn raw<K>(connection: &Connection, params: &ListParams) -> Result<Vec<Value>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    values::<K>(&dynamic::<K>(connection), params).await
}

async fn values<K: Resource<DynamicType = ()>>(
    api: &Api<DynamicObject>,
    params: &ListParams,
) -> Result<Vec<Value>, Error> {
    let kind = K::kind(&());
    let objects = pages(api, params, &kind).await?;
    objects.iter().map(value::<K>).collect()
}

/// With its kind, which a list leaves out, and without what only the API server reads.
fn value<K: Resource<DynamicType = ()>>(object: &DynamicObject) -> Result<Value, Error> {
    let mut value = serde_json::to_value(object).map_err(|source| Error::Unreadable {
        what: format!("{} {}", K::kind(&()), object.name_any()),
        source,
    })?;
    value["apiVersion"] = Value::String(K::api_version(&()).into_owned());
    value["kind"] = Value::String(K::kind(&()).into_owned());
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(value)
}

/// The metadata of all objects of a kind, in all namespaces: of a whole fleet the rest would be many times as much.
pub(crate) async fn all_metadata<K>(connection: &Connection) -> Result<Vec<PartialObjectMeta<K>>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api = Api::<K>::all(connection.client.clone());
    let mut params = ListParams::default().limit(PAGE);
    let mut objects = Vec::new();
    let kind = K::kind(&());
    loop {
        let page = call(|| format!("cannot list {kind} objects"), api.list_metadata(&params)).await?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

/// All pages of a list. `kind` is for the error's text.
pub(crate) async fn pages<K>(api: &Api<K>, params: &ListParams, kind: &str) -> Result<Vec<K>, Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut params = params.clone().limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = call(|| format!("cannot list {kind} objects"), api.list(&params)).await?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

/// The upgrade that a verb is about: the one that goes on, or the last one.
pub(crate) async fn current(connection: &Connection, cluster: &str) -> Result<ClusterUpgrade, Error> {
    let upgrades = upgrades(connection, cluster).await?;
    current_of(&upgrades, connection, cluster).cloned()
}

/// The same of those that are read already.
pub(crate) fn current_of<'a>(
    upgrades: &'a [ClusterUpgrade],
    connection: &Connection,
    cluster: &str,
) -> Result<&'a ClusterUpgrade, Error> {
    instar_report::current(upgrades).ok_or_else(|| Error::NotFound {
        what: format!("a ClusterUpgrade of Cluster {cluster}"),
        namespace: connection.namespace.clone(),
        remedy: format!(
            "begin one with `{}`",
            connection.command(&format!("upgrade {cluster}"), "--to VERSION")
        ),
    })
}

/// The name of a ClusterUpgrade with its kind, as kubectl writes it.
pub(crate) fn resource_name(name: &str) -> String {
    format!("clusterupgrade.upgrade.cluster.x-k8s.io/{name}")
}

#[cfg(test)]
mod tests;
