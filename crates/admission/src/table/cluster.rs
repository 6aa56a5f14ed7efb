//! Clusters and their classes: the path, the pins, the wiring.

use instar_api::Enforcement;

use super::{Change, EnforceableBy, GuardedKind, RuleInfo, Trigger};

const CLASS: &str = "https://cluster-api.sigs.k8s.io/tasks/experimental-features/cluster-class/";
const MAINTENANCE: &str = "docs/maintenance.md";
const CATALOG: &str = "docs/catalog.md";
const TOPOLOGY: &str =
    "https://cluster-api.sigs.k8s.io/tasks/experimental-features/cluster-class/operate-cluster#upgrade-a-cluster";
const PLAN: &str = "https://github.com/kubernetes-sigs/cluster-api/blob/main/docs/proposals/20250513-chained-and-efficient-upgrades-for-clusters-with-managed-topologies.md";
const ZOMBIES: &str = "https://etcd.io/blog/2025/zombie_members_upgrade/";
const PATCHES: &str = "https://cluster-api.sigs.k8s.io/tasks/experimental-features/cluster-class/write-clusterclass#clusterclass-with-patches";
const PINS: &str = "docs/wiring.md";
const CORE_DNS: &str = "https://cluster-api.sigs.k8s.io/tasks/upgrading-clusters";
const FLUX: &str = "docs/gitops.md";
const RESTORE: &str = "docs/restore.md";
const SKEW: &str = "https://kubernetes.io/releases/version-skew-policy/";

pub(super) const CLASS_KNOWN: RuleInfo = RuleInfo {
    guards: "A Cluster is created, or moved to another version or class, only when its ClusterClass has been seen.",
    source: CLASS,
    messages: &["ClusterClass {} is not known"],
    remediation: "create the class first, or try again if it was created just now",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Created, Change::Version, Change::Class],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const RELEASE_IN_CATALOG: RuleInfo = RuleInfo {
    guards: "`spec.topology.version` is a version, a prefix (`v1.36`) or the name of a KubernetesRelease of the Cluster's catalog.",
    source: CATALOG,
    messages: &["{} is not in the catalog; {}", "{}"],
    remediation: "set a version that the catalog has, or create its release",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Created, Change::Version, Change::Pins],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const CATALOG_OF_CLASS: RuleInfo = RuleInfo {
    guards: "A topology Cluster belongs to the catalog of its ClusterClass (label `upgrade.cluster.x-k8s.io/catalog`), and its own label names no other one.",
    source: CATALOG,
    messages: &[
        "it names {}, and ClusterClass {} belongs to {}",
        "the class would belong to {}, and the label of Cluster {} names {}",
    ],
    remediation: "use a class of that catalog, or remove the Cluster's label",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::Cluster,
            changes: &[Change::Created, Change::Version, Change::Class, Change::Catalog],
        },
        Trigger {
            guard: GuardedKind::ClusterClass,
            changes: &[Change::Catalog],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const CATALOG_ALLOWED: RuleInfo = RuleInfo {
    guards: "A Cluster is created, moved to another version or moved to another catalog only where each UpgradePolicy that selects it lists its catalog (`spec.catalogs`).",
    source: CATALOG,
    messages: &["the Cluster would use {}, and an UpgradePolicy of its namespace allows only {} (spec.catalogs)"],
    remediation: "use one of these, or let the policy list this one",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::Cluster,
            changes: &[
                Change::Created,
                Change::Version,
                Change::Class,
                Change::Catalog,
                Change::VersionAnnotation,
            ],
        },
        Trigger {
            guard: GuardedKind::ClusterUpgrade,
            changes: &[Change::Created, Change::Spec],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const VERSION_READABLE: RuleInfo = RuleInfo {
    guards: "A version is never set to a text that Cluster API can't read.",
    source: FLUX,
    messages: &["{} is not a version"],
    remediation: "set a full version, such as v1.34.3",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::Cluster,
            changes: &[Change::Version],
        },
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Version],
        },
        Trigger {
            guard: GuardedKind::Worker,
            changes: &[Change::Version],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const NO_DOWNGRADE: RuleInfo = RuleInfo {
    guards: "`spec.topology.version` never goes down, but to where the control plane stands while Instar holds its next step.",
    source: TOPOLOGY,
    messages: &[
        "{} is older than {}, which runs",
        "{} is older than {}, and the upgrade can't end there: the edit names another class too",
        "{} is older than {}, and the upgrade can't end there: ClusterClass {} does not list it in spec.kubernetesVersions",
        "{} is older than {}, and the upgrade can't end there: not all machines of the control plane run it yet",
        "{} is older than {}, and the upgrade can't end there: {} {} runs {}",
        "{} is older than {}, and the upgrade can't end there: Instar does not hold the next step of the control plane",
        "{} is older than {}, and the upgrade can't end there: the control plane may go to {}",
        "{} is older than {}, and the upgrade can't end there: Cluster API does not say yet that it waits for the step to {} (condition TopologyReconciled)",
    ],
    remediation: "fix forward with another release, or restore from a backup",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const PATH: RuleInfo = RuleInfo {
    guards: "Cluster API finds a path from the present version to the target, the skew of Kubernetes holds on it, and each of its steps has a release.",
    source: PLAN,
    messages: &["{}"],
    remediation: "go there in more than one edit, or create the release that is missing",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const UPGRADES_FROM: RuleInfo = RuleInfo {
    guards: "The release of each step accepts the version before it (`spec.upgradesFrom`).",
    source: CATALOG,
    messages: &["release {} ({}) upgrades from {}, and {} comes before it"],
    remediation: "go first to a version that it upgrades from, or to a release that accepts this one",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const ETCD_STEP: RuleInfo = RuleInfo {
    guards: "etcd 3.6 follows only when all machines of the control plane run etcd 3.5.26 or later, and no minor of etcd is skipped.",
    source: ZOMBIES,
    messages: &[
        "release {} ({}) runs etcd {} after etcd {} of {}, and etcd 3.6 may follow only on 3.5.26 or later",
        "etcd {} would follow etcd {}, and etcd 3.6 may follow only on 3.5.26 or later",
        "release {} ({}) runs etcd {} after etcd {} of {}, and etcd can't skip a minor version",
        "etcd {} would follow etcd {}, and etcd can't skip a minor version",
        "release {} ({}) runs etcd {} after etcd {} of {}, which not all machines of the control plane run yet",
        "etcd {} would follow etcd {}, which not all of its machines run yet",
    ],
    remediation: "first move to a release of the same version with etcd 3.5.26 or later",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::Cluster,
            changes: &[Change::Version],
        },
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Version, Change::Components],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const CORE_DNS_STEP: RuleInfo = RuleInfo {
    guards: "CoreDNS of a control plane never goes down, since Cluster API migrates its configuration only upwards.",
    source: CORE_DNS,
    messages: &[
        "release {} ({}) sets CoreDNS {} after {}, and Cluster API migrates it only upwards",
        "release {} ({}) sets CoreDNS {}, in which Cluster API finds no version",
        "CoreDNS {} is older than {}, and Cluster API migrates it only upwards",
        "Cluster API finds no version in CoreDNS' tag {}",
    ],
    remediation: "keep CoreDNS' tag, or take a release with a later one",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::Cluster,
            changes: &[Change::Version],
        },
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Components],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const IMAGE_FOR_POOL: RuleInfo = RuleInfo {
    guards: "The release of each step has an image for the control plane and for each pool that takes the step.",
    source: CATALOG,
    messages: &[
        "release {} has no image for {}",
        "release {} is not in the catalog, so the image of {} can't be found",
    ],
    remediation: "create a release with a higher revision and this image",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Created, Change::Version, Change::Pools, Change::Pins],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const WIRING_RENDERS: RuleInfo = RuleInfo {
    guards: "The class' wiring renders every value that a pinned release sets, and every value that it renders is set.",
    source: PATCHES,
    messages: &["{}"],
    remediation: "wire the class again: instar wire prints it",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[
            Change::Created,
            Change::Version,
            Change::Class,
            Change::Pools,
            Change::Pins,
        ],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const PINS_BY_HAND: RuleInfo = RuleInfo {
    guards: "The annotation `upgrade.cluster.x-k8s.io/releases` is edited by naming other releases of the same versions, and in no other way.",
    source: PINS,
    messages: &["{}"],
    remediation: "leave the annotation out: admission writes it",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Created, Change::Pins],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const RESTORED_CLUSTER: RuleInfo = RuleInfo {
    guards: "A Cluster that is created with pins (the annotation `upgrade.cluster.x-k8s.io/releases`) or with a control plane (`spec.controlPlaneRef`), as `clusterctl move` and a restore from a backup do, is taken as it is: with the values of the releases that it names. What can't be compared is believed only of a user who may create KubernetesReleases.",
    source: RESTORE,
    messages: &[
        "{} is pinned to release {}, and {}",
        "{} is pinned to release {}, which is not in the catalog",
        "{} is pinned to release {}, which is of {}, and the Cluster's is {}",
        "it adopts {}, and the Cluster has no control plane that runs (spec.controlPlaneRef)",
        "the Cluster is created with a control plane that was not seen before",
        "it has no release for {}, the version of the Cluster",
        "the version that its control plane runs is not known",
        "the annotation upgrade.cluster.x-k8s.io/releases can't be read: {}",
    ],
    remediation: "restore it as a user who may create kubernetesreleases, or leave the annotation and spec.controlPlaneRef out to create a new cluster",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Created, Change::Class],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const ONE_CHANGE: RuleInfo = RuleInfo {
    guards: "The version of a topology cluster is edited when the last edit has arrived everywhere.",
    source: TOPOLOGY,
    messages: &[
        "the edit to {} is still under way: {} runs {}",
        "the edit to {} is still under way: its hook {} is pending",
        "machines of the control plane are still being replaced at {}",
    ],
    remediation: "wait until it is done (kubectl get clusterupgrade), then edit the version",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const MAINTENANCE_WINDOW: RuleInfo = RuleInfo {
    guards: "A version is edited by hand, or another release of it is named, while the maintenance windows of the Cluster's UpgradePolicies are open: of a topology cluster, and of a classic one's control plane, MachineDeployments and MachinePools. A ClusterUpgrade waits for them instead.",
    source: MAINTENANCE,
    messages: &[
        "no maintenance window is open (of {})",
        "no maintenance window is open (of {}), until {}",
        "the window {} denies upgrades",
        "the window {} denies upgrades, until {}",
        "upgrades are excluded: {}",
        "upgrades are excluded: {}, until {}",
        "window {}: {}",
        "UpgradePolicy {} can't be decoded, so its windows are not known",
    ],
    remediation: "create a ClusterUpgrade, which edits the version when upgrades may go on",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::Cluster,
            changes: &[Change::Version, Change::Pins],
        },
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Version],
        },
        Trigger {
            guard: GuardedKind::Worker,
            changes: &[Change::Version],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const START_GATES: RuleInfo = RuleInfo {
    guards: "The version of a topology cluster is edited by its ClusterUpgrade where an UpgradePolicy asks for an approval, has a gate before the control plane or names a preflight check that holds an upgrade, since an edit by hand waits for none of them, and where it has MachinePools, also before the workers. A classic cluster gets a topology with the version that it runs. With Runtime Hooks a policy can warn instead: each step is held then.",
    source: MAINTENANCE,
    messages: &[
        "an UpgradePolicy of the Cluster asks for an approval before the control plane",
        "gate {} of an UpgradePolicy of the Cluster comes before the control plane",
        "an UpgradePolicy of the Cluster has the check {} hold an upgrade that is to begin, which is asked for a ClusterUpgrade alone",
        "an UpgradePolicy of the Cluster asks for an approval before the workers, and its MachinePools can't be held after the edit",
        "gate {} of an UpgradePolicy of the Cluster comes before the workers, and its MachinePools can't be held after the edit",
    ],
    remediation: "create a ClusterUpgrade, which goes on when they are open",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Cluster,
        changes: &[Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const WORKERS_IN_REACH: RuleInfo = RuleInfo {
    guards: "A new version of the control plane leaves no MachineDeployment, MachinePool, MachineSet or Machine more than three minors behind, or two where its kubelet is older than v1.25.",
    source: SKEW,
    messages: &[
        "{} {} runs {}, which would be {} minors behind {}, where the limit is {}",
        "{} {} runs {}, which would be of another major than {}",
    ],
    remediation: "upgrade or delete it first",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::Cluster,
            changes: &[Change::Version],
        },
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Created, Change::Version],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const WIRING_KEPT: RuleInfo = RuleInfo {
    guards: "A ClusterClass goes on rendering what its Clusters are pinned to. Else Cluster API would replace their machines with the bare template's, or stop their reconcile.",
    source: PATCHES,
    messages: &[
        "Cluster {} is pinned to release {} ({}), and {}",
        "Cluster {} is pinned to release {} ({}), and without the wiring its machines would be replaced by the bare template's",
        "Cluster {} carries pins that can't be read, and without the wiring its machines would be replaced by the bare template's",
        "Cluster {} is pinned, and the external patch {} comes after the wiring, so it may change what is pinned",
    ],
    remediation: "wire it: instar wire prints the class with its wiring",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::ClusterClass,
        changes: &[Change::Wiring],
    }],
    enforceable_by: EnforceableBy::Server,
};
