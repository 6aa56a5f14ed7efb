//! Pins that are completed while a Cluster is on its way.

use super::*;

/// On its way from v1.33.5 to v1.36.3, with the control plane at v1.34.3; then the class' newest
/// v1.35 becomes another.
fn on_its_way() -> (World, Value) {
    let mut world = World::new();
    let (cluster, _) = world.edit(&world.create("v1.33.5"), set_version("v1.36.3")).unwrap();
    world.rows.push(row("r35-9", "v1.35.9", "3.6.6-0"));
    world.wire();
    world.control_plane = Some(json!({"version": "v1.34.3"}));
    (world, cluster)
}

fn name(version: &str, release: &str) -> impl FnOnce(&mut Value) {
    move |cluster| {
        let mut named = pins(cluster);
        named.releases.insert(
            v(version),
            Pin {
                release: release.to_owned(),
                ..Pin::default()
            },
        );
        cluster["metadata"]["annotations"][RELEASES_ANNOTATION] = json!(named.to_annotation());
    }
}

#[test]
fn a_version_that_has_come_on_the_way_gets_the_values_of_the_row_that_is_named() {
    let (world, cluster) = on_its_way();
    let (completed, warnings) = world.edit(&cluster, name("v1.35.9", "r35-9")).unwrap();
    assert_eq!(
        pinned(&completed),
        [
            "v1.33.5=r33",
            "v1.34.3=r34",
            "v1.35.4=r35",
            "v1.35.9=r35-9",
            "v1.36.3=r36"
        ]
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    let (before, after) = (pins(&cluster), pins(&completed));
    for (version, pin) in &before.releases {
        assert_eq!(after.releases[version], *pin, "{version}");
    }
    let pin = &after.releases[&v("v1.35.9")];
    assert_eq!(
        (image(&pin.control_plane), image(&pin.workers)),
        ("amd-r35-9", "amd-r35-9")
    );
}

#[test]
fn a_control_plane_that_nobody_has_seen_is_taken_to_be_below() {
    let (mut world, cluster) = on_its_way();
    world.control_plane = None;
    let (completed, _) = world.edit(&cluster, name("v1.35.9", "r35-9")).unwrap();
    assert!(pins(&completed).covers(&v("v1.35.9")));
}

#[test]
fn what_is_not_on_the_way_is_refused() {
    let (mut world, cluster) = on_its_way();
    world.rows.push(row("r35-1", "v1.35.1", "3.6.6-0"));
    let refused = world.edit(&cluster, name("v1.35.1", "r35-1")).unwrap_err();
    assert_eq!(
        refused,
        "Cluster ns/c: metadata.annotations[upgrade.cluster.x-k8s.io/releases]: on the way from v1.34.3 to v1.36.3, Cluster API does not go through v1.35.1, for which a release is named; name none for it: a version that is gone through later gets its pin then [rule pins-by-hand]"
    );
    // It was on the way, and the control plane has left it behind.
    world.control_plane = Some(json!({"version": "v1.35.4"}));
    assert!(world.edit(&cluster, name("v1.35.9", "r35-9")).is_err());
}

#[test]
fn the_rules_of_a_step_hold_for_it() {
    let (mut world, cluster) = on_its_way();
    world.row("r35-9").upgrades_from = Some(">=1.34.5".to_owned());
    let refused = world.edit(&cluster, name("v1.35.9", "r35-9")).unwrap_err();
    assert!(
        refused.contains("release r35-9 (v1.35.9) upgrades from >=1.34.5, and v1.34.3 comes before it"),
        "{refused}"
    );
    // And for the one after it.
    let (mut world, cluster) = on_its_way();
    world.row("r36").upgrades_from = Some("<=1.35.4".to_owned());
    let refused = world.edit(&cluster, name("v1.35.9", "r35-9")).unwrap_err();
    assert!(
        refused.contains("release r36 (v1.36.3) upgrades from <=1.35.4, and v1.35.9 comes before it"),
        "{refused}"
    );
}

/// The way out of a version that holds the Cluster up, such as by an image that doesn't boot.
#[test]
fn another_release_of_a_version_on_the_way_is_taken() {
    let mut world = World::new();
    let (cluster, _) = world.edit(&world.create("v1.33.5"), set_version("v1.36.3")).unwrap();
    world.rows.push(row("r34-b", "v1.34.3", "3.6.5-0"));
    world.rows.push(row("r35-b", "v1.35.4", "3.6.6-0"));
    let with = |version: &str, release: &str| {
        pinned(&cluster)
            .into_iter()
            .map(|pin| match pin.split_once('=') {
                Some((at, _)) if at == version => format!("{version}={release}"),
                Some(_) | None => pin,
            })
            .collect::<Vec<_>>()
    };
    // The control plane is there and doesn't come up, or has still to go there.
    for at in ["v1.33.5", "v1.34.3"] {
        let etcd = json!({"local": {"imageTag": "3.5.26-0"}});
        world.control_plane =
            Some(json!({"version": at, "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": etcd}}}));
        for (version, release) in [("v1.34.3", "r34-b"), ("v1.35.4", "r35-b")] {
            let (edited, _) = world.edit(&cluster, name(version, release)).unwrap();
            assert_eq!(pinned(&edited), with(version, release), "at {at}");
            assert_eq!(
                image(&pins(&edited).releases[&v(version)].control_plane),
                format!("amd-{release}")
            );
        }
    }
    // It has passed v1.34.3. Workers may still run it.
    world.control_plane = Some(json!({"version": "v1.35.4"}));
    let refused = world.edit(&cluster, name("v1.34.3", "r34-b")).unwrap_err();
    assert!(
        refused.contains(
            "on the way from v1.35.4 to v1.36.3, Cluster API does not go through v1.34.3, for which a release is named"
        ),
        "{refused}"
    );
    world.workers = vec![CachedWorker {
        kind: instar_capi::WorkerKind::MachineDeployment,
        name: "md-0".to_owned(),
        managed_by: instar_capi::ManagedBy::Topology,
        in_topology: Some("md-0".to_owned()),
        versions: Versions {
            lowest: v("v1.34.3"),
            highest: v("v1.34.3"),
        },
    }];
    let (edited, _) = world.edit(&cluster, name("v1.34.3", "r34-b")).unwrap();
    assert_eq!(pinned(&edited), with("v1.34.3", "r34-b"));
}

#[test]
fn a_release_that_an_edit_can_not_take_is_refused() {
    let mut world = World::new();
    let created = world.create("v1.33.5");
    world.rows.push(row("r35-b", "v1.35.4", "3.6.6-0"));
    let refused = world
        .edit(&created, |cluster| {
            name("v1.35.4", "r35-b")(cluster);
            set_version("v1.34.3")(cluster);
        })
        .unwrap_err();
    assert_eq!(
        refused,
        "Cluster ns/c: metadata.annotations[upgrade.cluster.x-k8s.io/releases]: release r35-b is named for v1.35.4, which this edit does not go through; name it in an edit of its own, or name none for this version [rule pins-by-hand]"
    );
}

#[test]
fn a_pin_that_is_not_on_the_way_is_not_rewritten() {
    let (mut world, cluster) = on_its_way();
    world.rows.push(row("r35-b", "v1.35.4", "3.6.6-0"));
    let refused = world.edit(&cluster, name("v1.35.4", "r35-b")).unwrap_err();
    assert!(refused.contains("does not go through v1.35.4"), "{refused}");
}
