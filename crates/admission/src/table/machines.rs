//! Control planes and workers: versions, components, the templates that they point to.

use instar_api::Enforcement;

use super::{About, Breach, Change, Guard, On};
use crate::Status;

const SKEW: &str = "https://kubernetes.io/releases/version-skew-policy/";
const ETCD_DOWN: &str = "https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/";
const ONE_PATCH: &str = "https://cluster-api.sigs.k8s.io/tasks/upgrading-clusters";
const TEMPLATES: &str = "https://cluster-api.sigs.k8s.io/tasks/updating-machine-templates";
const HERE: &str = "docs/admission.md";
const KUBEADM: &str =
    "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/create-cluster-kubeadm/#version-skew-policy";

pub(super) const CONTROL_PLANE_DOWNGRADE: About = About {
    guards: "A control plane doesn't go down a minor while an API server or a worker is newer.",
    source: SKEW,
    messages: &["{} is a minor below {}, which {} runs"],
    way_out: "fix forward with another release, or restore from a backup; a row of the present minor may be gone back to",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::ControlPlane,
        changes: &[Change::Version],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const API_SERVERS_TOGETHER: About = About {
    guards: "The API servers of a control plane are at most one minor apart, also while its machines are replaced.",
    source: SKEW,
    messages: &[
        "{}, which an API server still runs, is {} minors behind {}, where the limit is 1",
        "{}, which an API server still runs, is of another major than {}",
    ],
    way_out: "wait until all of its machines run the version between",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::ControlPlane,
        changes: &[Change::Version],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const ETCD_DOWNGRADE: About = About {
    guards: "A stacked etcd doesn't go down a minor.",
    source: ETCD_DOWN,
    messages: &["etcd {} is a minor below etcd {}, which runs"],
    way_out: "keep the tag; an etcd is taken down a minor by etcdctl downgrade alone",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::ControlPlane,
        changes: &[Change::Version, Change::Components],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const ONE_ROLLOUT: About = About {
    guards: "An edit of a version carries all that the version's release sets: the template with its image, the tags of etcd and CoreDNS. Else every machine is replaced twice.",
    source: ONE_PATCH,
    messages: &[
        "{} needs {} at {} of {} {}, which has {}",
        "{} needs {} {}, and the edit leaves {}",
    ],
    way_out: "put both in one edit, or let Instar do it: annotate the Cluster with upgrade.cluster.x-k8s.io/version",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[
        On {
            guard: Guard::ControlPlane,
            changes: &[Change::Version],
        },
        On {
            guard: Guard::Worker,
            changes: &[Change::Version],
        },
    ],
    breach: Breach::ItsEffect,
};

pub(super) const TEMPLATE_EXISTS: About = About {
    guards: "A template that an edit points to exists.",
    source: TEMPLATES,
    messages: &["{} {} does not exist"],
    way_out: "create it first",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[
        On {
            guard: Guard::ControlPlane,
            changes: &[Change::Template],
        },
        On {
            guard: Guard::Worker,
            changes: &[Change::Template],
        },
    ],
    breach: Breach::ItsEffect,
};

pub(super) const TEMPLATE_TO_COME: About = About {
    guards: "A template that a created object names may come after it; its machines wait for it.",
    source: TEMPLATES,
    messages: &["{} {} does not exist yet"],
    way_out: "create it, or no machine will",
    default: Enforcement::Warn,
    status: Status::Invalid,
    on: &[
        On {
            guard: Guard::ControlPlane,
            changes: &[Change::Created],
        },
        On {
            guard: Guard::Worker,
            changes: &[Change::Created],
        },
    ],
    breach: Breach::ItsEffect,
};

pub(super) const TEMPLATE_UNSEEN: About = About {
    guards: "Templates of a kind that isn't watched can't be checked.",
    source: HERE,
    messages: &["{} {} can't be looked at: {}"],
    way_out: "apply the role of its provider (config/providers)",
    default: Enforcement::Warn,
    status: Status::Invalid,
    on: &[
        On {
            guard: Guard::ControlPlane,
            changes: &[Change::Created, Change::Template],
        },
        On {
            guard: Guard::Worker,
            changes: &[Change::Created, Change::Template],
        },
    ],
    breach: Breach::ItsEffect,
};

pub(super) const TEMPLATE_KIND: About = About {
    guards: "A template is a machine template, of the kind that was there before.",
    source: TEMPLATES,
    messages: &["{} is not a template's kind", "{} would take the place of {}"],
    way_out: "name a template of the kind that was there before",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[
        On {
            guard: Guard::ControlPlane,
            changes: &[Change::Created, Change::Template],
        },
        On {
            guard: Guard::Worker,
            changes: &[Change::Created, Change::Template],
        },
    ],
    breach: Breach::ItsEffect,
};

pub(super) const TEMPLATE_FOREIGN: About = About {
    guards: "A template belongs to nobody, or to the Cluster of who points to it.",
    source: TEMPLATES,
    messages: &["{} {} belongs to Cluster {}"],
    way_out: "copy it, and point to the copy",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[
        On {
            guard: Guard::ControlPlane,
            changes: &[Change::Created, Change::Template],
        },
        On {
            guard: Guard::Worker,
            changes: &[Change::Created, Change::Template],
        },
    ],
    breach: Breach::ItsEffect,
};

pub(super) const WORKER_NOT_NEWER: About = About {
    guards: "A worker is never newer than an API server, and while a control plane is replaced the oldest one counts.",
    source: SKEW,
    messages: &["{} is newer than {}"],
    way_out: "wait until the whole control plane runs it, or upgrade the control plane first",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::Worker,
        changes: &[Change::Created, Change::Version],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const WORKER_NOT_TOO_OLD: About = About {
    guards: "A worker is at most three minors behind the newest API server, or two where its kubelet is older than v1.25.",
    source: SKEW,
    messages: &[
        "{} is {} minors behind {}, where the limit is {}",
        "{} is of another major than {}",
    ],
    way_out: "take a version that is nearer",
    default: Enforcement::Enforce,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::Worker,
        changes: &[Change::Created, Change::Version],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const KUBEADM_JOIN: About = About {
    guards: "A node joins with the kubeadm of the control plane's minor.",
    source: KUBEADM,
    messages: &["kubeadm {} is not of the same minor as {}"],
    way_out: "take a version of the control plane's minor; machines of another are held back by Cluster API",
    default: Enforcement::Warn,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::Worker,
        changes: &[Change::Created, Change::Version],
    }],
    breach: Breach::ItsEffect,
};

pub(super) const CONTROL_PLANE_KNOWN: About = About {
    guards: "A worker's version is judged by a control plane's that is known.",
    source: HERE,
    messages: &["the version of the control plane of Cluster {} is not known, so {} isn't held against it"],
    way_out: "nothing needs to be done if it is being created",
    default: Enforcement::Warn,
    status: Status::Invalid,
    on: &[On {
        guard: Guard::Worker,
        changes: &[Change::Created, Change::Version],
    }],
    breach: Breach::ItsEffect,
};
