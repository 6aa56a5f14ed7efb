use instar_api::KubernetesReleaseSpec;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::subject::{ReleaseView, Written};

fn gate(changes: &Value) -> Gate {
    let mut gate = json!({
        "name": "db",
        "when": "AfterWorkers",
        "observe": { "cluster": "Workload", "apiVersion": "a.example/v1", "kind": "Db", "namespace": "apps", "labelSelector": {}, "minObjects": 2 },
        "inProgressWhen": "status.phase == 'Upgrading'",
        "failedWhen": "status.phase == 'Failed'",
        "readyWhen": "status.phase == 'Ready'",
    });
    gate.as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    Gate::read(&serde_json::from_value(gate).unwrap()).unwrap()
}

fn subject(labels: &Value) -> Subject {
    let spec: KubernetesReleaseSpec = serde_json::from_value(json!({ "version": "v1.35.2" })).unwrap();
    let cluster = json!({ "metadata": { "name": "c", "namespace": "team-a", "labels": labels } });
    let written = Written {
        value: json!("v2"),
        at: Timestamp::UNIX_EPOCH,
    };
    Subject::new(
        &ReleaseView::of("r35", &spec),
        &cluster,
        Some(&written),
        Timestamp::UNIX_EPOCH,
    )
}

fn db(name: &str, status: &Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": "apps", "generation": 2 }, "status": status })
}

fn in_phase(name: &str, phase: &str) -> Value {
    db(name, &json!({ "phase": phase, "observedGeneration": 2 }))
}

fn judge(gate: &Gate, objects: &[Value]) -> Verdict {
    gate.judge(objects, &subject(&Value::Null))
}

#[test]
fn the_worst_object_counts() {
    let gate = gate(&json!({}));
    let (ready, going, failed) = (
        in_phase("a", "Ready"),
        in_phase("b", "Upgrading"),
        in_phase("c", "Failed"),
    );
    assert_eq!(judge(&gate, &[ready.clone(), ready.clone()]), Verdict::Ready);
    assert_eq!(
        judge(&gate, &[ready.clone(), going.clone(), going.clone()]),
        Verdict::InProgress(
            "Db apps/b: not ready: inProgressWhen holds: status.phase == 'Upgrading' (and 1 more)".to_owned()
        )
    );
    assert_eq!(
        judge(&gate, &[going.clone(), failed]),
        Verdict::Failed(
            "Db apps/c: failed: failedWhen holds: status.phase == 'Failed' (status.phase is Failed)".to_owned()
        )
    );
    let odd = db("d", &json!({ "phase": { "a": 1 }, "observedGeneration": 2 }));
    assert!(
        matches!(judge(&gate, &[odd]), Verdict::InProgress(_)),
        "a map is no text, and no phase"
    );
    let other = gate_reading("status.phase + 1 == 2");
    assert_eq!(
        judge(&other, &[going]),
        Verdict::Unknown(
            "Db apps/b: readyWhen can't be evaluated: it applies an operator or a function to a value of another type"
                .to_owned()
        )
    );
}

fn gate_reading(ready_when: &str) -> Gate {
    gate(&json!({ "inProgressWhen": "false", "failedWhen": "false", "readyWhen": ready_when }))
}

#[test]
fn what_is_missing_is_named() {
    let gate = gate(&json!({}));
    assert_eq!(
        judge(&gate, &[in_phase("a", "Ready")]),
        Verdict::InProgress(
            "1 objects of kind Db with the labels of labelSelector are there in namespace apps, in the workload cluster, and there have to be 2"
                .to_owned()
        )
    );
    assert_eq!(
        judge(&gate, &[db("a", &json!({ "observedGeneration": 2 }))]),
        Verdict::InProgress("Db apps/a: not ready: status.phase is absent (inProgressWhen)".to_owned())
    );
    let mut named = json!({ "observe": { "cluster": "Management", "apiVersion": "v1", "kind": "Db", "name": "a" } });
    let one = self::gate(&named);
    assert_eq!(
        judge(&one, &[]),
        Verdict::InProgress("Db a is not there, in the management cluster".to_owned())
    );
    named["observe"]["minObjects"] = json!(0);
    assert_eq!(judge(&self::gate(&named), &[]), Verdict::Ready);
    let mut dying = in_phase("a", "Ready");
    dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(
        judge(&gate, &[dying]),
        Verdict::InProgress("Db apps/a: not ready: it is being deleted".to_owned())
    );
}

#[test]
fn an_old_status_does_not_count() {
    let old = db("a", &json!({ "phase": "Ready", "observedGeneration": 1 }));
    let silent = db("a", &json!({ "phase": "Ready" }));
    let conditions = |observed: &[Value]| {
        let conditions: Vec<Value> = observed
            .iter()
            .map(|observed| json!({ "type": "Ready", "status": "True", "observedGeneration": observed }))
            .collect();
        db("a", &json!({ "phase": "Ready", "conditions": conditions }))
    };
    let mut without = in_phase("a", "Ready");
    without["metadata"].as_object_mut().unwrap().remove("generation");
    let new = json!(2);
    for (rule, object, why) in [
        (
            "Status",
            &old,
            Some("its status is of generation 1, and the object is at 2"),
        ),
        (
            "Status",
            &silent,
            Some("status.observedGeneration is absent (generation: Status)"),
        ),
        (
            "Status",
            &without,
            Some("metadata.generation is absent: a kind without it needs generation: Ignore"),
        ),
        ("Ignore", &old, None),
        ("Ignore", &without, None),
        (
            "Conditions",
            &silent,
            Some("status.conditions is absent (generation: Conditions)"),
        ),
        (
            "Conditions",
            &conditions(&[]),
            Some("status.conditions is absent (generation: Conditions)"),
        ),
        ("Conditions", &conditions(std::slice::from_ref(&new)), None),
        (
            "Conditions",
            &conditions(&[new.clone(), json!(1)]),
            Some("its condition Ready is of generation 1, and the object is at 2"),
        ),
        (
            "Conditions",
            &conditions(&[new, Value::Null]),
            Some("its condition Ready has no observedGeneration (generation: Conditions)"),
        ),
    ] {
        let mut gate = gate(&json!({ "generation": rule }));
        gate.observe.min_objects = 1;
        let expected = why.map_or(Verdict::Ready, |why| {
            Verdict::InProgress(format!("Db apps/a: not ready: {why}"))
        });
        assert_eq!(judge(&gate, std::slice::from_ref(object)), expected, "{rule}, {object}");
    }
}

#[test]
fn it_counts_for_the_clusters_that_it_is_for() {
    let gate = gate(
        &json!({ "onlyIf": "'cpaas.io/network-type' in cluster.metadata.labels && cluster.metadata.labels['cpaas.io/network-type'] == 'kube-ovn'" }),
    );
    for (labels, applies) in [
        (json!({ "cpaas.io/network-type": "kube-ovn" }), Applies::Yes),
        (json!({ "cpaas.io/network-type": "calico" }), Applies::No),
        (json!({}), Applies::No),
        (Value::Null, Applies::No),
    ] {
        assert_eq!(gate.applies(&subject(&labels)), applies, "{labels}");
    }
    let version = self::gate(
        &json!({ "onlyIf": "release.version == 'v1.35.2' && release.revision == 1 && cluster.metadata.name == 'c'" }),
    );
    assert_eq!(version.applies(&subject(&Value::Null)), Applies::Yes);
    let absent = self::gate(&json!({ "onlyIf": "cluster.spec.topology.class == 'a'" }));
    assert_eq!(
        absent.applies(&subject(&Value::Null)),
        Applies::Unknown("cluster.spec is absent (onlyIf): ask with has() or in first".to_owned())
    );
}

#[test]
fn too_many_objects_are_not_looked_at() {
    let many = vec![in_phase("a", "Ready"); 1_001];
    assert_eq!(
        judge(&gate(&json!({})), &many),
        Verdict::Unknown(
            "1001 objects of kind Db are observed, and at most 1000 are allowed: narrow the labelSelector".to_owned()
        )
    );
}

#[test]
fn many_objects_take_no_longer_than_a_few() {
    let gate = Gate::read(
        &serde_json::from_value(json!({
            "name": "a",
            "when": "BeforeWorkers",
            "observe": { "cluster": "Workload", "apiVersion": "v1", "kind": "ConfigMap",
                         "labelSelector": { "matchLabels": { "a": "b" } } },
            "readyWhen": "status.items.all(a, status.items.all(b, a <= b || a > b))",
            "generation": "Ignore",
        }))
        .unwrap(),
    )
    .unwrap();
    let items: Vec<u32> = (0..500).collect();
    let object = json!({ "metadata": { "name": "a" }, "status": { "items": items } });
    let objects = vec![object; 1_000];
    let cluster = json!({ "metadata": {} });
    let release = ReleaseView {
        name: None,
        version: "v1.35.2".parse().unwrap(),
        revision: None,
    };
    let subject = Subject::new(&release, &cluster, None, Timestamp::UNIX_EPOCH);
    let verdict = gate.judge(&objects, &subject);
    let Verdict::Unknown(text) = &verdict else {
        panic!("{verdict:?}");
    };
    assert!(text.starts_with("1000 objects of kind ConfigMap may take"), "{text}");
}
