//! The webhooks: which resources each is for. A guard has several where versions or labels differ.

use instar_admission::{GuardedKind, upgrade::Right};
use instar_capi::WorkerKind;

/// One webhook of a configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// The part of its name that is its own.
    pub(super) name: &'static str,
    pub(super) guard: GuardedKind,
    pub(super) resources: &'static [Resource],
    /// Which workers, where another object may have made them.
    pub(super) made: Option<WorkerKind>,
    pub(super) only: Only,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plurals: &'static [&'static str],
}

/// Which of a group's kinds, where the resources don't say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Only {
    /// All that the resources name.
    Named,
    /// Clusters that are created with pins or a control plane, by a user who may create KubernetesReleases.
    Restored,
    /// All other Clusters.
    NotRestored,
    /// ClusterUpgrades that are let through, by a user who lacks the right to do so.
    Without(Right),
    /// Control planes but for kubeadm's.
    OtherControlPlanes,
    MachineTemplates,
    /// Templates but for those of machines, and kubeadm's for bootstrapping.
    OtherTemplates,
    /// Templates that a user deletes who may delete Clusters, with the annotation of `clusterctl move`.
    MovedTemplates,
}

const CORE: &str = "cluster.x-k8s.io";
const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io";
const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
/// The Supervisor's templates, beside vSphere's own.
const VMWARE: &str = "vmware.infrastructure.cluster.x-k8s.io";
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io";

/// The version at which Cluster API's own objects are read. Requests at another one are converted.
const CAPI: &str = "v1beta2";
const OURS: &str = "v1alpha1";

const fn of(group: &'static str, version: &'static str, plurals: &'static [&'static str]) -> Resource {
    Resource {
        group,
        version,
        plurals,
    }
}

const fn entry(name: &'static str, guard: GuardedKind, resources: &'static [Resource]) -> Entry {
    Entry {
        name,
        guard,
        resources,
        made: None,
        only: Only::Named,
    }
}

/// Where templates may be.
const TEMPLATES: &[Resource] = &[
    of(INFRASTRUCTURE, "*", &["*"]),
    of(VMWARE, "*", &["*"]),
    of(CONTROL_PLANE, "*", &["*"]),
    of(BOOTSTRAP, "*", &["*"]),
];

const ENTRIES: &[Entry] = &[
    Entry {
        only: Only::NotRestored,
        ..entry("cluster", GuardedKind::Cluster, &[of(CORE, CAPI, &["clusters"])])
    },
    Entry {
        only: Only::Restored,
        ..entry(
            "restored-cluster",
            GuardedKind::Cluster,
            &[of(CORE, CAPI, &["clusters"])],
        )
    },
    entry(
        "kubeadmcontrolplane",
        GuardedKind::ControlPlane,
        &[of(CONTROL_PLANE, CAPI, &["kubeadmcontrolplanes"])],
    ),
    Entry {
        only: Only::OtherControlPlanes,
        // Every version and every kind: the providers' are not known.
        ..entry(
            "controlplane",
            GuardedKind::ControlPlane,
            &[of(CONTROL_PLANE, "*", &["*"]), of(INFRASTRUCTURE, "*", &["*"])],
        )
    },
    entry(
        "worker",
        GuardedKind::Worker,
        &[of(CORE, CAPI, &["machinedeployments", "machinepools"])],
    ),
    Entry {
        made: Some(WorkerKind::MachineSet),
        ..entry("machineset", GuardedKind::Worker, &[of(CORE, CAPI, &["machinesets"])])
    },
    Entry {
        made: Some(WorkerKind::Machine),
        ..entry("machine", GuardedKind::Worker, &[of(CORE, CAPI, &["machines"])])
    },
    entry(
        "clusterclass",
        GuardedKind::ClusterClass,
        &[of(CORE, CAPI, &["clusterclasses"])],
    ),
    Entry {
        only: Only::MachineTemplates,
        ..entry(
            "machinetemplate",
            GuardedKind::MachineTemplate,
            &[of(INFRASTRUCTURE, "*", &["*"]), of(VMWARE, "*", &["*"])],
        )
    },
    Entry {
        only: Only::MovedTemplates,
        ..entry("movedtemplate", GuardedKind::MachineTemplate, TEMPLATES)
    },
    entry(
        "bootstraptemplate",
        GuardedKind::BootstrapTemplate,
        &[of(BOOTSTRAP, CAPI, &["kubeadmconfigtemplates"])],
    ),
    Entry {
        only: Only::OtherTemplates,
        ..entry("template", GuardedKind::OtherTemplate, TEMPLATES)
    },
    entry(
        "kubernetesrelease",
        GuardedKind::KubernetesRelease,
        &[of(instar_api::GROUP, OURS, &["kubernetesreleases"])],
    ),
    entry(
        "clusterupgrade",
        GuardedKind::ClusterUpgrade,
        &[of(instar_api::GROUP, OURS, &["clusterupgrades"])],
    ),
    Entry {
        only: Only::Without(Right::Approve),
        ..entry(
            "clusterupgrade-without-approve",
            GuardedKind::ClusterUpgrade,
            &[of(instar_api::GROUP, OURS, &["clusterupgrades"])],
        )
    },
    Entry {
        only: Only::Without(Right::Override),
        ..entry(
            "clusterupgrade-without-override",
            GuardedKind::ClusterUpgrade,
            &[of(instar_api::GROUP, OURS, &["clusterupgrades"])],
        )
    },
    entry(
        "upgradepolicy",
        GuardedKind::UpgradePolicy,
        &[of(instar_api::GROUP, OURS, &["upgradepolicies"])],
    ),
    entry(
        "marks",
        GuardedKind::Marks,
        &[
            of(CORE, CAPI, &["clusters", "machinedeployments", "machinepools"]),
            of(CONTROL_PLANE, CAPI, &["kubeadmcontrolplanes"]),
            of(instar_api::GROUP, OURS, &["clusterupgrades"]),
        ],
    ),
];

impl Entry {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().copied()
    }
}
