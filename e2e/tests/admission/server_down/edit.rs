//! Edits that are tried, and by whom.

use std::time::Duration;

use instar_e2e::{
    Context, Result,
    wait::{Seen, wait_for},
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, TypeMeta},
    discovery::ApiResource,
};
use serde_json::Value;

/// An edit that is tried without changing anything.
#[derive(Clone)]
pub(super) struct Edit {
    pub(super) what: &'static str,
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    pub(super) how: How,
    pub(super) client: Client,
}

#[derive(Clone)]
pub(super) enum How {
    Create(Value),
    Merge(&'static str, Value),
    Delete(String),
}

#[derive(Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "they are Kubernetes' own")]
pub(super) struct Kind {
    pub(super) group: &'static str,
    version: &'static str,
    pub(super) kind: &'static str,
    plural: &'static str,
}

const fn capi(group: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind {
        group,
        version: V1BETA2,
        kind,
        plural,
    }
}

const fn ours(kind: &'static str, plural: &'static str) -> Kind {
    Kind {
        group: "upgrade.cluster.x-k8s.io",
        version: "v1alpha1",
        kind,
        plural,
    }
}

const V1BETA2: &str = "v1beta2";
const CORE: &str = "cluster.x-k8s.io";
pub(super) const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io";
pub(super) const CLUSTER: Kind = capi(CORE, "Cluster", "clusters");
pub(super) const CLASS: Kind = capi(CORE, "ClusterClass", "clusterclasses");
pub(super) const DEPLOYMENT: Kind = capi(CORE, "MachineDeployment", "machinedeployments");
pub(super) const SET: Kind = capi(CORE, "MachineSet", "machinesets");
pub(super) const POOL: Kind = capi(CORE, "MachinePool", "machinepools");
pub(super) const MACHINE: Kind = capi(CORE, "Machine", "machines");
pub(super) const CONTROL_PLANE: Kind = capi(
    "controlplane.cluster.x-k8s.io",
    "KubeadmControlPlane",
    "kubeadmcontrolplanes",
);
pub(super) const TEMPLATE: Kind = capi(
    "infrastructure.cluster.x-k8s.io",
    "DevMachineTemplate",
    "devmachinetemplates",
);
pub(super) const CONFIG_TEMPLATE: Kind = capi(BOOTSTRAP, "KubeadmConfigTemplate", "kubeadmconfigtemplates");
pub(super) const RELEASE: Kind = ours("KubernetesRelease", "kubernetesreleases");
pub(super) const UPGRADE: Kind = ours("ClusterUpgrade", "clusterupgrades");
pub(super) const POLICY: Kind = ours("UpgradePolicy", "upgradepolicies");
pub(super) const CONFIG_MAP: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
};

impl Edit {
    /// The same through the version of Cluster API before, which is served beside the stored one.
    pub(super) fn through_v1beta1(&self) -> Option<Self> {
        let has_it = self.kind.version == V1BETA2;
        let is_alike = match self.how {
            How::Merge(..) | How::Delete(_) => true,
            // Whole objects are of another form: references have an apiVersion there.
            How::Create(_) => false,
        };
        (has_it && is_alike).then(|| Self {
            kind: Kind {
                version: "v1beta1",
                ..self.kind
            },
            ..self.clone()
        })
    }

    async fn try_it(&self) -> Result<(), kube::Error> {
        let Kind {
            group,
            version,
            kind,
            plural,
        } = self.kind;
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let api: Api<DynamicObject> = match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        match &self.how {
            How::Create(object) => {
                let mut object: DynamicObject =
                    serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
                object.types = Some(TypeMeta {
                    api_version: resource.api_version.clone(),
                    kind: kind.to_owned(),
                });
                let params = PostParams {
                    dry_run: true,
                    ..PostParams::default()
                };
                api.create(&params, &object).await.map(drop)
            }
            How::Merge(name, patch) => api
                .patch(name, &PatchParams::default().dry_run(), &Patch::Merge(patch))
                .await
                .map(drop),
            How::Delete(name) => {
                let params = DeleteParams {
                    dry_run: true,
                    ..DeleteParams::default()
                };
                api.delete(name, &params).await.map(drop)
            }
        }
    }

    /// The API server could not ask, and so refuses.
    pub(super) async fn refused(&self) -> Result<()> {
        match self.try_it().await {
            Err(kube::Error::Api(status)) => {
                let asked = status.message.contains("failed calling webhook")
                    && status.message.contains(".upgrade.cluster.x-k8s.io\"");
                anyhow::ensure!(
                    asked && status.code == 500,
                    "{}: {} {}",
                    self.name(),
                    status.code,
                    status.message
                );
                Ok(())
            }
            Err(error) => Err(error).with_context(|| self.name()),
            Ok(()) => anyhow::bail!("{} passed without the server", self.name()),
        }
    }

    pub(super) async fn passes(&self) -> Result<()> {
        self.try_it().await.with_context(|| self.name())
    }

    pub(super) fn name(&self) -> String {
        format!("{} ({})", self.what, self.kind.version)
    }

    /// The server answers it again: why it refuses, if it does.
    pub(super) async fn verdict(&self) -> Result<Option<String>> {
        wait_for(&self.name(), Duration::from_secs(30), || async {
            match self.try_it().await {
                Err(kube::Error::Api(status)) if status.message.contains("failed calling webhook") => {
                    Err(Seen::from(status.message.clone()))
                }
                Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
                Ok(()) => Ok(None),
                Err(error) => Err(Seen::from(error.to_string())),
            }
        })
        .await
    }
}
