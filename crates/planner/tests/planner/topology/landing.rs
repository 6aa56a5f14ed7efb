//! Upgrades that are aborted: they end where the control plane stands, and only while a hold keeps it there.

use instar_api::{ApprovalPoint, ApprovedPart, HOOK_ANSWER_ANNOTATION, HookAnswer, HookVerdict, LandingMark};
use instar_capi::labels::UNSAFE_VERSION;
use instar_planner::{
    Action, ConditionStatus, Decision, Flavor, Gate, GateState, Lifecycle, ManagedBy, Observed, Operation, Origin,
    ResourceVersion, RuntimeHooks, Snapshot, Stage, Target, VersionSetBy, Violation, check, follow,
    is_aimed_at_present, is_set_again, release_held, under_way,
};
use serde_json::json;

use super::{
    cluster, control_plane, control_plane_goes, decide,
    hooks::{STEPS, two_minors},
    pins, pools, says, topology, words, workers_go,
};
use crate::world::{closed, machine_pools::machine_pool, random::Random, version};

/// Aborted with two minors to go.
pub(super) fn aborted() -> Snapshot {
    let mut snapshot = two_minors();
    snapshot.upgrade_spec.operation = Operation::Abort;
    snapshot
}

/// The same by a ClusterUpgrade that has edited the version.
pub(super) fn of_upgrade(mut snapshot: Snapshot) -> Snapshot {
    snapshot.upgrade_spec.origin = Origin::Upgrade;
    snapshot.upgrade_spec.target = Target::Text("v1.35.5".to_owned());
    let upgrade = snapshot.upgrade_spec.upgrade.clone();
    topology(&mut snapshot).version_set_by = Some(VersionSetBy {
        upgrade,
        target: "v1.35.5".to_owned(),
        landed: None,
    });
    snapshot
}

pub(super) fn at_the_middle(snapshot: &mut Snapshot) {
    control_plane_goes(snapshot, STEPS[0]);
    topology(snapshot).control_plane_plan = vec![version(STEPS[1])];
}

/// Cluster API asks, and says what it has got.
pub(super) fn asks(snapshot: &mut Snapshot) {
    let answer = topology(snapshot).hook_answer.clone();
    let answer = answer.as_deref().and_then(HookAnswer::from_annotation);
    let message = answer
        .and_then(|answer| answer.verdict.hold_message())
        .unwrap_or_default();
    let message = format!(
        "Cluster is upgrading to v1.35.5\n  * Following hooks are blocking upgrade: BeforeControlPlaneUpgrade: {message}\n  * KubeadmControlPlane pending upgrade to version v1.35.5"
    );
    says(snapshot, ConditionStatus::False, "ClusterUpgrading", &message);
    let generation = snapshot.cluster.generation;
    topology(snapshot).conditions[0].observed_generation = generation;
}

/// Takes over what a decision writes, with what admission adds to it; says what it was.
pub(super) fn write(snapshot: &mut Snapshot, decision: &Decision) -> String {
    let present = topology(snapshot).version.clone();
    let written = topology(snapshot);
    let writes: u64 = written.resource_version.0.parse().unwrap();
    let said = match &decision.action {
        Action::Nothing => return "nothing".to_owned(),
        Action::AnswerHook(answer) => {
            let text = answer.patch["metadata"]["annotations"][HOOK_ANSWER_ANNOTATION].as_str();
            written.hook_answer = text.map(str::to_owned);
            match answer.answer.as_ref().map(|answer| &answer.verdict) {
                None => "no answer".to_owned(),
                Some(HookVerdict::Go { .. }) => "go".to_owned(),
                Some(HookVerdict::Hold { .. }) => "hold".to_owned(),
            }
        }
        Action::EditVersion(edit) => {
            let to = version(&edit.target);
            if to < present {
                written.landing_mark = Some(LandingMark::new(present, to.clone()));
                written.control_plane_plan.clear();
                written.workers_plan = vec![to.clone()];
            }
            let history = edit.patch["metadata"]["annotations"]["upgrade.cluster.x-k8s.io/swap-history"].as_str();
            written.version_set_by = history.and_then(VersionSetBy::from_annotation);
            written.version = to;
            snapshot.cluster.generation += 1;
            format!("version {}", edit.target)
        }
        Action::RestoreVersionCheck(_) => {
            written.landing_mark = None;
            "check on".to_owned()
        }
        action => panic!("{action:?}"),
    };
    topology(snapshot).resource_version = ResourceVersion((writes + 1).to_string());
    said
}

fn next(snapshot: &mut Snapshot) -> String {
    let decision = decide(snapshot);
    write(snapshot, &decision)
}

/// All has arrived, and Cluster API says so.
pub(super) fn settles(snapshot: &mut Snapshot) {
    topology(snapshot).workers_plan.clear();
    says(snapshot, ConditionStatus::True, "ReconcileSucceeded", "");
    let generation = snapshot.cluster.generation;
    topology(snapshot).conditions[0].observed_generation = generation;
}

#[test]
fn where_admission_does_not_see_the_control_plane_it_goes_on_to_its_end() {
    let mut snapshot = of_upgrade(aborted());
    at_the_middle(&mut snapshot);
    control_plane(&mut snapshot).flavor = Flavor::Other;
    assert_eq!(next(&mut snapshot), "go");
    assert_eq!(
        words(&decide(&snapshot))[0],
        "NoLanding: the upgrade can't end before the control plane is at v1.35.5, since its control plane isn't kubeadm's, and \
         admission doesn't see where another one stands: it is aborted when the workers have followed"
    );
}

#[test]
fn it_ends_before_its_first_step_where_nothing_was_replaced() {
    for mut snapshot in [aborted(), of_upgrade(aborted())] {
        assert_eq!(next(&mut snapshot), "hold");
        // Cluster API says what it has got before.
        says(
            &mut snapshot,
            ConditionStatus::False,
            "ClusterUpgrading",
            "Following hooks are blocking upgrade: BeforeControlPlaneUpgrade: the window is closed",
        );
        let waiting = decide(&snapshot);
        assert_eq!(
            (waiting.action.clone(), waiting.progress.stage),
            (Action::Nothing, Stage::ControlPlane)
        );
        assert!(
            words(&waiting)[0].starts_with("Landing: the upgrade is aborted and ends at v1.33.5"),
            "{:?}",
            words(&waiting)
        );
        asks(&mut snapshot);
        assert!(is_aimed_at_present(&snapshot));
        assert_eq!(next(&mut snapshot), "version v1.33.5");
        assert!(!under_way(&snapshot));
        assert!(is_aimed_at_present(&snapshot), "its own record goes on");
        assert_eq!(next(&mut snapshot), "check on");
        // The hold stays until Cluster API has seen that.
        assert_eq!(next(&mut snapshot), "nothing");
        assert_ne!(decide(&snapshot).progress.stage, Stage::Complete);
        settles(&mut snapshot);
        assert_eq!(next(&mut snapshot), "no answer");
        let end = decide(&snapshot);
        assert_eq!((end.action, end.progress.stage), (Action::Nothing, Stage::Complete));
        // Nothing brings it back.
        assert_eq!(decide(&snapshot).progress.stage, Stage::Complete);
    }
}

#[test]
fn it_lands_between_its_steps_and_the_workers_follow() {
    let mut snapshot = of_upgrade(aborted());
    at_the_middle(&mut snapshot);
    control_plane(&mut snapshot).observed.push(version("v1.33.5"));
    // The step that is under way ends.
    assert_eq!(next(&mut snapshot), "hold");
    asks(&mut snapshot);
    assert_eq!(next(&mut snapshot), "nothing");
    control_plane(&mut snapshot).observed.pop();
    assert_eq!(next(&mut snapshot), "hold");
    assert_eq!(next(&mut snapshot), "nothing");
    asks(&mut snapshot);
    // No approval holds what moves nothing.
    snapshot.approvals.required = [ApprovalPoint::EachStep].into();
    let landing = decide(&snapshot);
    let Action::EditVersion(edit) = &landing.action else {
        panic!("{landing:?}")
    };
    assert_eq!(
        edit.patch,
        json!({
            "metadata": {
                "resourceVersion": "9",
                "annotations": {
                    "upgrade.cluster.x-k8s.io/swap-history": r#"{"upgrade":"up","target":"v1.35.5","landed":"v1.34.5"}"#,
                },
            },
            "spec": { "topology": { "version": "v1.34.5" } },
        })
    );
    assert_eq!(write(&mut snapshot, &landing), "version v1.34.5");
    assert_eq!(next(&mut snapshot), "check on");
    assert_eq!(next(&mut snapshot), "nothing");
    assert!(under_way(&snapshot) && is_aimed_at_present(&snapshot));
    says(
        &mut snapshot,
        ConditionStatus::False,
        "ClusterUpgrading",
        "Cluster is upgrading to v1.34.5",
    );
    assert_eq!(decide(&snapshot).progress.stage, Stage::Workers);
    workers_go(&mut snapshot, "v1.34.5");
    settles(&mut snapshot);
    assert_eq!(next(&mut snapshot), "no answer");
    assert_eq!(decide(&snapshot).progress.stage, Stage::Complete);

    // The same target is gone to again only when that is asked for.
    snapshot.upgrade_spec.operation = Operation::Upgrade;
    topology(&mut snapshot).pins = Some(pins("v1.34.5", &[]));
    assert!(matches!(decide(&snapshot).action, Action::EditVersion(_)));
}

#[test]
fn nothing_is_written_of_what_was_not_begun() {
    let mut snapshot = cluster("v1.33.5", "v1.33.5");
    snapshot.upgrade_spec.origin = Origin::Upgrade;
    snapshot.upgrade_spec.target = Target::Text("v1.35.5".to_owned());
    snapshot.upgrade_spec.operation = Operation::Abort;
    topology(&mut snapshot).hooks = RuntimeHooks::On;
    let end = decide(&snapshot);
    assert_eq!((end.action, end.progress.stage), (Action::Nothing, Stage::Complete));
    // What another one moves has a record of its own.
    let mut moved = aborted();
    moved.upgrade_spec.target = Target::Text("v1.36.5".to_owned());
    let end = decide(&moved);
    assert_eq!((end.action, end.progress.stage), (Action::Nothing, Stage::Complete));
    assert!(!is_aimed_at_present(&moved));
}

#[test]
fn where_the_control_plane_goes_to_the_end_the_workers_follow() {
    let mut snapshot = aborted();
    control_plane_goes(&mut snapshot, "v1.35.5");
    topology(&mut snapshot).control_plane_plan.clear();
    assert_eq!(next(&mut snapshot), "nothing");
    assert_eq!(decide(&snapshot).progress.stage, Stage::Workers);
    workers_go(&mut snapshot, "v1.35.5");
    settles(&mut snapshot);
    assert_eq!(decide(&snapshot).progress.stage, Stage::Complete);
}

#[test]
fn without_hooks_it_goes_on_and_says_so() {
    for hooks in [
        RuntimeHooks::Off("why".to_owned()),
        RuntimeHooks::Unknown("why".to_owned()),
    ] {
        let mut snapshot = aborted();
        topology(&mut snapshot).hooks = hooks;
        let told = decide(&snapshot);
        assert_eq!(
            (told.action.clone(), told.progress.stage),
            (Action::Nothing, Stage::ControlPlane)
        );
        assert!(
            words(&told)[0].starts_with("NoLanding: the upgrade can't end before the control plane is at v1.35.5"),
            "{:?}",
            words(&told)
        );
        assert!(!told.waiting.iter().any(instar_planner::Waiting::refuses));
    }
}

#[test]
fn what_was_let_go_is_taken_back_and_told_apart() {
    let mut snapshot = two_minors();
    snapshot.pools.clear();
    snapshot.machine_sets.clear();
    assert_eq!(next(&mut snapshot), "go");
    snapshot.upgrade_spec.operation = Operation::Abort;
    assert_eq!(next(&mut snapshot), "hold");
    let answer = topology(&mut snapshot).hook_answer.clone().unwrap();
    let answer = HookAnswer::from_annotation(&answer).unwrap();
    let HookVerdict::Hold { again, .. } = &answer.verdict else {
        panic!("{answer:?}")
    };
    assert_eq!(*again, Some(snapshot.now));
    // It stays as it is, however late it gets.
    snapshot.now += jiff::SignedDuration::from_hours(1);
    assert_eq!(next(&mut snapshot), "nothing");
    asks(&mut snapshot);
    // No window holds what moves nothing.
    snapshot.gates.insert(Gate::Window, closed("no window is open"));
    assert_eq!(next(&mut snapshot), "version v1.33.5");
}

#[test]
fn another_client_that_sets_it_again_is_not_fought() {
    let mut snapshot = of_upgrade(aborted());
    let landed = Some(version("v1.33.5"));
    topology(&mut snapshot).version_set_by.as_mut().unwrap().landed = landed;
    assert!(is_aimed_at_present(&snapshot));
    assert_eq!(next(&mut snapshot), "hold");
    asks(&mut snapshot);
    let held = decide(&snapshot);
    assert_eq!(
        (held.action.clone(), held.progress.stage),
        (Action::Nothing, Stage::Held)
    );
    assert!(words(&held)[0].starts_with("ForeignWriter: spec.topology.version was set to v1.35.5 again"));
    assert!(is_set_again(&snapshot));
    // Nothing holds what Cluster API doesn't ask about, so nothing says that it does.
    let mut unasked = snapshot.clone();
    topology(&mut unasked).hooks = RuntimeHooks::Off("the namespace has not opted in".to_owned());
    let told = decide(&unasked);
    assert!(
        words(&told)[0].contains("can't end before the control plane is at v1.35.5"),
        "{:?}",
        words(&told)
    );
    snapshot.upgrade_spec.operation = Operation::Upgrade;
    assert!(!is_set_again(&snapshot));
    assert_eq!(next(&mut snapshot), "go");
}

#[test]
fn a_machine_pool_gets_its_answer_after_the_landing() {
    let mut snapshot = of_upgrade(aborted());
    snapshot.pools.clear();
    snapshot.machine_sets.clear();
    let mut pool = machine_pool("mp-0", "v1.33.5", &["v1.33.5"]);
    pool.object.managed_by = ManagedBy::Topology;
    snapshot.machine_pools = vec![Observed::Read(pool)];
    at_the_middle(&mut snapshot);
    assert_eq!(next(&mut snapshot), "hold");
    asks(&mut snapshot);
    assert_eq!(next(&mut snapshot), "version v1.34.5");
    assert_eq!(next(&mut snapshot), "check on");
    assert_eq!(next(&mut snapshot), "go", "the workers may follow");
}

#[test]
fn the_mark_goes_whoever_set_the_version() {
    let marked = |mut snapshot: Snapshot| {
        topology(&mut snapshot).landing_mark = Some(LandingMark::new(version("v1.35.5"), version("v1.33.5")));
        snapshot
    };
    // An edit by hand, with and without a record, and a ClusterUpgrade that is paused.
    let mut by_hand = marked(cluster("v1.33.5", "v1.33.5"));
    let restored = release_held(&by_hand);
    assert_eq!(check(&by_hand, &restored), []);
    let Action::RestoreVersionCheck(restore) = &restored.action else {
        panic!("{restored:?}")
    };
    assert_eq!(
        restore.patch["metadata"]["annotations"],
        json!({ UNSAFE_VERSION: null })
    );
    assert_eq!(restore.patch["metadata"]["resourceVersion"], "7");
    by_hand.upgrade_spec.target = Target::Text("v1.35.5".to_owned());
    by_hand.upgrade_spec.paused = true;
    assert_eq!(next(&mut by_hand), "check on");
    assert_eq!(next(&mut by_hand), "nothing");
    // Nobody writes to a Cluster that is paused or goes.
    for lifecycle in [Lifecycle::Paused, Lifecycle::Deleting] {
        let mut snapshot = marked(cluster("v1.33.5", "v1.33.5"));
        snapshot.cluster.lifecycle = lifecycle;
        assert_eq!(follow(&snapshot).action, Action::Nothing);
        assert_eq!(release_held(&snapshot).action, Action::Nothing);
    }
    // One that a user has set is the user's.
    let mut forged = marked(cluster("v1.33.5", "v1.33.5"));
    let restored = release_held(&forged);
    topology(&mut forged).landing_mark = None;
    assert_eq!(check(&forged, &restored), [Violation::NotOurs]);
}

fn landing() -> (Snapshot, Decision) {
    let mut snapshot = of_upgrade(aborted());
    at_the_middle(&mut snapshot);
    next(&mut snapshot);
    asks(&mut snapshot);
    let decision = decide(&snapshot);
    assert!(matches!(decision.action, Action::EditVersion(_)), "{decision:?}");
    (snapshot, decision)
}

#[test]
fn a_landing_without_a_hold_breaks_an_invariant() {
    let broken = |change: fn(&mut Snapshot)| {
        let (mut snapshot, decision) = landing();
        change(&mut snapshot);
        assert_ne!(follow(&snapshot).action, decision.action, "the planner does it itself");
        check(&snapshot, &decision)
    };
    assert_eq!(check(&landing().0, &landing().1), []);
    let lowered = [Violation::Lowered];
    assert_eq!(broken(|snapshot| topology(snapshot).hook_answer = None), lowered);
    assert_eq!(broken(|snapshot| topology(snapshot).conditions.clear()), lowered);
    assert_eq!(broken(|snapshot| snapshot.cluster.generation += 1), lowered);
    let go = |snapshot: &mut Snapshot| {
        let text = topology(snapshot).hook_answer.clone().unwrap();
        let mut answer = HookAnswer::from_annotation(&text).unwrap();
        answer.verdict = HookVerdict::Go { until: None };
        topology(snapshot).hook_answer = Some(answer.to_annotation());
    };
    assert_eq!(broken(go), lowered);
    assert_eq!(
        broken(|snapshot| control_plane(snapshot).observed.push(version("v1.33.5"))),
        [Violation::ControlPlaneMoving]
    );
    assert_eq!(
        broken(|snapshot| control_plane_goes(snapshot, "v1.35.5")),
        [Violation::ControlPlaneMoving]
    );
    let ahead = |snapshot: &mut Snapshot| {
        for pool in pools(snapshot) {
            pool.version = version("v1.35.5");
        }
    };
    assert_eq!(broken(ahead), [Violation::WorkersAhead]);
    assert_eq!(
        broken(|snapshot| snapshot.upgrade_spec.paused = true),
        [Violation::Untouchable]
    );
    // What goes on takes no version down.
    let (mut snapshot, decision) = landing();
    snapshot.upgrade_spec.operation = Operation::Upgrade;
    assert!(check(&snapshot, &decision).contains(&Violation::Lowered));
}

/// Steps are let go and taken back, and Cluster API asks when it likes: the Cluster's version is never below its control
/// plane's.
#[test]
fn the_cluster_is_never_below_its_control_plane() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut snapshot = of_upgrade(two_minors());
        snapshot.pools.clear();
        snapshot.machine_sets.clear();
        snapshot.machines.retain(|machine| match machine {
            Observed::Read(machine) => machine.pool == Some(instar_planner::PoolId::ControlPlane),
            Observed::Invalid(_) => false,
        });
        let mut has_ended = false;
        for _ in 0..200 {
            snapshot.now += jiff::SignedDuration::from_mins(1);
            let is_open = random.chance(50);
            let state = if is_open {
                GateState::Open { until: None }
            } else {
                closed("x")
            };
            snapshot.gates.insert(Gate::Window, state);
            if random.chance(5) {
                snapshot.upgrade_spec.operation = Operation::Abort;
            }
            if random.chance(70) {
                next(&mut snapshot);
            }
            // Cluster API reads the Cluster, asks, and writes the control plane before it says what it has got.
            if random.chance(50) {
                let answer = topology(&mut snapshot).hook_answer.clone();
                let answer = answer.as_deref().and_then(HookAnswer::from_annotation);
                let step = topology(&mut snapshot).control_plane_plan.first().cloned();
                let target = topology(&mut snapshot).version.clone();
                let is_let_go = |answer: &HookAnswer| {
                    answer.part == ApprovedPart::ControlPlane
                        && answer.target == target
                        && Some(&answer.step) == step.as_ref()
                        && matches!(answer.verdict, HookVerdict::Go { .. })
                };
                let is_let_go = answer.as_ref().is_some_and(is_let_go);
                match (step.clone(), is_let_go) {
                    (Some(step), true) => {
                        control_plane_goes(&mut snapshot, &step.to_string());
                        topology(&mut snapshot).control_plane_plan.remove(0);
                        // Its report may be lost.
                        if random.chance(50) {
                            says(
                                &mut snapshot,
                                ConditionStatus::False,
                                "ClusterUpgrading",
                                "Cluster is upgrading",
                            );
                        }
                    }
                    (Some(_), false) if random.chance(70) => asks(&mut snapshot),
                    (Some(_), false) => {}
                    (None, _) => settles(&mut snapshot),
                }
            }
            let (stands, asked) = (
                control_plane(&mut snapshot).version.clone(),
                topology(&mut snapshot).version.clone(),
            );
            assert!(
                stands <= asked,
                "seed {seed}: the control plane is at {stands}, the Cluster at {asked}"
            );
            let decision = decide(&snapshot);
            has_ended |= decision.progress.stage == Stage::Complete;
        }
        assert!(has_ended, "seed {seed}");
    }
}
