//! Random moments of a topology cluster on its way.

use instar_planner::{Action, Observed, PoolId, Snapshot, Stage};

use super::{cluster, control_plane, decide, machines, pins, pools, topology};
use crate::world::{joined, random::Random, version};

const ON_THE_WAY: [&str; 4] = ["v1.33.5", "v1.34.5", "v1.35.5", "v1.36.5"];

/// Each object and each machine somewhere on the way, in any combination.
fn moment(random: &mut Random) -> Snapshot {
    let mut snapshot = cluster("v1.33.5", "v1.36.5");
    let mut somewhere = || version(ON_THE_WAY[random.below(ON_THE_WAY.len())]);
    topology(&mut snapshot).pins = Some(pins("v1.33.5", &["v1.34.5", "v1.36.5"]));
    control_plane(&mut snapshot).version = somewhere();
    control_plane(&mut snapshot).observed = vec![somewhere(), somewhere()];
    for pool in pools(&mut snapshot) {
        pool.version = somewhere();
    }
    for machine in machines(&mut snapshot) {
        machine.version = somewhere();
        machine.node = joined(&machine.name, &somewhere());
    }
    if somewhere() == version("v1.33.5") {
        topology(&mut snapshot).control_plane_plan = vec![somewhere(), version("v1.36.5")];
    }
    snapshot
}

#[test]
fn a_decision_holds_whatever_was_seen_in_whatever_order() {
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let snapshot = moment(&mut random);
        let decision = decide(&snapshot);
        let target = version("v1.36.5");
        let all_there = snapshot.machines.iter().all(|machine| match machine {
            Observed::Read(machine) => machine.version == target && machine.node == joined(&machine.name, &target),
            Observed::Invalid(_) => false,
        });
        if decision.progress.stage == Stage::Complete {
            assert!(all_there, "seed {seed}");
            assert_eq!(decision.action, Action::Nothing, "seed {seed}: done means no writes");
            assert!(decision.waiting.is_empty(), "seed {seed}");
        } else {
            assert!(!decision.waiting.is_empty(), "seed {seed}");
        }
        let first = &decision.progress.pools[0].pool;
        assert_eq!(*first, PoolId::ControlPlane, "seed {seed}");

        let mut shuffled = snapshot.clone();
        random.shuffle(&mut shuffled.pools);
        random.shuffle(&mut shuffled.machine_sets);
        random.shuffle(&mut shuffled.machines);
        assert_eq!(decide(&shuffled), decision, "seed {seed}");
    }
}
