//! Control planes and workers: versions, components, the templates that they point to.

use instar_api::Enforcement;

use super::{Change, EnforceableBy, GuardedKind, RuleInfo, Trigger};

const SKEW: &str = "https://kubernetes.io/releases/version-skew-policy/";
const ETCD_DOWN: &str = "https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/";
const ONE_PATCH: &str = "https://cluster-api.sigs.k8s.io/tasks/upgrading-clusters";
const TEMPLATES: &str = "https://cluster-api.sigs.k8s.io/tasks/updating-machine-templates";
const HERE: &str = "docs/admission.md";
const KUBEADM: &str =
    "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/create-cluster-kubeadm/#version-skew-policy";

pub(super) const CONTROL_PLANE_DOWNGRADE: RuleInfo = RuleInfo {
    guards: "A control plane doesn't go down a minor while an API server or a worker is newer, and isn't created below a worker that is there.",
    source: SKEW,
    messages: &["{} is a minor below {}, which {} runs"],
    remediation: "fix forward with another release, or restore from a backup; a row of the present minor may be gone back to",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::ControlPlane,
        changes: &[Change::Created, Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const API_SERVERS_TOGETHER: RuleInfo = RuleInfo {
    guards: "The API servers of a control plane are at most one minor apart, also while its machines are replaced.",
    source: SKEW,
    messages: &[
        "{}, which an API server still runs, is {} minors behind {}, where the limit is 1",
        "{}, which an API server still runs, is of another major than {}",
        "{}, which is asked for now, is {} minors behind {}, where the limit is 1",
        "{}, which is asked for now, is of another major than {}",
    ],
    remediation: "go through the version between, and wait until all of its machines run it",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::ControlPlane,
        changes: &[Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const ETCD_DOWNGRADE: RuleInfo = RuleInfo {
    guards: "A stacked etcd doesn't go down a minor.",
    source: ETCD_DOWN,
    messages: &["etcd {} is a minor below etcd {}, which runs"],
    remediation: "keep the tag; an etcd is taken down a minor by etcdctl downgrade alone",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::ControlPlane,
        changes: &[Change::Version, Change::Components],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const ONE_ROLLOUT: RuleInfo = RuleInfo {
    guards: "An edit of a version carries all that the version's release sets: the template with its image, the tags of etcd and CoreDNS. Else every machine is replaced twice. And a template with the image of another version comes with that version, also where a class gives it to machines as it is.",
    source: ONE_PATCH,
    messages: &[
        "{} needs {} at {} of {} {}, which has {}",
        "{} needs {} {}, and the edit leaves {}",
        "{} {} carries what release {} ({}) sets, and the version stays {}",
        "{} {} carries what release {} ({}) sets, and no release of {} does",
        "{} {} carries what release {} ({}) sets, and Cluster {} stays at {}",
    ],
    remediation: "put both in one edit, or let Instar do it: annotate the Cluster with upgrade.cluster.x-k8s.io/version",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Version, Change::Template],
        },
        Trigger {
            guard: GuardedKind::Worker,
            changes: &[Change::Version, Change::Template],
        },
        Trigger {
            guard: GuardedKind::Cluster,
            changes: &[Change::Class, Change::Pools],
        },
        Trigger {
            guard: GuardedKind::ClusterClass,
            changes: &[Change::Wiring],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const TEMPLATE_EXISTS: RuleInfo = RuleInfo {
    guards: "A template that an edit points to exists.",
    source: TEMPLATES,
    messages: &["{} {} does not exist"],
    remediation: "create it first",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Template],
        },
        Trigger {
            guard: GuardedKind::Worker,
            changes: &[Change::Template],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const TEMPLATE_TO_COME: RuleInfo = RuleInfo {
    guards: "A template that a created object names may come after it; its machines wait for it.",
    source: TEMPLATES,
    messages: &["{} {} does not exist yet"],
    remediation: "create it, or no machine will",
    default: Enforcement::Warn,
    on: &[
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Created],
        },
        Trigger {
            guard: GuardedKind::Worker,
            changes: &[Change::Created],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const TEMPLATE_UNSEEN: RuleInfo = RuleInfo {
    guards: "Templates of a kind that isn't watched can't be checked. Nor can it be known whether a control plane of such a kind needs a machine template that is deleted.",
    source: HERE,
    messages: &[
        "{} {} was not looked at: {}",
        "{} {} can't be looked at: {}",
        "{} {} may refer to it and can't be looked at: {}",
        "{} {} and {} more may refer to it and can't be looked at: {}",
    ],
    remediation: "apply the role of its provider (config/providers)",
    default: Enforcement::Warn,
    on: &[
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Created, Change::Template],
        },
        Trigger {
            guard: GuardedKind::Worker,
            changes: &[Change::Created, Change::Template],
        },
        Trigger {
            guard: GuardedKind::MachineTemplate,
            changes: &[Change::Deleted],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const TEMPLATE_KIND: RuleInfo = RuleInfo {
    guards: "A template is a machine template, of the kind that was there before.",
    source: TEMPLATES,
    messages: &["{} is not a template's kind", "{} would take the place of {}"],
    remediation: "name a template of the kind that was there before",
    default: Enforcement::Enforce,
    on: &[
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Created, Change::Template],
        },
        Trigger {
            guard: GuardedKind::Worker,
            changes: &[Change::Created, Change::Template],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const TEMPLATE_FOREIGN: RuleInfo = RuleInfo {
    guards: "A template belongs to no Cluster, or to the Cluster of the object that refers to it.",
    source: TEMPLATES,
    messages: &["{} {} belongs to Cluster {}"],
    remediation: "copy it, and point to the copy, unless the Clusters are to share it",
    default: Enforcement::Warn,
    on: &[
        Trigger {
            guard: GuardedKind::ControlPlane,
            changes: &[Change::Created, Change::Template],
        },
        Trigger {
            guard: GuardedKind::Worker,
            changes: &[Change::Created, Change::Template],
        },
    ],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const WORKER_NOT_NEWER: RuleInfo = RuleInfo {
    guards: "A worker is never newer than an API server, and while a control plane is replaced the oldest one counts.",
    source: SKEW,
    messages: &["{} is newer than {}"],
    remediation: "wait until the whole control plane runs it, or upgrade the control plane first",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Worker,
        changes: &[Change::Created, Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const WORKER_NOT_TOO_OLD: RuleInfo = RuleInfo {
    guards: "A worker is at most three minors behind the newest API server, or two where its kubelet is older than v1.25. What the control plane is asked for counts too. What is created in a paused Cluster, as `clusterctl move` does, is warned of.",
    source: SKEW,
    messages: &[
        "{} is {} minors behind {}, where the limit is {}",
        "{} is of another major than {}",
    ],
    remediation: "take a version that is nearer",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Worker,
        changes: &[Change::Created, Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const KUBEADM_JOIN: RuleInfo = RuleInfo {
    guards: "A node joins with the kubeadm of the control plane's minor.",
    source: KUBEADM,
    messages: &["kubeadm {} is not of the same minor as {}"],
    remediation: "take a version of the control plane's minor; machines of another are held back by Cluster API",
    default: Enforcement::Warn,
    on: &[Trigger {
        guard: GuardedKind::Worker,
        changes: &[Change::Created, Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};

pub(super) const CONTROL_PLANE_KNOWN: RuleInfo = RuleInfo {
    guards: "A worker's version is judged by a control plane's that is known.",
    source: HERE,
    messages: &["the version of the control plane of Cluster {} is not known, so version skew was not checked for {}"],
    remediation: "nothing needs to be done if it is being created",
    default: Enforcement::Warn,
    on: &[Trigger {
        guard: GuardedKind::Worker,
        changes: &[Change::Created, Change::Version],
    }],
    enforceable_by: EnforceableBy::Server,
};
