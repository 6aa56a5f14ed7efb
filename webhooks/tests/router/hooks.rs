//! The Runtime Hooks, asked as Cluster API does.

use axum::http::StatusCode;
use instar_admission::hook::Hook;
use instar_testkit::World;
use instar_webhooks::HookRoute;
use serde_json::{Value, json};

use super::asked::App;

const CONTROL_PLANE: HookRoute = HookRoute::Hook(Hook::BeforeControlPlaneUpgrade);
const WORKERS: HookRoute = HookRoute::Hook(Hook::BeforeWorkersUpgrade);

fn app() -> App {
    App::new(&World::named("topology").unwrap())
}

fn request(annotations: &Value, workers: &Value) -> Value {
    json!({
        "apiVersion": "hooks.runtime.cluster.x-k8s.io/v1alpha1",
        "kind": "BeforeControlPlaneUpgradeRequest",
        "settings": {},
        "cluster": {
            "metadata": { "namespace": "ns", "name": "c", "annotations": annotations },
            "spec": { "topology": { "classRef": { "name": "class" }, "version": "v1.35.4", "workers": workers } },
        },
        "fromKubernetesVersion": "v1.33.5",
        "toKubernetesVersion": "v1.34.3",
        "controlPlaneUpgrades": [{ "version": "v1.34.3" }, { "version": "v1.35.4" }],
    })
}

async fn ask(route: HookRoute, request: &Value) -> Value {
    let (status, answer) = app().post_to(&route.path(), request.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

#[tokio::test]
async fn discovery_names_each_hook_at_its_path() {
    let answer = ask(HookRoute::Discovery, &json!({})).await;
    assert_eq!(
        (&answer["status"], &answer["kind"]),
        (&json!("Success"), &json!("DiscoveryResponse"))
    );
    let handlers = answer["handlers"].as_array().unwrap();
    assert_eq!(handlers.len(), Hook::ALL.len());
    for (handler, hook) in handlers.iter().zip(Hook::ALL) {
        let called = &handler["requestHook"];
        let path = format!(
            "/{}/{}/{}",
            called["apiVersion"].as_str().unwrap(),
            called["hook"].as_str().unwrap().to_lowercase(),
            handler["name"].as_str().unwrap()
        );
        assert_eq!(path, HookRoute::Hook(hook).path());
        assert_eq!(handler["failurePolicy"], "Fail");
    }
}

#[tokio::test]
async fn a_step_waits_for_the_answer_in_the_cluster() {
    let pins = ("upgrade.cluster.x-k8s.io/releases", "{}");
    let answer = |verdict: &str| format!(r#"{{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3",{verdict}}}"#);
    let annotated = |answer: &str| json!({ (pins.0): pins.1, "upgrade.cluster.x-k8s.io/hook-answer": answer });
    let (go, open, over, hold) = (
        answer(r#""answer":"Go""#),
        answer(r#""answer":"Go","until":"9000-01-01T00:00:00Z""#),
        answer(r#""answer":"Go","until":"2026-01-01T00:00:00Z""#),
        answer(r#""answer":"Hold","reason":"no window is open""#),
    );
    let pools = json!({ "machinePools": [{ "name": "mp-0", "class": "w" }] });
    for (route, annotations, workers, retry, message) in [
        (CONTROL_PLANE, annotated(&go), json!({}), 0, ""),
        (CONTROL_PLANE, annotated(&open), json!({}), 0, ""),
        (
            CONTROL_PLANE,
            annotated(&over),
            json!({}),
            20,
            "the control plane might go to v1.34.3 until 2026-01-01T00:00:00Z",
        ),
        (CONTROL_PLANE, annotated(&hold), json!({}), 20, "no window is open"),
        (
            CONTROL_PLANE,
            json!({ (pins.0): pins.1 }),
            json!({}),
            5,
            "Instar's controller has yet to say",
        ),
        (
            CONTROL_PLANE,
            json!({ "upgrade.cluster.x-k8s.io/swap-history": "{}" }),
            json!({}),
            5,
            "Instar's controller has yet to say",
        ),
        (CONTROL_PLANE, json!({}), json!({}), 0, ""),
        (CONTROL_PLANE, json!({ "another": "annotation" }), json!({}), 0, ""),
        (WORKERS, annotated(&go), json!({}), 0, ""),
        (
            WORKERS,
            annotated(&go),
            pools,
            5,
            "Instar's controller has yet to say whether the workers",
        ),
    ] {
        let answer = ask(route, &request(&annotations, &workers)).await;
        assert_eq!(answer["status"], "Success", "{answer}");
        assert_eq!(answer["retryAfterSeconds"], retry, "{annotations}: {answer}");
        let said = answer["message"].as_str().unwrap();
        assert!(
            said.starts_with(message) && said.is_empty() == message.is_empty(),
            "{said}"
        );
    }
    // A classic Cluster has no steps of Cluster API's.
    let mut classic = request(&annotated(&hold), &json!({}));
    classic["cluster"]["spec"] = json!({});
    assert_eq!(ask(CONTROL_PLANE, &classic).await["retryAfterSeconds"], 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_failure() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"{"cluster":{}}"#,
        r#"{"toKubernetesVersion":"v1.34.3"}"#,
        r#"{"toKubernetesVersion":"v1.34.3","cluster":"text"}"#,
        r#"{"toKubernetesVersion":34,"cluster":{}}"#,
        r#"{"toKubernetesVersion":"v1.34.3","cluster":{"metadata":{"annotations":{"a":1}}}}"#,
        &format!(
            r#"{{"toKubernetesVersion":"v1.34.3","cluster":"{}"}}"#,
            "x".repeat(100_000)
        ),
        &deep,
        &format!(r#"{{"toKubernetesVersion":"v1.34.3","cluster":{{"spec":{deep}}}}}"#),
    ] {
        for route in [CONTROL_PLANE, WORKERS] {
            let (status, answer) = app().post_to(&route.path(), body.to_owned()).await;
            assert_eq!(
                (status, &answer["status"]),
                (StatusCode::OK, &json!("Failure")),
                "{answer}"
            );
            let said = answer["message"].as_str().unwrap();
            assert!(said.starts_with("the body is not a request of the hook "), "{said}");
            assert!(said.len() <= 1024, "{}", said.len());
            assert_eq!(answer["retryAfterSeconds"], 0);
        }
    }
}
