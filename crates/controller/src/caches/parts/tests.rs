use instar_capi as capi;
use instar_planner::WorkerKind;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn kept<K: PlannedKind + DeserializeOwned>(kind: &str, metadata: &Value, spec: &Value) -> KeptPart<K> {
    let object = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind, "metadata": metadata, "spec": spec,
    });
    KeptPart::from(serde_json::from_value::<K>(object).unwrap())
}

fn machines(version: &Value) -> Value {
    let mut spec = json!({
        "clusterName": "c",
        "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "T", "name": "t" },
        "bootstrap": { "configRef": { "apiGroup": "bootstrap.cluster.x-k8s.io", "kind": "B", "name": "b" } },
    });
    if !version.is_null() {
        spec["version"] = version.clone();
    }
    json!({ "clusterName": "c", "template": { "spec": spec } })
}

#[test]
fn what_has_no_version_is_left_out_and_still_refers() {
    let key = Key::new("n", "x");
    let set = |version: &Value| {
        let metadata = json!({ "name": "x", "labels": { "cluster.x-k8s.io/deployment-name": "md" } });
        kept::<capi::MachineSet>("MachineSet", &metadata, &machines(version))
    };
    for absent in [Value::Null, json!("")] {
        assert_eq!(set(&absent).observed(&key), None);
        let unversioned = set(&absent).unversioned().unwrap();
        assert_eq!((unversioned.kind, &*unversioned.name), (WorkerKind::MachineSet, "x"));
        assert_eq!(unversioned.maker.as_deref(), Some("md"));
        let names: Vec<_> = unversioned.templates.iter().map(|template| &*template.name).collect();
        assert_eq!(names, ["t", "b"]);
    }
    assert!(matches!(set(&json!("v1.34.3")).observed(&key), Some(Observed::Read(_))));
    assert_eq!(set(&json!("v1.34.3")).unversioned(), None);
    match set(&json!("1.34")).observed(&key) {
        Some(Observed::Invalid(unreadable)) => assert_eq!(
            unreadable.reason,
            "its version can't be read: \"1.34\" is not a Kubernetes version: the leading v is missing; write it as v1.34.3"
        ),
        seen => panic!("{seen:?}"),
    }
}

#[test]
fn of_conditions_only_those_that_say_something_are_kept() {
    let object = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineDeployment", "metadata": { "name": "x" },
        "spec": machines(&json!("v1.34.3")),
        "status": { "conditions": [
            { "type": "Paused", "status": "False", "message": "" },
            { "type": "MachinesReady", "status": "True", "message": "fine" },
            { "type": "RollingOut", "status": "True", "message": "Rolling out 1 not up-to-date replicas" },
        ] },
    });
    let deployment: capi::MachineDeployment = serde_json::from_value(object).unwrap();
    let kinds: Vec<_> = deployment
        .part()
        .unwrap()
        .object
        .conditions
        .into_iter()
        .map(|kept| kept.kind)
        .collect();
    assert_eq!(kinds, ["RollingOut"]);
}

/// After a swap that changes no version, what is counted of the Machines is all that tells whether it has begun.
#[test]
fn a_control_plane_is_seen_once_its_machines_were_compared() {
    let condition =
        |kind: &str, generation: i64| json!({ "type": kind, "status": "True", "observedGeneration": generation });
    let (rolling, components) = (
        |seen| condition("RollingOut", seen),
        |seen| condition("ControlPlaneComponentsHealthy", seen),
    );
    for (own, conditions, seen) in [
        (1, vec![rolling(2), components(2)], 2),
        // A reconcile that ended with an error, or early, before it had compared.
        (1, vec![rolling(2), components(1)], 1),
        (2, vec![rolling(2), components(1)], 1),
        (1, vec![rolling(2)], 2),
        (2, Vec::new(), 2),
    ] {
        let object = json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane",
            "metadata": { "name": "x", "generation": 2 },
            "spec": { "version": "v1.34.3" },
            "status": { "observedGeneration": own, "conditions": conditions },
        });
        let control_plane: capi::KubeadmControlPlane = serde_json::from_value(object).unwrap();
        assert_eq!(control_plane.part().unwrap().object.observed_generation, seen, "{own}");
    }
}
