//! The Pods that PodDisruptionBudgets hold.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;

use super::{Extent, text::quoted};

/// Pods with this label are left alone by Cluster API's drain. Source: `PodDrainLabel` of its API.
const DRAIN: &str = "cluster.x-k8s.io/drain";

/// How many budgets of one Pod are named: two are already one too many.
const NAMED: usize = 3;

/// How many Pods are kept whose evictions may be tried. Whoever runs the cluster says how many there are.
const MOST_CANDIDATES: usize = 2_000;

/// What a kubelet runs from its own files.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What is read of a `PodDisruptionBudget`.
#[derive(Debug, Clone, Deserialize)]
pub struct BudgetView {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: String,
    name: String,
    generation: i64,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    controller: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    selector: Option<LabelSelector>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: i64,
    disruptions_allowed: i64,
    expected_pods: i64,
}

/// What is read of a Pod.
#[derive(Debug, Clone, Deserialize)]
pub struct PodView {
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
}

/// A budget, by its namespace.
#[derive(Debug)]
struct Budget {
    name: String,
    /// None selects nothing, and an empty one everything.
    selector: Option<Selector>,
    now: Now,
}

/// What its status says of an eviction now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// One is allowed, or it has no Pods.
    Open,
    /// None is, or it isn't known.
    Closed,
}

/// A Pod that a drain would evict, and that budgets may hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    pub namespace: String,
    pub pod: String,
    pub node: String,
    /// The budgets that select it, at most three of them.
    pub budgets: Vec<String>,
}

/// What an API server says to an eviction that is only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Evicted,
    Held,
}

/// The Pods that budgets hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    pub held: Vec<Candidate>,
    /// Of which list only so much was read.
    pub bound: Option<(&'static str, Extent)>,
}

/// Finds the Pods that budgets may hold: first come the budgets, then Pods of the namespaces that matter, then what the
/// API server says to their evictions.
#[derive(Debug, Default)]
pub struct BudgetReader {
    by_namespace: BTreeMap<String, Vec<Budget>>,
    candidates: Vec<Candidate>,
    found: Budgets,
}

impl BudgetReader {
    /// Adds a budget.
    pub fn add(&mut self, budget: BudgetView) {
        let BudgetView { metadata, spec, status } = budget;
        let is_stale = status.observed_generation < metadata.generation;
        let is_closed = status.disruptions_allowed <= 0 && status.expected_pods > 0;
        let budget = Budget {
            name: quoted(&metadata.name),
            selector: spec
                .selector
                .map(|selector| Selector::try_from(selector).unwrap_or_default()),
            now: if is_stale || is_closed { Now::Closed } else { Now::Open },
        };
        self.by_namespace.entry(metadata.namespace).or_default().push(budget);
    }

    /// The namespaces in which budgets may hold Pods: where one lets none go now, or there are several, of which two may
    /// select one Pod.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        let may_hold = |budgets: &[Budget]| budgets.len() > 1 || budgets.iter().any(|budget| budget.now == Now::Closed);
        let namespaces = self.by_namespace.iter().filter(move |(_, budgets)| may_hold(budgets));
        namespaces.map(|(namespace, _)| namespace.as_str())
    }

    /// Adds a Pod that runs on a Node, if Cluster API's drain evicts it and budgets may hold it.
    pub fn add_pod(&mut self, namespace: &str, pod: PodView) {
        let PodView { metadata, spec } = pod;
        if !is_evicted(&metadata) {
            return;
        }
        let labels = metadata.labels.unwrap_or_default();
        let budgets = self.by_namespace.get(namespace).map_or(&[][..], Vec::as_slice);
        let selecting: Vec<&Budget> = budgets.iter().filter(|budget| budget.selects(&labels)).collect();
        let may_be_held = selecting.len() > 1 || selecting.iter().any(|budget| budget.now == Now::Closed);
        if may_be_held && self.candidates.len() == MOST_CANDIDATES {
            self.bound(
                "Pods that PodDisruptionBudgets may hold",
                Extent::First(MOST_CANDIDATES),
            );
        } else if may_be_held {
            self.candidates.push(Candidate {
                namespace: namespace.to_owned(),
                pod: metadata.name,
                node: spec.node_name,
                budgets: selecting.iter().take(NAMED).map(|budget| budget.name.clone()).collect(),
            });
        }
    }

    /// The Pods whose evictions are to be tried, those of each budget far from each other: one after the other of each.
    pub fn candidates(&mut self) -> Vec<Candidate> {
        let mut turn: BTreeMap<(String, Vec<String>), usize> = BTreeMap::new();
        let mut turns: Vec<(usize, Candidate)> = Vec::new();
        for candidate in std::mem::take(&mut self.candidates) {
            let turn = turn
                .entry((candidate.namespace.clone(), candidate.budgets.clone()))
                .or_default();
            turns.push((*turn, candidate));
            *turn += 1;
        }
        turns.sort();
        turns.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// What the API server says to the eviction of one.
    pub fn judge(&mut self, candidate: Candidate, verdict: Verdict) {
        match verdict {
            Verdict::Evicted => {}
            Verdict::Held => self.found.held.push(candidate),
        }
    }

    /// Only so much was read of a list; the first bound is told.
    pub fn bound(&mut self, of: &'static str, extent: Extent) {
        self.found.bound.get_or_insert((of, extent));
    }

    /// What is kept when all is judged.
    #[must_use]
    pub fn finish(self) -> Budgets {
        let mut found = self.found;
        found.held.sort();
        found
    }
}

impl Budget {
    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(labels))
    }
}

/// Whether Cluster API's drain evicts it: not what a DaemonSet or a kubelet starts again, nor what goes anyway.
/// Source: `core/reconcilers/machine/drain/filters.go` of Cluster API v1.14.
fn is_evicted(pod: &Metadata) -> bool {
    let has = |map: &Option<BTreeMap<String, String>>, key: &str| map.as_ref().is_some_and(|map| map.contains_key(key));
    let mut owners = pod.owner_references.iter().flatten();
    let is_of_daemon_set = owners.any(|owner| owner.kind == "DaemonSet" && owner.controller == Some(true));
    let drain = pod.labels.as_ref().and_then(|labels| labels.get(DRAIN));
    let is_left = drain.is_some_and(|drain| {
        let drain = drain.replacen('-', "", 1);
        drain.eq_ignore_ascii_case("Skip") || drain.eq_ignore_ascii_case("WaitCompleted")
    });
    !is_of_daemon_set && !has(&pod.annotations, MIRROR) && !is_left && pod.deletion_timestamp.is_none()
}
