//! The Go programs of a management cluster: what each is built from.

use serde::{Deserialize, Serialize};

use crate::{
    infrastructure::Infrastructure,
    versions::{GoModule, Version, Versions},
};

/// A Go program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Binary {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    KubeApiserver,
    /// kube-controller-manager.
    KubeControllerManager,
    /// kubectl, which also renders manifests.
    Kubectl,
    /// Cluster API's core manager, with the topology controller.
    CapiCore,
    /// The kubeadm bootstrap provider.
    KubeadmBootstrap,
    /// The kubeadm control plane provider.
    KubeadmControlPlane,
    /// The infrastructure provider with the in-memory backend.
    Capd,
    /// clusterctl.
    Clusterctl,
    /// A program of ours around Flux's engine of apply.
    FluxApply,
    /// Helm, for the journeys of the chart alone.
    Helm,
    /// Cluster API Provider vSphere.
    Capv,
    /// Its vCenter simulator, and the simulated clusters on its machines.
    Vcsim,
    /// A program of ours that asks a vCenter.
    Vcenter,
}

impl Binary {
    /// Those of a management cluster, in the order in which they are built.
    pub const ALL: [Self; 10] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
        Self::CapiCore,
        Self::KubeadmBootstrap,
        Self::KubeadmControlPlane,
        Self::Capd,
        Self::Clusterctl,
        Self::FluxApply,
    ];

    /// Those that a management cluster takes besides, for its infrastructure.
    #[must_use]
    pub const fn of(infrastructure: Infrastructure) -> &'static [Self] {
        match infrastructure {
            Infrastructure::InMemory => &[],
            Infrastructure::Vsphere => &[Self::Capv, Self::Vcsim, Self::Vcenter],
        }
    }

    /// The file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::CapiCore => "capi-core",
            Self::KubeadmBootstrap => "capi-kubeadm-bootstrap",
            Self::KubeadmControlPlane => "capi-kubeadm-control-plane",
            Self::Capd => "capd",
            Self::Clusterctl => "clusterctl",
            Self::FluxApply => "flux-apply",
            Self::Helm => "helm",
            Self::Capv => "capv",
            Self::Vcsim => "vcsim",
            Self::Vcenter => "vcenter",
        }
    }

    /// The module of ours that pins it.
    #[must_use]
    pub const fn module(self) -> GoModule {
        match self {
            Self::Etcd | Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl => GoModule::Kubernetes,
            Self::CapiCore | Self::KubeadmBootstrap | Self::KubeadmControlPlane | Self::Capd | Self::Clusterctl => {
                GoModule::ClusterApi
            }
            Self::FluxApply => GoModule::Flux,
            Self::Helm => GoModule::Helm,
            Self::Capv | Self::Vcsim | Self::Vcenter => GoModule::Vsphere,
        }
    }

    /// The package of its `main`.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::CapiCore => "sigs.k8s.io/cluster-api/core",
            Self::KubeadmBootstrap => "sigs.k8s.io/cluster-api/bootstrap/kubeadm",
            Self::KubeadmControlPlane => "sigs.k8s.io/cluster-api/controlplane/kubeadm",
            Self::Capd => "sigs.k8s.io/cluster-api/test/infrastructure/docker",
            Self::Clusterctl => "sigs.k8s.io/cluster-api/cmd/clusterctl",
            Self::FluxApply => ".",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Capv => "sigs.k8s.io/cluster-api-provider-vsphere",
            Self::Vcsim => "sigs.k8s.io/cluster-api-provider-vsphere/test/infrastructure/vcsim",
            Self::Vcenter => "./vcenter",
        }
    }

    /// Its version.
    #[must_use]
    pub const fn version(self, versions: &Versions) -> Version {
        match self {
            Self::Etcd => versions.etcd,
            Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl => versions.kubernetes,
            Self::CapiCore | Self::KubeadmBootstrap | Self::KubeadmControlPlane | Self::Capd | Self::Clusterctl => {
                versions.cluster_api
            }
            Self::FluxApply => versions.flux_ssa,
            Self::Helm => versions.helm,
            Self::Capv | Self::Vcsim | Self::Vcenter => versions.vsphere,
        }
    }

    /// The linker's flags. Without the version among them kube-apiserver calls itself v0.0.0,
    /// and Cluster API refuses to run on that.
    #[must_use]
    pub fn ldflags(self, versions: &Versions) -> String {
        let package = match self {
            Self::Etcd | Self::FluxApply | Self::Helm | Self::Capv | Self::Vcsim | Self::Vcenter => {
                return "-s -w".to_owned();
            }
            Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl => "k8s.io/component-base/version",
            Self::CapiCore | Self::KubeadmBootstrap | Self::KubeadmControlPlane | Self::Capd | Self::Clusterctl => {
                "sigs.k8s.io/cluster-api/version"
            }
        };
        let version = self.version(versions);
        format!(
            "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={} -X {package}.gitMinor={}",
            version.major, version.minor
        )
    }
}
