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
async fn a_connection_displaces_an_idle_one_but_no_other() {
    let fixture = Fixture::start(|options| options.max_connections = 1).await;
    let mut silent = fixture.connect().await;
    let mut busy = fixture.connect().await;
    assert_eq!(silent.closed().await, "");
    assert_eq!(displaced(&fixture).await, 1);

    busy.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n").await;
    soon(fixture.entered.acquire()).await.unwrap().forget();
    let addr = fixture.running.tls_addr();
    let connect = async || Client::connect(addr, &fixture.authority).await;
    assert!(connect().await.is_err());
    assert_eq!(fixture.metric("instar_connections_refused_total").await, 1);

    fixture.release.add_permits(1);
    busy.expect(200, "released").await;
    until("a free slot", async || connect().await.is_ok()).await;
    assert_eq!(busy.closed().await, "");
}

async fn displaced(fixture: &Fixture) -> i64 {
    fixture.metric("instar_connections_displaced_total").await
}

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_cut_off() {
    let fixture = Fixture::start(|options| options.answer_deadline = SHORT).await;
    let mut deaf = fixture.connect().await;
    // Far more than the kernel keeps for both ends, in answers that are small enough.
    let body = "x".repeat(Options::default().body_limit / 2);
    let request = format!("{POST}Content-Length: {}\r\n\r\n{body}", body.len());
    let mut cut = false;
    for _ in 0..50 {
        cut = deaf.write(request.as_bytes()).await.is_err();
        if cut {
            break;
        }
    }
    assert!(cut, "it still accepts requests");
}

#[tokio::test]
async fn a_body_that_is_encoded_is_answered_415() {
    let fixture = Fixture::start(|_| {}).await;
    for encoding in ["gzip", "deflate", "identity, gzip", "GZIP"] {
        let mut client = fixture.connect().await;
        client
            .send(&format!(
                "{POST}Content-Encoding: {encoding}\r\nContent-Length: 5\r\n\r\nhello"
            ))
            .await;
        client
            .expect(415, "request body is encoded: send it without Content-Encoding\n")
            .await;
    }
    let mut client = fixture.connect().await;
    client
        .send(&format!(
            "{POST}Content-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"
        ))
        .await;
    client.expect(200, "hello").await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_answered_431() {
    let fixture = Fixture::start(|_| {}).await;
    let field = |length| format!("{POST}X: {}\r\nContent-Length: 2\r\n\r\nhi", "x".repeat(length));
    let mut client = fixture.connect().await;
    client.send(&field(12 * 1024)).await;
    client.expect(200, "hi").await;
    client.send(&field(17 * 1024)).await;
    client.expect(431, "").await;

    let mut client = fixture.connect().await;
    let fields = "X: x\r\n".repeat(100);
    client.send(&format!("{POST}{fields}\r\n")).await;
    client.expect(431, "").await;
}

#[tokio::test]
async fn small_pieces_take_no_more_than_a_body() {
    let fixture = Fixture::start(|options| options.body_limit = BODY_LIMIT).await;
    let pieces = "1\r\nx\r\n".repeat(BODY_LIMIT);
    let mut client = fixture.connect().await;
    client
        .send(&format!("{POST}Transfer-Encoding: chunked\r\n\r\n{pieces}0\r\n\r\n"))
        .await;
    client.expect(200, &"x".repeat(BODY_LIMIT)).await;
}

#[tokio::test]
async fn a_body_with_too_many_values_is_answered_413() {
    let fixture = Fixture::start(|options| options.values_limit = 100).await;
    let list = |values: usize| format!("[{}]", vec!["{}"; values].join(","));
    // An empty object counts as if there were something in it.
    let (fits, too_many) = (list(49), list(50));
    let mut client = fixture.connect().await;
    client.post(&fits).await;
    client.expect(200, &fits).await;
    client.post(&too_many).await;
    client
        .expect(
            413,
            "request body exceeds the limit of 100 JSON values: send a smaller one\n",
        )
        .await;
}
