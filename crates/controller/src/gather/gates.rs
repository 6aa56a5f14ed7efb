//! The gates of an upgrade, as the policies and the time say.

use std::collections::{BTreeMap, BTreeSet};

use instar_addons::{SnapshotQuery, SnapshotReading};
use instar_api::{
    Canary, ClusterUpgrade, FailurePolicy, GatePoint, Maintenance, MinorRollback, OnClose, PreflightSettings,
    UpgradePolicySpec, VcenterAccess, WorkloadAccess, vcenter_access, workload_access,
};
use instar_capi as capi;
use instar_gates::{MaintenanceWindows, WindowState};
use instar_planner::{
    Approvals, CanaryRule, FailureRule, Gate, GateState, ProgressDeadline, Snapshot, Unreadable, checks_are_asked,
};
use instar_preflight::{
    examine, images, probes, snapshots,
    workload::{ClusterApiVersion, ImageAt, Probe, Readings, Workload},
};
use instar_watch::Key;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    caches::Caches,
    policy::selecting,
    upgrade_spec::{existing_rollback, rollback_name},
};

/// Looks at all that may hold an upgrade under way, but for the checks, of which it gives the rules: some read templates.
pub(super) fn look(
    caches: &Caches,
    cluster: &capi::Cluster,
    upgrade: &ClusterUpgrade,
    snapshot: &mut Snapshot,
) -> CheckRules {
    let namespace = cluster.namespace().unwrap_or_default();
    let policies = caches.policies(&namespace);
    let policies: Vec<&UpgradePolicySpec> = selecting(&policies, cluster.labels()).collect();
    snapshot.gates = match caches.unreadable_policies(&namespace).first() {
        // What isn't known is closed: it may have windows.
        Some(Unreadable { kind, name, reason }) => closed(
            format!("{kind} {name} can't be read, so its windows are not known: {reason}; correct it"),
            None,
        ),
        None => gates(&policies, upgrade, snapshot.now),
    };
    snapshot.on_close = OnClose::of_all(policies.iter().map(|policy| policy.maintenance.on_close));
    snapshot.minor_rollback = MinorRollback::of_all(policies.iter().map(|policy| policy.rollback));
    snapshot.failure_rule = failure_rule(caches, cluster, upgrade, &policies);
    let rules = CheckRules {
        settings: PreflightSettings::of(policies.iter().map(|policy| &policy.preflight)),
        access: access(caches, &namespace, &policies),
        vcenters: vcenters(caches, &namespace, &policies),
    };
    // The others are for what is new.
    if snapshot.upgrade_spec.operation.rollback().is_some() {
        return rules;
    }
    snapshot.addons.of_policies = points(&policies, &rules.access);
    snapshot.approvals = approvals(&policies, upgrade);
    snapshot.canary = canary(&policies, upgrade);
    rules
}

/// What becomes of the upgrade where it fails. A policy that can't be read may say Hold.
fn failure_rule(
    caches: &Caches,
    cluster: &capi::Cluster,
    upgrade: &ClusterUpgrade,
    policies: &[&UpgradePolicySpec],
) -> FailureRule {
    let of_policies = policies.iter().map(|policy| policy.rollback.failure);
    let said = FailurePolicy::of_all(of_policies.chain([upgrade.spec.rollback]));
    let namespace = cluster.namespace().unwrap_or_default();
    let is_known = caches.unreadable_policies(&namespace).is_empty();
    let progress_deadline = said
        .progress_deadline
        .map_or(ProgressDeadline::Measured, ProgressDeadline::Fixed);
    let named = caches.upgrade(&Key::new(&namespace, &rollback_name(upgrade)));
    FailureRule {
        on_failure: said.on_failure.filter(|_| is_known).unwrap_or_default(),
        progress_deadline,
        grace: progress_deadline.grace(),
        stood: None,
        created: named.map(|named| existing_rollback(upgrade, &named)),
    }
}

/// The points at which policies ask for something. Where the workload cluster is read, its own components are verified.
fn points(policies: &[&UpgradePolicySpec], access: &WorkloadAccess) -> BTreeSet<GatePoint> {
    let gates = policies.iter().flat_map(|policy| &policy.gates).map(|gate| gate.when);
    let is_verified = reads_workload(access) || policies.iter().any(|policy| !policy.verification.is_empty());
    gates.chain(is_verified.then_some(GatePoint::AfterWorkers)).collect()
}

/// Whether what the workload cluster says counts. Where it isn't clear by which Secret it is read, that isn't known.
pub(super) const fn reads_workload(access: &WorkloadAccess) -> bool {
    match access {
        WorkloadAccess::Enabled(_) | WorkloadAccess::Unclear(_) => true,
        WorkloadAccess::Disabled => false,
    }
}

/// What the policies say of the checks of a Cluster, and of its workload cluster.
pub(crate) struct CheckRules {
    pub(crate) settings: PreflightSettings,
    pub(crate) access: WorkloadAccess,
    pub(crate) vcenters: VcenterAccess,
}

/// Asks the checks of a snapshot that has all that they read.
pub(crate) fn preflight(
    rules: &CheckRules,
    upgrade: &ClusterUpgrade,
    readings: &Readings,
    snapshots: &[SnapshotReading],
    cluster_api: &ClusterApiVersion,
    snapshot: &mut Snapshot,
) {
    if checks_are_asked(snapshot) {
        let workload = Workload {
            access: &rules.access,
            readings,
            snapshots,
            cluster_api,
        };
        snapshot.preflight = examine(snapshot, &rules.settings, &upgrade.spec.preflight.skip, workload);
    }
}

/// What the policies and the upgrade ask for together.
fn canary(policies: &[&UpgradePolicySpec], upgrade: &ClusterUpgrade) -> Option<CanaryRule> {
    let of_policies = policies.iter().filter_map(|policy| policy.canary);
    let Canary { pools, bake } = Canary::of_all(of_policies.chain(upgrade.spec.strategy.canary))?;
    Some(CanaryRule {
        pools: usize::from(pools),
        bake,
    })
}

/// What has to be read of the workload cluster for the checks of an upgrade that waits; nothing where no policy lets it.
pub(crate) fn wanted_probes(rules: &CheckRules, snapshot: &Snapshot) -> BTreeSet<Probe> {
    match &rules.access {
        WorkloadAccess::Enabled(_) if checks_are_asked(snapshot) => probes(&rules.settings, &rules.access),
        WorkloadAccess::Enabled(_) | WorkloadAccess::Disabled | WorkloadAccess::Unclear(_) => BTreeSet::new(),
    }
}

/// The images that have to be looked for, of an upgrade that waits.
pub(crate) fn wanted_images(rules: &CheckRules, snapshot: &Snapshot) -> BTreeSet<ImageAt> {
    if checks_are_asked(snapshot) {
        images(snapshot, &rules.settings, &rules.access)
    } else {
        BTreeSet::new()
    }
}

/// What has to be looked at for snapshots of etcd, of an upgrade that waits.
pub(crate) fn wanted_snapshots(
    rules: &CheckRules,
    snapshot: &Snapshot,
    known: &[SnapshotReading],
) -> Vec<SnapshotQuery> {
    if checks_are_asked(snapshot) {
        snapshots(snapshot, &rules.settings, &rules.access, known)
    } else {
        Vec::new()
    }
}

/// A policy that can't be read may say Disabled.
fn access(caches: &Caches, namespace: &str, policies: &[&UpgradePolicySpec]) -> WorkloadAccess {
    let access = workload_access(policies.iter().map(|policy| &policy.workload));
    match (&access, caches.unreadable_policies(namespace).first()) {
        (WorkloadAccess::Enabled(_), Some(Unreadable { kind, name, reason })) => WorkloadAccess::Unclear(format!(
            "{kind} {name} can't be read, so it isn't known whether the workload cluster may be: {reason}; correct it"
        )),
        (WorkloadAccess::Enabled(_) | WorkloadAccess::Disabled | WorkloadAccess::Unclear(_), _) => access,
    }
}

/// A policy that can't be read may have a list.
fn vcenters(caches: &Caches, namespace: &str, policies: &[&UpgradePolicySpec]) -> VcenterAccess {
    match caches.unreadable_policies(namespace).first() {
        Some(Unreadable { kind, name, reason }) => VcenterAccess::Unclear(format!(
            "{kind} {name} can't be read, so it isn't known whether its vCenter may be asked: {reason}; correct it"
        )),
        None => vcenter_access(policies.iter().map(|policy| &policy.vsphere)),
    }
}

/// What the policies ask to be approved, and what was: by a user that admission has written down, for the present target.
fn approvals(policies: &[&UpgradePolicySpec], upgrade: &ClusterUpgrade) -> Approvals {
    let required = policies.iter().flat_map(|policy| &policy.approval.before).copied();
    let spec = &upgrade.spec;
    let given = spec.approvals.iter().filter_map(|approval| {
        let counts = approval.set_by.is_some() && approval.target == spec.target;
        let version = approval.version.parse().ok()?;
        counts.then_some((approval.before, version))
    });
    Approvals {
        required: required.collect(),
        given: given.collect(),
    }
}

fn gates(policies: &[&UpgradePolicySpec], upgrade: &ClusterUpgrade, now: Timestamp) -> BTreeMap<Gate, GateState> {
    let overridden = upgrade.spec.override_window.as_ref();
    let overridden = overridden.filter(|window| window.counts(now));
    let mut found = window(policies.iter().map(|policy| &policy.maintenance), now);
    match overridden.map(|window| window.until) {
        None => found,
        Some(None) => BTreeMap::new(),
        // What is let go until then isn't let go any longer.
        Some(until) => {
            for state in found.values_mut() {
                *state = GateState::Open { until };
            }
            found
        }
    }
}

fn window<'a>(policies: impl IntoIterator<Item = &'a Maintenance>, now: Timestamp) -> BTreeMap<Gate, GateState> {
    let policies = policies.into_iter().filter(|maintenance| maintenance.closes());
    let policies: Vec<_> = policies.collect();
    if policies.is_empty() {
        return BTreeMap::new();
    }
    match MaintenanceWindows::read(policies) {
        Ok(windows) => match windows.at(now) {
            WindowState::Open { closes: until } => BTreeMap::from([(Gate::Window, GateState::Open { until })]),
            WindowState::Closed { by, opens } => closed(by.to_string(), opens),
        },
        // Admission refuses it, so it was written while admission was off.
        Err(error) => closed(format!("{error}; correct the UpgradePolicy"), None),
    }
}

fn closed(reason: String, until: Option<Timestamp>) -> BTreeMap<Gate, GateState> {
    BTreeMap::from([(Gate::Window, GateState::Closed { reason, until })])
}

#[cfg(test)]
mod tests {
    use instar_api::{ClusterUpgradeSpec, SecretNameTemplate, SetBy, WindowOverride};
    use serde_json::{Value, json};

    use super::*;

    fn at(maintenance: &[Value], now: &str) -> BTreeMap<Gate, GateState> {
        let policy = |maintenance: &Value| -> UpgradePolicySpec {
            serde_json::from_value(json!({ "maintenance": maintenance })).unwrap()
        };
        let policies: Vec<_> = maintenance.iter().map(policy).collect();
        window(policies.iter().map(|policy| &policy.maintenance), now.parse().unwrap())
    }

    #[test]
    fn the_end_is_asked_for_where_the_workload_cluster_is_read_or_workloads_are_named() {
        let policy = |spec: Value| -> UpgradePolicySpec { serde_json::from_value(spec).unwrap() };
        let named = policy(json!({ "verification": { "workloads": [
            { "kind": "DaemonSet", "namespace": "kube-system", "name": "cilium" },
        ] } }));
        let empty = policy(json!({}));
        let end = BTreeSet::from([GatePoint::AfterWorkers]);
        let enabled = WorkloadAccess::Enabled(SecretNameTemplate::default());
        for (of, access, asked) in [
            (&empty, WorkloadAccess::Disabled, BTreeSet::new()),
            (&named, WorkloadAccess::Disabled, end.clone()),
            (&empty, enabled, end.clone()),
            (&empty, WorkloadAccess::Unclear("two Secrets".to_owned()), end),
        ] {
            assert_eq!(points(&[of], &access), asked, "{access:?}");
        }
    }

    #[test]
    fn what_overrides_the_windows_ends_when_it_says() {
        let policy: UpgradePolicySpec = serde_json::from_value(json!({ "maintenance": {
            "windows": [{ "name": "night", "schedule": "0 22 * * *", "duration": "1h" }],
        }}))
        .unwrap();
        let at = |policies: &[&UpgradePolicySpec], until: Option<&str>, now: &str| {
            let mut upgrade = ClusterUpgrade::new("up", ClusterUpgradeSpec::default());
            upgrade.spec.override_window = Some(WindowOverride {
                reason: "the CVE of Friday".to_owned(),
                until: until.map(|until| until.parse().unwrap()),
                set_by: Some(SetBy {
                    user: "alice".to_owned(),
                    time: Timestamp::UNIX_EPOCH,
                }),
            });
            gates(policies, &upgrade, now.parse().unwrap())
        };
        let (noon, one) = ("2026-11-29T12:00:00Z", "2026-11-29T13:00:00Z");
        let until = Some(one.parse().unwrap());
        let open = BTreeMap::from([(Gate::Window, GateState::Open { until })]);
        assert_eq!(at(&[&policy], None, noon), BTreeMap::new());
        assert_eq!(at(&[&policy], Some(one), noon), open);
        assert_eq!(at(&[], Some(one), noon), BTreeMap::new());
        assert!(matches!(
            at(&[&policy], Some(one), one).get(&Gate::Window),
            Some(GateState::Closed { .. })
        ));
    }

    #[test]
    fn a_window_of_any_policy_opens_and_what_cannot_be_read_closes() {
        let nightly = |hour: u8| json!({ "windows": [{ "name": hour.to_string(), "schedule": format!("0 {hour} * * *"), "duration": "1h" }] });
        let noon = "2026-11-29T12:30:00Z";
        assert_eq!(at(&[], noon), BTreeMap::new());
        let until = Some("2026-11-29T13:00:00Z".parse().unwrap());
        assert_eq!(
            at(&[nightly(22), nightly(12)], noon),
            BTreeMap::from([(Gate::Window, GateState::Open { until })])
        );
        assert_eq!(
            at(&[nightly(22), nightly(13)], noon),
            closed(
                "no maintenance window is open (of \"22\", \"13\")".to_owned(),
                Some("2026-11-29T13:00:00Z".parse().unwrap())
            )
        );
        let bad =
            json!({ "windows": [{ "name": "bad", "schedule": "0 22 * * *", "duration": "1h", "timeZone": "Mars" }] });
        let found = at(&[nightly(12), bad], noon);
        let Some(GateState::Closed { reason, until: None }) = found.get(&Gate::Window) else {
            panic!("{found:?}");
        };
        assert!(
            reason.starts_with("window \"bad\": \"Mars\" is not a time zone")
                && reason.ends_with("correct the UpgradePolicy"),
            "{reason}"
        );
    }
}
