//! The alerts: few, and each with something to do.

use serde_json::{Value, json};

/// Where the page is on which each alert has a section.
const RUNBOOK: &str = "docs/monitoring.md";

/// How soon somebody has to look.
#[derive(Clone, Copy)]
pub(super) enum Severity {
    Critical,
    Warning,
}

impl Severity {
    const fn label(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

pub(super) struct Alert {
    pub(super) name: &'static str,
    pub(super) expression: &'static str,
    /// How long it has to hold.
    lasts: &'static str,
    severity: Severity,
    summary: &'static str,
    description: &'static str,
}

impl Alert {
    pub(super) fn rule(&self) -> Value {
        json!({
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasts,
            "labels": { "severity": self.severity.label() },
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook": format!("{RUNBOOK}#{}", self.name.to_lowercase()),
            },
        })
    }
}

pub(super) const ALERTS: [Alert; 13] = [
    Alert {
        name: "InstarAdmissionServerDown",
        expression: r#"absent(up{job="instar",app_kubernetes_io_component="webhook"} == 1)"#,
        lasts: "5m",
        severity: Severity::Critical,
        summary: "No admission server of Instar answers",
        description: "No Pod of the Deployment instar-webhook has been scraped for 5 minutes. While none is ready, the API \
                      server refuses guarded edits of Clusters, their templates and Instar's objects.",
    },
    Alert {
        name: "InstarNoLeader",
        expression: "max by (lease) (instar_leader) == 0 or absent(instar_leader)",
        lasts: "10m",
        severity: Severity::Critical,
        summary: "No controller of Instar leads",
        description: "No Pod of the controller has held its lease {{ $labels.lease }} for 10 minutes, so every upgrade of its \
                      Clusters stands still.",
    },
    Alert {
        name: "InstarTwoLeaders",
        expression: "sum by (lease) (instar_leader) > 1",
        lasts: "5m",
        severity: Severity::Warning,
        summary: "Several controllers of Instar lead",
        description: "{{ $value }} Pods say that they hold the lease {{ $labels.lease }}. Each write names the version of what it read, so nothing \
                      is done twice, but they work against each other.",
    },
    Alert {
        name: "InstarCertificateExpires",
        expression: "(instar_certificate_not_after_seconds > 0) - time() < 14 * 24 * 3600",
        lasts: "1h",
        severity: Severity::Critical,
        summary: "The certificate of Instar's admission server ends soon",
        description: "The certificate that {{ $labels.pod }} serves ends in {{ $value | humanizeDuration }} and was not renewed. \
                      After that the API server refuses guarded edits.",
    },
    Alert {
        name: "InstarCertificateRefused",
        expression: r#"increase(instar_certificate_reloads_total{outcome="refused"}[15m]) > 0"#,
        lasts: "15m",
        severity: Severity::Warning,
        summary: "Instar's admission server refuses its new certificate",
        description: "{{ $labels.pod }} finds files of a certificate that it can't use, and serves the one before.",
    },
    Alert {
        name: "InstarWatchStale",
        expression: "instar_watch_stale > 0",
        lasts: "5m",
        severity: Severity::Critical,
        summary: "A cache of Instar is old",
        description: "{{ $labels.pod }} has had no watch of {{ $labels.kind }} for more than 5 minutes. An admission server is \
                      not ready then; a controller decides nothing by this cache.",
    },
    Alert {
        name: "InstarUnreadableObjects",
        expression: "max by (kind) (instar_watch_unreadable_objects) > 0",
        lasts: "15m",
        severity: Severity::Warning,
        summary: "Instar can't read some objects",
        description: "{{ $value }} objects of {{ $labels.kind }} can't be decoded. The upgrades of their Clusters are held.",
    },
    Alert {
        name: "InstarPassesFail",
        expression: r#"sum(increase(instar_reconcile_total{outcome="failed"}[15m])) > 3"#,
        lasts: "30m",
        severity: Severity::Warning,
        summary: "Instar's controller can't finish passes over Clusters",
        description: "{{ $value | humanize }} passes failed in 15 minutes, for half an hour.",
    },
    Alert {
        name: "InstarAdmissionSlow",
        expression: "histogram_quantile(0.99, sum by (le) (rate(instar_admission_seconds_bucket[10m]))) > 1",
        lasts: "15m",
        severity: Severity::Warning,
        summary: "Instar's admission server answers late",
        description: "One of a hundred requests takes longer than {{ $value | humanizeDuration }}. After 5 seconds the API \
                      server gives up and refuses the edit.",
    },
    Alert {
        name: "InstarUpgradeInError",
        expression: "time() - min(instar_upgrades_error_since_seconds > 0) > 15 * 60",
        lasts: "5m",
        severity: Severity::Warning,
        summary: "An upgrade needs somebody",
        description: "A ClusterUpgrade has failed, or has a row of the level Error, for {{ $value | humanizeDuration }}. It \
                      doesn't go on by itself.",
    },
    Alert {
        name: "InstarKeptCertificateExpires",
        expression: "(instar_webhook_certificate_not_after_seconds > 0) - time() < 14 * 24 * 3600",
        lasts: "1h",
        severity: Severity::Critical,
        summary: "A certificate that Instar's controller keeps ends soon",
        description: "The {{ $labels.certificate }} certificate of the admission server ends in \
                      {{ $value | humanizeDuration }}, and the controller has not renewed it. After that the API server refuses \
                      guarded edits.",
    },
    Alert {
        name: "InstarReleaseEnds",
        expression: "min by (catalog, release, version) (instar_release_end_of_life_seconds) - time() < 30 * 24 * 3600 > 0 \
                     and on (catalog, release) sum by (catalog, release) (instar_release_clusters) > 0",
        lasts: "1h",
        severity: Severity::Warning,
        summary: "The support of a KubernetesRelease ends soon, and Clusters run it",
        description: "The support of KubernetesRelease {{ $labels.release }} ({{ $labels.version }}) ends in \
                      {{ $value | humanizeDuration }}, and Clusters run it.",
    },
    Alert {
        name: "InstarReleaseEnded",
        expression: "time() - min by (catalog, release, version) (instar_release_end_of_life_seconds) >= 0 \
                     and on (catalog, release) sum by (catalog, release) (instar_release_clusters) > 0",
        lasts: "1h",
        severity: Severity::Warning,
        summary: "The support of a KubernetesRelease has ended, and Clusters run it",
        description: "The support of KubernetesRelease {{ $labels.release }} ({{ $labels.version }}) ended \
                      {{ $value | humanizeDuration }} ago, and Clusters run it.",
    },
];
