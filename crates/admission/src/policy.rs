//! UpgradePolicies: what their schema can't say.

use instar_addons::{refusals_of_etcd_snapshot, refusals_of_gates};
use instar_api::{CatalogName, EtcdSnapshotParameters, Rule, UpgradePolicy, UpgradePolicySpec};
use instar_catalog::Catalog;
use instar_domain::JsonPointer;
use instar_gates::{MaintenanceWindows, WindowState};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::{
    ClusterState, Finding,
    edit::{Edit, finding, object_ref},
    table::rule_info,
};

/// Judges the creation or an edit of an UpgradePolicy.
#[must_use]
pub fn judge(edit: Edit<'_, UpgradePolicy>, state: &dyn ClusterState) -> Vec<Finding> {
    let new = edit.new;
    if edit.old.is_some_and(|old| old.spec == new.spec) {
        return Vec::new();
    }
    let selector = wrong_selector(&new.spec.cluster_selector)
        .map(|what| (Rule::PolicyReadable, "spec.clusterSelector", what, LABELS));
    let fields = wrong_field(&new.spec, &state.catalog(&CatalogName::default()))
        .map(|(what, remediation)| (Rule::PolicyReadable, "spec.mutableTemplateFields", what, remediation));
    let windows = wrong_windows(&new.spec, state.now())
        .map(|(rule, what, remediation)| (rule, "spec.maintenance", what, remediation));
    let findings = selector
        .into_iter()
        .chain(fields)
        .chain(windows)
        .chain(wrong_gates(edit))
        .chain(wrong_etcd_snapshot(edit));
    findings
        .map(|(rule, field, what, remediation)| {
            finding(rule, object_ref(edit.kind, &new.metadata), field, what, remediation)
        })
        .collect()
}

/// Gates that can't be read, or reach too far. Those that stay as they are were judged when they came: what a later
/// version refuses of them is no reason to refuse an edit of something else.
fn wrong_gates(edit: Edit<'_, UpgradePolicy>) -> Vec<(Rule, &'static str, String, &'static str)> {
    let gates = &edit.new.spec.gates;
    if edit.old.is_some_and(|old| old.spec.gates == *gates) {
        return Vec::new();
    }
    let namespace = edit.new.metadata.namespace.as_deref().unwrap_or_default();
    let labels = gates.iter().filter_map(|gate| {
        let what = wrong_selector(gate.observe.label_selector.as_ref()?)?;
        let what = format!("{}: observe.labelSelector: {what}", gate.name);
        Some((Rule::GateReadable, "spec.gates", what, LABELS))
    });
    let refusals = refusals_of_gates(gates, namespace).into_iter();
    let refusals = refusals.map(|refusal| (refusal.rule, "spec.gates", refusal.what, refusal.remediation));
    labels.chain(refusals).collect()
}

/// What a check asks of snapshots of etcd and can't be read, or reaches too far. What stays as it is was judged when it
/// came.
fn wrong_etcd_snapshot(edit: Edit<'_, UpgradePolicy>) -> Vec<(Rule, &'static str, String, &'static str)> {
    let Some(asked) = etcd_snapshot(&edit.new.spec) else {
        return Vec::new();
    };
    if edit.old.and_then(|old| etcd_snapshot(&old.spec)) == Some(asked) {
        return Vec::new();
    }
    let field = "spec.preflight.checks";
    let labels = asked.observe.label_selector.as_ref().and_then(wrong_selector);
    let labels = labels.map(|what| {
        let what = format!("etcd-snapshot: observe.labelSelector: {what}");
        (Rule::GateReadable, field, what, LABELS)
    });
    let namespace = edit.new.metadata.namespace.as_deref().unwrap_or_default();
    let refusals = refusals_of_etcd_snapshot(asked, namespace).into_iter();
    let refusals = refusals.map(|refusal| (refusal.rule, field, refusal.what, refusal.remediation));
    labels.into_iter().chain(refusals).collect()
}

/// A check stands once in a list.
fn etcd_snapshot(spec: &UpgradePolicySpec) -> Option<&EtcdSnapshotParameters> {
    spec.preflight
        .checks
        .iter()
        .find_map(|check| check.etcd_snapshot.as_ref())
}

/// Windows that can't be read, or that never open.
fn wrong_windows(spec: &UpgradePolicySpec, now: Timestamp) -> Option<(Rule, String, &'static str)> {
    match MaintenanceWindows::read([&spec.maintenance]) {
        Err(error) => Some((Rule::PolicyReadable, error.to_string(), "correct it")),
        Ok(windows) => match windows.at(now) {
            WindowState::Closed { by, opens: None } => Some((
                Rule::WindowsOpen,
                format!("{by}, and nothing opens within 400 days"),
                rule_info(Rule::WindowsOpen).remediation,
            )),
            WindowState::Open { .. } | WindowState::Closed { opens: Some(_), .. } => None,
        },
    }
}

/// A field of a template that can't be mutable, and what to do.
fn wrong_field(spec: &UpgradePolicySpec, catalog: &Catalog) -> Option<(String, &'static str)> {
    let fields = spec.mutable_template_fields.iter();
    let mut pointers = fields.flat_map(|fields| fields.pointers.iter().map(move |pointer| (fields, pointer)));
    pointers.find_map(|(fields, pointer)| {
        if let Err(invalid) = pointer.parse::<JsonPointer>() {
            return Some((invalid.to_string(), "name a member of the machines' spec"));
        }
        if !pointer.starts_with("/spec/template/spec/") {
            let what = format!("{pointer:?} of {} is not below /spec/template/spec/", fields.kind);
            return Some((what, "name a member of the machines' spec"));
        }
        let row = catalog.sets_near(&fields.api_group, &fields.kind, pointer)?;
        let what = format!(
            "release {} sets {pointer} of {}, or a part of it",
            row.name(),
            fields.kind
        );
        Some((
            what,
            "what a release sets is changed by another release: leave the field out",
        ))
    })
}

/// What to do about a label that is none.
pub(crate) const LABELS: &str =
    "a label is a name of at most 63 letters, digits, '-', '_' and '.', after a DNS domain and '/' or alone";

/// What of a selector is no label.
pub(crate) fn wrong_selector(selector: &LabelSelector) -> Option<String> {
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| (key, std::slice::from_ref(value)));
    let expressions = selector.match_expressions.iter().flatten();
    let expressions = expressions.map(|expression| (&expression.key, expression.values.as_deref().unwrap_or_default()));
    labels.chain(expressions).find_map(|(key, values)| {
        if !is_key(key) {
            return Some(format!("{key:?} can't be a label"));
        }
        let value = values.iter().find(|value| !is_value(value))?;
        Some(format!("{value:?} can't be the value of the label {key}"))
    })
}

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
