//! Whole decisions, as they are written and as they are read.

use std::fmt::Write;

use instar_api::{ApprovalPoint, ApprovedPart, HealthReason};
use instar_planner::{
    Action, Contract, Decision, Flavor, Gate, GateState, Observed, Snapshot, Stage, Strategy, Swap, Target, Template,
    Waiting, check, plan,
};
use serde_json::json;

use crate::world::{World, api::Answer, configuration, held_by_check, random::Random, version};

fn text(decision: &Decision) -> String {
    let mut text = String::new();
    let swap = |swap: &Swap| {
        format!(
            "swap {} to {}\n{:#}",
            swap.pool,
            swap.release.as_deref().unwrap_or("what was there"),
            swap.patch
        )
    };
    match &decision.action {
        Action::Nothing => text.push_str("nothing"),
        Action::PinPath(pin) => write!(text, "pin {:#}", pin.patch).unwrap(),
        Action::RecordConvergence(convergence) => {
            write!(text, "record {:#}", convergence.patch).unwrap();
        }
        Action::PatchMachinePool(patch) => write!(
            text,
            "patch {} {} for {}\n{:#}",
            patch.kind, patch.name, patch.pool, patch.patch
        )
        .unwrap(),
        Action::EditVersion(edit) => write!(text, "edit {:#}", edit.patch).unwrap(),
        Action::BeginGates(begin) => write!(text, "begin {:#}", begin.patch).unwrap(),
        Action::HoldPool(hold) => write!(text, "hold {:#}", hold.patch).unwrap(),
        Action::SetConcurrency(set) => write!(text, "set {:#}", set.patch).unwrap(),
        Action::AnswerHook(answer) => write!(text, "answer {:#}", answer.patch).unwrap(),
        Action::RestoreVersionCheck(restore) => write!(text, "restore check {:#}", restore.patch).unwrap(),
        Action::CompletePins(complete) => write!(text, "pin {:#}", complete.patch).unwrap(),
        Action::MintTemplate(mint) => write!(text, "mint for {}\n{:#}", mint.pool, mint.object).unwrap(),
        Action::SwapControlPlane(action) | Action::SwapWorkers(action) => text.push_str(&swap(action)),
        Action::DeleteTemplate(delete) => write!(text, "delete {}", delete.template.name).unwrap(),
        Action::FollowRelease(follow) => write!(text, "follow {}", follow.release).unwrap(),
        Action::DeleteMachine(delete) => write!(text, "delete Machine {}", delete.name).unwrap(),
    }
    write!(
        text,
        "\nstage: {:?}, path: {}",
        decision.progress.stage,
        decision.progress.path.join(", ")
    )
    .unwrap();
    for pool in &decision.progress.pools {
        write!(
            text,
            "\n{}: {} of {} at {}",
            pool.pool,
            pool.converged(),
            pool.machines.len(),
            pool.version
        )
        .unwrap();
    }
    for waiting in &decision.waiting {
        write!(text, "\n{}: {waiting}", waiting.reason()).unwrap();
    }
    text
}

pub fn decide(snapshot: &Snapshot) -> Decision {
    let decision = plan(snapshot);
    assert_eq!(check(snapshot, &decision), []);
    assert_eq!(
        decide_reading(snapshot),
        decision,
        "what a template says is asked for where it decides"
    );
    decision
}

/// The decision of a caller that reads what a template says when it is asked for, and nothing else.
pub fn decide_reading(snapshot: &Snapshot) -> Decision {
    let mut seen = snapshot.clone();
    for template in seen.templates.iter_mut().filter_map(readable) {
        template.content = None;
    }
    loop {
        let decision = plan(&seen);
        if decision.unread.is_empty() {
            return decision;
        }
        assert_eq!(decision.action, Action::Nothing, "nothing is written before");
        for reference in &decision.unread {
            let whole = snapshot.templates.iter().filter_map(Observed::read);
            let content = whole
                .filter(|whole| whole.is(reference))
                .find_map(|whole| whole.content.clone());
            let mut templates = seen.templates.iter_mut().filter_map(readable);
            let template = templates.find(|template| template.is(reference)).unwrap();
            assert!(template.content.is_none(), "{reference:?} is asked for once");
            template.content = content;
        }
    }
}

fn readable(template: &mut Observed<Template>) -> Option<&mut Template> {
    match template {
        Observed::Read(template) => Some(template),
        Observed::Invalid(_) => None,
    }
}

pub fn world(from: &str, to: &str) -> World {
    let mut world = World::new(from, 3, Target::Text(to.to_owned()));
    world.add_pool("md-0", &version(from), 2);
    world.add_pool("md-1", &version(from), 2);
    world
}

/// Lets the world go on until a decision is as asked; its write is not yet made.
pub fn until(world: &mut World, is: impl Fn(&Decision) -> bool) -> Decision {
    let mut random = Random::new(1);
    for _ in 0..1_000 {
        let decision = decide(&world.snapshot());
        if is(&decision) {
            return decision;
        }
        assert_eq!(world.write(&decision.action), Answer::Done);
        world.tick(&mut random);
    }
    panic!("{}", text(&decide(&world.snapshot())));
}

pub fn complete(decision: &Decision) -> bool {
    decision.progress.stage == Stage::Complete && decision.action == Action::Nothing
}

pub fn mints(decision: &Decision) -> bool {
    matches!(decision.action, Action::MintTemplate(_))
}

pub fn swaps_control_plane(decision: &Decision) -> bool {
    matches!(decision.action, Action::SwapControlPlane(_))
}

pub fn swaps_workers(decision: &Decision) -> bool {
    matches!(decision.action, Action::SwapWorkers(_))
}

#[test]
fn first_the_control_planes_template() {
    insta::assert_snapshot!(text(&until(&mut world("v1.33.5", "v1.35"), mints)));
}

#[test]
fn before_anything_is_made_the_path_is_pinned() {
    insta::assert_snapshot!(text(&decide(&world("v1.33.5", "v1.35").snapshot())));
}

#[test]
fn then_one_swap_of_all_that_belongs_together() {
    insta::assert_snapshot!(text(&until(&mut world("v1.33.5", "v1.35"), swaps_control_plane)));
}

#[test]
fn in_the_old_contract_the_reference_is_elsewhere() {
    let mut world = world("v1.33.5", "v1.34.5");
    world.control_plane.contract = Contract::V1Beta1;
    "controlplane.cluster.x-k8s.io/v1beta1".clone_into(&mut world.control_plane.object.api_version);
    insta::assert_snapshot!(text(&until(&mut world, swaps_control_plane)));
}

#[test]
fn core_dns_is_not_lowered_and_an_external_etcd_not_touched() {
    let mut world = world("v1.33.5", "v1.34.5");
    world.control_plane.flavor = Flavor::Kubeadm {
        cluster_configuration: configuration(json!({
            "etcd": {"external": {"endpoints": ["https://etcd"]}},
            "dns": {"imageTag": "v1.13.0"},
        })),
        settings: Vec::new(),
    };
    insta::assert_snapshot!(text(&until(&mut world, swaps_control_plane)));
}

#[test]
fn it_waits_for_the_control_plane() {
    let mut world = world("v1.33.5", "v1.35");
    let rolls = |decision: &Decision| decision.action == Action::Nothing && decision.progress.pools[0].converged() == 1;
    insta::assert_snapshot!(text(&until(&mut world, rolls)));
}

#[test]
fn workers_follow_one_pool_after_the_other() {
    let mut world = world("v1.34.5", "v1.35.5");
    world.upgrade_spec.order = vec!["md-1".to_owned()];
    insta::assert_snapshot!(text(&until(&mut world, swaps_workers)));
}

#[test]
fn all_pools_at_once() {
    let mut world = world("v1.34.5", "v1.35.5");
    world.upgrade_spec.strategy = Strategy::All;
    let both = |decision: &Decision| {
        decision
            .waiting
            .iter()
            .filter(|it| it.reason() == HealthReason::PoolRollingOut)
            .count()
            == 2
    };
    insta::assert_snapshot!(text(&until(&mut world, both)));
}

#[test]
fn workers_stop_where_skew_asks_for_it() {
    let mut world = world("v1.32.5", "v1.36.5");
    let decision = until(&mut world, swaps_workers);
    insta::assert_snapshot!(text(&decision));
}

#[test]
fn another_row_of_the_version_that_runs() {
    let mut world = world("v1.34.5", "v1.35.5-1");
    until(&mut world, complete);
    world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    insta::assert_snapshot!(text(&until(&mut world, swaps_control_plane)));
}

#[test]
fn what_is_old_goes_after_a_day() {
    let mut world = world("v1.33.5", "v1.35");
    let kept = until(&mut world, complete);
    world.now += jiff::SignedDuration::from_hours(24);
    let deletes = decide(&world.snapshot());
    insta::assert_snapshot!(format!("{}\n\na day later: {}", text(&kept), text(&deletes)));
}

#[test]
fn a_prefix_that_is_satisfied_changes_nothing() {
    insta::assert_snapshot!(text(&decide(&world("v1.34.1", "v1.34").snapshot())));
}

#[test]
fn a_closed_gate_mints_nothing() {
    let mut world = world("v1.33.5", "v1.35");
    let closed = |reason: &str, until: Option<&str>| GateState::Closed {
        reason: reason.to_owned(),
        until: until.map(|until| until.parse().unwrap()),
    };
    let none_open = "no maintenance window is open (of \"night\")";
    world
        .gates
        .insert(Gate::Window, closed(none_open, Some("2026-12-05T21:00:00Z")));
    insta::assert_snapshot!(text(&decide(&world.snapshot())));
}

#[test]
fn a_check_holds_the_start_and_nothing_after_it() {
    let mut world = world("v1.33.5", "v1.35");
    world.preflight = vec![held_by_check()];
    let held = decide(&world.snapshot());
    assert_eq!((&held.action, held.progress.stage), (&Action::Nothing, Stage::Held));
    let of_workers = |world: &mut World| {
        world.preflight.clear();
        let swapped = until(world, swaps_control_plane);
        world.write(&swapped.action);
        world.preflight = vec![held_by_check()];
        until(world, complete)
    };
    insta::assert_snapshot!(format!(
        "{}\n\nonce it has begun: {}",
        text(&held),
        text(&of_workers(&mut world))
    ));
}

#[test]
fn each_step_waits_for_its_own_approval() {
    let mut world = world("v1.33.5", "v1.35");
    world.approvals.required = [ApprovalPoint::EachStep, ApprovalPoint::Workers].into();
    let mut said = String::new();
    // Of another part, or of another version, an approval doesn't count.
    for (part, step) in [
        (ApprovedPart::Workers, "v1.34.5"),
        (ApprovedPart::ControlPlane, "v1.35.5"),
        (ApprovedPart::ControlPlane, "v1.34.5"),
        (ApprovedPart::Workers, "v1.35.5"),
    ] {
        let held = until(&mut world, |decision| decision.progress.stage == Stage::Held);
        writeln!(said, "{}\n\n{part:?} {step} is approved:", text(&held)).unwrap();
        world.approvals.given.insert((part, version(step)));
    }
    until(&mut world, complete);
    insta::assert_snapshot!(said);
}

#[test]
fn an_approval_of_the_control_plane_is_for_its_first_step() {
    let mut world = world("v1.33.5", "v1.35");
    world.approvals.required = [ApprovalPoint::ControlPlane].into();
    let held = until(&mut world, |decision| decision.progress.stage == Stage::Held);
    assert_eq!(held.action, Action::Nothing);
    world
        .approvals
        .given
        .insert((ApprovedPart::ControlPlane, version("v1.34.5")));
    until(&mut world, complete);
}

#[test]
fn another_target_needs_an_approval_of_its_own() {
    let mut world = world("v1.33.5", "v1.34");
    world.approvals.required = [ApprovalPoint::ControlPlane].into();
    world
        .approvals
        .given
        .insert((ApprovedPart::ControlPlane, version("v1.34.5")));
    until(&mut world, complete);
    world.upgrade_spec.target = Target::Text("v1.35".to_owned());
    // What was approved for the target before counts no more.
    world.approvals.given.clear();
    let held = until(&mut world, |decision| decision.progress.stage == Stage::Held);
    assert!(
        matches!(&held.waiting[..], [Waiting::ApprovalMissing { .. }]),
        "{:?}",
        held.waiting
    );
}

#[test]
fn another_target_of_what_was_complete_is_checked_anew() {
    let mut world = world("v1.33.5", "v1.34");
    until(&mut world, complete);
    world.preflight = vec![held_by_check()];
    until(&mut world, complete);
    world.upgrade_spec.target = Target::Text("v1.35".to_owned());
    let held = until(&mut world, |decision| decision.progress.stage == Stage::Held);
    assert!(
        matches!(&held.waiting[..], [Waiting::PreflightFailed { .. }]),
        "{:?}",
        held.waiting
    );
}
