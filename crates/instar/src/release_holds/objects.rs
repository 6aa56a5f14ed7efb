//! The objects that may have marks, looked at by their metadata, page by page.

use std::collections::BTreeSet;

use instar_capi::{Cluster, MachineDeployment, MachinePool};
use instar_planner::{HoldMark, HookAnswers, MarkedKind, ReleasedHolds, release_holds};
use instar_watch::{Version, find_resource, is_not_found};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::{ObjectList, ObjectMeta, PartialObjectMeta},
};
use serde_json::Value;

use crate::{
    Outcome,
    cluster::{self, call},
};

/// Whose writes these are.
const FIELD_MANAGER: &str = "instar-release-holds";

/// Objects for each page of a list.
const PAGE: u32 = 500;

/// How often an object that another client has changed is looked at again.
const TRIES: u32 = 5;

/// Whether a write is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// It is only said.
    Said,
    Made,
}

/// A kind of which the objects are looked at.
struct Kind {
    marked: MarkedKind,
    resource: ApiResource,
}

/// Takes the marks off all objects. Of a Cluster the number of pools at a time comes first: raised, it would let pools go
/// that aren't held.
pub(super) async fn release<E: From<super::Error>>(
    client: &Client,
    namespace: Option<&str>,
    answers: HookAnswers,
    write: Write,
    print: &impl Fn(&str) -> Result<(), E>,
) -> Result<Outcome, E> {
    let mut outcome = Outcome::Done;
    for kind in kinds(client, namespace, answers).await.map_err(super::Error::Cluster)? {
        let found = marked(client, &kind, namespace).await.map_err(super::Error::Cluster)?;
        for (metadata, holds) in found {
            let line = match write {
                Write::Said => Ok(said(&kind, &metadata, &holds.marks, "would take off")),
                Write::Made => take_off(client, &kind, &metadata, holds).await,
            };
            match line {
                Ok(line) => print(&line)?,
                Err(error) => {
                    eprintln!("error: {error}");
                    outcome = Outcome::CheckFailed;
                }
            }
        }
    }
    Ok(outcome)
}

/// The infrastructure of MachinePools before these themselves: Cluster API rolls a pool out when both go on.
async fn kinds(client: &Client, namespace: Option<&str>, answers: HookAnswers) -> Result<Vec<Kind>, cluster::Error> {
    let mut kinds = vec![
        Kind {
            marked: MarkedKind::Cluster(answers),
            resource: ApiResource::erase::<Cluster>(&()),
        },
        Kind {
            marked: MarkedKind::MachineDeployment,
            resource: ApiResource::erase::<MachineDeployment>(&()),
        },
    ];
    for (group, kind) in infrastructure(client, namespace).await? {
        let what = || format!("cannot find the kind {kind} of {group}");
        let found = call(what, find_resource(client, &group, Version::Recommended, &kind)).await?;
        kinds.extend(found.map(|resource| Kind {
            marked: MarkedKind::InfrastructurePool,
            resource,
        }));
    }
    kinds.push(Kind {
        marked: MarkedKind::MachinePool,
        resource: ApiResource::erase::<MachinePool>(&()),
    });
    Ok(kinds)
}

/// The kinds that make the machines of MachinePools: group and kind.
async fn infrastructure(
    client: &Client,
    namespace: Option<&str>,
) -> Result<BTreeSet<(String, String)>, cluster::Error> {
    let resource = ApiResource::erase::<MachinePool>(&());
    let api = scoped(client, &resource, namespace);
    let mut kinds = BTreeSet::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let what = || "cannot list machinepools.cluster.x-k8s.io".to_owned();
        let page = match call(what, api.list(&parameters)).await {
            Err(cluster::Error::Call { source, .. }) if is_not_found(&source) => return Ok(kinds),
            page => page?,
        };
        kinds.extend(page.items.iter().filter_map(|pool| {
            let reference = pool.data.pointer("/spec/template/spec/infrastructureRef")?;
            let text = |field: &str| reference[field].as_str().map(ToOwned::to_owned);
            Some((text("apiGroup")?, text("kind")?))
        }));
        match next(&page) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(kinds),
        }
    }
}

/// The objects of a kind that have marks. A kind that isn't installed has none.
async fn marked(
    client: &Client,
    kind: &Kind,
    namespace: Option<&str>,
) -> Result<Vec<(ObjectMeta, ReleasedHolds)>, cluster::Error> {
    let Kind { marked, resource } = kind;
    let api = scoped(client, resource, namespace);
    let mut found = Vec::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let what = || format!("cannot list {}.{}", resource.plural, resource.group);
        let page = match call(what, api.list_metadata(&parameters)).await {
            Err(cluster::Error::Call { source, .. }) if is_not_found(&source) => return Ok(found),
            page => page?,
        };
        let next = next(&page);
        found.extend(
            page.items
                .into_iter()
                .filter_map(|object: PartialObjectMeta<DynamicObject>| {
                    let holds = release_holds(
                        *marked,
                        object.annotations(),
                        object.metadata.resource_version.as_deref(),
                    )?;
                    Some((object.metadata, holds))
                }),
        );
        match next {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(found),
        }
    }
}

fn next<T: Clone>(page: &ObjectList<T>) -> Option<String> {
    page.metadata.continue_.clone().filter(|token| !token.is_empty())
}

/// Takes the marks off an object; the line says what became of it.
async fn take_off(
    client: &Client,
    kind: &Kind,
    metadata: &ObjectMeta,
    mut holds: ReleasedHolds,
) -> Result<String, cluster::Error> {
    let api = scoped(client, &kind.resource, metadata.namespace.as_deref());
    let name = metadata.name.clone().unwrap_or_default();
    let object = described(kind, metadata);
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    for again in (0..TRIES).rev() {
        let what = || format!("cannot take the marks off {object}");
        let patch: Patch<&Value> = Patch::Merge(&holds.patch);
        match call(what, api.patch_metadata(&name, &parameters, &patch)).await {
            Ok(_) => break,
            Err(cluster::Error::Call { source, .. }) if is_not_found(&source) => {
                return Ok(format!("{object}: was deleted meanwhile\n"));
            }
            Err(cluster::Error::Call {
                source: kube::Error::Api(status),
                ..
            }) if status.is_conflict() && again > 0 => {
                let what = || format!("cannot get {object}");
                let now = call(what, api.get_metadata(&name)).await?;
                let version = now.metadata.resource_version.as_deref();
                match release_holds(kind.marked, now.annotations(), version) {
                    Some(now) => holds = now,
                    None => return Ok(format!("{object}: has no mark any more\n")),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(said(kind, metadata, &holds.marks, "took off"))
}

fn said(kind: &Kind, metadata: &ObjectMeta, marks: &[HoldMark], does: &str) -> String {
    let marks: Vec<&str> = marks.iter().map(|mark| mark.as_words()).collect();
    format!("{}: {does} {}\n", described(kind, metadata), marks.join(", "))
}

fn described(kind: &Kind, metadata: &ObjectMeta) -> String {
    format!(
        "{} {}/{}",
        kind.resource.kind,
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}

fn scoped(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

#[cfg(test)]
mod tests;
