//! Metrics of the answers.

use std::time::Duration;

use instar_serve::Metrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use crate::{Route, review::Answer};

/// Counters of verdicts and refusals, and how long answers took.
#[derive(Clone)]
pub struct AdmissionMetrics {
    requests: Family<RequestLabels, Counter>,
    denials: Family<RuleLabels, Counter>,
    warnings: Family<RuleLabels, Counter>,
    broken: Family<RuleLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Route,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verdict {
    Allowed,
    Changed,
    Denied,
    Malformed,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Allowed, Self::Changed, Self::Denied, Self::Malformed];
}

impl EncodeLabelValue for Verdict {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        EncodeLabelValue::encode(
            &match self {
                Self::Allowed => "allowed",
                Self::Changed => "changed",
                Self::Denied => "denied",
                Self::Malformed => "malformed",
            },
            encoder,
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rule(instar_admission::Rule);

impl EncodeLabelValue for Rule {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0.id(), encoder)
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.path(), encoder)
    }
}

impl AdmissionMetrics {
    /// Registers the metrics. Every series begins as a zero, so that `rate` sees the first increase.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        let registered = Self {
            requests: metrics.register(
                "admission_requests",
                "Admission requests by route and verdict",
                Family::default(),
            ),
            denials: metrics.register("admission_denials", "Refusals by rule", Family::default()),
            warnings: metrics.register("admission_warnings", "Warnings by rule", Family::default()),
            broken: metrics.register(
                "admission_broken",
                "Edits for which a rule was switched off by the break-glass annotation",
                Family::default(),
            ),
            seconds: metrics.register(
                "admission_seconds",
                "Seconds to decide by route",
                Family::new_with_constructor(|| {
                    Histogram::new([25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 25e-3, 0.1, 1.0])
                }),
            ),
        };
        for route in Route::all() {
            drop(registered.seconds.get_or_create(&RouteLabels { route }));
            for verdict in Verdict::ALL {
                drop(registered.requests.get_or_create(&RequestLabels { route, verdict }));
            }
        }
        for rule in instar_admission::Rule::ALL {
            for counted in [&registered.denials, &registered.warnings, &registered.broken] {
                drop(counted.get_or_create(&RuleLabels { rule: Rule(*rule) }));
            }
        }
        registered
    }

    /// Those of one route.
    pub(crate) fn of(&self, route: Route) -> RouteMetrics {
        let requests = Verdict::ALL.map(|verdict| {
            let labels = RequestLabels { route, verdict };
            (verdict, self.requests.get_or_create_owned(&labels))
        });
        RouteMetrics {
            requests,
            seconds: self.seconds.get_or_create_owned(&RouteLabels { route }),
            rules: self.clone(),
        }
    }
}

/// The metrics of a route, without looking its series up for each answer.
pub(crate) struct RouteMetrics {
    requests: [(Verdict, Counter); 4],
    seconds: Histogram,
    /// Of these it counts refusals and warnings, by rule.
    rules: AdmissionMetrics,
}

impl RouteMetrics {
    pub(crate) fn observe(&self, answer: &Answer, took: Duration) {
        let verdict = match answer {
            Answer::Judged { verdict, patch } => {
                for (findings, counted) in [
                    (&verdict.refused, &self.rules.denials),
                    (&verdict.warned, &self.rules.warnings),
                    (&verdict.broken, &self.rules.broken),
                ] {
                    for finding in findings {
                        let rule = Rule(finding.rule);
                        counted.get_or_create(&RuleLabels { rule }).inc();
                    }
                }
                match patch {
                    _ if verdict.is_refusal() => Verdict::Denied,
                    None => Verdict::Allowed,
                    Some(_) => Verdict::Changed,
                }
            }
            Answer::Malformed(_) => Verdict::Malformed,
        };
        for (counted, requests) in &self.requests {
            if *counted == verdict {
                requests.inc();
            }
        }
        self.seconds.observe(took.as_secs_f64());
    }
}
