//! The control plane can lose a machine: etcd and its components are healthy, and all of its machines are ready.

use instar_planner::{ControlPlane, Flavor, Observed, Problem, Snapshot};

use super::{cannot_be_read, ought_to_be_true};
use crate::finding::Finding;

/// Source: `controlplane/kubeadm/.../v1beta2/v1beta2_condition_consts.go` of Cluster API. Other providers have the
/// first one alone.
const CONDITIONS: [&str; 3] = ["Available", "EtcdClusterHealthy", "ControlPlaneComponentsHealthy"];

pub(super) fn look(snapshot: &Snapshot) -> Finding {
    match &snapshot.control_plane {
        None => Finding::NotApplicable("the Cluster has no control plane that can be seen".to_owned()),
        Some(Observed::Invalid(unreadable)) => Finding::Unknown(cannot_be_read(unreadable)),
        Some(Observed::Read(control_plane)) => {
            let conditions = CONDITIONS.map(|kind| ought_to_be_true(&control_plane.object, kind));
            match Finding::of_all(conditions.into_iter().chain([ready(control_plane)])) {
                Finding::Pass if says_nothing(control_plane) => Finding::NotApplicable(format!(
                    "{} {} reports neither how many machines it has nor how they are",
                    control_plane.object.kind, control_plane.object.name
                )),
                found => found,
            }
        }
    }
}

fn ready(control_plane: &ControlPlane) -> Finding {
    let object = &control_plane.object;
    match control_plane.replicas {
        Some(counts) if counts.ready < counts.desired => Finding::Fail(Problem {
            kind: object.kind.clone(),
            name: object.name.clone(),
            message: format!(
                "{} of {} machines of {} {} are ready",
                counts.ready, counts.desired, object.kind, object.name
            ),
        }),
        Some(_) | None => Finding::Pass,
    }
}

/// Whether nothing of a control plane is known that could be bad: a managed one has no machines.
fn says_nothing(control_plane: &ControlPlane) -> bool {
    match control_plane.flavor {
        Flavor::Kubeadm { .. } => false,
        Flavor::Other => control_plane.replicas.is_none(),
    }
}
