//! The two writes, and what `check` finds in those that would never be made.

use instar_api::{ApprovalPoint, ApprovedPart};
use instar_planner::{
    Action, CompletePins, ConditionStatus, Decision, EditVersion, Gate, Lifecycle, ManagedBy, Observed, Origin,
    Snapshot, Stage, Target, Violation, check,
};
use serde_json::{Value, json};

use super::{asked, catalog_of, cluster, control_plane_goes, decide, pins, says, topology, words, written_by_us};
use crate::world::{catalog, closed, held_by_check, machine_pools::machine_pool, version};

fn edit(decision: &mut Decision) -> &mut EditVersion {
    match &mut decision.action {
        Action::EditVersion(edit) => edit,
        action => panic!("{action:?}"),
    }
}

fn complete(decision: &mut Decision) -> &mut CompletePins {
    match &mut decision.action {
        Action::CompletePins(complete) => complete,
        action => panic!("{action:?}"),
    }
}

#[test]
fn the_version_is_written_as_it_was_asked_with_the_ledger_and_the_compare() {
    let mut decision = decide(&asked("v1.33.5", "v1.34"));
    assert_eq!(
        edit(&mut decision).patch,
        json!({
            "metadata": {
                "resourceVersion": "7",
                "annotations": { "upgrade.cluster.x-k8s.io/swap-history": r#"{"upgrade":"up","target":"v1.34"}"# },
            },
            "spec": { "topology": { "version": "v1.34" } },
        })
    );
}

#[test]
fn what_is_satisfied_is_not_written() {
    for target in ["v1.33", "v1.33.5"] {
        let decision = decide(&asked("v1.33.5", target));
        assert_eq!(decision.action, Action::Nothing);
        assert_eq!(decision.progress.stage, Stage::Complete, "{target}");
    }
    // Another row of the version, by its name: the pins say whether it is the one.
    let mut snapshot = asked("v1.35.5", "v1.35.5-2");
    assert_eq!(edit(&mut decide(&snapshot)).target, "v1.35.5-2");
    snapshot.upgrade_spec.target = Target::Text("v1.35.5-1".to_owned());
    topology(&mut snapshot).pins = Some(pins("v1.33.5", &["v1.35.5"]));
    assert_eq!(decide(&snapshot).action, Action::Nothing);
}

/// How a snapshot is made, whether the upgrade is refused for good, and the beginning of each reason.
type Held = (fn() -> Snapshot, bool, &'static [&'static str]);

fn held(cases: &[Held]) {
    for (place, (snapshot, over, told)) in cases.iter().enumerate() {
        let decision = decide(&snapshot());
        assert_eq!(decision.action, Action::Nothing, "case {place}");
        assert_eq!(decision.progress.stage, Stage::Held, "case {place}");
        let refuses = decision.waiting.iter().any(instar_planner::Waiting::refuses);
        assert_eq!(refuses, *over, "case {place}");
        let words = words(&decision);
        assert_eq!(words.len(), told.len(), "case {place}: {words:?}");
        for (word, told) in words.iter().zip(*told) {
            assert!(word.starts_with(told), "case {place}: {word}");
        }
    }
}

#[test]
fn edit_held_with_reason() {
    held(&[
        (
            || asked("v1.33.5", "v1.40"),
            false,
            &["NoTarget: \"v1.40\" is not in the catalog"],
        ),
        (
            || asked("v1.34.5", "v1.33.5"),
            true,
            &["NoPath: v1.33.5 is older than v1.34.5"],
        ),
        (
            || {
                let mut snapshot = asked("v1.33.5", "v1.35");
                control_plane_goes(&mut snapshot, "v1.32.5");
                snapshot
            },
            false,
            &["UpgradeUnderWay: the Cluster is on its way to v1.33.5"],
        ),
        (
            || {
                let mut snapshot = asked("v1.33.5", "v1.34");
                snapshot.upgrade_spec.source = Some("v1.32".to_owned());
                snapshot
            },
            true,
            &["SourceMismatch: "],
        ),
        // It was written, and somebody has put it back.
        (
            || {
                let mut snapshot = asked("v1.33.5", "v1.34");
                written_by_us(&mut snapshot);
                snapshot
            },
            false,
            &["ForeignWriter: spec.topology.version was changed by another client to v1.33.5"],
        ),
        // It was written, and somebody has gone further.
        (
            || {
                let mut snapshot = asked("v1.36.5", "v1.35.5-1");
                written_by_us(&mut snapshot);
                snapshot
            },
            true,
            &[
                "ForeignWriter: spec.topology.version was changed by another client to v1.36.5",
                "NoPath: v1.35.5 is older than v1.36.5",
            ],
        ),
        // The record of an edit never edits.
        (
            || {
                let mut snapshot = asked("v1.33.5", "v1.34.5");
                snapshot.upgrade_spec.origin = Origin::Cluster;
                snapshot
            },
            true,
            &["Superseded: spec.topology.version is v1.33.5 by now"],
        ),
    ]);
}

/// A MachinePool can't be held: it goes with the edit.
fn with_machine_pool(runs: &str, target: &str) -> Snapshot {
    let mut snapshot = asked(runs, target);
    let mut pool = machine_pool("mp", runs, &[runs]);
    pool.object.managed_by = ManagedBy::Topology;
    snapshot.machine_pools.push(Observed::Read(pool));
    snapshot
}

#[test]
fn edit_held_by_gates_checks_and_approvals() {
    held(&[
        (
            || {
                let mut snapshot = asked("v1.33.5", "v1.34");
                snapshot.gates.insert(Gate::Window, closed("wait"));
                snapshot
            },
            false,
            &["GateClosed: maintenance window: wait"],
        ),
        (
            || {
                let mut snapshot = asked("v1.33.5", "v1.34");
                snapshot.approvals.required = [ApprovalPoint::EachStep, ApprovalPoint::Workers].into();
                snapshot
            },
            false,
            // The workers are held until theirs comes.
            &["ApprovalMissing: the control plane goes to v1.34.5 once that is approved: "],
        ),
        (
            || {
                let mut snapshot = with_machine_pool("v1.33.5", "v1.34");
                snapshot.approvals.required = [ApprovalPoint::EachStep, ApprovalPoint::Workers].into();
                snapshot
            },
            false,
            &[
                "ApprovalMissing: the control plane goes to v1.34.5 once that is approved: add \
                 {\"before\": \"ControlPlane\", \"version\": \"v1.34.5\", \"target\": \"v1.34\"} to spec.approvals",
                "ApprovalMissing: the workers go to v1.34.5 once that is approved: add \
                 {\"before\": \"Workers\", \"version\": \"v1.34.5\", \"target\": \"v1.34\"} to spec.approvals",
            ],
        ),
        (
            || {
                let mut snapshot = with_machine_pool("v1.33.5", "v1.34");
                snapshot.approvals.required = [ApprovalPoint::ControlPlane, ApprovalPoint::Workers].into();
                snapshot.approvals.given = [
                    (ApprovedPart::ControlPlane, version("v1.34.5")),
                    (ApprovedPart::Workers, version("v1.33.5")),
                ]
                .into();
                snapshot
            },
            false,
            &["ApprovalMissing: the workers go to v1.34.5 once that is approved: "],
        ),
        (
            || {
                let mut snapshot = asked("v1.33.5", "v1.34");
                snapshot.preflight = vec![held_by_check()];
                snapshot
            },
            false,
            &["PreflightFailed: check cluster-available failed: condition Available of Cluster blue is False; "],
        ),
    ]);
}

/// On its way from v1.33.5 to v1.36.5, at v1.34.5, and Cluster API plans a v1.35 without a pin.
fn unpinned() -> Snapshot {
    let mut snapshot = cluster("v1.33.5", "v1.36.5");
    control_plane_goes(&mut snapshot, "v1.34.5");
    topology(&mut snapshot).pins = Some(pins("v1.33.5", &["v1.34.5", "v1.35.1", "v1.36.5"]));
    topology(&mut snapshot).control_plane_plan = vec![version("v1.35.5"), version("v1.36.5")];
    topology(&mut snapshot).workers_plan = vec![version("v1.36.5")];
    says(
        &mut snapshot,
        ConditionStatus::False,
        "ReconcileFailed",
        "error calling fail: no release is pinned for v1.35.5",
    );
    snapshot
}

#[test]
fn a_version_that_is_planned_and_not_pinned_is_named() {
    let mut snapshot = unpinned();
    let mut decision = decide(&snapshot);
    assert_eq!(decision.progress.stage, Stage::Held);
    assert_eq!(decision.progress.path, ["v1.35.5", "v1.36.5-1"]);
    let complete = complete(&mut decision);
    // The best row of the version.
    let named: Vec<(String, &str)> = complete
        .releases
        .iter()
        .map(|(version, release)| (version.to_string(), release.as_str()))
        .collect();
    assert_eq!(named, [("v1.35.5".to_owned(), "v1.35.5-2")]);
    let text = complete.patch["metadata"]["annotations"]["upgrade.cluster.x-k8s.io/releases"].clone();
    let written = instar_api::Pins::from_annotation(text.as_str().unwrap()).unwrap();
    let before = topology(&mut snapshot).pins.clone().unwrap();
    for (version, pin) in &before.releases {
        assert_eq!(written.releases[version], *pin);
    }
    assert_eq!(written.releases.len(), before.releases.len() + 1);
    // Once it is there, nothing more is written.
    topology(&mut snapshot).pins = Some(written);
    assert_eq!(decide(&snapshot).action, Action::Nothing);
}

#[test]
fn a_plan_of_before_a_missing_row_and_missing_pins_write_nothing() {
    let mut stale = unpinned();
    topology(&mut stale).control_plane_plan = vec![version("v1.35.5")];
    assert_eq!(decide(&stale).action, Action::Nothing);

    let mut bare = unpinned();
    topology(&mut bare).pins = None;
    assert_eq!(decide(&bare).action, Action::Nothing);

    let mut missing = unpinned();
    let rows = catalog::rows();
    let kept = rows.into_iter().filter(|(name, _)| !name.starts_with("v1.35.5"));
    catalog_of(&mut missing, kept.collect());
    let decision = decide(&missing);
    assert_eq!(decision.action, Action::Nothing);
    assert_eq!(
        words(&decision)[0],
        "NoRow: the catalog has no release of v1.35.5: create one"
    );
}

type Case = (Violation, fn(&mut Snapshot, &mut Decision));

fn find(cases: &[Case], snapshot: &Snapshot) {
    let decision = decide(snapshot);
    for (place, (violation, change)) in cases.iter().enumerate() {
        let (mut snapshot, mut decision) = (snapshot.clone(), decision.clone());
        change(&mut snapshot, &mut decision);
        let found = check(&snapshot, &decision);
        assert!(
            found.contains(violation),
            "case {place}: {violation:?} isn't found, but {found:?}"
        );
    }
}

#[test]
fn check_finds_what_an_edit_must_not_do() {
    let cases: [Case; 14] = [
        (Violation::GateClosed, |s, _| {
            s.gates.insert(Gate::Window, closed("a freeze"));
        }),
        (Violation::GateClosed, |s, _| s.preflight = vec![held_by_check()]),
        (Violation::GateClosed, |s, _| {
            s.approvals.required = [ApprovalPoint::EachStep].into();
        }),
        (Violation::GateClosed, |s, _| {
            s.approvals.required = [ApprovalPoint::ControlPlane, ApprovalPoint::Workers].into();
            s.approvals.given = [(ApprovedPart::ControlPlane, version("v1.34.5"))].into();
        }),
        (Violation::Untouchable, |s, _| s.cluster.lifecycle = Lifecycle::Paused),
        (Violation::Untouchable, |s, _| s.cluster.lifecycle = Lifecycle::Deleting),
        (Violation::Untouchable, |s, _| {
            s.upgrade_spec.paused = true;
        }),
        (Violation::Untouchable, |s, _| s.upgrade_spec.origin = Origin::Cluster),
        (Violation::UnknownObject, |s, _| s.cluster.name = "other".to_owned()),
        (Violation::NoCompare, |_, d| {
            edit(d).patch["metadata"]["resourceVersion"] = Value::Null;
        }),
        (Violation::NoCompare, |s, _| {
            topology(s).resource_version.0 = "8".to_owned();
        }),
        (Violation::Incomplete, |_, d| {
            edit(d).patch["metadata"]["annotations"] = json!({});
        }),
        (Violation::Lowered, |_, d| {
            edit(d).target = "v1.32.1".to_owned();
        }),
        (Violation::NotOurs, |_, d| {
            edit(d).patch["spec"]["paused"] = json!(false);
        }),
    ];
    find(&cases, &asked("v1.33.5", "v1.34"));
}

#[test]
fn check_finds_what_completed_pins_must_not_do() {
    fn rewrite(decision: &mut Decision, change: impl FnOnce(&mut Value)) {
        let place = &mut complete(decision).patch["metadata"]["annotations"]["upgrade.cluster.x-k8s.io/releases"];
        let mut pins: Value = serde_json::from_str(place.as_str().unwrap()).unwrap();
        change(&mut pins);
        *place = json!(pins.to_string());
    }
    let cases: [Case; 7] = [
        (Violation::Untouchable, |s, _| s.cluster.lifecycle = Lifecycle::Paused),
        (Violation::NoCompare, |_, d| {
            complete(d).patch["metadata"]["resourceVersion"] = json!("8");
        }),
        (Violation::PinRewritten, |_, d| {
            rewrite(d, |pins| pins["releases"]["v1.35.1"]["release"] = json!("v1.35.1-9"));
        }),
        (Violation::PinRewritten, |_, d| {
            rewrite(d, |pins| {
                pins["releases"].as_object_mut().unwrap().remove("v1.34.5");
            });
        }),
        (Violation::PinRewritten, |_, d| {
            rewrite(d, |pins| pins["adopted"] = json!(""));
        }),
        (Violation::Incomplete, |_, d| {
            rewrite(d, |pins| pins["releases"]["v1.35.5"]["release"] = json!("v1.34.5-1"));
        }),
        (Violation::NotOurs, |_, d| {
            complete(d).patch["spec"] = json!({ "paused": true });
        }),
    ];
    find(&cases, &unpinned());
}
