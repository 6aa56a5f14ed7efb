//! An installation without cert-manager differs from the other one by one argument and these rights.

use serde_json::{Value, json};
use xtask::{artifacts, certificate_grants, deployments, grants};

#[test]
fn the_rights_are_of_named_objects() {
    let [everywhere, here] = certificate_grants();
    assert_eq!(everywhere.namespace, None);
    assert_eq!(
        serde_json::to_value(&everywhere.rules).unwrap(),
        json!([
            {
                "apiGroups": ["admissionregistration.k8s.io"],
                "resources": ["mutatingwebhookconfigurations"],
                "resourceNames": [
                    "00-instar-mutating-webhook-configuration",
                    "instar-mutating-webhook-configuration",
                ],
                "verbs": ["get", "patch"],
            },
            {
                "apiGroups": ["admissionregistration.k8s.io"],
                "resources": ["validatingwebhookconfigurations"],
                "resourceNames": ["instar-validating-webhook-configuration"],
                "verbs": ["get", "patch"],
            },
        ])
    );
    assert_eq!(here.namespace, Some("instar-system"));
    assert_eq!(
        serde_json::to_value(&here.rules).unwrap(),
        json!([
            { "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] },
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": ["instar-webhook-cert", "instar-webhook-ca"],
                "verbs": ["get", "patch"],
            },
            { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"] },
        ])
    );
    // Only where the switch is on.
    assert!(grants().iter().all(|grant| grant.role != everywhere.role));
}

#[test]
fn the_roles_name_objects_that_are_there() {
    let names: Vec<String> = artifacts()
        .unwrap()
        .iter()
        .filter(|artifact| artifact.path.starts_with("config/webhook/"))
        .flat_map(|artifact| artifact.objects.iter())
        .filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned))
        .collect();
    let [everywhere, _] = certificate_grants();
    let granted: Vec<String> = everywhere
        .rules
        .into_iter()
        .filter_map(|rule| rule.resource_names)
        .flatten()
        .collect();
    assert_eq!(granted.len(), 3);
    for name in granted {
        assert!(names.contains(&name), "{name} isn't installed");
    }
}

#[test]
fn the_two_installations_differ_by_their_component() {
    let artifacts = artifacts().unwrap();
    let kustomization = |folder: &str| -> Value {
        let path = format!("config/{folder}/kustomization.yaml");
        artifacts.iter().find(|artifact| artifact.path == path).unwrap().objects[0].clone()
    };
    let (mut default, mut other) = (kustomization("default"), kustomization("without-cert-manager"));
    assert_eq!(default["components"].take(), json!(["../certmanager"]));
    assert_eq!(other["components"].take(), json!(["../self-signed-certificates"]));
    assert_eq!(default, other);
}

#[test]
fn the_controller_takes_the_argument_that_is_added() {
    let artifacts = artifacts().unwrap();
    let component = artifacts
        .iter()
        .find(|artifact| artifact.path == "config/self-signed-certificates/kustomization.yaml");
    let patch = &component.unwrap().objects[0]["patches"][0];
    let [_, controller] = deployments();
    assert_eq!(patch["target"]["name"].as_str(), controller.metadata.name.as_deref());
    let added: Value = serde_json::from_str(patch["patch"].as_str().unwrap()).unwrap();
    let mut arguments = vec!["instar".to_owned()];
    let pod = controller.spec.unwrap().template.spec.unwrap();
    arguments.extend(pod.containers[0].args.clone().unwrap());
    arguments.push(added[0]["value"].as_str().unwrap().to_owned());
    instar::cli::command().try_get_matches_from(arguments).unwrap();
}
