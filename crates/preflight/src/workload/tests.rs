use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn nodes(nodes: &[Value]) -> Nodes {
    let mut read = Nodes::none();
    for node in nodes {
        read.add(serde_json::from_value(node.clone()).unwrap(), now());
    }
    read
}

fn node(name: &str, ready: &Value, annotations: &Value) -> Value {
    json!({
        "metadata": { "name": name, "annotations": annotations },
        "status": { "conditions": [ready], "nodeInfo": { "kubeletVersion": "v1.34.1" } },
    })
}

#[test]
fn a_node_is_ready_while_its_kubelet_reports() {
    let ready = |status: &str, heartbeat: &str| json!({ "type": "Ready", "status": status, "reason": "R", "message": "m\nn", "lastHeartbeatTime": heartbeat });
    for (condition, why) in [
        (ready("True", "2026-11-20T11:59:00Z"), None),
        (ready("True", "2026-11-20T11:48:00Z"), None),
        (
            ready("True", "2026-11-20T11:47:59Z"),
            Some("Ready is True, and its kubelet has not reported since 2026-11-20T11:47:59Z"),
        ),
        (
            json!({ "type": "Ready", "status": "True", "lastHeartbeatTime": null }),
            None,
        ),
        (ready("False", "2026-11-20T11:59:00Z"), Some("Ready is False, R: m n")),
        (
            json!({ "type": "Ready", "status": "Unknown" }),
            Some("Ready is Unknown"),
        ),
        (
            json!({ "type": "DiskPressure", "status": "False" }),
            Some("it has no condition Ready"),
        ),
    ] {
        let found = nodes(&[node("a", &condition, &Value::Null)]);
        let found = found.not_ready.first.first().map(|node| node.why.as_str());
        assert_eq!(found, why, "{condition}");
    }
    let bare = nodes(&[json!({ "metadata": { "name": "a" } })]);
    assert_eq!((bare.total, bare.not_ready.count), (1, 1));
}

#[test]
fn of_many_nodes_few_are_kept() {
    let ready = json!({ "type": "Ready", "status": "True" });
    let mut many = Vec::new();
    for number in 0..1000 {
        let annotations = match number % 3 {
            0 => json!({ "cluster.x-k8s.io/machine": "m" }),
            1 => json!({ "cluster.x-k8s.io/owner-kind": "MachinePool" }),
            _ => Value::Null,
        };
        many.push(node(&format!("n{number}"), &ready, &annotations));
    }
    let read = nodes(&many);
    let counts: Vec<_> = read
        .kubelets
        .iter()
        .map(|(kubelet, nodes)| (kubelet.1, nodes.count, nodes.first.len()))
        .collect();
    assert_eq!(
        counts,
        [(ManagedNode::ByClusterApi, 667, 3), (ManagedNode::ByNobody, 333, 3)]
    );
    assert_eq!((read.total, read.not_ready.count), (1000, 0));

    let versions: Vec<Value> = (0..100)
        .map(|minor| json!({ "metadata": { "name": "n" }, "status": { "nodeInfo": { "kubeletVersion": format!("v1.{minor}.0") } } }))
        .collect();
    let read = nodes(&versions);
    assert_eq!((read.kubelets.len(), read.other_kubelets.count), (32, 68));
}

fn webhooks(webhook: &Value) -> Webhooks {
    let configuration = json!({ "metadata": { "name": "w" }, "webhooks": [webhook] });
    let kube_system =
        json!({ "metadata": { "labels": { "kubernetes.io/metadata.name": "kube-system", "own": "yes" } } });
    let mut read = Webhooks::none();
    read.add(
        "ValidatingWebhookConfiguration",
        serde_json::from_value(configuration).unwrap(),
        &serde_json::from_value(kube_system).unwrap(),
    );
    read
}

fn webhook(resources: &[&str], others: &Value) -> Value {
    let groups = ["", "apps", "coordination.k8s.io", "rbac.authorization.k8s.io"];
    let mut webhook = json!({
        "name": "w.example.org",
        "clientConfig": { "service": { "namespace": "n", "name": "s" } },
        "rules": [{ "apiGroups": groups, "apiVersions": ["*"], "resources": resources, "operations": ["*"] }],
    });
    for (member, value) in others.as_object().unwrap() {
        webhook[member] = value.clone();
    }
    webhook
}

#[test]
fn a_webhook_is_met_by_what_it_is_asked_about() {
    let none = json!({});
    for (resources, others, met) in [
        (&["pods"][..], none.clone(), Some("pods in kube-system")),
        (&["*"], none.clone(), Some("nodes")),
        (&["*/*"], none.clone(), Some("nodes")),
        (&["pods/*"], none.clone(), Some("pods/status in kube-system")),
        (&["*/status"], none.clone(), Some("nodes/status")),
        (&["nodes/status"], none.clone(), Some("nodes/status")),
        (&["leases"], none.clone(), Some("leases in kube-system")),
        (&["clusterroles"], none.clone(), Some("clusterroles")),
        (&["deployments", "pods/eviction", "pods/log"], none.clone(), None),
        (
            &["pods"],
            json!({ "failurePolicy": "Fail" }),
            Some("pods in kube-system"),
        ),
        (&["pods"], json!({ "failurePolicy": "Ignore" }), None),
        (
            &["pods"],
            json!({ "failurePolicy": "Ignore", "timeoutSeconds": 15 }),
            None,
        ),
        (
            &["pods"],
            json!({ "failurePolicy": "Ignore", "timeoutSeconds": 16 }),
            Some("pods in kube-system"),
        ),
        (
            &["pods"],
            json!({ "matchConditions": [{ "name": "m", "expression": "false" }] }),
            None,
        ),
        (
            &["pods"],
            json!({ "objectSelector": { "matchLabels": { "inject": "yes" } } }),
            None,
        ),
        (&["pods"], json!({ "objectSelector": {} }), Some("pods in kube-system")),
        (
            &["pods"],
            json!({ "objectSelector": { "matchExpressions": [{ "key": "a", "operator": "DoesNotExist" }] } }),
            Some("pods in kube-system"),
        ),
        (
            &["pods"],
            json!({ "namespaceSelector": { "matchExpressions": [
                { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"] },
            ] } }),
            None,
        ),
        (
            &["pods", "nodes"],
            json!({ "namespaceSelector": { "matchExpressions": [{ "key": "own", "operator": "DoesNotExist" }] } }),
            Some("nodes"),
        ),
        (
            &["pods"],
            json!({ "namespaceSelector": { "matchLabels": { "own": "yes" } } }),
            Some("pods in kube-system"),
        ),
        (
            &["pods", "nodes"],
            json!({ "rules": [{ "apiGroups": ["*"], "resources": ["*"], "operations": ["DELETE", "CONNECT"] }] }),
            None,
        ),
        (
            &[],
            json!({ "rules": [{ "apiGroups": ["*"], "resources": ["*"], "operations": ["CREATE"], "scope": "Namespaced" }] }),
            Some("pods in kube-system"),
        ),
    ] {
        let read = webhooks(&webhook(resources, &others));
        let found = read.found.first().map(|effect| effect.resource.as_str());
        assert_eq!(found, met, "{resources:?} {others}");
    }
}

#[test]
fn what_answers_for_a_webhook_is_resolved() {
    let mut read = webhooks(&webhook(&["pods"], &json!({})));
    let service = read.unread().next().unwrap().clone();
    read.resolve(&service, Endpoints::None);
    assert_eq!(read.found[0].backend, Backend::Dead(service));
    assert_eq!(read.unread().next(), None);
    let url = webhooks(&webhook(&["pods"], &json!({ "clientConfig": { "url": "https://w" } })));
    assert_eq!(url.found[0].backend, Backend::Url);
}

#[test]
fn facts_are_of_their_own_probe() {
    assert!(Facts::Nodes(Nodes::none()).webhooks().is_none());
    assert!(Facts::Webhooks(Webhooks::none()).nodes().is_none());
}

#[test]
fn a_budget_may_hold_what_a_drain_evicts() {
    let budget = |name: &str, allowed: i64, pods: i64, observed: i64, selector: Value| {
        let budget = json!({
            "metadata": { "namespace": "n", "name": name, "generation": 2 },
            "spec": { "selector": selector },
            "status": { "observedGeneration": observed, "disruptionsAllowed": allowed, "expectedPods": pods },
        });
        serde_json::from_value::<BudgetView>(budget).unwrap()
    };
    let app = json!({ "matchLabels": { "app": "a" } });
    let pod = |metadata: Value| json!({ "metadata": metadata, "spec": { "nodeName": "node" } });
    let plain = pod(json!({ "name": "p", "labels": { "app": "a" } }));
    let closed = || budget("b", 0, 3, 2, app.clone());
    for (budgets, pod, held) in [
        (vec![closed()], plain.clone(), &["b"][..]),
        (vec![budget("b", 1, 3, 2, app.clone())], plain.clone(), &[]),
        (vec![budget("b", 0, 0, 2, app.clone())], plain.clone(), &[]),
        // What it allows isn't known for its present selector.
        (vec![budget("b", 1, 3, 1, app.clone())], plain.clone(), &["b"]),
        (
            vec![budget("b", 0, 3, 2, json!({ "matchLabels": { "app": "other" } }))],
            plain.clone(),
            &[],
        ),
        (vec![budget("b", 0, 3, 2, json!({}))], plain.clone(), &["b"]),
        (vec![budget("b", 0, 3, 2, Value::Null)], plain.clone(), &[]),
        (
            vec![budget("b", 1, 3, 2, app.clone()), budget("c", 1, 3, 2, json!({}))],
            plain.clone(),
            &["b", "c"],
        ),
        (
            vec![closed()],
            pod(json!({ "name": "p", "labels": { "app": "a", "cluster.x-k8s.io/drain": "skip" } })),
            &[],
        ),
        (
            vec![closed()],
            pod(json!({ "name": "p", "labels": { "app": "a", "cluster.x-k8s.io/drain": "wait-completed" } })),
            &[],
        ),
        (
            vec![closed()],
            pod(json!({ "name": "p", "labels": { "app": "a" }, "deletionTimestamp": "2026-11-20T12:00:00Z" })),
            &[],
        ),
        (
            vec![closed()],
            pod(
                json!({ "name": "p", "labels": { "app": "a" }, "annotations": { "kubernetes.io/config.mirror": "x" } }),
            ),
            &[],
        ),
        (
            vec![closed()],
            pod(
                json!({ "name": "p", "labels": { "app": "a" }, "ownerReferences": [{ "kind": "DaemonSet", "controller": true }] }),
            ),
            &[],
        ),
        (
            vec![closed()],
            pod(
                json!({ "name": "p", "labels": { "app": "a" }, "ownerReferences": [{ "kind": "ReplicaSet", "controller": true }] }),
            ),
            &["b"],
        ),
    ] {
        let mut read = BudgetReader::default();
        for budget in budgets {
            read.add(budget);
        }
        read.add_pod("n", serde_json::from_value(pod.clone()).unwrap());
        let candidates = read.candidates();
        let found = candidates
            .first()
            .map_or(&[][..], |candidate| candidate.budgets.as_slice());
        assert_eq!(found, held, "{pod}");
        assert!(held.is_empty() || read.namespaces().eq(["n"]), "{pod}");
    }
}

/// The first ones are tried, and no budget should stay untried for the many Pods of another.
#[test]
fn each_budget_has_a_turn() {
    let mut read = BudgetReader::default();
    for name in ["a", "b"] {
        let budget = json!({
            "metadata": { "namespace": "n", "name": name },
            "spec": { "selector": { "matchLabels": { "app": name } } },
            "status": { "expectedPods": 3 },
        });
        read.add(serde_json::from_value(budget).unwrap());
    }
    for (name, app) in [("a-0", "a"), ("a-1", "a"), ("a-2", "a"), ("b-0", "b")] {
        let pod = json!({ "metadata": { "name": name, "labels": { "app": app } }, "spec": { "nodeName": "node" } });
        read.add_pod("n", serde_json::from_value(pod).unwrap());
    }
    let order: Vec<String> = read.candidates().into_iter().map(|candidate| candidate.pod).collect();
    assert_eq!(order, ["a-0", "b-0", "a-1", "a-2"]);
    assert_eq!(read.finish(), Budgets::default());
}

fn metrics(lines: &[&str]) -> ApiRequests {
    let mut metrics = MetricsReader::default();
    for line in lines {
        metrics.line(line);
    }
    let mut requests = ApiRequests::none(Coverage::Pods);
    requests.add("a", metrics);
    requests
}

#[test]
fn requests_are_read_line_by_line() {
    let found = metrics(&[
        "# HELP apiserver_requested_deprecated_apis [STABLE] Gauge of deprecated APIs that have been requested.",
        "# TYPE apiserver_requested_deprecated_apis gauge",
        "apiserver_requested_deprecated_apis{group=\"flowcontrol.apiserver.k8s.io\",removed_release=\"1.32\",resource=\"flowschemas\",subresource=\"\",version=\"v1beta3\"} 1",
        "apiserver_requested_deprecated_apis{group=\"flowcontrol.apiserver.k8s.io\",removed_release=\"1.32\",resource=\"flowschemas\",subresource=\"status\",version=\"v1beta3\"} 1",
        "apiserver_requested_deprecated_apis{version=\"v1\", resource=\"things\",group=\"a.org\", removed_release=\"1.40\",new=\"a \\\"b\\\" \\\\ c\"} 1 1763640000000",
        // Nothing was requested, no release is known, and another metric.
        "apiserver_requested_deprecated_apis{group=\"policy\",removed_release=\"1.25\",resource=\"podsecuritypolicies\",subresource=\"\",version=\"v1beta1\"} 0",
        "apiserver_requested_deprecated_apis{group=\"\",removed_release=\"\",resource=\"endpoints\",subresource=\"\",version=\"v1\"} 1",
        "apiserver_requested_deprecated_apis_total{group=\"x\"} 1",
        "process_start_time_seconds 1.76364e+09",
        "process_start_time_seconds{other=\"x\"} 1",
    ]);
    let requested: Vec<String> = found
        .requested
        .iter()
        .map(|(api, requested)| {
            let removed = requested.removed.map(|removed| removed.to_string());
            format!(
                "{} {} {}",
                api.group_version(),
                api.resource,
                removed.unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(
        requested,
        [
            "a.org/v1 things v1.40",
            "flowcontrol.apiserver.k8s.io/v1beta3 flowschemas v1.32"
        ]
    );
    assert_eq!(found.unread, 0);
    let since = Some("2025-11-20T12:00:00Z".parse().unwrap());
    assert_eq!(found.servers[0].answer, ApiServerAnswer::Counted { since });
}

/// What a message shows is part of a command, so nothing else than a name may be.
#[test]
fn what_cannot_be_a_sample_is_counted() {
    let labels = "removed_release=\"1.32\",resource=\"r\",subresource=\"\",version=\"v1\"";
    for line in [
        "{".to_owned(),
        "{group=\"g".to_owned(),
        "{group=\"g\\".to_owned(),
        "{group=\"g\"} 1".to_owned(),
        format!("{{group=\"g\",{labels}}}"),
        format!("{{group=\"g\",{labels}}} one"),
        format!("{{group=\"'; rm -rf /'\",{labels}}} 1"),
        format!("{{group=\"{}\",{labels}}} 1", "g".repeat(254)),
        "{group=\"g\",removed_release=\"soon\",resource=\"r\",version=\"v1\"} 1".to_owned(),
    ] {
        let found = metrics(&[&format!("apiserver_requested_deprecated_apis{line}")]);
        assert_eq!((found.requested.len(), found.unread), (0, 1), "{line}");
    }
    let many: Vec<String> = (0..100)
        .map(|number| format!("apiserver_requested_deprecated_apis{{group=\"g{number}\",{labels}}} 1"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let found = metrics(&many);
    assert_eq!((found.requested.len(), found.unread), (64, 36));
    for start in ["", " ", " NaN", " -1e300", " 1e300", " x"] {
        let found = metrics(&[&format!("process_start_time_seconds{start}")]);
        assert_eq!(
            found.servers[0].answer,
            ApiServerAnswer::Counted { since: None },
            "{start}"
        );
    }
}
