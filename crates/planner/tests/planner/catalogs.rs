//! A classic Cluster that names its catalog, and whose labels choose its images.

use std::{collections::BTreeMap, sync::Arc};

use instar_catalog::Catalog;
use instar_planner::Target;
use serde_json::{Value, json};

use crate::{
    scenarios::{complete, decide, mints, swaps_control_plane, swaps_workers, until, world},
    waiting::words,
    world::catalog,
};

/// The rows of every world, and some of catalog `other`, as a Cluster of that catalog sees them.
fn other() -> Arc<Catalog> {
    let of_other = [
        ("v1.34.5", "3.6.5-0", "v1.12.1"),
        ("v1.35.5", "3.6.6-0", "v1.13.1"),
        ("v1.35.9", "3.6.6-0", "v1.13.1"),
    ];
    let of_other = of_other.into_iter().map(|(version, etcd, dns)| {
        let (name, mut row) = catalog::row(version, 9, etcd, dns);
        row["catalog"] = json!("other");
        (format!("other-{name}"), row)
    });
    catalog::named(catalog::rows().into_iter().chain(of_other).collect(), "other")
}

fn images(births: &[(instar_planner::PoolId, instar_domain::KubeVersion, String)]) -> Vec<&str> {
    births.iter().map(|(_, _, image)| image.as_str()).collect()
}

#[test]
fn an_upgrade_goes_through_its_own_catalog() {
    let mut world = world("v1.33.5", "v1.35");
    world.catalog = other();
    until(&mut world, complete);
    assert_eq!(world.pinned, [["other-v1.34.5-9", "other-v1.35.9-9"]]);
    let mut images = images(&world.births);
    images.sort_unstable();
    images.dedup();
    assert_eq!(
        images,
        ["ControlPlane-v1.34.5-9", "ControlPlane-v1.35.9-9", "Worker-v1.35.9-9"]
    );
}

#[test]
fn an_upgrade_that_has_begun_keeps_the_rows_of_its_catalog() {
    let mut calm = world("v1.33.5", "v1.35");
    until(&mut calm, complete);
    for moment in [mints, swaps_control_plane, swaps_workers, complete] {
        let mut world = world("v1.33.5", "v1.35");
        until(&mut world, moment);
        world.catalog = other();
        until(&mut world, complete);
        assert_eq!(world.births, calm.births);
        assert_eq!(world.pinned, calm.pinned);
    }
}

#[test]
fn a_release_of_another_catalog_is_named_with_its_catalog() {
    let mut world = world("v1.33.5", "v1.35");
    world.catalog = other();
    world.upgrade_spec.target = Target::Release("v1.34.5-1".to_owned());
    assert_eq!(
        words(&decide(&world.snapshot())),
        [
            "NoRelease: release v1.34.5-1 is of the default catalog, and the Cluster's is catalog other: name a release of that one"
        ]
    );
    world.upgrade_spec.target = Target::Text("v1.36".to_owned());
    assert_eq!(
        words(&decide(&world.snapshot())),
        [
            "NoTarget: \"v1.36\" is in the default catalog, and the Cluster's is catalog other, which has v1.34.5, v1.35.5, v1.35.9; the nearest that would work is v1.35.9"
        ]
    );
}

#[test]
fn labels_of_the_cluster_choose_images_under_those_of_the_pools() {
    let mut rows = catalog::rows();
    for (_, row) in &mut rows {
        let general: Vec<Value> = row["machineImages"].as_array().unwrap().clone();
        let in_west = general.iter().cloned().map(|mut image| {
            image["labels"] = json!({"region": "west"});
            let value = &mut image["values"][0]["value"];
            *value = json!(format!("West-{}", value.as_str().unwrap()));
            image
        });
        row["machineImages"] = in_west.chain(general.clone()).collect();
    }
    let west = || BTreeMap::from([("region".to_owned(), "west".to_owned())]);
    let mut world = world("v1.33.5", "v1.34");
    world.catalog = catalog::of(rows);
    world.cluster.labels = west();
    world.pools[1].object.labels = BTreeMap::from([("region".to_owned(), "east".to_owned())]);
    until(&mut world, mints);
    let mut calm = world.clone();
    until(&mut calm, complete);
    let mut images = images(&calm.births);
    images.sort_unstable();
    images.dedup();
    assert_eq!(
        images,
        [
            "West-ControlPlane-v1.34.5-1",
            "West-Worker-v1.34.5-1",
            "Worker-v1.34.5-1"
        ]
    );
    // What is pinned stays, whatever becomes of the labels.
    world.cluster.labels = BTreeMap::new();
    until(&mut world, complete);
    assert_eq!(world.births, calm.births);
}
