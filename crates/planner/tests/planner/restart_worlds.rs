//! Restarts at any moment among upgrades and their ways back.

use instar_planner::{Action, Decision, MinorRollback, Operation, RollbackScope, Stage, Target, UpgradeSpec, way_back};

use crate::{
    properties::{Faults, MOST_TICKS, Run, seeds},
    restart::restart,
    way_back::{etcd, refused, specs, start, take_back},
    world::random::Random,
};

/// What has begun comes to its end, or is refused.
fn end(run: &mut Run, seed: u64) -> Decision {
    for _ in 0..MOST_TICKS {
        let decision = run.pass();
        run.world.tick(&mut run.random);
        let now = run.world.plan();
        let is_over = |decision: &Decision| {
            let is_refused = decision.waiting.iter().any(instar_planner::Waiting::refuses);
            decision.progress.stage == Stage::Complete || (is_refused && decision.action == Action::Nothing)
        };
        if is_over(&decision) && is_over(&now) {
            return now;
        }
    }
    panic!("seed {seed}: it doesn't end: {:#?}", run.world.plan());
}

fn some_passes(run: &mut Run, random: &mut Random, most: usize) {
    for _ in 0..random.below(most) {
        run.pass();
        run.world.tick(&mut run.random);
    }
}

/// One or several, each to its end or to where its record is deleted.
fn restarts(run: &mut Run, random: &mut Random, seed: u64) {
    let upgrade = run.world.upgrade_spec.clone();
    for number in 0..=random.below(2) {
        run.world.upgrade_spec = upgrade.clone();
        // Of another record no gate has begun.
        run.world.addon_gates.states.clear();
        restart(&mut run.world, &format!("restart-{number}"));
        if random.chance(30) {
            end(run, seed);
        } else {
            some_passes(run, random, 80);
        }
    }
    run.world.upgrade_spec = upgrade;
}

#[test]
fn a_restart_takes_no_way_back_away_whenever_it_comes() {
    let (mut back, mut held) = (0, 0);
    let worlds = seeds().step_by(4);
    let are_many = worlds.clone().count() > 50;
    for seed in worlds {
        let mut random = Random::new(seed);
        let start = start(&mut random);
        let mut run = Run::new(start.clone(), seed, Faults::Some);
        if random.chance(40) {
            some_passes(&mut run, &mut random, 200);
            run.world.upgrade_spec.operation = Operation::Abort;
        }
        end(&mut run, seed);
        run.world.minor_rollback = MinorRollback::Allow;
        let up = run.world.upgrade_spec.clone();
        let before = way_back(&run.world.snapshot(), &up.id()).unwrap();
        restarts(&mut run, &mut random, seed);
        let after = way_back(&run.world.snapshot(), &up.id()).unwrap();
        // While machines of it are replaced, less may be possible for a while.
        if after.possible() == before.possible() {
            assert_eq!(after.returning, before.returning, "seed {seed}");
            assert_eq!(after.addons, before.addons, "seed {seed}");
        }

        let stood = specs(&run.world);
        let scope = RollbackScope::All;
        take_back(&mut run.world, scope, MinorRollback::Allow);
        let by = run.world.upgrade_spec.clone();
        if random.chance(40) {
            some_passes(&mut run, &mut random, 60);
            // It is deleted, and another one goes on after restarts.
            run.world.upgrade_spec = up.clone();
            restarts(&mut run, &mut random, seed);
            run.world.addon_gates.back.clear();
            run.world.upgrade_spec = UpgradeSpec {
                upgrade: "again".to_owned(),
                ..by.clone()
            };
        }
        let ended = end(&mut run, seed);
        if ended.progress.stage == Stage::Complete {
            back += 1;
            assert_eq!(specs(&run.world), specs(&start), "seed {seed}");
            assert_eq!(etcd(&run.world), etcd(&start), "seed {seed}");
        } else {
            held += 1;
            let has_begun = run.world.upgrade_spec.upgrade == "again";
            assert!(!refused(&ended).is_empty(), "seed {seed}: {ended:#?}");
            assert!(
                has_begun || specs(&run.world) == stood,
                "seed {seed}: all of it, or nothing"
            );
        }
        run.world.upgrade_spec = UpgradeSpec::new("next", Target::Text("v1.36.5".to_owned()));
        some_passes(&mut run, &mut random, 60);
    }
    assert!(
        !are_many || (back > 0 && held > 0),
        "{back} came back and {held} were held"
    );
}
