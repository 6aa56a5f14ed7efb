//! The keeper against a small API server and real servers, with real certificates.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Method, Request, Response, StatusCode};
use instar_serve::Metrics;
use kube::{client::Body, runtime::events::Reporter};
use rcgen::{BasicConstraints, CertificateParams, GeneralSubtree, IsCa, KeyPair, NameConstraints};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Objects by their paths.
#[derive(Clone, Default)]
struct Objects(Arc<Mutex<BTreeMap<String, Value>>>);

const SECRETS: &str = "/api/v1/namespaces/n/secrets";
const CERTIFICATE: &str = "/api/v1/namespaces/n/secrets/instar-webhook-cert";
const AUTHORITY: &str = "/api/v1/namespaces/n/secrets/instar-webhook-ca";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/n/endpointslices";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/m";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v";

impl Objects {
    /// Two configurations that trust nobody.
    fn installed() -> Self {
        let objects = Self::default();
        for path in [MUTATING, VALIDATING] {
            objects.put(
                path,
                json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "K", "metadata": { "name": "c" }, "webhooks": [
                    { "name": "one", "clientConfig": { "url": "https://127.0.0.1/one" } },
                    { "name": "two", "clientConfig": { "service": { "namespace": "n", "name": "s" } } },
                ]}),
            );
        }
        objects
    }

    fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().get(path).cloned()
    }

    fn put(&self, path: &str, mut object: Value) {
        let mut objects = self.0.lock().unwrap();
        let version = objects.get(path).map_or(0, version) + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        objects.insert(path.to_owned(), object);
    }

    fn delete(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }

    fn versions(&self) -> Vec<u32> {
        self.0.lock().unwrap().values().map(version).collect()
    }

    fn client(&self) -> Client {
        let objects = self.clone();
        let answer = tower::service_fn(move |request: Request<Body>| {
            let objects = objects.clone();
            async move {
                let (method, path) = (request.method().clone(), request.uri().path().to_owned());
                let body = request.into_body().collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let (code, body) = objects.answer(&method, &path, &body);
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, std::convert::Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Client::new(answer, "n")
    }

    fn answer(&self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let failure = |code: StatusCode, reason: &str| {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": reason, "reason": reason, "code": code.as_u16(),
            });
            (code, status)
        };
        if path == SLICES {
            let slices = self.get(path).unwrap_or_else(|| json!({ "metadata": {}, "items": [] }));
            return (StatusCode::OK, slices);
        }
        if path.contains("/events") {
            return (StatusCode::CREATED, body.clone());
        }
        if *method == Method::POST {
            assert_eq!(path, SECRETS);
            let path = format!("{SECRETS}/{}", body["metadata"]["name"].as_str().unwrap());
            assert!(self.get(&path).is_none());
            self.put(&path, body.clone());
            return (StatusCode::CREATED, self.get(&path).unwrap());
        }
        let Some(mut found) = self.get(path) else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        if *method == Method::PATCH {
            if found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                return failure(StatusCode::CONFLICT, "Conflict");
            }
            json_patch::merge(&mut found, body);
            self.put(path, found.clone());
        }
        (StatusCode::OK, found)
    }

    fn member(&self, secret: &str, name: &str) -> Vec<u8> {
        let secret = self.get(secret).unwrap();
        BASE64_STANDARD.decode(secret["data"][name].as_str().unwrap()).unwrap()
    }

    /// How many CAs each webhook trusts.
    fn trusted(&self) -> Vec<usize> {
        let configurations = [MUTATING, VALIDATING].map(|path| self.get(path).unwrap());
        let webhooks = configurations
            .iter()
            .flat_map(|object| object["webhooks"].as_array().unwrap());
        let trusted = webhooks.map(|webhook| {
            let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
            read::bundle(&BASE64_STANDARD.decode(bundle).unwrap()).len()
        });
        trusted.collect()
    }

    /// A server that has what the Secret has now, in the Service's slice.
    async fn serve(&self) {
        let certificate = CertificateDer::from_pem_slice(&self.member(CERTIFICATE, "tls.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&self.member(CERTIFICATE, "tls.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(acceptor.accept(stream).await);
            }
        }));
        let slices = json!({ "metadata": {}, "items": [{
            "addressType": "IPv4", "metadata": { "name": "s" },
            "endpoints": [{ "addresses": ["127.0.0.1"] }], "ports": [{ "port": port }],
        }]});
        self.put(SLICES, slices);
    }
}

fn version(object: &Value) -> u32 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn certificates(seconds: u32) -> WebhookCertificates {
    WebhookCertificates {
        namespace: "n".to_owned(),
        service: "instar-webhook".to_owned(),
        secret: "instar-webhook-cert".to_owned(),
        authority_secret: "instar-webhook-ca".to_owned(),
        hosts: vec!["127.0.0.1".to_owned()],
        configurations: vec![
            WebhookConfiguration::Mutating("m".to_owned()),
            WebhookConfiguration::Validating("v".to_owned()),
            WebhookConfiguration::Validating("not-installed".to_owned()),
        ],
        seconds,
    }
}

/// All steps that can be made now, and the last one.
async fn steps(objects: &Objects, certificates: &WebhookCertificates) -> Result<Step, Error> {
    let client = objects.client();
    let recorder = Recorder::new(client.clone(), Reporter::from("c"));
    let keeper = Keeper {
        certificates,
        client: &client,
        leads: &Leads::alone(),
        recorder: &recorder,
        metrics: &CertificateMetrics::register(&Metrics::default()),
    };
    keeper.steps().await
}

#[tokio::test]
async fn from_nothing_to_certificates_and_then_no_write() {
    let (objects, certificates) = (Objects::installed(), certificates(31_536_000));
    let Step::Settled(until) = steps(&objects, &certificates).await.unwrap() else {
        panic!("not settled");
    };
    assert!(until > Timestamp::now() + SignedDuration::from_hours(24 * 240));
    assert_eq!(objects.trusted(), [1; 4]);
    let secret = objects.get(CERTIFICATE).unwrap();
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(
        objects.member(CERTIFICATE, "ca.crt"),
        objects.member(AUTHORITY, "tls.crt")
    );
    // Nothing that a pod mounts has the key of the CA.
    assert_ne!(
        objects.member(CERTIFICATE, "tls.key"),
        objects.member(AUTHORITY, "tls.key")
    );
    // What else is in a webhook stays.
    let webhooks = objects.get(MUTATING).unwrap()["webhooks"].clone();
    assert_eq!(webhooks[0]["clientConfig"]["url"], "https://127.0.0.1/one");
    assert_eq!(webhooks[1]["clientConfig"]["service"]["name"], "s");

    let before = objects.versions();
    steps(&objects, &certificates).await.unwrap();
    assert_eq!(objects.versions(), before);
}

#[tokio::test]
async fn an_old_authority_goes_when_the_server_has_the_new_certificate() {
    // So short a life that servers are taken at their word after some seconds.
    let (objects, certificates) = (Objects::installed(), certificates(60));
    steps(&objects, &certificates).await.unwrap();
    objects.serve().await;
    let first = objects.member(CERTIFICATE, "tls.crt");
    objects.delete(AUTHORITY);
    let step = steps(&objects, &certificates).await.unwrap();
    assert!(matches!(step, Step::Wait(_)), "{step:?}");
    assert_eq!(objects.trusted(), [2; 4]);
    assert_eq!(read::bundle(&objects.member(CERTIFICATE, "ca.crt")).len(), 2);
    assert_ne!(objects.member(CERTIFICATE, "tls.crt"), first);

    sleep(Duration::from_millis(3500)).await;
    let step = steps(&objects, &certificates).await.unwrap();
    let Step::Wait(what) = step else { panic!("{step:?}") };
    assert!(what.ends_with("serves the new certificate"), "{what}");
    assert_eq!(objects.trusted(), [2; 4]);

    objects.serve().await;
    steps(&objects, &certificates).await.unwrap();
    assert_eq!(objects.trusted(), [1; 4]);
    assert_eq!(
        objects.member(CERTIFICATE, "ca.crt"),
        objects.member(AUTHORITY, "tls.crt")
    );
}

#[tokio::test]
async fn who_does_not_lead_writes_nothing() {
    let (objects, certificates) = (Objects::installed(), certificates(60));
    let client = objects.client();
    let keeper = Keeper {
        certificates: &certificates,
        client: &client,
        leads: &Leads::lost(),
        recorder: &Recorder::new(client.clone(), Reporter::from("c")),
        metrics: &CertificateMetrics::register(&Metrics::default()),
    };
    let error = keeper.steps().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("this process doesn't hold the lease any more"),
        "{text}"
    );
    assert_eq!(objects.versions(), [1, 1]);
}

/// Such as a user's own, that is for other names.
#[tokio::test]
async fn an_authority_that_cannot_sign_for_the_server_is_named_and_nothing_is_stored() {
    let (objects, certificates) = (Objects::installed(), certificates(60));
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    // As long as the controller makes one.
    let validity = decision::Validity::starting(Timestamp::now(), certificates.lifetimes().authority);
    issue::valid(&mut parameters, validity);
    let made = parameters.self_signed(&key).unwrap().pem();
    let data = |text: &str| BASE64_STANDARD.encode(text);
    objects.put(
        AUTHORITY,
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "instar-webhook-ca" },
            "data": { "tls.crt": data(&made), "tls.key": data(&key.serialize_pem()) } }),
    );
    let error = steps(&objects, &certificates).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("the CA in Secret instar-webhook-ca can't be used"),
        "{text}"
    );
    assert!(objects.get(CERTIFICATE).is_none());
    let before = objects.versions();
    assert!(steps(&objects, &certificates).await.is_err());
    assert_eq!(objects.versions(), before);
}

#[test]
fn a_look_comes_before_the_end() {
    let now: Timestamp = "2026-11-30T13:00:00.5Z".parse().unwrap();
    let after = |seconds| now + SignedDuration::from_secs(seconds);
    let all = pause(now, after(100_000));
    assert!(all >= ROUND && all < ROUND + Duration::from_secs(10), "{all:?}");
    assert_eq!(pause(now, after(20)), Duration::from_secs(20));
    assert_eq!(pause(now, after(-20)), Duration::from_secs(1));
}

#[test]
fn a_host_is_a_name_or_an_address() {
    assert_eq!(webhook_host("Instar.Example.org"), Ok("instar.example.org".to_owned()));
    assert_eq!(webhook_host("0:0::1"), Ok("::1".to_owned()));
    assert_eq!(webhook_host("10.0.0.1"), Ok("10.0.0.1".to_owned()));
    assert!(webhook_host("https://instar").is_err());
}
