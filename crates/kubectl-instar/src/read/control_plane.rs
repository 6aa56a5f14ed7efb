//! The object that a reference names, such as the control plane, of any provider.

use instar::cluster::call;
use instar_capi::Reference;
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    discovery,
};
use serde_json::Value;

use super::Connection;
use crate::Error;

/// What the reference names, or why that isn't shown: a user may read Clusters and not what they refer to, and the rest is
/// told without it.
pub(crate) async fn read(connection: &Connection, reference: &Reference) -> Result<Result<Value, String>, Error> {
    let Reference { api_group, kind, name } = reference;
    let what = || format!("cannot read {kind} {name}");
    let group = match call(what, discovery::group(&connection.client, api_group)).await {
        Ok(group) => group,
        Err(error @ instar::cluster::Error::Call { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let resources = group.resources_by_stability();
    let found = resources.into_iter().find(|(resource, _)| resource.kind == *kind);
    let Some((resource, _)) = found else {
        return Ok(Err(format!(
            "{}: the API server has no kind {kind} in {api_group}",
            what()
        )));
    };
    object(connection, &resource, name).await
}

async fn object(connection: &Connection, resource: &ApiResource, name: &str) -> Result<Result<Value, String>, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(connection.client.clone(), &connection.namespace, resource);
    let kind = &resource.kind;
    let object = match call(|| format!("cannot read {kind} {name}"), api.get(name)).await {
        Ok(object) => object,
        Err(error @ instar::cluster::Error::Call { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let value = serde_json::to_value(&object).map_err(|source| Error::Unreadable {
        what: format!("{kind} {name}"),
        source,
    })?;
    Ok(Ok(value))
}
