//! Templates: of kinds that nobody knows before something refers to them.
//!
//! The first reference to a kind starts its watch, and it ends some time after the last one is gone. Until the
//! first list is in [`Lookup::NotYet`] says so, and for as long as the kind can't be listed [`Lookup::Unavailable`] says why,
//! and the rule `template-unseen` warns: it is tried again, but nothing waits for it. Readiness waits for the first answer about
//! each kind that something referred to at the start, whatever it is.

use std::{fmt::Debug, marker::PhantomData, sync::Arc};

use instar_admission::{
    cluster_state::{CachedTemplate, Lookup, TemplateKey},
    template::TemplateType,
};
use instar_api::RELEASE_LABEL;
use instar_capi::{labels::CLUSTER_NAME, owning_clusters};
use instar_watch::{
    DynamicWatches, Entry, FirstAnswers, Guarded, Kept, Key, Row, SharedTexts, Unreadable, WatchMetrics, config,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Client, Resource,
    core::{DynamicObject, PartialObjectMeta},
    discovery::ApiResource,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    PAGE, TEMPLATES,
    group::{Group, kind_key, kind_of},
    kept::Use,
};

type Metadata = PartialObjectMeta<DynamicObject>;

/// The kinds of templates that something refers to. What is referred to as a machine's template is watched with its
/// spec, also if something else takes it for a bootstrap template, of which the names are enough.
#[derive(Clone, Debug)]
pub(super) struct Templates {
    machine: Arc<DynamicWatches<Template<DynamicObject>>>,
    bootstrap: Arc<DynamicWatches<Template<Metadata>>>,
}

/// Of a template: whose it is, what it was minted for, and its spec.
#[derive(Debug)]
struct Template<O> {
    seen: Arc<CachedTemplate>,
    of: PhantomData<fn() -> O>,
}

impl<O> Entry for Template<O> {
    type Group = Group;

    fn groups(&self, _: &Key) -> Vec<Group> {
        Vec::new()
    }

    fn groups_of_unreadable(_: &Key, _: &Unreadable) -> Vec<Group> {
        Vec::new()
    }

    fn is_same(&self, other: &Self) -> bool {
        self.seen == other.seen
    }

    fn share(&mut self, texts: &SharedTexts) {
        if let Some(seen) = Arc::get_mut(&mut self.seen) {
            texts.share(&mut seen.spec);
        }
    }

    fn heap_bytes(&self) -> usize {
        let CachedTemplate {
            clusters,
            release,
            spec: _,
        } = &*self.seen;
        let clusters = clusters.iter().map(|name| size_of_val(name) + name.len());
        let release = release.as_ref().map_or(0, String::len);
        size_of::<CachedTemplate>() + clusters.sum::<usize>() + release
    }
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            machine: Arc::new(DynamicWatches::new(TEMPLATES)),
            bootstrap: Arc::new(DynamicWatches::new(TEMPLATES)),
        }
    }
}

impl Templates {
    /// Makes readiness wait for the first answers.
    pub(super) fn await_in(&self, answers: &Arc<FirstAnswers>) {
        self.machine.await_in(answers);
        self.bootstrap.await_in(answers);
    }

    /// Takes note of references: the first one to a kind starts its watch.
    pub(super) fn learn(&self, uses: &mut [Use]) {
        for used in uses {
            let name = used.template.kind_key();
            // What is no template is refused by a rule of its own.
            if !name.ends_with("Template") {
                continue;
            }
            used.lease = match used.sort {
                Some(TemplateType::Machine) => self.machine.lease(name),
                Some(TemplateType::Bootstrap) => self.bootstrap.lease(name),
                None => None,
            };
        }
    }

    /// A template.
    pub(super) fn get(&self, key: &TemplateKey<'_>) -> Lookup<Arc<CachedTemplate>> {
        let kind = kind_key(key.group, key.kind);
        let key = Key::new(key.namespace, key.name);
        let found = match self.machine.look_up(&kind, &key, |template| Arc::clone(&template.seen)) {
            instar_watch::Lookup::Unwatched => self
                .bootstrap
                .look_up(&kind, &key, |template| Arc::clone(&template.seen)),
            found => found,
        };
        match found {
            instar_watch::Lookup::Present(template) => Lookup::Found(template),
            instar_watch::Lookup::Absent => Lookup::NotFound,
            instar_watch::Lookup::Unreadable(error) => Lookup::Unavailable(format!("it can't be decoded: {error}")),
            instar_watch::Lookup::Pending => Lookup::NotYet("its kind is not listed yet".to_owned()),
            instar_watch::Lookup::Unavailable(why) => Lookup::Unavailable(why.to_string()),
            instar_watch::Lookup::Unwatched => Lookup::NotYet("nothing has referred to its kind before".to_owned()),
        }
    }

    /// Watches every kind that is referred to. It ends where one of the watches panics.
    pub(super) fn run(&self, client: &Client, metrics: &WatchMetrics) -> impl Future<Output = ()> + use<> {
        let config = config().page_size(PAGE);
        let machine = Arc::clone(&self.machine).run(client.clone(), metrics.clone(), config.clone());
        let bootstrap = Arc::clone(&self.bootstrap).run(client.clone(), metrics.clone(), config);
        async {
            tokio::select! {
                () = machine => {}
                () = bootstrap => {}
            }
        }
    }

    /// Takes in a template that no API server sends. One of a kind that nothing refers to isn't kept.
    pub(super) fn put(&self, object: &Value) -> Result<(), serde_json::Error> {
        let kind = kind_of(object);
        self.machine
            .fill(&kind, [Template::keep(Guarded::deserialize(object)?)]);
        self.bootstrap
            .fill(&kind, [Template::keep(Guarded::deserialize(object)?)]);
        Ok(())
    }

    /// The kinds that something takes machines' templates from.
    #[cfg(test)]
    pub(super) fn kinds_of_machines(&self) -> Vec<String> {
        let kinds = self.machine.kinds();
        kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
    }

    /// From now on every kind that something refers to counts as listed.
    pub(super) fn all_listed(&self) {
        for kind in self.machine.kinds() {
            self.machine.fill(kind.as_str(), []);
        }
        for kind in self.bootstrap.kinds() {
            self.bootstrap.fill(kind.as_str(), []);
        }
    }
}

/// An object of a kind of templates.
trait AsTemplate: Resource<DynamicType = ApiResource> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// Who it is, and its spec as JSON text.
    fn parts(self) -> (ObjectMeta, String);
}

impl AsTemplate for DynamicObject {
    fn parts(self) -> (ObjectMeta, String) {
        let spec = self.data.get("spec").map(ToString::to_string);
        (self.metadata, spec.unwrap_or_default())
    }
}

impl AsTemplate for Metadata {
    fn parts(self) -> (ObjectMeta, String) {
        (self.metadata, String::new())
    }
}

impl<O: AsTemplate> Kept for Template<O> {
    type Object = Guarded<O>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |object| {
            let (metadata, spec) = object.parts();
            let mut clusters: Vec<String> = owning_clusters(&metadata).map(str::to_owned).collect();
            let labels = metadata.labels.unwrap_or_default();
            if clusters.is_empty() {
                clusters.extend(labels.get(CLUSTER_NAME).cloned());
            }
            Self {
                seen: Arc::new(CachedTemplate {
                    clusters,
                    release: labels.get(RELEASE_LABEL).cloned(),
                    spec: spec.into(),
                }),
                of: PhantomData,
            }
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
