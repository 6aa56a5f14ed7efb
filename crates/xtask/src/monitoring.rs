//! What Prometheus and Grafana need: which Pods to scrape, alerts, a dashboard.
//!
//! Invariant: a metric that an alert or a panel names is one that the programs register, with the labels that it has there.

mod alerts;
mod dashboard;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{Artifact, NAMESPACE, kustomization::Folder, workload::HEALTH_PORT, yaml};

/// The label by which Grafana's sidecar finds dashboards.
pub(crate) const DASHBOARD: (&str, &str) = ("grafana_dashboard", "1");

const WHY: &str = "Needs the kinds of the Prometheus operator.";

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    // A component, so that an overlay adds it in one line; its objects are in the namespace of the rest.
    let component = json!({
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": [],
    });
    Folder::new("config/monitoring", component)
        .with_reason("pod-monitor.yaml", WHY, &pod_monitor())?
        .with_reason("rules.yaml", WHY, &rules())?
        .with("dashboard.yaml", &dashboard()?)?
        .artifacts()
}

/// No Service has the health port, and each Pod counts for itself.
fn pod_monitor() -> Value {
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": { "namespace": NAMESPACE, "name": "instar" },
        "spec": {
            "selector": { "matchLabels": { "app.kubernetes.io/name": "instar" } },
            "jobLabel": "app.kubernetes.io/name",
            "podTargetLabels": ["app.kubernetes.io/component"],
            "podMetricsEndpoints": [{ "port": HEALTH_PORT, "path": "/metrics" }],
        },
    })
}

fn rules() -> Value {
    let rules: Vec<Value> = alerts::ALERTS.iter().map(alerts::Alert::rule).collect();
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": { "namespace": NAMESPACE, "name": "instar" },
        "spec": { "groups": [{ "name": "instar", "rules": rules }] },
    })
}

fn dashboard() -> Result<Value> {
    let (label, value) = DASHBOARD;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "namespace": NAMESPACE, "name": "instar-dashboard", "labels": { label: value } },
        "data": { "instar.json": format!("{}\n", serde_json::to_string_pretty(&yaml::sorted(&dashboard::dashboard()))?) },
    }))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;
    use crate::reference::samples;

    fn expressions() -> Vec<(String, String)> {
        let alerts = alerts::ALERTS.iter();
        let alerts = alerts.map(|alert| (alert.name.to_owned(), alert.expression.to_owned()));
        let panels = dashboard::PANELS.iter().flat_map(|panel| {
            let queries = panel.queries.iter();
            queries.map(|(expression, _)| (panel.title.to_owned(), (*expression).to_owned()))
        });
        alerts.chain(panels).collect()
    }

    /// Names of metrics in an expression, each with the names of the labels that it selects by.
    fn named(expression: &str) -> Vec<(String, Vec<String>)> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut found = Vec::new();
        let mut rest = expression;
        while let Some(start) = rest.find("instar_") {
            rest = &rest[start..];
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let selector = after.strip_prefix('{').and_then(|after| after.split_once('}'));
            let labels = selector.map_or("", |(labels, _)| labels).split(',');
            let labels = labels.filter_map(|label| Some(label.split_once(['=', '!'])?.0.trim().to_owned()));
            found.push((name.to_owned(), labels.collect()));
            rest = after;
        }
        found
    }

    #[test]
    fn metrics_are_found_in_an_expression() {
        let found = named(r#"sum(rate(instar_a_total{x="1",y!="2"}[5m])) / instar_b"#);
        assert_eq!(
            found,
            [
                ("instar_a_total".to_owned(), vec!["x".to_owned(), "y".to_owned()]),
                ("instar_b".to_owned(), vec![]),
            ]
        );
    }

    #[test]
    fn each_metric_is_registered_with_these_labels() {
        let known: BTreeMap<String, Vec<String>> = samples().unwrap();
        let mut seen = 0;
        for (place, expression) in expressions() {
            for (name, labels) in named(&expression) {
                let registered = known.get(&name);
                let registered = registered.unwrap_or_else(|| panic!("{place}: no metric {name}"));
                for label in labels {
                    assert!(registered.contains(&label), "{place}: {name} has no label {label}");
                }
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn brackets_close() {
        for (place, expression) in expressions() {
            let mut open = Vec::new();
            for c in expression.chars() {
                match c {
                    '(' => open.push(')'),
                    '[' => open.push(']'),
                    '{' => open.push('}'),
                    ')' | ']' | '}' => assert_eq!(open.pop(), Some(c), "{place}: {expression}"),
                    _ => {}
                }
            }
            assert_eq!(open, [] as [char; 0], "{place}: {expression}");
        }
    }

    /// The page says of each alert what to do, and of no other.
    #[test]
    fn each_alert_has_its_section() {
        let page = fs::read_to_string(crate::root().join("docs/monitoring.md")).unwrap();
        let sections: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("### Instar"))
            .collect();
        let alerts: Vec<&str> = alerts::ALERTS
            .iter()
            .map(|alert| alert.name.trim_start_matches("Instar"))
            .collect();
        assert_eq!(sections, alerts);
    }
}
