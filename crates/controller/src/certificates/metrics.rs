//! When the certificates end.

use instar_serve::Metrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{family::Family, gauge::Gauge},
};

use super::decision::Certified;

/// Which certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kept {
    Serving,
    Authority,
}

impl EncodeLabelValue for Kept {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Serving => "serving",
            Self::Authority => "authority",
        }
        .encode(encoder)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Certificate {
    certificate: Kept,
}

/// One series for each certificate that is kept; none where the controller keeps none.
#[derive(Clone, Debug)]
pub(crate) struct CertificateMetrics(Family<Certificate, Gauge>);

impl CertificateMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        Self(metrics.register(
            "webhook_certificate_not_after_seconds",
            "Expiry of the certificates that the controller keeps for the admission server, in Unix seconds; 0 while one is \
             missing",
            Family::default(),
        ))
    }

    /// Both series, from the start on: where they are kept, and for the reference page.
    pub(crate) fn begin(&self) {
        self.set(Kept::Serving, None);
        self.set(Kept::Authority, None);
    }

    pub(super) fn set(&self, certificate: Kept, found: Option<&Certified>) {
        let until = found.map_or(0, |found| found.valid.until.as_second());
        self.0.get_or_create(&Certificate { certificate }).set(until);
    }
}
