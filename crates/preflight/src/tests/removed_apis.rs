//! The check `removed-apis`.

use instar_api::{IgnoredApi, OnUnknown};
use jiff::SignedDuration;
use serde_json::json;

use super::{
    workload::{enabled, one_with, readings, upgrading},
    *,
};
use crate::workload::{ApiRequests, ApiServerAnswer, Coverage, Facts, MetricsReader};

const CHECK: PreflightCheck = PreflightCheck::RemovedApis;

/// Half an hour and two hours before the snapshot's time.
const YOUNG: &str = "process_start_time_seconds 1.7951742e+09";
const OLD: &str = "process_start_time_seconds 1.79516880017e+09";

fn sample(api: &str, removed: &str) -> String {
    let mut parts = api.split('/');
    let mut part = || parts.next().unwrap_or_default();
    format!(
        "apiserver_requested_deprecated_apis{{group=\"{}\",removed_release=\"{removed}\",resource=\"{}\",subresource=\"\",\
         version=\"{}\"}} 1",
        part(),
        part(),
        part()
    )
}

fn requests(coverage: Coverage, servers: &[&[&str]]) -> ApiRequests {
    let mut requests = ApiRequests::none(coverage);
    for (index, lines) in servers.iter().enumerate() {
        let mut metrics = MetricsReader::default();
        for line in *lines {
            metrics.line(line);
        }
        requests.add(&format!("kube-apiserver-{index}"), metrics);
    }
    requests
}

fn judged(snapshot: &Snapshot, settings: &PreflightSettings, requests: ApiRequests) -> String {
    let readings = readings([(Probe::ApiRequests, Facts::ApiRequests(requests))]);
    one_with(snapshot, settings, CHECK, &enabled(), &readings)
}

fn judge(requests: ApiRequests) -> String {
    judged(&upgrading(), &PreflightSettings::default(), requests)
}

/// v1.34 goes to v1.35.
#[test]
fn what_the_target_serves_no_more_fails() {
    let gone = sample("storage.k8s.io/volumeattributesclasses/v1alpha1", "1.35");
    let also = sample("apidiscovery.k8s.io/apigroupdiscoveries/v2beta1", "1.35");
    let later = sample("resource.k8s.io/resourceclaims/v1beta1", "1.37");
    assert_eq!(judge(requests(Coverage::Pods, &[&[OLD], &[OLD, &later]])), "Pass");
    let query = |group: &str, version: &str| {
        format!(
            "Its clients are only in the audit log: jq 'select(.annotations.\"k8s.io/deprecated\" and .objectRef.apiGroup==\"{group}\" and \
             .objectRef.apiVersion==\"{version}\") | .user.username, .userAgent'"
        )
    };
    assert_eq!(
        judge(requests(Coverage::Pods, &[&[OLD], &[OLD, &gone]])),
        format!(
            "Fail APIService/v1alpha1.storage.k8s.io: volumeattributesclasses of storage.k8s.io/v1alpha1 were requested, and \
             v1.35 doesn't serve them: use storage.k8s.io/v1. {}",
            query("storage.k8s.io", "v1alpha1")
        )
    );
    // What fails counts more than who is too young to say anything.
    let found = judge(requests(
        Coverage::Address { running: Some(3) },
        &[&[YOUNG, &gone, &also]],
    ));
    assert_eq!(
        found,
        format!(
            "Fail APIService/v2beta1.apidiscovery.k8s.io: apigroupdiscoveries of apidiscovery.k8s.io/v2beta1 were requested, \
             and v1.35 doesn't serve them: use apidiscovery.k8s.io/v2. {}; so it is with \
             APIService v1alpha1.storage.k8s.io",
            query("apidiscovery.k8s.io", "v2beta1")
        )
    );
}

#[test]
fn a_newer_release_knows_better_when_an_api_goes_and_a_row_of_what_is_served_counts_for_nothing() {
    let judge_line = |line: String| judge(requests(Coverage::Pods, &[&[OLD, &line]]));
    // v1.34 said so of it, and it was put off.
    assert_eq!(
        judge_line(sample("resource.k8s.io/resourceclaims/v1beta1", "1.35")),
        "Pass"
    );
    // An API server that still serves what went in v1.25.
    assert_eq!(
        judge_line(sample("policy/poddisruptionbudgets/v1beta1", "1.36")),
        "Pass"
    );
    assert!(
        judge_line(sample("policy/poddisruptionbudgets/v1beta1", "1.35")).starts_with("Fail APIService/v1beta1.policy")
    );
    // Not Kubernetes' own.
    assert!(judge_line(sample("a.example.org/things/v1", "1.35")).contains("v1.35 doesn't serve them. Its clients"));
    assert_eq!(judge_line(sample("a.example.org/things/v1", "")), "Pass");
}

#[test]
fn writers_are_named() {
    let gone = sample("storage.k8s.io/volumeattributesclasses/v1alpha1", "1.35");
    let mut requests = requests(Coverage::Pods, &[&[OLD, &gone]]);
    let (api, successor) = requests.successors().remove(0);
    assert_eq!(successor.group_version(), "storage.k8s.io/v1");
    for (object, manager, version) in [
        ("gold", "helm", "v1alpha1"),
        ("silver", "helm", "v1"),
        ("iron", "kubectl\u{7}", "v1alpha1"),
        ("zinc", "other", "v1"),
    ] {
        let fields = json!({ "manager": manager, "apiVersion": format!("storage.k8s.io/{version}"), "fieldsV1": {} });
        let object = json!({ "metadata": { "name": object, "managedFields": [fields] } });
        requests.add_writers(&api, &serde_json::from_value(object).unwrap());
    }
    let found = judge(requests);
    assert!(
        found.contains(
            "use storage.k8s.io/v1. Written through it: volumeattributesclasses gold by helm, volumeattributesclasses iron by \
             kubectl. Other clients are only in the audit log: jq "
        ),
        "{found}"
    );
}

#[test]
fn what_an_api_server_cannot_say_is_unknown() {
    let young = requests(Coverage::Pods, &[&[OLD], &[YOUNG]]);
    assert_eq!(
        judge(young.clone()),
        "Unknown Cluster/c: API server kube-apiserver-1 started at 2026-11-20T11:30:00Z, and has to run for 1h (minUptime) \
         before its count of requests is believed"
    );
    let mut settings = modes([(CHECK, Enforcement::Enforce)]);
    settings.removed_apis.min_uptime = SignedDuration::from_mins(30);
    assert_eq!(judged(&upgrading(), &settings, young.clone()), "Pass");
    settings = modes([(CHECK, Enforcement::Enforce)]);
    settings.on_unknown = BTreeMap::from([(CHECK, OnUnknown::Warn)]);
    assert!(judged(&upgrading(), &settings, young).starts_with("Warn Cluster/c: API server kube-apiserver-1 started"));
    for (requests, says) in [
        (requests(Coverage::Pods, &[&[]]), "doesn't say when it started"),
        (
            requests(
                Coverage::Pods,
                &[&[OLD, "apiserver_requested_deprecated_apis{group=\"x"]],
            ),
            "1 lines of the API servers' metric of deprecated APIs can't be read",
        ),
        (
            requests(Coverage::Address { running: Some(3) }, &[&[OLD]]),
            "3 API servers run, none has a Pod in kube-system with the label component=kube-apiserver, and the one that \
             answered counts its own requests alone",
        ),
        (
            requests(Coverage::Address { running: None }, &[&[OLD]]),
            "it is not known how many API servers run",
        ),
    ] {
        let found = judge(requests);
        assert!(
            found.starts_with("Unknown Cluster/c: ") && found.contains(says),
            "{found}"
        );
    }
    assert_eq!(
        judge(requests(Coverage::Address { running: Some(1) }, &[&[OLD]])),
        "Pass"
    );
    let mut unread = ApiRequests::none(Coverage::Pods);
    let why = "its kubelet is gone".to_owned();
    unread.answered("kube-apiserver-a", ApiServerAnswer::Unread { why });
    assert_eq!(
        judge(unread),
        "Unknown Cluster/c: API server kube-apiserver-a was not read: its kubelet is gone"
    );
}

#[test]
fn a_managed_control_plane_need_not_answer() {
    let refusing = || {
        let mut requests = ApiRequests::none(Coverage::Address { running: None });
        let why = "it answered with HTTP 403".to_owned();
        requests.answered("api.example.org", ApiServerAnswer::Refused { why });
        requests
    };
    let of_kubeadm = judge(refusing());
    assert!(
        of_kubeadm.starts_with("Unknown Cluster/c: API server api.example.org doesn't say which APIs"),
        "{of_kubeadm}"
    );
    let mut managed = upgrading();
    let Some(Observed::Read(control_plane)) = &mut managed.control_plane else {
        panic!("no control plane");
    };
    control_plane.flavor = Flavor::Other;
    control_plane.replicas = None;
    let settings = PreflightSettings::default();
    let found = judged(&managed, &settings, refusing());
    assert!(
        found.starts_with("NotApplicable: ")
            && found.contains("has no machines, and API server api.example.org doesn't say which APIs are requested"),
        "{found}"
    );
    // What it says counts.
    let gone = sample("storage.k8s.io/volumeattributesclasses/v1alpha1", "1.35");
    let several = Coverage::Address { running: Some(2) };
    assert!(judged(&managed, &settings, requests(several, &[&[OLD, &gone]])).starts_with("Fail "));
    assert!(judged(&managed, &settings, requests(several, &[&[OLD]])).starts_with("NotApplicable: "));
    assert!(judged(&managed, &settings, requests(several, &[&[YOUNG]])).starts_with("Unknown "));
}

#[test]
fn what_a_policy_ignores_passes_and_so_does_a_patch() {
    let gone = sample("storage.k8s.io/volumeattributesclasses/v1alpha1", "1.35");
    let ignoring = |version: &str, resource: Option<&str>| {
        let ignored = IgnoredApi {
            group: "storage.k8s.io".to_owned(),
            version: version.to_owned(),
            resource: resource.map(str::to_owned),
        };
        let mut settings = PreflightSettings::default();
        settings.removed_apis.ignore = vec![ignored];
        judged(&upgrading(), &settings, requests(Coverage::Pods, &[&[OLD, &gone]]))
    };
    assert_eq!(ignoring("v1alpha1", None), "Pass");
    assert_eq!(ignoring("v1alpha1", Some("volumeattributesclasses")), "Pass");
    assert!(ignoring("v1alpha1", Some("csidrivers")).starts_with("Fail "));
    assert!(ignoring("v1beta1", None).starts_with("Fail "));
    let mut patch = upgrading();
    patch.upgrade_spec.target = instar_planner::Target::Text("v1.34.3".to_owned());
    assert_eq!(
        judged(
            &patch,
            &PreflightSettings::default(),
            requests(Coverage::Pods, &[&[YOUNG]])
        ),
        "NotApplicable: no API goes away within v1.34"
    );
}
