//! The presets of `config/gates`: each is what admission lets in, and tells the states of its objects apart.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use instar_addons::{
    Applies, Gate, Outcome, ReleaseView, Since, Subject, Verdict, Written, refusals_of_addons, refusals_of_gates,
};
use instar_api::{Addon, AddonWrite, KubernetesRelease, KubernetesReleaseSpec, UpgradePolicy};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::{Value, json};

/// A state of an object, and what its gate says of it.
#[derive(Deserialize)]
struct State {
    #[serde(rename = "state")]
    name: String,
    metadata: Value,
    #[serde(default)]
    spec: Value,
    status: Value,
    #[serde(rename = "in progress", default)]
    in_progress: Option<String>,
    #[serde(default)]
    failed: Option<String>,
    #[serde(default)]
    ready: Option<bool>,
}

/// A preset's role and its list.
struct Preset {
    name: String,
    role: Value,
    addons: Vec<Addon>,
    is_release: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn presets() -> Vec<Preset> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("config/gates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Preset {
    let text = fs::read_to_string(file).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let [role, list] = documents.as_slice() else {
        panic!("{}: a role and a list", file.display());
    };
    let is_release = list["kind"] == "KubernetesRelease";
    let addons = if is_release {
        serde_json::from_value::<KubernetesRelease>(list.clone())
            .unwrap()
            .spec
            .addons
    } else {
        let policy: UpgradePolicy = serde_json::from_value(list.clone()).unwrap();
        let gates = policy.spec.gates.into_iter();
        gates.map(|gate| Addon { gate, write: None }).collect()
    };
    Preset {
        name: file.file_stem().unwrap().to_str().unwrap().to_owned(),
        role: role.clone(),
        addons,
        is_release,
    }
}

fn now() -> Timestamp {
    "2026-12-01T12:00:00Z".parse().unwrap()
}

fn written(addon: &Addon) -> Option<Written> {
    let AddonWrite {
        annotation,
        field,
        on_rollback: _,
    } = addon.write.as_ref()?;
    let annotation = annotation.as_ref().map(|annotation| json!(annotation.value));
    let field = field.as_ref().and_then(|field| match field.value.as_ref()? {
        IntOrString::Int(number) => Some(json!(number)),
        IntOrString::String(text) => Some(json!(text)),
    });
    Some(Written {
        value: annotation.or(field)?,
        at: now(),
    })
}

fn subject(addon: &Addon) -> Subject {
    let spec: KubernetesReleaseSpec = serde_json::from_value(json!({ "version": "v1.35.2" })).unwrap();
    let cluster = json!({ "metadata": { "name": "c", "namespace": "team-a" } });
    Subject::new(
        &ReleaseView::of("v1.35.2-1", &spec),
        &cluster,
        written(addon).as_ref(),
        now(),
    )
}

#[test]
fn admission_lets_them_in() {
    let presets = presets();
    assert!(presets.len() >= 8);
    for preset in presets {
        let refusals = if preset.is_release {
            refusals_of_addons(&preset.addons)
        } else {
            let gates: Vec<_> = preset.addons.iter().map(|addon| addon.gate.clone()).collect();
            refusals_of_gates(&gates, "team-a")
        };
        assert_eq!(refusals, [], "{}", preset.name);
    }
}

#[test]
fn each_has_the_role_that_it_needs() {
    for preset in presets() {
        assert_eq!(preset.role["kind"], "ClusterRole");
        assert_eq!(preset.role["metadata"]["name"], format!("instar-gate-{}", preset.name));
        for addon in &preset.addons {
            let observe = &addon.gate.observe;
            let group = observe.api_version.split_once('/').map_or("", |(group, _)| group);
            let kind = observe.kind.to_lowercase();
            let stem = kind.trim_end_matches('y');
            let rules = preset.role["rules"].as_array().unwrap();
            let has = |rule: &Value, member: &str, fits: &dyn Fn(&str) -> bool| {
                rule[member]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|value| fits(value.as_str().unwrap()))
            };
            let of_kind: Vec<_> = rules
                .iter()
                .filter(|rule| has(rule, "apiGroups", &|own| own == group))
                .filter(|rule| has(rule, "resources", &|own| own.starts_with(stem)))
                .collect();
            let may = |verb: &str| of_kind.iter().any(|rule| has(rule, "verbs", &|own| own == verb));
            assert!(may("get") && may("list"), "{}: {kind}", preset.name);
            let sets_field = addon.write.as_ref().is_some_and(|write| write.field.is_some());
            assert!(!sets_field || may("patch"), "{}: {kind}", preset.name);
        }
    }
}

#[test]
fn states_are_told_apart() {
    for preset in presets() {
        let path = format!("crates/addons/tests/presets/states/{}.yaml", preset.name);
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let states: BTreeMap<String, Vec<State>> = serde_saphyr::from_str(&text).unwrap();
        let names: BTreeSet<&String> = preset.addons.iter().map(|addon| &addon.gate.name).collect();
        assert_eq!(states.keys().collect::<BTreeSet<_>>(), names, "{path}");
        for addon in &preset.addons {
            let states = &states[&addon.gate.name];
            assert!(states.len() >= 2, "{path}");
            for state in states {
                let object = json!({ "metadata": state.metadata, "spec": state.spec, "status": state.status });
                let verdict = Gate::of_addon(addon).unwrap().judge(&[object], &subject(addon));
                let about = format!("{path}: {}: {}: {verdict:?}", addon.gate.name, state.name);
                match (&verdict, &state.in_progress, &state.failed, state.ready) {
                    (Verdict::InProgress(text), Some(says), None, None)
                    | (Verdict::Failed(text), None, Some(says), None) => assert!(text.contains(says), "{about}"),
                    (Verdict::Ready, None, None, Some(true)) => {}
                    _ => panic!("{about}"),
                }
            }
        }
    }
}

/// What a status can't tell, time does: no preset is open at the moment of its write.
#[test]
fn nothing_is_open_at_once() {
    for preset in presets() {
        for addon in &preset.addons {
            let gate = Gate::of_addon(addon).unwrap();
            let since = Since {
                begun: now(),
                ready: Some(Timestamp::UNIX_EPOCH),
            };
            let outcome = gate.over_time(&Verdict::Ready, since, now());
            assert!(
                matches!(outcome, Outcome::Settling { .. }),
                "{}: {}",
                preset.name,
                gate.name()
            );
        }
    }
}

#[test]
fn kube_ovn_counts_by_annotation_or_label() {
    let preset = read(&root().join("config/gates/kube-ovn.yaml"));
    let [addon] = preset.addons.as_slice() else {
        panic!("one add-on");
    };
    let spec: KubernetesReleaseSpec = serde_json::from_value(json!({ "version": "v1.35.2" })).unwrap();
    for (metadata, applies) in [
        (
            json!({ "annotations": { "cpaas.io/network-type": "kube-ovn" } }),
            Applies::Yes,
        ),
        (
            json!({ "labels": { "cpaas.io/network-type": "kube-ovn" } }),
            Applies::Yes,
        ),
        (json!({ "labels": { "cpaas.io/network-type": "calico" } }), Applies::No),
        (json!({}), Applies::No),
    ] {
        let cluster = json!({ "metadata": metadata });
        let subject = Subject::new(&ReleaseView::of("v1.35.2-1", &spec), &cluster, None, now());
        assert_eq!(Gate::of_addon(addon).unwrap().applies(&subject), applies, "{metadata}");
    }
}
