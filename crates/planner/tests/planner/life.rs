//! What is asked changes while an upgrade runs, and where it was to begin.

use instar_planner::{Action, Decision, Stage, Target};

use crate::{
    scenarios::{complete, decide, swaps_control_plane, swaps_workers, until, world},
    world::{World, api::Answer, swap_history, version},
};

fn target(world: &mut World, text: &str) {
    world.upgrade_spec.target = Target::Text(text.to_owned());
}

/// On its way from v1.33.5 to v1.35.5, with the control plane just pointed at v1.34.
fn on_its_way() -> World {
    let mut world = world("v1.33.5", "v1.35.5");
    let swap = until(&mut world, swaps_control_plane);
    assert_eq!(world.write(&swap.action), Answer::Done);
    world
}

fn versions(world: &World) -> Vec<String> {
    let pools = world.pools.iter().map(|pool| &pool.object.version);
    std::iter::once(&world.control_plane.version)
        .chain(pools)
        .map(ToString::to_string)
        .collect()
}

fn only_reason(decision: &Decision) -> String {
    assert_eq!(decision.action, Action::Nothing);
    assert_eq!(decision.progress.stage, Stage::Held);
    assert_eq!(decision.waiting.len(), 1, "{:?}", decision.waiting);
    assert!(decision.waiting[0].refuses());
    decision.waiting[0].to_string()
}

#[test]
fn a_target_further_on_is_gone_to_from_where_it_stands() {
    let mut world = on_its_way();
    target(&mut world, "v1.36.5");
    until(&mut world, complete);
    assert_eq!(versions(&world), ["v1.36.5", "v1.36.5", "v1.36.5"]);
    let gone_through: Vec<&str> = world.minted.iter().map(String::as_str).collect();
    assert_eq!(
        gone_through.iter().filter(|name| name.contains("-cp-")).count(),
        3,
        "one for each minor: {gone_through:?}"
    );
}

#[test]
fn a_target_where_it_stands_ends_the_path_and_the_workers_follow() {
    for text in ["v1.34", "v1.34.5"] {
        let mut world = on_its_way();
        assert_eq!(
            world.control_plane.version,
            version("v1.34.5"),
            "the newest of its minor"
        );
        target(&mut world, text);
        until(&mut world, complete);
        assert_eq!(versions(&world), ["v1.34.5", "v1.34.5", "v1.34.5"], "{text}");
    }
}

#[test]
fn a_target_left_behind_is_refused_and_another_goes_on() {
    for (text, known) in [
        ("v1.33.5", true),
        ("v1.33.77", false),
        ("v1.33", true),
        ("v1.34.1", true),
    ] {
        let mut world = on_its_way();
        target(&mut world, text);
        assert_eq!(
            only_reason(&decide(&world.snapshot())),
            format!(
                "{text} is older than v1.34.5, to which the control plane has gone: set the target to v1.34.5 to stop there, or to a newer version to go on"
            ),
            "in the catalog: {known}"
        );
        target(&mut world, "v1.35.5");
        until(&mut world, complete);
        assert_eq!(versions(&world), ["v1.35.5", "v1.35.5", "v1.35.5"]);
    }
}

#[test]
fn a_release_of_the_present_version_is_not_older() {
    let mut world = world("v1.33.5", "v1.33.5-1");
    until(&mut world, complete);
    let ends: Vec<String> = versions(&world);
    assert_eq!(ends, ["v1.33.5", "v1.33.5", "v1.33.5"]);
}

#[test]
fn the_source_is_held_against_the_control_plane_until_the_first_swap() {
    for source in ["v1.32", "v1.33.4", "v1.33.5-1", "x"] {
        let mut world = world("v1.33.5", "v1.34.5");
        world.upgrade_spec.source = Some(source.to_owned());
        assert_eq!(
            only_reason(&decide(&world.snapshot())),
            format!(
                "the control plane is at v1.33.5, and spec.source asks for {source}: correct spec.source or leave it out"
            )
        );
    }
    for source in ["v1.33", "v1.33.5"] {
        let mut world = world("v1.33.5", "v1.35.5");
        world.upgrade_spec.source = Some(source.to_owned());
        until(&mut world, complete);
        assert_eq!(versions(&world), ["v1.35.5", "v1.35.5", "v1.35.5"], "{source}");
    }
}

#[test]
fn another_upgrades_swap_is_not_the_first_of_this_one() {
    let mut world = world("v1.33.5", "v1.34.5");
    world.upgrade_spec.source = Some("v1.32".to_owned());
    world.control_plane.object.swap_history = Some(swap_history("another", "v1.33.5", "t"));
    assert!(only_reason(&decide(&world.snapshot())).contains("spec.source asks for v1.32"));
}

#[test]
fn a_pool_that_comes_in_the_middle_ends_at_the_target() {
    // While the control plane moves, and when the workers are nearly done.
    for begin in [on_its_way as fn() -> World, || {
        let mut world = world("v1.33.5", "v1.35.5");
        let last = |decision: &Decision| swaps_workers(decision) && decision.progress.pools[1].converged() == 2;
        until(&mut world, |decision| {
            last(decision) && decision.progress.pools[1].version == version("v1.35.5")
        });
        world
    }] {
        let mut world = begin();
        world.add_pool("late", &version("v1.33.5"), 2);
        until(&mut world, complete);
        assert_eq!(versions(&world), ["v1.35.5"; 4]);
    }
}
