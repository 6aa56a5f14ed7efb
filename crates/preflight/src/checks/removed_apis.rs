//! No client uses an API that goes away on the way to the target.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::RemovedApisRule;
use instar_domain::Minor;
use instar_planner::{ControlPlane, Flavor, Observed, Problem, Snapshot, target_minor};

use super::{names, read};
use crate::{
    finding::Finding,
    removed_apis::{ApiResource, removal},
    workload::{ApiRequests, ApiServer, ApiServerAnswer, Coverage, Facts, Probe, Requested, Workload},
};

/// How many writers a message names.
const NAMED: usize = 3;

pub(super) fn look(snapshot: &Snapshot, rule: &RemovedApisRule, workload: Workload<'_>) -> Finding {
    let Some(control_plane) = snapshot.control_plane.as_ref().and_then(Observed::read) else {
        return Finding::NotApplicable("the Cluster has no control plane that can be seen".to_owned());
    };
    let observed = control_plane.observed.iter();
    let present = observed.min().unwrap_or(&control_plane.version).minor();
    let Some(target) = target_minor(snapshot) else {
        return Finding::Unknown(of_cluster(
            snapshot,
            "no release says to which minor the upgrade goes".to_owned(),
        ));
    };
    if target <= present {
        return Finding::NotApplicable(format!("no API goes away within {present}"));
    }
    let requests = match read(workload, snapshot, Probe::ApiRequests, Facts::api_requests) {
        Ok(requests) => requests,
        Err(finding) => return finding,
    };
    let removed = removed(requests, rule, present, target);
    let removed = removed
        .iter()
        .map(|(version, requested)| Finding::Fail(fails(version, requested)));
    let servers = requests.servers.iter().map(|server| judge(server, rule, snapshot));
    let seen = [covers(requests.coverage, snapshot), whole(requests, snapshot)];
    let (mut found, mut excuses) = (removed.collect::<Vec<_>>(), Vec::new());
    for finding in servers.chain(seen) {
        match finding {
            // Nobody can reach the processes of a managed control plane.
            Doubt::Unreachable(problem) if is_managed(control_plane) => excuses.push(problem.message),
            Doubt::Unreachable(problem) | Doubt::Other(problem) => found.push(Finding::Unknown(problem)),
            Doubt::None => {}
        }
    }
    match (Finding::of_all(found), excuses.first()) {
        (Finding::Pass, Some(excuse)) => Finding::NotApplicable(format!(
            "{} {} has no machines, and {excuse}",
            control_plane.object.kind, control_plane.object.name
        )),
        (found, _) => found,
    }
}

/// What keeps an API server's count from being believed.
enum Doubt {
    None,
    /// It can't be asked, whatever a user mends.
    Unreachable(Problem),
    Other(Problem),
}

/// A managed control plane has no machines.
const fn is_managed(control_plane: &ControlPlane) -> bool {
    match control_plane.flavor {
        Flavor::Kubeadm { .. } => false,
        Flavor::Other => control_plane.replicas.is_none(),
    }
}

/// The resources of one version of a group that go away together.
struct RemovedVersion<'r> {
    group: &'r str,
    version: &'r str,
    gone: Minor,
    successor: Option<String>,
}

/// What is requested and goes away, by version of its group.
fn removed<'r>(
    requests: &'r ApiRequests,
    rule: &RemovedApisRule,
    present: Minor,
    target: Minor,
) -> Vec<(RemovedVersion<'r>, Vec<(&'r ApiResource, &'r Requested)>)> {
    let mut versions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (api, requested) in &requests.requested {
        let ApiResource {
            group,
            version,
            resource,
        } = api;
        if rule
            .ignore
            .iter()
            .any(|ignored| ignored.matches(group, version, resource))
        {
            continue;
        }
        // It is served now, so a row that says otherwise is not of this API server.
        let row = removal(api).filter(|row| row.gone > present);
        let gone = row.as_ref().map(|row| row.gone).or(requested.removed);
        if let Some(gone) = gone.filter(|gone| *gone <= target) {
            let successor = row.and_then(|row| row.successor).map(|api| api.group_version());
            let key = (group.as_str(), version.as_str(), gone, successor);
            versions.entry(key).or_default().push((api, requested));
        }
    }
    let versions = versions.into_iter().map(|((group, version, gone, successor), apis)| {
        let version = RemovedVersion {
            group,
            version,
            gone,
            successor,
        };
        (version, apis)
    });
    versions.collect()
}

fn fails(version: &RemovedVersion<'_>, requested: &[(&ApiResource, &Requested)]) -> Problem {
    let RemovedVersion {
        group,
        version,
        gone,
        successor,
    } = version;
    let resources: Vec<&str> = requested.iter().map(|(api, _)| api.resource.as_str()).collect();
    let group_version = requested
        .first()
        .map(|(api, _)| api.group_version())
        .unwrap_or_default();
    let successor = successor.as_ref().map(|successor| format!(": use {successor}"));
    let written = requested.iter().flat_map(|(api, requested)| {
        let writers = requested.writers.iter();
        writers.map(|(manager, object)| format!("{} {object} by {manager}", api.resource))
    });
    let written: BTreeSet<String> = written.collect();
    let clients = if written.is_empty() {
        "Its clients are only in the audit log".to_owned()
    } else {
        let named = written.iter().take(NAMED).map(String::as_str);
        let named = names(named, written.len().saturating_sub(NAMED));
        format!("Written through it: {named}. Other clients are only in the audit log")
    };
    Problem {
        // As the API server lists the versions that it serves.
        kind: "APIService".to_owned(),
        name: format!("{version}.{group}"),
        message: format!(
            "{} of {group_version} were requested, and {gone} doesn't serve them{}. {clients}: jq 'select(.annotations.\"k8s.io/deprecated\" and .objectRef.apiGroup==\"{group}\" and \
             .objectRef.apiVersion==\"{version}\") | .user.username, .userAgent'",
            resources.join(" and "),
            successor.unwrap_or_default(),
        ),
    }
}

fn judge(server: &ApiServer, rule: &RemovedApisRule, snapshot: &Snapshot) -> Doubt {
    let ApiServer { name, answer } = server;
    let problem = |message: String| of_cluster(snapshot, message);
    match answer {
        ApiServerAnswer::Counted { since: None } => Doubt::Other(problem(format!(
            "API server {name} doesn't say when it started, so it may have counted nothing yet"
        ))),
        ApiServerAnswer::Counted { since: Some(since) } => {
            if snapshot.now.duration_since(*since) >= rule.min_uptime {
                return Doubt::None;
            }
            let enough = rule.min_uptime;
            Doubt::Other(problem(format!(
                "API server {name} started at {since}, and has to run for {enough:#} (minUptime) before its count of \
                 requests is believed"
            )))
        }
        ApiServerAnswer::Refused { why } => Doubt::Unreachable(problem(format!(
            "API server {name} doesn't say which APIs are requested: {why}"
        ))),
        ApiServerAnswer::Unread { why } => Doubt::Other(problem(format!("API server {name} was not read: {why}"))),
    }
}

/// Whether every API server was asked.
fn covers(coverage: Coverage, snapshot: &Snapshot) -> Doubt {
    let no_pods = "none has a Pod in kube-system with the label component=kube-apiserver";
    let message = match coverage {
        Coverage::Pods | Coverage::Address { running: Some(1) } => return Doubt::None,
        Coverage::Address { running: Some(running) } => {
            format!("{running} API servers run, {no_pods}, and the one that answered counts its own requests alone")
        }
        Coverage::Address { running: None } => {
            format!("it is not known how many API servers run: {no_pods}, and none has a Lease there")
        }
    };
    Doubt::Unreachable(of_cluster(snapshot, message))
}

fn whole(requests: &ApiRequests, snapshot: &Snapshot) -> Doubt {
    match requests.unread {
        0 => Doubt::None,
        unread => Doubt::Other(of_cluster(
            snapshot,
            format!("{unread} lines of the API servers' metric of deprecated APIs can't be read, or are too many"),
        )),
    }
}

fn of_cluster(snapshot: &Snapshot, message: String) -> Problem {
    Problem {
        kind: "Cluster".to_owned(),
        name: snapshot.cluster.name.clone(),
        message,
    }
}
