//! Which etcd a control plane runs, and which one it ran.

use instar_catalog::etcd::Etcd;

use crate::{path::StartEtcd, snapshot::ControlPlane, swap_history::PoolState};

/// The one that its spec says.
pub(crate) fn of_control_plane(control_plane: &ControlPlane) -> Etcd {
    StartEtcd::of(&control_plane.flavor).at(&control_plane.version)
}

/// The one that it had at another moment: an external one is so at each.
pub(crate) fn of_state(control_plane: &ControlPlane, state: &PoolState) -> Etcd {
    StartEtcd::of_state(&control_plane.flavor, state).at(&state.version)
}
