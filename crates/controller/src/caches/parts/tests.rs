use instar_capi as capi;
use instar_planner::{Flavor, PausedBy, WorkerKind};
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
        let unversioned = set(&absent).observed(&key).unwrap_err();
        assert_eq!((unversioned.kind, &*unversioned.name), (WorkerKind::MachineSet, "x"));
        assert_eq!(unversioned.maker.as_deref(), Some("md"));
        let names: Vec<_> = unversioned.templates.iter().map(|template| &*template.name).collect();
        assert_eq!(names, ["t", "b"]);
    }
    assert!(matches!(set(&json!("v1.34.3")).observed(&key), Ok(Observed::Read(_))));
    match set(&json!("1.34")).observed(&key) {
        Ok(Observed::Invalid(unreadable)) => assert_eq!(
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
            { "type": "ScalingUp", "status": "False", "message": "no" },
            { "type": "Available", "status": "Unknown", "message": "" },
        ] },
    });
    let deployment: capi::MachineDeployment = serde_json::from_value(object).unwrap();
    let Ok(Observed::Read(part)) = KeptPart::from(deployment).observed(&Key::new("n", "x")) else {
        panic!("it can be read")
    };
    let kinds: Vec<_> = part.object.conditions.into_iter().map(|kept| kept.kind).collect();
    assert_eq!(kinds, ["RollingOut", "Available"]);
}

#[test]
fn of_a_machine_set_is_kept_why_it_makes_no_machine() {
    let kept = |status: &str, message: &str| {
        let object = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineSet", "metadata": { "name": "x" },
            "spec": machines(&json!("v1.34.3")),
            "status": { "conditions": [{ "type": "ScalingUp", "status": status, "message": message }] },
        });
        let set: capi::MachineSet = serde_json::from_value(object).unwrap();
        let Ok(Observed::Read(part)) = KeptPart::from(set).observed(&Key::new("n", "x")) else {
            panic!("it can be read")
        };
        part.blocked
    };
    let blocked = "Scaling up from 0 to 1 replicas is blocked because:\n* GenericControlPlane is upgrading";
    assert_eq!(kept("True", blocked).as_deref(), Some(blocked));
    assert_eq!(kept("True", "Scaling up from 0 to 1 replicas"), None);
    assert_eq!(
        kept("False", "Scaling up would be blocked because it does not exist"),
        None
    );
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
        let kept = KeptPart::from(serde_json::from_value::<capi::KubeadmControlPlane>(object).unwrap());
        let Ok(Observed::Read(part)) = kept.observed(&Key::new("n", "x")) else {
            panic!("{kept:?}")
        };
        assert_eq!(part.object.observed_generation, seen, "{own}");
    }
}

/// What is kept is text, so each field has to come back from it.
#[test]
fn all_that_is_read_of_a_control_plane_comes_back() {
    let object = json!({
        "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane",
        "metadata": {
            "name": "cp", "resourceVersion": "7", "generation": 3,
            "labels": { "topology.cluster.x-k8s.io/owned": "" },
            "annotations": { "cluster.x-k8s.io/paused": "", "controlplane.cluster.x-k8s.io/skip-coredns": "" },
        },
        "spec": {
            "version": "v1.34.3", "replicas": 3,
            "machineTemplate": {
                "metadata": { "labels": { "a": "b" } },
                "spec": { "infrastructureRef": { "apiGroup": "g", "kind": "T", "name": "t" } },
            },
            "kubeadmConfigSpec": { "clusterConfiguration": {
                "etcd": { "external": { "endpoints": ["e"] } }, "dns": { "imageTag": "v1.12.1" },
                "apiServer": { "extraArgs": [
                    { "name": "feature-gates", "value": "A=true" },
                    { "name": "etcd-prefix", "value": "/registry" },
                ] },
            } },
        },
        "status": {
            "observedGeneration": 2, "version": "v1.33.5", "replicas": 4, "readyReplicas": 2, "upToDateReplicas": 1,
            "conditions": [{ "type": "RollingOut", "status": "True", "message": "m", "observedGeneration": 3 }],
        },
    });
    let kept = KeptPart::from(serde_json::from_value::<capi::KubeadmControlPlane>(object).unwrap());
    let Ok(Observed::Read(part)) = kept.observed(&Key::new("n", "cp")) else {
        panic!("{kept:?}")
    };
    let Object {
        name,
        resource_version,
        generation,
        observed_generation,
        lifecycle,
        managed_by,
        conditions,
        ..
    } = &part.object;
    assert_eq!((&**name, &*resource_version.0), ("cp", "7"));
    assert_eq!((*generation, *observed_generation), (3, 3));
    assert_eq!((*lifecycle, *managed_by), (Lifecycle::Paused, ManagedBy::Topology));
    assert_eq!((conditions.len(), &*conditions[0].message), (1, "m"));
    assert_eq!(part.labels["a"], "b");
    assert_eq!(part.skipped_addons, [capi::KubeadmAddon::CoreDns].into());
    assert_eq!(
        (part.version.to_string(), part.observed[0].to_string()),
        ("v1.34.3".to_owned(), "v1.33.5".to_owned())
    );
    assert_eq!(part.infrastructure.unwrap().name, "t");
    let Flavor::Kubeadm {
        cluster_configuration,
        settings,
    } = part.flavor
    else {
        panic!("it is kubeadm's")
    };
    // The other argument decides nothing.
    let settings: Vec<_> = settings.iter().map(|setting| (setting.field, &*setting.name)).collect();
    assert_eq!(settings, [(capi::SettingField::ApiServer, "feature-gates")]);
    assert_eq!(cluster_configuration.dns.image_tag.as_deref(), Some("v1.12.1"));
    assert!(cluster_configuration.etcd.external.is_some());
    let counts = part.replicas.unwrap();
    assert_eq!(
        (counts.desired, counts.total, counts.ready, counts.up_to_date),
        (3, 4, 2, 1)
    );
}

#[test]
fn all_that_is_read_of_a_machine_pool_comes_back() {
    let mark = r#"{"upgrade":"up","paused":"2026-11-20T12:00:00Z"}"#;
    let object = |paused: &str| {
        let mut spec = machines(&json!("v1.34.3"));
        spec["replicas"] = json!(3);
        spec["template"]["metadata"] = json!({ "labels": { "a": "b" } });
        let object = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachinePool",
            "metadata": {
                "name": "mp", "resourceVersion": "7", "generation": 3, "annotations": {
                    "cluster.x-k8s.io/paused": paused,
                    "upgrade.cluster.x-k8s.io/left-to-user": r#"{"upgrade":"up"}"#,
                },
            },
            "spec": spec,
            "status": {
                "observedGeneration": 2, "replicas": 4, "readyReplicas": 2, "upToDateReplicas": 1,
                "versions": [{ "version": "v1.33.5", "replicas": 4 }],
                "conditions": [
                    { "type": "Paused", "status": "False", "message": "", "observedGeneration": 3 },
                    { "type": "ScalingUp", "status": "True", "message": "m" },
                    { "type": "MachinesReady", "status": "False", "message": "m", "observedGeneration": 2 },
                ],
            },
        });
        let kept = KeptPart::from(serde_json::from_value::<capi::MachinePool>(object).unwrap());
        match kept.observed(&Key::new("n", "mp")) {
            Ok(Observed::Read(part)) => part,
            seen => panic!("{seen:?}"),
        }
    };
    let part = object(mark);
    let Object {
        kind,
        name,
        resource_version,
        generation,
        observed_generation,
        conditions,
        ..
    } = &part.object;
    assert_eq!((&**kind, &**name, &*resource_version.0), ("MachinePool", "mp", "7"));
    // It was resumed at the edit that its own count has not come to.
    assert_eq!((*generation, *observed_generation), (3, 3));
    let conditions: Vec<_> = conditions
        .iter()
        .map(|kept| (&*kept.kind, kept.observed_generation))
        .collect();
    assert_eq!(conditions, [("MachinesReady", 2), ("Paused", 3)]);
    assert_eq!(part.paused_by.mark().map(|mark| &*mark.upgrade), Some("up"));
    assert_eq!(part.left.map(|left| left.upgrade).as_deref(), Some("up"));
    assert_eq!((part.labels["a"].as_str(), &*part.infrastructure.name), ("b", "t"));
    assert_eq!(
        (part.version.to_string(), part.observed[0].to_string()),
        ("v1.34.3".to_owned(), "v1.33.5".to_owned())
    );
    let counts = part.replicas.unwrap();
    assert_eq!(
        (counts.desired, counts.total, counts.ready, counts.up_to_date),
        (3, 4, 2, 1)
    );
    assert_eq!(object("by hand").paused_by, PausedBy::User);
}

#[test]
fn what_is_listed_again_is_the_same_until_something_that_is_read_changes() {
    let set = |replicas: u32, status: &Value| {
        let mut spec = machines(&json!("v1.34.3"));
        spec["replicas"] = json!(replicas);
        kept::<capi::MachineSet>("MachineSet", &json!({ "name": "x", "resourceVersion": status }), &spec)
    };
    assert!(set(1, &json!("7")).is_same(&set(1, &json!("8"))));
    assert!(!set(1, &json!("7")).is_same(&set(2, &json!("7"))));
}
