//! New machines of the same templates and versions: the time that counts, and why something isn't restarted.

use std::fmt;

use instar_api::HealthReason;
use instar_domain::KubeVersion;
use jiff::Timestamp;

use crate::{
    operation::Operation,
    pool_id::PoolId,
    snapshot::{Cluster, Machine, Snapshot},
    upgrade_spec::UpgradeSpec,
};

/// Why something isn't restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRestart {
    /// The topology controller would set back what is written into its objects.
    Topology { namespace: String, cluster: String },
    /// A control plane of another provider than kubeadm.
    ControlPlane {
        namespace: String,
        kind: String,
        name: String,
    },
    /// What is asked for isn't what runs.
    OtherVersion { target: String, present: KubeVersion },
    /// Cluster API would make no machine for a pool.
    OtherMinor {
        pool: PoolId,
        version: KubeVersion,
        control_plane: KubeVersion,
    },
    /// Another client asks for new machines at a time that has not come.
    Scheduled { pool: PoolId, after: Timestamp },
    /// Another client has set back the time that Instar had written.
    Unset { pool: PoolId, after: Timestamp },
    /// Nothing of Cluster API's replaces the machines of a MachinePool.
    MachinePool { name: String },
    /// It isn't written down yet when the upgrade was first seen.
    NotStarted { upgrade: String },
    /// The Cluster was created since, as `clusterctl move` and a restore do: all that there was is created again with it, so
    /// nothing says what was replaced.
    Moved {
        namespace: String,
        cluster: String,
        /// When the Cluster was created.
        created: Timestamp,
        /// When the restart was asked for.
        asked: Timestamp,
        upgrade: String,
        /// Its `spec.retry` that would ask for it once more.
        retry: u32,
    },
}

impl NoRestart {
    pub(crate) fn of_topology(cluster: &Cluster) -> Self {
        Self::Topology {
            namespace: cluster.namespace.clone(),
            cluster: cluster.name.clone(),
        }
    }

    /// Why a restart of this Cluster isn't known to be done, whatever its Machines say of themselves.
    pub(crate) fn of_moved(snapshot: &Snapshot, after: Timestamp) -> Option<Self> {
        let (cluster, upgrade_spec) = (&snapshot.cluster, &snapshot.upgrade_spec);
        let created = cluster.created.filter(|created| *created > after)?;
        Some(Self::Moved {
            namespace: cluster.namespace.clone(),
            cluster: cluster.name.clone(),
            created,
            asked: after,
            upgrade: upgrade_spec.upgrade.clone(),
            retry: upgrade_spec.retry.saturating_add(1),
        })
    }

    /// Whether nothing is restarted before a user acts.
    #[must_use]
    pub const fn refuses(&self) -> bool {
        match self {
            Self::Topology { .. }
            | Self::ControlPlane { .. }
            | Self::OtherVersion { .. }
            | Self::OtherMinor { .. }
            | Self::Moved { .. } => true,
            Self::Scheduled { .. } | Self::Unset { .. } | Self::MachinePool { .. } | Self::NotStarted { .. } => false,
        }
    }

    pub(crate) const fn health_reason(&self) -> HealthReason {
        match self {
            Self::MachinePool { .. } => HealthReason::NotRestarted,
            Self::Topology { .. }
            | Self::ControlPlane { .. }
            | Self::OtherVersion { .. }
            | Self::OtherMinor { .. }
            | Self::Scheduled { .. }
            | Self::Unset { .. }
            | Self::NotStarted { .. }
            | Self::Moved { .. } => HealthReason::NoRestart,
        }
    }
}

impl fmt::Display for NoRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topology { namespace, cluster } => write!(
                f,
                "the operation Restart is for classic Clusters, and Cluster {cluster} has spec.topology: for new machines of the workers, run clusterctl alpha rollout restart -n {namespace} machinedeployment/NAME for one MachineDeployment after the other; for new machines of the control plane, set spec.topology.controlPlane.rollout.after of the Cluster to the present time"
            ),
            Self::ControlPlane { namespace, kind, name } => write!(
                f,
                "the operation Restart is for control planes of kubeadm, and {name} is a {kind}: for new machines of the workers, run clusterctl alpha rollout restart -n {namespace} machinedeployment/NAME for one MachineDeployment after the other; for new machines of the control plane, do what its provider says"
            ),
            Self::OtherVersion { target, present } => write!(
                f,
                "spec.target: the Cluster runs {present} and not {target}: the operation Restart changes no version; set spec.target to {present}, or create a ClusterUpgrade with the operation Upgrade"
            ),
            Self::OtherMinor {
                pool,
                version,
                control_plane,
            } => write!(
                f,
                "{pool} is at {version}, and Cluster API makes no machine of that version while the control plane is at {control_plane}: upgrade it first, or leave it out by hold: true in spec.pools"
            ),
            Self::Scheduled { pool, after } => write!(
                f,
                "spec.rollout.after of {pool} is {after}, which has not come: remove it, or wait until then"
            ),
            Self::Unset { pool, after } => write!(
                f,
                "{pool}: spec.rollout.after was changed by another client after Instar had set it, before all machines were replaced: set it to {after} again, or delete the ClusterUpgrade"
            ),
            Self::MachinePool { name } => write!(
                f,
                "MachinePool {name} keeps its machines, since Cluster API has no rollout.after for MachinePools: a user replaces them as their provider says"
            ),
            Self::Moved {
                namespace,
                cluster,
                created,
                asked,
                upgrade,
                retry,
            } => write!(
                f,
                "Cluster {cluster} was created at {created}, after the restart was asked for at {asked}: clusterctl move and a restore create Machines and MachineSets with it, so nothing says which of them were replaced before; to replace all of them, ask once more: kubectl -n {namespace} patch clusterupgrade {upgrade} --type=merge -p '{{\"spec\":{{\"retry\":{retry}}}}}'"
            ),
            Self::NotStarted { upgrade } => write!(
                f,
                "ClusterUpgrade {upgrade} has no time yet from which machines are new: the controller writes it next"
            ),
        }
    }
}

/// The time before which machines are replaced: the second in which Instar first saw the ClusterUpgrade. Cluster API keeps
/// times in whole seconds, and replaces what was made before the second. To it, what `clusterctl move` creates elsewhere was
/// made then, so that of a Cluster that is younger nothing is known ([`NoRestart::Moved`]).
pub(crate) fn time(upgrade_spec: &UpgradeSpec) -> Option<Timestamp> {
    match upgrade_spec.operation {
        Operation::Restart => {}
        Operation::Upgrade | Operation::Abort | Operation::Rollback(_) | Operation::Refresh => return None,
    }
    Timestamp::from_second(upgrade_spec.started?.as_second()).ok()
}

/// Whether a machine is one that a restart replaces. Of a control plane's the time is always known.
pub(crate) fn is_before(machine: &Machine, after: Timestamp) -> bool {
    match machine.pool {
        Some(PoolId::ControlPlane) => machine.rollout_time.is_none_or(|time| time < after),
        Some(PoolId::Workers(_) | PoolId::MachinePool(_)) | None => {
            machine.rollout_time.is_some_and(|time| time < after)
        }
    }
}

/// Whether a machine is one that the restart which is asked for replaces.
pub(crate) fn is_replaced(snapshot: &Snapshot, machine: &Machine) -> bool {
    let is_held = match &machine.pool {
        Some(PoolId::Workers(name)) => snapshot.upgrade_spec.pools.contains_key(name),
        Some(PoolId::ControlPlane) => false,
        Some(PoolId::MachinePool(_)) | None => true,
    };
    !is_held && time(&snapshot.upgrade_spec).is_some_and(|after| is_before(machine, after))
}
