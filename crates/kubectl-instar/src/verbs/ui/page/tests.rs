//! Who is answered, and with what.

mod actions;
mod clicked;

use std::sync::Arc;

use axum::{
    body::{self, Body},
    http::{Request, Response, StatusCode, header},
};
use instar_report::Invocation;
use kube::{Client, Config};
use tower::ServiceExt;

use super::{
    MayWrite, Scope,
    routes::router,
    served::{Actions, Served},
};
use crate::connection::Connection;

/// Read-only, with an API server that nothing listens for.
fn served() -> Arc<Served> {
    let may = MayWrite::Nothing;
    let config = Config::new("http://127.0.0.1:1".parse().unwrap());
    let connection = Connection {
        client: Client::try_from(config).unwrap(),
        namespace: "team".to_owned(),
        invocation: Invocation::default(),
    };
    Arc::new(Served::new(connection, Scope::Namespace, may).unwrap())
}

async fn get(served: &Arc<Served>, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::get(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1:8700");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    router(Arc::clone(served)).oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn who_does_not_know_the_token_is_refused() {
    let served = served();
    let token = served.token.as_str();
    let shorter = &token[..63];
    let upper = token.to_uppercase();
    let ticket = served.ticket.as_str();
    for path in [
        "/".to_owned(),
        "/page.css".to_owned(),
        "/events".to_owned(),
        "/c/team/c".to_owned(),
        "//".to_owned(),
        format!("/{shorter}/"),
        format!("/{upper}/page.css"),
        format!("/{token}x/page.css"),
        format!("/x/{token}/page.css"),
        format!("/?token={token}"),
        "/open".to_owned(),
        "/open/".to_owned(),
        "/open/events".to_owned(),
        "/open/page.css".to_owned(),
        "/open/c/team/c".to_owned(),
        "/open/c/team/c/events".to_owned(),
        "/open/c/team/c/report.json".to_owned(),
        "/open/c/team/c/report.html".to_owned(),
        "//open/c/team/c/report.json".to_owned(),
        format!("/open/{token}"),
        format!("/open/{}/team/c", &ticket[..63]),
        format!("/{ticket}/page.css"),
    ] {
        let response = get(&served, &path, &[]).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        let text = text(response).await;
        assert!(
            text.contains("no token") && text.contains("kubectl instar ui"),
            "{path}: {text}"
        );
        assert!(!text.contains(token), "{path}");
    }
    let response = get(&served, &format!("/{token}/page.css"), &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_refused() {
    let served = served();
    let path = format!("/{}/page.css", served.token.as_str());
    for host in [
        "evil.test",
        "evil.test:8700",
        "127.0.0.1.evil.test",
        "127.0.0.2:8700",
        "localhost:x",
        "10.0.0.1",
        "",
    ] {
        let response = get(&served, &path, &[("host", host)]).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{host}");
        assert!(text(response).await.contains("header Host"), "{host}");
    }
    let twice = get(&served, &path, &[("host", "127.0.0.1:8700"), ("host", "evil.test")]).await;
    assert_eq!(twice.status(), StatusCode::FORBIDDEN);
    for host in ["127.0.0.1:8700", "localhost:9000", "127.0.0.1"] {
        assert_eq!(
            get(&served, &path, &[("host", host)]).await.status(),
            StatusCode::OK,
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let served = served();
    let path = format!("/{}/page.css", served.token.as_str());
    let link = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let frame = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "iframe"),
    ];
    let cases: [(&[(&str, &str)], StatusCode); 9] = [
        (&[("origin", "http://evil.test")], StatusCode::FORBIDDEN),
        (&[("origin", "null")], StatusCode::FORBIDDEN),
        (&[("origin", "https://127.0.0.1:8700")], StatusCode::FORBIDDEN),
        (&[("origin", "http://127.0.0.1:9999")], StatusCode::FORBIDDEN),
        (&[("origin", "http://127.0.0.1:8700")], StatusCode::OK),
        // Another server on this machine, and what a page embeds.
        (
            &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")],
            StatusCode::FORBIDDEN,
        ),
        (&frame, StatusCode::FORBIDDEN),
        (&link, StatusCode::OK),
        (
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")],
            StatusCode::OK,
        ),
    ];
    for (headers, status) in cases {
        let response = get(&served, &path, headers).await;
        assert_eq!(response.status(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn every_answer_has_its_headers_and_nothing_is_written() {
    let served = served();
    let token = served.token.as_str();
    for path in [format!("/{token}/page.js"), format!("/{token}/nothing"), "/".to_owned()] {
        let response = get(&served, &path, &[]).await;
        let value = |name: header::HeaderName| response.headers()[name].to_str().unwrap().to_owned();
        let policy = value(header::CONTENT_SECURITY_POLICY);
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{path}: {policy}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert_eq!(value(header::CACHE_CONTROL), "no-store", "{path}");
        assert_eq!(value(header::REFERRER_POLICY), "no-referrer", "{path}");
        assert!(
            response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none(),
            "{path}"
        );
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let request = Request::builder()
            .method(method)
            .uri(format!("/{token}/c/team/c"))
            .header("host", "localhost")
            .header("origin", "http://localhost");
        let response = router(Arc::clone(&served))
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
}

#[tokio::test]
async fn a_ticket_leads_to_the_page_once() {
    let served = served();
    let path = format!("/open/{}/team/c", served.ticket.as_str());
    let wrong = get(&served, &format!("/open/{}", served.token.as_str()), &[]).await;
    assert_eq!(wrong.status(), StatusCode::FORBIDDEN, "the token is no ticket");
    let stray = get(&served, &format!("/open/{}/..%2f/c", served.ticket.as_str()), &[]).await;
    assert_eq!(stray.status(), StatusCode::NOT_FOUND);
    let first = get(&served, &path, &[]).await;
    assert_eq!(first.status(), StatusCode::SEE_OTHER);
    let leads_to = first.headers()[header::LOCATION].to_str().unwrap();
    assert_eq!(leads_to, format!("/{}/c/team/c", served.token.as_str()));
    let second = get(&served, &path, &[]).await;
    assert_eq!(second.status(), StatusCode::FORBIDDEN);
    assert!(text(second).await.contains("used already"));
}

#[tokio::test]
async fn an_api_server_that_is_gone_is_said_on_the_page() {
    let served = served();
    let token = served.token.as_str();
    for path in [format!("/{token}/"), format!("/{token}/c/team/my-cluster")] {
        let response = get(&served, &path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let page = text(response).await;
        assert!(
            page.contains("class=\"lost\"") && page.contains("Not readable since"),
            "{path}: {page}"
        );
    }
    let response = get(&served, &format!("/{token}/c/team/my-cluster/report.json"), &[]).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    for name in ["..", "%2e%2e", "a%2fb", "A", "%22"] {
        let response = get(&served, &format!("/{token}/c/team/{name}/report.json"), &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn no_more_pages_are_kept_up_to_date_than_one_machine_shows() {
    let served = served();
    let path = format!("/{}/events", served.token.as_str());
    let mut open = Vec::new();
    for _ in 0..32 {
        let response = get(&served, &path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    assert_eq!(get(&served, &path, &[]).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    open.pop();
    assert_eq!(
        get(&served, &path, &[]).await.status(),
        StatusCode::OK,
        "one was closed"
    );
}
