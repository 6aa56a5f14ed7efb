//! Worlds of which a number decides what there is and what is asked.

use instar_api::{GatePoint, OnClose};
use instar_domain::KubeVersion;
use instar_planner::{CanaryRule, Strategy, Target};
use jiff::SignedDuration;

use super::{Webhook, World, defaults, normalises, normalises_and_defaults, random::Random, version};

/// How many machines each control plane has.
pub const CONTROL_PLANE: usize = 3;

const VERSIONS: [&str; 6] = ["v1.31.5", "v1.32.5", "v1.33.5", "v1.34.5", "v1.35.5", "v1.36.5"];

/// One of them, and where its upgrade ends.
pub fn world(random: &mut Random) -> (World, KubeVersion) {
    let from = random.below(VERSIONS.len() - 1);
    let to = from + 1 + random.below(VERSIONS.len() - from - 1);
    let target = match random.below(3) {
        0 => Target::Text(VERSIONS[to].to_owned()),
        1 => Target::Text(VERSIONS[to].rsplit_once('.').unwrap().0.to_owned()),
        _ => Target::Release(format!("{}-1", VERSIONS[to])),
    };
    // v1.33 by its prefix is v1.33.9, the newest.
    let wanted = match &target {
        Target::Text(text) if text == "v1.33" => version("v1.33.9"),
        Target::Text(_) | Target::Release(_) => version(VERSIONS[to]),
    };
    let present = version(VERSIONS[from]);
    let mut world = World::new(VERSIONS[from], u32::try_from(CONTROL_PLANE).unwrap(), target);
    world.upgrade_spec.strategy = match random.below(3) {
        0 => Strategy::Ordered,
        1 => Strategy::Parallel { limit: 2 },
        _ => Strategy::All,
    };
    for pool in 0..random.below(4) {
        world.add_pool(&format!("md-{pool}"), &present, u32::try_from(random.below(3)).unwrap());
    }
    for pool in 0..random.below(3) {
        world.add_machine_pool(&format!("mp-{pool}"), &present, random.below(3));
    }
    if random.chance(50) {
        world.upgrade_spec.order = vec!["md-1".to_owned(), "mp-0".to_owned(), "md-0".to_owned()];
    }
    if random.chance(30) {
        world.canary = Some(CanaryRule {
            pools: 1 + random.below(2),
            bake: SignedDuration::from_secs(i64::try_from(random.below(600)).unwrap()),
        });
    }
    if random.chance(40) {
        let points = GatePoint::ALL.into_iter().filter(|_| random.chance(60));
        world.addon_gates.points = points.collect();
    }
    world.nodes_flap = random.chance(40);
    if random.chance(50) {
        world.on_close = OnClose::FinishMachine;
    }
    let webhooks: [Webhook; 4] = [|_| (), normalises, defaults, normalises_and_defaults];
    world.webhook = webhooks[random.below(webhooks.len())];
    (world, wanted)
}
