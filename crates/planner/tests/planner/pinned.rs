//! The path of an upgrade, pinned when it begins; and what the objects say of its swaps.

use instar_api::Pins;
use instar_planner::{
    Action, ClassicCluster, ClusterKind, Decision, PoolId, Stage, SwapEntry, SwapHistory, Target, drifted,
};
use jiff::SignedDuration;

use crate::{
    scenarios::{complete, decide, mints, swaps_control_plane, swaps_workers, until, world},
    waiting::words,
    world::{World, api::Answer, catalog, reference, version},
};

type Edit = fn(&mut World);

fn classic(world: &mut World) -> &mut ClassicCluster {
    match &mut world.cluster.kind {
        ClusterKind::Classic(classic) => classic,
        ClusterKind::Topology(_) => panic!("a topology cluster"),
    }
}

fn pins(world: &mut World) -> Pins {
    classic(world).pins.clone().unwrap()
}

fn history(world: &World) -> Vec<SwapEntry> {
    let history = world.control_plane.object.swap_history.as_ref();
    history.map(SwapHistory::entries).unwrap_or_default().to_vec()
}

fn releases(history: &[SwapEntry]) -> Vec<Option<&str>> {
    history.iter().map(|swap| swap.after.release.as_deref()).collect()
}

fn converged(history: &[SwapEntry]) -> Vec<bool> {
    history.iter().map(|swap| swap.converged.is_some()).collect()
}

/// Newer patches and revisions of everything.
fn with_newer_rows(world: &mut World) {
    let mut rows = catalog::rows();
    rows.push(catalog::row("v1.34.5", 7, "3.6.5-0", "v1.12.1"));
    rows.push(catalog::row("v1.34.9", 7, "3.6.5-0", "v1.12.1"));
    rows.push(catalog::row("v1.35.5", 7, "3.6.6-0", "v1.13.1"));
    rows.push(catalog::row("v1.35.9", 7, "3.6.6-0", "v1.13.1"));
    world.catalog = catalog::of(rows);
}

#[test]
fn a_row_that_comes_later_moves_nothing() {
    type Moment = fn(&Decision) -> bool;
    let mut calm = world("v1.33.5", "v1.35");
    until(&mut calm, complete);
    for moment in [mints as Moment, swaps_control_plane, swaps_workers, complete] {
        let mut world = world("v1.33.5", "v1.35");
        until(&mut world, moment);
        with_newer_rows(&mut world);
        until(&mut world, complete);
        assert_eq!(world.births, calm.births);
        assert_eq!(world.pinned, [["v1.34.5-1", "v1.35.5-2"]]);
    }
}

#[test]
fn what_is_pinned_is_minted_whatever_the_catalog_has() {
    let mut world = world("v1.33.5", "v1.35");
    let mut calm = world.clone();
    until(&mut calm, complete);
    until(&mut world, mints);
    world.catalog = catalog::of(Vec::new());
    until(&mut world, complete);
    assert_eq!(world.births, calm.births);
}

#[test]
fn another_row_of_the_present_version_takes_its_pin_while_workers_are_older() {
    let mut world = world("v1.34.5", "v1.35.5-1");
    until(&mut world, swaps_workers);
    world.upgrade_spec.upgrade = "next".to_owned();
    world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    until(&mut world, complete);
    let pinned = pins(&mut world);
    let releases: Vec<&str> = pinned.releases.values().map(|pin| pin.release.as_str()).collect();
    assert_eq!(releases, ["v1.35.5-2"]);
}

#[test]
fn what_was_set_back_holds_until_another_target_is_named() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    with_newer_rows(&mut world);
    let manifest = world.control_plane.clone();
    let is_set_back_at_next_swap = |world: &mut World, to: &str| {
        let swap = until(world, swaps_control_plane);
        assert_eq!(world.write(&swap.action), Answer::Done);
        world.apply_control_plane_again(&manifest);
        world.now += SignedDuration::from_secs(1);
        let held = decide(&world.snapshot());
        assert_eq!((&held.action, held.progress.stage), (&Action::Nothing, Stage::Held));
        assert_eq!(
            words(&held),
            [format!(
                "ForeignWriter: the control plane: spec.version was set back from {to} to v1.33.5 by another client after Instar set it: set it to {to} again, or edit the upgrade's target to continue from v1.33.5"
            )]
        );
    };
    is_set_back_at_next_swap(&mut world, "v1.34.5");
    world.upgrade_spec.target = Target::Text("v1.34.9".to_owned());
    // A client that fights is told of again.
    is_set_back_at_next_swap(&mut world, "v1.34.9");
    world.upgrade_spec.target = Target::Text("v1.34.5-1".to_owned());
    until(&mut world, complete);
    assert_eq!(world.pinned, [["v1.34.5-1"], ["v1.34.9-7"], ["v1.34.5-1"]]);
    assert_eq!(converged(&history(&world)), [false, false, true]);
}

#[test]
fn a_swap_that_was_set_back_never_converges() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let manifest = world.control_plane.clone();
    let swap = until(&mut world, swaps_control_plane);
    assert_eq!(world.write(&swap.action), Answer::Done);
    world.apply_control_plane_again(&manifest);
    world.now += SignedDuration::from_secs(1);
    // The older version itself is the new target: nothing is left to swap.
    world.upgrade_spec.target = Target::Text("v1.33.5".to_owned());
    until(&mut world, complete);
    assert_eq!(world.control_plane.version, version("v1.33.5"));
    assert_eq!(converged(&history(&world)), [false]);
}

#[test]
fn a_pool_that_was_set_back_follows_another_target() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    with_newer_rows(&mut world);
    let swap = until(&mut world, swaps_workers);
    let before = world.pools.clone();
    assert_eq!(world.write(&swap.action), Answer::Done);
    let set_back = |world: &mut World| {
        for (pool, before) in world.pools.iter_mut().zip(&before) {
            pool.object.version = before.object.version.clone();
        }
    };
    set_back(&mut world);
    world.now += SignedDuration::from_secs(1);
    let said = words(&decide(&world.snapshot()));
    assert!(
        said.iter().any(|said| said.starts_with(
            "ForeignWriter: MachineDeployment md-0: spec.template.spec.version was set back from v1.34.5 to v1.33.5"
        )),
        "{said:#?}"
    );
    world.upgrade_spec.target = Target::Text("v1.34.9".to_owned());
    until(&mut world, complete);
    assert_eq!(world.pools[0].object.version, version("v1.34.9"));
}

#[test]
fn another_target_is_another_path_from_where_the_control_plane_stands() {
    let mut world = world("v1.33.5", "v1.35");
    let swap = until(&mut world, swaps_control_plane);
    world.write(&swap.action);
    world.upgrade_spec.target = Target::Text("v1.36".to_owned());
    until(&mut world, complete);
    assert_eq!(world.pinned[1..], [["v1.35.5-2", "v1.36.5-1"]]);
    assert_eq!(world.control_plane.version, version("v1.36.5"));
    // What ran when it was planned is kept; what nothing ran is not.
    let versions: Vec<String> = pins(&mut world).releases.keys().map(ToString::to_string).collect();
    assert_eq!(versions, ["v1.34.5", "v1.35.5", "v1.36.5"]);
    assert_eq!(pins(&mut world).adopted, [version("v1.33.5")].into());
}

#[test]
fn the_next_upgrade_keeps_the_pin_of_what_runs() {
    let mut world = world("v1.33.5", "v1.34");
    until(&mut world, complete);
    let before = pins(&mut world);
    assert_eq!(before.adopted, [version("v1.33.5")].into());
    world.upgrade_spec.upgrade = "next".to_owned();
    world.upgrade_spec.target = Target::Text("v1.35".to_owned());
    until(&mut world, mints);
    let after = pins(&mut world);
    let running = version("v1.34.5");
    assert_eq!(after.releases[&running], before.releases[&running]);
    assert!(after.adopted.is_empty());
}

#[test]
fn a_path_that_is_lost_is_found_again() {
    let lose: [fn(&mut ClassicCluster); 3] = [
        |classic| classic.path = None,
        |classic| classic.pins = None,
        |classic| {
            classic.pins.as_mut().unwrap().releases.clear();
        },
    ];
    for lose in lose {
        let mut world = world("v1.33.5", "v1.35");
        until(&mut world, swaps_control_plane);
        lose(classic(&mut world));
        until(&mut world, complete);
        assert_eq!(world.pinned.len(), 2);
        assert_eq!(world.control_plane.version, version("v1.35.5"));
    }
}

#[test]
fn nothing_is_pinned_where_nothing_moves() {
    let mut world = world("v1.33.5", "v1.33");
    until(&mut world, complete);
    assert!(world.pinned.is_empty(), "{:?}", world.pinned);
}

#[test]
fn an_object_says_what_was_there_before() {
    let mut world = world("v1.33.5", "v1.35");
    until(&mut world, complete);
    let swaps = history(&world);
    assert_eq!(releases(&swaps), [Some("v1.34.5-1"), Some("v1.35.5-2")]);
    let first = &swaps[0].before;
    assert_eq!(first.version, version("v1.33.5"));
    assert_eq!(first.release, None, "Instar has not set it");
    assert_eq!(first.template.as_deref(), Some("blue-cp"));
    assert_eq!(first.etcd.tag.as_deref(), Some("3.5.26-0"));
    assert_eq!(first.core_dns.tag.as_deref(), Some("v1.11.3"));
    assert_eq!(swaps[1].before, swaps[0].after);
    assert_eq!(swaps[1].after.etcd.tag.as_deref(), Some("3.6.6-0"));
    for swap in &swaps {
        assert!(
            swap.converged.is_some_and(|converged| converged > swap.since),
            "{swap:?}"
        );
    }
    for pool in &world.pools {
        let swaps = pool.object.object.swap_history.as_ref().unwrap().entries();
        let [swap] = swaps else { panic!("{swaps:?}") };
        assert_eq!(swap.before.version, version("v1.33.5"));
        assert!(
            swap.converged.is_some_and(|converged| converged > swap.since),
            "{swap:?}"
        );
    }
}

#[test]
fn each_object_is_written_once_more_when_all_is_there() {
    let mut world = world("v1.33.5", "v1.35");
    let mut recorded = Vec::new();
    loop {
        let decision = until(&mut world, |decision| {
            matches!(decision.action, Action::RecordConvergence(_)) || complete(decision)
        });
        let Action::RecordConvergence(convergence) = &decision.action else {
            break;
        };
        recorded.push(convergence.pool.clone());
        world.write(&decision.action);
    }
    let pool = |name: &str| PoolId::Workers(name.to_owned());
    assert_eq!(recorded, [PoolId::ControlPlane, pool("md-0"), pool("md-1")]);
}

#[test]
fn what_is_set_back_after_the_upgrade_is_found() {
    let mut world = world("v1.33.5", "v1.35");
    until(&mut world, complete);
    assert_eq!(drifted(&world.snapshot()), []);
    let texts: [(&str, Edit, &[&str]); 5] = [
        (
            "a version",
            |world| world.pools[0].object.version = version("v1.33.5"),
            &[
                "MachineDeployment md-0: spec.template.spec.version was set back to v1.33.5 by another client after the upgrade had set v1.35.5: take the field out of what applies it, and set v1.35.5 again",
            ],
        ),
        (
            "the template of before",
            |world| world.control_plane.infrastructure = Some(reference("blue-cp")),
            &[
                "the control plane: the infrastructureRef of spec.machineTemplate was set back to blue-cp by another client after the upgrade had set blue-cp-v1-35-5-0215f083: take the field out of what applies it, and set blue-cp-v1-35-5-0215f083 again",
            ],
        ),
        (
            "a newer version",
            |world| world.pools[0].object.version = version("v1.35.9"),
            &[],
        ),
        (
            "a template of the user's",
            |world| world.pools[0].object.infrastructure = reference("another"),
            &[],
        ),
        (
            "another upgrade",
            |world| {
                world.pools[0].object.version = version("v1.33.5");
                world.upgrade_spec.upgrade = "another".to_owned();
            },
            &[],
        ),
    ];
    for (what, edit, expected) in texts {
        let mut world = world.clone();
        edit(&mut world);
        let found: Vec<String> = drifted(&world.snapshot()).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn one_that_is_made_again_under_its_name_is_another() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    world.upgrade_spec.started = Some("2026-11-20T11:00:00Z".parse().unwrap());
    until(&mut world, complete);
    // As if the user had given the control plane a template of his own since.
    world.upgrade_spec.started = Some("2026-11-21T11:00:00Z".parse().unwrap());
    world.upgrade_spec.source = Some("v1.33".to_owned());
    let waiting = decide(&world.snapshot()).waiting;
    assert!(
        waiting[0].to_string().contains("spec.source asks for v1.33"),
        "{waiting:?}"
    );
}

#[test]
fn a_control_plane_that_another_client_raised_alone_gets_what_belongs_to_its_version() {
    let mut world = world("v1.32.5", "v1.35");
    let swap = until(&mut world, swaps_control_plane);
    world.write(&swap.action);
    until(&mut world, mints);
    world.control_plane.version = version("v1.34.5");
    World::edited(&mut 1_000, &mut world.control_plane.object);
    until(&mut world, complete);
    assert_eq!(world.control_plane.version, version("v1.35.5"));
}
