use std::net::TcpListener;

use axum::{
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::*;
use crate::server::{Server, TOKEN};

async fn error_of(client: &WorkloadClient, path: &str) -> String {
    let error = client.one::<IgnoredAny>(path).await.unwrap_err();
    let (text, debug) = (error.to_string(), format!("{error:?}"));
    assert!(!text.contains(TOKEN) && !debug.contains(TOKEN), "{debug}");
    text
}

#[tokio::test]
async fn it_sends_the_credentials_of_the_kubeconfig_and_no_others() {
    let server = Server::start(|routes| routes);
    server.client().reach().await.unwrap();
    let (data, key) = (
        BASE64_STANDARD.encode(&server.certificate),
        BASE64_STANDARD.encode(&server.key),
    );
    let user = json!({ "client-certificate-data": data, "client-key-data": key });
    server.client_with(&user, &server.certificate).reach().await.unwrap();
    let bearer = HeaderValue::from_str(&format!("Bearer {TOKEN}")).unwrap();
    let asked = |credentials: Option<HeaderValue>| {
        ["/version", "/api/v1/nodes?limit=1"].map(|path| (path.to_owned(), credentials.clone()))
    };
    assert_eq!(server.asked(), [asked(Some(bearer)), asked(None)].concat());
}

#[tokio::test]
async fn it_answers_where_the_user_may_read_no_nodes_and_not_without_etcd() {
    for (code, answers) in [(200, true), (403, true), (500, false), (504, false)] {
        let code = http::StatusCode::from_u16(code).unwrap();
        let nodes = async move || (code, "{}");
        let server = Server::start(|routes| routes.route("/api/v1/nodes", get(nodes)));
        let reached = server.client().reach().await;
        assert_eq!(reached.is_ok(), answers, "{code}: {reached:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::start(|routes| routes);
    let to = format!("https://{}/version", other.address);
    let server = Server::start(|routes| routes.route("/elsewhere", get(async move || Redirect::temporary(&to))));
    let error = error_of(&server.client(), "/elsewhere").await;
    assert!(
        error.contains("with HTTP 307, and redirects are not followed"),
        "{error}"
    );
    assert_eq!(other.asked(), []);
}

#[tokio::test]
async fn a_server_with_another_certificate_gets_nothing() {
    let (server, other) = (Server::start(|routes| routes), Server::start(|routes| routes));
    let client = server.client_with(&json!({ "token": TOKEN }), &other.certificate);
    let error = error_of(&client, "/version").await;
    assert!(
        error.contains("can't be reached") && error.contains("certificate"),
        "{error}"
    );
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn what_a_server_says_is_bounded_and_holds_no_token() {
    async fn echo(headers: HeaderMap) -> Response {
        let said = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
        let status = json!({ "kind": "Status", "message": format!("no, {said}\n{}", "x".repeat(5000)), "code": 403 });
        (http::StatusCode::FORBIDDEN, status.to_string()).into_response()
    }
    let server = Server::start(|routes| {
        routes
            .route("/echo", get(echo))
            .route("/page", get(|| async { (http::StatusCode::BAD_GATEWAY, "<html>") }))
            .route("/long", get(|| async { " ".repeat(MOST_BODY + 1) }))
            .route("/text", get(|| async { "{\"a\": s3cr3t-t0ken" }))
    });
    let client = server.client();
    let said = error_of(&client, "/echo").await;
    assert!(
        said.contains("GET /echo with HTTP 403: no, Bearer (token) xxx"),
        "{said}"
    );
    assert!(said.len() < 2 * MOST_MESSAGE, "{said}");
    let said = error_of(&client, "/page").await;
    assert!(said.ends_with("with HTTP 502: no reason given"), "{said}");
    let said = error_of(&client, "/long").await;
    assert!(said.ends_with("to GET /long is longer than 2097152 bytes"), "{said}");
    let said = error_of(&client, "/text").await;
    assert!(said.ends_with("to GET /text can't be read: line 1, column 7"), "{said}");
}

/// With the clock stopped, it goes on when nothing else is left to wait for.
#[tokio::test]
async fn nothing_is_waited_for_without_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Server::start(|routes| routes.route("/never", get(std::future::pending::<()>)));
    let client = server.client();
    client.reach().await.unwrap();
    tokio::time::pause();
    let error = error_of(&client, "/never").await;
    // Which deadline comes first depends on when the socket was ready: the stopped clock doesn't wait for that.
    let ends = error.ends_with("gave no answer to GET /never in 10 s") || error.contains("timed out");
    assert!(ends, "{error}");
    server.address = silent.local_addr().unwrap();
    let error = error_of(&server.client(), "/version").await;
    assert!(error.contains("can't be reached"), "{error}");
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_not_without_end() {
    async fn pages(uri: Uri) -> String {
        let next = match uri.query().unwrap_or_default().trim_start_matches('&') {
            "limit=50" => "a b&c",
            "limit=50&continue=a+b%26c" => "",
            other => panic!("{other}"),
        };
        json!({ "metadata": { "continue": next }, "items": vec![1; 50] }).to_string()
    }
    async fn large(uri: Uri) -> String {
        let query = uri.query().unwrap_or_default();
        if query.contains("limit=50") {
            return " ".repeat(MOST_BODY + 1);
        }
        let (item, next) = match query.split("continue=").nth(1) {
            None => (1, "b"),
            Some("b") => (2, "c"),
            Some(_) => (3, ""),
        };
        json!({ "metadata": { "continue": next }, "items": [item] }).to_string()
    }
    let endless = |items: usize| {
        get(async move || json!({ "metadata": { "continue": "on" }, "items": vec![1; items] }).to_string())
    };
    let server = Server::start(|routes| {
        routes
            .route("/pages", get(pages))
            .route("/full", endless(50))
            .route("/empty", endless(0))
            .route("/large", get(large))
    });
    let client = server.client();
    for (path, most, read, extent, requests) in [
        ("/pages", 1000, 100, Extent::Whole, 2),
        ("/pages", 100, 100, Extent::Whole, 2),
        ("/pages", 99, 99, Extent::Bounded, 2),
        ("/full", 200, 200, Extent::Bounded, 5),
        ("/empty", 200, 0, Extent::Bounded, 5),
        // Pages that are too long are read again, one object at a time.
        ("/large", 10, 3, Extent::Whole, 4),
    ] {
        server.asked.lock().unwrap().clear();
        let mut items = 0;
        let found = client.each(path, most, |_: u8| items += 1).await.unwrap();
        assert_eq!(
            (items, found, server.asked().len()),
            (read, extent, requests),
            "{path} {most}"
        );
    }
}

#[test]
fn an_error_says_the_same_the_next_time() {
    let expired = |now: u64| {
        let time = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        let not_after = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(1));
        rustls::CertificateError::ExpiredContext { time, not_after }.to_string()
    };
    assert_ne!(expired(10), expired(20));
    assert_eq!(without_time(&expired(10)), without_time(&expired(20)));
}
