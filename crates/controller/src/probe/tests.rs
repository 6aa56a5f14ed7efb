use std::{net::TcpListener, time::Duration};

use axum::{Json, Router, routing::get};
use axum_server::tls_rustls::RustlsConfig;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, Response, StatusCode};
use instar_serve::Metrics;
use kube::client::Body;
use rcgen::CertifiedKey;
use serde_json::{Value, json};
use tokio::{sync::mpsc::unbounded_channel, time::timeout};

use super::*;

/// A workload cluster with one Node, and its kubeconfig with a way to its server.
struct Workload {
    certificate: String,
    server: String,
}

impl Workload {
    fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = format!("https://{}", listener.local_addr().unwrap());
        let node =
            json!({ "metadata": { "name": "n" }, "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
        let app = Router::new()
            .route("/version", get(|| async { Json(json!({})) }))
            .route("/api/v1/nodes", get(async move || Json(json!({ "items": [node] }))));
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.into())
            .unwrap();
        let tls = RustlsConfig::from_config(std::sync::Arc::new(tls));
        let serving = axum_server::from_tcp_rustls(listener, tls)
            .unwrap()
            .serve(app.into_make_service());
        drop(tokio::spawn(serving));
        Self {
            certificate: cert.pem(),
            server,
        }
    }

    fn kubeconfig(&self, server: &str) -> Value {
        json!({
            "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": {
                "server": server, "certificate-authority-data": BASE64_STANDARD.encode(&self.certificate),
            } }],
            "users": [{ "name": "u", "user": { "token": "t" } }],
        })
    }
}

fn secret(name: &str, cluster: &str, kubeconfig: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "namespace": "n", "name": name, "labels": { "cluster.x-k8s.io/cluster-name": cluster } },
        "data": { "value": BASE64_STANDARD.encode(kubeconfig.to_string()) },
    })
}

/// A management cluster that has a Secret for each path.
fn management(secret_of: impl Fn(&str) -> Result<Value, StatusCode> + Clone + Send + Sync + 'static) -> Client {
    let answer = tower::service_fn(move |request: Request<Body>| {
        let secret_of = secret_of.clone();
        async move {
            let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            let (code, body) = match secret_of(&name) {
                Ok(secret) => (StatusCode::OK, secret),
                Err(code) => {
                    let reason = if code == StatusCode::FORBIDDEN {
                        "Forbidden"
                    } else {
                        "NotFound"
                    };
                    (
                        code,
                        json!({ "kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16() }),
                    )
                }
            };
            let response = Response::builder()
                .status(code)
                .body(Body::from(body.to_string().into_bytes()));
            Ok::<_, kube::Error>(response.unwrap())
        }
    });
    Client::new(answer, "instar-system")
}

fn counters() -> Counters {
    Counters::register(&Metrics::default())
}

fn nodes_of(cluster: &str) -> Wanted {
    Wanted {
        secret: Some(format!("{cluster}-kubeconfig")),
        probes: BTreeSet::from([Probe::Nodes]),
        settled: BTreeSet::new(),
        deadlines: Deadlines::default(),
        gates: Vec::new(),
        snapshots: Vec::new(),
        images: BTreeSet::new(),
        vcenters: instar_api::VcenterAccess::Any,
    }
}

/// What is read of a Cluster c whose Secret is this.
async fn read(secret: Result<Value, StatusCode>) -> Result<(), String> {
    let client = management(move |_| secret.clone());
    let (wake, mut woken) = unbounded_channel();
    let prober = Prober::new(wake);
    let (leads, counters) = (Leads::alone(), counters());
    let cluster = Key::new("n", "c");
    prober.want(&cluster, &nodes_of("c"));
    select! {
        () = prober.run(&client, &leads, &counters) => unreachable!("it has no end"),
        woken = woken.recv() => assert_eq!(woken, Some(cluster.clone())),
    }
    let reading = &prober.readings(&cluster)[&Probe::Nodes];
    reading
        .found
        .as_ref()
        .map(drop)
        .map_err(|problem| problem.message.clone())
}

#[tokio::test]
async fn a_cluster_is_read_by_its_secret_or_it_is_said_why_not() {
    let workload = Workload::start();
    let good = workload.kubeconfig(&workload.server);
    assert_eq!(read(Ok(secret("c-kubeconfig", "c", &good))).await, Ok(()));
    let mut without_key = secret("c-kubeconfig", "c", &good);
    without_key["data"] = json!({});
    let mut runs = good.clone();
    runs["users"][0]["user"] = json!({ "exec": { "command": "aws" } });
    for (secret, says) in [
        (
            Err(StatusCode::FORBIDDEN),
            "the controller has no right to read Secret n/c-kubeconfig: kubectl apply -k config/workload && kubectl -n n \
             create rolebinding instar-workload --clusterrole instar-workload \
             --serviceaccount instar-system:instar-controller",
        ),
        (
            Err(StatusCode::NOT_FOUND),
            "Secret n/c-kubeconfig is not there: wait until",
        ),
        (
            Ok(secret("c-kubeconfig", "other", &good)),
            "Secret n/c-kubeconfig may be another cluster's: its label cluster.x-k8s.io/cluster-name is not \"c\"",
        ),
        (Ok(without_key), "Secret n/c-kubeconfig has no key value"),
        (
            Ok(secret("c-kubeconfig", "c", &runs)),
            "Secret n/c-kubeconfig, key value: users[].user.exec runs a program",
        ),
        (
            Ok(secret("c-kubeconfig", "c", &workload.kubeconfig("https://127.0.0.1:1"))),
            "the workload cluster of Cluster c was not read: 127.0.0.1:1 can't be reached",
        ),
        (
            Ok(secret(
                "c-kubeconfig",
                "c",
                &workload.kubeconfig(&format!("{}/none", workload.server)),
            )),
            "the workload cluster of Cluster c was not read: 127.0.0.1:",
        ),
    ] {
        let said = read(secret).await.unwrap_err();
        assert!(said.starts_with(says), "{said}");
    }
}

/// Each of them takes seconds to find out about.
#[tokio::test]
async fn two_hundred_that_are_gone_delay_no_other() {
    let workload = Workload::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = workload.kubeconfig(&format!("https://{}", silent.local_addr().unwrap()));
    let good = workload.kubeconfig(&workload.server);
    let client = management(move |name| {
        let cluster = name.trim_end_matches("-kubeconfig");
        Ok(secret(name, cluster, if cluster == "z" { &good } else { &gone }))
    });
    let (wake, mut woken) = unbounded_channel();
    let prober = Prober::new(wake);
    let (leads, counters) = (Leads::alone(), counters());
    for cluster in (0..200).map(|number| format!("gone-{number}")).chain(["z".to_owned()]) {
        prober.want(&Key::new("n", &cluster), &nodes_of(&cluster));
    }
    let good = Key::new("n", "z");
    let looked_at = async {
        while let Some(cluster) = woken.recv().await {
            if cluster == good {
                return;
            }
        }
    };
    // One after the other, or eight at a time, the others take minutes.
    select! {
        () = prober.run(&client, &leads, &counters) => unreachable!("it has no end"),
        seen = timeout(Duration::from_secs(30), looked_at) => seen.unwrap(),
    }
}
