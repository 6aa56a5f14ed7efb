//! Applying objects of any kind.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::{DynamicObject, TypeMeta},
    discovery::{ApiResource, Discovery, Scope},
};
use tokio::{sync::Mutex, time::timeout};

/// The field manager of the harness and of the journeys.
pub const FIELD_MANAGER: &str = "instar-e2e";

/// How many requests are under way at once.
const CONCURRENCY: usize = 8;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);

/// What serves a kind, by its `apiVersion` and name.
type Kinds = HashMap<(String, String), (ApiResource, Scope)>;

/// Applies objects, asking the API server for their kinds once.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    kinds: Arc<Mutex<Kinds>>,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").finish_non_exhaustive()
    }
}

impl Applier {
    /// With the rights of a client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            kinds: Arc::default(),
        }
    }

    /// Applies all objects, several at a time, in no order.
    pub async fn all(&self, objects: Vec<DynamicObject>, namespace: Option<&str>) -> Result<Vec<DynamicObject>> {
        let applied = objects.into_iter().map(|object| self.one(object, namespace));
        stream::iter(applied).buffered(CONCURRENCY).try_collect().await
    }

    /// Applies one object; `namespace` is for namespaced objects that name none.
    pub async fn one(&self, mut object: DynamicObject, namespace: Option<&str>) -> Result<DynamicObject> {
        let types = object.types.clone().unwrap_or_default();
        let (name, title) = (object.name_any(), format!("{} {}", types.kind, object.name_any()));
        let (resource, scope) = self.kind(&types).await.with_context(|| title.clone())?;
        let api: Api<DynamicObject> = match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = object.namespace().or_else(|| namespace.map(ToOwned::to_owned));
                let namespace = namespace.with_context(|| format!("{title} needs a namespace"))?;
                object.metadata.namespace = Some(namespace.clone());
                Api::namespaced_with(self.client.clone(), &namespace, &resource)
            }
        };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patched = timeout(REQUEST, api.patch(&name, &params, &Patch::Apply(&object))).await;
        let patched = patched.map_err(|_| anyhow!("applying {title}: no answer in {} s", REQUEST.as_secs()))?;
        patched.with_context(|| format!("applying {title}"))
    }

    /// The resource of a kind, for an `Api` of one's own.
    pub async fn kind(&self, types: &TypeMeta) -> Result<(ApiResource, Scope)> {
        let key = (types.api_version.clone(), types.kind.clone());
        let mut kinds = self.kinds.lock().await;
        if !kinds.contains_key(&key) {
            let discovery = Discovery::new(self.client.clone())
                .run_aggregated()
                .await
                .context("asking for all kinds")?;
            for group in discovery.groups() {
                for version in group.versions() {
                    for (resource, capabilities) in group.versioned_resources(version) {
                        let key = (resource.api_version.clone(), resource.kind.clone());
                        kinds.insert(key, (resource, capabilities.scope));
                    }
                }
            }
        }
        let Some(found) = kinds.get(&key) else {
            bail!("the API server has no kind {} in {}", types.kind, types.api_version);
        };
        Ok(found.clone())
    }
}
