use serde_json::json;

use super::*;

fn parameters(changes: &Value) -> EtcdSnapshotParameters {
    let mut parameters = json!({
        "observe": { "cluster": "Management", "apiVersion": "example.org/v1", "kind": "Backup", "labelSelector": {} },
        "readyWhen": "status.phase == 'Completed'",
        "timestampExpression": "status.completedAt",
        "maxAge": "24h",
    });
    json_patch::merge(&mut parameters, changes);
    serde_json::from_value(parameters).unwrap()
}

fn refused(changes: &Value) -> Vec<String> {
    let refusals = refusals_of_etcd_snapshot(&parameters(changes), "team-a").into_iter();
    refusals
        .map(|refusal| format!("{} [{}]", refusal.what, refusal.rule))
        .collect()
}

#[test]
fn what_may_not_be_asked_is_named() {
    for (changes, wrong) in [
        (
            json!({ "observe": { "apiVersion": "v1", "kind": "Secret" } }),
            "etcd-snapshot: observe.kind: Secrets are never observed [gate-reach]",
        ),
        (
            json!({ "observe": { "namespace": "team-b" } }),
            "etcd-snapshot: observe.namespace: team-b is another namespace of the management cluster than the policy's own, team-a [gate-reach]",
        ),
        (
            json!({ "maxAge": "0s" }),
            "etcd-snapshot: maxAge: no snapshot is young enough for 0s [gate-readable]",
        ),
        (
            json!({ "readyWhen": "status.phase ==" }),
            "etcd-snapshot: readyWhen: it is not CEL (line 1, column 16): mismatched input '<EOF>' [gate-readable]",
        ),
        (
            json!({ "readyWhen": "release.version == 'v1.35.2'" }),
            "etcd-snapshot: readyWhen: release is no variable here; those are self, metadata, spec, status, cluster, now [gate-readable]",
        ),
        (
            json!({ "readyWhen": "!has(status.error)" }),
            "etcd-snapshot: readyWhen: it holds for an object without a status [gate-needs-status]",
        ),
        (
            json!({ "readyWhen": "status.parts.all(p, p.done)" }),
            "etcd-snapshot: readyWhen: it holds where the lists of status are empty [gate-needs-status]",
        ),
        (
            json!({ "timestampExpression": "status.a.sortBy(b, b)" }),
            "etcd-snapshot: timestampExpression: function sortBy: Instar doesn't evaluate it [gate-readable]",
        ),
        (
            json!({ "timestampExpression": "now" }),
            "etcd-snapshot: timestampExpression: it gives a time for an object without a status [gate-needs-status]",
        ),
        (
            json!({ "timestampExpression": "'2026-12-01T02:00:00Z'" }),
            "etcd-snapshot: timestampExpression: it gives a time for an object without a status [gate-needs-status]",
        ),
    ] {
        assert_eq!(refused(&changes), [wrong], "{changes}");
        assert!(SnapshotQuery::read(&parameters(&changes), "team-a").is_err());
    }
    for changes in [
        json!({}),
        json!({ "observe": { "namespace": "team-a" } }),
        json!({ "observe": { "cluster": "Workload", "namespace": "velero" } }),
        json!({ "timestampExpression": "metadata.creationTimestamp" }),
        json!({ "timestampExpression": "timestamp(status.completedAt) - duration('1h')" }),
        json!({ "timestampExpression": "status.conditions.filter(c, c.type == 'Done')[0].lastTransitionTime" }),
    ] {
        assert_eq!(refused(&changes), Vec::<String>::new(), "{changes}");
    }
}

fn backup(name: &str, phase: &str, at: &Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": "n" }, "status": { "phase": phase, "completedAt": at } })
}

fn seen(changes: &Value, objects: &[Value]) -> SnapshotsSeen {
    let query = SnapshotQuery::read(&parameters(changes), "team-a").unwrap();
    let now: Timestamp = "2026-12-01T10:00:00Z".parse().unwrap();
    query.judge(objects, &json!({}), now).unwrap()
}

#[test]
fn a_clock_that_is_wrong_hides_nothing() {
    let (good, wrong) = (json!("2026-12-01T09:00:00Z"), json!("2036-12-01T09:00:00Z"));
    let found = seen(
        &json!({}),
        &[backup("a", "Completed", &wrong), backup("b", "Completed", &good)],
    );
    assert_eq!(found.newest.unwrap().name, "b");
    assert_eq!(
        found.unknown.as_deref(),
        Some(
            "Backup n/a says 2036-12-01T09:00:00Z, which is still to come: timestampExpression has to give the time when it \
             was made"
        )
    );
}

#[test]
fn the_newest_that_is_ready_counts() {
    let (early, late) = (json!("2026-12-01T02:00:00Z"), json!("2026-12-01T04:00:00+01:00"));
    let latest = json!("2026-12-01T09:00:00Z");
    let found = seen(
        &json!({}),
        &[
            backup("a", "Completed", &early),
            backup("b", "Completed", &late),
            backup("c", "Failed", &latest),
            backup("d", "Failed", &latest),
        ],
    );
    let newest = found.newest.unwrap();
    assert_eq!((newest.name.as_str(), newest.namespace.as_deref()), ("b", Some("n")));
    assert_eq!(newest.time, "2026-12-01T03:00:00Z".parse().unwrap());
    assert_eq!(
        found.not_ready.as_deref(),
        Some("Backup n/c: readyWhen doesn't hold: status.phase == 'Completed' (status.phase is Failed)")
    );
    assert_eq!(found.unknown, None);
    assert_eq!(seen(&json!({}), &[]), SnapshotsSeen::default());
}

#[test]
fn what_is_no_time_is_said() {
    for (expression, at, why) in [
        (
            "status.completedAt",
            json!("yesterday"),
            "timestampExpression gives no time: it is no time such as 2026-12-01T02:00:00Z",
        ),
        (
            "status.completedAt",
            json!(1_796_090_400),
            "timestampExpression gives no time: it is no time such as 2026-12-01T02:00:00Z",
        ),
        (
            "status.completedAt",
            Value::Null,
            "timestampExpression gives no time: it is no time such as 2026-12-01T02:00:00Z",
        ),
        ("status.made", json!(""), "status.made is absent (timestampExpression)"),
        (
            "timestamp(status.completedAt)",
            json!("yesterday"),
            "timestampExpression gives no time: function timestamp failed on what it was given",
        ),
    ] {
        let found = seen(
            &json!({ "timestampExpression": expression }),
            &[backup("a", "Completed", &at)],
        );
        assert_eq!(
            found.unknown,
            Some(format!("Backup n/a: {why}")),
            "{expression} of {at}"
        );
        assert_eq!((found.newest, found.not_ready), (None, None));
    }
    let made = seen(
        &json!({ "timestampExpression": "timestamp(status.completedAt) - duration('1h')" }),
        &[backup("a", "Completed", &json!("2026-12-01T02:00:00Z"))],
    );
    assert_eq!(made.newest.unwrap().time, "2026-12-01T01:00:00Z".parse().unwrap());
}
