//! Another release of the version that runs: control plane first, then pool by pool.

use instar_api::{LeftTemplate, ReleaseChange};

use super::*;

const VERSION: &str = "v1.34.3";

/// It runs `r34`, and there are two more rows of that version.
fn running() -> (World, Value) {
    let mut world = World::new();
    let created = world.create(VERSION);
    world.rows.push(row("r34-2", VERSION, "3.6.5-0"));
    world.rows.push(row("r34-3", VERSION, "3.6.5-0"));
    world.control_plane = Some(control_plane("t-1"));
    world.workers = vec![worker("md-0", VERSION), worker("md-1", VERSION)];
    (world, created)
}

fn control_plane(template: &str) -> Value {
    json!({
        "version": VERSION,
        "machineTemplate": {"spec": {"infrastructureRef": {
            "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachineTemplate", "name": template,
        }}},
        "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"imageTag": "3.6.5-0"}}}},
    })
}

fn worker(name: &str, version: &str) -> CachedWorker {
    CachedWorker {
        kind: instar_capi::WorkerKind::MachineDeployment,
        name: format!("c-{name}-x"),
        managed_by: instar_capi::ManagedBy::Topology,
        in_topology: Some(name.to_owned()),
        versions: Versions {
            lowest: v(version),
            highest: v(version),
        },
    }
}

fn pin(cluster: &Value) -> Pin {
    pins(cluster).releases.remove(&v(VERSION)).unwrap()
}

fn images(cluster: &Value) -> [String; 3] {
    let pin = pin(cluster);
    [
        &pin.control_plane,
        pin.machine_deployment("md-0"),
        pin.machine_deployment("md-1"),
    ]
    .map(|values| image(values).to_owned())
}

fn edit_pin(change: impl FnOnce(&mut Pin)) -> impl FnOnce(&mut Value) {
    move |cluster| {
        let mut edited = pins(cluster);
        change(edited.releases.get_mut(&v(VERSION)).unwrap());
        cluster["metadata"]["annotations"][RELEASES_ANNOTATION] = json!(edited.to_annotation());
    }
}

fn take_off(name: &'static str) -> impl FnOnce(&mut Value) {
    edit_pin(move |pin| {
        pin.change.machine_deployments.remove(name);
        let left = format!("c-{name}-t");
        pin.change.left.machine_deployments.insert(name.to_owned(), left);
    })
}

#[test]
fn the_control_plane_goes_first_and_each_pool_when_it_is_taken_off() {
    let (world, cluster) = running();
    let (changed, warnings) = world.edit(&cluster, set_version("r34-2")).unwrap();
    assert_eq!(images(&changed), ["amd-r34-2", "amd-r34", "amd-r34"]);
    assert_eq!(
        warnings,
        [
            "Cluster ns/c goes to release r34-2 with its control plane first; then follow, one after the other: md-0, md-1",
            "r34-2 means v1.34.3, release r34-2"
        ]
    );
    let change = pin(&changed).change;
    assert_eq!(
        change.left.control_plane,
        Some(LeftTemplate {
            name: "t-1".to_owned(),
            release: "r34".to_owned()
        })
    );
    // Git goes on, as it is written, and with an edit of something else.
    for asked in ["r34-2", VERSION, "v1.34"] {
        assert_eq!(world.edit(&changed, set_version(asked)).unwrap().0, changed, "{asked}");
    }
    // An object as a whole, without the annotation.
    let replaced = world.edit(&changed, |cluster| cluster["metadata"]["annotations"] = json!({}));
    assert_eq!(replaced.unwrap().0, changed);
    let (first, _) = world.edit(&changed, take_off("md-1")).unwrap();
    assert_eq!(images(&first), ["amd-r34-2", "amd-r34", "amd-r34-2"]);
    assert_eq!(pin(&first).change.left.machine_deployments["md-1"], "c-md-1-t");
    let (both, _) = world.edit(&first, take_off("md-0")).unwrap();
    assert_eq!(images(&both), ["amd-r34-2", "amd-r34-2", "amd-r34-2"]);
    let (plain, _) = world
        .edit(&both, edit_pin(|pin| pin.change = ReleaseChange::default()))
        .unwrap();
    let mut world = world;
    world.workers.clear();
    world.control_plane = None;
    // As if it had been so from the start.
    let created = world.write(None, {
        let mut fresh = self::cluster("r34-2");
        fresh["metadata"]["annotations"] = json!({});
        fresh
    });
    assert_eq!(pins(&plain), pins(&created.unwrap().0));
}

#[test]
fn a_release_that_is_named_in_the_pins_is_the_same() {
    let (world, cluster) = running();
    let named = edit_pin(|pin| {
        *pin = Pin {
            release: "r34-2".to_owned(),
            ..Pin::default()
        };
    });
    let (named, _) = world.edit(&cluster, named).unwrap();
    let (by_version, _) = world.edit(&cluster, set_version("r34-2")).unwrap();
    assert_eq!(named, by_version);
}

#[test]
fn nothing_is_put_on_the_list_and_no_value_written_by_hand() {
    let (world, cluster) = running();
    let (changed, _) = world.edit(&cluster, set_version("r34-2")).unwrap();
    let (first, _) = world.edit(&changed, take_off("md-0")).unwrap();
    let put_back = edit_pin(|pin| {
        pin.change
            .machine_deployments
            .insert("md-0".to_owned(), "r34".to_owned());
    });
    let refused = world.edit(&first, put_back).unwrap_err();
    assert!(
        refused.contains("the values of release r34-2 for v1.34.3 can't be edited"),
        "{refused}"
    );
    let other = edit_pin(|pin| {
        pin.change.machine_deployments.remove("md-0");
        pin.control_plane = pin.machine_deployments["md-1"].clone();
    });
    let refused = world.edit(&changed, other).unwrap_err();
    assert!(refused.contains("can't be edited"), "{refused}");
}

#[test]
fn what_runs_elsewhere_has_nothing_to_keep() {
    let (mut world, cluster) = running();
    world.workers = vec![worker("md-0", VERSION)];
    let (changed, _) = world.edit(&cluster, set_version("r34-2")).unwrap();
    assert_eq!(images(&changed), ["amd-r34-2", "amd-r34", "amd-r34-2"]);
    // A pool that is new gets the release's, and one that is made anew under its name.
    let (added, _) = world
        .edit(&changed, |cluster| {
            cluster["spec"]["topology"]["workers"]["machineDeployments"] =
                json!([{"class": "arm", "name": "md-0"}, {"class": "worker", "name": "md-2"}]);
        })
        .unwrap();
    let pin = pin(&added);
    assert_eq!(image(pin.machine_deployment("md-2")), "amd-r34-2");
    assert_eq!(image(pin.machine_deployment("md-0")), "arm-r34-2");
    assert!(!pin.change.has_followers(), "{:?}", pin.change);
}

#[test]
fn a_third_release_and_the_way_back_in_the_middle() {
    let (mut world, cluster) = running();
    let (changed, _) = world.edit(&cluster, set_version("r34-2")).unwrap();
    let (first, _) = world.edit(&changed, take_off("md-0")).unwrap();
    // Cluster API has replaced the control plane's template.
    world.control_plane = Some(control_plane("t-2"));
    let (third, _) = world.edit(&first, set_version("r34-3")).unwrap();
    assert_eq!(images(&third), ["amd-r34-3", "amd-r34-2", "amd-r34"]);
    let pin_of_third = pin(&third);
    assert_eq!(pin_of_third.change.machine_deployments["md-0"], "r34-2");
    assert_eq!(pin_of_third.change.machine_deployments["md-1"], "r34");
    assert_eq!(pin_of_third.change.left.control_plane.unwrap().name, "t-2");
    let (back, _) = world.edit(&first, set_version("r34")).unwrap();
    assert_eq!(images(&back), ["amd-r34", "amd-r34-2", "amd-r34"]);
    assert_eq!(pin(&back).change.machine_deployments.len(), 1);
    // Before Cluster API has seen the first change, there is nothing to replace on the way back.
    world.control_plane = Some(control_plane("t-1"));
    let (back, _) = world.edit(&changed, set_version("r34")).unwrap();
    assert_eq!(back, cluster);
    // And a third one still replaces the template of before.
    let (third, _) = world.edit(&changed, set_version("r34-3")).unwrap();
    assert_eq!(
        pin(&third).change.left.control_plane,
        pin(&changed).change.left.control_plane
    );
}

#[test]
fn an_adopted_version_is_left_pool_by_pool_where_the_class_has_its_own_values() {
    let mut world = World::new();
    world.rows.push(row("r33-2", "v1.33.5", "3.5.26-0"));
    world.control_plane = Some(control_plane("t-1"));
    world.workers = vec![worker("md-0", "v1.33.5"), worker("md-1", "v1.33.5")];
    // The templates have no image of their own, so that a pool without a pinned one can't be rendered.
    let (all, _) = world.edit(&cluster("v1.33.5"), set_version("r33-2")).unwrap();
    assert!(!pins(&all).releases[&v("v1.33.5")].change.has_followers());
}

#[test]
fn a_cluster_that_is_restored_in_the_middle_keeps_its_list() {
    let (world, cluster) = running();
    let (changed, _) = world.edit(&cluster, set_version("r34-2")).unwrap();
    let mut restored = changed.clone();
    restored["spec"]["controlPlaneRef"] = json!({"apiGroup": "g", "kind": "KubeadmControlPlane", "name": "c"});
    let (kept, _) = world.write(None, restored.clone()).unwrap();
    assert_eq!(pins(&kept), pins(&changed));
    // Made up values are found in either part.
    edit_pin(|pin| {
        pin.change
            .machine_deployments
            .insert("md-0".to_owned(), "r34-3".to_owned());
    })(&mut restored);
    let refused = world.write(None, restored).unwrap_err();
    assert!(
        refused.contains("release r34-3 has no such values as are pinned for MachineDeployment md-0"),
        "{refused}"
    );
}

#[test]
fn the_pools_that_are_held_are_kept_until_another_release_is_named() {
    let (world, cluster) = running();
    let (changed, _) = world.edit(&cluster, set_version("r34-2")).unwrap();
    let to_hold = edit_pin(|pin| pin.change.held = pin.change.machine_deployments.keys().cloned().collect());
    let (held, _) = world.edit(&changed, to_hold).unwrap();
    assert!(!pin(&held).change.is_under_way(), "{:?}", pin(&held).change);
    let replaced = world.edit(&held, |cluster| cluster["metadata"]["annotations"] = json!({}));
    assert_eq!(replaced.unwrap().0, held);
    let (third, _) = world.edit(&held, set_version("r34-3")).unwrap();
    assert!(pin(&third).change.is_under_way());
}

#[test]
fn another_etcd_alone_is_a_change_too() {
    let (mut world, cluster) = running();
    world.rows.push(row("r34-4", VERSION, "3.6.6-0"));
    for (release, kubeadm) in [("r34-2", None), ("r34-4", Some("r34".to_owned()))] {
        let (changed, _) = world.edit(&cluster, set_version(release)).unwrap();
        assert_eq!(pin(&changed).change.left.kubeadm, kubeadm);
    }
}
