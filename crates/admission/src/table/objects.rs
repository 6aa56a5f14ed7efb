//! Templates, releases, upgrades, policies: what is in them, and that they stay.

use instar_api::Enforcement;

use super::{Change, EnforceableBy, GuardedKind, RuleInfo, Trigger};

const CATALOG: &str = "docs/catalog.md";
const TEMPLATES: &str = "https://cluster-api.sigs.k8s.io/tasks/updating-machine-templates";
const HERE: &str = "docs/admission.md";
const INFRA: &str = "https://cluster-api.sigs.k8s.io/developer/providers/contracts/infra-machine";
const IN_USE: &str = "https://github.com/kubernetes-sigs/cluster-api/issues/6588";
const KEPT: &str = "docs/clusterupgrade.md";
const UPGRADE: &str = "docs/clusterupgrade.md";
const MAINTENANCE: &str = "docs/maintenance.md";
const SELECTORS: &str = "https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors";

pub(super) const TEMPLATE_SPEC: RuleInfo = RuleInfo {
    guards: "What `spec.template.spec` of a machine template says never changes, but where a provider means a field to be edited in place, and in the topology controller's dry run. A controller or a provider's defaulting webhook may add what wasn't there.",
    source: INFRA,
    messages: &[
        "{} would change",
        "{} would be added",
        "{} would change, by this edit or by a mutating webhook after it",
        "{} would be added, by this edit or by a mutating webhook after it",
    ],
    remediation: "machines are replaced, not changed: create a new template and point to it",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::MachineTemplate,
        changes: &[Change::MachinesSpec],
    }],
    enforceable_by: EnforceableBy::Cel,
};

pub(super) const TEMPLATE_METADATA: RuleInfo = RuleInfo {
    guards: "The labels and annotations that a template gives its machines reach new machines only.",
    source: TEMPLATES,
    messages: &["it reaches new machines only, and those that there are keep theirs"],
    remediation: "create a new template and point to it, if all are to have it",
    default: Enforcement::Warn,
    on: &[Trigger {
        guard: GuardedKind::MachineTemplate,
        changes: &[Change::MachinesMetadata],
    }],
    enforceable_by: EnforceableBy::Cel,
};

pub(super) const BOOTSTRAP_TEMPLATE: RuleInfo = RuleInfo {
    guards: "A bootstrap template that changes reaches new machines only, also those that are made to repair a pool.",
    source: TEMPLATES,
    messages: &["it reaches new machines only, so that the machines of a pool would differ"],
    remediation: "create a new template and point to it",
    default: Enforcement::Warn,
    on: &[Trigger {
        guard: GuardedKind::BootstrapTemplate,
        changes: &[Change::MachinesSpec],
    }],
    enforceable_by: EnforceableBy::Cel,
};

pub(super) const TEMPLATE_IN_USE: RuleInfo = RuleInfo {
    guards: "A template that something refers to isn't deleted. Nothing could be replaced, repaired or scaled any more, and a class that lacks one of its templates stops the reconcile of its Clusters.",
    source: IN_USE,
    messages: &["{} {} refers to it", "{} {} and {} more refer to it"],
    remediation: "point to another template first",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::MachineTemplate,
            changes: &[Change::Deleted],
        },
        Trigger {
            guard: GuardedKind::BootstrapTemplate,
            changes: &[Change::Deleted],
        },
        Trigger {
            guard: GuardedKind::OtherTemplate,
            changes: &[Change::Deleted],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const TEMPLATE_KEPT: RuleInfo = RuleInfo {
    guards: "A template that an upgrade keeps for a rollback isn't deleted.",
    source: KEPT,
    messages: &[
        "ClusterUpgrade {} keeps it for a rollback until {}",
        "ClusterUpgrade {} keeps it for a rollback",
    ],
    remediation: "it is deleted then; an UpgradePolicy says how long (spec.templates.keepPrevious)",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::MachineTemplate,
            changes: &[Change::Deleted],
        },
        Trigger {
            guard: GuardedKind::BootstrapTemplate,
            changes: &[Change::Deleted],
        },
        Trigger {
            guard: GuardedKind::OtherTemplate,
            changes: &[Change::Deleted],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const RELEASE_READABLE: RuleInfo = RuleInfo {
    guards: "Every text of a KubernetesRelease can be read.",
    source: CATALOG,
    messages: &["{}"],
    remediation: "correct it and create the row again",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::KubernetesRelease,
        changes: &[Change::Created],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const RELEASE_SPEC: RuleInfo = RuleInfo {
    guards: "Of a KubernetesRelease only `spec.support` changes.",
    source: CATALOG,
    messages: &["Clusters that are pinned to this row would roll, or go another way, if it changed"],
    remediation: "create a row with a higher revision",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::KubernetesRelease,
        changes: &[Change::Spec],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const RELEASE_IN_USE: RuleInfo = RuleInfo {
    guards: "A KubernetesRelease that a Cluster is pinned to, or that an upgrade goes to, is not deleted.",
    source: CATALOG,
    messages: &["Clusters are pinned to it: {}", "ClusterUpgrades go to it: {}"],
    remediation: "upgrade or delete them first",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::KubernetesRelease,
        changes: &[Change::Deleted],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const UPGRADE_READABLE: RuleInfo = RuleInfo {
    guards: "Every text of a ClusterUpgrade can be read.",
    source: UPGRADE,
    messages: &["{}"],
    remediation: "correct it",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::ClusterUpgrade,
        changes: &[Change::Created, Change::Spec],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const UPGRADE_CLUSTER: RuleInfo = RuleInfo {
    guards: "`spec.clusterName` and `spec.rollbackOf` of a ClusterUpgrade never change, and the target of one that the controller made is its Cluster's.",
    source: UPGRADE,
    messages: &[
        "it is the record of an upgrade of Cluster {}, and would be one of Cluster {}",
        "it is the record of {}, and would be one of {}",
        "it follows {} of Cluster {}, which is still {}",
    ],
    remediation: "create another ClusterUpgrade",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::ClusterUpgrade,
        changes: &[Change::Spec],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const UPGRADE_TARGET: RuleInfo = RuleInfo {
    guards: "A ClusterUpgrade goes where the catalog has a release.",
    source: CATALOG,
    messages: &["{}"],
    remediation: "create its release, or the upgrade waits for it",
    default: Enforcement::Warn,
    on: &[Trigger {
        guard: GuardedKind::ClusterUpgrade,
        changes: &[Change::Created, Change::Spec],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const UPGRADE_POOLS: RuleInfo = RuleInfo {
    guards: "A ClusterUpgrade names MachineDeployments that its Cluster has.",
    source: UPGRADE,
    messages: &["Cluster {} has no MachineDeployment {}"],
    remediation: "correct the name, or it has no effect",
    default: Enforcement::Warn,
    on: &[Trigger {
        guard: GuardedKind::ClusterUpgrade,
        changes: &[Change::Created, Change::Spec],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const ONE_UPGRADE: RuleInfo = RuleInfo {
    guards: "A Cluster has one upgrade that goes on.",
    source: UPGRADE,
    messages: &["ClusterUpgrade {} of Cluster {} goes on"],
    remediation: "edit its target instead; a second one is refused by the controller",
    default: Enforcement::Warn,
    on: &[Trigger {
        guard: GuardedKind::ClusterUpgrade,
        changes: &[Change::Created],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const CLASSIC_OPERATION: RuleInfo = RuleInfo {
    guards: "The upgrade of a classic Cluster alone is taken back, and a classic Cluster alone restarted: of a topology Cluster, Cluster API takes no version back, and its topology controller sets back what a restart would write.",
    source: UPGRADE,
    messages: &["the operation {} is for classic Clusters, and Cluster {} has spec.topology"],
    remediation: "instead of a rollback, abort the upgrade, or go forward to a newer patch or to another release; instead of a restart, run `clusterctl alpha rollout restart`",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::ClusterUpgrade,
        changes: &[Change::Created, Change::Spec],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const UPGRADE_RIGHTS: RuleInfo = RuleInfo {
    guards: "A user who skips a check of a ClusterUpgrade or overrides the maintenance windows has the verb `override` on clusterupgrades, one who approves a step the verb `approve`, and `setBy` says who did.",
    source: HERE,
    messages: &[
        "{} may not skip the check {}",
        "{} may not override the maintenance windows",
        "{} may not approve {} {} on the way to {}",
        "setBy of the check {} isn't what admission wrote",
        "setBy of overrideWindow isn't what admission wrote",
        "setBy of the approval of {} {} on the way to {} isn't what admission wrote",
    ],
    remediation: "ask for the right, or find the webhook that changes it",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::ClusterUpgrade,
        changes: &[Change::Created, Change::Spec],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const POLICY_READABLE: RuleInfo = RuleInfo {
    guards: "An UpgradePolicy's selector, maintenance windows and exclusions can be read, and what it lists as mutable are fields of templates that no release sets.",
    source: SELECTORS,
    messages: &["{}"],
    remediation: "correct it",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::UpgradePolicy,
        changes: &[Change::Created, Change::Spec],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const WINDOWS_OPEN: RuleInfo = RuleInfo {
    guards: "The maintenance windows of an UpgradePolicy open within 400 days.",
    source: MAINTENANCE,
    messages: &["{}, and nothing opens within 400 days"],
    remediation: "no upgrade of its Clusters would go on: correct the schedule, a Deny window or an exclusion",
    default: Enforcement::Warn,
    on: &[Trigger {
        guard: GuardedKind::UpgradePolicy,
        changes: &[Change::Created, Change::Spec],
    }],
    enforceable_by: EnforceableBy::Server,
};

const GATES: &str = "docs/addons.md";

const ON_GATES: &[Trigger] = &[
    Trigger {
        guard: GuardedKind::KubernetesRelease,
        changes: &[Change::Created],
    },
    Trigger {
        guard: GuardedKind::UpgradePolicy,
        changes: &[Change::Created, Change::Spec],
    },
];

pub(super) const GATE_READABLE: RuleInfo = RuleInfo {
    guards: "The add-ons of a KubernetesRelease, the gates of an UpgradePolicy and what its check `etcd-snapshot` asks for can be read: their expressions are CEL that Instar evaluates, within its bounds, and what they depend on is there and in no circle.",
    source: GATES,
    messages: &["{}"],
    remediation: "correct it",
    default: Enforcement::Enforce,
    on: ON_GATES,
    enforceable_by: EnforceableBy::Server,
};

pub(super) const GATE_NEEDS_STATUS: RuleInfo = RuleInfo {
    guards: "`readyWhen` of an add-on, a gate or the check `etcd-snapshot` holds neither for an object without a status nor for empty lists, an object that doesn't tell which edit it has seen has time to see it, and the time of a snapshot is one that an object gives.",
    source: GATES,
    messages: &[
        "{}: readyWhen: it holds for an object without a status",
        "{}: readyWhen: it holds where the lists of status are empty",
        "{}: settle: 0s with generation: Ignore lets an old status count as the new one",
        "{}: timestampExpression: it gives a time for an object without a status",
    ],
    remediation: "name a field of status that only a ready object has",
    default: Enforcement::Enforce,
    on: ON_GATES,
    enforceable_by: EnforceableBy::Server,
};

pub(super) const GATE_REACH: RuleInfo = RuleInfo {
    guards: "Add-ons, gates and the check `etcd-snapshot` reach no Secrets, an UpgradePolicy observes no other namespace of the management cluster than its own, an add-on writes nothing that steers Kubernetes, Cluster API or Instar, and none sets back what Clusters share.",
    source: GATES,
    messages: &[
        "{}: observe.kind: Secrets are never observed",
        "{}: observe.namespace: {} is another namespace of the management cluster than the policy's own, {}",
        "{}: write.annotation.key: {} steers Kubernetes, Cluster API or Instar",
        "{}: write.field.kind: nothing is written into Secrets",
        "{}: write.field.apiVersion: {} of {} is Cluster API's or Instar's own, whose versions the upgrade itself sets",
        "{}: write.onRollback: Restore would set {} {}/{} back for all Clusters that share it",
    ],
    remediation: "observe or set something else",
    default: Enforcement::Enforce,
    on: ON_GATES,
    enforceable_by: EnforceableBy::Server,
};

pub(super) const BREAK_GLASS: RuleInfo = RuleInfo {
    guards: "The annotation `upgrade.cluster.x-k8s.io/break-glass` names rules that can be switched off.",
    source: HERE,
    messages: &["{} is no rule", "rule {} can't be switched off", "{} names no rule"],
    remediation: "name the rule as its refusal does",
    default: Enforcement::Enforce,
    on: &[],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const RELEASE_DEPRECATED: RuleInfo = RuleInfo {
    guards: "A Cluster goes to no release of the tier Deprecated, or past its end of life. One that is only on the way, or that a created object brings along from elsewhere, is warned of at most.",
    source: CATALOG,
    messages: &[
        "release {} ({}) is deprecated",
        "release {} ({}) is deprecated ({})",
        "release {} ({}) reached its end of life on {}",
    ],
    remediation: "choose a release of the tier Latest, Supported or LTS",
    default: Enforcement::Warn,
    on: &[
        Trigger {
            guard: GuardedKind::Cluster,
            changes: &[
                Change::Created,
                Change::Version,
                Change::Pins,
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
