//! An API server of a few paths, for tests.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, header},
    routing::get,
};
use axum_server::tls_rustls::RustlsConfig;
use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::CertifiedKey;
use serde_json::{Value, json};

use crate::{Kubeconfig, WorkloadClient};

pub(crate) const TOKEN: &str = "s3cr3t-t0ken";

/// What a server was asked, and with which credentials.
pub(crate) type Asked = Arc<Mutex<Vec<(String, Option<HeaderValue>)>>>;

/// It answers `/version`, and what a test adds.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) asked: Asked,
}

impl Server {
    pub(crate) fn start(routes: impl FnOnce(Router<Asked>) -> Router<Asked>) -> Self {
        Self::named("127.0.0.1", routes)
    }

    /// With a certificate for this name.
    pub(crate) fn named(name: &str, routes: impl FnOnce(Router<Asked>) -> Router<Asked>) -> Self {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Asked::default();
        let app = routes(Router::new().route("/version", get(|| async { "{\"gitVersion\":\"v1.35.0\"}" })))
            .fallback(|| async { http::StatusCode::NOT_FOUND })
            .layer(axum::middleware::from_fn_with_state(
                Arc::clone(&asked),
                async |State(asked): State<Asked>, request: axum::extract::Request, next: axum::middleware::Next| {
                    let credentials = request.headers().get(header::AUTHORIZATION).cloned();
                    asked.lock().unwrap().push((request.uri().to_string(), credentials));
                    next.run(request).await
                },
            ))
            .with_state(Arc::clone(&asked));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.into())
            .unwrap();
        let tls = RustlsConfig::from_config(Arc::new(server));
        let serving = axum_server::from_tcp_rustls(listener, tls)
            .unwrap()
            .serve(app.into_make_service());
        drop(tokio::spawn(serving));
        Self {
            address,
            certificate,
            key,
            asked,
        }
    }

    /// A client that has these credentials and trusts this certificate.
    pub(crate) fn client_with(&self, user: &Value, certificate: &str) -> WorkloadClient {
        let kubeconfig = json!({
            "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority-data": BASE64_STANDARD.encode(certificate),
            } }],
            "users": [{ "name": "u", "user": user }],
        });
        WorkloadClient::new(&Kubeconfig::read(kubeconfig.to_string().as_bytes()).unwrap()).unwrap()
    }

    pub(crate) fn client(&self) -> WorkloadClient {
        self.client_with(&json!({ "token": TOKEN }), &self.certificate)
    }

    pub(crate) fn asked(&self) -> Vec<(String, Option<HeaderValue>)> {
        self.asked.lock().unwrap().clone()
    }
}
