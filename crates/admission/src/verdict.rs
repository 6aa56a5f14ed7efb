//! From broken rules to a verdict: what is refused, what is said, what was switched off.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{Enforcement, Rule};

use crate::{
    BreakGlass, Finding,
    cluster_state::{ClusterState, enforcement},
    finding::lines,
    rule_info,
};

/// Whose policies count, and what the edit switches off.
#[derive(Debug, Clone, Default)]
pub struct Subject<'a> {
    /// The namespace.
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
    /// What its writer is told, each line short.
    pub warnings: Vec<String>,
}

/// Judges what was found by the policies and by what the edit switches off.
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
    let policies = state.policies(namespace);
    if policies.is_empty() {
        return rule_info(finding.rule).default;
    }
    if let (None, Some(labels)) = (&finding.of, subject.labels) {
        return enforcement(finding.rule, &policies, labels);
    }
    let cluster = cluster.and_then(|cluster| state.cluster(namespace, cluster));
    let none = BTreeMap::new();
    enforcement(
        finding.rule,
        &policies,
        cluster.as_ref().map_or(&none, |cluster| &cluster.labels),
    )
}

impl Verdict {
    /// Whether the edit is refused.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        !self.refused.is_empty()
    }

    /// The refusal's HTTP code and reason: the first rule's.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.refused.first().map(|finding| rule_info(finding.rule).status)
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

/// A refusal's HTTP code, with the reason that Kubernetes gives for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A value that can't be.
    Invalid,
    /// Something that may not be done now.
    Forbidden,
}

impl Status {
    /// The HTTP code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Invalid => 422,
            Self::Forbidden => 403,
        }
    }

    /// The reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::Forbidden => "Forbidden",
        }
    }
}
