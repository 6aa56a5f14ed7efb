//! The checks before an upgrade begins: their names, what a policy makes of them, and what they found.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Enforcement,
    etcd_snapshot::{EtcdSnapshotParameters, EtcdSnapshotStatus},
    preflight_parameters::{OnUnknown, RemovedApisParameters, RemovedApisRule},
    schema,
};

macro_rules! preflight_checks {
    (@cluster) => { ClusterRead::Management };
    (@cluster $cluster:ident) => { ClusterRead::$cluster };
    ($($variant:ident = $name:literal, $mode:ident $(of $cluster:ident)?: $looks_at:literal, $remedy:literal;)+) => {
        /// A check before an upgrade begins.
        #[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum PreflightCheck {
            $(#[doc = $looks_at] #[serde(rename = $name)] $variant,)+
        }

        impl PreflightCheck {
            /// All checks, in the order in which they are reported and documented.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it reads.
            #[must_use]
            pub const fn reads(self) -> ClusterRead {
                match self {
                    $(Self::$variant => preflight_checks!(@cluster $($cluster)?),)+
                }
            }

            /// The mode where no policy sets one. Of a check that reads workload clusters, where a policy lets it.
            #[must_use]
            pub const fn default_mode(self) -> Enforcement {
                match self {
                    $(Self::$variant => Enforcement::$mode,)+
                }
            }

            /// What it looks at, and when it fails.
            #[must_use]
            pub const fn looks_at(self) -> &'static str {
                match self {
                    $(Self::$variant => $looks_at,)+
                }
            }

            /// What to do when it fails.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)+
                }
            }
        }
    };
}

preflight_checks! {
    ClusterAvailable = "cluster-available", Enforce:
        "Cluster API's condition `Available` of the Cluster is True. With MachinePools, of which Cluster API doesn't say \
         whether they are available, its other conditions count.",
        "solve what Cluster API's message says";
    ControlPlaneHealthy = "control-plane-healthy", Enforce:
        "The conditions `Available`, `EtcdClusterHealthy` and `ControlPlaneComponentsHealthy` of a KubeadmControlPlane are \
         True, and all machines of the control plane are ready, as far as its provider counts them.",
        "repair the control plane first: an upgrade takes its machines away one by one";
    MachinesReady = "machines-ready", Warn:
        "The condition `MachinesReady` of every MachineDeployment and MachinePool is True.",
        "repair or delete the machines that the message names, or the upgrade may wait for them";
    NoRolloutUnderWay = "no-rollout-under-way", Warn:
        "No MachineDeployment is replacing machines.",
        "wait for the rollout, or its machines are replaced twice";
    ControlPlaneFlags = "control-plane-flags", Enforce:
        "The KubeadmControlPlane and the KubeadmConfigTemplates of a classic cluster's MachineDeployments set no flag, no \
         feature gate and no admission plugin that Kubernetes has no more in a minor on the way, and no gate to a value \
         that it doesn't take there. Of a topology cluster, whose class may render something else at another version, it \
         only warns, and so it does of gates that are deprecated, and of kubeadm's own that are gone.",
        "take what the message names out of the KubeadmControlPlane, or out of a new KubeadmConfigTemplate, and let the \
         machines be replaced: the component doesn't start with it";
    TemplatesPresent = "templates-present", Enforce:
        "The machine templates and bootstrap templates to which the control plane and the MachineDeployments of a classic \
         cluster refer are there, and none is being deleted.",
        "create the template again, or point to another one";
    Disks = "disks", Warn:
        "Nothing is deleted with the machines that may be missed: their templates add no disks, as far as the provider is \
         known. What is on a machine's first disk always goes with it.",
        "back up what has to stay, or move it to persistent volumes";
    CapiReady = "capi-ready", Enforce:
        "The release of Cluster API that clusterctl installed manages the target's minor, as Cluster API's book says. Where \
         Instar's table says nothing of either, and where it manages an older minor no longer, it only warns.",
        "upgrade Cluster API first";
    EtcdSnapshot = "etcd-snapshot", Off:
        "Of the objects that `etcdSnapshot` of the policy's check names, one reports a snapshot of etcd that can be restored \
         (`readyWhen`) and is at most `maxAge` old.",
        "make a snapshot of etcd, and begin when the object reports it";
    MachineImagePresent = "machine-image-present", Off of Infrastructure:
        "The VM template that a release on the way has for a pool of VSphereMachineTemplates is in the vCenter of the \
         VSphereCluster. Of a topology cluster it only warns of one between, since the class may lead through another \
         release of that minor. Images of other kinds are not looked for.",
        "upload the VM template under the path that the message names, or create a release with the right path and a higher \
         revision";
    NodesReady = "nodes-ready", Warn of Workload:
        "The condition `Ready` of every Node of the workload cluster is True, and its kubelet reported within 12 minutes.",
        "repair or delete the machines of the Nodes that the message names, or the upgrade may wait for them";
    KubeletSkew = "kubelet-skew", Enforce of Workload:
        "No kubelet of the workload cluster is newer than its API servers, and of Nodes that no Machine and no MachinePool \
         owns, which no upgrade replaces, none is too old for the target (3 minors, 2 before v1.25).",
        "upgrade the kubelets of the Nodes that the message names, or delete these Nodes";
    WebhooksInTheWay = "webhooks-in-the-way", Enforce of Workload:
        "No webhook of the workload cluster that refuses what it can't judge (`failurePolicy: Fail`) is asked about Nodes, Pods \
         of kube-system and the like, and has no ready endpoint. One that has endpoints now, or answers by a URL, is \
         warned of, and so is one that lets such requests through after more than 15 s.",
        "let the webhook leave out kube-system (`namespaceSelector`), set its failurePolicy to Ignore, or repair its Service";
    PodDisruptionBudgets = "pod-disruption-budgets", Enforce of Workload:
        "The API server of the workload cluster would evict every Pod that Cluster API's drain evicts and that a \
         PodDisruptionBudget may hold, as a dry run says. Where the machines have a `nodeDrainTimeoutSeconds`, it is warned of \
         what would be held.",
        "let the budget allow a disruption (more replicas, a higher maxUnavailable, one budget for each Pod), or set \
         deletion.nodeDrainTimeoutSeconds of the machines";
    RemovedApis = "removed-apis", Enforce of Workload:
        "No API server of the workload cluster counts a request for an API that Kubernetes has no more in a minor on the way, \
         since each of them started. One that has run for less than `minUptime` (1 h) says too little.",
        "let the clients that the message names use the API's newer version, and restart the API servers, which forget no \
         request before; list an API whose requests don't matter in `removedApis.ignore` of the policy's check";
    CertificateAuthorities = "certificate-authorities", Enforce of Workload:
        "The certificate authorities of the API server, of its clients and of its front proxy end in more than 30 days. Of \
         one that ends within a year it is warned.",
        "renew the certificate authority first: Cluster API doesn't, and what a new machine is given ends with it";
}

/// What a check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterRead {
    /// What the controller watches anyway.
    Management,
    /// What the infrastructure provider makes machines with, such as a vCenter.
    Infrastructure,
    /// The API server of the workload cluster. Where no policy lets that be read, it is Off unless a policy names it.
    Workload,
}

impl fmt::Display for PreflightCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is checked before an upgrade begins.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PreflightPolicy {
    /// The checks that don't have their default mode. Where several policies select a Cluster and name a check, the
    /// strictest mode counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub checks: Vec<PreflightCheckSetting>,
}

impl PreflightPolicy {
    /// Whether it says nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }
}

/// A check, and what becomes of an upgrade when it fails.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.removedApis) || self.name == 'removed-apis'").message("removedApis is for the check removed-apis alone"),
    validation = Rule::new("!has(self.etcdSnapshot) || self.name == 'etcd-snapshot'").message("etcdSnapshot is for the check etcd-snapshot alone"),
    validation = Rule::new("has(self.etcdSnapshot) || self.name != 'etcd-snapshot' || self.mode == 'Off'").message("the check etcd-snapshot needs etcdSnapshot, which says where snapshots are reported"),
    validation = Rule::new("!has(self.deadline) || (duration(self.deadline) >= duration('1s') && duration(self.deadline) <= duration('45s'))").message("deadline has to be from 1s to 45s"),
    validation = Rule::new("!has(self.deadline) || self.name in ['etcd-snapshot', 'machine-image-present', 'nodes-ready', 'kubelet-skew', 'webhooks-in-the-way', 'pod-disruption-budgets', 'removed-apis', 'certificate-authorities']").message("deadline is for checks that read an API server or a vCenter")
)]
pub struct PreflightCheckSetting {
    /// The check; docs/reference/preflight.md lists them.
    pub name: PreflightCheck,

    /// Enforce: the upgrade doesn't begin. Warn: it begins, and its status says so. Off: nothing is checked.
    pub mode: Enforcement,

    /// What becomes of an upgrade while the check can't say whether all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,

    /// How long one look of a check that reads an API server or a vCenter may take, from 1s to 45s: what isn't read by then is Unknown.
    /// Absent: as long as all of them together, 45s. Checks that read the same share the longest, and so do policies.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "jiff::fmt::serde::duration::friendly::compact::optional"
    )]
    #[schemars(schema_with = "schema::optional_duration")]
    pub deadline: Option<SignedDuration>,

    /// What the check removed-apis lets pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_apis: Option<RemovedApisParameters>,

    /// Where the check etcd-snapshot finds snapshots. If several policies select a Cluster, each of them has to be
    /// satisfied, but for those whose mode is Off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd_snapshot: Option<EtcdSnapshotParameters>,
}

/// What policies say of the checks together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PreflightSettings {
    /// The modes of the checks that a policy names.
    pub modes: BTreeMap<PreflightCheck, Enforcement>,
    /// What becomes of an upgrade while a check can't say; one that isn't there holds it.
    pub on_unknown: BTreeMap<PreflightCheck, OnUnknown>,
    /// The parameters of removed-apis.
    pub removed_apis: RemovedApisRule,
    /// How long a look may take; one that isn't there has no deadline of its own.
    pub deadlines: BTreeMap<PreflightCheck, SignedDuration>,
    /// What each policy asks of the snapshots of etcd.
    pub etcd_snapshots: Vec<EtcdSnapshotParameters>,
}

impl PreflightSettings {
    /// Of policies that name a check, the strictest mode counts. Pass those that select the Cluster.
    #[must_use]
    pub fn of<'a>(policies: impl IntoIterator<Item = &'a PreflightPolicy>) -> Self {
        let settings: Vec<&PreflightCheckSetting> = policies.into_iter().flat_map(|policy| &policy.checks).collect();
        let (mut modes, mut on_unknown, mut deadlines) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for setting in &settings {
            let mode = modes.entry(setting.name).or_insert(setting.mode);
            *mode = setting.mode.max(*mode);
            if let Some(set) = setting.on_unknown {
                let strictest = on_unknown.entry(setting.name).or_insert(set);
                *strictest = set.max(*strictest);
            }
            if let Some(set) = setting.deadline {
                let longest = deadlines.entry(setting.name).or_insert(set);
                *longest = set.max(*longest);
            }
        }
        let is_on = |setting: &&&PreflightCheckSetting| setting.mode != Enforcement::Off;
        let etcd_snapshots = settings
            .iter()
            .filter(is_on)
            .filter_map(|setting| setting.etcd_snapshot.clone())
            .collect();
        let removed_apis = settings.iter().filter_map(|setting| setting.removed_apis.as_ref());
        Self {
            modes,
            on_unknown,
            removed_apis: RemovedApisRule::of_all(removed_apis),
            deadlines,
            etcd_snapshots,
        }
    }
}

/// What is asked of the checks of one upgrade.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PreflightSpec {
    /// The checks that don't hold this upgrade when they fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub skip: Vec<PreflightSkip>,
}

impl PreflightSpec {
    /// Whether it asks for nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.skip.is_empty()
    }
}

/// A check that doesn't hold one upgrade.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PreflightSkip {
    /// The check.
    pub name: PreflightCheck,

    /// Why, for the record: "md-1 has no power until Monday".
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,

    /// Until when it counts; absent: until the upgrade is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub until: Option<Timestamp>,

    /// Who skipped it. Admission writes it, whatever the request says, and without it the skip doesn't count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<SetBy>,
}

/// Who let an upgrade through, and when.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SetBy {
    /// The user, as the API server knows them.
    #[schemars(length(min = 1, max = 512))]
    pub user: String,

    /// The time of the request.
    #[schemars(schema_with = "schema::time")]
    pub time: Timestamp,
}

/// What a check found.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PreflightStatus {
    /// The check.
    pub check: PreflightCheck,

    /// What it came to.
    pub result: PreflightResult,

    /// The kind of the object that it is about; absent where no single object is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub kind: String,

    /// The name of that object, in the Cluster's namespace or, for a check that reads it, in the workload cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub name: String,

    /// What is wrong, and what to do; of a skipped check who skipped it and why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,

    /// Of the check etcd-snapshot: the newest snapshot that can be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<EtcdSnapshotStatus>,

    /// When it came to this result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub since: Option<Time>,
}

/// What a check came to.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreflightResult {
    /// All is as it should be.
    Pass,
    /// Something is wrong, or can't be said, and the mode of the check is Warn: the upgrade isn't held.
    Warn,
    /// Something is wrong: the upgrade doesn't begin.
    Fail,
    /// It can't be said, which holds the upgrade as a failure does.
    Unknown,
    /// Something is wrong, or can't be said, and the ClusterUpgrade skips the check.
    Skipped,
    /// The Cluster has nothing that could be looked at.
    NotApplicable,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(checks: &[serde_json::Value]) -> PreflightSettings {
        let policy = |check: &serde_json::Value| -> PreflightPolicy {
            serde_json::from_value(json!({ "checks": [check] })).unwrap()
        };
        let policies: Vec<PreflightPolicy> = checks.iter().map(policy).collect();
        PreflightSettings::of(&policies)
    }

    #[test]
    fn the_strictest_mode_counts() {
        let check = |mode: &str| json!({ "name": "machines-ready", "mode": mode });
        let (off, warn, enforce) = (check("Off"), check("Warn"), check("Enforce"));
        let mode = |checks: &[serde_json::Value]| settings(checks).modes.remove(&PreflightCheck::MachinesReady);
        assert_eq!(mode(&[]), None);
        assert_eq!(mode(std::slice::from_ref(&off)), Some(Enforcement::Off));
        assert_eq!(mode(&[off.clone(), enforce, warn.clone()]), Some(Enforcement::Enforce));
        assert_eq!(mode(&[warn, off]), Some(Enforcement::Warn));
    }

    #[test]
    fn holding_counts_more_than_warning_where_a_policy_says_either() {
        let check =
            |on_unknown: Option<&str>| json!({ "name": "removed-apis", "mode": "Enforce", "onUnknown": on_unknown });
        let (absent, warn, hold) = (check(None), check(Some("Warn")), check(Some("Hold")));
        let on_unknown =
            |checks: &[serde_json::Value]| settings(checks).on_unknown.remove(&PreflightCheck::RemovedApis);
        assert_eq!(on_unknown(std::slice::from_ref(&absent)), None);
        assert_eq!(on_unknown(&[absent, warn.clone()]), Some(OnUnknown::Warn));
        assert_eq!(on_unknown(&[hold, warn]), Some(OnUnknown::Hold));
    }

    #[test]
    fn all_that_is_ignored_and_the_longest_uptime_count() {
        let check = |parameters: serde_json::Value| json!({ "name": "removed-apis", "mode": "Enforce", "removedApis": parameters });
        let hour = SignedDuration::from_hours(1);
        assert_eq!(settings(&[]).removed_apis.min_uptime, hour);
        assert_eq!(
            settings(&[check(json!({ "ignore": [] }))]).removed_apis.min_uptime,
            hour
        );
        let ignored = |resource: Option<&str>| json!({ "group": "g", "version": "v1", "resource": resource });
        let rule = settings(&[
            check(json!({ "minUptime": "10m", "ignore": [ignored(Some("a"))] })),
            check(json!({ "minUptime": "0s", "ignore": [ignored(Some("b"))] })),
        ])
        .removed_apis;
        assert_eq!(rule.min_uptime, SignedDuration::from_mins(10));
        let is_ignored = |rule: &RemovedApisRule, resource: &str| {
            rule.ignore.iter().any(|ignored| ignored.matches("g", "v1", resource))
        };
        assert_eq!(
            ["a", "b", "c"].map(|resource| is_ignored(&rule, resource)),
            [true, true, false]
        );
        let all = settings(&[check(json!({ "ignore": [ignored(None)] }))]).removed_apis;
        assert!(is_ignored(&all, "c") && !all.ignore[0].matches("g", "v2", "c"));
    }

    #[test]
    fn the_longest_deadline_counts() {
        let check = |deadline: &str| json!({ "name": "nodes-ready", "mode": "Warn", "deadline": deadline });
        assert_eq!(settings(&[]).deadlines, BTreeMap::new());
        let deadlines = settings(&[check("5s"), check("20s"), check("10s")]).deadlines;
        let longest = SignedDuration::from_secs(20);
        assert_eq!(deadlines, BTreeMap::from([(PreflightCheck::NodesReady, longest)]));
    }

    /// The rule of the schema lists them by hand.
    #[test]
    fn a_deadline_is_for_all_that_read_an_api_server() {
        let rule = include_str!("preflight.rs");
        let (_, list) = rule.split_once("!has(self.deadline) || self.name in [").unwrap();
        let (list, _) = list.split_once(']').unwrap();
        let mut listed: Vec<&str> = list.split(", ").map(|name| name.trim_matches('\'')).collect();
        listed.sort_unstable();
        let reads = |check: &&PreflightCheck| {
            check.reads() != ClusterRead::Management || **check == PreflightCheck::EtcdSnapshot
        };
        let mut names: Vec<&str> = PreflightCheck::ALL
            .iter()
            .filter(reads)
            .map(|check| check.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(listed, names);
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for check in PreflightCheck::ALL {
            assert_eq!(serde_json::to_value(check).unwrap(), json!(check.as_str()));
        }
    }
}
