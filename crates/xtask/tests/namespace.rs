//! Instar can be installed in any namespace, and while its server is down.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;
use xtask::{artifacts, configurations};

/// What `config/default` consists of, the policies beside it, and what takes cert-manager's place.
const INSTALLED: [&str; 11] = [
    "config/certmanager/",
    "config/controller/",
    "config/crd/",
    "config/default/",
    "config/monitoring/",
    "config/policy/",
    "config/rbac/",
    "config/server/",
    "config/webhook/",
    "config/self-signed-certificates/",
    "config/without-cert-manager/",
];

fn installed() -> Result<Vec<(String, Value)>> {
    let mut objects = Vec::new();
    for artifact in artifacts()? {
        if !INSTALLED.iter().any(|folder| artifact.path.starts_with(folder))
            || artifact.path.ends_with("kustomization.yaml")
        {
            continue;
        }
        objects.extend(
            artifact
                .objects
                .into_iter()
                .map(|object| (artifact.path.clone(), object)),
        );
    }
    Ok(objects)
}

/// The members that clusterctl writes again for `--target-namespace`.
/// Source: fixTargetNamespace of cluster-api's cmd/clusterctl/client/repository/components.go.
fn is_set_by_clusterctl(kind: &str, pointer: &str) -> bool {
    let ends = |end: &str| pointer.ends_with(end);
    match kind {
        "Namespace" => pointer == "/metadata/name",
        "ClusterRoleBinding" | "RoleBinding" => {
            pointer == "/metadata/namespace" || (pointer.starts_with("/subjects/") && ends("/namespace"))
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            ends("/clientConfig/service/namespace") || ends("/annotations/cert-manager.io~1inject-ca-from")
        }
        "Certificate" => pointer == "/metadata/namespace" || pointer.starts_with("/spec/dnsNames/"),
        _ => pointer == "/metadata/namespace",
    }
}

fn literals(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if text.contains("instar-system") {
                found.push(pointer.to_owned());
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                literals(item, &format!("{pointer}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                literals(member, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn an_installer_chooses_the_namespace() {
    let mut named = 0;
    for (path, object) in installed().unwrap() {
        let kind = object["kind"].as_str().unwrap();
        let mut found = Vec::new();
        literals(&object, "", &mut found);
        named += found.len();
        found.retain(|pointer| !is_set_by_clusterctl(kind, pointer));
        assert_eq!(found, [] as [String; 0], "{path} names a namespace that stays");
    }
    assert!(named > 20, "{named}");
}

/// On this rests that the webhooks exempt no namespace for Instar's sake.
#[test]
fn no_webhook_guards_what_an_installation_consists_of() {
    let groups = |object: &Value| {
        let version = object["apiVersion"].as_str().unwrap();
        version.split_once('/').map_or("", |(group, _)| group).to_owned()
    };
    let installed: BTreeSet<(String, String)> = installed()
        .unwrap()
        .iter()
        .map(|(_, object)| (groups(object), object["kind"].as_str().unwrap().to_lowercase() + "s"))
        .collect();
    assert!(installed.contains(&("apps".to_owned(), "deployments".to_owned())));
    let words = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut seen = 0;
    for configuration in configurations().unwrap() {
        for webhook in configuration["webhooks"].as_array().unwrap() {
            for rule in webhook["rules"].as_array().unwrap() {
                for group in words(&rule["apiGroups"]) {
                    assert_ne!(group, "*");
                    for (installed, resource) in installed.iter().filter(|(installed, _)| *installed == group) {
                        let guarded = words(&rule["resources"]);
                        assert!(
                            !guarded.contains(resource) && !guarded.iter().any(|word| word.contains('*')),
                            "{}: {resource}.{installed}",
                            webhook["name"]
                        );
                    }
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 0);
}
