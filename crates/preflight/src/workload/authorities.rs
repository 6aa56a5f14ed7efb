//! The certificate authorities of a workload cluster.

use jiff::Timestamp;

/// Where certificates of authorities are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthoritySource {
    /// Those that the kubeconfig trusts: they sign the API server's certificate.
    Kubeconfig,
    /// `client-ca-file` of the API server: they sign the certificates of kubelets.
    Clients,
    /// `requestheader-client-ca-file` of the API server: they sign the certificate of its aggregation layer.
    FrontProxy,
}

impl AuthoritySource {
    /// What messages call it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kubeconfig => "the certificate authority of the API server (in the kubeconfig)",
            Self::Clients => "the certificate authority of kubelets and other clients",
            Self::FrontProxy => "the certificate authority of the front proxy",
        }
    }
}

/// How long the certificate authorities are good for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorities {
    /// When the last certificate of each source ends: in a rotation an older one stays for a while.
    pub ends: Vec<(AuthoritySource, Timestamp)>,
}

impl Authorities {
    /// Adds the certificates of a source, by their ends.
    pub fn add(&mut self, source: AuthoritySource, ends: impl IntoIterator<Item = Timestamp>) {
        self.ends.extend(ends.into_iter().max().map(|last| (source, last)));
    }
}
