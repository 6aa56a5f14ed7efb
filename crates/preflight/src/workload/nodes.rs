//! The Nodes of a workload cluster.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Extent, text::quoted};

/// A kubelet writes its status every five minutes, also when nothing changes.
/// Source: `nodeStatusReportFrequency` of kubernetes' `KubeletConfiguration`.
const STALE: SignedDuration = SignedDuration::from_mins(12);

/// How many names are kept of Nodes that have something in common.
const NAMED: usize = 3;

/// How many different kubelets are kept apart. A cluster in the middle of an upgrade has two or three.
const MOST_KUBELETS: usize = 32;

/// Cluster API writes both on the Node of a Machine, and the second one on those of a MachinePool.
/// Source: `machine_controller_noderef.go`, `machinepool_controller_noderef.go`.
const MACHINE: &str = "cluster.x-k8s.io/machine";
const OWNER_KIND: &str = "cluster.x-k8s.io/owner-kind";

/// What is read of a Node.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeView {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
    #[serde(default)]
    node_info: Option<Info>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    last_heartbeat_time: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    #[serde(default)]
    kubelet_version: String,
}

/// The Nodes of a cluster, as far as checks ask of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    pub total: usize,
    /// Those that are not ready: how many, and of the first ones why.
    pub not_ready: Few<NotReady>,
    /// Which kubelets there are, by version and by who replaces the Node.
    pub kubelets: BTreeMap<(String, ManagedNode), Few<String>>,
    /// Nodes whose kubelets are of still other versions.
    pub other_kubelets: Few<String>,
    pub extent: Extent,
}

/// A Node that isn't ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    pub name: String,
    pub why: String,
}

/// Who replaces a Node when its version changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManagedNode {
    /// Cluster API, since a Machine or a MachinePool owns it.
    ByClusterApi,
    /// Nobody that Instar knows.
    ByNobody,
}

/// How many there are, and the first ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Few<T> {
    pub count: usize,
    pub first: Vec<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self {
            count: 0,
            first: Vec::new(),
        }
    }
}

impl<T> Few<T> {
    pub(super) fn push(&mut self, one: impl FnOnce() -> T) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(one());
        }
    }

    /// How many there are beside the first ones.
    #[must_use]
    pub const fn more(&self) -> usize {
        self.count.saturating_sub(self.first.len())
    }
}

impl Nodes {
    /// Nodes, of which none was seen yet.
    #[must_use]
    pub fn none() -> Self {
        Self {
            total: 0,
            not_ready: Few::default(),
            kubelets: BTreeMap::new(),
            other_kubelets: Few::default(),
            extent: Extent::Whole,
        }
    }

    /// Adds a Node as it is at a time.
    pub fn add(&mut self, node: NodeView, now: Timestamp) {
        self.total += 1;
        let NodeView { metadata, status } = node;
        if let Some(why) = why_not_ready(&status, now) {
            self.not_ready.push(|| NotReady {
                name: quoted(&metadata.name),
                why,
            });
        }
        let annotations = metadata.annotations.unwrap_or_default();
        let managed = if annotations.contains_key(MACHINE) || annotations.contains_key(OWNER_KIND) {
            ManagedNode::ByClusterApi
        } else {
            ManagedNode::ByNobody
        };
        let version = status.node_info.map(|info| info.kubelet_version).unwrap_or_default();
        let kubelet = (quoted(&version), managed);
        let is_full = self.kubelets.len() >= MOST_KUBELETS && !self.kubelets.contains_key(&kubelet);
        let nodes = if is_full {
            &mut self.other_kubelets
        } else {
            self.kubelets.entry(kubelet).or_default()
        };
        nodes.push(|| quoted(&metadata.name));
    }
}

/// Why a Node doesn't run anything new; none where it does.
fn why_not_ready(status: &Status, now: Timestamp) -> Option<String> {
    let conditions = status.conditions.iter().flatten();
    let Some(ready) = conditions.into_iter().find(|condition| condition.kind == "Ready") else {
        return Some("it has no condition Ready".to_owned());
    };
    if ready.status != "True" {
        let said = [ready.reason.as_deref(), ready.message.as_deref()];
        let said: Vec<&str> = said.into_iter().flatten().filter(|text| !text.is_empty()).collect();
        let because = if said.is_empty() { "" } else { ", " };
        return Some(format!(
            "Ready is {}{because}{}",
            quoted(&ready.status),
            quoted(&said.join(": "))
        ));
    }
    // While kube-controller-manager is down, nobody says that a kubelet is gone.
    let heartbeat = ready.last_heartbeat_time?;
    (now.duration_since(heartbeat) > STALE)
        .then(|| format!("Ready is True, and its kubelet has not reported since {heartbeat}"))
}
