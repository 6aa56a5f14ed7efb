//! The templates from which new machines are made are there: of a pool that lacks one, none would come up, long after
//! the control plane has moved.

use instar_planner::{ClusterKind, Lifecycle, Problem, Snapshot};

use super::{Rolled, cannot_be_read, rolled, template};
use crate::finding::Finding;

pub(super) fn look(snapshot: &Snapshot) -> Finding {
    match snapshot.cluster.kind {
        ClusterKind::Topology(_) => Finding::NotApplicable(
            "Cluster API makes the templates of a topology cluster, and says itself what it lacks".to_owned(),
        ),
        ClusterKind::Classic(_) => {
            Finding::of_all(rolled(snapshot).into_iter().map(|rolled| is_there(snapshot, &rolled)))
        }
    }
}

fn is_there(snapshot: &Snapshot, rolled: &Rolled<'_>) -> Finding {
    let Rolled { object, reference } = rolled;
    let fail = |what: &str| {
        Finding::Fail(Problem {
            kind: object.kind.clone(),
            name: object.name.clone(),
            message: format!(
                "{} {} refers to {} {}, which {what}",
                object.kind, object.name, reference.kind, reference.name
            ),
        })
    };
    match template(snapshot, reference) {
        None => fail("isn't there"),
        Some(Err(unreadable)) => Finding::Unknown(cannot_be_read(unreadable)),
        Some(Ok(template)) => match template.lifecycle {
            Lifecycle::Deleting => fail("is being deleted"),
            Lifecycle::Active | Lifecycle::Paused => Finding::Pass,
        },
    }
}
