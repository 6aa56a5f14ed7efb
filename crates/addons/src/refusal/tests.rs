use serde_json::{Value, json};

use super::*;

fn addon(changes: &Value) -> Addon {
    let mut addon = json!({
        "name": "cni",
        "when": "AfterControlPlane",
        "observe": { "cluster": "Workload", "apiVersion": "apps/v1", "kind": "DaemonSet", "namespace": "kube-system", "name": "cni" },
        "readyWhen": "status.numberReady == status.desiredNumberScheduled",
    });
    for (member, value) in changes.as_object().unwrap() {
        if value.is_null() {
            addon.as_object_mut().unwrap().remove(member);
        } else {
            addon[member] = value.clone();
        }
    }
    serde_json::from_value(addon).unwrap()
}

fn told(refusals: Vec<Refusal>) -> Vec<String> {
    let line = |refusal: Refusal| format!("{} [{}]", refusal.what, refusal.rule);
    refusals.into_iter().map(line).collect()
}

fn assert_refused(list: &[(Value, &str)]) {
    for (changes, wrong) in list {
        assert_eq!(told(refusals_of_addons(&[addon(changes)])), [*wrong], "{changes}");
    }
}

#[test]
fn wrong_expressions_and_times_are_named() {
    assert_refused(&[
        (
            json!({ "readyWhen": "status.phase ==" }),
            "cni: readyWhen: it is not CEL (line 1, column 16): mismatched input '<EOF>' [gate-readable]",
        ),
        (
            json!({ "failedWhen": "status.x.all(a, b, a)" }),
            "cni: failedWhen: function all: Instar has comprehensions of one variable: list.all(x, ...) [gate-readable]",
        ),
        (
            json!({ "onlyIf": "status.phase == ''" }),
            "cni: onlyIf: status is no variable here; those are release, cluster, now [gate-readable]",
        ),
        (
            json!({ "onlyIf": "cluster.metadata.labels['a/b'] == 'c'" }),
            "cni: onlyIf: cluster.metadata.labels['a/b'] is absent in a Cluster without labels and annotations [gate-readable]",
        ),
        (
            json!({ "readyWhen": "status.v == written.value" }),
            "cni: readyWhen: written is no variable here; those are self, metadata, spec, status, release, cluster, now [gate-readable]",
        ),
        (
            json!({ "readyWhen": "true" }),
            "cni: readyWhen: it holds for an object without a status [gate-needs-status]",
        ),
        (
            json!({ "readyWhen": "!has(status.failure)" }),
            "cni: readyWhen: it holds for an object without a status [gate-needs-status]",
        ),
        (
            json!({ "readyWhen": "status.conditions.all(c, c.status == 'True')" }),
            "cni: readyWhen: it holds where the lists of status are empty [gate-needs-status]",
        ),
        (
            json!({ "readyWhen": "self.status.conditions.filter(c, c.type == 'Ready').all(c, c.status == 'True')" }),
            "cni: readyWhen: it holds where the lists of status are empty [gate-needs-status]",
        ),
        (
            json!({ "readyWhen": "!status.pods.items.exists(p, p.failed)" }),
            "cni: readyWhen: it holds where the lists of status are empty [gate-needs-status]",
        ),
        (
            json!({ "generation": "Ignore", "settle": "0s" }),
            "cni: settle: 0s with generation: Ignore lets an old status count as the new one [gate-needs-status]",
        ),
        (
            json!({ "timeout": "30s" }),
            "cni: timeout: it is not longer than settle, 30s [gate-readable]",
        ),
        (
            json!({ "onTimeout": "Fail" }),
            "cni: onTimeout: Fail counts after timeout, which is absent [gate-readable]",
        ),
        (
            json!({ "dependsOn": ["operator"] }),
            "cni depends on operator, which is not in the list [gate-readable]",
        ),
    ]);
}

#[test]
fn what_is_out_of_reach_is_named() {
    let observe = |changes: &Value| {
        let mut observe = json!({ "cluster": "Workload", "apiVersion": "v1", "kind": "ConfigMap", "name": "a" });
        observe
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        json!({ "observe": observe })
    };
    let write = |field: &Value| {
        let mut all = json!({ "cluster": "Workload", "apiVersion": "a.example/v1", "kind": "A", "name": "a", "pointer": "/spec/version", "value": "1" });
        all.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        json!({ "write": { "field": all } })
    };
    assert_refused(&[
        (
            observe(&json!({ "kind": "Secret" })),
            "cni: observe.kind: Secrets are never observed [gate-reach]",
        ),
        (
            observe(&json!({ "minObjects": 2 })),
            "cni: observe.minObjects: 2 objects can't have one name [gate-readable]",
        ),
        (
            json!({ "write": { "annotation": { "key": "version", "value": "" } } }),
            "cni: write.annotation.key: version has no domain [gate-readable]",
        ),
        (
            json!({ "write": { "annotation": { "key": "cluster.x-k8s.io/paused", "value": "" } } }),
            "cni: write.annotation.key: cluster.x-k8s.io/paused steers Kubernetes, Cluster API or Instar [gate-reach]",
        ),
        (
            write(&json!({ "kind": "Secret", "apiVersion": "v1" })),
            "cni: write.field.kind: nothing is written into Secrets [gate-reach]",
        ),
        (
            write(
                &json!({ "cluster": "Management", "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane" }),
            ),
            "cni: write.field.apiVersion: KubeadmControlPlane of controlplane.cluster.x-k8s.io/v1beta2 is Cluster API's or Instar's own, whose versions the upgrade itself sets [gate-reach]",
        ),
        (
            json!({ "write": {
                "field": { "cluster": "Management", "apiVersion": "a.example/v1", "kind": "A", "namespace": "n", "name": "a", "pointer": "/spec/version", "value": "1" },
                "onRollback": "Restore",
            } }),
            "cni: write.onRollback: Restore would set A n/a back for all Clusters that share it [gate-reach]",
        ),
        (
            write(&json!({ "pointer": "/spec/items/0/version" })),
            "cni: write.field.pointer: \"/spec/items/0/version\" is not a JSON Pointer for a template's value: it goes through an array, which a patch can't set twice alike [gate-readable]",
        ),
        (
            write(&json!({ "value": null, "json": "{" })),
            "cni: write.field.json: it is not JSON (EOF while parsing an object at line 1 column 1) [gate-readable]",
        ),
    ]);
}

#[test]
fn neighbours_pass() {
    for changes in [
        json!({}),
        json!({ "onlyIf": "'a/b' in cluster.metadata.labels && cluster.metadata.labels['a/b'] == 'c'" }),
        json!({ "readyWhen": "status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')" }),
        json!({ "readyWhen": "size(status.pods) > 0 && status.pods.all(p, status.pods[p].phase == 'UP')" }),
        json!({ "readyWhen": "status.phase == 'Running' && status.pods.all(p, p.ready)" }),
        json!({ "generation": "Ignore", "settle": "1m" }),
        json!({ "timeout": "1h", "onTimeout": "Fail" }),
        json!({ "write": { "annotation": { "key": "cpaas.io/kube-ovn", "value": "v1" } }, "readyWhen": "status.v == written.value" }),
        json!({ "write": { "annotation": { "key": "notkubernetes.io/cni", "value": "v1" } } }),
        json!({ "observe": { "cluster": "Management", "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "namespace": "elsewhere" } }),
        json!({ "observe": { "cluster": "Workload", "apiVersion": "a.example/v1", "kind": "Secret", "name": "a" } }),
    ] {
        let refusals = told(refusals_of_addons(&[addon(&changes)]));
        assert!(refusals.is_empty(), "{changes}: {refusals:?}");
    }
}

#[test]
fn a_policy_stays_in_its_namespace() {
    let gate = |cluster: &str, namespace: Option<&str>| {
        let mut observe = json!({ "cluster": cluster, "apiVersion": "v1", "kind": "ConfigMap", "name": "a" });
        if let Some(namespace) = namespace {
            observe["namespace"] = json!(namespace);
        }
        addon(&json!({ "observe": observe })).gate
    };
    for gate in [
        gate("Management", None),
        gate("Management", Some("team-a")),
        gate("Workload", Some("kube-system")),
    ] {
        assert_eq!(refusals_of_gates(&[gate], "team-a"), []);
    }
    assert_eq!(
        told(refusals_of_gates(&[gate("Management", Some("team-b"))], "team-a")),
        [
            "cni: observe.namespace: team-b is another namespace of the management cluster than the policy's own, team-a [gate-reach]"
        ]
    );
}
