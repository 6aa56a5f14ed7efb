//! The presets of `config/etcd-snapshots`: each is what admission lets in, and tells the states of its objects apart.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use instar_addons::{SnapshotQuery, refusals_of_etcd_snapshot};
use instar_api::{EtcdSnapshotParameters, PreflightCheck, UpgradePolicy};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// A state of an object, and what is said of it.
#[derive(Deserialize)]
struct State {
    #[serde(rename = "state")]
    name: String,
    object: Value,
    #[serde(default)]
    made: Option<Timestamp>,
    #[serde(rename = "not ready", default)]
    not_ready: Option<String>,
    #[serde(default)]
    unknown: Option<String>,
}

/// A preset's role, and its policies by name.
struct Preset {
    name: String,
    role: Value,
    policies: BTreeMap<String, EtcdSnapshotParameters>,
}

const NAMESPACE: &str = "team-a";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn presets() -> Vec<Preset> {
    let files = fs::read_dir(root().join("config/etcd-snapshots")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Preset {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap();
    let (role, policies) = documents.split_first().unwrap();
    let policy = |policy: &Value| {
        let policy: UpgradePolicy = serde_json::from_value(policy.clone()).unwrap();
        let [check] = policy.spec.preflight.checks.as_slice() else {
            panic!("{}: one check", file.display());
        };
        assert_eq!(check.name, PreflightCheck::EtcdSnapshot);
        (policy.metadata.name.unwrap(), check.etcd_snapshot.clone().unwrap())
    };
    Preset {
        name: file.file_stem().unwrap().to_str().unwrap().to_owned(),
        role: role.clone(),
        policies: policies.iter().map(policy).collect(),
    }
}

#[test]
fn admission_lets_them_in() {
    let presets = presets();
    assert!(presets.len() >= 6);
    for preset in presets {
        for (name, parameters) in &preset.policies {
            assert_eq!(refusals_of_etcd_snapshot(parameters, NAMESPACE), [], "{name}");
        }
    }
}

#[test]
fn each_has_the_role_that_it_needs() {
    for Preset { name, role, policies } in presets() {
        assert_eq!(role["metadata"]["name"], format!("instar-etcd-snapshot-{name}"));
        let rules = role["rules"].as_array().unwrap();
        for parameters in policies.values() {
            let observe = &parameters.observe;
            let group = observe.api_version.split_once('/').map_or("", |(group, _)| group);
            let plural = format!("{}s", observe.kind.to_lowercase());
            let is_allowed = rules.iter().any(|rule| {
                rule["apiGroups"] == json!([group])
                    && rule["resources"].as_array().unwrap().contains(&json!(plural))
                    && rule["verbs"] == json!(["get", "list"])
            });
            assert!(is_allowed, "{name}: {plural}");
        }
    }
}

#[test]
fn states_are_told_apart() {
    let now: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
    let cluster = json!({ "metadata": { "name": "c", "namespace": NAMESPACE } });
    for preset in presets() {
        let path = format!("crates/addons/tests/etcd_snapshots/states/{}.yaml", preset.name);
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let states: BTreeMap<String, Vec<State>> = serde_saphyr::from_str(&text).unwrap();
        let names: BTreeSet<&String> = preset.policies.keys().collect();
        assert_eq!(states.keys().collect::<BTreeSet<_>>(), names, "{path}");
        for (name, states) in states {
            assert!(states.len() >= 3, "{path}");
            let query = SnapshotQuery::read(&preset.policies[&name], NAMESPACE).unwrap();
            for state in states {
                let seen = query.judge(&[state.object], &cluster, now).unwrap();
                let about = format!("{path}: {name}: {}: {seen:?}", state.name);
                let newest = seen.newest.map(|newest| newest.time);
                assert_eq!(newest, state.made, "{about}");
                for (found, expected) in [(seen.not_ready, state.not_ready), (seen.unknown, state.unknown)] {
                    let says = found.as_deref().zip(expected.as_deref());
                    assert!(says.is_none_or(|(found, expected)| found.contains(expected)), "{about}");
                    assert_eq!(found.is_some(), expected.is_some(), "{about}");
                }
            }
        }
    }
}
