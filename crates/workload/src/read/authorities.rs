//! The certificate authorities, as the kubeconfig and the API server name them.

use instar_preflight::workload::{Authorities, AuthoritySource};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::client::{CallError, WorkloadClient};

/// The API server publishes here what its aggregated servers have to trust.
pub(super) const PUBLISHED: &str = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Data {
    client_ca_file: String,
    requestheader_client_ca_file: String,
}

pub(super) async fn read(client: &WorkloadClient) -> Result<Authorities, CallError> {
    let published: ConfigMap = client.one(PUBLISHED).await?;
    let Data {
        client_ca_file,
        requestheader_client_ca_file,
    } = published.data;
    let mut authorities = Authorities::default();
    authorities.add(AuthoritySource::Kubeconfig, client.authorities().filter_map(end));
    for (source, pem) in [
        (AuthoritySource::Clients, client_ca_file),
        (AuthoritySource::FrontProxy, requestheader_client_ca_file),
    ] {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
        authorities.add(source, certificates.filter_map(|certificate| end(&certificate)));
    }
    Ok(authorities)
}

/// When a certificate ends; none of one that can't be read, which TLS would not take either.
fn end(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}
