//! Which Cluster API is installed, as clusterctl has written it down.

use std::time::Duration;

use instar_planner::{Snapshot, checks_are_asked};
use instar_preflight::{asks_cluster_api, workload::ClusterApiVersion};
use instar_watch::is_not_found;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    discovery::ApiResource,
};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    api::{Error, call},
    gather::CheckRules,
};

/// How long an answer counts.
const LASTS: Duration = Duration::from_mins(10);

/// The same where there was none: a user may mend it.
const SOON: Duration = Duration::from_mins(1);

/// What is known, for all Clusters together. Nothing is asked while no upgrade waits to begin.
#[derive(Default)]
pub(crate) struct ClusterApi(Mutex<Option<Known>>);

struct Known {
    version: ClusterApiVersion,
    until: Instant,
}

impl ClusterApi {
    /// What the checks of an upgrade are to know.
    pub(crate) async fn version_for(
        &self,
        client: &Client,
        rules: &CheckRules,
        snapshot: &Snapshot,
    ) -> ClusterApiVersion {
        if checks_are_asked(snapshot) && asks_cluster_api(&rules.settings, &rules.access) {
            self.version(client).await
        } else {
            ClusterApiVersion::NotListed
        }
    }

    async fn version(&self, client: &Client) -> ClusterApiVersion {
        let mut known = self.0.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.until) {
            return known.version.clone();
        }
        let version = read(client).await;
        let lasts = match &version {
            ClusterApiVersion::Installed(_) | ClusterApiVersion::NotListed => LASTS,
            ClusterApiVersion::Unread(_) => SOON,
        };
        *known = Some(Known {
            version: version.clone(),
            until: Instant::now() + lasts,
        });
        version
    }
}

pub(crate) async fn read(client: &Client) -> ClusterApiVersion {
    let resource = ApiResource {
        group: "clusterctl.cluster.x-k8s.io".to_owned(),
        version: "v1alpha3".to_owned(),
        api_version: "clusterctl.cluster.x-k8s.io/v1alpha3".to_owned(),
        kind: "Provider".to_owned(),
        plural: "providers".to_owned(),
    };
    let providers: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let doing = || "listing the Providers of clusterctl".to_owned();
    match call(doing, providers.list(&ListParams::default())).await {
        Ok(list) => version_in(&list.items),
        // Who installed Cluster API without clusterctl has no such kind.
        Err(Error::Call { source, .. }) if is_not_found(&source) => ClusterApiVersion::NotListed,
        Err(error) => ClusterApiVersion::Unread(error.to_string()),
    }
}

/// Of several cores, which nobody should have, the oldest counts.
fn version_in(providers: &[DynamicObject]) -> ClusterApiVersion {
    let mut found = ClusterApiVersion::NotListed;
    for core in providers
        .iter()
        .filter(|provider| provider.data["type"] == "CoreProvider")
    {
        let text = core.data["version"].as_str().unwrap_or_default();
        let Ok(version) = text.parse() else {
            return ClusterApiVersion::Unread(format!(
                "Provider {}/{} has the version \"{text}\", which is none",
                core.namespace().unwrap_or_default(),
                core.name_any()
            ));
        };
        found = match found {
            ClusterApiVersion::Installed(other) if other <= version => ClusterApiVersion::Installed(other),
            ClusterApiVersion::Installed(_) | ClusterApiVersion::NotListed | ClusterApiVersion::Unread(_) => {
                ClusterApiVersion::Installed(version)
            }
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_core_s_version_counts() {
        let provider = |kind: &str, version: &str| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "clusterctl.cluster.x-k8s.io/v1alpha3", "kind": "Provider",
                "metadata": { "name": "cluster-api", "namespace": "capi-system" },
                "providerName": "cluster-api", "type": kind, "version": version,
            }))
            .unwrap()
        };
        let kubeadm = provider("ControlPlaneProvider", "v1.13.0");
        let installed = |version: &str| ClusterApiVersion::Installed(version.parse().unwrap());
        assert_eq!(version_in(&[]), ClusterApiVersion::NotListed);
        assert_eq!(version_in(std::slice::from_ref(&kubeadm)), ClusterApiVersion::NotListed);
        let core = provider("CoreProvider", "v1.14.0");
        assert_eq!(version_in(&[kubeadm.clone(), core.clone()]), installed("v1.14.0"));
        let older = provider("CoreProvider", "v1.12.1");
        assert_eq!(version_in(&[core, older, kubeadm]), installed("v1.12.1"));
        assert_eq!(
            version_in(&[provider("CoreProvider", "main")]),
            ClusterApiVersion::Unread(
                "Provider capi-system/cluster-api has the version \"main\", which is none".to_owned()
            )
        );
    }
}
