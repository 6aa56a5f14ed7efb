//! The Nodes of the workload cluster run what a drain moves to them.

use instar_planner::{Problem, Snapshot};

use super::{names, read, unless_bounded};
use crate::{
    finding::Finding,
    workload::{Facts, Nodes, Probe, Workload},
};

pub(super) fn look(snapshot: &Snapshot, workload: Workload<'_>) -> Finding {
    match read(workload, snapshot, Probe::Nodes, Facts::nodes) {
        Ok(nodes) => unless_bounded(ready(nodes), nodes.extent, "Nodes"),
        Err(finding) => finding,
    }
}

fn ready(nodes: &Nodes) -> Finding {
    let Some(first) = nodes.not_ready.first.first() else {
        return if nodes.total == 0 {
            Finding::NotApplicable("the workload cluster has no Nodes".to_owned())
        } else {
            Finding::Pass
        };
    };
    let others = nodes.not_ready.first.iter().skip(1).map(|node| &*node.name);
    let others = names(others, nodes.not_ready.more());
    let others = if others.is_empty() {
        others
    } else {
        format!("; the others are {others}")
    };
    Finding::Fail(Problem {
        kind: "Node".to_owned(),
        name: first.name.clone(),
        message: format!(
            "{} of {} Nodes of the workload cluster are not ready; of Node {} {}{others}",
            nodes.not_ready.count, nodes.total, first.name, first.why
        ),
    })
}
