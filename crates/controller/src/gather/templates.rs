//! The templates that a Cluster refers to, and those that were minted for it.
//!
//! Their metadata comes from a watch of each kind. What a template says is read where a decision needs it, and
//! kept while the upgrade lasts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use instar_api::RELEASE_LABEL;
use instar_capi::{labels::CLUSTER_NAME, references_to_clusters};
use instar_planner::{
    KUBELET_ARGUMENTS, MachineDeployment, Observed, OwningCluster, ResourceVersion, Snapshot, Template,
    TemplateContent, TemplateRef, Unreadable, label_value,
};
use instar_watch::{Key, KindKey};
use kube::{Api, ResourceExt, api::ListParams, core::DynamicObject, discovery::ApiResource};
use serde_json::Value;

use super::referred::{Found, Referred, find};
use crate::{
    api::{self, Class, Error},
    caches::{Group, TemplateMetadata},
};

/// What there is of all kinds of templates.
pub(crate) struct AllTemplates {
    pub(crate) templates: Vec<Observed<Template>>,
    /// Whether every kind could be read.
    pub(crate) is_whole: bool,
}

impl Referred<'_> {
    /// Every template of a snapshot. One that is referred to and isn't there is left out.
    pub(crate) async fn templates(&self, snapshot: &Snapshot) -> Result<Vec<Observed<Template>>, Error> {
        self.templates_of_kinds(snapshot, by_kind(snapshot)).await
    }

    /// The same, and what was minted of kinds that nothing refers to any more: those of a pool that
    /// is gone. Such a kind that has no answer is another provider's trouble, and holds back nothing else.
    pub(crate) async fn templates_of_all_kinds(&self, snapshot: &Snapshot) -> Result<AllTemplates, Error> {
        let used = by_kind(snapshot);
        let mut others = self.kinds.templates(self.client).await?;
        others.retain(|kind| !used.contains_key(kind));
        let mut all = AllTemplates {
            templates: self.templates_of_kinds(snapshot, used).await?,
            is_whole: true,
        };
        for (group, kind) in others {
            match self.minted_of(snapshot, &group, &kind).await {
                Ok(found) => all.templates.extend(found),
                // An account that may not or can't read them has made none.
                Err(Error::NoRight { .. } | Error::NoContract(_) | Error::NotServed { .. }) => {}
                Err(error) if error.class() == Class::Transient => {
                    tracing::warn!(cluster = %key_of(snapshot), "Leaving out a kind of templates for now: {error}");
                    all.is_whole = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// The templates of a snapshot that objects of other Clusters refer to, as far as a deletion found that lately.
    pub(crate) fn used_elsewhere(&self, snapshot: &Snapshot) -> BTreeSet<TemplateRef> {
        self.memory.used_elsewhere(&key_of(snapshot), Instant::now())
    }

    /// Reads what a template says into a snapshot.
    pub(crate) async fn read_template(&self, snapshot: &mut Snapshot, reference: &TemplateRef) -> Result<(), Error> {
        let (version, object) = self.get(snapshot, reference).await?;
        let content = Arc::new(content(object));
        same(snapshot, reference, &version)?.content = Some(Arc::clone(&content));
        self.memory
            .keep_content(&key_of(snapshot), reference.clone(), version, content);
        Ok(())
    }

    /// Reads what a template of kubeadm configurations sets on the kubelet's command line into a snapshot.
    pub(crate) async fn read_kubelet_arguments(
        &self,
        snapshot: &mut Snapshot,
        reference: &TemplateRef,
    ) -> Result<(), Error> {
        let (version, mut object) = self.get(snapshot, reference).await?;
        let arguments = object.data.pointer_mut(&format!("/spec{KUBELET_ARGUMENTS}"));
        let arguments = Arc::new(arguments.map(Value::take).unwrap_or_default());
        same(snapshot, reference, &version)?.kubelet_arguments = Some(Arc::clone(&arguments));
        self.memory
            .keep_kubelet_arguments(&key_of(snapshot), reference.clone(), version, arguments);
        Ok(())
    }

    async fn get(
        &self,
        snapshot: &Snapshot,
        reference: &TemplateRef,
    ) -> Result<(ResourceVersion, DynamicObject), Error> {
        let resource = self
            .kinds
            .resource(self.client, &reference.group, &reference.kind)
            .await?;
        let (kind, name) = (&reference.kind, &reference.name);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &snapshot.cluster.namespace, &resource);
        let doing = || format!("reading {kind} {name}");
        let reading = api::of_provider(&resource, doing, api.get_opt(name));
        let object = self.kinds.in_turn(&reference.group, kind, reading).await?;
        let object = object.ok_or_else(|| behind(reference))?;
        Ok((ResourceVersion(object.resource_version().unwrap_or_default()), object))
    }

    async fn templates_of_kinds(&self, snapshot: &Snapshot, by_kind: ByKind) -> Result<Vec<Observed<Template>>, Error> {
        let mut templates = Vec::new();
        for ((group, kind), names) in by_kind {
            let resource = self.kinds.resource(self.client, &group, &kind).await?;
            let found = self.watched(snapshot, &resource, names).await;
            templates.extend(found.inspect_err(|error| self.kinds.forget_after(error, &resource))?);
        }
        Ok(templates)
    }

    async fn watched(
        &self,
        snapshot: &Snapshot,
        resource: &ApiResource,
        names: BTreeSet<String>,
    ) -> Result<Vec<Observed<Template>>, Error> {
        let cluster = key_of(snapshot);
        let watches = &self.caches.templates;
        let kind = self.watch(watches, &cluster, resource).await?;
        self.unused_kinds.forget(&kind);
        let mut found = BTreeMap::new();
        let mut unreadable = Vec::new();
        for name in names {
            let key = Key::new(cluster.namespace(), &name);
            match find(watches.look_up(kind.as_str(), &key, Clone::clone), resource)? {
                Found::Present(metadata) => drop(found.insert(name, metadata)),
                Found::Unreadable(reason) => unreadable.push(Unreadable {
                    kind: resource.kind.clone(),
                    name,
                    reason,
                }),
                Found::Absent => {}
            }
        }
        if let Some(cache) = watches.cache(kind.as_str()) {
            let index = cache.read();
            // As the label has it, where the name is too long for a label.
            let labelled = Key::new(cluster.namespace(), &label_value(cluster.name()));
            for group in BTreeSet::from([cluster.clone(), labelled])
                .into_iter()
                .map(Group::Cluster)
            {
                let minted = index.group(&group);
                let minted = minted.filter(|(_, metadata)| metadata.labels.contains_key(RELEASE_LABEL));
                found.extend(minted.map(|(key, metadata)| (key.name().to_owned(), metadata.clone())));
            }
        }
        let read = found.into_iter();
        let read = read.map(|(name, metadata)| self.template(&cluster, resource, name, metadata));
        Ok(read.chain(unreadable.into_iter().map(Observed::Invalid)).collect())
    }

    /// What was minted of a kind that the Cluster doesn't refer to.
    async fn minted_of(&self, snapshot: &Snapshot, group: &str, kind: &str) -> Result<Vec<Observed<Template>>, Error> {
        let resource = self.kinds.resource(self.client, group, kind).await?;
        let watched = KindKey::of_resource(&resource);
        if self.caches.templates.cache(watched.as_str()).is_some() {
            return self.watched(snapshot, &resource, BTreeSet::new()).await;
        }
        let cluster = key_of(snapshot);
        let labelled = Key::new(cluster.namespace(), &label_value(cluster.name()));
        let asking = self.unused_kinds.has_minted(self.client, &resource, &labelled);
        let found = self.kinds.in_turn(group, kind, asking).await;
        if !found.inspect_err(|error| self.kinds.forget_after(error, &resource))? {
            return Ok(Vec::new());
        }
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), cluster.namespace(), &resource);
        let selector = format!("{CLUSTER_NAME}={},{RELEASE_LABEL}", labelled.name());
        let minted = ListParams::default().labels(&selector);
        let doing = || format!("listing the {kind}s that were minted for {}", cluster.name());
        let listing = api::of_provider(&resource, doing, api.list_metadata(&minted));
        let objects = self.kinds.in_turn(group, kind, listing).await;
        let objects = objects
            .inspect_err(|error| self.kinds.forget_after(error, &resource))?
            .items;
        Ok(objects
            .into_iter()
            .map(|object| {
                let name = object.name_any();
                self.template(&cluster, &resource, name, TemplateMetadata::new(object.metadata))
            })
            .collect())
    }

    fn template(
        &self,
        cluster: &Key,
        resource: &ApiResource,
        name: String,
        metadata: TemplateMetadata,
    ) -> Observed<Template> {
        let mut template = match template(&resource.api_version, &resource.kind, name, metadata) {
            Observed::Read(template) => template,
            invalid @ Observed::Invalid(_) => return invalid,
        };
        let reference = template.reference();
        let version = &template.resource_version;
        template.content = self.memory.content(cluster, &reference, version);
        template.kubelet_arguments = self.memory.kubelet_arguments(cluster, &reference, version);
        Observed::Read(template)
    }
}

/// A template of which nothing was read but its metadata.
fn template(api_version: &str, kind: &str, name: String, metadata: TemplateMetadata) -> Observed<Template> {
    let Some(created) = metadata.created else {
        return Observed::Invalid(Unreadable {
            kind: kind.to_owned(),
            name,
            reason: "it has no creationTimestamp".to_owned(),
        });
    };
    Observed::Read(Template {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name,
        resource_version: metadata.resource_version,
        labels: metadata.labels,
        content: None,
        kubelet_arguments: None,
        created,
        lifecycle: metadata.lifecycle,
    })
}

/// Of these objects the templates that a snapshot refers to, and those of the same kinds that were minted for it: with all
/// that they say.
pub(crate) fn templates_among(objects: &[DynamicObject], snapshot: &Snapshot) -> Vec<Observed<Template>> {
    let used = by_kind(snapshot);
    let cluster = key_of(snapshot);
    let own = [
        Group::Cluster(cluster.clone()),
        Group::Cluster(Key::new(cluster.namespace(), &label_value(cluster.name()))),
    ];
    let mut found = Vec::new();
    for object in objects {
        let types = object.types.clone().unwrap_or_default();
        let group = types.api_version.split_once('/').map_or("", |(group, _)| group);
        let Some(names) = used.get(&(group.to_owned(), types.kind.clone())) else {
            continue;
        };
        let name = object.name_any();
        let metadata = TemplateMetadata::new(object.metadata.clone());
        let is_minted =
            metadata.labels.contains_key(RELEASE_LABEL) && metadata.clusters().iter().any(|group| own.contains(group));
        if !names.contains(&name) && !is_minted {
            continue;
        }
        let mut template = template(&types.api_version, &types.kind, name, metadata);
        if let Observed::Read(template) = &mut template {
            template.content = Some(Arc::new(content(object.clone())));
        }
        found.push(template);
    }
    found
}

/// The template that was read, which has to be as the watch shows it, since all else about it is decided by that.
fn same<'s>(
    snapshot: &'s mut Snapshot,
    reference: &TemplateRef,
    version: &ResourceVersion,
) -> Result<&'s mut Template, Error> {
    let templates = snapshot.templates.iter_mut().filter_map(|template| match template {
        Observed::Read(template) => Some(template),
        Observed::Invalid(_) => None,
    });
    let mut same = templates.filter(|template| template.is(reference) && template.resource_version == *version);
    same.next().ok_or_else(|| behind(reference))
}

fn behind(TemplateRef { kind, name, .. }: &TemplateRef) -> Error {
    Error::CacheBehind {
        what: format!("{kind} {name}"),
    }
}

fn key_of(snapshot: &Snapshot) -> Key {
    Key::new(&snapshot.cluster.namespace, &snapshot.cluster.name)
}

/// What a template says.
pub(crate) fn content(object: DynamicObject) -> TemplateContent {
    let owners = references_to_clusters(&object.metadata).map(|owner| OwningCluster {
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    });
    let owners = owners.collect();
    let mut data = object.data;
    TemplateContent {
        spec: data.get_mut("spec").map(Value::take).unwrap_or_default(),
        labels: object.metadata.labels.unwrap_or_default(),
        annotations: object.metadata.annotations.unwrap_or_default(),
        owners,
    }
}

/// The templates that a snapshot's objects refer to, and those that they referred to before an upgrade.
pub(crate) fn template_references(snapshot: &Snapshot) -> Vec<TemplateRef> {
    let of_kind = |((group, kind), names): ((String, String), BTreeSet<String>)| {
        let reference = move |name| TemplateRef {
            group: group.clone(),
            kind: kind.clone(),
            name,
        };
        names.into_iter().map(reference)
    };
    by_kind(snapshot).into_iter().flat_map(of_kind).collect()
}

/// The names that are referred to, by group and kind.
type ByKind = BTreeMap<(String, String), BTreeSet<String>>;

fn by_kind(snapshot: &Snapshot) -> ByKind {
    let mut by_kind = ByKind::new();
    // A user's own template stays a user's when nothing refers to it any more: the way back needs to know that it is there.
    let earlier = snapshot.earlier_templates();
    for reference in references(snapshot).into_iter().chain(&earlier) {
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
