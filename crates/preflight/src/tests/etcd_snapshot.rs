use instar_addons::{SnapshotQuery, SnapshotReading, SnapshotsSeen};
use instar_api::{ClusterSide, EtcdSnapshotParameters, EtcdSnapshotStatus};
use jiff::SignedDuration;
use serde_json::json;

use super::{workload::enabled, *};

fn parameters(cluster: ClusterSide) -> EtcdSnapshotParameters {
    let parameters = json!({
        "observe": { "cluster": cluster, "apiVersion": "velero.io/v1", "kind": "Backup", "labelSelector": {} },
        "readyWhen": "status.phase == 'Completed'",
        "timestampExpression": "status.startTimestamp",
        "maxAge": "24h",
    });
    serde_json::from_value(parameters).unwrap()
}

fn reading(of: &EtcdSnapshotParameters, at: Timestamp, found: Result<SnapshotsSeen, String>) -> SnapshotReading {
    let of = SnapshotQuery::read(of, "default").unwrap();
    SnapshotReading { of, at, found }
}

fn made(time: Timestamp) -> SnapshotsSeen {
    SnapshotsSeen {
        newest: Some(EtcdSnapshotStatus {
            cluster: ClusterSide::Management,
            kind: "Backup".to_owned(),
            namespace: Some("velero".to_owned()),
            name: "daily-2".to_owned(),
            time,
        }),
        ..SnapshotsSeen::default()
    }
}

fn settings(asked: &[EtcdSnapshotParameters]) -> PreflightSettings {
    PreflightSettings {
        etcd_snapshots: asked.to_vec(),
        ..modes([(PreflightCheck::EtcdSnapshot, Enforcement::Enforce)])
    }
}

fn examined(asked: &[EtcdSnapshotParameters], access: &WorkloadAccess, known: &[SnapshotReading]) -> CheckOutcome {
    let readings = Readings::new();
    let workload = Workload {
        access,
        readings: &readings,
        snapshots: known,
        cluster_api: &ClusterApiVersion::NotListed,
    };
    let outcomes = examine(&well(), &settings(asked), &[], workload);
    let mut found = outcomes
        .into_iter()
        .filter(|outcome| outcome.check == PreflightCheck::EtcdSnapshot);
    found.next().unwrap()
}

fn says(asked: &[EtcdSnapshotParameters], access: &WorkloadAccess, known: &[SnapshotReading]) -> String {
    match examined(asked, access, known).outcome {
        PreflightOutcome::Pass => "Pass".to_owned(),
        PreflightOutcome::Fail(problem) => format!("Fail {}/{}: {}", problem.kind, problem.name, problem.message),
        PreflightOutcome::Unknown(problem) => format!("Unknown {}/{}: {}", problem.kind, problem.name, problem.message),
        other => format!("{other:?}"),
    }
}

#[test]
fn it_is_off_unless_a_policy_names_it() {
    let outcomes = examine(&well(), &PreflightSettings::default(), &[], UNREAD);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.check != PreflightCheck::EtcdSnapshot)
    );
    assert_eq!(
        says(&[], &WorkloadAccess::Disabled, &[]),
        format!(
            "Unknown Cluster/{0}: no UpgradePolicy says where snapshots of the etcd of Cluster {0} are reported: set \
             etcdSnapshot of the policy's check",
            well().cluster.name
        )
    );
}

#[test]
fn a_snapshot_is_young_enough_or_its_time_is_said() {
    let (asked, now) = (parameters(ClusterSide::Management), well().now);
    let day = SignedDuration::from_hours(24);
    let second = SignedDuration::from_secs(1);
    let found = |seen: SnapshotsSeen| {
        says(
            std::slice::from_ref(&asked),
            &WorkloadAccess::Disabled,
            &[reading(&asked, now, Ok(seen))],
        )
    };
    assert_eq!(found(made(now)), "Pass");
    assert_eq!(found(made(now - day)), "Pass");
    let old = now - day - second;
    assert_eq!(
        found(made(old)),
        format!(
            "Fail Backup/daily-2: Backup velero/daily-2 in the management cluster reports the newest snapshot of etcd, of \
             {old}, and one that is at most 24h old (maxAge) would do"
        )
    );
    // Of one that can't be judged nobody knows whether it is newer.
    let unknown = Some("Backup velero/a: timestampExpression gives no time".to_owned());
    let and_unknown = |seen: SnapshotsSeen| SnapshotsSeen {
        unknown: unknown.clone(),
        ..seen
    };
    assert_eq!(found(and_unknown(made(now))), "Pass");
    let is_unknown = "Unknown Backup/: Backup velero/a: timestampExpression gives no time";
    assert_eq!(found(and_unknown(made(old))), is_unknown);
    assert_eq!(found(and_unknown(SnapshotsSeen::default())), is_unknown);
    assert_eq!(
        found(SnapshotsSeen {
            not_ready: Some("Backup velero/a: readyWhen doesn't hold".to_owned()),
            ..SnapshotsSeen::default()
        }),
        "Fail Backup/: no Backup in the management cluster reports a snapshot of etcd that can be restored; Backup velero/a: \
         readyWhen doesn't hold"
    );
    assert_eq!(
        found(SnapshotsSeen::default()),
        "Fail Backup/: no Backup in the management cluster reports a snapshot of etcd: none is there with the name or the \
         labels of observe"
    );
}

#[test]
fn checks_that_read_the_same_share_the_longest_deadline() {
    let seconds = SignedDuration::from_secs;
    let settings = PreflightSettings {
        deadlines: BTreeMap::from([
            (PreflightCheck::NodesReady, seconds(5)),
            (PreflightCheck::KubeletSkew, seconds(9)),
            (PreflightCheck::EtcdSnapshot, seconds(3)),
        ]),
        ..PreflightSettings::default()
    };
    let deadlines = deadlines(&settings);
    assert_eq!(deadlines.probes, BTreeMap::from([(Probe::Nodes, seconds(9))]));
    assert_eq!(deadlines.snapshots, Some(seconds(3)));
}

#[test]
fn what_was_not_read_holds() {
    let (here, there) = (parameters(ClusterSide::Management), parameters(ClusterSide::Workload));
    let (asked, now) = (std::slice::from_ref(&here), well().now);
    let disabled = WorkloadAccess::Disabled;
    let not_yet = "Unknown Backup/: the objects of kind Backup that report snapshots of etcd have not been read yet";
    assert_eq!(says(asked, &disabled, &[]), not_yet);
    let forbidden = reading(&here, now, Err("403".to_owned()));
    assert_eq!(says(asked, &disabled, &[forbidden]), "Unknown Backup/: 403");
    let then = now - SignedDuration::from_mins(4);
    let stale = reading(&here, then, Ok(made(now)));
    assert!(says(asked, &disabled, &[stale]).contains(&format!("were read last at {then}, which is too long ago")));
    let mut other = here.clone();
    other.max_age = SignedDuration::from_hours(1);
    assert_eq!(says(asked, &disabled, &[reading(&other, now, Ok(made(now)))]), not_yet);
    let both = [here.clone(), there.clone()];
    let known = [reading(&here, now, Ok(made(now))), reading(&there, now, Ok(made(now)))];
    assert_eq!(says(&both, &enabled(), &known), "Pass");
    assert!(says(&both, &disabled, &known).contains("isn't read: set spec.workload.access"));
    let mut secret = here.clone();
    "v1".clone_into(&mut secret.observe.api_version);
    "Secret".clone_into(&mut secret.observe.kind);
    assert_eq!(
        says(&[secret], &disabled, &[]),
        "Unknown Secret/: etcd-snapshot: observe.kind: Secrets are never observed: observe what reports the state of it"
    );
}

#[test]
fn the_newest_of_all_is_kept_and_only_what_is_asked_is_read() {
    let (here, there) = (parameters(ClusterSide::Management), parameters(ClusterSide::Workload));
    let now = well().now;
    let old = now - SignedDuration::from_hours(30);
    let known = [reading(&here, now, Ok(made(old))), reading(&there, now, Ok(made(now)))];
    let both = [here.clone(), there.clone()];
    let found = examined(&both, &enabled(), &known);
    assert_eq!(found.snapshot, made(now).newest);
    assert!(matches!(found.outcome, PreflightOutcome::Fail(_)));
    let sides = |access: &WorkloadAccess, known: &[SnapshotReading]| -> Vec<ClusterSide> {
        let queries = snapshots(&well(), &settings(&both), access, known);
        queries.iter().map(SnapshotQuery::side).collect()
    };
    assert_eq!(sides(&WorkloadAccess::Disabled, &[]), [ClusterSide::Management]);
    assert_eq!(
        sides(&enabled(), &known),
        [ClusterSide::Management, ClusterSide::Workload]
    );
    let off = PreflightSettings {
        modes: modes([(PreflightCheck::EtcdSnapshot, Enforcement::Off)]).modes,
        ..settings(&both)
    };
    assert_eq!(snapshots(&well(), &off, &enabled(), &[]), []);
}
