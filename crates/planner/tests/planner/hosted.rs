//! Control planes that run in pods: no Machine says what they do.

use instar_planner::{Flavor, PoolId, Waiting, check};
use jiff::SignedDuration;

use crate::{
    scenarios::{swaps_control_plane, until},
    way_back::at_a_release,
};

const NEW: &str = "v1.35.5";

/// All that is seen of one is which version it says that it runs.
#[test]
fn a_control_plane_without_machines_that_takes_a_version_and_stays_has_failed_too() {
    let mut world = at_a_release("v1.34.1", "3.6.5-0", NEW);
    world.control_plane.flavor = Flavor::Other;
    let decision = until(&mut world, swaps_control_plane);
    // The world's own control plane has machines; a hosted one has none.
    world.control_plane.replicas = None;
    world
        .machines
        .retain(|machine| machine.pool != Some(PoolId::ControlPlane));
    world.write(&decision.action);
    let began = world.now;
    for (minutes, failed) in [(29, false), (30, true)] {
        world.now = began + SignedDuration::from_mins(minutes);
        let decision = world.plan();
        assert_eq!(check(&world.snapshot(), &decision), []);
        let rolls = |waiting: &Waiting| matches!(waiting, Waiting::ControlPlaneRollingOut { .. });
        let rolling = decision.waiting.iter().find(|waiting| rolls(waiting));
        assert_eq!(
            rolling.map(ToString::to_string).as_deref(),
            Some("the control plane goes to v1.35.5, and runs v1.34.1"),
            "{:#?}",
            decision.waiting
        );
        let expected = format!(
            "the control plane has made no progress since {began:.0}, for longer than 30m; it goes on when that is mended"
        );
        assert_eq!(decision.failed().map(ToString::to_string), failed.then_some(expected));
    }
}
