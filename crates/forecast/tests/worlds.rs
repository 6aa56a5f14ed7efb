//! What is forecast of a simulated world is what an upgrade then does in it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is missing"
)]

use std::collections::BTreeMap;

use instar_api::{ApprovalPoint, ApprovedPart};
use instar_domain::KubeVersion;
use instar_forecast::{Change, Detail, End, Forecast, PoolSwap, forecast};
use instar_planner::{Action, Gate, PoolId, PoolOverride, Stage, Strategy, Target, Waiting};

use crate::world::{Birth, World, closed, held_by_check, random::Random, sampled, version};

#[path = "../../planner/tests/planner/world/mod.rs"]
#[allow(dead_code, reason = "the planner's own tests need more of it")]
mod world;

/// So many worlds; `INSTAR_SEEDS` asks for another number, or for one: `4972..4973`.
const SEEDS: u64 = 400;
/// No upgrade here needs half as many.
const MOST_TICKS: usize = 4_000;

fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("INSTAR_SEEDS").unwrap_or_else(|_| SEEDS.to_string());
    let (from, to) = asked.split_once("..").unwrap_or(("0", &asked));
    from.parse().unwrap()..to.parse().unwrap()
}

/// A pool, where it goes, and the template that it gets.
type Went = (PoolId, KubeVersion, Option<String>);

/// What an upgrade did.
struct Done {
    swaps: Vec<Went>,
    minted: Vec<String>,
    births: BTreeMap<(PoolId, KubeVersion), u32>,
}

fn of(world: &World) -> Forecast {
    let mut gates = world.clone();
    forecast(world.snapshot(), Detail::All, |point, snapshot| {
        let found = gates.addon(&point);
        snapshot.addons.found.insert(point, found);
    })
}

/// The upgrade itself, to its end.
fn done(mut world: World, random: &mut Random, seed: u64) -> Done {
    let mut swaps = Vec::new();
    for _ in 0..MOST_TICKS {
        world.gates_change(random);
        let decision = world.plan();
        match &decision.action {
            Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => {
                let template = swap.template.as_ref().map(|template| template.name.clone());
                swaps.push((swap.pool.clone(), swap.version.clone(), template));
            }
            _ => {}
        }
        if decision.progress.stage == Stage::Complete {
            let mut births = BTreeMap::new();
            for (pool, version, _) in world.births as Vec<Birth> {
                *births.entry((pool, version)).or_default() += 1;
            }
            return Done {
                swaps,
                minted: world.minted,
                births,
            };
        }
        world.write(&decision.action);
        world.tick(random);
    }
    panic!("seed {seed}: it doesn't end: {:#?}", world.plan());
}

fn swaps(forecast: &Forecast) -> impl Iterator<Item = &PoolSwap> {
    forecast.moves.iter().filter_map(|done| match &done.change {
        Change::Swap(swap) => Some(swap),
        Change::Mint(_) | Change::SetValues(_) => None,
    })
}

fn went(forecast: &Forecast) -> Vec<Went> {
    swaps(forecast)
        .map(|swap| (swap.pool.clone(), swap.to.clone(), swap.template.clone()))
        .collect()
}

/// What each pool does, whatever the others do meanwhile.
fn by_pool(went: &[Went]) -> BTreeMap<&PoolId, Vec<&Went>> {
    let mut pools: BTreeMap<&PoolId, Vec<&Went>> = BTreeMap::new();
    for swap in went {
        pools.entry(&swap.0).or_default().push(swap);
    }
    pools
}

#[test]
fn what_is_forecast_is_what_happens() {
    for seed in seeds() {
        let mut random = Random::new(seed);
        let (mut start, wanted) = sampled::world(&mut random);
        // What a webhook makes of a template is in what is made from it later, and so in its name.
        let is_named = seed % 2 == 0;
        if is_named {
            start.webhook = |_| ();
        }
        let told = of(&start);
        assert!(matches!(told.end, End::Complete(_)), "seed {seed}: {:#?}", told.end);
        let is_ordered = start.upgrade_spec.strategy == Strategy::Ordered;
        let mut done = done(start, &mut random, seed);
        let mut went = went(&told);
        if !is_named {
            for (_, _, template) in went.iter_mut().chain(&mut done.swaps) {
                *template = None;
            }
        }
        if is_ordered {
            assert_eq!(went, done.swaps, "seed {seed}");
        } else {
            assert_eq!(by_pool(&went), by_pool(&done.swaps), "seed {seed}");
        }
        let mut minted: Vec<String> = told
            .moves
            .iter()
            .filter_map(|told| match &told.change {
                Change::Mint(mint) => Some(mint.template.name.clone()),
                Change::Swap(_) | Change::SetValues(_) => None,
            })
            .collect();
        let mut were = done.minted;
        minted.sort();
        were.sort();
        if is_named {
            assert_eq!(minted, were, "seed {seed}");
        }
        assert_eq!(minted.len(), were.len(), "seed {seed}");
        let mut births = BTreeMap::new();
        for swap in swaps(&told).filter(|swap| swap.machines > 0) {
            *births.entry((swap.pool.clone(), swap.to.clone())).or_insert(0) += swap.machines;
        }
        assert_eq!(births, done.births, "seed {seed}");
        assert!(
            told.pools.iter().all(|pool| pool.to == wanted),
            "seed {seed}: {:?}",
            told.pools
        );
    }
}

fn world(from: &str, to: &str) -> World {
    let mut world = World::new(from, 3, Target::Text(to.to_owned()));
    world.add_pool("md-0", &version(from), 2);
    world.add_pool("md-1", &version(from), 1);
    world
}

#[test]
fn what_is_closed_now_is_told_where_it_holds() {
    let mut world = world("v1.34.5", "v1.35.5");
    world
        .gates
        .insert(Gate::Window, closed("no maintenance window is open"));
    world.preflight = vec![held_by_check()];
    world.approvals.required = [ApprovalPoint::ControlPlane, ApprovalPoint::Workers].into();
    let told = of(&world);
    assert!(matches!(told.end, End::Complete(_)), "{told:#?}");
    let holds: Vec<Vec<&str>> = told
        .moves
        .iter()
        .map(|told| told.holds.iter().map(named).collect())
        .collect();
    let nothing = Vec::new;
    assert_eq!(
        holds,
        [
            vec!["check", "window", "approval of the control plane"],
            nothing(),
            vec!["approval of the workers"],
            nothing(),
            nothing(),
            nothing(),
        ]
    );
}

fn named(waiting: &Waiting) -> &'static str {
    match waiting {
        Waiting::PreflightFailed { .. } => "check",
        Waiting::GateClosed { gate: Gate::Window, .. } => "window",
        Waiting::ApprovalMissing { part, .. } => match part {
            ApprovedPart::ControlPlane => "approval of the control plane",
            ApprovedPart::Workers => "approval of the workers",
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_stands_in_the_way_is_told_in_the_planners_words() {
    let mut held = world("v1.32.5", "v1.36.5");
    held.upgrade_spec.pools.insert("md-0".to_owned(), PoolOverride::Hold);
    let told = of(&held);
    let End::Blocked(waiting) = &told.end else {
        panic!("{told:#?}");
    };
    assert!(
        matches!(&waiting[0], Waiting::WorkersBehind { name, .. } if name == "md-0"),
        "{waiting:#?}"
    );
    // The control plane gets as far as it may.
    let mut steps = went(&told);
    steps.retain(|(pool, _, _)| *pool == PoolId::ControlPlane);
    let last = steps.pop().map(|(_, version, _)| version);
    assert_eq!(last, Some(version("v1.35.5")), "{told:#?}");

    let told = of(&world("v1.34.5", "v1.40"));
    assert!(told.moves.is_empty(), "{told:#?}");
    assert!(
        matches!(&told.end, End::Blocked(waiting) if matches!(waiting[0], Waiting::NoTarget(_))),
        "{told:#?}"
    );
}

#[test]
fn the_way_back_and_the_values_are_told_of_each_step() {
    let told = of(&world("v1.34.5", "v1.35.5-1"));
    let Change::Mint(mint) = &told.moves[0].change else {
        panic!("{told:#?}");
    };
    assert_eq!(mint.from.as_deref(), Some("blue-cp"));
    let image: Vec<_> = mint.differences.iter().map(|found| &*found.pointer).collect();
    assert!(image.contains(&"/template/spec/image"), "{image:?}");
    let first = swaps(&told).next().unwrap();
    assert_eq!((first.machines, first.from.to_string()), (3, "v1.34.5".to_owned()));
    let pointers: Vec<_> = first.differences.iter().map(|found| &*found.pointer).collect();
    assert_eq!(pointers, ["/dns/imageTag", "/etcd/local/imageTag"]);
    // No policy lets a control plane go down a minor that has run.
    let back = first.way_back.as_ref().unwrap();
    assert!(!back.refused.is_empty(), "{back:#?}");
    let totals: Vec<_> = told
        .pools
        .iter()
        .map(|pool| (pool.pool.clone(), pool.rollouts, pool.machines))
        .collect();
    assert_eq!(
        totals,
        [
            (PoolId::ControlPlane, 1, 3),
            (PoolId::Workers("md-0".to_owned()), 1, 2),
            (PoolId::Workers("md-1".to_owned()), 1, 1),
        ]
    );
}
