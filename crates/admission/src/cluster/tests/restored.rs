//! Clusters that are created with what they had elsewhere.

use instar_capi::{ManagedBy, WorkerKind};

use super::*;

/// A Cluster as it is after Cluster API has made its control plane.
fn run(mut cluster: Value) -> Value {
    cluster["spec"]["controlPlaneRef"] =
        json!({"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "c"});
    cluster
}

fn with_pins(mut cluster: Value, pins: &str) -> Value {
    cluster["metadata"]["annotations"][RELEASES_ANNOTATION] = json!(pins);
    cluster
}

impl World {
    fn of(requester: Requester) -> Self {
        Self {
            requester,
            ..Self::new()
        }
    }

    fn without_row(mut self, name: &str) -> Self {
        self.rows.retain(|(row, _)| row != name);
        self
    }

    fn without_class(mut self) -> Self {
        self.class = None;
        self
    }

    fn bare(mut self) -> Self {
        self.class = Some(bare_class());
        self
    }

    fn restored(&self, cluster: &Value) -> Result<(Value, Vec<String>), String> {
        self.write(None, cluster.clone())
    }

    #[track_caller]
    fn keeps(&self, cluster: &Value) -> Vec<String> {
        let (written, warnings) = self.restored(cluster).unwrap();
        assert_eq!(&written, cluster);
        warnings
    }

    #[track_caller]
    fn refuses(&self, cluster: &Value, what: &str) {
        let refused = self.restored(cluster).unwrap_err();
        assert!(refused.contains(what), "{refused}");
        assert!(refused.starts_with("Cluster ns/c: "), "{refused}");
    }
}

/// A running Cluster with pins.
fn pinned_cluster() -> Value {
    run(World::new().create("v1.34.3"))
}

#[test]
fn a_pinned_cluster_is_restored_as_it_is() {
    for requester in [Requester::Other, Requester::ReleaseAuthor] {
        let world = World::of(requester);
        assert_eq!(world.keeps(&pinned_cluster()), [""; 0]);
        // Also before its class, and with a newer row of the same version.
        assert_eq!(world.without_class().keeps(&pinned_cluster()), [""; 0]);
        let mut world = World::of(requester);
        world.rows.push(row("r34-2", "v1.34.3", "3.6.7-0"));
        assert_eq!(world.keeps(&pinned_cluster()), [""; 0]);
    }
}

#[test]
fn before_its_rows_it_is_restored_by_who_may_write_rows() {
    let world = World::of(Requester::Other).without_row("r34");
    world.refuses(
        &pinned_cluster(),
        "v1.34.3 is pinned to release r34, which is not in the catalog; create the KubernetesRelease again as it was, or restore it as a user who may create kubernetesreleases [rule restored-cluster]",
    );
    let world = World::of(Requester::ReleaseAuthor).without_row("r34");
    assert_eq!(
        world.keeps(&pinned_cluster()),
        ["Cluster ns/c: v1.34.3 is pinned to release r34, which is not in the catalog: create it again as it was"]
    );
}

#[test]
fn values_that_no_row_has_are_refused_whoever_asks() {
    let text = pinned_cluster()["metadata"]["annotations"][RELEASES_ANNOTATION]
        .as_str()
        .unwrap()
        .to_owned();
    for (from, to, what) in [
        (
            "amd-r34",
            "mine",
            "v1.34.3 is pinned to release r34, and release r34 has no such values as are pinned for the control plane",
        ),
        ("3.6.5-0", "3.5.0-0", "release r34 does not set"),
        ("\"r34\"", "\"r35\"", "release r35 is of v1.35.4"),
        (
            &format!("\"controlPlane\":{{\"{IMAGE}\":\"amd-r34\"}}"),
            "\"controlPlane\":{}",
            "release r34 has values for the control plane, which has none",
        ),
    ] {
        let forged = with_pins(pinned_cluster(), &text.replace(from, to));
        assert_ne!(forged, pinned_cluster());
        for requester in [Requester::Other, Requester::ReleaseAuthor] {
            World::of(requester).refuses(&forged, what);
        }
    }
    // In a class that nobody has seen or wired yet, too: it may be wired later.
    let forged = with_pins(cluster("v1.34.3"), &text.replace("amd-r34", "mine"));
    World::new().bare().refuses(&forged, "no such values");
    World::new().without_class().refuses(&forged, "no such values");
}

#[test]
fn a_cluster_without_pins_stays_without() {
    let never_pinned = run(cluster("v1.33.5"));
    // It has a control plane, so it runs; that is believed of who could say what a release is.
    for world in [
        World::of(Requester::ReleaseAuthor),
        World::of(Requester::ReleaseAuthor).without_row("r33"),
        World::of(Requester::ReleaseAuthor).without_class(),
        World::of(Requester::ReleaseAuthor).bare(),
    ] {
        assert_eq!(world.keeps(&never_pinned), [""; 0]);
    }
    let what = "spec.controlPlaneRef: the Cluster is created with a control plane that was not seen before; restore it as a user who may create kubernetesreleases, or leave the reference out to create a new control plane [rule restored-cluster]";
    World::new().refuses(&never_pinned, what);
    World::new().bare().refuses(&never_pinned, what);
    let mut world = World::new();
    world.control_plane = Some(json!({"version": "v1.33.5"}));
    assert_eq!(world.keeps(&never_pinned), [""; 0]);
    // A version that means nothing to Cluster API is not resolved, since what runs isn't known.
    World::of(Requester::ReleaseAuthor).refuses(&run(cluster("v1.33")), "v1.33 is not a version");
}

#[test]
fn an_adopted_cluster_is_restored_in_the_middle_of_its_upgrade() {
    let mut world = World::of(Requester::ReleaseAuthor);
    world.control_plane =
        Some(json!({"kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"imageTag": "3.5.26-0"}}}}}));
    let (upgrading, _) = world.edit(&run(cluster("v1.33.5")), set_version("v1.35.4")).unwrap();
    assert_eq!(pins(&upgrading).adopted, [v("v1.33.5")].into());
    assert_eq!(World::of(Requester::ReleaseAuthor).keeps(&upgrading), [""; 0]);
    World::new().refuses(&upgrading, "a control plane that was not seen before");
    // Without a control plane there is nothing to adopt.
    let mut forged = upgrading;
    forged["spec"].as_object_mut().unwrap().remove("controlPlaneRef");
    World::of(Requester::ReleaseAuthor).refuses(
        &forged,
        "it adopts v1.33.5, and the Cluster has no control plane that runs (spec.controlPlaneRef); leave the annotation out: admission writes it",
    );
}

#[test]
fn pins_of_another_version_are_not_completed() {
    let mut other = pinned_cluster();
    other["spec"]["topology"]["version"] = json!("v1.35.4");
    World::of(Requester::ReleaseAuthor).refuses(&other, "it has no release for v1.35.4, the version of the Cluster");
    // Without a control plane it is a new cluster, which gets the pins of its version.
    other["spec"].as_object_mut().unwrap().remove("controlPlaneRef");
    assert_eq!(
        pinned(&World::new().restored(&other).unwrap().0),
        ["v1.34.3=r34", "v1.35.4=r35"]
    );
}

#[test]
fn a_class_without_wiring_would_replace_what_runs_pinned() {
    World::of(Requester::ReleaseAuthor).bare().refuses(
        &pinned_cluster(),
        "the Cluster is pinned to releases, and ClusterClass ns/class has no wiring to render them",
    );
}

#[test]
fn what_an_edit_adds_is_taken_away_where_it_can_not_be_judged() {
    let text = pinned_cluster()["metadata"]["annotations"][RELEASES_ANNOTATION]
        .as_str()
        .unwrap()
        .to_owned();
    for (world, why) in [
        (World::new().bare(), "ClusterClass ns/class is not wired"),
        (World::new().without_class(), "ClusterClass ns/class is not known"),
    ] {
        let plain = run(cluster("v1.34.3"));
        let (written, warnings) = world.write(Some(&plain), with_pins(plain.clone(), &text)).unwrap();
        assert_eq!(written, plain);
        let annotation = "the annotation upgrade.cluster.x-k8s.io/releases was";
        assert_eq!(
            warnings,
            [format!("{annotation} taken away: {why}, so it can't be edited now")]
        );
        // And what it edits is put back.
        let pinned = pinned_cluster();
        let forged = with_pins(pinned.clone(), &text.replace("amd-r34", "mine"));
        let (written, warnings) = world.write(Some(&pinned), forged).unwrap();
        assert_eq!(written, pinned);
        assert_eq!(
            warnings,
            [format!("{annotation} put back: {why}, so it can't be edited now")]
        );
    }
}

#[test]
fn a_classic_cluster_that_gets_a_topology_is_adopted_at_what_it_runs() {
    let mut world = World::new();
    let kubeadm = json!({"clusterConfiguration": {"etcd": {"local": {"imageTag": "3.5.26-0"}}}});
    world.control_plane = Some(json!({"version": "v1.33.5", "kubeadmConfigSpec": kubeadm}));
    let mut classic = run(cluster("v1.33.5"));
    classic["spec"].as_object_mut().unwrap().remove("topology");
    let (same, _) = world.write(Some(&classic), run(cluster("v1.33.5"))).unwrap();
    assert_eq!(same, run(cluster("v1.33.5")));
    // Another version is an edit of the version, with all of its rules.
    let (moved, _) = world.write(Some(&classic), run(cluster("v1.35.4"))).unwrap();
    assert_eq!(pins(&moved).adopted, [v("v1.33.5")].into());
    assert_eq!(pinned(&moved), ["v1.34.3=r34", "v1.35.4=r35"]);
    let older = world.write(Some(&classic), run(cluster("v1.32.1"))).unwrap_err();
    assert!(older.contains("v1.32.1"), "{older}");
    world.control_plane = None;
    let unknown = world.write(Some(&classic), run(cluster("v1.33.5"))).unwrap_err();
    assert!(
        unknown.contains("the version that its control plane runs is not known"),
        "{unknown}"
    );
}

/// With Cluster API's checks switched off, a Cluster that carries no pins may be at two versions.
#[test]
fn all_versions_that_run_are_adopted() {
    let mut world = World::new();
    let kubeadm = json!({"clusterConfiguration": {"etcd": {"local": {"imageTag": "3.6.5-0"}}}});
    world.control_plane = Some(json!({"version": "v1.34.3", "kubeadmConfigSpec": kubeadm}));
    let at = |version: &str| Versions {
        lowest: v(version),
        highest: v(version),
    };
    world.running = Some(at("v1.34.3"));
    world.workers = vec![CachedWorker {
        kind: WorkerKind::MachineDeployment,
        name: "md-0".to_owned(),
        managed_by: ManagedBy::Topology,
        in_topology: Some("md-0".to_owned()),
        versions: at("v1.33.5"),
    }];
    let to_next = |cluster: &mut Value| {
        set_version("v1.35.4")(cluster);
        cluster["metadata"]["annotations"][UNSAFE_VERSION] = json!("");
    };
    let (edited, warnings) = world.edit(&run(cluster("v1.34.3")), to_next).unwrap();
    assert_eq!(pins(&edited).adopted, [v("v1.33.5"), v("v1.34.3")].into());
    assert_eq!(
        warnings,
        ["Cluster ns/c is adopted: v1.33.5 v1.34.3 stays as its class renders it"]
    );
    // A class that was wired before there could be two renders templates of both.
    let wired = world.class.clone().unwrap().to_string();
    let mut older = wired.clone();
    for builtin in ["controlPlane", "machineDeployment", "machinePool"] {
        let adopted = "(fromJson (get $a \\\"upgrade.cluster.x-k8s.io/releases\\\")).adopted";
        older = older.replace(
            &format!("not (has .builtin.{builtin}.version (splitList \\\" \\\" {adopted}))"),
            &format!("ne {adopted} .builtin.{builtin}.version"),
        );
    }
    assert_ne!(older, wired);
    world.class = Some(serde_json::from_str(&older).unwrap());
    let refused = world.edit(&run(cluster("v1.34.3")), to_next).unwrap_err();
    assert!(
        refused.contains("the Cluster runs v1.33.5 v1.34.3 without pins, and ClusterClass ns/class was wired when there could be one such version"),
        "{refused}"
    );
}
