//! What Instar has cached, against what the API has.

use std::time::Duration;

use instar_e2e::{
    Result,
    support::{fault_proxy::FaultProxy, journeys::JourneyContext, metrics::metric, topology::resource},
    wait::wait_for,
};
use kube::{Api, api::ListParams, core::DynamicObject};

const CORE: &str = "cluster.x-k8s.io";
const OURS: &str = "upgrade.cluster.x-k8s.io";

/// The kinds that it caches from its start: group, version, kind, plural.
pub(crate) const KINDS: [(&str, &str, &str, &str); 10] = [
    (CORE, "v1beta2", "Cluster", "clusters"),
    (CORE, "v1beta2", "ClusterClass", "clusterclasses"),
    (
        "controlplane.cluster.x-k8s.io",
        "v1beta2",
        "KubeadmControlPlane",
        "kubeadmcontrolplanes",
    ),
    (CORE, "v1beta2", "MachineDeployment", "machinedeployments"),
    (CORE, "v1beta2", "MachineSet", "machinesets"),
    (CORE, "v1beta2", "MachinePool", "machinepools"),
    (CORE, "v1beta2", "Machine", "machines"),
    (OURS, "v1alpha1", "KubernetesRelease", "kubernetesreleases"),
    (OURS, "v1alpha1", "ClusterUpgrade", "clusterupgrades"),
    (OURS, "v1alpha1", "UpgradePolicy", "upgradepolicies"),
];

/// The kinds that it learns from what refers to them: in these journeys the class.
pub(crate) const LEARNED: [(&str, &str, &str, &str); 2] = [
    (
        "infrastructure.cluster.x-k8s.io",
        "v1beta2",
        "DevMachineTemplate",
        "devmachinetemplates",
    ),
    (
        "bootstrap.cluster.x-k8s.io",
        "v1beta2",
        "KubeadmConfigTemplate",
        "kubeadmconfigtemplates",
    ),
];

/// What readiness and the metrics call all kinds that are learned.
pub(crate) const TEMPLATES: &str = "templates";

/// Waits until it has cached as many objects of each kind as there are.
pub(crate) async fn agree(scene: &JourneyContext, deadline: Duration) -> Result<()> {
    wait_for("Instar's caches to be what the API has", deadline, || async {
        for kind in KINDS {
            let plural = kind.3;
            same(scene, plural, there(scene, kind).await?).await?;
        }
        let mut templates = 0;
        for kind in LEARNED {
            templates += there(scene, kind).await?;
        }
        // Where there is none, nothing has referred to one yet.
        if templates > 0 {
            same(scene, TEMPLATES, templates).await?;
        }
        Ok(())
    })
    .await
}

/// How many there are of those that it looks at: of Machines those that nothing makes.
async fn there(scene: &JourneyContext, (group, version, kind, plural): (&str, &str, &str, &str)) -> Result<usize> {
    let api: Api<DynamicObject> = Api::all_with(scene.mgmt.client(), &resource(group, version, kind, plural));
    let which = match kind {
        "Machine" => ListParams::default()
            .labels("!cluster.x-k8s.io/control-plane,!cluster.x-k8s.io/set-name,!cluster.x-k8s.io/pool-name"),
        _ => ListParams::default(),
    };
    Ok(api.list(&which).await?.items.len())
}

async fn same(scene: &JourneyContext, kind: &str, there: usize) -> Result<()> {
    let cached = metric(scene, &format!("instar_cached_objects{{kind=\"{kind}\"}}")).await?;
    anyhow::ensure!(usize::try_from(cached) == Ok(there), "{cached} of {there} {kind}");
    Ok(())
}

/// Runs something while Instar's way to the API server goes through the proxy.
pub(crate) async fn behind<Fut>(scene: &JourneyContext, proxy: &FaultProxy, body: Fut) -> Result<()>
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
