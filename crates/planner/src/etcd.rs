//! Which etcd a control plane runs, and which one it ran.

use instar_capi::ExternalEtcd;
use instar_catalog::etcd::Etcd;

use crate::{
    snapshot::{ControlPlane, Flavor},
    swap_history::PoolState,
};

/// The one that its spec says.
pub(crate) fn of_control_plane(control_plane: &ControlPlane) -> Etcd {
    match &control_plane.flavor {
        Flavor::Other => Etcd::Elsewhere,
        Flavor::Kubeadm {
            cluster_configuration, ..
        } => {
            let etcd = &cluster_configuration.etcd;
            match (&etcd.external, &etcd.local.image_tag) {
                (Some(ExternalEtcd {}), _) => Etcd::Elsewhere,
                (None, Some(tag)) => Etcd::Tag(tag.clone()),
                (None, None) => Etcd::Kubeadm(control_plane.version.clone()),
            }
        }
    }
}

/// The one that it had at another moment: an external one is so at each.
pub(crate) fn of_state(control_plane: &ControlPlane, state: &PoolState) -> Etcd {
    match of_control_plane(control_plane) {
        Etcd::Elsewhere => Etcd::Elsewhere,
        Etcd::Tag(_) | Etcd::Kubeadm(_) | Etcd::Unknown => match &state.etcd.tag {
            Some(tag) => Etcd::Tag(tag.clone()),
            None => Etcd::Kubeadm(state.version.clone()),
        },
    }
}
