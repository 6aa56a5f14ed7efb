//! What can be taken back when: the table of docs/way-back.md, which is what the planner says of these worlds.

use std::{cell::RefCell, env, fmt::Write, fs, path::Path};

use instar_api::{GatePoint, RollbackExtent};
use instar_planner::{
    Action, Decision, JoinRule, MinorRollback, Node, PoolId, Returning, ReturningAddon, RollbackScope, Stage, Swap,
    Target, UpgradeSpec, Waiting, WayBack, way_back,
};

use crate::{
    restart::restart,
    scenarios::{complete, swaps_control_plane, swaps_workers, until},
    way_back::{at_a_release, take_back},
    way_back_addons::{never, walk},
    world::{World, addons::Sets, random::Random, version},
};

const BEGIN: &str = "<!-- table: written by a test of the planner; see CONTRIBUTING.md -->\n";
const END: &str = "<!-- end of the table -->";
const UPDATE: &str = "INSTAR_UPDATE_DOCS";

struct Situation {
    says: &'static str,
    world: World,
}

/// A control plane at a version, with a pool.
fn at(from: &str, etcd: &str, to: &str) -> World {
    let mut world = at_a_release(from, etcd, to);
    world.add_pool("md-0", &version(from), 2);
    world
}

fn done(mut world: World) -> World {
    until(&mut world, complete);
    world
}

fn before(mut world: World, moment: fn(&Decision) -> bool) -> World {
    until(&mut world, moment);
    world
}

/// A restart that is asked for now.
fn asked_for_a_restart(mut world: World) -> World {
    restart(&mut world, "restart");
    world
}

/// The upgrade before a restart, whose record is gone at this moment.
fn restarted(world: World, moment: fn(&Decision) -> bool) -> World {
    let upgrade = world.upgrade_spec.clone();
    let mut world = before(asked_for_a_restart(world), moment);
    world.upgrade_spec = upgrade;
    world
}

/// The first new machine of a pool is made, and has no node yet.
fn with_a_machine_that_never_came_up(world: World, pool: &PoolId, new: &str) -> World {
    with_a_machine(world, pool, new, |node| matches!(node, Node::Absent))
}

/// The first new machine of a pool has a node, and the others are those of before.
fn with_a_machine_that_is_up(world: World, pool: &PoolId, new: &str) -> World {
    with_a_machine(world, pool, new, |node| matches!(node, Node::Joined { .. }))
}

fn with_a_machine(mut world: World, pool: &PoolId, new: &str, is: fn(&Node) -> bool) -> World {
    let new = version(new);
    let mut random = Random::new(1);
    for _ in 0..1_000 {
        let machines = world
            .machines
            .iter()
            .filter(|machine| machine.pool.as_ref() == Some(pool));
        let mut new = machines.filter(|machine| machine.version == new);
        if new.any(|machine| is(&machine.node)) {
            return world;
        }
        let decision = world.plan();
        world.write(&decision.action);
        world.tick(&mut random);
    }
    panic!("no machine of {pool} came to it");
}

/// Its release has an add-on that is set when the workers are there.
fn with_an_add_on(mut world: World) -> World {
    world.addon_gates.points = [GatePoint::AfterWorkers].into();
    world.addon_gates.sets = Sets::Something;
    "as it was".clone_into(&mut world.addon_gates.value);
    walk(&mut world, never);
    world
}

fn situation(says: &'static str, world: World) -> Situation {
    Situation { says, world }
}

fn minor() -> World {
    at("v1.34.5", "3.6.5-0", "v1.35.5-1")
}

fn etcd() -> World {
    at("v1.33.5", "3.5.26-0", "v1.34.5-1")
}

fn two_minors() -> World {
    at("v1.34.5", "3.6.5-0", "v1.36.5")
}

fn patch() -> World {
    at("v1.35.1", "3.6.6-0", "v1.35.5-1")
}

fn allowed(mut world: World) -> World {
    world.minor_rollback = MinorRollback::Allow;
    world
}

fn joined_by_others(mut world: World) -> World {
    world.pools[0].object.joins = JoinRule::AnyMinor;
    world
}

fn with_a_machine_pool(mut world: World) -> World {
    let at = world.control_plane.version.clone();
    world.add_machine_pool("mp-0", &at, 2);
    world
}

fn swaps_machine_pool(decision: &Decision) -> bool {
    matches!(&decision.action, Action::SwapWorkers(swap) if matches!(swap.pool, PoolId::MachinePool(_)))
}

fn without_values(mut world: World) -> World {
    world.machine_pools[0].infrastructure.values_history = None;
    world
}

fn with_a_value_of_another(mut world: World) -> World {
    world.machine_pools[0].infrastructure.spec["image"] = "mine".into();
    world
}

/// The first step is done, and the second is to go.
fn between(world: World) -> World {
    before(
        world,
        |decision| matches!(&decision.action, Action::SwapControlPlane(swap) if swap.version == version("v1.36.5")),
    )
}

fn without(mut world: World, template: &str) -> World {
    world.templates.retain(|there| there.name != template);
    world
}

fn situations() -> Vec<Situation> {
    let mut all = on_the_way();
    all.extend(of_several());
    all
}

/// Of one upgrade, from its begin to its end.
fn on_the_way() -> Vec<Situation> {
    let (workers, control_plane) = (PoolId::Workers("md-0".to_owned()), PoolId::ControlPlane);
    vec![
        situation("nothing has been changed yet", before(patch(), |_| true)),
        situation(
            "a patch release, the control plane under way",
            with_a_machine_that_never_came_up(patch(), &control_plane, "v1.35.5"),
        ),
        situation("a patch release, all done", done(patch())),
        situation(
            "another release of the same version, all done",
            done(at("v1.35.5", "3.6.6-0", "v1.35.5-2")),
        ),
        situation(
            "a minor version, the control plane's first new machine never came up",
            with_a_machine_that_never_came_up(minor(), &control_plane, "v1.35.5"),
        ),
        situation(
            "the same, with an etcd of a newer minor version",
            with_a_machine_that_never_came_up(etcd(), &control_plane, "v1.34.5"),
        ),
        situation(
            "another release of the same version, the control plane's first new machine never came up",
            with_a_machine_that_never_came_up(at("v1.35.5", "3.6.6-0", "v1.35.5-2"), &control_plane, "v1.35.5"),
        ),
        situation(
            "a minor version, the first of three new machines of the control plane is up",
            with_a_machine_that_is_up(minor(), &control_plane, "v1.35.5"),
        ),
        situation(
            "the same, with a policy that allows it",
            allowed(with_a_machine_that_is_up(minor(), &control_plane, "v1.35.5")),
        ),
        situation(
            "the same, with an etcd of a newer minor version",
            allowed(with_a_machine_that_is_up(etcd(), &control_plane, "v1.34.5")),
        ),
        situation(
            "a minor version, the control plane done, the workers still to go",
            before(minor(), swaps_workers),
        ),
        situation(
            "the same, with a policy that allows it",
            allowed(before(minor(), swaps_workers)),
        ),
        situation(
            "the same, with an etcd of a newer minor version",
            allowed(before(etcd(), swaps_workers)),
        ),
        situation(
            "a minor version, the workers' first new machine never joined",
            with_a_machine_that_never_came_up(minor(), &workers, "v1.35.5"),
        ),
        situation(
            "a minor version, all done, workers joined by kubeadm",
            allowed(done(minor())),
        ),
        situation(
            "the same, workers joined by something else, or the check skipped",
            allowed(done(joined_by_others(minor()))),
        ),
        situation(
            "two minor versions, all done, workers joined by something else",
            allowed(done(joined_by_others(two_minors()))),
        ),
    ]
}

/// Between two steps, with more than pools, and beside other upgrades.
fn of_several() -> Vec<Situation> {
    vec![
        situation("two minor versions, the first step done", between(two_minors())),
        situation("the same, with a policy that allows it", allowed(between(two_minors()))),
        situation(
            "a patch release, all done, with an add-on that was set after the workers",
            with_an_add_on(patch()),
        ),
        situation(
            "a patch release, all done, and the user's old template is deleted",
            without(done(patch()), "blue-md-0"),
        ),
        situation(
            "a patch release, all done, with a MachinePool",
            done(with_a_machine_pool(patch())),
        ),
        situation(
            "the same, when its values are set and its version is not",
            before(with_a_machine_pool(patch()), swaps_machine_pool),
        ),
        situation(
            "the same, all done, and nothing says what its infrastructure had before",
            without_values(done(with_a_machine_pool(patch()))),
        ),
        situation(
            "the same, all done, and another client has changed a value in its infrastructure since",
            with_a_value_of_another(done(with_a_machine_pool(patch()))),
        ),
        situation(
            "a patch release, all done, then a restart, all done",
            restarted(done(patch()), complete),
        ),
        situation(
            "a patch release, all done, then a restart that was deleted when the control plane was new",
            restarted(done(patch()), swaps_workers),
        ),
        situation(
            "the restart itself, while it goes on",
            before(asked_for_a_restart(done(patch())), swaps_workers),
        ),
        situation("an upgrade before the last one", {
            let mut world = done(patch());
            world.upgrade_spec = UpgradeSpec::new("the-last", Target::Text("v1.36.5".to_owned()));
            let mut world = before(world, swaps_control_plane);
            let first = UpgradeSpec::new("up", Target::Text(String::new()));
            world.tick(&mut Random::new(1));
            let decision = world.plan();
            world.write(&decision.action);
            world.upgrade_spec = first;
            world.pools.clear();
            world
        }),
    ]
}

/// What would be done, the add-ons before the pools that they were set after.
fn steps(returning: &[Returning], addons: &[ReturningAddon]) -> Vec<String> {
    let of_step = |step: usize| {
        let addons = addons.iter().filter(move |addon| addon.step == Some(step));
        addons.map(|addon| format!("{} to what was there before", addon.id))
    };
    let mut steps = Vec::new();
    for (number, step) in returning.iter().enumerate() {
        steps.extend(of_step(number));
        steps.push(format!("{} to {}", step.pool, step.to));
    }
    steps.extend(of_step(returning.len()));
    steps
}

fn cell(refused: &[Waiting], steps: &[String]) -> String {
    if let Some(first) = refused.first() {
        return format!("no: {first}");
    }
    if steps.is_empty() {
        "yes: nothing".to_owned()
    } else {
        format!("yes: {}", steps.join(", then "))
    }
}

fn table() -> String {
    let mut table = "| situation | `Rollback` | `RollbackWorkers` |\n| --- | --- | --- |\n".to_owned();
    for Situation { says, world } in situations() {
        let said = way_back(&world.snapshot(), &world.upgrade_spec.id()).unwrap();
        let WayBack {
            refused,
            workers_refused,
            returning,
            addons,
        } = &said;
        let of_workers: Vec<Returning> = returning
            .iter()
            .filter(|step| step.pool != PoolId::ControlPlane)
            .cloned()
            .collect();
        writeln!(
            table,
            "| {says} | {} | {} |",
            cell(refused, &steps(returning, addons)),
            cell(workers_refused, &steps(&of_workers, addons))
        )
        .unwrap();
    }
    table
}

#[test]
fn the_documentation_has_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/way-back.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let current = format!("{head}{BEGIN}{}{END}{tail}", table());
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, &current).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        current,
        "docs/way-back.md is stale: run this test with {UPDATE}=1"
    );
}

/// A webhook that would refuse the control plane's way back is heard before the first worker goes.
#[test]
fn the_control_planes_first_step_is_tried_before_anything_goes() {
    let mut worlds = 0;
    for Situation { says, world } in situations() {
        for scope in [RollbackScope::All, RollbackScope::Workers] {
            let mut world = world.clone();
            let said = way_back(&world.snapshot(), &world.upgrade_spec.id()).unwrap();
            let refused = match scope {
                RollbackScope::All => said.refused,
                RollbackScope::Workers => said.workers_refused,
            };
            if !refused.is_empty() {
                continue;
            }
            let minor = world.minor_rollback;
            take_back(&mut world, scope, minor);
            let (pins, swaps) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
            let place = |swap: &Swap| (swap.version.clone(), swap.template.clone(), swap.pool.clone());
            walk(&mut world, |decision| {
                if let Action::PinPath(pin) = &decision.action {
                    assert!(swaps.borrow().is_empty(), "{says}: {decision:#?}");
                    pins.borrow_mut()
                        .push(pin.way_back.as_ref().map(|step| place(&step.swap)));
                } else if let Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) = &decision.action {
                    swaps.borrow_mut().push(place(swap));
                }
                false
            });
            let (pins, swaps) = (pins.into_inner(), swaps.into_inner());
            let first = swaps.into_iter().find(|(_, _, pool)| *pool == PoolId::ControlPlane);
            worlds += usize::from(first.is_some());
            assert_eq!(pins, [first], "{says}");
        }
    }
    assert!(worlds > 5, "{worlds}");
}

#[test]
fn what_is_listed_is_possible() {
    for Situation { says, world } in situations() {
        let said = way_back(&world.snapshot(), &world.upgrade_spec.id()).unwrap();
        let goes = |pool: &Returning| match said.possible() {
            RollbackExtent::Nothing => false,
            RollbackExtent::Workers => pool.pool != PoolId::ControlPlane,
            RollbackExtent::All => true,
        };
        assert!(said.returning.iter().all(goes), "{says}: {:#?}", said.returning);
        assert!(
            said.possible() != RollbackExtent::Nothing || said.addons.is_empty(),
            "{says}: {:#?}",
            said.addons
        );
        let names_workers = said
            .refused
            .iter()
            .any(|why| why.to_string().contains("RollbackWorkers"));
        assert!(
            !names_workers || said.possible() == RollbackExtent::Workers,
            "{says}: {}",
            said.why()
        );
    }
}

/// What is said is what is done: each row that says yes comes to its end, and each that says no does nothing.
#[test]
fn what_the_table_says_is_what_happens() {
    for Situation { says, world } in situations() {
        for scope in [RollbackScope::All, RollbackScope::Workers] {
            let mut world = world.clone();
            let of = world.upgrade_spec.id();
            let said = way_back(&world.snapshot(), &of).unwrap();
            let refused = match scope {
                RollbackScope::All => said.refused,
                RollbackScope::Workers => said.workers_refused,
            };
            let swaps = world.swaps + world.pool_swaps;
            let minor = world.minor_rollback;
            take_back(&mut world, scope, minor);
            if refused.is_empty() {
                let done = walk(&mut world, never);
                assert_eq!(world.plan().progress.stage, Stage::Complete, "{says}");
                let addons = done.iter().filter(|done| done.starts_with("AfterWorkers")).count();
                assert_eq!(addons, said.addons.len(), "{says}: {done:?}");
                let steps = said.returning.iter().filter(|step| match scope {
                    RollbackScope::All => true,
                    RollbackScope::Workers => step.pool != PoolId::ControlPlane,
                });
                assert_eq!(
                    world.swaps + world.pool_swaps - swaps,
                    steps.count(),
                    "{says}: a swap for each step"
                );
            } else {
                let held = world.plan();
                assert_eq!(held.progress.stage, Stage::Held, "{says}");
                assert_eq!(held.waiting[..refused.len()], refused, "{says}");
                assert!(held.waiting.iter().any(Waiting::refuses), "{says}");
            }
        }
    }
}
