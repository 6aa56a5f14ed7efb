//! Startup and shutdown, as probes and clients see them.

use std::time::Duration;

use axum::http::Version;
use tokio_util::sync::CancellationToken;

use super::{client::Client, fixture::Fixture, soon, until};
use crate::{Error, Metrics, Options, Readiness, serve};

const HOLD: &str = "GET /hold HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn readyz_names_the_parts_that_are_not_ready() {
    let fixture = Fixture::start(|_| {}).await;
    let clusters = fixture.readiness.part("clusters");
    let catalog = fixture.readiness.part("catalog");
    until("TLS listens", async || {
        fixture.health("/readyz").await == (503, "catalog\nclusters\n".to_owned())
    })
    .await;
    assert_eq!(fixture.health("/healthz").await, (200, "ok\n".to_owned()));

    catalog.ready();
    let (status, body) = fixture.health("/readyz").await;
    assert_eq!((status, &*body), (503, "clusters\n"));

    clusters.ready();
    let (status, body) = fixture.health("/readyz").await;
    assert_eq!((status, &*body), (200, "ready\n"));
}

#[tokio::test]
async fn a_part_becomes_not_ready_again_and_says_why() {
    let fixture = Fixture::start(|_| {}).await;
    let [clusters, catalog] = ["clusters", "catalog"].map(|name| fixture.readiness.part(name));
    clusters.ready();
    catalog.ready();
    until("TLS listens", async || fixture.health("/readyz").await.0 == 200).await;

    clusters.not_ready("no watch for 40s");
    clusters.not_ready("no watch for 1m0s:\n403 Forbidden");
    catalog.not_ready("no watch for 1m0s");
    assert_eq!(fixture.readiness.awaited(), ["catalog", "clusters"]);
    let (status, body) = fixture.health("/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(
        body,
        "catalog: no watch for 1m0s\nclusters: no watch for 1m0s: 403 Forbidden\n"
    );

    catalog.ready();
    let (status, body) = fixture.health("/readyz").await;
    assert_eq!((status, &*body), (503, "clusters: no watch for 1m0s: 403 Forbidden\n"));
    clusters.ready();
    assert_eq!(fixture.health("/readyz").await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn a_shutdown_answers_all_requests_in_flight() {
    let fixture = Fixture::start(|options| options.linger = Duration::from_secs(1)).await;
    let mut in_flight = fixture.connect().await;
    in_flight.send(HOLD).await;
    let http2 = tokio::spawn(fixture.client.get(fixture.url("/hold")).send());
    soon(fixture.entered.acquire_many(2)).await.unwrap().forget();
    let mut idle = fixture.connect().await;
    idle.post("one").await;
    let head = idle.expect(200, "one").await;
    assert!(!head.contains("connection: close"), "{head}");

    fixture.shutdown.cancel();
    let stopping = (503, "shutting down\n".to_owned());
    assert_eq!(fixture.health("/readyz").await, stopping);

    // Endpoints may still send traffic here. It is answered, with the request to reconnect.
    for mut client in [idle, fixture.connect().await] {
        client.post("two").await;
        let head = client.expect(200, "two").await;
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(client.closed().await, "");
    }

    until("TLS no longer accepts", async || {
        Client::connect(fixture.running.tls_addr(), &fixture.authority)
            .await
            .is_err()
    })
    .await;
    assert_eq!(fixture.health("/readyz").await, stopping);

    fixture.release.add_permits(2);
    in_flight.expect(200, "released").await;
    let response = soon(http2).await.unwrap().unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.text().await.unwrap(), "released");
    soon(fixture.running.stopped()).await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_even_if_a_request_does_not() {
    let fixture = Fixture::start(|options| options.drain = Duration::from_millis(100)).await;
    let mut in_flight = fixture.connect().await;
    in_flight.send(HOLD).await;
    soon(fixture.entered.acquire()).await.unwrap().forget();

    fixture.shutdown.cancel();
    soon(fixture.running.stopped()).await.unwrap();
    assert_eq!(in_flight.closed().await, "");
}

#[tokio::test]
async fn a_failed_start_says_why() {
    let fixture = Fixture::start(|_| {}).await;
    let start = async |port, cert_dir: &str| {
        let options = Options {
            bind: fixture.running.tls_addr().ip(),
            port,
            health_port: 0,
            cert_dir: cert_dir.into(),
            ..Options::default()
        };
        let (metrics, readiness) = (Metrics::default(), Readiness::default());
        let served = serve(
            axum::Router::default(),
            options,
            metrics,
            readiness,
            CancellationToken::new(),
        );
        soon(served).await.unwrap_err()
    };

    let taken = fixture.running.tls_addr();
    let error = start(taken.port(), fixture.volume.path().to_str().unwrap()).await;
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {taken} for TLS: free that port or choose another")
    );

    let Error::Certificate(error) = start(0, "/nowhere").await else {
        panic!("started without a certificate");
    };
    assert_eq!(
        error.to_string(),
        "cannot read /nowhere/tls.crt: mount the Secret of type kubernetes.io/tls there"
    );
}
