//! What the page writes, and what it never does.

use std::{convert::Infallible, sync::Mutex};

use axum::http::Method;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

/// What was asked of the API server: the method, the path, and the body.
pub(super) type Asked = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// What it answers to a write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    Allowed,
    /// With warnings: one that was too long for a header, in two.
    Warned,
    Forbidden,
}

const CLUSTERS: &str = "/apis/cluster.x-k8s.io/v1beta2/namespaces/team/clusters/prod";
const UPGRADES: &str = "/apis/upgrade.cluster.x-k8s.io/v1alpha1/namespaces/team/clusterupgrades";

fn answer(method: &Method, path: &str, upgrade: &Value, writes: Writes) -> (StatusCode, Value) {
    let status = |code: u16, message: &str| {
        let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": "Any", "code": code });
        (StatusCode::from_u16(code).unwrap(), body)
    };
    match (method, path) {
        (&Method::GET, CLUSTERS) => (
            StatusCode::OK,
            json!({ "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
                "metadata": { "name": "prod", "namespace": "team" }, "spec": {} }),
        ),
        (&Method::GET, UPGRADES) => (
            StatusCode::OK,
            json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": [upgrade] }),
        ),
        (&Method::GET, path) if path.starts_with("/apis/cluster.x-k8s.io/v1beta2/namespaces/team/") => (
            StatusCode::OK,
            json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": [] }),
        ),
        (&Method::PATCH | &Method::POST, _) => match writes {
            Writes::Allowed | Writes::Warned => (StatusCode::OK, upgrade.clone()),
            Writes::Forbidden => status(
                403,
                "clusterupgrades.upgrade.cluster.x-k8s.io \"up\" is forbidden: User \"eve\" cannot patch resource",
            ),
        },
        _ => status(404, "not found"),
    }
}

pub(super) fn upgrade(phase: &str, health: &Value) -> Value {
    json!({ "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "ClusterUpgrade",
        "metadata": { "name": "up", "namespace": "team", "uid": "u1", "resourceVersion": "7", "generation": 1 },
        "spec": { "clusterName": "prod", "target": "v1.35.4" },
        "status": { "observedGeneration": 1, "phase": phase, "health": health,
            "rollback": { "possible": "All", "why": "", "what": ["MachineDeployment md-0: back to v1.34.3"] } } })
}

/// The page of an API server that knows one Cluster and one upgrade of it.
pub(super) fn acting(upgrade: Value, writes: Writes, may: MayWrite) -> (Arc<Served>, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let server = service_fn(move |request: Request<kube::client::Body>| {
        let (log, upgrade) = (Arc::clone(&log), upgrade.clone());
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let body = request.into_body().collect_bytes().await.unwrap_or_default();
            let (status, answer) = answer(&method, &path, &upgrade, writes);
            let body = serde_json::from_slice(&body).unwrap_or_default();
            log.lock().unwrap().push((method.clone(), path, body));
            let mut response = Response::builder().status(status);
            if writes == Writes::Warned && method != Method::GET {
                response = response
                    .header(
                        "warning",
                        r#"299 - "ClusterUpgrade team/up: spec.target: \"v1.99.9\" is not in the""#,
                    )
                    .header(
                        "warning",
                        r#"299 - "catalog; create its release [rule upgrade-target]""#,
                    );
            }
            let response = response.body(Body::from(answer.to_string())).unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = Connection {
        client: Client::new(server, "team"),
        namespace: "team".to_owned(),
        invocation: Invocation {
            context: Some("admin@prod".to_owned()),
            ..Invocation::default()
        },
    };
    (Arc::new(Served::new(connection, Scope::Namespace, may).unwrap()), asked)
}

const OWN: (&str, &str) = ("origin", "http://127.0.0.1:8700");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn send(served: &Arc<Served>, action: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let path = format!("/{}/c/team/prod/{action}", served.token.as_str());
    let mut request = Request::post(path).header("host", "127.0.0.1:8700");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    router(Arc::clone(served)).oneshot(request).await.unwrap()
}

async fn page(served: &Arc<Served>) -> String {
    let path = format!("/{}/c/team/prod", served.token.as_str());
    text(get(served, &path, &[]).await).await
}

/// What the form of an action on the page sends, as a browser would read it.
fn form(page: &str, action: &str) -> String {
    let form = page
        .split("<form")
        .find(|form| form.contains(&format!("action=\"prod/{action}\"")))
        .unwrap();
    let form = form.split("</form>").next().unwrap();
    let mut fields = form_urlencoded::Serializer::new(String::new());
    for input in form.split("<input ").skip(1) {
        let attribute = |name: &str| {
            let value = input.split(&format!("{name}=\"")).nth(1)?;
            let value = value.split('"').next()?;
            Some(value.replace("&quot;", "\"").replace("&amp;", "&"))
        };
        if let (Some(name), Some(value)) = (attribute("name"), attribute("value")) {
            fields.append_pair(&name, &value);
        }
    }
    fields.finish()
}

pub(super) fn writes(asked: &Asked) -> Vec<(Method, String, Value)> {
    let asked = asked.lock().unwrap();
    asked
        .iter()
        .filter(|(method, ..)| method != Method::GET)
        .cloned()
        .collect()
}

#[tokio::test]
async fn without_the_flag_there_is_no_form_and_no_address_that_takes_one() {
    let (served, asked) = acting(upgrade("Workers", &json!([])), Writes::Allowed, MayWrite::Nothing);
    let page = page(&served).await;
    assert!(
        page.contains("Nothing is written here") && page.contains("no-referrer"),
        "{page}"
    );
    assert!(!page.contains("<form") && !page.contains("<button"), "{page}");
    for action in instar_report::Action::ALL {
        let response = send(&served, action.as_str(), &[OWN, FORM], "").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{action:?}");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("form-action 'none'"), "{policy}");
    }
    assert_eq!(writes(&asked), []);
}

#[tokio::test]
async fn a_button_writes_what_the_command_beside_it_writes() {
    let (served, asked) = acting(upgrade("Workers", &json!([])), Writes::Allowed, MayWrite::Actions);
    let page = page(&served).await;
    assert!(
        page.contains("same-origin") && !page.contains("Nothing is written here"),
        "{page}"
    );
    for command in ["pause prod", "abort prod", "rollback prod"] {
        let command = format!("kubectl instar {command} -n team --context admin@prod");
        assert!(page.contains(&command), "{command}: {page}");
    }
    assert!(
        page.contains("back to v1.34.3"),
        "what a rollback does is read before it is clicked: {page}"
    );
    for absent in ["resume", "retry", "approve", "upgrade"] {
        assert!(!page.contains(&format!("action=\"prod/{absent}\"")), "{absent}: {page}");
    }
    assert_eq!(writes(&asked), [], "to look changes nothing");

    let response = send(&served, "pause", &[OWN, FORM], &form(&page, "pause")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("form-action 'self'"), "{policy}");
    let answer = text(response).await;
    assert!(
        answer.contains("/up paused") && answer.contains("kubectl instar pause prod"),
        "{answer}"
    );
    let patch = json!({ "metadata": { "resourceVersion": "7" }, "spec": { "paused": true } });
    assert_eq!(writes(&asked), [(Method::PATCH, format!("{UPGRADES}/up"), patch)]);

    let response = send(&served, "rollback", &[OWN, FORM], &form(&page, "rollback")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let (method, _, created) = writes(&asked).pop().unwrap();
    assert_eq!(
        (method, &created["spec"]["operation"]),
        (Method::POST, &json!("Rollback"))
    );
    assert_eq!(created["spec"]["rollbackOf"], "up");
}

/// Headers, body, and what is answered.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c str, StatusCode);

#[tokio::test]
async fn what_is_no_form_of_the_page_writes_nothing() {
    let (served, asked) = acting(upgrade("Workers", &json!([])), Writes::Allowed, MayWrite::Actions);
    let page = page(&served).await;
    let body = form(&page, "pause");
    let Actions::Allowed(secret) = &served.actions else {
        panic!("no secret");
    };
    let no_secret = body.replace(secret.as_str(), served.token.as_str());
    let cross = ("sec-fetch-site", "cross-site");
    let navigate = ("sec-fetch-mode", "navigate");
    let document = ("sec-fetch-dest", "document");
    let json = ("content-type", "application/json");
    let cases: [Case<'_>; 8] = [
        (&[FORM], &body, StatusCode::FORBIDDEN),
        (&[("origin", "null"), FORM], &body, StatusCode::FORBIDDEN),
        (&[("origin", "http://evil.test"), FORM], &body, StatusCode::FORBIDDEN),
        // Another server of this machine.
        (
            &[("origin", "http://127.0.0.1:9999"), FORM],
            &body,
            StatusCode::FORBIDDEN,
        ),
        // A link is answered to; a form of another site is not.
        (&[OWN, FORM, cross, navigate, document], &body, StatusCode::FORBIDDEN),
        (&[OWN, FORM], &no_secret, StatusCode::FORBIDDEN),
        (&[OWN, FORM], "", StatusCode::FORBIDDEN),
        (&[OWN, json], "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ];
    for (headers, body, status) in cases {
        let response = send(&served, "pause", headers, body).await;
        assert_eq!(response.status(), status, "{headers:?}");
        let text = text(response).await;
        assert!(text.starts_with("refused: "), "{text}");
    }
    let long = format!("{body}&target={}", "x".repeat(20_000));
    let response = send(&served, "pause", &[OWN, FORM], &long).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for action in instar_report::Action::ALL {
        let path = format!("/{}/c/team/prod/{}?{body}", served.token.as_str(), action.as_str());
        let response = get(&served, &path, &[]).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{action:?}");
    }
    assert_eq!(
        send(&served, "delete", &[OWN, FORM], &body).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(writes(&asked), []);
}

#[tokio::test]
async fn a_refusal_is_said_in_words() {
    let (served, asked) = acting(upgrade("Workers", &json!([])), Writes::Forbidden, MayWrite::Actions);
    let body = form(&page(&served).await, "abort");
    let response = send(&served, "abort", &[OWN, FORM], &body).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let answer = text(response).await;
    assert!(
        answer.contains("Not done") && answer.contains("cannot patch resource"),
        "{answer}"
    );
    assert!(answer.contains("href=\"../prod\""), "{answer}");
    assert_eq!(writes(&asked).len(), 1);
}

#[tokio::test]
async fn only_what_was_shown_is_done() {
    let entry = |version: &str| {
        format!(
            "waits for {{\"before\": \"Workers\", \"version\": \"{version}\", \"target\": \"v1.35.4\"}} in spec.approvals"
        )
    };
    let row = |version: &str| {
        json!([{ "reason": "ApprovalMissing", "level": "Info", "impact": "Stalled", "kind": "", "name": "", "count": 1,
            "since": "2026-11-30T10:00:00Z", "message": entry(version), "next": "" }])
    };
    let (shown, _) = acting(upgrade("Held", &row("v1.34.3")), Writes::Allowed, MayWrite::Actions);
    let body = form(&page(&shown).await, "approve");
    let (served, asked) = acting(upgrade("Held", &row("v1.35.4")), Writes::Allowed, MayWrite::Actions);
    let body = sent_to(&body, &shown, &served);
    let response = send(&served, "approve", &[OWN, FORM], &body).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert!(text(response).await.contains("nothing was approved"));
    let other = body.replace("upgrade=up", "upgrade=before");
    let response = send(&served, "pause", &[OWN, FORM], &other).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert!(text(response).await.contains("the page showed ClusterUpgrade before"));
    assert_eq!(writes(&asked), []);

    let response = send(&served, "approve", &[OWN, FORM], &form(&page(&served).await, "approve")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let approvals = json!([{ "before": "Workers", "version": "v1.35.4", "target": "v1.35.4" }]);
    assert_eq!(writes(&asked)[0].2["spec"]["approvals"], approvals);
}

/// What the form of one run's page sends, as the other run's page would send it.
fn sent_to(body: &str, from: &Served, to: &Served) -> String {
    let (Actions::Allowed(old), Actions::Allowed(new)) = (&from.actions, &to.actions) else {
        panic!("no secret");
    };
    body.replace(old.as_str(), new.as_str())
}

/// Another ClusterUpgrade of the same name is another one, and one that was edited isn't what was shown. Its status alone
/// stops nothing of what stops it.
#[tokio::test]
async fn what_has_changed_since_is_not_written() {
    let of = |uid: &str, generation: u32, version: &str| {
        let mut upgrade = upgrade("Workers", &json!([]));
        upgrade["metadata"]["uid"] = uid.into();
        upgrade["metadata"]["generation"] = generation.into();
        upgrade["metadata"]["resourceVersion"] = version.into();
        upgrade
    };
    let (shown, _) = acting(of("u1", 1, "7"), Writes::Allowed, MayWrite::Actions);
    let page = page(&shown).await;
    for (now, action, status) in [
        (of("u1", 1, "7"), "pause", StatusCode::OK),
        (of("u1", 1, "7"), "rollback", StatusCode::OK),
        (of("u1", 1, "8"), "pause", StatusCode::OK),
        (of("u1", 1, "8"), "abort", StatusCode::OK),
        (of("u1", 1, "8"), "rollback", StatusCode::CONFLICT),
        (of("u1", 2, "8"), "pause", StatusCode::CONFLICT),
        (of("u2", 1, "7"), "abort", StatusCode::CONFLICT),
        (of("u2", 1, "7"), "rollback", StatusCode::CONFLICT),
    ] {
        let what = format!("{action} of {}", now["metadata"]);
        let (served, asked) = acting(now, Writes::Allowed, MayWrite::Actions);
        let body = sent_to(&form(&page, action), &shown, &served);
        let response = send(&served, action, &[OWN, FORM], &body).await;
        assert_eq!(response.status(), status, "{what}");
        if status == StatusCode::CONFLICT {
            let answer = text(response).await;
            assert!(
                answer.contains("ClusterUpgrade up isn't what the page showed any more"),
                "{what}: {answer}"
            );
            assert_eq!(writes(&asked), [], "{what}");
        }
    }
}

#[tokio::test]
async fn what_admission_warns_of_stands_beside_what_was_done() {
    let (served, asked) = acting(upgrade("Completed", &json!([])), Writes::Warned, MayWrite::Actions);
    let body = form(&page(&served).await, "upgrade") + "&target=v1.99.9";
    let response = send(&served, "upgrade", &[OWN, FORM], &body).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer = text(response).await;
    assert_eq!(writes(&asked).len(), 1);
    assert!(
        answer.contains("created") && answer.contains(">Warning</span>"),
        "{answer}"
    );
    let warned = "&quot;v1.99.9&quot; is not in the catalog; create its release [rule upgrade-target]</p>";
    assert!(answer.contains(warned), "{answer}");

    let (served, _) = acting(upgrade("Workers", &json!([])), Writes::Allowed, MayWrite::Actions);
    let response = send(&served, "pause", &[OWN, FORM], &form(&page(&served).await, "pause")).await;
    let answer = text(response).await;
    assert!(!answer.contains("Warning"), "{answer}");
}

#[tokio::test]
async fn what_was_taken_back_is_begun_again_and_an_upgrade_needs_a_target() {
    let mut over = upgrade("RolledBack", &json!([]));
    over["metadata"]["annotations"] = json!({ "upgrade.cluster.x-k8s.io/finished": "RolledBack" });
    let (served, asked) = acting(over, Writes::Allowed, MayWrite::Actions);
    let page = page(&served).await;
    assert!(
        page.contains("kubectl instar upgrade prod -n team --context admin@prod --to v1.35.4 --retry"),
        "{page}"
    );
    let response = send(&served, "retry", &[OWN, FORM], &form(&page, "retry")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(writes(&asked)[0].2["spec"], json!({ "retry": 1 }));

    let body = form(&page, "upgrade");
    let response = send(&served, "upgrade", &[OWN, FORM], &format!("{body}&target=+")).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(writes(&asked).len(), 1);
    let response = send(&served, "upgrade", &[OWN, FORM], &format!("{body}&target=v1.36.0")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let (method, path, created) = writes(&asked).pop().unwrap();
    assert_eq!((method, path.as_str()), (Method::POST, UPGRADES));
    assert_eq!(created["spec"]["target"], "v1.36.0");
}
