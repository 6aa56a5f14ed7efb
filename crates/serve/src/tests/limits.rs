//! Peers that send too much, too slowly, or nothing.

use std::time::Duration;

use axum::http::StatusCode;

use super::{
    client::{Client, POST},
    fixture::Fixture,
    soon, until,
};
use crate::Options;

const BODY_LIMIT: usize = 4096;
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_body_over_the_limit_is_answered_413() {
    let fixture = Fixture::start(|options| options.body_limit = BODY_LIMIT).await;
    let (fits, too_large) = ("x".repeat(BODY_LIMIT), "x".repeat(BODY_LIMIT + 1));
    let chunked = |body: &str| {
        let length = body.len();
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n")
    };

    let mut client = fixture.connect().await;
    client.post(&fits).await;
    client.expect(200, &fits).await;
    client.send(&chunked(&fits)).await;
    client.expect(200, &fits).await;

    client.post(&too_large).await;
    client.expect(413, "").await;
    let mut client = fixture.connect().await;
    client.send(&chunked(&too_large)).await;
    client.expect(413, "").await;
}

#[tokio::test]
async fn a_body_of_the_default_limit_fits() {
    let fixture = Fixture::start(|_| {}).await;
    let body = vec![0; Options::default().body_limit];
    let request = fixture.client.post(fixture.url("/echo")).body(body);
    let response = soon(request.send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_slow_body_is_answered_408() {
    let fixture = Fixture::start(|options| options.request_deadline = SHORT).await;
    let mut client = fixture.connect().await;
    client.send(&format!("{POST}Content-Length: 10\r\n\r\nhello")).await;
    client.expect(408, "300ms\n").await;
}

#[tokio::test]
async fn a_slow_first_head_is_cut_off_but_an_idle_connection_is_not() {
    let fixture = Fixture::start(|options| options.header_deadline = SHORT).await;
    let mut idle = fixture.connect().await;
    idle.post("early").await;
    idle.expect(200, "early").await;

    // Nothing at all; what might become HTTP/2; a head without an end.
    for start in ["", "P", POST] {
        let mut slow = fixture.connect().await;
        slow.send(start).await;
        assert_eq!(slow.closed().await, "");
    }

    idle.post("late").await;
    idle.expect(200, "late").await;
}

#[tokio::test]
async fn a_connection_without_a_place_is_refused() {
    let fixture = Fixture::start(|options| options.max_connections = 1).await;
    let mut first = fixture.connect().await;

    let addr = fixture.running.tls_addr();
    let connect = async || Client::connect(addr, &fixture.authority).await;
    assert!(connect().await.is_err());
    assert_eq!(fixture.metric("instar_connections_refused_total").await, 1);

    first.post("hello").await;
    first.expect(200, "hello").await;
    drop(first);
    until("a place", async || connect().await.is_ok()).await;
}
