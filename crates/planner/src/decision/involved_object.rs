//! Which object a reason is about.

use instar_capi::WorkerKind;

use super::Waiting;
use crate::{
    addon::AddonOwner,
    failure::Failure,
    observed::Observed,
    path::NoPath,
    pool_id::PoolId,
    restart::NoRestart,
    snapshot::{Snapshot, TemplateRef},
    way_back::NoWayBack,
};

/// The object that a user should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvolvedObject<'a> {
    Cluster,
    /// The ClusterUpgrade.
    Upgrade,
    /// The control plane, a MachineDeployment or a MachinePool.
    Pool(&'a PoolId),
    /// A row of the catalog, by name.
    Release(&'a str),
    /// A Machine, by name.
    Machine(&'a str),
    Template(&'a TemplateRef),
    /// Workers that come as something else than a pool, by name.
    Workers(WorkerKind, &'a str),
    /// An object whose kind is known as text.
    Object {
        kind: &'a str,
        name: &'a str,
    },
}

impl Waiting {
    /// What it is about; absent where no single object is.
    #[must_use]
    pub const fn involved_object(&self) -> Option<InvolvedObject<'_>> {
        match self {
            Self::Paused { kind, name }
            | Self::Deleting { kind, name }
            | Self::TopologyOwned { kind, name }
            | Self::PauseAwaited { kind, name, .. }
            | Self::ClusterApi { kind, name, .. } => Some(InvolvedObject::Object {
                kind: kind.as_str(),
                name: name.as_str(),
            }),
            Self::Unreadable(object) => Some(InvolvedObject::Object {
                kind: object.kind.as_str(),
                name: object.name.as_str(),
            }),
            Self::ApprovalMissing { .. } | Self::OtherVersion { .. } => Some(InvolvedObject::Upgrade),
            Self::PreflightFailed { problem, .. } | Self::PreflightUnknown { problem, .. } => {
                Some(InvolvedObject::Object {
                    kind: problem.kind.as_str(),
                    name: problem.name.as_str(),
                })
            }
            Self::NoControlPlane
            | Self::Finishing
            | Self::NotProvisioned
            | Self::TopologyNotReconciled { .. }
            | Self::HookBlocking { .. }
            | Self::StartBlocked { .. }
            | Self::UpgradeDeferred { .. }
            | Self::VersionEdited { .. }
            | Self::Superseded { .. }
            | Self::UpgradeUnderWay { .. }
            | Self::NodesSettling { .. }
            | Self::Landing { .. }
            | Self::NoLanding { .. }
            | Self::SetAgain { .. } => Some(InvolvedObject::Cluster),
            Self::MachinePoolRollingOut { name, .. } => {
                Some(InvolvedObject::Workers(WorkerKind::MachinePool, name.as_str()))
            }
            // What is missing has no name, and a gate is no object.
            Self::NoTarget(_) | Self::NoRow { .. } | Self::GateClosed { .. } | Self::AddonsUnseen(_) => None,
            Self::Refused(write) => Some(InvolvedObject::Object {
                kind: write.kind.as_str(),
                name: write.name.as_str(),
            }),
            Self::AddonClosed(closed) => Some(InvolvedObject::Object {
                kind: closed.kind.as_str(),
                name: closed.object.as_str(),
            }),
            Self::NoRelease { release, .. } | Self::NoImage { release, .. } => {
                Some(InvolvedObject::Release(release.as_str()))
            }
            Self::NoPath(reason) => no_path(reason),
            Self::NoWayBack(reason) => Some(no_way_back(reason)),
            Self::NoRestart(reason) => Some(no_restart(reason)),
            Self::TemplateNotVisible { template, .. }
            | Self::NameTaken { template, .. }
            | Self::TemplateDeleting { template, .. }
            | Self::ValueDropped { template, .. }
            | Self::Retained { template, .. } => Some(InvolvedObject::Template(template)),
            Self::NoBootstrapTemplate { pool }
            | Self::ValueMisfit { pool, .. }
            | Self::TemplateRefused { pool, .. }
            | Self::PoolRollingOut { pool, .. }
            | Self::PoolHeld { pool, .. }
            | Self::ReleaseAwaited { pool, .. }
            | Self::PoolToFollow { pool, .. }
            | Self::OnDelete { pool, .. }
            | Self::PoolAhead { pool, .. }
            | Self::PinOutOfReach { pool, .. }
            | Self::ForeignWriter { pool, .. }
            | Self::Reverted { pool, .. }
            | Self::Drifted { pool, .. }
            | Self::RolloutPaused { pool, .. } => Some(InvolvedObject::Pool(pool)),
            Self::SourceMismatch { .. } | Self::ControlPlaneRollingOut { .. } | Self::ControlPlaneNotReady { .. } => {
                Some(InvolvedObject::Pool(&PoolId::ControlPlane))
            }
            Self::MachineNotReady { name, .. }
            | Self::ControlPlaneStuck { machine: name, .. }
            | Self::NodeVersion { machine: name, .. } => Some(InvolvedObject::Machine(name.as_str())),
            Self::NodeNotReady(node) => Some(InvolvedObject::Machine(node.machine.as_str())),
            Self::Failed(failed) => Some(failed_object(&failed.failure)),
            Self::WorkersBehind { kind, name, .. }
            | Self::LeftToUser { kind, name, .. }
            | Self::NoVersion { kind, name } => Some(InvolvedObject::Workers(*kind, name.as_str())),
        }
    }
}

const fn failed_object(failure: &Failure) -> InvolvedObject<'_> {
    match failure {
        Failure::StalledStep { pool, .. } => InvolvedObject::Pool(pool),
        Failure::AddonFailed { .. } => InvolvedObject::Upgrade,
        Failure::VerificationFailed { machine, .. } | Failure::CanaryFailed { machine, .. } => {
            InvolvedObject::Machine(machine.as_str())
        }
    }
}

const fn no_path(reason: &NoPath) -> Option<InvolvedObject<'_>> {
    match reason {
        NoPath::Downgrade { .. } | NoPath::OtherMajor { .. } => Some(InvolvedObject::Pool(&PoolId::ControlPlane)),
        NoPath::Gap { .. } => None,
        NoPath::UpgradesFrom { release, .. } | NoPath::NoImage { release } => {
            Some(InvolvedObject::Release(release.as_str()))
        }
        NoPath::Etcd(step) => Some(InvolvedObject::Release(step.release.as_str())),
    }
}

const fn no_restart(reason: &NoRestart) -> InvolvedObject<'_> {
    match reason {
        NoRestart::Topology { .. } | NoRestart::Moved { .. } => InvolvedObject::Cluster,
        NoRestart::ControlPlane { kind, name, .. } => InvolvedObject::Object {
            kind: kind.as_str(),
            name: name.as_str(),
        },
        NoRestart::OtherVersion { .. } | NoRestart::NotStarted { .. } => InvolvedObject::Upgrade,
        NoRestart::OtherMinor { pool, .. } | NoRestart::Scheduled { pool, .. } | NoRestart::Unset { pool, .. } => {
            InvolvedObject::Pool(pool)
        }
        NoRestart::MachinePool { name } => InvolvedObject::Workers(WorkerKind::MachinePool, name.as_str()),
    }
}

const fn no_way_back(reason: &NoWayBack) -> InvolvedObject<'_> {
    match reason {
        NoWayBack::Topology => InvolvedObject::Cluster,
        NoWayBack::NothingChanged { .. }
        | NoWayBack::Spent { .. }
        | NoWayBack::AddonsUnknown { .. }
        | NoWayBack::Restarted { .. } => InvolvedObject::Upgrade,
        NoWayBack::EtcdMinor { .. } | NoWayBack::ControlPlaneMinor { .. } => {
            InvolvedObject::Pool(&PoolId::ControlPlane)
        }
        NoWayBack::OlderMachines { pool, .. }
        | NoWayBack::TooFarBehind { pool, .. }
        | NoWayBack::ControlPlaneRolls { pool, .. }
        | NoWayBack::Changed { pool } => InvolvedObject::Pool(pool),
        NoWayBack::NewerWorkers { kind, name, .. } => InvolvedObject::Object {
            kind: kind.as_str(),
            name: name.as_str(),
        },
        NoWayBack::TemplateGone { template, .. } => InvolvedObject::Template(template),
        NoWayBack::MachinePool { name, because: _ } => InvolvedObject::Workers(WorkerKind::MachinePool, name.as_str()),
        NoWayBack::Addon { id, .. } => match &id.owner {
            AddonOwner::Release(name) => InvolvedObject::Release(name.as_str()),
            AddonOwner::Policy(_) | AddonOwner::Kubernetes => InvolvedObject::Upgrade,
        },
    }
}

impl<'a> InvolvedObject<'a> {
    /// Its kind and its name. The snapshot is the one that the reason was found in.
    #[must_use]
    pub fn kind_and_name(self, snapshot: &'a Snapshot) -> (&'a str, &'a str) {
        match self {
            Self::Cluster => ("Cluster", &snapshot.cluster.name),
            Self::Upgrade => ("ClusterUpgrade", &snapshot.upgrade_spec.upgrade),
            Self::Pool(PoolId::ControlPlane) => control_plane(snapshot),
            Self::Pool(PoolId::Workers(name)) => ("MachineDeployment", name),
            Self::Pool(PoolId::MachinePool(name)) => ("MachinePool", name),
            Self::Release(name) => ("KubernetesRelease", name),
            Self::Machine(name) => ("Machine", name),
            Self::Template(template) => (&template.kind, &template.name),
            Self::Workers(kind, name) => (kind.as_str(), name),
            Self::Object { kind, name } => (kind, name),
        }
    }
}

fn control_plane(snapshot: &Snapshot) -> (&str, &str) {
    match &snapshot.control_plane {
        Some(Observed::Read(control_plane)) => (&control_plane.object.kind, &control_plane.object.name),
        Some(Observed::Invalid(object)) => (&object.kind, &object.name),
        None => ("Cluster", &snapshot.cluster.name),
    }
}
