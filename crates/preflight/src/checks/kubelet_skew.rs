//! The kubelets can run against the API servers that there are, and those that no upgrade replaces against the target.

use instar_catalog::Resolved;
use instar_domain::{
    KubeVersion,
    skew::{self, SkewViolation},
};
use instar_planner::{ControlPlane, Observed, Problem, Snapshot, Target};
use jiff::tz::TimeZone;

use super::{names, read, unless_bounded};
use crate::{
    finding::Finding,
    workload::{Facts, Few, ManagedNode, Nodes, Probe, Workload},
};

pub(super) fn look(snapshot: &Snapshot, workload: Workload<'_>) -> Finding {
    let nodes = match read(workload, snapshot, Probe::Nodes, Facts::nodes) {
        Ok(nodes) => nodes,
        Err(finding) => return finding,
    };
    let Some(control_plane) = snapshot.control_plane.as_ref().and_then(Observed::read) else {
        return Finding::NotApplicable("the Cluster has no control plane that can be seen".to_owned());
    };
    let versions = Versions::of(snapshot, control_plane);
    let kubelets = nodes.kubelets.iter();
    let found = kubelets.map(|((version, managed), nodes)| versions.judge(version, *managed, nodes));
    unless_bounded(Finding::of_all(found.chain([others(nodes)])), nodes.extent, "Nodes")
}

/// What kubelets run against.
struct Versions<'a> {
    /// The lowest that an API server runs, as far as that is known.
    lowest: &'a KubeVersion,
    /// The highest that any will run; none where nothing moves.
    target: Option<KubeVersion>,
}

impl<'a> Versions<'a> {
    fn of(snapshot: &Snapshot, control_plane: &'a ControlPlane) -> Self {
        let observed = control_plane.observed.iter();
        Self {
            lowest: observed.min().unwrap_or(&control_plane.version),
            target: target(snapshot, &control_plane.version),
        }
    }

    fn judge(&self, version: &str, managed: ManagedNode, nodes: &Few<String>) -> Finding {
        let Ok(kubelet) = version.parse::<KubeVersion>() else {
            return unreadable(version, nodes);
        };
        // How far behind an API server a kubelet of a Machine may fall, each step of the upgrade asks again.
        let newer = skew::kubelet(&kubelet, self.lowest);
        let too_old = match managed {
            ManagedNode::ByClusterApi => Ok(()),
            ManagedNode::ByNobody => self
                .target
                .as_ref()
                .map_or(Ok(()), |target| skew::kubelet(&kubelet, target)),
        };
        match (newer, too_old) {
            (Err(violation), _) => against(version, nodes, &violation, ""),
            (Ok(()), Err(violation)) => against(
                version,
                nodes,
                &violation,
                " after this upgrade, and no Machine and no MachinePool owns it, so nothing replaces it",
            ),
            (Ok(()), Ok(())) => Finding::Pass,
        }
    }
}

/// The version that the control plane ends at. Where none is found, the upgrade is held for that.
fn target(snapshot: &Snapshot, present: &KubeVersion) -> Option<KubeVersion> {
    let catalog = &snapshot.catalog;
    match &snapshot.upgrade_spec.target {
        Target::Release(name) => catalog.named(name).map(|release| release.version().clone()),
        Target::Text(text) => {
            let today = snapshot.now.to_zoned(TimeZone::UTC).date();
            match catalog.resolve(text, Some(present), None, today) {
                Ok(Resolved::Release(release)) => Some(release.version().clone()),
                Ok(Resolved::Unchanged) | Err(_) => None,
            }
        }
    }
}

fn against(version: &str, nodes: &Few<String>, violation: &SkewViolation, when: &str) -> Finding {
    let kubelets = if nodes.count == 1 {
        "the kubelet of Node"
    } else {
        "the kubelets of Nodes"
    };
    let are = if nodes.count == 1 { "is" } else { "are" };
    let named = names(nodes.first.iter().map(String::as_str), nodes.more());
    Finding::Fail(of_node(
        nodes,
        format!("{kubelets} {named} ({version}) {are} {violation}{when}"),
    ))
}

fn unreadable(version: &str, nodes: &Few<String>) -> Finding {
    let named = names(nodes.first.iter().map(String::as_str), nodes.more());
    Finding::Unknown(of_node(
        nodes,
        format!("\"{version}\", the version of the kubelet of {named}, is not a Kubernetes version"),
    ))
}

fn others(nodes: &Nodes) -> Finding {
    let others = &nodes.other_kubelets;
    if others.count == 0 {
        return Finding::Pass;
    }
    let named = names(others.first.iter().map(String::as_str), others.more());
    Finding::Unknown(of_node(
        others,
        format!("the kubelets are of more versions than are told apart: {named} were not looked at"),
    ))
}

fn of_node(nodes: &Few<String>, message: String) -> Problem {
    Problem {
        kind: "Node".to_owned(),
        name: nodes.first.first().cloned().unwrap_or_default(),
        message,
    }
}
