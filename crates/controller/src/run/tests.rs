//! The controller against an API server that has nothing.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::json;

use super::*;

/// What was asked for.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<(Method, String)>>>);

impl Asked {
    fn client(&self) -> Client {
        let asked = self.clone();
        let answer = tower::service_fn(move |request: Request<Body>| {
            let asked = asked.clone();
            async move {
                let (parts, body) = request.into_parts();
                let path = parts.uri.path().to_owned();
                asked.0.lock().unwrap().push((parts.method.clone(), path));
                let body = body.collect_bytes().await.unwrap().to_vec();
                let (code, body) = if parts.method == Method::POST {
                    (StatusCode::CREATED, body)
                } else {
                    let failure = json!({ "kind": "Status", "status": "Failure", "message": "no", "reason": "NotFound", "code": 404 });
                    (StatusCode::NOT_FOUND, failure.to_string().into_bytes())
                };
                Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(body)).unwrap())
            }
        });
        Client::new(answer, "n")
    }

    fn has(&self, method: &Method, end: &str) -> bool {
        let asked = self.0.lock().unwrap();
        asked.iter().any(|(asked, path)| asked == method && path.ends_with(end))
    }
}

#[tokio::test(start_paused = true)]
async fn without_definitions_it_makes_certificates_and_does_not_ask_for_the_lease() {
    let asked = Asked::default();
    let server = AdmissionServer {
        extension: None,
        certificates: Some(WebhookCertificates {
            namespace: "n".to_owned(),
            service: "instar-webhook".to_owned(),
            secret: "instar-webhook-cert".to_owned(),
            authority_secret: "instar-webhook-ca".to_owned(),
            hosts: Vec::new(),
            configurations: Vec::new(),
            seconds: 31_536_000,
        }),
    };
    let (metrics, readiness, scope) = (Metrics::default(), Readiness::default(), Scope::default());
    let ended = run(
        asked.client(),
        Instance {
            lease_namespace: Some("n"),
            scope: &scope,
        },
        server,
        Timing::in_seconds(60, 600),
        &metrics,
        &readiness,
        sleep(Duration::from_mins(2)),
    );
    Box::pin(ended).await.unwrap();
    assert!(asked.has(&Method::POST, "/namespaces/n/secrets"));
    assert!(asked.has(&Method::GET, "/leases/instar-controller"));
    for method in [Method::POST, Method::PATCH, Method::PUT] {
        assert!(!asked.has(&method, "/leases") && !asked.has(&method, "/leases/instar-controller"));
    }
    assert!(asked.has(&Method::POST, "/events"), "no Event says so");
}
