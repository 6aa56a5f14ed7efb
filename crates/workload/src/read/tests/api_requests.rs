//! API servers, asked through their Pods and at their address.

use std::net::SocketAddr;

use axum::{Router, body::Body, extract::Request, http::HeaderMap};
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use instar_preflight::workload::{ApiRequests, ApiServerAnswer, Coverage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

use super::*;
use crate::{
    WorkloadClient,
    server::{Asked, TOKEN},
};

const STARTED: &str = "process_start_time_seconds 1.7951742e+09\n";
const REQUESTED: &str = "apiserver_requested_deprecated_apis{group=\"flowcontrol.apiserver.k8s.io\",\
                         removed_release=\"1.32\",resource=\"flowschemas\",subresource=\"\",version=\"v1beta3\"} 1\n";

/// What a kubelet does with a forwarded port.
#[derive(Clone, Copy)]
enum Kubelet {
    Connects(SocketAddr),
    Refuses,
    HangsUp,
}

fn forward(kubelet: Kubelet, mut request: Request) -> Response {
    let key = request.headers()["sec-websocket-key"].clone();
    let port: u16 = request
        .uri()
        .query()
        .unwrap()
        .trim_start_matches("ports=")
        .parse()
        .unwrap();
    let upgrade = hyper::upgrade::on(&mut request);
    drop(tokio::spawn(async move {
        let upgraded = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        let [low, high] = port.to_le_bytes();
        for channel in [0, 1] {
            socket.send(Message::binary(vec![channel, low, high])).await.unwrap();
        }
        let address = match kubelet {
            Kubelet::Connects(address) => address,
            Kubelet::Refuses => {
                let error = [&[1], b"error forwarding port 6443: connection refused".as_slice()].concat();
                socket.send(Message::binary(error)).await.unwrap();
                return;
            }
            Kubelet::HangsUp => return,
        };
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut buffer = vec![0; 4096];
        loop {
            tokio::select! {
                read = stream.read(&mut buffer[1..]) => match read {
                    Ok(read) if read > 0 => socket.send(Message::binary(buffer[..=read].to_vec())).await.unwrap(),
                    _ => return,
                },
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => stream.write_all(&bytes[1..]).await.unwrap(),
                    _ => return,
                },
            }
        }
    }));
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-accept", derive_accept_key(key.as_bytes()))
        .header("sec-websocket-protocol", "v4.channel.k8s.io")
        .body(Body::empty())
        .unwrap()
}

fn pod(name: &str, port: u16) -> Value {
    let command = json!(["kube-apiserver", format!("--secure-port={port}")]);
    json!({ "metadata": { "name": name }, "spec": { "containers": [{ "command": command }] }, "status": { "phase": "Running" } })
}

fn with_pods(routes: Router<Asked>, pods: &[Value]) -> Router<Asked> {
    let pods = json!(pods);
    routes.route("/api/v1/namespaces/kube-system/pods", get(async move || list(&pods)))
}

fn with_kubelet(routes: Router<Asked>, pod: &str, kubelet: Kubelet) -> Router<Asked> {
    let path = format!("/api/v1/namespaces/kube-system/pods/{pod}/portforward");
    routes.route(&path, get(async move |request: Request| forward(kubelet, request)))
}

/// The server of one Pod.
fn api_server(name: &str, metrics: String) -> Server {
    Server::named(name, |routes| routes.route("/metrics", get(async move || metrics)))
}

async fn requests(client: &WorkloadClient) -> ApiRequests {
    match read(client, WorkloadProbe::ApiRequests, now()).await.unwrap() {
        Facts::ApiRequests(requests) => requests,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_api_server_is_asked_through_its_pod() {
    let metrics = |requested: &str| format!("# a\nother 1\n{}{requested}{STARTED}", "filler 1\n".repeat(50_000));
    let (one, two) = (
        api_server("kubernetes", metrics("")),
        api_server("kubernetes", metrics(REQUESTED)),
    );
    let stranger = api_server("localhost", metrics(REQUESTED));
    let mut ended = pod("ended", 6443);
    ended["status"]["phase"] = json!("Failed");
    let pods = [
        pod("one", 6443),
        pod("two", 8443),
        pod("refused", 6443),
        pod("silent", 6443),
        pod("stranger", 6443),
        ended,
    ];
    let written = |headers: HeaderMap| {
        assert!(
            headers["accept"]
                .to_str()
                .unwrap()
                .contains("as=PartialObjectMetadataList")
        );
        let fields = json!({ "manager": "helm", "apiVersion": "flowcontrol.apiserver.k8s.io/v1beta3" });
        list(&json!([{ "metadata": { "name": "tenants", "managedFields": [fields] } }]))
    };
    let server = Server::start(|routes| {
        let routes = with_kubelet(with_pods(routes, &pods), "one", Kubelet::Connects(one.address));
        let routes = with_kubelet(routes, "two", Kubelet::Connects(two.address));
        let routes = with_kubelet(routes, "refused", Kubelet::Refuses);
        let routes = with_kubelet(routes, "silent", Kubelet::HangsUp);
        with_kubelet(routes, "stranger", Kubelet::Connects(stranger.address)).route(
            "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
            get(async move |headers: HeaderMap| written(headers)),
        )
    });
    let authorities = format!(
        "{}{}{}{}",
        server.certificate, one.certificate, two.certificate, stranger.certificate
    );
    let client = server.client_with(&json!({ "token": TOKEN }), &authorities);
    let found = requests(&client).await;
    assert_eq!(found.coverage, Coverage::Pods);
    let answers: Vec<String> = found
        .servers
        .iter()
        .map(|server| match &server.answer {
            ApiServerAnswer::Counted { since } => format!("{} since {}", server.name, since.unwrap()),
            ApiServerAnswer::Refused { why } => format!("{} refused: {why}", server.name),
            ApiServerAnswer::Unread { why } => format!("{} unread: {why}", server.name),
        })
        .collect();
    assert_eq!(
        answers[..2],
        ["one since 2026-11-20T11:30:00Z", "two since 2026-11-20T11:30:00Z"]
    );
    assert!(
        answers[2].ends_with("can't be reached: error forwarding port 6443: connection refused"),
        "{answers:?}"
    );
    assert!(answers[3].starts_with("silent unread: "), "{answers:?}");
    assert!(
        answers[4].starts_with("stranger unread: ") && answers[4].contains("certificate"),
        "{answers:?}"
    );
    assert_eq!(answers.len(), 5);
    // The stranger got no request, and so no token.
    let bearer = |asked: Vec<(String, Option<axum::http::HeaderValue>)>| {
        let one = asked.into_iter().next().and_then(|(_, credentials)| credentials);
        one.map(|credentials| credentials.to_str().unwrap().to_owned())
    };
    assert_eq!(bearer(two.asked()), Some(format!("Bearer {TOKEN}")));
    assert_eq!(bearer(stranger.asked()), None);
    let (api, requested) = found.requested.iter().next().unwrap();
    assert_eq!(api.group_version(), "flowcontrol.apiserver.k8s.io/v1beta3");
    let writers: Vec<_> = requested.writers.iter().collect();
    assert_eq!(writers, [(&"helm".to_owned(), &"tenants".to_owned())]);
}

#[tokio::test]
async fn a_missing_right_to_forward_ports_is_the_users_to_give() {
    let forbidden = || async {
        let status = json!({ "kind": "Status", "code": 403, "message": "pods \"one\" is forbidden" });
        (StatusCode::FORBIDDEN, Json(status))
    };
    let server = Server::start(|routes| {
        with_pods(routes, &[pod("one", 6443)])
            .route("/api/v1/namespaces/kube-system/pods/one/portforward", get(forbidden))
    });
    let error = read(&server.client(), WorkloadProbe::ApiRequests, now())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("answered GET /metrics of Pod kube-system/one with HTTP 403: pods \"one\" is forbidden"),
        "{error}"
    );
}

#[tokio::test]
async fn one_without_a_pod_is_asked_at_its_address() {
    let lease = |renewed: &str| json!({ "metadata": { "name": "l" }, "spec": { "renewTime": renewed } });
    let with_leases = |routes: Router<Asked>, leases: Vec<Value>| {
        let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
        with_pods(routes, &[]).route(path, get(async move || list(&json!(leases))))
    };
    let (alive, gone) = (
        lease("2026-11-20T11:59:55.000000Z"),
        lease("2026-11-20T11:30:00.000000Z"),
    );
    for (leases, running) in [
        (vec![], None),
        (vec![gone.clone()], None),
        (vec![alive.clone(), gone], Some(1)),
        (vec![alive.clone(), alive.clone()], Some(2)),
    ] {
        let metrics = format!("{REQUESTED}{STARTED}");
        let server = Server::start(|routes| with_leases(routes, leases).route("/metrics", get(async move || metrics)));
        let found = requests(&server.client()).await;
        assert_eq!(found.coverage, Coverage::Address { running });
        let since = Some("2026-11-20T11:30:00Z".parse().unwrap());
        assert_eq!(found.servers[0].answer, ApiServerAnswer::Counted { since });
        assert_eq!(found.servers[0].name, server.address.to_string());
        // The version that stays isn't served there.
        assert!(found.requested.values().all(|requested| requested.writers.is_empty()));
        assert_eq!(found.requested.len(), 1);
    }
    let server = Server::start(|routes| with_leases(routes, vec![alive]));
    let found = requests(&server.client()).await;
    let ApiServerAnswer::Refused { why } = &found.servers[0].answer else {
        panic!("{found:?}");
    };
    assert!(
        why.ends_with("answered GET /metrics with HTTP 404: no reason given"),
        "{why}"
    );
}

#[tokio::test]
async fn metrics_without_end_are_not_read() {
    let line = format!("{}\n", "x".repeat(1023));
    let long = line.repeat(16 * 1024 + 1);
    let server = Server::start(|routes| with_pods(routes, &[]).route("/metrics", get(async move || long)));
    let error = read(&server.client(), WorkloadProbe::ApiRequests, now())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("to GET /metrics is longer than 16777216 bytes"),
        "{error}"
    );
}
