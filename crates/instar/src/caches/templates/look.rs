//! The watch of one learned kind: found by discovery, followed for as long as it can be.

use std::{fmt::Debug, sync::Arc};

use instar_admission::{cluster_state::CachedTemplate, template::TemplateType};
use instar_capi::labels::CLUSTER_NAME;
use instar_planner::RELEASE_LABEL;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    core::{DynamicObject, PartialObjectMeta},
    discovery::{ApiResource, oneshot},
    error::DiscoveryError,
    runtime::watcher::{self, DefaultBackoff, Error, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::{
    super::{
        WatchMetrics,
        follow::{Follower, Then, config, follow, is_expired, told},
        index::{self, Key, News},
        metrics::Kind,
        read, write,
    },
    Blind, Learned, Sight, Template, Templates,
};
use crate::api::{Why, is_not_found};

/// A page of a list: templates come as whole objects, and some are large.
const PAGE: u32 = 50;

/// Watches a kind for good, and says why it can't be seen while it can't.
pub(super) async fn look(kind: Arc<Learned>, templates: Arc<Templates>, client: Client, metrics: WatchMetrics) {
    let mut patience = DefaultBackoff::default();
    loop {
        match find(&client, &kind).await {
            Ok(resource) => {
                let config = config().page_size(PAGE);
                let looking = Looking {
                    kind: &kind,
                    resource: &resource,
                    templates: &templates,
                    metrics: &metrics,
                };
                match kind.sort {
                    TemplateType::Machine => watched::<DynamicObject>(&client, config, looking, &mut patience).await,
                    TemplateType::Bootstrap => {
                        watched::<PartialObjectMeta<DynamicObject>>(&client, config, looking, &mut patience).await;
                    }
                }
            }
            Err(why) => {
                metrics.error(Kind::Templates);
                kind.is_blind(why);
            }
        }
        templates.settle();
        templates.count(&metrics);
        sleep(patience.next().unwrap_or_default()).await;
    }
}

async fn watched<O: AsTemplate>(
    client: &Client,
    config: watcher::Config,
    mut looking: Looking<'_>,
    patience: &mut DefaultBackoff,
) {
    let api = Api::<O>::all_with(client.clone(), looking.resource);
    follow(watcher(api, config), &mut looking, patience).await;
}

/// The resource of a kind, at the version that the API server recommends.
async fn find(client: &Client, kind: &Learned) -> Result<ApiResource, Blind> {
    let found = match oneshot::group(client, &kind.group).await {
        Ok(group) => group.recommended_kind(&kind.kind).map(|(resource, _)| resource),
        Err(kube::Error::Discovery(DiscoveryError::MissingApiGroup(_))) => None,
        Err(error) => {
            tracing::warn!(
                kind = &*kind.kind,
                "can't ask for the kinds of {}: {}",
                kind.group,
                Why(&error)
            );
            return Err(Blind::Unanswered);
        }
    };
    found.ok_or(Blind::Unknown)
}

impl Learned {
    /// From now on it can't be seen. It is said once.
    fn is_blind(&self, why: Blind) {
        let mut state = write(&self.state);
        let sight = Sight::Blind(why);
        if state.sight == sight {
            return;
        }
        if let Sight::Blind(why) = &sight {
            let (kind, group) = (&*self.kind, &*self.group);
            tracing::warn!(
                kind,
                group,
                "templates can't be looked at: {why}; the rule template-unseen warns"
            );
        }
        let before = std::mem::take(&mut *state);
        state.sight = sight;
        drop(state);
        drop(before);
    }
}

/// From the events of a learned kind into its table.
struct Looking<'k> {
    kind: &'k Learned,
    resource: &'k ApiResource,
    templates: &'k Templates,
    metrics: &'k WatchMetrics,
}

impl<O: AsTemplate> Follower<O> for Looking<'_> {
    fn take(&mut self, event: Event<O>) {
        let shows = !matches!(event, Event::Init | Event::InitApply(_));
        let event = match event {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(keep(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(keep(object)),
            Event::Delete(object) => Event::Delete(keep(object)),
        };
        let mut state = write(&self.kind.state);
        let news = state.templates.apply(event);
        match news {
            News::Nothing => drop(state),
            News::Wrong(key, why) => {
                drop(state);
                tracing::warn!(kind = self.resource.plural, object = %key, "can't be read: {why}");
            }
            News::Listed(before) => {
                state.sight = Sight::Clear;
                let objects = state.templates.len();
                drop(state);
                drop(before);
                tracing::info!(kind = self.resource.plural, objects, "listed");
                self.templates.settle();
            }
        }
        if shows {
            self.templates.count(self.metrics);
        }
    }

    fn failed(&mut self, error: &Error) -> Then {
        if is_expired(error) {
            tracing::info!(kind = self.resource.plural, "the watch is too old: listing anew");
            return Then::BeginAnew;
        }
        self.metrics.error(Kind::Templates);
        let refused = match error {
            Error::InitialListFailed(error) => Some(("list", error)),
            Error::WatchStartFailed(error) => Some(("watch", error)),
            Error::WatchError(_) | Error::WatchFailed(_) | Error::NoResourceVersion => None,
        };
        match refused {
            Some((verb, kube::Error::Api(status))) if status.code == 403 => {
                self.kind.is_blind(Blind::Forbidden(verb, self.resource.plural.clone()));
                Then::GiveUp
            }
            Some((_, error)) if is_not_found(error) => {
                self.kind.is_blind(Blind::Unknown);
                Then::GiveUp
            }
            Some(_) | None => {
                let (doing, why) = told(error);
                tracing::warn!(kind = self.resource.plural, "can't {doing} them, trying again: {why}");
                // What was listed stays.
                let is_awaited = read(&self.kind.state).sight == Sight::Awaited;
                if is_awaited {
                    self.kind.is_blind(Blind::Unanswered);
                    self.templates.settle();
                }
                Then::TryAgain
            }
        }
    }
}

/// An object of a learned kind.
pub(super) trait AsTemplate:
    Resource<DynamicType = ApiResource> + Clone + Debug + DeserializeOwned + Send + 'static
{
    /// Who it is, and its spec as JSON text.
    fn parts(self) -> (ObjectMeta, String);
}

impl AsTemplate for DynamicObject {
    fn parts(self) -> (ObjectMeta, String) {
        let spec = self.data.get("spec").map(ToString::to_string);
        (self.metadata, spec.unwrap_or_default())
    }
}

impl AsTemplate for PartialObjectMeta<DynamicObject> {
    fn parts(self) -> (ObjectMeta, String) {
        (self.metadata, String::new())
    }
}

pub(super) fn keep(object: impl AsTemplate) -> index::Row<Template> {
    let key = Key::of(&object);
    let (metadata, spec) = object.parts();
    let labels = metadata.labels.unwrap_or_default();
    let owners = metadata.owner_references.unwrap_or_default().into_iter();
    let mut clusters: Vec<String> = owners
        .filter(|owner| owner.kind == "Cluster" && owner.api_version.starts_with("cluster.x-k8s.io/"))
        .map(|owner| owner.name)
        .collect();
    if clusters.is_empty() {
        clusters.extend(labels.get(CLUSTER_NAME).cloned());
    }
    index::Row {
        key,
        read: Ok(Template(Arc::new(CachedTemplate {
            clusters,
            release: labels.get(RELEASE_LABEL).cloned(),
            spec,
        }))),
    }
}
