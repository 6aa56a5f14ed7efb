use super::*;

fn says(snapshot: &Snapshot, cluster_api: &ClusterApiVersion) -> String {
    let workload = Workload { cluster_api, ..UNREAD };
    let outcomes = examine(snapshot, &PreflightSettings::default(), &[], workload);
    let mut found = outcomes
        .into_iter()
        .filter(|outcome| outcome.check == PreflightCheck::CapiReady);
    match found.next().unwrap().outcome {
        PreflightOutcome::Pass => "Pass".to_owned(),
        PreflightOutcome::Warn(problem) => format!("Warn: {}", problem.message),
        PreflightOutcome::Fail(problem) => format!("Fail: {}", problem.message),
        PreflightOutcome::NotApplicable(reason) => format!("NotApplicable: {reason}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn only_what_its_makers_exclude_holds() {
    let installed = |version: &str| ClusterApiVersion::Installed(version.parse().unwrap());
    let snapshot = workload::upgrading();
    let target = instar_planner::target_minor(&snapshot).unwrap();
    assert_eq!(target, "v1.35".parse().unwrap());
    for (cluster_api, expected) in [
        (installed("v1.14.0"), "Pass"),
        (installed("v1.12.1"), "Pass"),
        (
            installed("v1.12.0"),
            "Fail: Cluster API v1.12.0 doesn't manage Kubernetes v1.35: that takes v1.12.1 or later",
        ),
        (
            installed("v1.11.9"),
            "Fail: Cluster API v1.11.9 doesn't manage Kubernetes v1.35: that takes v1.12 or later",
        ),
        (
            installed("v1.15.0"),
            "Warn: this Instar doesn't know which versions of Kubernetes Cluster API v1.15.0 manages: see its release notes",
        ),
        (
            ClusterApiVersion::NotListed,
            "NotApplicable: no Provider of clusterctl says which version of Cluster API is installed",
        ),
        (
            ClusterApiVersion::Unread("403".to_owned()),
            "Warn: the version of Cluster API is not known: 403",
        ),
    ] {
        assert_eq!(says(&snapshot, &cluster_api), expected, "{cluster_api:?}");
    }
}
