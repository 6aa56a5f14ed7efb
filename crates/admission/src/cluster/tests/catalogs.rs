//! Rows of several catalogs, and labels of the Cluster.

use super::*;

/// Rows of catalog `other` beside those of the default one, and a class of that catalog.
fn move_to_other(world: &mut World) {
    for (name, version, etcd) in [("o33", "v1.33.5", "3.5.26-0"), ("o34", "v1.34.3", "3.6.5-0")] {
        let (name, mut spec) = row(name, version, etcd);
        spec.catalog = "other".into();
        world.rows.push((name, spec));
    }
    let class = world.class.as_mut().unwrap();
    class["metadata"]["labels"][CATALOG_LABEL] = json!("other");
    world.wire();
}

#[test]
fn pins_keep_their_rows_when_the_catalog_changes() {
    let mut world = World::new();
    let created = world.create("v1.33.5");
    move_to_other(&mut world);
    let (same, _) = world.edit(&created, |_| ()).unwrap();
    assert_eq!(same, created);
    // What is new at the version that runs is as the rest of it.
    let add_arm = |cluster: &mut Value| {
        let pools = &mut cluster["spec"]["topology"]["workers"]["machineDeployments"];
        pools
            .as_array_mut()
            .unwrap()
            .push(json!({"class": "arm", "name": "md-2"}));
    };
    let (more, _) = world.edit(&created, add_arm).unwrap();
    let pin = &pins(&more).releases[&v("v1.33.5")];
    assert_eq!(
        (&*pin.release, image(&pin.machine_deployments["md-2"])),
        ("r33", "arm-r33")
    );
    // The next version is one of the new catalog.
    let (moved, _) = world.edit(&more, set_version("v1.34")).unwrap();
    assert_eq!(pinned(&moved), ["v1.33.5=r33", "v1.34.3=o34"]);
    assert_eq!(
        world.edit(&created, set_version("v1.35")).unwrap_err(),
        "Cluster ns/c: spec.topology.version: \"v1.35\" is in the default catalog, and the Cluster's is catalog other, which has v1.33.5, v1.34.3; the nearest that would work is v1.34.3; set a version that the catalog has (kubectl get kubernetesreleases), or create its release [rule release-in-catalog]"
    );
}

#[test]
fn a_row_of_another_catalog_is_not_named_by_hand() {
    let mut world = World::new();
    let created = world.create("v1.33.5");
    move_to_other(&mut world);
    let name = |release: &'static str| {
        move |cluster: &mut Value| {
            let mut named = pins(cluster);
            named.releases.get_mut(&v("v1.33.5")).unwrap().release = release.to_owned();
            cluster["metadata"]["annotations"][RELEASES_ANNOTATION] = json!(named.to_annotation());
        }
    };
    let (other, _) = world.edit(&created, name("o33")).unwrap();
    assert_eq!(pinned(&other), ["v1.33.5=o33"]);
    assert_eq!(
        world.edit(&other, name("r33")).unwrap_err(),
        "Cluster ns/c: metadata.annotations[upgrade.cluster.x-k8s.io/releases]: release \"r33\", named for v1.33.5, is of the default catalog, and the Cluster's is catalog other; name one that is (kubectl get kubernetesreleases) [rule pins-by-hand]"
    );
    let refused = world.edit(&other, set_version("r34")).unwrap_err();
    assert!(
        refused.contains("\"r34\" is a release of the default catalog, and the Cluster's is catalog other"),
        "{refused}"
    );
}

#[test]
fn labels_of_the_cluster_choose_images_under_those_of_the_pools() {
    let world = World::new();
    let mut labelled = cluster("v1.33.5");
    labelled["metadata"]["labels"] = json!({"arch": "arm64"});
    labelled["spec"]["topology"]["workers"]["machineDeployments"][1]["metadata"]["labels"] = json!({"arch": "amd64"});
    let (created, _) = world.write(None, labelled).unwrap();
    let pin = &pins(&created).releases[&v("v1.33.5")];
    assert_eq!((image(&pin.control_plane), image(&pin.workers)), ("arm-r33", "arm-r33"));
    assert_eq!(image(&pin.machine_deployments["md-1"]), "amd-r33");

    // Alone they move nothing.
    let relabel = |cluster: &mut Value| cluster["metadata"]["labels"] = json!({});
    let (relabelled, _) = world.edit(&created, relabel).unwrap();
    assert_eq!(pins(&relabelled), pins(&created));
    let (moved, _) = world.edit(&relabelled, set_version("v1.34.3")).unwrap();
    let pin = &pins(&moved).releases[&v("v1.34.3")];
    assert_eq!((image(&pin.control_plane), image(&pin.workers)), ("amd-r34", "amd-r34"));
    assert_eq!(
        image(pins(&moved).releases[&v("v1.33.5")].machine_deployment("md-0")),
        "arm-r33"
    );
}
