//! The dashboard: panels of time series, two in a row.

use serde_json::{Value, json};

pub(super) struct Panel {
    pub(super) title: &'static str,
    unit: &'static str,
    /// Each with what its series are called.
    pub(super) queries: &'static [(&'static str, &'static str)],
}

pub(super) const PANELS: [Panel; 16] = [
    Panel {
        title: "Admission requests by verdict",
        unit: "reqps",
        queries: &[(
            "sum by (verdict) (rate(instar_admission_requests_total[$__rate_interval]))",
            "{{verdict}}",
        )],
    },
    Panel {
        title: "Refusals by rule",
        unit: "short",
        queries: &[(
            "sum by (rule) (increase(instar_admission_denials_total[$__rate_interval])) > 0",
            "{{rule}}",
        )],
    },
    Panel {
        title: "Time to decide",
        unit: "s",
        queries: &[
            (
                "histogram_quantile(0.5, sum by (le) (rate(instar_admission_seconds_bucket[$__rate_interval])))",
                "half",
            ),
            (
                "histogram_quantile(0.99, sum by (le) (rate(instar_admission_seconds_bucket[$__rate_interval])))",
                "99 of 100",
            ),
        ],
    },
    Panel {
        title: "Warnings and rules switched off",
        unit: "short",
        queries: &[
            (
                "sum by (rule) (increase(instar_admission_warnings_total[$__rate_interval])) > 0",
                "warned: {{rule}}",
            ),
            (
                "sum by (rule) (increase(instar_admission_broken_total[$__rate_interval])) > 0",
                "switched off: {{rule}}",
            ),
        ],
    },
    Panel {
        title: "Passes over Clusters by outcome",
        unit: "ops",
        queries: &[(
            "sum by (outcome) (rate(instar_reconcile_total[$__rate_interval]))",
            "{{outcome}}",
        )],
    },
    Panel {
        title: "Writes",
        unit: "short",
        queries: &[(
            "sum by (what) (increase(instar_writes_total[$__rate_interval])) > 0",
            "{{what}}",
        )],
    },
    Panel {
        title: "Gates that opened and closed",
        unit: "short",
        queries: &[(
            "sum by (gate, to) (increase(instar_gate_changes_total[$__rate_interval])) > 0",
            "{{gate}} {{to}}",
        )],
    },
    Panel {
        title: "Leader",
        unit: "short",
        queries: &[("instar_leader", "{{lease}} {{pod}}")],
    },
    Panel {
        title: "Certificate: time left",
        unit: "s",
        queries: &[
            ("(instar_certificate_not_after_seconds > 0) - time()", "{{pod}}"),
            (
                "(instar_webhook_certificate_not_after_seconds > 0) - time()",
                "kept: {{certificate}}",
            ),
        ],
    },
    Panel {
        title: "Watches: old caches and errors",
        unit: "short",
        queries: &[
            ("instar_watch_stale > 0", "old: {{pod}} {{kind}}"),
            (
                "sum by (kind) (increase(instar_watch_errors_total[$__rate_interval])) > 0",
                "errors: {{kind}}",
            ),
            (
                "max by (kind) (instar_watch_unreadable_objects) > 0",
                "unreadable: {{kind}}",
            ),
        ],
    },
    Panel {
        title: "Objects in the caches",
        unit: "short",
        queries: &[("max by (kind) (instar_cached_objects) > 0", "{{kind}}")],
    },
    Panel {
        title: "Memory of the caches",
        unit: "bytes",
        queries: &[("sum by (pod) (instar_cached_bytes)", "{{pod}}")],
    },
    Panel {
        title: "Upgrades by phase",
        unit: "short",
        queries: &[("sum by (phase) (instar_upgrades) > 0", "{{phase}}")],
    },
    Panel {
        title: "Upgrades by health, and for how long",
        unit: "short",
        queries: &[
            ("sum by (level) (instar_upgrades_by_health)", "{{level}}"),
            (
                "(time() - min(instar_upgrades_error_since_seconds > 0)) / 3600",
                "hours in error",
            ),
            (
                "(time() - min(instar_upgrades_unfinished_since_seconds > 0)) / 3600",
                "hours of the oldest that isn't over",
            ),
        ],
    },
    Panel {
        title: "Releases: days of support left",
        unit: "short",
        queries: &[(
            "(min by (catalog, release) (instar_release_end_of_life_seconds) - time()) / 86400",
            "{{catalog}} {{release}}",
        )],
    },
    Panel {
        title: "Clusters by release that ends",
        unit: "short",
        queries: &[(
            "sum by (catalog, release) (instar_release_clusters) > 0",
            "{{catalog}} {{release}}",
        )],
    },
];

const DATASOURCE: &str = "${datasource}";

pub(super) fn dashboard() -> Value {
    let panels: Vec<Value> = PANELS
        .iter()
        .zip(0_usize..)
        .map(|(panel, place)| panel.json(place))
        .collect();
    json!({
        "uid": "instar",
        "title": "Instar",
        "tags": ["cluster-api", "instar"],
        "schemaVersion": 39,
        "time": { "from": "now-6h", "to": "now" },
        "refresh": "1m",
        "templating": { "list": [{
            "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        }] },
        "panels": panels,
    })
}

impl Panel {
    fn json(&self, place: usize) -> Value {
        const WIDTH: usize = 12;
        const HEIGHT: usize = 8;
        let source = json!({ "type": "prometheus", "uid": DATASOURCE });
        let targets: Vec<Value> = self
            .queries
            .iter()
            .zip('A'..)
            .map(|((expression, legend), name)| {
                json!({ "refId": name, "datasource": source, "expr": expression, "legendFormat": legend })
            })
            .collect();
        json!({
            "id": place + 1,
            "title": self.title,
            "type": "timeseries",
            "datasource": source,
            "gridPos": { "x": place % 2 * WIDTH, "y": place / 2 * HEIGHT, "w": WIDTH, "h": HEIGHT },
            "fieldConfig": { "defaults": { "unit": self.unit }, "overrides": [] },
            "targets": targets,
        })
    }
}
