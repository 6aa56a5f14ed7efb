//! What an upgrade of a topology Cluster would do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is missing"
)]

use instar_api::{Pin, Pins};
use instar_domain::{JsonPointer, KubeVersion};
use instar_forecast::{Change, End, Forecast, PoolSwap, TopologyEdit, forecast_topology};
use instar_planner::{
    ClusterKind, Condition, ConditionStatus, ManagedBy, Observed, Origin, PoolId, ResourceVersion, RuntimeHooks,
    Snapshot, Target, Topology, UpgradeConcurrency,
};
use serde_json::json;

use crate::world::{World, version};

#[path = "../../planner/tests/planner/world/mod.rs"]
#[allow(dead_code, reason = "the planner's own tests need more of it")]
mod world;

/// A cluster of 3 and 2 at one version, whose Cluster says another, and an upgrade of it.
fn asked(runs: &str, says: &str, target: &str, releases: &[(&str, &str)]) -> Snapshot {
    let mut world = World::new(runs, 3, Target::Text(target.to_owned()));
    world.add_pool("md-0", &version(runs), 2);
    let mut snapshot = world.snapshot();
    match &mut snapshot.control_plane {
        Some(Observed::Read(control_plane)) => control_plane.object.managed_by = ManagedBy::Topology,
        Some(Observed::Invalid(_)) | None => panic!("no control plane"),
    }
    for pool in &mut snapshot.pools {
        match pool {
            Observed::Read(pool) => pool.object.managed_by = ManagedBy::Topology,
            Observed::Invalid(_) => panic!("a pool that can't be read"),
        }
    }
    snapshot.upgrade_spec.origin = Origin::Upgrade;
    snapshot.cluster.generation = 2;
    snapshot.cluster.kind = ClusterKind::Topology(Box::new(Observed::Read(Topology {
        resource_version: ResourceVersion("7".to_owned()),
        version: version(says),
        pins: Some(pins(releases)),
        control_plane_plan: Vec::new(),
        workers_plan: Vec::new(),
        version_set_by: None,
        landing_mark: None,
        concurrency: UpgradeConcurrency::default(),
        hooks: RuntimeHooks::Off(String::new()),
        hook_answer: None,
        conditions: vec![Condition {
            kind: "TopologyReconciled".to_owned(),
            status: ConditionStatus::True,
            reason: "ReconcileSucceeded".to_owned(),
            message: String::new(),
            observed_generation: 2,
        }],
    })));
    snapshot
}

/// Each release has its name as the image of its machines.
fn pins(releases: &[(&str, &str)]) -> Pins {
    let pin = |(at, release): &(&str, &str)| {
        let pointer: JsonPointer = "/spec/template/spec/image".parse().unwrap();
        let image = [(pointer, json!(release))];
        let pin = Pin {
            release: (*release).to_owned(),
            control_plane: image.clone().into(),
            workers: image.into(),
            ..Pin::default()
        };
        (version(at), pin)
    };
    Pins {
        releases: releases.iter().map(pin).collect(),
        ..Pins::default()
    }
}

fn told(snapshot: Snapshot, edit: Option<&TopologyEdit>) -> Forecast {
    forecast_topology(snapshot, edit, |_, _| ())
}

fn edit(to: &str, releases: &[(&str, &str)]) -> TopologyEdit {
    TopologyEdit {
        version: version(to),
        pins: Some(pins(releases)),
        order: Vec::new(),
    }
}

fn swaps(forecast: &Forecast) -> Vec<&PoolSwap> {
    let swaps = forecast.moves.iter().filter_map(|done| match &done.change {
        Change::Swap(swap) => Some(swap),
        Change::Mint(_) | Change::SetValues(_) => None,
    });
    swaps.collect()
}

#[test]
fn a_cluster_that_is_there_has_nothing_to_do() {
    let present = [("v1.33.5", "v1.33.5-1")];
    let told = told(
        asked("v1.33.5", "v1.33.5", "v1.33.5", &present),
        Some(&edit("v1.33.5", &present)),
    );
    assert!(matches!(told.end, End::Complete(_)), "{told:#?}");
    assert!(
        told.moves.is_empty() && told.pools.iter().all(|pool| pool.machines == 0),
        "{told:#?}"
    );
}

#[test]
fn a_cluster_that_goes_there_already_is_under_way() {
    let releases = [("v1.33.5", "v1.33.5-1"), ("v1.34.5", "v1.34.5-1")];
    let told = told(
        asked("v1.33.5", "v1.34.5", "v1.34.5", &releases),
        Some(&edit("v1.34.5", &releases)),
    );
    assert_eq!(told.end, End::UnderWay);
    assert!(told.moves.is_empty(), "{told:#?}");
}

#[test]
fn of_an_edit_that_is_refused_nothing_comes() {
    let told = told(
        asked("v1.33.5", "v1.33.5", "v1.34.5", &[("v1.33.5", "v1.33.5-1")]),
        None,
    );
    assert!(matches!(told.end, End::Complete(_)), "{told:#?}");
    assert!(told.moves.is_empty(), "{told:#?}");
}

#[test]
fn at_the_second_stop_workers_come_from_the_first() {
    let releases = [
        ("v1.31.5", "v1.31.5-1"),
        ("v1.32.5", "v1.32.5-1"),
        ("v1.33.5", "v1.33.5-1"),
        ("v1.34.5", "v1.34.5-1"),
        ("v1.35.5", "v1.35.5-1"),
    ];
    let told = told(
        asked("v1.31.5", "v1.31.5", "v1.35.5", &releases[..1]),
        Some(&edit("v1.35.5", &releases)),
    );
    let all = swaps(&told);
    let workers = all.iter().filter(|swap| swap.pool != PoolId::ControlPlane);
    let stops: Vec<(&KubeVersion, &KubeVersion)> = workers.map(|swap| (&swap.from, &swap.to)).collect();
    assert_eq!(stops.len(), 2, "{told:#?}");
    assert_eq!(stops[0].0, &version("v1.31.5"));
    assert_eq!(stops[1], (stops[0].1, &version("v1.35.5")));
}

#[test]
fn another_release_of_the_version_is_held_against_the_present_one() {
    let present = [("v1.35.5", "v1.35.5-1")];
    let start = || asked("v1.35.5", "v1.35.5", "v1.35.5-2", &present);
    let other = told(start(), Some(&edit("v1.35.5", &[("v1.35.5", "v1.35.5-2")])));
    let all = swaps(&other);
    assert_eq!(all.len(), 2, "{other:#?}");
    for swap in all {
        assert_eq!(swap.differences.len(), 1, "{swap:#?}");
        assert_eq!(swap.differences[0].before, Some(json!("v1.35.5-1")));
        assert!(swap.machines > 0, "{swap:#?}");
    }
    // The edit changes nothing.
    let same = told(start(), Some(&edit("v1.35.5", &present)));
    assert!(same.moves.is_empty(), "{same:#?}");
}
