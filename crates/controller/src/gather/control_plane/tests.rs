use instar_planner::Lifecycle;
use serde_json::json;

use super::*;

fn of(contract: Contract, data: &Value) -> Result<ControlPlane, String> {
    let api_version = "controlplane.example.org/v1alpha1";
    let mut object = json!({
        "apiVersion": api_version,
        "kind": "ExampleControlPlane",
        "metadata": { "name": "c", "namespace": "there", "generation": 3, "resourceVersion": "7" },
    });
    for (part, value) in data.as_object().into_iter().flatten() {
        match object.get_mut(part).and_then(Value::as_object_mut) {
            Some(there) => there.extend(value.as_object().cloned().unwrap_or_default()),
            None => object[part] = value.clone(),
        }
    }
    let known = Kind {
        resource: ApiResource {
            group: "controlplane.example.org".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: api_version.to_owned(),
            kind: "ExampleControlPlane".to_owned(),
            plural: "examplecontrolplanes".to_owned(),
        },
        contract,
    };
    let object = serde_json::from_value(object).map_err(|error| error.to_string())?;
    parsed(&object, &known).map_err(|error| error.to_string())
}

/// Of the contract before, with a version.
fn old(data: &Value) -> ControlPlane {
    of(Contract::V1Beta1, data).unwrap()
}

fn new(data: &Value) -> ControlPlane {
    of(Contract::V1Beta2, data).unwrap()
}

#[test]
fn what_its_machines_run() {
    for (status, expected) in [
        (json!({}), vec![]),
        (json!({ "version": "" }), vec![]),
        (json!({ "version": "v1.33.1" }), vec!["v1.33.1"]),
        (json!({ "version": "1.33.1" }), vec!["v1.33.1"]),
        (json!({ "version": "v1.33.1+rke2r1" }), vec!["v1.33.1+rke2r1"]),
        (
            json!({ "version": "v1.33.1", "versions": [{ "version": "v1.34.1", "replicas": 2 }, { "version": "v1.35.1" }] }),
            vec!["v1.34.1", "v1.35.1"],
        ),
        (
            json!({ "versions": [{ "version": "v1.33.1", "replicas": 0 }, { "version": "v1.34.1", "replicas": 1 }] }),
            vec!["v1.34.1"],
        ),
        (
            json!({ "version": "v1.34.1", "versions": [{ "version": "v1.33.1", "replicas": 0 }] }),
            vec!["v1.34.1"],
        ),
    ] {
        for read in [old, new] {
            let data = json!({ "spec": { "version": "v1.33.1" }, "status": status });
            let observed: Vec<String> = read(&data).observed.iter().map(ToString::to_string).collect();
            assert_eq!(observed, expected, "{status}");
        }
    }
}

#[test]
fn machines_are_counted_where_it_has_some() {
    let counts = |control_plane: ControlPlane| {
        let counts = control_plane.replicas?;
        Some([counts.desired, counts.total, counts.ready, counts.up_to_date])
    };
    for (spec, status, at_old, at_new) in [
        (json!({}), json!({ "replicas": 3 }), None, None),
        (
            json!({ "replicas": 3 }),
            json!({}),
            Some([3, 0, 0, 0]),
            Some([3, 0, 0, 0]),
        ),
        (
            json!({ "replicas": 3 }),
            json!({ "replicas": 4, "readyReplicas": 2, "updatedReplicas": 1, "upToDateReplicas": 3 }),
            Some([3, 4, 2, 1]),
            Some([3, 4, 2, 3]),
        ),
        // Not every provider counts those that are up to date; at v1beta2 it has to.
        (
            json!({ "replicas": 3 }),
            json!({ "replicas": 3, "readyReplicas": 3 }),
            Some([3, 3, 3, 3]),
            Some([3, 3, 3, 0]),
        ),
    ] {
        let mut data = json!({ "spec": spec, "status": status });
        data["spec"]["version"] = json!("v1.33.1");
        assert_eq!(counts(old(&data)), at_old, "{data}");
        assert_eq!(counts(new(&data)), at_new, "{data}");
    }
}

#[test]
fn its_template_is_where_the_contract_says() {
    let group = "infrastructure.cluster.x-k8s.io";
    let at_old = json!({ "apiVersion": format!("{group}/v1beta1"), "kind": "K", "name": "old", "namespace": "there" });
    let at_new = json!({ "apiGroup": group, "kind": "K", "name": "new" });
    let both = json!({ "spec": {
        "version": "v1.33.1",
        "machineTemplate": { "infrastructureRef": at_old, "spec": { "infrastructureRef": at_new } },
    } });
    let named = |control_plane: ControlPlane| {
        let template = control_plane.infrastructure?;
        Some((template.group, template.kind, template.name))
    };
    let expected = |name: &str| Some((group.to_owned(), "K".to_owned(), name.to_owned()));
    assert_eq!(named(old(&both)), expected("old"));
    assert_eq!(named(new(&both)), expected("new"));
    for none in [
        json!({}),
        json!({ "infrastructureRef": null, "spec": { "infrastructureRef": {} } }),
    ] {
        let data = json!({ "spec": { "version": "v1.33.1", "machineTemplate": none } });
        assert_eq!((named(old(&data)), named(new(&data))), (None, None));
    }
}

#[test]
fn what_it_was_seen_at() {
    let seen = |status: Value| old(&json!({ "spec": { "version": "v1.33.1" }, "status": status })).object;
    assert_eq!(seen(json!({ "observedGeneration": 2 })).observed_generation, 2);
    // It doesn't say, so the versions have to.
    assert_eq!(seen(json!({ "version": "v1.33.1" })).observed_generation, 3);
    assert_eq!(seen(json!({})).generation, 3);
}

#[test]
fn whose_it_is_and_whether_it_may_be_written() {
    let with = |metadata: Value| old(&json!({ "spec": { "version": "v1.33.1" }, "metadata": metadata })).object;
    let plain = with(json!({}));
    assert_eq!(
        (plain.lifecycle, plain.managed_by, plain.swap_history),
        (Lifecycle::Active, ManagedBy::User, None)
    );
    assert_eq!(plain.api_version, "controlplane.example.org/v1alpha1");
    assert_eq!(
        (&*plain.kind, &*plain.name, &*plain.resource_version.0),
        ("ExampleControlPlane", "c", "7")
    );
    let paused = with(json!({ "annotations": { "cluster.x-k8s.io/paused": "" } }));
    assert_eq!(paused.lifecycle, Lifecycle::Paused);
    let deleting = with(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }));
    assert_eq!(deleting.lifecycle, Lifecycle::Deleting);
    let owned = with(json!({ "labels": { "topology.cluster.x-k8s.io/owned": "" } }));
    assert_eq!(owned.managed_by, ManagedBy::Topology);
    let state = json!({ "version": "v1.33.1", "template": "t" });
    let upgrade = json!({ "name": "u" });
    let swap = json!({ "upgrade": upgrade, "since": "2026-11-20T12:00:00Z", "before": state, "after": state });
    let swap_history = json!([swap]).to_string();
    let swapped = with(json!({ "annotations": { SWAP_HISTORY_ANNOTATION: swap_history } }));
    assert_eq!(
        swapped
            .swap_history
            .map(|history| history.entries()[0].upgrade.name.clone()),
        Some("u".to_owned())
    );
}

#[test]
fn what_cannot_be_upgraded_says_why() {
    let reference = |contract, reference: Value| {
        let machines = match contract {
            Contract::V1Beta1 => json!({ "infrastructureRef": reference }),
            Contract::V1Beta2 => json!({ "spec": { "infrastructureRef": reference } }),
        };
        (
            contract,
            json!({ "spec": { "version": "v1.33.1", "machineTemplate": machines } }),
        )
    };
    let (v1, v2) = (Contract::V1Beta1, Contract::V1Beta2);
    for ((contract, data), why) in [
        (
            (v2, json!({ "spec": { "replicas": 1 } })),
            "it has no spec.version, so Instar can't upgrade it",
        ),
        ((v2, json!({ "spec": { "version": "" } })), "it has no spec.version"),
        ((v2, json!({})), "it has no spec.version"),
        (
            (v1, json!({ "spec": { "version": "v1.33" } })),
            "its spec.version is no version: ",
        ),
        (
            (
                v1,
                json!({ "spec": { "version": "v1.33.1" }, "status": { "version": "stable" } }),
            ),
            "its status.version is no version: ",
        ),
        (
            (v1, json!({ "spec": { "version": 1.33 } })),
            "it isn't as Cluster API's contract says: ",
        ),
        (
            reference(v1, json!({ "apiVersion": "v1", "kind": "K", "name": "n" })),
            "its /spec/machineTemplate/infrastructureRef names no apiVersion",
        ),
        (
            reference(v2, json!({ "apiVersion": "g/v1", "kind": "K", "name": "n" })),
            "its /spec/machineTemplate/spec/infrastructureRef names no apiGroup",
        ),
        (
            reference(v1, json!({ "apiVersion": "g/v1", "kind": "K" })),
            "its /spec/machineTemplate/infrastructureRef names no name",
        ),
        (
            reference(
                v1,
                json!({ "apiVersion": "g/v1", "kind": "K", "name": "n", "namespace": "elsewhere" }),
            ),
            "its /spec/machineTemplate/infrastructureRef is in namespace elsewhere: ",
        ),
    ] {
        let error = of(contract, &data).unwrap_err();
        assert!(error.starts_with(why), "{data}: {error}");
    }
}
