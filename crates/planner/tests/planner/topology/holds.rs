//! Pools that wait for their gates: a small Cluster API that gives pools their version and replaces the machines of those
//! that aren't paused.

use std::collections::BTreeSet;

use instar_api::{
    ApprovalPoint, ApprovedPart, CONCURRENCY_ANNOTATION, HELD_ANNOTATION, OnClose, SWAP_HISTORY_ANNOTATION,
};
use instar_capi::labels::{PAUSED, UPGRADE_CONCURRENCY};
use instar_planner::{
    Action, Decision, Gate, GateState, Hold, Lifecycle, MachineDeployment, ManagedBy, Observed, Origin, PauseMark,
    PoolId, RaisedConcurrency, ResourceVersion, Rollout, RuntimeHooks, Snapshot, Stage, Strategy, SwapHistory,
    VersionSetBy, Violation, check, release_held,
};
use jiff::SignedDuration;
use serde_json::Value;

use super::{asked, cluster, control_plane, control_plane_goes, decide, machines, pins, pools, topology, words};
use crate::world::{closed, joined, machine_pools::machine_pool, random::Random, version};

const TARGET: &str = "v1.34.5";

/// A topology cluster, Cluster API, and who lets go.
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    writes: u64,
    /// The pools that were let go, in order.
    pub(super) released: Vec<String>,
    /// The pools of which it was written that they have arrived.
    pub(super) recorded: Vec<String>,
    /// The pools of which a machine was replaced.
    pub(super) rolled: BTreeSet<String>,
}

impl World {
    pub(super) fn new(mut snapshot: Snapshot) -> Self {
        topology(&mut snapshot).pins = Some(pins("v1.33.5", &[TARGET]));
        Self {
            snapshot,
            writes: 100,
            released: Vec::new(),
            recorded: Vec::new(),
            rolled: BTreeSet::new(),
        }
    }

    pub(super) fn decide_and_write(&mut self) -> Decision {
        let decision = decide(&self.snapshot);
        self.write(&decision);
        decision
    }

    pub(super) fn write(&mut self, decision: &Decision) {
        self.writes += 1;
        let next = ResourceVersion(self.writes.to_string());
        match &decision.action {
            Action::Nothing => {}
            Action::EditVersion(edit) => {
                let topology = topology(&mut self.snapshot);
                topology.version = version(TARGET);
                topology.version_set_by = Some(VersionSetBy {
                    upgrade: "up".to_owned(),
                    target: edit.target.clone(),
                    landed: None,
                });
                topology.resource_version = next;
            }
            Action::HoldPool(hold) if matches!(hold.change, Hold::PauseRollout | Hold::ResumeRollout) => {
                let mark = hold.patch["metadata"]["annotations"][PAUSED].as_str();
                let pool = self.pool(&hold.name);
                pool.rollout_paused = mark.and_then(PauseMark::from_annotation);
                pool.object.resource_version = next;
            }
            Action::HoldPool(hold) => {
                let annotation = &hold.patch["metadata"]["annotations"][HELD_ANNOTATION];
                let history = hold.patch["metadata"]["annotations"][SWAP_HISTORY_ANNOTATION].as_str();
                let pool = self.pool(&hold.name);
                if let Some(history) = history {
                    pool.object.swap_history = SwapHistory::from_annotation(history);
                }
                pool.held = annotation.as_str().and_then(PauseMark::from_annotation);
                pool.object.lifecycle = match hold.patch["spec"]["paused"] {
                    Value::Bool(true) => Lifecycle::Paused,
                    _ => Lifecycle::Active,
                };
                pool.object.resource_version = next;
                if hold.change == Hold::Release {
                    self.released.push(hold.name.clone());
                }
            }
            Action::RecordConvergence(arrival) => {
                let history = &arrival.patch["metadata"]["annotations"][SWAP_HISTORY_ANNOTATION];
                let pool = self.pool(&arrival.name);
                pool.object.swap_history = history.as_str().and_then(SwapHistory::from_annotation);
                pool.object.resource_version = next;
                self.recorded.push(arrival.name.clone());
            }
            Action::SetConcurrency(set) => {
                let annotations = &set.patch["metadata"]["annotations"];
                let concurrency = &mut topology(&mut self.snapshot).concurrency;
                concurrency.present = annotations[UPGRADE_CONCURRENCY].as_str().map(str::to_owned);
                let raised = annotations[CONCURRENCY_ANNOTATION].as_str();
                concurrency.raised = raised.map(RaisedConcurrency::from_annotation);
                topology(&mut self.snapshot).resource_version = next;
            }
            action => panic!("{action:?}"),
        }
    }

    pub(super) fn pool(&mut self, name: &str) -> &mut MachineDeployment {
        pools(&mut self.snapshot).find(|pool| pool.object.name == name).unwrap()
    }

    /// One step of Cluster API.
    pub(super) fn cluster_api(&mut self) {
        let wanted = topology(&mut self.snapshot).version.clone();
        if control_plane(&mut self.snapshot).version != wanted {
            control_plane_goes(&mut self.snapshot, &wanted.to_string());
            return;
        }
        let concurrency = topology(&mut self.snapshot).concurrency.present.clone();
        let concurrency = concurrency.map_or(1, |text| text.parse().unwrap());
        let names: Vec<String> = pools(&mut self.snapshot).map(|pool| pool.object.name.clone()).collect();
        for name in names {
            let upgrading = self.rolling().len();
            let pool = self.pool(&name);
            if pool.version != wanted {
                if upgrading < concurrency {
                    pool.version = wanted.clone();
                    self.writes += 1;
                    self.pool(&name).object.resource_version = ResourceVersion(self.writes.to_string());
                }
                continue;
            }
            if pool.object.lifecycle == Lifecycle::Active && pool.rollout_paused.is_none() {
                self.replace_one(&name);
            }
        }
    }

    fn replace_one(&mut self, name: &str) {
        let to = self.pool(name).version.clone();
        let id = PoolId::Workers(name.to_owned());
        let of_pool = |machine: &&mut instar_planner::Machine| machine.pool.as_ref() == Some(&id);
        let old = machines(&mut self.snapshot)
            .filter(of_pool)
            .find(|machine| machine.version != to);
        if let Some(machine) = old {
            machine.version = to.clone();
            machine.node = joined(&machine.name, &to);
            self.rolled.insert(name.to_owned());
            return;
        }
        for set in &mut self.snapshot.machine_sets {
            if let instar_planner::Observed::Read(set) = set
                && set.pool.as_deref() == Some(name)
            {
                set.version = to.clone();
            }
        }
    }

    /// The pools with a machine that isn't at the pool's version.
    pub(super) fn rolling(&mut self) -> BTreeSet<String> {
        let specs: Vec<_> = pools(&mut self.snapshot)
            .map(|pool| (PoolId::Workers(pool.object.name.clone()), pool.version.clone()))
            .collect();
        let is_old = |machine: &&mut instar_planner::Machine| {
            let spec = specs.iter().find(|(id, _)| Some(id) == machine.pool.as_ref());
            spec.is_some_and(|(_, version)| machine.version != *version)
        };
        machines(&mut self.snapshot)
            .filter(is_old)
            .map(|machine| machine.pool.as_ref().unwrap().to_string())
            .collect()
    }

    pub(super) fn approve_workers(&mut self) {
        let approval = (ApprovedPart::Workers, version(TARGET));
        self.snapshot.approvals.given.insert(approval);
    }

    /// Nothing of ours is left.
    pub(super) fn assert_clean(&mut self) {
        for pool in pools(&mut self.snapshot) {
            let marks = (pool.held.as_ref(), pool.rollout_paused.as_ref());
            assert_eq!((marks, pool.object.lifecycle), ((None, None), Lifecycle::Active));
        }
        assert_eq!(topology(&mut self.snapshot).concurrency.raised, None);
    }
}

/// An upgrade for which workers need an approval.
fn gated() -> World {
    let mut snapshot = asked("v1.33.5", "v1.34");
    snapshot.approvals.required = BTreeSet::from([ApprovalPoint::Workers]);
    World::new(snapshot)
}

#[test]
fn a_start_lets_no_pool_go_that_is_held_for_the_edit() {
    let mut world = gated();
    world.snapshot.approvals.required.insert(ApprovalPoint::EachStep);
    topology(&mut world.snapshot).hooks = RuntimeHooks::On;
    world.decide_and_write();
    let unknown = || RuntimeHooks::Unknown("no answer".to_owned());
    for (hooks, expected) in [
        (RuntimeHooks::On, Some("Hold md-1")),
        (RuntimeHooks::NotLooked, None),
        (unknown(), Some("Release md-0")),
    ] {
        topology(&mut world.snapshot).hooks = hooks.clone();
        let done = match decide(&world.snapshot).action {
            Action::HoldPool(hold) => Some(format!("{:?} {}", hold.change, hold.name)),
            action => {
                assert_eq!(action, Action::Nothing);
                None
            }
        };
        assert_eq!(done.as_deref(), expected, "{hooks:?}");
    }
}

#[test]
fn before_the_edit_every_pool_is_held_and_let_go_once_that_is_approved() {
    let mut world = gated();
    topology(&mut world.snapshot).concurrency.present = Some("1".to_owned());
    let mut written = Vec::new();
    for _ in 0..4 {
        match world.decide_and_write().action {
            Action::SetConcurrency(set) => written.push(format!("concurrency {}", set.to.unwrap())),
            Action::HoldPool(hold) => written.push(format!("{:?} {}", hold.change, hold.name)),
            Action::EditVersion(edit) => written.push(format!("edit {}", edit.target)),
            action => panic!("{action:?}"),
        }
    }
    assert_eq!(written, ["Hold md-0", "Hold md-1", "concurrency 2", "edit v1.34.5"]);
    for _ in 0..5 {
        world.cluster_api();
        assert_eq!(world.decide_and_write().action, Action::Nothing);
    }
    let decision = decide(&world.snapshot);
    assert_eq!(decision.progress.stage, Stage::Held);
    let words = words(&decision);
    let begins = [
        "ApprovalMissing: the workers go to v1.34.5 once that is approved",
        "PoolHeld: MachineDeployment md-0 goes to v1.34.5 when its gates are open",
        "PoolHeld: MachineDeployment md-1 goes to v1.34.5 when its gates are open",
    ];
    assert_eq!(words.len(), begins.len(), "{words:?}");
    for (word, begin) in words.iter().zip(begins) {
        assert!(word.starts_with(begin), "{word}");
    }
    assert_eq!(world.rolled, BTreeSet::new());
    world.snapshot.upgrade_spec.order = vec!["md-1".to_owned()];
    world.approve_workers();
    for _ in 0..20 {
        let decision = world.decide_and_write();
        let is_told = !decision.waiting.is_empty() || decision.progress.stage == Stage::Complete;
        assert!(is_told, "{decision:#?}");
        world.cluster_api();
        assert!(world.rolling().len() <= 2);
    }
    assert_eq!(world.released, ["md-1", "md-0"]);
    assert_eq!(decide(&world.snapshot).progress.stage, Stage::Complete);
    world.assert_clean();
    assert_eq!(topology(&mut world.snapshot).concurrency.present.as_deref(), Some("1"));
}

#[test]
fn no_further_pool_is_let_go_while_one_has_failed() {
    for (minutes, released) in [(29, 2), (31, 1)] {
        let mut world = gated();
        world.snapshot.upgrade_spec.strategy = Strategy::All;
        world.approve_workers();
        let is_release = |action: &Action| matches!(action, Action::HoldPool(hold) if hold.change == Hold::Release);
        while !is_release(&world.decide_and_write().action) {
            world.cluster_api();
        }
        let first = PoolId::Workers(world.released[0].clone());
        let now = world.snapshot.now;
        let mut of_pool = machines(&mut world.snapshot).filter(|machine| machine.pool.as_ref() == Some(&first));
        let machine = of_pool.next().unwrap();
        machine.version = version(TARGET);
        machine.node = instar_planner::Node::Absent;
        machine.created = Some(now - SignedDuration::from_mins(minutes));
        drop(of_pool);
        world.decide_and_write();
        assert_eq!(world.released.len(), released);
    }
}

#[test]
fn the_pools_of_an_edit_by_hand_are_held_before_cluster_api_comes_to_them() {
    let mut snapshot = cluster("v1.33.5", TARGET);
    snapshot.approvals.required = BTreeSet::from([ApprovalPoint::Workers]);
    let mut world = World::new(snapshot);
    for _ in 0..3 {
        assert_ne!(world.decide_and_write().action, Action::Nothing);
    }
    for _ in 0..5 {
        world.cluster_api();
        assert_eq!(world.decide_and_write().action, Action::Nothing);
    }
    assert_eq!(world.rolled, BTreeSet::new());
    world.approve_workers();
    for _ in 0..20 {
        world.decide_and_write();
        world.cluster_api();
    }
    assert_eq!(decide(&world.snapshot).progress.stage, Stage::Complete);
    world.assert_clean();
    assert_eq!(
        topology(&mut world.snapshot).concurrency.present,
        None,
        "there was none"
    );
}

#[test]
fn what_a_user_has_paused_or_resumed_stays_so() {
    let mut world = gated();
    world.pool("md-0").object.lifecycle = Lifecycle::Paused;
    for _ in 0..3 {
        world.decide_and_write();
    }
    assert_eq!(world.pool("md-0").held, None);
    assert!(world.pool("md-1").is_held());
    // A user resumes the other one, and it goes.
    world.pool("md-1").object.lifecycle = Lifecycle::Active;
    for _ in 0..6 {
        world.cluster_api();
        world.decide_and_write();
    }
    assert_eq!(world.rolled, BTreeSet::from(["md-1".to_owned()]));
    world.pool("md-0").object.lifecycle = Lifecycle::Active;
    for _ in 0..8 {
        world.cluster_api();
        world.decide_and_write();
    }
    assert_eq!(decide(&world.snapshot).progress.stage, Stage::Complete);
    world.assert_clean();
}

#[test]
fn where_no_upgrade_goes_on_pools_are_let_go() {
    let mut world = gated();
    for _ in 0..3 {
        world.decide_and_write();
    }
    assert!(world.pool("md-0").is_held() && world.pool("md-1").is_held());
    for _ in 0..3 {
        let decision = release_held(&world.snapshot);
        assert_eq!(check(&world.snapshot, &decision), []);
        assert_ne!(decision.action, Action::Nothing);
        world.write(&decision);
    }
    assert_eq!(release_held(&world.snapshot).action, Action::Nothing);
    world.assert_clean();
    // While the cluster moves, an upgrade goes on.
    let mut moving = gated();
    for _ in 0..4 {
        moving.decide_and_write();
    }
    moving.cluster_api();
    assert_eq!(release_held(&moving.snapshot).action, Action::Nothing);
}

#[test]
fn whatever_gates_do_no_pool_goes_before_it_is_let_go_and_all_get_there() {
    let seeds = std::env::var("INSTAR_SEEDS").map_or(400, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let mut world = gated();
        if random.chance(50) {
            world.snapshot.upgrade_spec.origin = Origin::Upgrade;
            world.snapshot.upgrade_spec.strategy = Strategy::All;
        }
        if random.chance(50) {
            world.snapshot.on_close = OnClose::FinishMachine;
        }
        let mut is_window = random.chance(50);
        if !is_window {
            world.approve_workers();
            world.snapshot.approvals.required.clear();
            is_window = true;
        }
        if is_window {
            world
                .snapshot
                .gates
                .insert(Gate::Window, GateState::Open { until: None });
        }
        for step in 0..200 {
            if is_window && step < 150 && random.chance(20) {
                let state = if random.chance(50) {
                    closed("Sunday")
                } else {
                    GateState::Open { until: None }
                };
                world.snapshot.gates.insert(Gate::Window, state);
            }
            if step >= 150 {
                world
                    .snapshot
                    .gates
                    .insert(Gate::Window, GateState::Open { until: None });
                world.approve_workers();
            } else if random.chance(3) {
                world.approve_workers();
            }
            let before = world.rolled.clone();
            match random.below(3) {
                0 => drop(decide(&world.snapshot)),
                1 => drop(world.decide_and_write()),
                _ => world.cluster_api(),
            }
            for pool in world.rolled.difference(&before) {
                assert!(world.released.contains(pool), "seed {seed}: {pool} went by itself");
            }
        }
        for _ in 0..40 {
            world.decide_and_write();
            world.cluster_api();
        }
        let end = decide(&world.snapshot);
        assert_eq!(end.progress.stage, Stage::Complete, "seed {seed}: {end:#?}");
        assert_eq!(world.rolled.len(), 2, "seed {seed}");
        world.assert_clean();
    }
}

#[test]
fn what_would_pass_a_gate_or_touch_more_is_found() {
    let mut world = gated();
    for _ in 0..4 {
        world.decide_and_write();
    }
    world.cluster_api();
    world.cluster_api();
    world.approve_workers();
    let decision = decide(&world.snapshot);
    assert!(matches!(&decision.action, Action::HoldPool(hold) if hold.change == Hold::Release));
    let found = |change: fn(&mut Snapshot, &mut Decision)| {
        let (mut snapshot, mut decision) = (world.snapshot.clone(), decision.clone());
        change(&mut snapshot, &mut decision);
        check(&snapshot, &decision)
    };
    assert_eq!(found(|_, _| {}), []);
    assert_eq!(
        found(|snapshot, _| snapshot.approvals.given.clear()),
        [Violation::GateClosed]
    );
    assert_eq!(
        found(|snapshot, _| {
            snapshot.gates.insert(Gate::Window, closed("Sunday"));
        }),
        [Violation::GateClosed]
    );
    assert_eq!(
        found(|snapshot, _| snapshot.cluster.lifecycle = Lifecycle::Paused),
        [Violation::Untouchable]
    );
    assert_eq!(
        found(|_, decision| match &mut decision.action {
            Action::HoldPool(hold) => hold.patch["spec"]["replicas"] = 3.into(),
            action => panic!("{action:?}"),
        }),
        [Violation::NotOurs]
    );
    assert_eq!(
        found(|snapshot, _| {
            for pool in pools(snapshot) {
                pool.held = None;
            }
        }),
        [Violation::NotOurs]
    );
    assert_eq!(
        found(|_, decision| match &mut decision.action {
            Action::HoldPool(hold) => hold.resource_version = ResourceVersion("1".to_owned()),
            action => panic!("{action:?}"),
        }),
        [Violation::NoCompare]
    );
}

/// What a decision writes, in a few words.
pub(super) fn written(decision: &Decision) -> String {
    match &decision.action {
        Action::SetConcurrency(set) => format!("concurrency {}", set.to.as_deref().unwrap_or("none")),
        Action::HoldPool(hold) => format!("{:?} {}", hold.change, hold.name),
        Action::EditVersion(edit) => format!("edit {}", edit.target),
        Action::RecordConvergence(arrival) => format!("arrived {}", arrival.name),
        Action::Nothing => "nothing".to_owned(),
        action => panic!("{action:?}"),
    }
}

/// One pool rolls, the others have still to get their version, and a window closes that wasn't there before.
#[test]
fn no_pool_goes_by_a_number_that_is_raised_in_the_middle() {
    let mut world = World::new(cluster("v1.33.5", TARGET));
    world.cluster_api();
    world.cluster_api();
    assert_eq!(world.rolling().len(), 1, "md-0 has its version");
    world.snapshot.gates.insert(Gate::Window, closed("Sunday"));
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(written(&world.decide_and_write()));
        world.cluster_api();
    }
    assert_eq!(all, ["Hold md-1", "concurrency 2", "nothing"]);
    for _ in 0..5 {
        world.cluster_api();
        world.decide_and_write();
    }
    assert_eq!(world.rolled, BTreeSet::from(["md-0".to_owned()]));
}

#[test]
fn machine_pools_keep_the_number_of_their_user() {
    let mut world = gated();
    let mut pool = machine_pool("mp", "v1.33.5", &["v1.33.5"]);
    pool.object.managed_by = ManagedBy::Topology;
    world.snapshot.machine_pools.push(Observed::Read(pool));
    world.approve_workers();
    let all: Vec<String> = (0..3).map(|_| written(&world.decide_and_write())).collect();
    assert_eq!(all, ["Hold md-0", "Hold md-1", "edit v1.34.5"]);
}

#[test]
fn a_pool_that_does_not_move_by_itself_holds_no_other() {
    for (lifecycle, rollout) in [
        (Lifecycle::Paused, Rollout::Rolling),
        (Lifecycle::Deleting, Rollout::Rolling),
        (Lifecycle::Active, Rollout::OnDelete),
    ] {
        let mut world = gated();
        world.approve_workers();
        world.pool("md-0").object.lifecycle = lifecycle;
        world.pool("md-0").rollout = rollout;
        for _ in 0..12 {
            world.decide_and_write();
            world.cluster_api();
        }
        assert!(world.released.contains(&"md-1".to_owned()), "{lifecycle:?} {rollout:?}");
        assert!(!world.pool("md-1").is_held(), "{lifecycle:?} {rollout:?}");
    }
}

#[test]
fn what_somebody_else_sets_meanwhile_stands() {
    let mut world = gated();
    topology(&mut world.snapshot).concurrency.present = Some("1".to_owned());
    for _ in 0..4 {
        world.decide_and_write();
    }
    topology(&mut world.snapshot).concurrency.present = Some("1".to_owned());
    world.approve_workers();
    for _ in 0..30 {
        let wrote = written(&world.decide_and_write());
        assert_ne!(wrote, "concurrency 2", "it is raised once");
        world.cluster_api();
    }
    assert_eq!(decide(&world.snapshot).progress.stage, Stage::Complete);
    world.assert_clean();
    assert_eq!(topology(&mut world.snapshot).concurrency.present.as_deref(), Some("1"));
}

#[test]
fn while_the_edit_does_not_come_nothing_is_held_for_it() {
    let mut world = gated();
    for _ in 0..2 {
        world.decide_and_write();
    }
    world.snapshot.gates.insert(Gate::Window, closed("Sunday"));
    for _ in 0..2 {
        let decision = world.decide_and_write();
        assert_eq!(decision.progress.stage, Stage::Held);
        assert!(written(&decision).starts_with("Release "), "{decision:?}");
    }
    world.assert_clean();
}

#[test]
fn another_release_of_the_version_needs_its_approval_first_and_is_named() {
    let mut snapshot = asked("v1.35.5", "v1.35.5-2");
    snapshot.approvals.required = BTreeSet::from([ApprovalPoint::Workers]);
    let begins = "ApprovalMissing: the workers go to v1.35.5 once that is approved";
    let words = words(&decide(&snapshot));
    assert!(words[0].starts_with(begins), "{words:?}");
    snapshot
        .approvals
        .given
        .insert((ApprovedPart::Workers, version("v1.35.5")));
    assert_eq!(written(&decide(&snapshot)), "edit v1.35.5-2");
}
