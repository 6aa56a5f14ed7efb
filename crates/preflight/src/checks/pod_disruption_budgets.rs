//! No PodDisruptionBudget holds a drain.

use std::collections::BTreeMap;

use instar_planner::{DrainTimeout, Node, Observed, PoolId, Problem, Snapshot};

use super::{read, unless_bounded};
use crate::{
    finding::Finding,
    workload::{Candidate, Extent, Facts, Probe, Workload},
};

pub(super) fn look(snapshot: &Snapshot, workload: Workload<'_>) -> Finding {
    let budgets = match read(workload, snapshot, Probe::Budgets, Facts::budgets) {
        Ok(budgets) => budgets,
        Err(finding) => return finding,
    };
    let drains = Drains::of(snapshot);
    let found = Finding::of_all(budgets.held.iter().map(|held| drains.judge(held)));
    let (of, extent) = budgets.bound.unwrap_or(("", Extent::Whole));
    unless_bounded(found, extent, of)
}

/// Which drain empties which Node.
struct Drains<'a> {
    pool_of_node: BTreeMap<&'a str, Option<&'a PoolId>>,
    timeouts: BTreeMap<PoolId, DrainTimeout>,
}

impl<'a> Drains<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let machines = snapshot.machines.iter().filter_map(Observed::read);
        let pool_of_node = machines.filter_map(|machine| match &machine.node {
            Node::Joined { name, .. } => Some((name.as_str(), machine.pool.as_ref())),
            Node::Absent => None,
        });
        let pools = snapshot.pools.iter().filter_map(Observed::read);
        let pools = pools.map(|pool| (PoolId::Workers(pool.object.name.clone()), pool.drain_timeout));
        let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
        let control_plane = control_plane.map(|control_plane| (PoolId::ControlPlane, control_plane.drain_timeout));
        Self {
            pool_of_node: pool_of_node.collect(),
            timeouts: pools.chain(control_plane).collect(),
        }
    }

    fn judge(&self, held: &Candidate) -> Finding {
        let Some(pool) = self.pool_of_node.get(held.node.as_str()) else {
            // No Machine has this Node, so nothing drains it.
            return Finding::Pass;
        };
        let timeout = pool.and_then(|pool| self.timeouts.get(pool)).copied();
        let machines = pool.map_or_else(|| "its Machine".to_owned(), |pool| format!("the machines of {pool}"));
        let because = because(held);
        match timeout.unwrap_or(DrainTimeout::Unknown) {
            DrainTimeout::None => Finding::Fail(problem(
                held,
                format!(
                    "{because}, and the drain of {machines} has no nodeDrainTimeoutSeconds, so it waits without an end"
                ),
            )),
            DrainTimeout::After { seconds } => Finding::Warn(problem(
                held,
                format!(
                    "{because}, so the drain of {machines} takes {seconds} s, and the Pod is then deleted all the same"
                ),
            )),
            DrainTimeout::Unknown => Finding::Unknown(problem(
                held,
                format!("{because}, and it isn't known how long the drain of {machines} waits"),
            )),
        }
    }
}

fn because(held: &Candidate) -> String {
    let Candidate {
        namespace,
        pod,
        node,
        budgets,
    } = held;
    match budgets.as_slice() {
        [budget] => format!(
            "PodDisruptionBudget {budget} of namespace {namespace} doesn't let Pod {pod} on Node {node} be evicted now"
        ),
        budgets => format!(
            "PodDisruptionBudgets {} of namespace {namespace} all select Pod {pod} on Node {node}, and a Pod with more \
             than one is never evicted",
            budgets.join(" and ")
        ),
    }
}

fn problem(held: &Candidate, message: String) -> Problem {
    Problem {
        kind: "PodDisruptionBudget".to_owned(),
        name: held.budgets.first().cloned().unwrap_or_default(),
        message,
    }
}
