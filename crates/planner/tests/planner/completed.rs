//! What was completed and has another target: it can be taken back until the path to that is written.

use instar_planner::{Action, Gate, PinnedPath, Snapshot, Target, UpgradeId, way_back};
use jiff::{SignedDuration, Timestamp};

use crate::{
    properties::{Faults, MOST_TICKS, Run, seeds},
    scenarios::complete,
    way_back::start,
    world::{World, closed, held_by_check, random::Random},
};

fn path(world: &World) -> Option<&PinnedPath> {
    world.cluster.classic()?.path.as_ref()
}

/// What a rollback of it would do, in words.
fn would_return(snapshot: &Snapshot, of: &UpgradeId) -> String {
    let way_back = way_back(snapshot, of).unwrap();
    format!("{:?} {:#?}", way_back.possible(), way_back.returning)
}

/// To its end; some worlds take longer than others.
fn run_to_the_end(run: &mut Run) {
    for _ in 0..MOST_TICKS {
        let decision = run.pass();
        run.world.tick(&mut run.random);
        if complete(&decision) && complete(&run.world.plan()) {
            return;
        }
    }
    panic!("it doesn't end: {:#?}", run.world.plan());
}

/// What the record says, which the controller writes: killed at any moment, it is a moment behind the Cluster.
struct Record {
    completed: UpgradeId,
    started: Timestamp,
}

impl Record {
    /// The upgrade as a pass plans for it, and whether it is another one than what was completed.
    fn is_another(&mut self, run: &mut Run) -> bool {
        let of_path = path(&run.world).filter(|path| path.upgrade.name == self.completed.name);
        let begun = of_path.and_then(|path| path.upgrade.started);
        if let Some(begun) = begun.filter(|begun| *begun > self.started) {
            if run.random.chance(80) {
                self.started = begun;
            }
            run.world.upgrade_spec.started = Some(begun);
            return true;
        }
        let has_begun = self.completed.started != Some(self.started);
        if !has_begun {
            run.world.upgrade_spec.started = Some(run.world.now.max(self.started + SignedDuration::from_millis(1)));
        }
        has_begun
    }
}

#[test]
fn what_was_completed_keeps_its_way_back_until_the_next_path_is_written() {
    let (mut waited, mut began) = (0, 0);
    let worlds = seeds().step_by(8);
    let are_many = worlds.clone().count() > 50;
    for seed in worlds {
        let mut random = Random::new(seed);
        let mut start = start(&mut random);
        let first = start.now;
        start.upgrade_spec.started = Some(first);
        let mut run = Run::new(start, seed, Faults::Some);
        run_to_the_end(&mut run);
        run.world.now += SignedDuration::from_hours(1);
        let mut record = Record {
            completed: run.world.upgrade_spec.id(),
            started: first,
        };
        let before = would_return(&run.world.snapshot(), &record.completed);

        // A target that is refused, then one that a check or a window holds, then one that goes on.
        let held = random.below(40);
        let refused = random.below(10);
        for pass in 0..400 {
            let target = if pass < refused { "v1.99.0" } else { "v1.36.5" };
            run.world.upgrade_spec.target = Target::Text(target.to_owned());
            run.world.preflight = (pass < held && random.chance(50))
                .then(held_by_check)
                .into_iter()
                .collect();
            if pass < held && run.world.preflight.is_empty() {
                run.world
                    .gates
                    .insert(Gate::Window, closed("no maintenance window is open"));
            } else if pass >= held && random.chance(50) {
                run.world.gates.clear();
            }
            if record.is_another(&mut run) {
                began += 1;
                break;
            }
            let snapshot = run.world.snapshot();
            assert_eq!(
                would_return(&snapshot, &record.completed),
                before,
                "seed {seed}, pass {pass}"
            );
            waited += 1;
            let decision = run.pass();
            if pass < held.max(refused) {
                let is_harmless = matches!(
                    decision.action,
                    Action::Nothing | Action::RecordConvergence(_) | Action::BeginGates(_) | Action::DeleteTemplate(_)
                );
                assert!(is_harmless || pass >= held, "seed {seed}: {decision:#?}");
            }
            run.world.tick(&mut run.random);
        }
        // It is the one that its path names from then on, whenever its record follows.
        if let Some(begun) = path(&run.world)
            .and_then(|path| path.upgrade.started)
            .filter(|begun| *begun > first)
        {
            for _ in 0..20 {
                assert!(record.is_another(&mut run), "seed {seed}");
                assert_eq!(run.world.upgrade_spec.started, Some(begun), "seed {seed}");
                run.pass();
                run.world.tick(&mut run.random);
                let named = path(&run.world).unwrap().upgrade.started;
                assert_eq!(named, Some(begun), "seed {seed}: it is written once");
            }
        }
    }
    assert!(
        !are_many || (waited > 0 && began > 0),
        "{waited} passes waited, and {began} upgrades began"
    );
}
