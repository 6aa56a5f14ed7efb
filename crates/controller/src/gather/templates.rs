//! The templates that a Cluster refers to, and those that were minted for it, as they are now.
//!
//! They are of kinds that only their provider knows, and few: they are read when they are needed.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::RELEASE_LABEL;
use instar_capi::labels::CLUSTER_NAME;
use instar_planner::{
    Lifecycle, MachineDeployment, Observed, ResourceVersion, Snapshot, Template, TemplateRef, Unreadable, label_value,
};
use kube::{Api, Client, ResourceExt, api::ListParams, core::DynamicObject, discovery::ApiResource};
use serde_json::Value;

use crate::{
    api::{self, Error},
    kinds::Kinds,
};

/// Reads templates.
pub(crate) struct Templates<'a> {
    pub(crate) client: &'a Client,
    pub(crate) kinds: &'a Kinds,
}

impl Templates<'_> {
    /// Every template of a snapshot. One that is referred to and isn't there is left out.
    pub(crate) async fn of(&self, snapshot: &Snapshot) -> Result<Vec<Observed<Template>>, Error> {
        self.of_kinds(snapshot, by_kind(snapshot)).await
    }

    /// The same, and what was minted of kinds that nothing refers to any more: those of a pool that
    /// is gone.
    pub(crate) async fn of_all_kinds(&self, snapshot: &Snapshot) -> Result<Vec<Observed<Template>>, Error> {
        let used = by_kind(snapshot);
        let mut others = self.kinds.templates(self.client).await?;
        others.retain(|kind| !used.contains_key(kind));
        let mut templates = self.of_kinds(snapshot, used).await?;
        for other in others {
            match self.of_kinds(snapshot, ByKind::from([(other, BTreeSet::new())])).await {
                // Whoever may not or can't read them has made none.
                Err(Error::NoRight { .. } | Error::NoContract(_) | Error::NotServed { .. }) => {}
                found => templates.extend(found?),
            }
        }
        Ok(templates)
    }

    async fn of_kinds(&self, snapshot: &Snapshot, by_kind: ByKind) -> Result<Vec<Observed<Template>>, Error> {
        let mut templates = Vec::new();
        for ((group, kind), names) in by_kind {
            let resource = self.kinds.resource(self.client, &group, &kind).await?;
            let read = self.of_kind(snapshot, &resource, names).await;
            templates.extend(read.inspect_err(|_| self.kinds.forget())?);
        }
        Ok(templates)
    }

    async fn of_kind(
        &self,
        snapshot: &Snapshot,
        resource: &ApiResource,
        mut names: BTreeSet<String>,
    ) -> Result<Vec<Observed<Template>>, Error> {
        let cluster = &snapshot.cluster;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &cluster.namespace, resource);
        let selector = format!("{CLUSTER_NAME}={},{RELEASE_LABEL}", label_value(&cluster.name));
        let minted = ListParams::default().labels(&selector);
        let kind = &resource.kind;
        let doing = || format!("listing the {kind}s that were minted for {}", cluster.name);
        let mut objects = api::of_provider(resource, doing, api.list(&minted)).await?.items;
        for object in &objects {
            names.remove(&object.name_any());
        }
        for name in names {
            let doing = || format!("reading {kind} {name}");
            objects.extend(api::of_provider(resource, doing, api.get_opt(&name)).await?);
        }
        Ok(objects.iter().map(|object| template(object, resource)).collect())
    }
}

/// The names that are referred to, by group and kind.
type ByKind = BTreeMap<(String, String), BTreeSet<String>>;

fn by_kind(snapshot: &Snapshot) -> ByKind {
    let mut by_kind = ByKind::new();
    for reference in references(snapshot) {
        let kind = (reference.group.clone(), reference.kind.clone());
        by_kind.entry(kind).or_default().insert(reference.name.clone());
    }
    by_kind
}

/// What the control plane and the pools refer to.
fn references(snapshot: &Snapshot) -> Vec<&TemplateRef> {
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    control_plane
        .filter_map(|control_plane| control_plane.infrastructure.as_ref())
        .chain(pools.flat_map(MachineDeployment::templates))
        .collect()
}

fn template(object: &DynamicObject, resource: &ApiResource) -> Observed<Template> {
    let name = object.name_any();
    let Some(created) = object.creation_timestamp() else {
        return Observed::Invalid(Unreadable {
            kind: resource.kind.clone(),
            name,
            reason: "it has no creationTimestamp".to_owned(),
        });
    };
    Observed::Read(Template {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        resource_version: ResourceVersion(object.resource_version().unwrap_or_default()),
        spec: object.data.get("spec").cloned().unwrap_or(Value::Null),
        labels: object.labels().clone(),
        annotations: object.annotations().clone(),
        created: created.0,
        lifecycle: match object.metadata.deletion_timestamp {
            Some(_) => Lifecycle::Deleting,
            None => Lifecycle::Active,
        },
        name,
    })
}
