//! Templates, releases, upgrades, policies: what is in them, and that they stay.

use instar_api::Enforcement;

use super::{About, Breach, Change, Guard, On};
use crate::Status;

const CATALOG: &str = "docs/catalog.md";
const TEMPLATES: &str = "https://cluster-api.sigs.k8s.io/tasks/updating-machine-templates";
const HERE: &str = "docs/admission.md";
const INFRA: &str = "https://cluster-api.sigs.k8s.io/developer/providers/contracts/infra-machine";
const IN_USE: &str = "https://github.com/kubernetes-sigs/cluster-api/issues/6588";
const KEPT: &str = "docs/clusterupgrade.md";
const UPGRADE: &str = "docs/clusterupgrade.md";
const SELECTORS: &str = "https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors";

pub(super) const TEMPLATE_IMMUTABLE: About = About {
    guards: "`spec.template.spec` of a machine template never changes, but in the topology controller's dry run.",
    source: INFRA,
    messages: &["it is immutable, and {} would change"],
    way_out: "machines are replaced, not changed: create a new template and point to it",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::MachineTemplate,
        changes: &[Change::MachinesSpec],
    }],
    breach: Breach::TheChange,
};

pub(super) const TEMPLATE_METADATA: About = About {
    guards: "The labels and annotations that a template gives its machines reach new machines only.",
    source: TEMPLATES,
    messages: &["it reaches new machines only, and those that there are keep theirs"],
    way_out: "create a new template and point to it, if all are to have it",
    default: Enforcement::Warn,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::MachineTemplate,
        changes: &[Change::MachinesMetadata],
    }],
    breach: Breach::TheChange,
};

pub(super) const BOOTSTRAP_TEMPLATE: About = About {
    guards: "A bootstrap template that changes reaches new machines only, also those that are made to repair a pool.",
    source: TEMPLATES,
    messages: &["it reaches new machines only, so that the machines of a pool would differ"],
    way_out: "create a new template and point to it",
    default: Enforcement::Warn,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::BootstrapTemplate,
        changes: &[Change::MachinesSpec],
    }],
    breach: Breach::TheChange,
};

pub(super) const TEMPLATE_IN_USE: About = About {
    guards: "A template that something refers to isn't deleted. Nothing could be replaced, repaired or scaled any more.",
    source: IN_USE,
    messages: &["{} {} refers to it", "{} {} and {} more refer to it"],
    way_out: "point to another template first",
    default: Enforcement::Enforce,
    status: Status::Forbidden,
    on: &[
        On {
            guard: Guard::MachineTemplate,
            changes: &[Change::Deleted],
        },
        On {
            guard: Guard::BootstrapTemplate,
            changes: &[Change::Deleted],
        },
    ],
    breach: Breach::ItsEffect,
};

pub(super) const TEMPLATE_KEPT: About = About {
    guards: "A template that an upgrade keeps for the way back isn't deleted.",
    source: KEPT,
    messages: &[
        "ClusterUpgrade {} keeps it for the way back until {}",
        "ClusterUpgrade {} keeps it for the way back",
    ],
    way_out: "it is deleted then; an UpgradePolicy says how long (spec.templates.keepPrevious)",
    default: Enforcement::Enforce,
    status: Status::Forbidden,
    on: &[
        On {
            guard: Guard::MachineTemplate,
            changes: &[Change::Deleted],
        },
        On {
            guard: Guard::BootstrapTemplate,
            changes: &[Change::Deleted],
        },
    ],
    breach: Breach::ItsEffect,
};

pub(super) const RELEASE_READABLE: About = About {
    guards: "Every text of a KubernetesRelease can be read.",
    source: CATALOG,
    messages: &["{}"],
    way_out: "correct it and create the row again",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::KubernetesRelease,
        changes: &[Change::Created],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const RELEASE_IN_USE: About = About {
    guards: "A KubernetesRelease that a Cluster is pinned to, or that an upgrade goes to, is not deleted.",
    source: CATALOG,
    messages: &["Clusters are pinned to it: {}", "ClusterUpgrades go to it: {}"],
    way_out: "upgrade or delete them first",
    default: Enforcement::Enforce,
    status: Status::Forbidden,
    on: &[On {
        guard: Guard::KubernetesRelease,
        changes: &[Change::Deleted],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const UPGRADE_READABLE: About = About {
    guards: "Every text of a ClusterUpgrade can be read.",
    source: UPGRADE,
    messages: &["{}"],
    way_out: "correct it",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::ClusterUpgrade,
        changes: &[Change::Created, Change::Spec],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const UPGRADE_TARGET: About = About {
    guards: "A ClusterUpgrade goes where the catalog has a release.",
    source: CATALOG,
    messages: &["{}"],
    way_out: "create its release, or the upgrade waits for it",
    default: Enforcement::Warn,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::ClusterUpgrade,
        changes: &[Change::Created, Change::Spec],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const UPGRADE_POOLS: About = About {
    guards: "A ClusterUpgrade names MachineDeployments that its Cluster has.",
    source: UPGRADE,
    messages: &["Cluster {} has no MachineDeployment {}"],
    way_out: "correct the name, or it has no effect",
    default: Enforcement::Warn,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::ClusterUpgrade,
        changes: &[Change::Created, Change::Spec],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const ONE_UPGRADE: About = About {
    guards: "A Cluster has one upgrade that goes on.",
    source: UPGRADE,
    messages: &["ClusterUpgrade {} of Cluster {} goes on"],
    way_out: "edit its target instead; a second one is refused by the controller",
    default: Enforcement::Warn,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::ClusterUpgrade,
        changes: &[Change::Created],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const POLICY_READABLE: About = About {
    guards: "An UpgradePolicy's selector can be read.",
    source: SELECTORS,
    messages: &["{}"],
    way_out: "correct it",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::UpgradePolicy,
        changes: &[Change::Created, Change::Spec],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const BREAK_GLASS: About = About {
    guards: "The annotation `upgrade.cluster.x-k8s.io/break-glass` names rules that can be switched off.",
    source: HERE,
    messages: &["{} is no rule", "rule {} can't be switched off", "{} names no rule"],
    way_out: "name the rule as its refusal does",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[],
    breach: Breach::ItsEffect,
};
