//! Kinds of templates that nothing refers to any more: those of pools that are gone.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use instar_api::RELEASE_LABEL;
use instar_capi::labels::CLUSTER_NAME;
use instar_watch::{Key, KindKey, Namespaces};
use kube::{Api, Client, ResourceExt, api::ListParams, core::DynamicObject, discovery::ApiResource};

use super::answers::Answers;
use crate::api::{Error, of_provider};

/// For how long a list holds: what is restored from a backup is found after that.
const HOLDS: Duration = Duration::from_mins(10);

const PAGE: u32 = 500;

/// For whom templates of such kinds were minted. No watch tells of them, and one list of each kind tells all Clusters
/// that none is theirs.
pub(crate) struct UnusedKinds {
    answers: Answers<KindKey, Arc<Minted>>,
    namespaces: Namespaces,
}

struct Minted {
    listed: Instant,
    /// By namespace, and by the Cluster's name as the label has it.
    clusters: HashSet<Key>,
}

impl UnusedKinds {
    /// What is known of these namespaces.
    pub(crate) fn within(namespaces: &Namespaces) -> Self {
        Self {
            answers: Answers::default(),
            namespaces: namespaces.clone(),
        }
    }

    /// Whether a template of a kind was minted for a Cluster, whose name is given as the label has it.
    pub(crate) async fn has_minted(
        &self,
        client: &Client,
        resource: &ApiResource,
        cluster: &Key,
    ) -> Result<bool, Error> {
        let kind = KindKey::of_resource(resource);
        let doing = || format!("listing every minted {}", resource.kind);
        let list = || list(client, &self.namespaces, resource).boxed();
        let mut minted = self.answers.get(kind.clone(), doing, list).await?;
        if minted.listed.elapsed() > HOLDS {
            self.answers.forget(&kind);
            minted = self.answers.get(kind, doing, list).await?;
        }
        Ok(minted.clusters.contains(cluster))
    }

    /// A watch tells of the kind, for as long as something refers to it.
    pub(crate) fn forget(&self, kind: &KindKey) {
        self.answers.forget(kind);
    }
}

async fn list(client: &Client, namespaces: &Namespaces, resource: &ApiResource) -> Result<Arc<Minted>, Error> {
    let api: Api<DynamicObject> = namespaces.api(client.clone(), resource);
    let listed = Instant::now();
    let mut clusters = HashSet::new();
    let mut page = ListParams::default().labels(RELEASE_LABEL).limit(PAGE);
    loop {
        let doing = || format!("listing every minted {}", resource.kind);
        let found = match of_provider(resource, doing, api.list_metadata(&page)).await {
            // An account that may not read them has made none.
            Err(Error::NoRight { .. }) => break,
            found => found?,
        };
        clusters.extend(found.items.iter().filter_map(|template| {
            let cluster = template.labels().get(CLUSTER_NAME)?;
            Some(Key::new(template.namespace().as_deref().unwrap_or_default(), cluster))
        }));
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    Ok(Arc::new(Minted { listed, clusters }))
}
