//! The checks that read the workload cluster.

use std::sync::Arc;

use instar_api::{KubernetesReleaseSpec, SecretNameTemplate};
use instar_catalog::Catalog;
use serde_json::Value;

use super::*;
use crate::workload::{
    ApiRequests, Authorities, AuthoritySource, BudgetReader, Budgets, Coverage, Endpoints, Extent, Facts, Nodes,
    Reading, Verdict, Webhooks,
};

pub(super) fn enabled() -> WorkloadAccess {
    WorkloadAccess::Enabled(SecretNameTemplate::default())
}

pub(super) fn readings(facts: impl IntoIterator<Item = (Probe, Facts)>) -> Readings {
    let at = "2026-11-20T11:59:30Z".parse().unwrap();
    let read = facts.into_iter().map(|(probe, facts)| {
        let reading = Reading { at, found: Ok(facts) };
        (probe, Arc::new(reading))
    });
    read.collect()
}

fn all_well() -> Readings {
    readings([
        (
            Probe::Nodes,
            Facts::Nodes(nodes(&[node("a", "v1.34.3", "True", OWNED)])),
        ),
        (Probe::Webhooks, Facts::Webhooks(Webhooks::none())),
        (Probe::Budgets, Facts::Budgets(Budgets::default())),
        (Probe::Authorities, Facts::Authorities(Authorities::default())),
        (
            Probe::ApiRequests,
            Facts::ApiRequests(ApiRequests::none(Coverage::Pods)),
        ),
    ])
}

const OWNED: &str = "cluster.x-k8s.io/machine";
const LONE: &str = "node.alpha.kubernetes.io/ttl";

fn node(name: &str, kubelet: &str, ready: &str, annotation: &str) -> Value {
    json!({
        "metadata": { "name": name, "annotations": { annotation: "0" } },
        "status": {
            "conditions": [{ "type": "Ready", "status": ready, "reason": "KubeletNotReady", "message": "CNI is not ready" }],
            "nodeInfo": { "kubeletVersion": kubelet },
        },
    })
}

fn nodes(nodes: &[Value]) -> Nodes {
    let mut read = Nodes::none();
    for node in nodes {
        read.add(serde_json::from_value(node.clone()).unwrap(), well().now);
    }
    read
}

/// v1.34.3 runs, and v1.35 is v1.35.2.
pub(super) fn upgrading() -> Snapshot {
    let row: KubernetesReleaseSpec =
        serde_json::from_value(json!({ "version": "v1.35.2", "components": {}, "images": [] })).unwrap();
    Snapshot {
        catalog: Arc::new(Catalog::new([("v1-35-2", &row)])),
        ..well()
    }
}

/// What one check comes to with what was read, in one line.
fn one(check: PreflightCheck, access: &WorkloadAccess, readings: &Readings) -> String {
    one_of(&upgrading(), check, access, readings)
}

fn one_of(snapshot: &Snapshot, check: PreflightCheck, access: &WorkloadAccess, readings: &Readings) -> String {
    one_with(
        snapshot,
        &modes([(check, Enforcement::Enforce)]),
        check,
        access,
        readings,
    )
}

pub(super) fn one_with(
    snapshot: &Snapshot,
    settings: &PreflightSettings,
    check: PreflightCheck,
    access: &WorkloadAccess,
    readings: &Readings,
) -> String {
    let workload = Workload {
        access,
        readings,
        snapshots: &[],
        cluster_api: &ClusterApiVersion::NotListed,
    };
    let outcomes = examine(snapshot, settings, &[], workload);
    let outcome = outcomes.into_iter().find(|outcome| outcome.check == check).unwrap();
    match outcome.outcome {
        PreflightOutcome::Pass => "Pass".to_owned(),
        PreflightOutcome::Warn(problem) => format!("Warn {}/{}: {}", problem.kind, problem.name, problem.message),
        PreflightOutcome::Fail(problem) => format!("Fail {}/{}: {}", problem.kind, problem.name, problem.message),
        PreflightOutcome::Unknown(problem) => format!("Unknown {}/{}: {}", problem.kind, problem.name, problem.message),
        PreflightOutcome::NotApplicable(reason) => format!("NotApplicable: {reason}"),
        PreflightOutcome::Skipped { .. } => "Skipped".to_owned(),
    }
}

fn of_nodes(check: PreflightCheck, read: &[Value]) -> String {
    one(
        check,
        &enabled(),
        &readings([(Probe::Nodes, Facts::Nodes(nodes(read)))]),
    )
}

#[test]
fn they_are_off_unless_a_policy_lets_them_read() {
    let asked = |access: &WorkloadAccess, modes: &PreflightSettings| {
        let outcomes = examine(
            &upgrading(),
            modes,
            &[],
            Workload {
                access,
                readings: &all_well(),
                snapshots: &[],
                cluster_api: &ClusterApiVersion::NotListed,
            },
        );
        let of_workload = outcomes
            .iter()
            .filter(|outcome| outcome.check.reads() == ClusterRead::Workload);
        of_workload.count()
    };
    let all = PreflightCheck::ALL
        .iter()
        .filter(|check| check.reads() == ClusterRead::Workload);
    assert_eq!(asked(&WorkloadAccess::Disabled, &PreflightSettings::default()), 0);
    assert_eq!(asked(&enabled(), &PreflightSettings::default()), all.clone().count());
    let off = modes(all.map(|check| (*check, Enforcement::Off)));
    assert_eq!(asked(&enabled(), &off), 0);
    assert!(probes(&off, &enabled()).is_empty());
    assert!(probes(&PreflightSettings::default(), &WorkloadAccess::Disabled).is_empty());
    assert_eq!(
        probes(&PreflightSettings::default(), &enabled()),
        BTreeSet::from([
            Probe::Nodes,
            Probe::Webhooks,
            Probe::Budgets,
            Probe::Authorities,
            Probe::ApiRequests
        ])
    );
}

#[test]
fn what_was_not_read_is_unknown_and_says_why() {
    let check = PreflightCheck::NodesReady;
    let none = Readings::new();
    assert_eq!(
        one(check, &enabled(), &none),
        "Unknown Cluster/c: the workload cluster of Cluster c has not been read yet"
    );
    assert!(
        one(check, &WorkloadAccess::Disabled, &all_well()).contains("set spec.workload.access of an UpgradePolicy")
    );
    let unclear = WorkloadAccess::Unclear("two Secrets are named".to_owned());
    assert_eq!(
        one(check, &unclear, &all_well()),
        "Unknown Cluster/c: two Secrets are named"
    );
    let reading = |at: &str, found| {
        let at = at.parse().unwrap();
        Readings::from([(Probe::Nodes, Arc::new(Reading { at, found }))])
    };
    let problem = Problem {
        kind: "Secret".to_owned(),
        name: "s".to_owned(),
        message: "it is not there".to_owned(),
    };
    let old = "2026-11-20T11:56:59Z";
    assert_eq!(
        one(check, &enabled(), &reading(old, Err(problem))),
        "Unknown Secret/s: it is not there"
    );
    let found = Ok(Facts::Nodes(nodes(&[])));
    assert_eq!(
        one(check, &enabled(), &reading(old, found)),
        "Unknown Cluster/c: the workload cluster of Cluster c was read last at 2026-11-20T11:56:59Z, which is too long ago"
    );
}

#[test]
fn a_node_that_is_not_ready_fails() {
    let check = PreflightCheck::NodesReady;
    let well = node("a", "v1.34.3", "True", OWNED);
    let ill = |name: &str| node(name, "v1.34.3", "False", OWNED);
    assert_eq!(of_nodes(check, &[]), "NotApplicable: the workload cluster has no Nodes");
    assert_eq!(of_nodes(check, std::slice::from_ref(&well)), "Pass");
    assert_eq!(
        of_nodes(check, &[well.clone(), ill("b")]),
        "Fail Node/b: 1 of 2 Nodes of the workload cluster are not ready; of Node b Ready is False, KubeletNotReady: CNI \
         is not ready"
    );
    let many: Vec<Value> = ["b", "c", "d", "e", "f"].map(ill).into();
    assert_eq!(
        of_nodes(check, &many),
        "Fail Node/b: 5 of 5 Nodes of the workload cluster are not ready; of Node b Ready is False, KubeletNotReady: CNI \
         is not ready; the others are c, d and 2 more"
    );
    let bounded = Nodes {
        extent: Extent::First(5000),
        ..nodes(&[well])
    };
    let read = readings([(Probe::Nodes, Facts::Nodes(bounded))]);
    assert_eq!(
        one(check, &enabled(), &read),
        "Unknown /: the workload cluster has more than 5000 Nodes, and no more are read: look at the \
         others and skip this check"
    );
}

#[test]
fn a_kubelet_runs_against_what_is_there_and_one_that_stays_against_the_target() {
    let check = PreflightCheck::KubeletSkew;
    for (kubelet, annotation, found) in [
        ("v1.34.3", OWNED, "Pass"),
        ("v1.34.9+k0s", LONE, "Pass"),
        // How far a Machine may fall behind, each step asks.
        ("v1.31.0", OWNED, "Pass"),
        ("v1.32.0", LONE, "Pass"),
        (
            "v1.35.0",
            OWNED,
            "Fail Node/a: the kubelet of Node a (v1.35.0) is newer than the API server (v1.34)",
        ),
        (
            "v1.31.5",
            LONE,
            "Fail Node/a: the kubelet of Node a (v1.31.5) is 4 minors behind the API server (v1.35), where the limit is 3 \
             after this upgrade, and no Machine and no MachinePool owns it, so nothing replaces it",
        ),
        (
            "sometime",
            LONE,
            "Unknown Node/a: \"sometime\", the version of the kubelet of a, is not a Kubernetes version",
        ),
    ] {
        assert_eq!(
            of_nodes(check, &[node("a", kubelet, "True", annotation)]),
            found,
            "{kubelet}"
        );
    }
    let many: Vec<Value> = ["a", "b", "c", "d"]
        .map(|name| node(name, "v1.36.0", "True", OWNED))
        .into();
    assert_eq!(
        of_nodes(check, &many),
        "Fail Node/a: the kubelets of Nodes a, b, c and 1 more (v1.36.0) are newer than the API server (v1.34)"
    );
}

#[test]
fn a_webhook_without_an_endpoint_fails_and_one_with_some_is_warned_of() {
    let found = |failure_policy: &str, service: bool, endpoints: Option<Endpoints>| {
        let backend = if service {
            json!({ "service": { "namespace": "policy", "name": "engine" } })
        } else {
            json!({ "url": "https://engine" })
        };
        let configuration = json!({ "metadata": { "name": "engine" }, "webhooks": [{
            "name": "pods.engine.io", "failurePolicy": failure_policy, "timeoutSeconds": 30, "clientConfig": backend,
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "operations": ["CREATE"] }],
        }] });
        let kube_system = json!({ "metadata": {} });
        let mut webhooks = Webhooks::none();
        webhooks.add(
            "MutatingWebhookConfiguration",
            serde_json::from_value(configuration).unwrap(),
            &serde_json::from_value(kube_system).unwrap(),
        );
        if let Some(endpoints) = endpoints {
            let service = webhooks.unread().next().unwrap().clone();
            webhooks.resolve(&service, endpoints);
        }
        let read = readings([(Probe::Webhooks, Facts::Webhooks(webhooks))]);
        one(PreflightCheck::WebhooksInTheWay, &enabled(), &read)
    };
    let about = "MutatingWebhookConfiguration/engine: webhook pods.engine.io of MutatingWebhookConfiguration engine";
    assert_eq!(
        found("Fail", true, Some(Endpoints::None)),
        format!(
            "Fail {about} refuses writes of pods in kube-system, since Service policy/engine has no ready endpoint"
        )
    );
    assert_eq!(
        found("Fail", true, Some(Endpoints::Ready)),
        format!(
            "Warn {about} refuses writes of pods in kube-system while Service policy/engine has no ready endpoint, as in \
             the middle of a drain"
        )
    );
    assert_eq!(
        found("Fail", false, None),
        format!("Warn {about} refuses writes of pods in kube-system while its URL doesn't answer")
    );
    assert_eq!(
        found("Ignore", true, Some(Endpoints::None)),
        format!("Warn {about} delays writes of pods in kube-system by 30 s while it doesn't answer")
    );
    let none = readings([(Probe::Webhooks, Facts::Webhooks(Webhooks::none()))]);
    assert_eq!(one(PreflightCheck::WebhooksInTheWay, &enabled(), &none), "Pass");
}

/// A budget that lets nothing go, or two for one Pod; the Pod runs on Node a.
fn held(budgets: &[(&str, i64)]) -> Budgets {
    let mut read = BudgetReader::default();
    for (name, allowed) in budgets {
        let budget = json!({
            "metadata": { "namespace": "shop", "name": name, "generation": 1 },
            "spec": { "selector": { "matchLabels": { "app": "db" } } },
            "status": { "observedGeneration": 1, "disruptionsAllowed": allowed, "expectedPods": 1 },
        });
        read.add(serde_json::from_value(budget).unwrap());
    }
    let pod = json!({ "metadata": { "name": "db-0", "labels": { "app": "db" } }, "spec": { "nodeName": "a" } });
    read.add_pod("shop", serde_json::from_value(pod).unwrap());
    for candidate in read.candidates() {
        read.judge(candidate, Verdict::Held);
    }
    read.finish()
}

#[test]
fn a_budget_holds_an_upgrade_only_where_the_drain_waits_for_it() {
    let found = |budgets: Budgets, pool: Option<PoolId>, drain_timeout: DrainTimeout| {
        let mut snapshot = upgrading();
        if let Observed::Read(pool) = &mut snapshot.pools[0] {
            pool.drain_timeout = drain_timeout;
        }
        of_control_plane(&mut snapshot).drain_timeout = drain_timeout;
        let Observed::Read(machine) = failed_machine(PoolId::ControlPlane) else {
            panic!("it can be read");
        };
        snapshot.machines.push(Observed::Read(Machine {
            pool,
            phase: MachinePhase::Running,
            node: Node::Joined {
                name: "a".to_owned(),
                version: None,
            },
            ..machine
        }));
        let read = readings([(Probe::Budgets, Facts::Budgets(budgets))]);
        one_of(&snapshot, PreflightCheck::PodDisruptionBudgets, &enabled(), &read)
    };
    let md_0 = || Some(PoolId::Workers("md-0".to_owned()));
    let about = "PodDisruptionBudget/db: PodDisruptionBudget db of namespace shop doesn't let Pod db-0 on Node a be evicted \
                 now";
    let closed = || held(&[("db", 0)]);
    let after = DrainTimeout::After { seconds: 600 };
    assert_eq!(found(held(&[("db", 1)]), md_0(), DrainTimeout::None), "Pass");
    assert_eq!(
        found(closed(), md_0(), DrainTimeout::None),
        format!(
            "Fail {about}, and the drain of the machines of MachineDeployment md-0 has no nodeDrainTimeoutSeconds, so it \
             waits without an end"
        )
    );
    assert_eq!(
        found(closed(), Some(PoolId::ControlPlane), after),
        format!(
            "Warn {about}, so the drain of the machines of the control plane takes 600 s, and the Pod is then deleted all \
             the same"
        )
    );
    assert_eq!(
        found(closed(), Some(PoolId::MachinePool("mp".to_owned())), after),
        format!("Unknown {about}, and it isn't known how long the drain of the machines of MachinePool mp waits")
    );
    assert_eq!(
        found(held(&[("db", 1), ("all", 1)]), md_0(), after),
        "Warn PodDisruptionBudget/db: PodDisruptionBudgets db and all of namespace shop all select Pod db-0 on Node a, and \
         a Pod with more than one is never evicted, so the drain of the machines of MachineDeployment md-0 takes 600 s, and \
         the Pod is then deleted all the same"
    );
    let lone = held(&[("db", 0)]);
    let read = readings([(Probe::Budgets, Facts::Budgets(lone))]);
    assert_eq!(
        one(PreflightCheck::PodDisruptionBudgets, &enabled(), &read),
        "Pass",
        "no Machine has the Node, so nothing drains it"
    );
    let many = Budgets {
        bound: Some(("PodDisruptionBudgets", Extent::First(2000))),
        ..Budgets::default()
    };
    assert!(found(many, md_0(), after).contains("more than 2000 PodDisruptionBudgets"));
}

#[test]
fn an_authority_outlives_the_upgrade() {
    use AuthoritySource::{Clients, FrontProxy, Kubeconfig};

    let found = |ends: &[(AuthoritySource, &str)]| {
        let mut authorities = Authorities::default();
        for (source, end) in ends {
            authorities.add(*source, [end.parse().unwrap(), "2020-01-01T00:00:00Z".parse().unwrap()]);
        }
        let read = readings([(Probe::Authorities, Facts::Authorities(authorities))]);
        one(PreflightCheck::CertificateAuthorities, &enabled(), &read)
    };
    let clients = "Cluster/c: the certificate authority of kubelets and other clients";
    for (end, expected) in [
        ("2036-11-20T12:00:00Z", "Pass".to_owned()),
        ("2027-11-20T12:00:01Z", "Pass".to_owned()),
        (
            "2027-11-20T12:00:00Z",
            format!("Warn {clients} ends within a year, at 2027-11-20T12:00:00Z"),
        ),
        (
            "2026-12-20T12:00:00Z",
            format!("Fail {clients} ends within 30 days, at 2026-12-20T12:00:00Z"),
        ),
        (
            "2026-11-20T12:00:00Z",
            format!("Fail {clients} ended at 2026-11-20T12:00:00Z"),
        ),
    ] {
        assert_eq!(found(&[(Kubeconfig, "2036-01-01T00:00:00Z"), (Clients, end)]), expected);
    }
    assert!(found(&[(FrontProxy, "2026-11-21T00:00:00Z")]).contains("of the front proxy ends within 30 days"));
    assert_eq!(found(&[]), "Pass");
}
