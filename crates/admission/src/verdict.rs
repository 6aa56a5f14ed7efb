//! From broken rules to a verdict: refused, warned, or switched off.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use instar_api::{Adjustable, Enforcement, Rule, UpgradePolicySpec};

use crate::{BreakGlass, ClusterState, Finding, finding::lines, rule_info};

/// Whose policies count, and what the edit switches off.
#[derive(Debug, Clone, Default)]
pub struct Subject<'a> {
    pub namespace: &'a str,
    /// The Cluster that the object belongs to.
    pub cluster: Option<&'a str>,
    /// Its labels, where the request itself says them.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// What the edit switches off.
    pub glass: BreakGlass,
}

/// What becomes of an edit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rules by which it is refused; none where it is allowed.
    pub refused: Vec<Finding>,
    /// The rules that warn.
    pub warned: Vec<Finding>,
    /// The rules that were switched off for this edit, and would have refused it.
    pub broken: Vec<Finding>,
    /// The response's warnings, each at most 120 characters.
    pub warnings: Vec<String>,
}

/// Decides by the policies and by the break-glass annotation what follows from each finding.
#[must_use]
pub fn apply_enforcement(findings: Vec<Finding>, subject: &Subject<'_>, state: &dyn ClusterState) -> Verdict {
    let mut verdict = Verdict::default();
    for finding in findings {
        match enforcement_of(&finding, subject, state) {
            Enforcement::Off => {}
            Enforcement::Warn => {
                verdict.warnings.extend(lines(&finding.to_string()));
                verdict.warned.push(finding);
            }
            Enforcement::Enforce if subject.glass.breaks(finding.rule) => {
                let text = format!("break-glass: rule {} was switched off for this edit", finding.rule);
                verdict.warnings.extend(lines(&text));
                verdict.warnings.extend(lines(&finding.to_string()));
                verdict.broken.push(finding);
            }
            Enforcement::Enforce => verdict.refused.push(finding),
        }
    }
    verdict
}

fn enforcement_of(finding: &Finding, subject: &Subject<'_>, state: &dyn ClusterState) -> Enforcement {
    let (namespace, cluster) = finding.of.as_ref().map_or((subject.namespace, subject.cluster), |of| {
        (of.namespace.as_str(), Some(of.name.as_str()))
    });
    let policies = match (&finding.of, subject.labels) {
        (None, Some(labels)) => policies_of(namespace, Some(labels), state),
        (Some(_), _) | (None, None) => selecting_policies(namespace, cluster, state),
    };
    enforcement(finding.rule, &policies).min(finding.strictest)
}

/// The policies that select a Cluster with these labels; absent is none.
pub(crate) fn policies_of(
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
    state: &dyn ClusterState,
) -> Vec<Arc<UpgradePolicySpec>> {
    let mut policies = state.policies(namespace);
    let none = BTreeMap::new();
    policies.retain(|policy| policy.selects(labels.unwrap_or(&none)));
    policies
}

/// The policies that select an object's Cluster; for one that isn't known, those that select any.
#[must_use]
pub fn selecting_policies(
    namespace: &str,
    cluster: Option<&str>,
    state: &dyn ClusterState,
) -> Vec<Arc<UpgradePolicySpec>> {
    let cluster = cluster.and_then(|cluster| state.cluster(namespace, cluster));
    policies_of(namespace, cluster.as_ref().map(|cluster| &cluster.labels), state)
}

/// What becomes of edits that break a rule: by the policies that select the Cluster, the strictest, else the rule's
/// default.
fn enforcement(rule: Rule, policies: &[Arc<UpgradePolicySpec>]) -> Enforcement {
    let settings = policies
        .iter()
        .flat_map(|policy| &policy.rules)
        .filter(|setting| setting.rule == rule && rule.adjustable() == Adjustable::ByPolicy)
        .map(|setting| setting.enforcement);
    settings.max().unwrap_or_else(|| rule_info(rule).default)
}

impl Verdict {
    /// Whether the edit is refused.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        !self.refused.is_empty()
    }

    /// The refusal, a line for each rule.
    #[must_use]
    pub fn message(&self) -> String {
        let lines: Vec<String> = self.refused.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    /// What is written into the API server's audit log, by key.
    #[must_use]
    pub fn audit(&self) -> BTreeMap<&'static str, String> {
        let rules = |findings: &[Finding]| {
            let ids: BTreeSet<Rule> = findings.iter().map(|finding| finding.rule).collect();
            let ids: Vec<&str> = ids.into_iter().map(Rule::id).collect();
            ids.join(",")
        };
        [
            ("refused-by", rules(&self.refused)),
            ("warned-by", rules(&self.warned)),
            ("switched-off", rules(&self.broken)),
        ]
        .into_iter()
        .filter(|(_, rules)| !rules.is_empty())
        .collect()
    }
}
