//! What is installed holds what it should: the webhooks, the rights, the pod.

use instar_serve::Options;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;
use xtask::{artifacts, configurations, crds, deployments, grants, people, workload_role};

#[test]
fn webhooks_fail_closed_and_soon() {
    let deadline = Options::default().request_deadline.as_secs();
    let mut seen = 0;
    for configuration in configurations().unwrap() {
        for webhook in configuration["webhooks"].as_array().unwrap() {
            let name = &webhook["name"];
            assert_eq!(webhook["failurePolicy"], "Fail", "{name}");
            assert_eq!(webhook["matchPolicy"], "Equivalent", "{name}");
            // The Event of a rule that is switched off.
            assert_eq!(webhook["sideEffects"], "NoneOnDryRun", "{name}");
            let timeout = webhook["timeoutSeconds"].as_u64().unwrap_or(10);
            assert!(timeout <= 5, "{name}: {timeout} s");
            // Else the API server gives up before the server says why.
            assert!(
                timeout > deadline,
                "{name}: {timeout} s, and the server takes {deadline} s"
            );
            seen += 1;
        }
    }
    assert!(seen > 0, "no webhooks");
}

/// Every right to write that a program has, as `verbs resource.group`, in which roles.
const WRITES: [(&str, &[&str]); 4] = [
    ("instar-webhook", &["create events.events.k8s.io"]),
    (
        "instar-controller",
        &[
            "patch clusters.cluster.x-k8s.io",
            "patch kubeadmcontrolplanes.controlplane.cluster.x-k8s.io",
            "patch machinedeployments.cluster.x-k8s.io",
            "patch machinepools.cluster.x-k8s.io",
            "delete machines.cluster.x-k8s.io",
            "create patch delete clusterupgrades.upgrade.cluster.x-k8s.io",
            "patch clusterupgrades/status.upgrade.cluster.x-k8s.io",
            "create delete kubeadmconfigtemplates.bootstrap.cluster.x-k8s.io",
            "create patch delete extensionconfigs.runtime.cluster.x-k8s.io",
            "create patch events.events.k8s.io",
        ],
    ),
    (
        "instar-controller in instar-system",
        &["create patch leases.coordination.k8s.io"],
    ),
    (
        "instar-controller-vsphere",
        &[
            "create delete vspheremachinetemplates.infrastructure.cluster.x-k8s.io",
            "create delete vspheremachinetemplates.vmware.infrastructure.cluster.x-k8s.io",
        ],
    ),
];

#[test]
fn rights_are_named_one_by_one() {
    let people = people().map(|role| (role.metadata.name.unwrap(), role.rules.unwrap()));
    for (name, rules) in grants()
        .into_iter()
        .map(|grant| (grant.role, grant.rules))
        .chain(people)
    {
        assert!(!rules.is_empty(), "{name} gives no right");
        for rule in rules {
            assert!(rule.non_resource_urls.is_none(), "{name}: {rule:?}");
            let resources = rule.resources.clone().unwrap();
            let groups = rule.api_groups.clone().unwrap();
            for word in groups.iter().chain(&resources).chain(&rule.verbs) {
                assert!(!word.contains('*'), "{name} has a wildcard: {rule:?}");
            }
            for resource in &resources {
                assert!(!resource.starts_with("secrets"), "{name} reads secrets: {rule:?}");
            }
        }
    }
}

#[test]
fn kubeconfigs_are_read_where_a_user_binds_a_role_and_nowhere_else() {
    let role = workload_role();
    let rules = serde_json::to_value(&role.rules).unwrap();
    assert_eq!(
        rules,
        serde_json::json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }])
    );
    let name = role.metadata.name.unwrap();
    assert!(grants().iter().all(|grant| grant.role != name), "{name} is bound");
    let bound: Vec<String> = artifacts()
        .unwrap()
        .into_iter()
        .filter(|artifact| artifact.text.contains("Binding\n") && artifact.text.contains(&format!("name: {name}\n")))
        .map(|artifact| artifact.path)
        .collect();
    assert_eq!(bound, [] as [String; 0]);
}

#[test]
fn what_writes_is_known() {
    for grant in grants() {
        let scope = grant
            .namespace
            .map_or(String::new(), |namespace| format!(" in {namespace}"));
        let name = format!("{}{scope}", grant.role);
        let writes: Vec<String> = grant.rules.iter().filter_map(writes).collect();
        if let Some((_, known)) = WRITES.iter().find(|(known, _)| *known == name) {
            assert_eq!(writes, *known, "{name}");
            continue;
        }
        if name.starts_with("instar-webhook-") {
            assert!(writes.is_empty(), "{name} only looks: {writes:?}");
            continue;
        }
        // The roles of the other providers: they make templates, and swap control planes and MachinePools.
        let provider = name.strip_prefix("instar-controller-");
        assert!(provider.is_some(), "{name} isn't known here");
        for right in writes {
            let (verbs, what) = right.rsplit_once(' ').unwrap();
            let (plural, group) = what.split_once('.').unwrap();
            let ends = match (verbs, group) {
                ("create delete", "bootstrap.cluster.x-k8s.io") => "configtemplates",
                ("create delete", _) => "machinetemplates",
                ("patch", "infrastructure.cluster.x-k8s.io") if plural.ends_with("pools") => "machinepools",
                ("patch", "controlplane.cluster.x-k8s.io" | "infrastructure.cluster.x-k8s.io") => "controlplanes",
                (_, _) => panic!("{name}: {right}"),
            };
            assert!(
                plural.ends_with(ends) && group.ends_with(".cluster.x-k8s.io"),
                "{name}: {right}"
            );
        }
    }
}

fn writes(rule: &PolicyRule) -> Option<String> {
    let verbs = rule.verbs.iter().map(String::as_str);
    let verbs: Vec<&str> = verbs.filter(|verb| !["get", "list", "watch"].contains(verb)).collect();
    let (groups, resources) = (rule.api_groups.clone()?, rule.resources.clone()?);
    (!verbs.is_empty()).then(|| format!("{} {}.{}", verbs.join(" "), resources.join(","), groups.join(",")))
}

#[test]
fn every_kind_of_ours_can_be_seen() {
    let [view, ..] = people();
    let seen: Vec<String> = view
        .rules
        .unwrap()
        .into_iter()
        .filter_map(|rule| rule.resources)
        .flatten()
        .collect();
    for crd in crds() {
        let plural = crd["spec"]["names"]["plural"].as_str().unwrap();
        assert!(
            seen.iter().any(|seen| seen == plural),
            "{plural} is in no role for people"
        );
    }
}

#[test]
fn each_program_runs_under_the_account_that_gets_its_rights() {
    let grants = grants();
    let accounts = deployments().map(|deployment| {
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.service_account_name, deployment.metadata.name);
        assert_eq!(deployment.metadata.namespace.as_deref(), Some("instar-system"));
        pod.service_account_name.unwrap()
    });
    for account in &accounts {
        assert!(
            grants.iter().any(|grant| grant.account == account),
            "{account} has no rights"
        );
    }
    for grant in &grants {
        assert!(accounts.iter().any(|account| account == grant.account), "{grant:?}");
    }
}

/// The rules of Pod Security's `restricted`, which the namespace enforces.
#[test]
fn the_pod_is_restricted() {
    for deployment in deployments() {
        is_restricted(&serde_json::to_value(deployment).unwrap()["spec"]["template"]["spec"]);
    }
}

fn is_restricted(pod: &Value) {
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(container["name"], "manager", "clusterctl looks for this name");
    assert_eq!(pod["containers"].as_array().map(Vec::len), Some(1));
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["runAsNonRoot"], true);
    assert_eq!(security["capabilities"]["drop"][0], "ALL");
    assert_eq!(security["capabilities"]["add"], Value::Null);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for member in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
        assert_eq!(pod[member], Value::Null, "{member}");
    }
}

#[test]
fn the_binary_takes_the_arguments() {
    for deployment in deployments() {
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        let arguments = pod.containers[0].args.clone().unwrap();
        assert!(!arguments.is_empty());
        let words = std::iter::once("instar".to_owned()).chain(arguments);
        if let Err(error) = instar::cli::command().try_get_matches_from(words) {
            panic!("{error}");
        }
    }
}
