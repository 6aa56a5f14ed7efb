//! The real router, asked with AdmissionReviews as an API server sends them.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod asked;
mod cases;
mod hooks;

use axum::http::StatusCode;
use instar_admission::GuardedKind;
use instar_testkit::World;
use instar_webhooks::Route;
use serde_json::{Value, json};

use asked::{App, patched};

const KIND: &str = "Cluster";

fn app() -> App {
    App::new(&World::named("topology").unwrap())
}

fn kind(kind: &str) -> Value {
    json!({"group": "cluster.x-k8s.io", "version": "v1beta2", "kind": kind})
}

fn cluster(version: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": KIND, "metadata": {"namespace": "ns", "name": "c"},
        "spec": {"topology": {"classRef": {"name": "class"}, "version": version}},
    })
}

fn created(object: &Value) -> Value {
    json!({"operation": "CREATE", "kind": kind(KIND), "namespace": "ns", "name": "c", "object": object})
}

const MUTATE: Route = Route::MutateCluster;
const VALIDATE: Route = Route::Validate(GuardedKind::Cluster);

#[tokio::test]
async fn a_cluster_gets_its_version_and_pins() {
    let app = app();
    let response = app.review(MUTATE, created(&cluster("v1.34"))).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["warnings"], json!(["v1.34 means v1.34.3, release v34"]));
    let written = patched(&cluster("v1.34"), &response);
    assert_eq!(written["spec"]["topology"]["version"], "v1.34.3");
    let pins = written["metadata"]["annotations"]["upgrade.cluster.x-k8s.io/releases"]
        .as_str()
        .unwrap();
    assert!(
        pins.contains(
            r#""controlPlane":{"/spec/template/spec/backend/inMemory/vm/provisioning/startupDuration":"1.34s"}"#
        ),
        "{pins}"
    );
    // What was written passes the validating half, and what was not doesn't.
    let response = app.review(VALIDATE, created(&written)).await;
    assert_eq!(response["allowed"], true, "{response}");
    let response = app.review(VALIDATE, created(&cluster("v1.34.3"))).await;
    assert_eq!(
        (
            &response["allowed"],
            &response["status"]["code"],
            &response["status"]["reason"]
        ),
        (&json!(false), &json!(403), &json!("Forbidden"))
    );
    assert_eq!(
        response["status"]["message"],
        "Cluster ns/c: spec.topology: the version or the pins are not what Instar writes: it has learned of the class or of a release since it wrote them, or another mutating webhook has changed them after it; try again; if it stays, let that webhook run before instar-mutating-webhook-configuration, or leave these fields alone [rule pins-by-hand]"
    );
    assert_eq!(response["auditAnnotations"], json!({"refused-by": "pins-by-hand"}));
    let text = app.metrics.encode().unwrap();
    assert!(
        text.contains(r#"instar_admission_requests_total{route="/mutate/cluster",verdict="changed"} 1"#),
        "{text}"
    );
    assert!(
        text.contains(r#"instar_admission_denials_total{rule="pins-by-hand"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn annotations_that_are_there_stay() {
    let mut object = cluster("v1.34.3");
    object["metadata"]["annotations"] = json!({"a": "b"});
    let response = app().review(MUTATE, created(&object)).await;
    assert_eq!(patched(&object, &response)["metadata"]["annotations"]["a"], "b");
}

#[tokio::test]
async fn a_refusal_writes_nothing() {
    let response = app().review(MUTATE, created(&cluster("v1.40.0"))).await;
    assert_eq!(response["allowed"], false);
    assert!(response.get("patch").is_none());
}

#[tokio::test]
async fn a_dry_run_rings_no_bell() {
    let app = App::new(&World::named("classic").unwrap());
    let deployment = |version: &str, annotations: Value| {
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineDeployment",
            "metadata": {"namespace": "ns", "name": "md-0", "annotations": annotations},
            "spec": {"clusterName": "c", "template": {"spec": {"version": version}}},
        })
    };
    let broken = json!({"upgrade.cluster.x-k8s.io/break-glass": "worker-not-newer: why"});
    for (dry_run, rings) in [(true, 0), (false, 1)] {
        let request = json!({
            "operation": "UPDATE", "kind": kind("MachineDeployment"), "namespace": "ns", "name": "md-0", "dryRun": dry_run,
            "userInfo": {"username": "somebody"},
            "oldObject": deployment("v1.33.5", json!({})), "object": deployment("v1.34.1", broken.clone()),
        });
        let response = app.review(Route::Validate(GuardedKind::Worker), request).await;
        assert_eq!(response["allowed"], true, "{response}");
        assert_eq!(
            response["auditAnnotations"],
            json!({"switched-off": "worker-not-newer"})
        );
        let rung = app.rung.take();
        assert_eq!(rung.len(), rings, "{rung:?}");
        for broken in rung {
            assert_eq!(
                (
                    broken.api_version.as_str(),
                    broken.kind.as_str(),
                    broken.namespace.as_str()
                ),
                ("cluster.x-k8s.io/v1beta2", "MachineDeployment", "ns")
            );
            assert_eq!((broken.name.as_str(), broken.user.as_str()), ("md-0", "somebody"));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_what_is_wrong() {
    let app = app();
    for body in [
        "",
        "{",
        "[]",
        r#"{"request":{}}"#,
        r#"{"request":{"uid":"u","operation":"UPGRADE"}}"#,
        // An API server's objects have metadata, and into others nothing could be written.
        r#"{"request":{"uid":"u","operation":"CREATE","object":{"spec":{}}}}"#,
    ] {
        let (status, answer) = app.post(MUTATE, body.to_owned()).await;
        let has_uid = body.contains("uid");
        let expected = if has_uid {
            StatusCode::OK
        } else {
            StatusCode::BAD_REQUEST
        };
        assert_eq!(status, expected, "{body}");
        let (text, start) = if has_uid {
            (
                &answer["response"]["status"]["message"],
                "cannot read the object of the request: ",
            )
        } else {
            (&answer, "the body is not an AdmissionReview with a request: ")
        };
        assert!(text.as_str().unwrap().starts_with(start), "{answer}");
    }
    for route in Route::all() {
        let kind = match route {
            Route::MutateCluster | Route::MutateRestoredCluster | Route::ValidateRestoredCluster => KIND,
            Route::MutateControlPlane => "KubeadmControlPlane",
            Route::MutateWorker => "MachineDeployment",
            Route::MutateMachineTemplate | Route::ValidateMovedTemplate => "DevMachineTemplate",
            Route::MutateKubernetesRelease => "KubernetesRelease",
            Route::MutateClusterUpgrade | Route::ValidateUpgradeWithout(_) => "ClusterUpgrade",
            Route::Validate(guard) => match guard {
                GuardedKind::Cluster => KIND,
                GuardedKind::ControlPlane => "KubeadmControlPlane",
                GuardedKind::Worker | GuardedKind::Marks => "MachineDeployment",
                GuardedKind::ClusterClass => "ClusterClass",
                GuardedKind::MachineTemplate => "DevMachineTemplate",
                GuardedKind::BootstrapTemplate => "KubeadmConfigTemplate",
                GuardedKind::OtherTemplate => "DevClusterTemplate",
                GuardedKind::KubernetesRelease => "KubernetesRelease",
                GuardedKind::ClusterUpgrade => "ClusterUpgrade",
                GuardedKind::UpgradePolicy => "UpgradePolicy",
            },
        };
        let is_deletion = route == Route::ValidateMovedTemplate;
        let operation = if is_deletion { "DELETE" } else { "UPDATE" };
        let request = json!({"operation": operation, "kind": self::kind(kind), "object": "text", "oldObject": "text"});
        let response = app.review(route, request).await;
        if matches!(route, Route::MutateKubernetesRelease | Route::MutateClusterUpgrade) {
            assert_eq!(
                response,
                json!({"uid": "the-uid", "allowed": true}),
                "{route:?} leaves it to the schema"
            );
            continue;
        }
        assert_eq!(
            (
                &response["allowed"],
                &response["status"]["code"],
                &response["status"]["reason"]
            ),
            (&json!(false), &json!(400), &json!("BadRequest")),
            "{route:?}"
        );
    }
}
