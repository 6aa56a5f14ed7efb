//! Etcd was saved a short while ago.

use instar_addons::{SnapshotQuery, SnapshotReading, SnapshotsSeen};
use instar_api::{ClusterSide, EtcdSnapshotParameters, EtcdSnapshotStatus, SnapshotObserve, WorkloadAccess};
use instar_planner::{Problem, Snapshot};

use super::{STALE, readable};
use crate::{finding::Finding, workload::Workload};

/// What each policy asks has to be so.
pub(super) fn look(snapshot: &Snapshot, asked: &[EtcdSnapshotParameters], workload: Workload<'_>) -> Finding {
    if asked.is_empty() {
        return Finding::Unknown(Problem {
            kind: "Cluster".to_owned(),
            name: snapshot.cluster.name.clone(),
            message: format!(
                "no UpgradePolicy says where snapshots of the etcd of Cluster {} are reported: set etcdSnapshot of the \
                 policy's check",
                snapshot.cluster.name
            ),
        });
    }
    let found = asked.iter().map(|parameters| judge(snapshot, parameters, workload));
    Finding::of_all(found)
}

/// The newest snapshot that any policy's objects report.
pub(super) fn newest(asked: &[EtcdSnapshotParameters], workload: Workload<'_>) -> Option<EtcdSnapshotStatus> {
    let seen = asked
        .iter()
        .filter_map(|parameters| reading(parameters, workload.snapshots)?.found.as_ref().ok());
    let newest = seen.filter_map(|seen| seen.newest.as_ref());
    newest.max_by_key(|snapshot| snapshot.time).cloned()
}

/// What is to be looked at. What may not be, [`look`] tells.
pub(crate) fn queries(
    snapshot: &Snapshot,
    asked: &[EtcdSnapshotParameters],
    access: &WorkloadAccess,
    known: &[SnapshotReading],
) -> Vec<SnapshotQuery> {
    let query = |parameters: &EtcdSnapshotParameters| match reading(parameters, known) {
        Some(reading) => Some(reading.of.clone()),
        None => SnapshotQuery::read(parameters, &snapshot.cluster.namespace).ok(),
    };
    let asked = asked
        .iter()
        .filter(|parameters| is_reached(parameters, access, &snapshot.cluster.name).is_ok());
    asked.filter_map(query).collect()
}

fn reading<'r>(parameters: &EtcdSnapshotParameters, known: &'r [SnapshotReading]) -> Option<&'r SnapshotReading> {
    known.iter().find(|reading| reading.of.parameters() == parameters)
}

fn is_reached(parameters: &EtcdSnapshotParameters, access: &WorkloadAccess, cluster: &str) -> Result<(), String> {
    match parameters.observe.cluster {
        ClusterSide::Management => Ok(()),
        ClusterSide::Workload => readable(access, cluster),
    }
}

fn judge(snapshot: &Snapshot, parameters: &EtcdSnapshotParameters, workload: Workload<'_>) -> Finding {
    let SnapshotObserve { kind, name, .. } = &parameters.observe;
    let problem = |message| Problem {
        kind: kind.clone(),
        name: name.clone().unwrap_or_default(),
        message,
    };
    if let Err(why) = is_reached(parameters, workload.access, &snapshot.cluster.name) {
        return Finding::Unknown(problem(why));
    }
    let Some(reading) = reading(parameters, workload.snapshots) else {
        let wrong = SnapshotQuery::read(parameters, &snapshot.cluster.namespace).err();
        let not_yet = || format!("the objects of kind {kind} that report snapshots of etcd have not been read yet");
        return Finding::Unknown(problem(wrong.unwrap_or_else(not_yet)));
    };
    match &reading.found {
        Err(why) => Finding::Unknown(problem(why.clone())),
        Ok(_) if snapshot.now.duration_since(reading.at) > STALE => Finding::Unknown(problem(format!(
            "the objects of kind {kind} that report snapshots of etcd were read last at {}, which is too long ago",
            reading.at
        ))),
        Ok(seen) => of_seen(snapshot, parameters, seen),
    }
}

fn of_seen(snapshot: &Snapshot, parameters: &EtcdSnapshotParameters, seen: &SnapshotsSeen) -> Finding {
    let EtcdSnapshotParameters { observe, max_age, .. } = parameters;
    let SnapshotObserve {
        kind, name, cluster, ..
    } = observe;
    let of_kind = |message| Problem {
        kind: kind.clone(),
        name: name.clone().unwrap_or_default(),
        message,
    };
    let place = cluster.as_str();
    let Some(newest) = &seen.newest else {
        return match (&seen.unknown, &seen.not_ready) {
            (Some(why), _) => Finding::Unknown(of_kind(why.clone())),
            (None, Some(why)) => Finding::Fail(of_kind(format!(
                "no {kind} in the {place} reports a snapshot of etcd that can be restored; {why}"
            ))),
            (None, None) => Finding::Fail(of_kind(format!(
                "no {kind} in the {place} reports a snapshot of etcd: none is there with the name or the labels of observe"
            ))),
        };
    };
    let EtcdSnapshotStatus {
        namespace, name, time, ..
    } = newest;
    let within = namespace
        .as_ref()
        .map_or_else(String::new, |namespace| format!("{namespace}/"));
    let of_newest = |message| Problem {
        kind: kind.clone(),
        name: name.clone(),
        message: format!("{kind} {within}{name} in the {place} reports the newest snapshot of etcd, {message}"),
    };
    let age = snapshot.now.duration_since(*time);
    if age <= *max_age {
        return Finding::Pass;
    }
    match &seen.unknown {
        // It may be a newer one.
        Some(why) => Finding::Unknown(of_kind(why.clone())),
        None => Finding::Fail(of_newest(format!(
            "of {time}, and one that is at most {max_age:#} old (maxAge) would do"
        ))),
    }
}
