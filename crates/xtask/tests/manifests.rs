//! What is installed holds what it should: the webhooks, the rights, the pod.

use instar_serve::Options;
use serde_json::Value;
use xtask::{binding, configurations, deployment, roles};

#[test]
fn webhooks_fail_closed_and_soon() {
    let deadline = Options::default().request_deadline.as_secs();
    let mut seen = 0;
    for configuration in configurations().unwrap() {
        for webhook in configuration["webhooks"].as_array().unwrap() {
            let name = &webhook["name"];
            assert_eq!(webhook["failurePolicy"], "Fail", "{name}");
            assert_eq!(webhook["matchPolicy"], "Equivalent", "{name}");
            assert_eq!(webhook["sideEffects"], "None", "{name}");
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

#[test]
fn rights_are_to_read_and_name_what_they_are_for() {
    for role in roles() {
        let name = role.metadata.name.unwrap();
        let rules = role.rules.unwrap();
        assert!(!rules.is_empty(), "{name} gives no right");
        assert!(role.aggregation_rule.is_none(), "{name} takes in the rights of others");
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
            for verb in &rule.verbs {
                assert!(
                    ["get", "list", "watch"].contains(&verb.as_str()),
                    "{name} writes: {rule:?}"
                );
            }
        }
    }
}

#[test]
fn the_server_gets_its_role_and_no_other() {
    let [server, _] = roles();
    let binding = binding();
    assert_eq!(Some(binding.role_ref.name), server.metadata.name);
    let deployment = deployment();
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let [subject] = &binding.subjects.unwrap()[..] else {
        panic!("one subject is expected");
    };
    assert_eq!(subject.kind, "ServiceAccount");
    assert_eq!(Some(&subject.name), pod.service_account_name.as_ref());
    assert_eq!(subject.namespace, deployment.metadata.namespace);
}

/// The rules of Pod Security's `restricted`, which the namespace enforces.
#[test]
fn the_pod_is_restricted() {
    let deployment = serde_json::to_value(deployment()).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(container["name"], "manager", "clusterctl looks for this name");
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
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
    let deployment = serde_json::to_value(deployment()).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments: Vec<&str> = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(!arguments.is_empty());
    let words = std::iter::once("instar").chain(arguments);
    if let Err(error) = instar::cli::command().try_get_matches_from(words) {
        panic!("{error}");
    }
}
