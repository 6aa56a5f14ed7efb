//! Which Events are posted, and what becomes of the others.

use std::sync::{Arc, Mutex};

use axum::http::{Request, Response};
use instar_admission::{Finding, Rule};
use instar_api::Enforcement;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

fn overridden(name: &str) -> OverriddenRule {
    OverriddenRule {
        api_version: "cluster.x-k8s.io/v1beta2".to_owned(),
        kind: "MachineDeployment".to_owned(),
        namespace: "ns".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        user: "alice".to_owned(),
        finding: Finding {
            rule: Rule::WorkerNotNewer,
            object: format!("MachineDeployment ns/{name}"),
            field: "spec.template.spec.version",
            what: "v1.36.0 is newer".to_owned(),
            remediation: "wait".to_owned(),
            of: None,
            strictest: Enforcement::Enforce,
        },
    }
}

#[test]
fn an_event_says_who_and_what() {
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    assert_eq!(
        serde_json::to_value(event(&overridden("md"), now)).unwrap(),
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": "instar-webhook-", "namespace": "ns"},
            "action": "Admit",
            "eventTime": "2026-11-21T12:00:00.000000Z",
            "note": "alice switched off rule worker-not-newer for this edit: MachineDeployment ns/md: \
                     spec.template.spec.version: v1.36.0 is newer; wait [rule worker-not-newer]",
            "reason": "RuleSwitchedOff",
            "regarding": {
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineDeployment", "name": "md", "namespace": "ns",
                "uid": "uid-of-md",
            },
            "reportingController": "instar-webhook",
            "reportingInstance": "instar-webhook",
            "type": "Warning",
        })
    );
}

#[test]
fn an_event_about_an_object_without_name_or_namespace() {
    let cluster_scoped = OverriddenRule {
        namespace: String::new(),
        ..overridden("")
    };
    let event = event(&cluster_scoped, Timestamp::UNIX_EPOCH);
    let regarding = event.regarding.unwrap();
    assert_eq!((regarding.name, regarding.namespace), (None, None));
    assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
}

#[test]
fn a_note_is_cut_between_letters() {
    for length in [0, 1, NOTE - 1, NOTE, NOTE + 1, 5000] {
        for letter in ["a", "ä", "語"] {
            let text = letter.repeat(length);
            let note = cut(text.clone());
            assert!(note.len() <= NOTE, "{length} {letter}");
            assert_eq!(note == text, text.len() <= NOTE, "{length} {letter}");
            assert!(text.starts_with(note.trim_end_matches("...")));
        }
    }
}

/// An API server that answers every creation with a code, and what it was sent.
fn server(code: u16) -> (Client, Arc<Mutex<Vec<Value>>>) {
    let posted = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&posted);
    let answer = move |request: Request<Body>| {
        let seen = Arc::clone(&seen);
        async move {
            assert_eq!(request.method(), "POST");
            assert_eq!(request.uri().path(), "/apis/events.k8s.io/v1/namespaces/ns/events");
            let body = request.into_body().collect_bytes().await?;
            let event: Value = serde_json::from_slice(&body).unwrap();
            seen.lock().unwrap().push(event["regarding"]["name"].clone());
            let answer = if code == 201 {
                body.to_vec()
            } else {
                let status =
                    json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "No", "code": code});
                status.to_string().into_bytes()
            };
            Ok::<_, kube::Error>(Response::builder().status(code).body(Body::from(answer)).unwrap())
        }
    };
    (Client::new(tower::service_fn(answer), "default"), posted)
}

fn metric(metrics: &Metrics) -> String {
    let page = metrics.encode().unwrap();
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix("instar_override_events_dropped_total "));
    value.unwrap().to_owned()
}

#[tokio::test]
async fn queued_events_are_posted_before_the_end() {
    let metrics = Metrics::default();
    let (events, publisher) = Events::new(&metrics);
    for name in ["a", "b", "c"] {
        events.record(overridden(name));
    }
    let (client, posted) = server(201);
    let stop = CancellationToken::new();
    stop.cancel();
    publisher.publish(client, stop).await;
    assert_eq!(*posted.lock().unwrap(), ["a", "b", "c"]);
    assert_eq!(metric(&metrics), "0");
    // The publisher has ended: nothing waits, and the Event counts as dropped.
    events.record(overridden("late"));
    assert_eq!(metric(&metrics), "1");
}

#[tokio::test]
async fn refused_and_surplus_events_are_counted() {
    let metrics = Metrics::default();
    let (events, publisher) = Events::new(&metrics);
    for _ in 0..QUEUE + 2 {
        events.record(overridden("a"));
    }
    assert_eq!(metric(&metrics), "2");
    let (client, posted) = server(403);
    let stop = CancellationToken::new();
    stop.cancel();
    publisher.publish(client, stop).await;
    assert_eq!(posted.lock().unwrap().len(), QUEUE);
    assert_eq!(metric(&metrics), (QUEUE + 2).to_string());
}
