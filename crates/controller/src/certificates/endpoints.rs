//! What each server serves, seen in a TLS handshake. Nothing is sent, and what doesn't answer in time can't be reached.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, api::ListParams};
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName, version::TLS13};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    decision::{Answer, Certified, Der, Endpoint, Readiness},
    read::verifier,
};
use crate::api::{Error, call};

const DEADLINE: Duration = Duration::from_secs(3);

/// How many are asked at once.
const AT_ONCE: usize = 8;

/// Asks all servers of a Service. `trusted` are the CAs of which a certificate is known as one of ours.
pub(super) async fn ask(
    api: &Api<EndpointSlice>,
    service: &str,
    host: &str,
    trusted: &[Certified],
) -> Result<Vec<Endpoint>, Error> {
    let parameters = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let slices = call(
        || format!("listing the EndpointSlices of Service {service}"),
        api.list(&parameters),
    )
    .await?;
    let config = config(trusted);
    let asked = slices.items.iter().flat_map(addresses).map(|(address, readiness)| {
        let config = config.clone();
        async move {
            let answer = match config {
                Some(config) => answer(&address, host, config).await,
                None => Answer::Unknown("no CA can be trusted".to_owned()),
            };
            Endpoint {
                address,
                readiness,
                answer,
            }
        }
    });
    Ok(stream::iter(asked).buffer_unordered(AT_ONCE).collect().await)
}

/// Each address with each port: those of one Service's slice are one server's.
fn addresses(slice: &EndpointSlice) -> Vec<(String, Readiness)> {
    let ports = slice.ports.iter().flatten().filter_map(|port| port.port);
    let ports: Vec<i32> = ports.collect();
    let endpoints = slice.endpoints.iter().flat_map(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        // Absent means ready.
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        let readiness = if ready { Readiness::Ready } else { Readiness::NotReady };
        endpoint.addresses.iter().map(move |address| (address, readiness))
    });
    let all = endpoints.flat_map(|(address, readiness)| {
        let of_port = move |port: &i32| {
            let address = if address.contains(':') {
                format!("[{address}]:{port}")
            } else {
                format!("{address}:{port}")
            };
            (address, readiness)
        };
        ports.iter().map(of_port)
    });
    all.collect()
}

fn config(trusted: &[Certified]) -> Option<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    // With TLS 1.3 the certificate is seen even where the server wants one of ours.
    let builder = builder.with_protocol_versions(&[&TLS13]).ok()?;
    let config = builder.with_webpki_verifier(verifier(trusted)?).with_no_client_auth();
    Some(Arc::new(config))
}

async fn answer(address: &str, host: &str, config: Arc<ClientConfig>) -> Answer {
    let silent = || format!("no answer in {} s", DEADLINE.as_secs());
    let stream = match timeout(DEADLINE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Answer::Unreachable(error.to_string()),
        Err(_) => return Answer::Unreachable(silent()),
    };
    let Ok(host) = ServerName::try_from(host.to_owned()) else {
        return Answer::Unknown(format!("{host} is no name of a server"));
    };
    let stream = match timeout(DEADLINE, TlsConnector::from(config).connect(host, stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Answer::Unknown(error.to_string()),
        Err(_) => return Answer::Unknown(silent()),
    };
    let (_, connection) = stream.get_ref();
    let served = connection.peer_certificates().and_then(|chain| chain.first());
    served.map_or_else(
        || Answer::Unknown("it has no certificate".to_owned()),
        |served| Answer::Certificate(Der(served.as_ref().into())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_slice_is_asked() {
        let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
            "addressType": "IPv4",
            "metadata": {},
            "endpoints": [
                { "addresses": ["10.0.0.1"] },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": false, "terminating": true } },
                { "addresses": ["fd00::1"], "conditions": { "ready": true } },
            ],
            "ports": [{ "port": 9443 }],
        }))
        .unwrap();
        let asked = addresses(&slice);
        assert_eq!(
            asked,
            [
                ("10.0.0.1:9443".to_owned(), Readiness::Ready),
                ("10.0.0.2:9443".to_owned(), Readiness::NotReady),
                ("[fd00::1]:9443".to_owned(), Readiness::Ready),
            ]
        );
    }
}
