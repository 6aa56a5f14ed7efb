//! Why something can't be taken back, in words for people.

use std::fmt;

use instar_domain::{JsonPointer, KubeVersion};

use crate::{addon::AddonId, left_because::LeftBecause, pool_id::PoolId, snapshot::TemplateRef};

/// Why a pool can't go back to what it was before an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoWayBack {
    /// Cluster API's topology controller owns the objects, and takes no version back.
    Topology,
    /// No object says that the upgrade changed it.
    NothingChanged {
        /// The upgrade.
        upgrade: String,
    },
    /// The control plane runs an etcd of a newer minor version, and no member of it goes back.
    EtcdMinor {
        /// Its image tag before, as far as it is known.
        before: String,
        /// The one that it has.
        present: String,
        workers: WorkersAlone,
    },
    /// API servers of a newer minor version have run, and no policy lets them go back.
    ControlPlaneMinor {
        present: KubeVersion,
        before: KubeVersion,
        workers: WorkersAlone,
    },
    /// Cluster API makes no machine that is a minor version older than the control plane.
    OlderMachines {
        pool: PoolId,
        before: KubeVersion,
        control_plane: KubeVersion,
    },
    /// A pool would be too many minor versions behind the control plane.
    TooFarBehind {
        pool: PoolId,
        before: KubeVersion,
        control_plane: KubeVersion,
    },
    /// Cluster API makes no machine for workers while the control plane rolls out.
    ControlPlaneRolls { pool: PoolId, control_plane: KubeVersion },
    /// Workers are newer than the control plane would be.
    NewerWorkers {
        /// Their kind.
        kind: String,
        name: String,
        version: KubeVersion,
        /// Where the control plane would go.
        before: KubeVersion,
    },
    /// The template that a pool had is gone, and can't be made again.
    TemplateGone {
        pool: PoolId,
        template: TemplateRef,
        because: TemplateGone,
    },
    /// What is asked for was taken back.
    Spent {
        target: String,
        /// The rollback.
        by: String,
        /// Of the Cluster.
        namespace: String,
        /// The upgrade that asks for it.
        upgrade: String,
        /// Its `spec.retry` that would ask for it once more.
        retry: u32,
    },
    /// It was a restart, which has changed no version and no template.
    Restarted {
        /// The upgrade.
        upgrade: String,
    },
    /// What another client set since isn't what the upgrade had set.
    Changed { pool: PoolId },
    /// A MachinePool that the upgrade has changed stays.
    MachinePool { name: String, because: MachinePoolStays },
    /// What was set for an add-on stays.
    Addon { id: AddonId, because: AddonStays },
    /// The record is gone that says what was there before add-ons were set.
    AddonsUnknown {
        /// The upgrade.
        upgrade: String,
    },
}

/// Whether the operation `RollbackWorkers` is left where the control plane can't go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkersAlone {
    CanGoBack,
    /// Something stands in their way too, or the control plane's turn has come.
    Stay,
}

/// Why what was set for an add-on stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddonStays {
    /// Its release says so.
    Keep,
    /// Its object wasn't there before.
    NoObject,
    /// What was there before is larger than is kept.
    TooLarge,
    /// The rollback says so.
    Asked,
}

/// Why a MachinePool stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachinePoolStays {
    /// Nothing says what its infrastructure had before: values too large to be kept, an earlier version of Instar, or
    /// another client that has taken the annotation away.
    Unknown,
    /// Another client has changed its version since.
    Changed,
    /// Another client has changed a value of its infrastructure since.
    ValueChanged { pointer: JsonPointer },
    /// Its two objects can't be changed while they are paused.
    Left(LeftBecause),
    /// Machines of a minor version that is older than the control plane's don't join it.
    OlderMachines {
        before: KubeVersion,
        control_plane: KubeVersion,
    },
}

/// Why a template that is gone can't be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateGone {
    /// Instar didn't make it.
    NotMinted,
    /// What would be made from what is there now is another one.
    Differs,
}

impl WorkersAlone {
    /// What to do, before something else.
    fn remedy(self, then: &str) -> String {
        match self {
            Self::CanGoBack => format!("take the workers alone back by the operation RollbackWorkers{then}"),
            Self::Stay => String::new(),
        }
    }
}

impl NoWayBack {
    /// Whether nothing is taken back before a user acts; else the others go back without this one.
    #[must_use]
    pub const fn refuses(&self) -> bool {
        match self {
            Self::MachinePool { .. } | Self::Addon { .. } | Self::AddonsUnknown { .. } => false,
            Self::Topology
            | Self::ControlPlaneRolls { .. }
            | Self::Changed { .. }
            | Self::Spent { .. }
            | Self::Restarted { .. }
            | Self::NothingChanged { .. }
            | Self::EtcdMinor { .. }
            | Self::ControlPlaneMinor { .. }
            | Self::OlderMachines { .. }
            | Self::TooFarBehind { .. }
            | Self::NewerWorkers { .. }
            | Self::TemplateGone { .. } => true,
        }
    }
}

impl fmt::Display for NoWayBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topology => f.write_str(
                "a topology Cluster isn't taken back, since Cluster API takes no version back: set operation: Abort in the upgrade, which ends it where the control plane stands (before its first step, that is where it was), or go forward to a newer patch or to another release",
            ),
            Self::NothingChanged { upgrade } => write!(
                f,
                "no object of the Cluster says that ClusterUpgrade {upgrade} changed it: only the last upgrade of a Cluster can be taken back"
            ),
            Self::EtcdMinor {
                before,
                present,
                workers,
            } => write!(
                f,
                "etcd {present} has run, and its data can't be read by {before}: {}restore a snapshot of etcd, or go forward",
                workers.remedy(", ")
            ),
            Self::ControlPlaneMinor {
                present,
                before,
                workers,
            } => write!(
                f,
                "API servers of {present} have run, and Kubernetes supports no way back to {before}: {}allow it by spec.rollback.controlPlaneMinor of an UpgradePolicy",
                workers.remedy(", or ")
            ),
            Self::OlderMachines {
                pool,
                before,
                control_plane,
            } => write!(
                f,
                "Cluster API makes no machine of {before} for {pool} while the control plane is at {control_plane}, since kubeadm joins no other minor version: go forward to another release, or, if its images bring a kubeadm that can join, set the annotation machineset.cluster.x-k8s.io/skip-preflight-checks: KubeadmVersionSkew on it"
            ),
            Self::TooFarBehind {
                pool,
                before,
                control_plane,
            } => write!(
                f,
                "{pool} was at {before}, which is too many minor versions behind the control plane at {control_plane}: go forward to another release, or take all of it back by the operation Rollback"
            ),
            Self::ControlPlaneRolls { pool, control_plane } => write!(
                f,
                "the control plane still goes to {control_plane}, and Cluster API makes no machine for {pool} meanwhile: wait for it, or take all of it back by the operation Rollback"
            ),
            Self::Spent {
                target,
                by,
                namespace,
                upgrade,
                retry,
            } => write!(
                f,
                "{target} was taken back by ClusterUpgrade {by}, and isn't gone to again by itself: name another target, or ask for it once more: kubectl -n {namespace} patch clusterupgrade {upgrade} --type=merge -p '{{\"spec\":{{\"retry\":{retry}}}}}'"
            ),
            Self::NewerWorkers {
                kind,
                name,
                version,
                before,
            } => write!(
                f,
                "{kind} {name} runs {version}, which is newer than {before}, where the control plane would go: take it back first"
            ),
            Self::TemplateGone {
                pool,
                template,
                because,
            } => {
                let because = match because {
                    TemplateGone::NotMinted => "Instar didn't make it",
                    TemplateGone::Differs => "what can be made of the present one is another one",
                };
                write!(
                    f,
                    "{} {}, which {pool} had before, is gone and {because}: create it again",
                    template.kind, template.name
                )
            }
            Self::Changed { pool } => write!(
                f,
                "another client has changed the version or the template of {pool} since the upgrade: set back what it changed, or leave a MachineDeployment out by hold: true in spec.pools"
            ),
            Self::Restarted { upgrade } => write!(
                f,
                "ClusterUpgrade {upgrade} is a restart, which has changed no version and no template: there is nothing to go back to; to stop it before its end, set its spec.paused or delete it"
            ),
            Self::MachinePool { name, because } => write!(
                f,
                "MachinePool {name} stays as the upgrade has set it, since {because}: set it back yourself, if it should go back"
            ),
            Self::Addon { id, because } => write!(f, "{id} stays as the upgrade has set it, since {because}"),
            Self::AddonsUnknown { upgrade } => write!(
                f,
                "what add-ons had before isn't known, since ClusterUpgrade {upgrade} is gone, whose annotation said so: what was set for them stays, and a user sets it back"
            ),
        }
    }
}

impl fmt::Display for MachinePoolStays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("it is changed in place, and what its infrastructure had before is not known"),
            Self::Changed => f.write_str("another client has changed its version since"),
            Self::ValueChanged { pointer } => {
                write!(f, "another client has changed {pointer} of its infrastructure since")
            }
            Self::Left(because) => write!(f, "{because}"),
            Self::OlderMachines { before, control_plane } => {
                write!(f, "kubeadm of {before} joins no control plane of {control_plane}")
            }
        }
    }
}

impl fmt::Display for AddonStays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "write.onRollback of it is Keep",
            Self::NoObject => "its object was not there before: change the object yourself, if it should go back",
            Self::TooLarge => {
                "what was there before is larger than 4 KiB, or than is kept of all: set it back yourself"
            }
            Self::Asked => "spec.keepAddons of the rollback names it",
        })
    }
}
