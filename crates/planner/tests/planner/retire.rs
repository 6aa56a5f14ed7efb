//! What is left of an upgrade, and when it goes.

use instar_api::SOURCE_LABEL;
use instar_planner::{
    Action, Decision, Lifecycle, Snapshot, Stage, TemplateState, check, collect_templates, label_value,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    scenarios::{complete, mints, swaps_workers, until, world},
    world::{World, api::Answer, reference},
};

/// The templates that were minted, by the beginning of their names, and what each is there for.
fn states(decision: &Decision) -> Vec<(String, TemplateState)> {
    let templates = decision.progress.templates.iter();
    templates
        .map(|minted| {
            let (name, _) = minted.template.name.rsplit_once('-').unwrap();
            (name.to_owned(), minted.state)
        })
        .collect()
}

fn swept(snapshot: &Snapshot) -> Decision {
    let decision = collect_templates(snapshot);
    assert_eq!(check(snapshot, &decision), []);
    decision
}

/// Sweeps until nothing is left to do at this moment.
fn sweep_all(world: &mut World) -> Decision {
    for _ in 0..100 {
        let decision = swept(&world.snapshot());
        if decision.action == Action::Nothing {
            return decision;
        }
        assert_eq!(world.write(&decision.action), Answer::Done);
    }
    panic!("it never ends");
}

fn minted(world: &World) -> Vec<&str> {
    let minted = world
        .templates
        .iter()
        .filter(|template| template.minted_for().is_some());
    let mut names: Vec<&str> = minted.map(|template| template.name.as_str()).collect();
    names.sort_unstable();
    names
}

fn finished() -> World {
    let mut world = world("v1.33.5", "v1.35");
    until(&mut world, complete);
    world
}

#[test]
fn before_the_end_nobody_knows_when_it_comes() {
    let mut world = world("v1.33.5", "v1.35");
    let decision = until(&mut world, swaps_workers);
    let previous = TemplateState::Previous { until: None };
    assert!(
        states(&decision).contains(&("blue-cp-v1-34-5".to_owned(), previous)),
        "{:?}",
        states(&decision)
    );
}

#[test]
fn the_day_is_counted_from_the_end_where_that_is_known() {
    let world = finished();
    let until = |ended: Option<Timestamp>| {
        let mut snapshot = world.snapshot();
        snapshot.retention.ended = ended;
        let found = states(&swept(&snapshot))
            .into_iter()
            .find_map(|(_, state)| match state {
                TemplateState::Previous { until } => until,
                TemplateState::InUse | TemplateState::InMachineSet | TemplateState::Unused { .. } => None,
            });
        found.unwrap()
    };
    let (day, week) = (SignedDuration::from_hours(24), SignedDuration::from_hours(7 * 24));
    assert_eq!(until(Some(world.now + week)), world.now + week + day);
    // It keeps longer, and never shorter.
    assert_eq!(until(Some(world.now - week)), until(None));
}

#[test]
fn with_no_time_to_keep_only_what_is_in_use_stays() {
    let mut world = finished();
    let mut snapshot = world.snapshot();
    snapshot.retention.previous = SignedDuration::ZERO;
    snapshot.retention.ended = Some(world.now);
    let decision = swept(&snapshot);
    assert!(matches!(&decision.action, Action::DeleteTemplate(delete) if delete.template.name.contains("v1-34-5")));
    assert_eq!(world.write(&decision.action), Answer::Done);
    let rest = swept(&world.snapshot());
    assert_eq!(rest.action, Action::Nothing);
    assert!(states(&rest).iter().all(|(_, state)| *state == TemplateState::InUse));
}

#[test]
fn what_a_removed_pool_had_goes() {
    let mut world = finished();
    let was = world.pools.remove(0).object.infrastructure.name;
    assert!(minted(&world).contains(&was.as_str()));
    world.now += SignedDuration::from_hours(2);
    // Its MachineSet is still there, and then it is being deleted.
    let kept = sweep_all(&mut world);
    assert!(
        kept.progress
            .templates
            .iter()
            .any(|minted| minted.template.name == was && minted.state == TemplateState::InMachineSet)
    );
    let of_pool = world.sets.iter_mut().filter(|set| set.pool.as_deref() == Some("md-0"));
    of_pool.for_each(|set| set.lifecycle = Lifecycle::Deleting);
    sweep_all(&mut world);
    assert!(!minted(&world).contains(&was.as_str()), "{:?}", minted(&world));
    assert!(
        world.templates.iter().any(|template| template.name == "blue-md-0"),
        "what is the user's stays"
    );
}

#[test]
fn one_that_another_cluster_uses_keeps_no_other_one() {
    let mut world = finished();
    world.now += SignedDuration::from_hours(48);
    let first = match swept(&world.snapshot()).action {
        Action::DeleteTemplate(delete) => delete.template,
        other => panic!("{other:?}"),
    };
    // A pool goes too, so that there is more than one to delete.
    let was = world.pools.remove(0).object.infrastructure.name;
    let of_pool = world.sets.iter_mut().filter(|set| set.pool.as_deref() == Some("md-0"));
    of_pool.for_each(|set| set.lifecycle = Lifecycle::Deleting);
    world.used_elsewhere.insert(first.clone());
    let rest = sweep_all(&mut world);
    let left = minted(&world);
    assert!(left.contains(&first.name.as_str()), "{left:?}");
    assert!(!left.contains(&was.as_str()), "{left:?}");
    let state = rest.progress.templates.iter().find(|minted| minted.template == first);
    assert_eq!(state.map(|minted| minted.state), Some(TemplateState::InUse));
    // Free again, it goes.
    world.used_elsewhere.clear();
    sweep_all(&mut world);
    assert!(!minted(&world).contains(&first.name.as_str()));
}

#[test]
fn what_was_minted_for_another_target_goes() {
    let mut world = world("v1.33.5", "v1.34.1-1");
    let mint = until(&mut world, mints);
    assert_eq!(world.write(&mint.action), Answer::Done);
    let stray = minted(&world)[0].to_owned();
    world.upgrade_spec.target = instar_planner::Target::Text("v1.34.5-1".to_owned());
    let done = until(&mut world, complete);
    assert!(matches!(
        done.progress
            .templates
            .iter()
            .find(|minted| minted.template.name == stray)
            .unwrap()
            .state,
        TemplateState::Unused { until: Some(_) }
    ));
    world.now += SignedDuration::from_hours(2);
    sweep_all(&mut world);
    assert!(!minted(&world).contains(&stray.as_str()));
    assert_eq!(minted(&world).len(), 3, "{:?}", minted(&world));
}

#[test]
fn bootstrap_templates_go_too() {
    let mut world = finished();
    world.add_template("boot-old");
    let last = world.templates.last_mut().unwrap();
    "KubeadmConfigTemplate".clone_into(&mut last.kind);
    let labels = world.control_plane.infrastructure.clone().unwrap();
    let labels = world.templates.iter().find(|template| template.is(&labels)).unwrap();
    let mut labels = labels.labels.clone();
    labels.insert(SOURCE_LABEL.to_owned(), label_value("boot"));
    world.templates.last_mut().unwrap().labels = labels;
    let boot = world.templates.last().unwrap().reference();
    world.pools[0].object.bootstrap = Some(boot.clone());
    world.now += SignedDuration::from_hours(48);
    sweep_all(&mut world);
    assert!(world.templates.iter().any(|template| template.is(&boot)));
    world.pools[0].object.bootstrap = Some(reference("boot"));
    sweep_all(&mut world);
    assert!(!world.templates.iter().any(|template| template.is(&boot)));
}

type Change = fn(&mut Snapshot);

#[test]
fn nothing_is_swept_from_what_is_paused_or_cant_be_read() {
    let mut world = finished();
    world.now += SignedDuration::from_hours(48);
    assert_ne!(swept(&world.snapshot()).action, Action::Nothing);
    let changes: [Change; 3] = [
        |snapshot| snapshot.cluster.lifecycle = Lifecycle::Paused,
        |snapshot| snapshot.cluster.lifecycle = Lifecycle::Deleting,
        |snapshot| {
            snapshot
                .machine_sets
                .push(instar_planner::Observed::Invalid(instar_planner::Unreadable {
                    kind: "MachineSet".to_owned(),
                    name: "x".to_owned(),
                    reason: "no version".to_owned(),
                }));
        },
    ];
    for change in changes {
        let mut snapshot = world.snapshot();
        change(&mut snapshot);
        let decision = swept(&snapshot);
        assert_eq!(decision.action, Action::Nothing);
        assert_eq!(decision.progress.stage, Stage::Held);
    }
}
