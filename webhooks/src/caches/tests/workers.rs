//! What makes workers, and what refers to templates.

use instar_admission::cluster_state::{CachedWorker, Lookup, TemplateKey, TemplateUser};
use instar_capi::{ManagedBy, WorkerKind};

use super::*;

const TEMPLATE: &str = "DevMachineTemplate";
const CONFIG: &str = "KubeadmConfigTemplate";

fn machines(cluster: &str, version: &str, template: &str, config: &str) -> Value {
    json!({
        "clusterName": cluster, "version": version,
        "infrastructureRef": reference(TEMPLATE, template),
        "bootstrap": {"configRef": reference(CONFIG, config)},
        "deletion": {"nodeDrainTimeoutSeconds": 10},
    })
}

/// A MachineDeployment, a MachineSet or a MachinePool.
fn pool(name: &str, cluster: &str, version: &str, template: &str) -> Value {
    json!({
        "metadata": owned(name, cluster),
        "spec": {
            "clusterName": cluster, "replicas": 3,
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": machines(cluster, version, template, "config")},
        },
    })
}

fn made_by(mut object: Value, kind: &str) -> Value {
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind, "name": "md", "uid": "u", "controller": true,
    }]);
    object
}

fn deleted(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-11-21T12:00:00Z");
    object
}

fn worker(kind: WorkerKind, name: &str, lowest: &str, highest: &str) -> CachedWorker {
    CachedWorker {
        kind,
        name: name.to_owned(),
        managed_by: ManagedBy::User,
        in_topology: None,
        versions: instar_admission::cluster_state::Versions {
            lowest: lowest.parse().unwrap(),
            highest: highest.parse().unwrap(),
        },
    }
}

#[test]
fn workers_are_found_by_their_cluster() {
    let fixture = Fixture::new();
    let mut rolling = pool("rolling", "one", "v1.35.1", "t");
    rolling["status"]["versions"] =
        json!([{"version": "v1.34.3", "replicas": 2}, {"version": "v1.35.1", "replicas": 1}]);
    let mut topology = pool("topology", "one", "v1.34.3", "t");
    topology["metadata"]["labels"]["topology.cluster.x-k8s.io/owned"] = json!("");
    let unversioned = pool("unversioned", "one", "", "t");
    fixture.list::<Worker<MachineDeployment>>([
        topology,
        rolling,
        unversioned,
        deleted(pool("going", "one", "v1.34.3", "t")),
        pool("others", "two", "v1.33.0", "t"),
    ]);
    let mut old = pool("alone", "one", "v1.35.1", "t");
    // An edit of its template replaces no machine.
    old["status"]["versions"] = json!([{"version": "v1.31.0", "replicas": 1}]);
    fixture.list::<Worker<MachineSet>>([
        old,
        made_by(pool("rolling-x7", "one", "v1.34.3", "t"), "MachineDeployment"),
    ]);
    let mut machine_pool = pool("pool", "one", "v1.34.3", "t");
    machine_pool["status"]["versions"] = json!([{"version": "v1.33.0"}]);
    fixture.list::<Worker<MachinePool>>([machine_pool]);
    let machine = |name: &str, kubelet: &str| {
        json!({
            "metadata": owned(name, "one"),
            "spec": machines("one", "v1.34.3", "t", "c"),
            "status": {"nodeInfo": {"kubeletVersion": kubelet}},
        })
    };
    fixture.list::<Worker<Machine>>([
        machine("machine", "v1.34.1"),
        machine("joining", ""),
        made_by(machine("made", "v1.34.1"), "MachineSet"),
        made_by(machine("claimed", "v1.34.1"), "Something"),
    ]);

    let mut topology = worker(WorkerKind::MachineDeployment, "topology", "v1.34.3", "v1.34.3");
    topology.managed_by = ManagedBy::Topology;
    assert_eq!(
        fixture.caches.workers("ns", "one"),
        [
            worker(WorkerKind::MachineDeployment, "going", "v1.34.3", "v1.34.3"),
            worker(WorkerKind::MachineDeployment, "rolling", "v1.34.3", "v1.35.1"),
            topology,
            worker(WorkerKind::MachineSet, "alone", "v1.31.0", "v1.35.1"),
            worker(WorkerKind::MachinePool, "pool", "v1.33.0", "v1.34.3"),
            worker(WorkerKind::Machine, "claimed", "v1.34.1", "v1.34.3"),
            worker(WorkerKind::Machine, "joining", "v1.34.3", "v1.34.3"),
            worker(WorkerKind::Machine, "machine", "v1.34.1", "v1.34.3"),
        ]
    );
    assert!(fixture.caches.workers("other", "one").is_empty());

    fixture.apply::<Worker<MachineSet>>(pool("alone", "two", "v1.35.1", "t"));
    fixture.delete::<Worker<MachinePool>>(pool("pool", "one", "v1.34.3", "t"));
    fixture.list::<Worker<MachineDeployment>>([]);
    fixture.list::<Worker<Machine>>([]);
    assert!(fixture.caches.workers("ns", "one").is_empty());
    let names: Vec<String> = fixture
        .caches
        .workers("ns", "two")
        .into_iter()
        .map(|seen| seen.name)
        .collect();
    assert_eq!(names, ["alone"]);
}

fn key(kind: &'static str, name: &'static str) -> TemplateKey<'static> {
    TemplateKey {
        group: if kind == CONFIG {
            "bootstrap.cluster.x-k8s.io"
        } else {
            "infrastructure.cluster.x-k8s.io"
        },
        kind,
        namespace: "ns",
        name,
    }
}

fn user(kind: &str, name: &str, cluster: Option<&str>) -> TemplateUser {
    TemplateUser {
        kind: kind.to_owned(),
        name: name.to_owned(),
        cluster: cluster.map(str::to_owned),
    }
}

fn class() -> Value {
    let holder = |kind: &str, name: &str| {
        let group = reference(kind, name)["apiGroup"].as_str().unwrap().to_owned();
        json!({"templateRef": {"apiVersion": format!("{group}/v1beta2"), "kind": kind, "name": name}})
    };
    json!({
        "metadata": {"name": "class", "namespace": "ns"},
        "spec": {
            "infrastructure": holder("DevClusterTemplate", "cluster"),
            "controlPlane": {
                "templateRef": {"apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlaneTemplate", "name": "cp"},
                "machineInfrastructure": holder(TEMPLATE, "t"),
                "healthCheck": {"remediation": holder("Metal3RemediationTemplate", "r")},
            },
            "workers": {
                "machineDeployments": [
                    {"class": "a", "infrastructure": holder(TEMPLATE, "t"), "bootstrap": holder(CONFIG, "config")},
                    {"class": "b", "infrastructure": holder(TEMPLATE, "of-class"), "bootstrap": {}, "healthCheck": {"remediation": holder("Metal3RemediationTemplate", "s")}},
                ],
                "machinePools": [{"class": "p", "infrastructure": holder("DevMachinePoolTemplate", "p"), "bootstrap": holder(CONFIG, "config")}],
            },
        },
    })
}

#[test]
fn a_class_refers_to_all_that_its_clusters_are_made_of() {
    let fixture = Fixture::new();
    fixture.list::<Class>([class()]);
    let of_control_plane = TemplateKey {
        group: "controlplane.cluster.x-k8s.io",
        ..key("KubeadmControlPlaneTemplate", "cp")
    };
    for of_class_alone in [
        key("DevClusterTemplate", "cluster"),
        of_control_plane,
        key("DevMachinePoolTemplate", "p"),
        key("Metal3RemediationTemplate", "r"),
        key("Metal3RemediationTemplate", "s"),
    ] {
        assert_eq!(
            fixture.caches.users_of(&of_class_alone),
            [user("ClusterClass", "class", None)],
            "{of_class_alone:?}"
        );
        // Only its deletion is judged, so there is no watch of its kind, and no right to one.
        assert!(matches!(fixture.caches.template(&of_class_alone), Lookup::NotYet(_)));
    }
}

#[test]
fn users_are_found_by_their_template() {
    let fixture = Fixture::new();
    fixture.list::<Class>([class()]);
    let control_plane = |name: &str, template: &str| {
        json!({
            "metadata": owned(name, "one"),
            "spec": {"version": "v1.34.3", "machineTemplate": {"spec": {"infrastructureRef": reference(TEMPLATE, template)}}},
        })
    };
    fixture.list::<ControlPlane>([control_plane("cp", "t")]);
    fixture.list::<Worker<MachineDeployment>>([
        pool("md", "one", "v1.34.3", "t"),
        pool("other", "one", "v1.34.3", "u"),
        deleted(pool("going", "one", "v1.34.3", "t")),
    ]);
    fixture.list::<Worker<MachineSet>>([
        made_by(pool("md-x7", "one", "v1.34.3", "t"), "MachineDeployment"),
        deleted(made_by(pool("md-y8", "one", "v1.34.3", "t"), "MachineDeployment")),
    ]);
    let control_plane_of_one = || user("KubeadmControlPlane", "cp", Some("one"));
    assert_eq!(
        fixture.caches.users_of(&key(TEMPLATE, "t")),
        [
            user("ClusterClass", "class", None),
            control_plane_of_one(),
            user("MachineDeployment", "md", Some("one")),
            user("MachineSet", "md-x7", Some("one")),
        ]
    );
    assert_eq!(
        fixture.caches.users_of(&key(TEMPLATE, "of-class")),
        [user("ClusterClass", "class", None)]
    );
    assert_eq!(
        fixture.caches.users_of(&key(CONFIG, "config")),
        [
            user("ClusterClass", "class", None),
            user("MachineDeployment", "md", Some("one")),
            user("MachineDeployment", "other", Some("one")),
            user("MachineSet", "md-x7", Some("one")),
        ]
    );
    for stranger in [
        TemplateKey {
            namespace: "other",
            ..key(TEMPLATE, "t")
        },
        TemplateKey {
            kind: "DockerMachineTemplate",
            ..key(TEMPLATE, "t")
        },
        TemplateKey {
            group: "example.org",
            ..key(TEMPLATE, "t")
        },
        key("DevMachinePoolTemplate", "t"),
    ] {
        assert!(fixture.caches.users_of(&stranger).is_empty(), "{stranger:?}");
    }

    // Each of them moves on, or goes.
    fixture.list::<Class>([]);
    fixture.apply::<ControlPlane>(control_plane("cp", "u"));
    fixture.apply::<Worker<MachineDeployment>>(pool("md", "one", "v1.35.1", "u"));
    fixture.delete::<Worker<MachineSet>>(pool("md-x7", "one", "v1.34.3", "t"));
    assert!(fixture.caches.users_of(&key(TEMPLATE, "t")).is_empty());
    assert_eq!(
        fixture.caches.users_of(&key(TEMPLATE, "u")),
        [
            control_plane_of_one(),
            user("MachineDeployment", "md", Some("one")),
            user("MachineDeployment", "other", Some("one")),
        ]
    );
}

#[test]
fn an_unreadable_worker_keeps_its_templates_in_use() {
    let fixture = Fixture::new();
    let mut pool = json!({
        "metadata": {"name": "bad", "namespace": "ns"},
        "spec": {"clusterName": "one", "template": {"spec": {
            "clusterName": "one", "version": 1.35,
            "infrastructureRef": reference("DevMachineTemplate", "t"),
            "bootstrap": {"configRef": reference("KubeadmConfigTemplate", "b")},
        }}},
    });
    let users = |fixture: &Fixture, kind: &str, group: &str, name: &str| {
        let key = TemplateKey {
            group,
            kind,
            namespace: "ns",
            name,
        };
        fixture.caches.users_of(&key)
    };
    let bad = TemplateUser {
        kind: "MachineDeployment".to_owned(),
        name: "bad".to_owned(),
        cluster: Some("one".to_owned()),
    };
    fixture.list::<Worker<MachineDeployment>>([pool.clone()]);
    let infrastructure = "infrastructure.cluster.x-k8s.io";
    let of_machines = users(&fixture, "DevMachineTemplate", infrastructure, "t");
    let of_bootstrap = users(&fixture, "KubeadmConfigTemplate", "bootstrap.cluster.x-k8s.io", "b");
    assert_eq!([of_machines, of_bootstrap], [vec![bad.clone()], vec![bad]]);
    assert!(users(&fixture, "DevMachineTemplate", infrastructure, "b").is_empty());
    assert!(fixture.caches.workers("ns", "one").is_empty());

    pool["metadata"]["deletionTimestamp"] = json!("2026-11-21T12:00:00Z");
    fixture.apply::<Worker<MachineDeployment>>(pool);
    assert!(users(&fixture, "DevMachineTemplate", infrastructure, "t").is_empty());
}
