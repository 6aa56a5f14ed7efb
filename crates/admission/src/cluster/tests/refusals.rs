//! What is refused, each with its message.

use super::*;

#[test]
fn refuses_with_the_rule_the_value_and_the_way_out() {
    let start = |world: &World| world.create("v1.33.5");
    let refuse = |change: &dyn Fn(&mut World), asked: &str| {
        let mut world = World::new();
        let created = start(&world);
        change(&mut world);
        world.edit(&created, set_version(asked)).unwrap_err()
    };
    let keep: &dyn Fn(&mut World) = &|_| ();
    assert_eq!(
        refuse(keep, "v1.37.0"),
        "Cluster ns/c: spec.topology.version: \"v1.37.0\" is not in the catalog; it has v1.33.5, v1.34.3, v1.35.4, v1.36.3; the nearest that would work is v1.36.3; set a version that the catalog has (kubectl get kubernetesreleases), or create its release [rule release-in-catalog]"
    );
    assert_eq!(
        refuse(&|world| world.rows.push(row("r31", "v1.31.1", "3.5.26-0")), "v1.31.1"),
        "Cluster ns/c: spec.topology.version: v1.31.1 is older than v1.33.5, which runs; Cluster API has no way down: fix forward with another release, or restore from a backup [rule no-downgrade]"
    );
    assert_eq!(
        refuse(&|world| world.rows.retain(|(name, _)| name != "r34"), "v1.35.4"),
        "Cluster ns/c: spec.topology.version: on the way from v1.33.5 to v1.35.4, Cluster API goes through v1.34.3, which has no release; create a KubernetesRelease of v1.34.3 [rule path]"
    );
    assert_eq!(
        refuse(
            &|world| world.class.as_mut().unwrap()["spec"]["kubernetesVersions"] = json!([]),
            "v1.35.4"
        ),
        "Cluster ns/c: spec.topology.version: v1.35.4 is 2 minors above v1.33.5, and the class lists no kubernetesVersions to go through; wire ClusterClass ns/class again with a catalog that has these versions (instar wire) [rule path]"
    );
    assert_eq!(
        refuse(
            &|world| world.row("r34").upgrades_from = Some(">=1.33.6".to_owned()),
            "v1.35.4"
        ),
        "Cluster ns/c: spec.topology.version: release r34 (v1.34.3) upgrades from >=1.33.6, and v1.33.5 comes before it; go first to a version that it upgrades from, or to a release that accepts this one [rule upgrades-from]"
    );
    assert_eq!(
        refuse(
            &|world| {
                world.row("r34").machine_images.remove(1);
            },
            "v1.35.4"
        ),
        "Cluster ns/c: spec.topology.version: release r34 (v1.34.3) has no image for the control plane (DevMachineTemplate); create a KubernetesRelease of v1.34.3 with a higher revision and this image [rule image-for-pool]"
    );
    assert_eq!(
        refuse(
            &|world| {
                let patch = "/spec/patches/0/definitions/1/jsonPatches/0/valueFrom/template";
                *world.class.as_mut().unwrap().pointer_mut(patch).unwrap() = json!("by-hand");
            },
            "v1.35.4"
        ),
        "Cluster ns/c: spec.topology.version: release r34 (v1.34.3) sets /spec/template/spec/image of DevMachineTemplate for the control plane, and ClusterClass ns/class does not render it; wire the class again: instar wire prints it [rule wiring-renders]"
    );
    assert_eq!(
        refuse(
            &|world| {
                world.row("r35").components.etcd = None;
            },
            "v1.35.4"
        ),
        format!(
            "Cluster ns/c: spec.topology.version: ClusterClass ns/class renders {ETCD} of KubeadmControlPlaneTemplate for the control plane itself, and release r35 (v1.35.4) does not set it; take a release that sets it, or put a value there into the class' template and wire the class again [rule wiring-renders]"
        )
    );
    assert_eq!(
        refuse(&|world| world.class = None, "v1.34.3"),
        "Cluster ns/c: spec.topology.classRef: ClusterClass ns/class is not known; create it first, or try again if it was created just now [rule class-known]"
    );
    assert_eq!(
        refuse(&|world| world.class = Some(bare_class()), "v1.34.3"),
        "Cluster ns/c: spec.topology: the Cluster is pinned to releases, and ClusterClass ns/class has no wiring to render them; wire it: instar wire class | kubectl apply -f - [rule wiring-renders]"
    );
}

#[test]
fn only_pools_that_stop_need_an_image_there() {
    let mut world = World::new();
    let created = world.create("v1.33.5");
    // The workers skip v1.34.3, so it needs an image for the control plane only.
    for image in &mut world.row("r34").machine_images {
        image.role = instar_api::PoolRole::ControlPlane;
    }
    let (moved, _) = world.edit(&created, set_version("v1.35.4")).unwrap();
    assert_eq!(image(&pins(&moved).releases[&v("v1.34.3")].workers), "nothing");
    let refused = world.edit(&created, set_version("v1.34.3")).unwrap_err();
    assert!(
        refused.contains("release r34 (v1.34.3) has no image for MachineDeployment md-0 (DevMachineTemplate)"),
        "{refused}"
    );
}

#[test]
fn etcd_3_6_follows_only_on_3_5_26() {
    let mut world = World::new();
    *world.row("r33") = row("r33", "v1.33.5", "3.5.21-0").1;
    let created = world.create("v1.33.5");
    let refused = world.edit(&created, set_version("v1.35.4")).unwrap_err();
    assert_eq!(
        refused,
        "Cluster ns/c: spec.topology.version: release r34 (v1.34.3) runs etcd 3.6.5-0 after etcd 3.5.21-0 of v1.33.5, and etcd 3.6 may follow only on 3.5.26 or later; first create a KubernetesRelease of v1.33.5 with etcd 3.5.26 or later, and set spec.topology.version to its name [rule etcd-step]"
    );
    // The way out that it names is one.
    world.rows.push(row("r33-2", "v1.33.5", "3.5.26-0"));
    let refused = world.edit(&created, set_version("v1.35.4")).unwrap_err();
    assert!(
        refused.contains(
            "first set spec.topology.version to r33-2, the release of v1.33.5 with etcd 3.5.26-0 [rule etcd-step]"
        ),
        "{refused}"
    );
    let (safe, _) = world.edit(&created, set_version("r33-2")).unwrap();
    assert_eq!(pinned(&safe), ["v1.33.5=r33-2"]);
    world.edit(&safe, set_version("v1.35.4")).unwrap();
    // But only when all machines of the control plane have gone there.
    let mut running = safe;
    running["spec"]["controlPlaneRef"] = json!({"kind": "KubeadmControlPlane", "name": "c"});
    let asks_for = |tag: &str| {
        let etcd = json!({"local": {"imageTag": tag}});
        Some(json!({"version": "v1.33.5", "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": etcd}}}))
    };
    let what = "release r34 (v1.34.3) runs etcd 3.6.5-0 after etcd 3.5.26-0 of v1.33.5, which not all machines of the control plane run yet; wait until all of its machines are up to date (kubectl get kubeadmcontrolplanes) [rule etcd-step]";
    let done = json!({"observedGeneration": 1, "replicas": 3, "upToDateReplicas": 3});
    for (control_plane, rollout, is_refused) in [
        (asks_for("3.5.26-0"), done.clone(), false),
        (asks_for("3.5.21-0"), done.clone(), true),
        (
            asks_for("3.5.26-0"),
            json!({"observedGeneration": 0, "replicas": 3, "upToDateReplicas": 3}),
            true,
        ),
        (
            asks_for("3.5.26-0"),
            json!({"observedGeneration": 1, "replicas": 3, "upToDateReplicas": 2}),
            true,
        ),
        (asks_for("3.5.26-0"), Value::Null, true),
        (None, done, true),
    ] {
        (world.control_plane, world.rollout) = (control_plane, rollout);
        match world.edit(&running, set_version("v1.34.3")) {
            Ok(_) => assert!(!is_refused, "{:?} {}", world.control_plane, world.rollout),
            Err(message) => assert!(is_refused && message.contains(what), "{message}"),
        }
    }
}

#[test]
fn an_adopted_clusters_etcd_is_what_its_control_plane_says() {
    let running = cluster("v1.33.5");
    let mut world = World::new();
    let etcd = |etcd: Value| Some(json!({"kubeadmConfigSpec": {"clusterConfiguration": {"etcd": etcd}}}));
    for (control_plane, refused) in [
        (None, Some("after etcd (of an unknown version) of v1.33.5")),
        (
            etcd(json!({})),
            Some("after etcd (kubeadm's default for v1.33.5) of v1.33.5"),
        ),
        (
            etcd(json!({"local": {"imageTag": "3.5.24-0"}})),
            Some("after etcd 3.5.24-0 of v1.33.5"),
        ),
        (etcd(json!({"local": {"imageTag": "3.5.26-0"}})), None),
        (etcd(json!({"external": {"endpoints": ["https://etcd"]}})), None),
    ] {
        world.control_plane = control_plane;
        match (world.edit(&running, set_version("v1.34.3")), refused) {
            (Ok(_), None) => {}
            (Err(message), Some(part)) => assert!(message.contains(part), "{message}"),
            (verdict, expected) => panic!("{verdict:?}, expected {expected:?}"),
        }
    }
}

/// Each version that something runs, not the target alone: else the reconcile stops, and with it scaling.
#[test]
fn another_class_renders_every_pin_that_stays() {
    let mut world = World::new();
    let created = world.create("v1.33.5");
    // A class that was wired with a catalog whose rows set no etcd.
    for name in ["r33", "r34", "r35", "r36"] {
        world.row(name).components.etcd = None;
    }
    world.class = Some(bare_class());
    world.wire();
    let mut bare = world.class.take().unwrap();
    bare["metadata"]["name"] = json!("other");
    world.class = Some(bare);
    let rebase = |version: &'static str| {
        move |cluster: &mut Value| {
            cluster["spec"]["topology"]["classRef"]["name"] = json!("other");
            set_version(version)(cluster);
        }
    };
    for version in ["v1.33.5", "v1.34.3"] {
        let refused = world.edit(&created, rebase(version)).unwrap_err();
        assert_eq!(
            refused,
            format!(
                "Cluster ns/c: spec.topology.version: release r33 (v1.33.5) sets {ETCD} of KubeadmControlPlaneTemplate for the control plane itself, and ClusterClass ns/other does not render it; wire the class again: instar wire prints it [rule wiring-renders]"
            )
        );
    }
}

#[test]
fn a_class_says_that_its_etcd_is_external_only_where_the_control_plane_has_one() {
    let mut world = World::new();
    let external = json!({"external": {"endpoints": ["https://etcd"]}});
    let kubeadm = |etcd: &Value| json!({"kubeadmConfigSpec": {"clusterConfiguration": {"etcd": etcd}}});
    let templates = [
        ("KubeadmControlPlaneTemplate", kubeadm(&external)),
        ("DevMachineTemplate", json!({})),
    ];
    let templates = templates.map(|(kind, spec)| {
        let reference = serde_json::from_value(reference(kind)).unwrap();
        (reference, json!({"spec": {"template": {"spec": spec}}}))
    });
    let wired = instar_wiring::wire(&bare_class(), &templates.into(), &world.catalog()).unwrap();
    world.class = Some(wired.class);
    let created = world.create("v1.33.5");
    assert_eq!(pins(&created).releases.values().next().unwrap().etcd_tag(), None);

    world.control_plane = Some(kubeadm(&external));
    world.edit(&created, set_version("v1.34.3")).unwrap();
    world.control_plane = Some(kubeadm(&json!({"local": {"imageTag": "3.5.21-0"}})));
    assert_eq!(
        world.edit(&created, set_version("v1.34.3")).unwrap_err(),
        format!(
            "Cluster ns/c: spec.topology.version: release r34 (v1.34.3) sets {ETCD} of KubeadmControlPlaneTemplate for the control plane itself, and ClusterClass ns/class does not render it; wire the class again: instar wire prints it [rule wiring-renders]"
        )
    );
}
