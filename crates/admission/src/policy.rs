//! UpgradePolicies: what their schema can't say.

use instar_api::{Rule, UpgradePolicy};
use instar_gates::{MaintenanceWindows, WindowState};
use jiff::Timestamp;

use crate::{
    Finding,
    edit::{Edit, finding, object_ref},
    table::rule_info,
};

/// Judges the creation or an edit of an UpgradePolicy.
#[must_use]
pub fn judge(edit: Edit<'_, UpgradePolicy>, now: Timestamp) -> Vec<Finding> {
    let new = edit.new;
    if edit.old.is_some_and(|old| old.spec == new.spec) {
        return Vec::new();
    }
    let selector = &new.spec.cluster_selector;
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| (key, std::slice::from_ref(value)));
    let expressions = selector.match_expressions.iter().flatten();
    let expressions = expressions.map(|expression| (&expression.key, expression.values.as_deref().unwrap_or_default()));
    let wrong = labels.chain(expressions).find_map(|(key, values)| {
        if !is_key(key) {
            return Some(format!("{key:?} can't be a label"));
        }
        let value = values.iter().find(|value| !is_value(value))?;
        Some(format!("{value:?} can't be the value of the label {key}"))
    });
    let say = |rule, field, what, remediation| {
        let object = object_ref(edit.kind, &new.metadata);
        finding(rule, object, field, what, remediation)
    };
    let mut findings = Vec::new();
    findings.extend(wrong.map(|what| say(Rule::PolicyReadable, "spec.clusterSelector", what, A_LABEL)));
    match MaintenanceWindows::read([&new.spec.maintenance]) {
        Err(error) => findings.push(say(Rule::PolicyReadable, MAINTENANCE, error.to_string(), "correct it")),
        Ok(windows) => {
            if let WindowState::Closed { by, opens: None } = windows.at(now) {
                let what = format!("{by}, and nothing opens within 400 days");
                let remediation = rule_info(Rule::WindowsOpen).remediation;
                findings.push(say(Rule::WindowsOpen, MAINTENANCE, what, remediation));
            }
        }
    }
    findings
}

const MAINTENANCE: &str = "spec.maintenance";
const A_LABEL: &str =
    "a label is a name of at most 63 letters, digits, '-', '_' and '.', after a DNS domain and '/' or alone";

/// Source: `IsQualifiedName` of k8s.io/apimachinery's util/validation.
fn is_key(key: &str) -> bool {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_domain = |text: &str| {
        (1..=253).contains(&text.len())
            && text
                .split('.')
                .all(|part| is_name(part) && !part.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'_'))
    };
    prefix.is_none_or(is_domain) && is_name(name)
}

/// Source: `IsValidLabelValue` of the same.
fn is_value(value: &str) -> bool {
    value.is_empty() || is_name(value)
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 63
        && ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_as_kubernetes_reads_them() {
        for (key, fits) in [
            ("tier", true),
            ("example.org/tier", true),
            ("a-b_c.D", true),
            ("", false),
            ("-a", false),
            ("a/b/c", false),
            ("Example.org/tier", false),
            ("/tier", false),
            ("tier of", false),
        ] {
            assert_eq!(is_key(key), fits, "{key}");
        }
        assert!(is_value("") && is_value("prod") && !is_value("prod ") && !is_value(&"a".repeat(64)));
    }
}
