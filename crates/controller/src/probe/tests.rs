use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::{Json, Router, routing::get};
use axum_server::tls_rustls::RustlsConfig;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, Response, StatusCode, Uri};
use instar_serve::Metrics;
use kube::client::Body;
use rcgen::CertifiedKey;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// A workload cluster with one Node, and its kubeconfig with a way to its server.
struct Workload {
    certificate: String,
    server: String,
    /// Whether the API server has its etcd.
    etcd: Arc<AtomicBool>,
    /// Whether it answers what takes it more than a look.
    lists: Arc<AtomicBool>,
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
        let (etcd, lists) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let (has_etcd, can_list) = (Arc::clone(&etcd), Arc::clone(&lists));
        let nodes = async move |uri: Uri| {
            let is_look = uri.query() == Some("limit=1");
            if !has_etcd.load(Ordering::Relaxed) || !(is_look || can_list.load(Ordering::Relaxed)) {
                std::future::pending::<()>().await;
            }
            Json(json!({ "items": [node] }))
        };
        let app = Router::new()
            .route("/version", get(|| async { Json(json!({})) }))
            .route("/api/v1/nodes", get(nodes));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.into())
            .unwrap();
        let tls = RustlsConfig::from_config(Arc::new(tls));
        let serving = axum_server::from_tcp_rustls(listener, tls)
            .unwrap()
            .serve(app.into_make_service());
        drop(tokio::spawn(serving));
        Self {
            certificate: cert.pem(),
            server,
            etcd,
            lists,
        }
    }

    /// What needs etcd hangs from now on.
    fn lose_etcd(&self) {
        self.etcd.store(false, Ordering::Relaxed);
    }

    /// It answers, and no list ends from now on.
    fn lose_lists(&self) {
        self.lists.store(false, Ordering::Relaxed);
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

/// The clock of a test stands still while this is there: no deadline comes, however slow the machine. So what is read has
/// waited for none that is gone, not even for a moment.
struct StoppedClock {
    began: Instant,
    _goes_on: std::sync::mpsc::Sender<()>,
}

impl StoppedClock {
    /// For so long on the wall. Then deadlines come, so that a test ends that waits for one.
    const WALL: Duration = Duration::from_mins(2);

    /// tokio's clock is paused, and moves on by itself only where nothing blocks.
    fn new() -> Self {
        let (goes_on, stopped) = std::sync::mpsc::channel();
        drop(tokio::task::spawn_blocking(move || stopped.recv_timeout(Self::WALL)));
        Self {
            began: Instant::now(),
            _goes_on: goes_on,
        }
    }

    /// Waits until something is known of each of these.
    async fn known_at_once(&self, woken: &mut UnboundedReceiver<Key>, clusters: &[Key]) {
        known(woken, clusters).await;
        assert_eq!(self.began.elapsed(), Duration::ZERO, "a deadline was waited for");
    }
}

/// Waits until something is known of each of these.
async fn known(woken: &mut UnboundedReceiver<Key>, clusters: &[Key]) {
    let mut left: BTreeSet<&Key> = clusters.iter().collect();
    while !left.is_empty() {
        let cluster = woken.recv().await.unwrap();
        left.remove(&cluster);
    }
}

fn clusters(sort: &str, count: usize) -> Vec<Key> {
    (0..count)
        .map(|number| Key::new("n", &format!("{sort}-{number}")))
        .collect()
}

/// Some accept a connection and say nothing, and some only say their version. What comes last by name is looked at last.
#[tokio::test(start_paused = true)]
async fn two_hundred_that_are_gone_delay_no_other() {
    let clock = StoppedClock::new();
    let (workload, stuck) = (Workload::start(), Workload::start());
    stuck.lose_etcd();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = workload.kubeconfig(&format!("https://{}", silent.local_addr().unwrap()));
    let (good, stuck) = (workload.kubeconfig(&workload.server), stuck.kubeconfig(&stuck.server));
    let client = management(move |name| {
        let cluster = name.trim_end_matches("-kubeconfig");
        let kubeconfig = match cluster.split('-').next() {
            Some("gone") => &gone,
            Some("stuck") => &stuck,
            _ => &good,
        };
        Ok(secret(name, cluster, kubeconfig))
    });
    let (wake, mut woken) = unbounded_channel();
    let prober = Prober::new(wake);
    let (leads, counters) = (Leads::alone(), counters());
    let (dead, good) = (
        [clusters("gone", 180), clusters("stuck", 20)].concat(),
        clusters("well", 1),
    );
    for cluster in dead.iter().chain(&good) {
        prober.want(cluster, &nodes_of(cluster.name()));
    }
    select! {
        () = prober.run(&client, &leads, &counters) => unreachable!("it has no end"),
        () = clock.known_at_once(&mut woken, &good) => {}
    }
    assert!(prober.readings(&good[0])[&Probe::Nodes].found.is_ok());
}

/// They answered until now, so they are looked at beside those that still do.
#[tokio::test(start_paused = true)]
async fn those_that_stop_answering_delay_no_other() {
    let clock = StoppedClock::new();
    let (workload, failing) = (Workload::start(), Workload::start());
    let (good, failed) = (
        workload.kubeconfig(&workload.server),
        failing.kubeconfig(&failing.server),
    );
    let client = management(move |name| {
        let cluster = name.trim_end_matches("-kubeconfig");
        let kubeconfig = if cluster.starts_with("well") { &good } else { &failed };
        Ok(secret(name, cluster, kubeconfig))
    });
    let (wake, mut woken) = unbounded_channel();
    let prober = Prober::new(wake);
    let (leads, counters) = (Leads::alone(), counters());
    let (fails, good) = (clusters("fails", 20), clusters("well", 1));
    let all = [fails, good.clone()].concat();
    let want = |probe: Probe| {
        for cluster in &all {
            prober.want(
                cluster,
                &Wanted {
                    probes: BTreeSet::from([probe]),
                    ..nodes_of(cluster.name())
                },
            );
        }
    };
    let looked_at = async {
        want(Probe::Nodes);
        clock.known_at_once(&mut woken, &all).await;
        failing.lose_etcd();
        want(Probe::Authorities);
        clock.known_at_once(&mut woken, &good).await;
    };
    select! {
        () = prober.run(&client, &leads, &counters) => unreachable!("it has no end"),
        () = looked_at => {}
    }
    assert_eq!(
        prober.readings(&good[0]).keys().collect::<Vec<_>>(),
        [&Probe::Authorities]
    );
}

/// It is found there, and then no list of it ends.
#[tokio::test(start_paused = true)]
async fn one_that_dies_while_it_is_read_delays_no_other() {
    let clock = StoppedClock::new();
    let (workload, dying) = (Workload::start(), Workload::start());
    dying.lose_lists();
    let (good, dies) = (workload.kubeconfig(&workload.server), dying.kubeconfig(&dying.server));
    let client = management(move |name| {
        let cluster = name.trim_end_matches("-kubeconfig");
        let kubeconfig = if cluster.starts_with("well") { &good } else { &dies };
        Ok(secret(name, cluster, kubeconfig))
    });
    let (wake, mut woken) = unbounded_channel();
    let prober = Prober::new(wake);
    let (leads, counters) = (Leads::alone(), counters());
    let (dies, good) = (clusters("dies", 1), clusters("well", 20));
    for cluster in dies.iter().chain(&good) {
        prober.want(cluster, &nodes_of(cluster.name()));
    }
    select! {
        () = prober.run(&client, &leads, &counters) => unreachable!("it has no end"),
        () = clock.known_at_once(&mut woken, &good) => {}
    }
    assert!(prober.readings(&dies[0]).is_empty());
}
