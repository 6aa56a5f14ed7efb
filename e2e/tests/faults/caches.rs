//! What Instar has cached, against what the API has.

use std::time::Duration;

use instar_e2e::{Result, fault_proxy::FaultProxy, journeys::Scene, wait::wait_for};
use kube::{Api, api::ListParams, core::DynamicObject};

use crate::actors::{metric, resource};

/// The kinds that it caches: group, version, kind, plural.
pub(crate) const KINDS: [(&str, &str, &str, &str); 4] = [
    ("cluster.x-k8s.io", "v1beta2", "Cluster", "clusters"),
    ("cluster.x-k8s.io", "v1beta2", "ClusterClass", "clusterclasses"),
    (
        "controlplane.cluster.x-k8s.io",
        "v1beta2",
        "KubeadmControlPlane",
        "kubeadmcontrolplanes",
    ),
    (
        "upgrade.cluster.x-k8s.io",
        "v1alpha1",
        "KubernetesRelease",
        "kubernetesreleases",
    ),
];

/// Waits until it has cached as many objects of each kind as there are.
pub(crate) async fn agree(scene: &Scene, deadline: Duration) -> Result<()> {
    wait_for("Instar's caches to be what the API has", deadline, || async {
        for (group, version, kind, plural) in KINDS {
            let api: Api<DynamicObject> = Api::all_with(scene.mgmt.client(), &resource(group, version, kind, plural));
            let there = api.list(&ListParams::default()).await?.items.len();
            let cached = metric(scene, &format!("instar_cached_objects{{kind=\"{plural}\"}}")).await?;
            if usize::try_from(cached) != Ok(there) {
                return Err(format!("{cached} of {there} {plural}").into());
            }
        }
        Ok(())
    })
    .await
}

/// Runs something while Instar's way to the API server goes through the proxy.
pub(crate) async fn behind<Fut>(scene: &Scene, proxy: &FaultProxy, body: Fut) -> Result<()>
where
    Fut: Future<Output = Result<()>>,
{
    let own = scene.mgmt.webhook().kubeconfig();
    scene.mgmt.webhook().with_kubeconfig(&proxy.kubeconfig(&own)?).await?;
    let result = body.await;
    scene.mgmt.webhook().with_kubeconfig(&own).await?;
    scene.mgmt.webhook().restart().await?;
    result
}
