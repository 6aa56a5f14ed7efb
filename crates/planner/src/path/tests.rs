use std::collections::BTreeMap;

use instar_api::KubernetesReleaseSpec;
use instar_catalog::{Labels, Role};
use serde_json::{Value, json};

use super::*;

fn row(name: &str, version: &str, etcd: &str, more: &Value) -> (String, Value) {
    let image = json!([{"kind": "K", "values": [{"pointer": "/spec/a", "value": version}]}]);
    let mut row = json!({"version": version, "machineImages": image, "components": {"etcd": {"imageTag": etcd}}});
    for (key, value) in more.as_object().unwrap() {
        row[key] = value.clone();
    }
    (name.to_owned(), row)
}

fn rows() -> Vec<(String, Value)> {
    vec![
        row("33-bare", "v1.33.5", "3.5.24-0", &json!({"revision": 1})),
        row("33", "v1.33.5", "3.5.26-0", &json!({"revision": 2})),
        row("33-new", "v1.33.9", "3.5.24-0", &json!({})),
        row("34-old", "v1.34.3", "3.6.5-0", &json!({})),
        row(
            "34-end",
            "v1.34.8",
            "3.6.5-0",
            &json!({"support": {"tier": "Deprecated"}}),
        ),
        row(
            "34-preview",
            "v1.34.9",
            "3.6.5-0",
            &json!({"support": {"tier": "Preview"}}),
        ),
        row("35", "v1.35.4", "3.6.6-0", &json!({"upgradesFrom": ">=1.34.3"})),
        row("36", "v1.36.3", "3.6.8-0", &json!({"upgradesFrom": ">=1.35.9"})),
        row("38", "v1.38.0", "3.6.8-0", &json!({})),
        row("imageless", "v1.34.7", "3.6.5-0", &json!({"machineImages": []})),
    ]
}

#[allow(clippy::unwrap_in_result, reason = "the answer is a Result, the fixture is not")]
fn find(present: &str, etcd: StartEtcd, wanted: &str) -> Result<Vec<String>, String> {
    let rows: Vec<(String, KubernetesReleaseSpec)> = rows()
        .into_iter()
        .map(|(name, row)| (name, serde_json::from_value(row).unwrap()))
        .collect();
    let catalog = Catalog::new(rows.iter().map(|(name, row)| (name.as_str(), row)));
    let labels = BTreeMap::new();
    let start = Start {
        version: &present.parse().unwrap(),
        etcd,
        pool: Some(Pool {
            role: Role::ControlPlane,
            group: "infrastructure.cluster.x-k8s.io",
            kind: "K",
            labels: Labels {
                cluster: None,
                pool: &labels,
            },
        }),
    };
    let today = "2026-11-20".parse().unwrap();
    match classic_path(&start, catalog.named(wanted).unwrap(), &catalog, today) {
        Ok(path) => Ok(path.iter().map(|release| release.name().to_owned()).collect()),
        Err(reason) => Err(reason.to_string()),
    }
}

fn tag(tag: &str) -> StartEtcd {
    StartEtcd::Stacked(Some(tag.to_owned()))
}

#[test]
fn minor_by_minor() {
    for (present, etcd, wanted, path) in [
        // v1.33.9 is newer, but its etcd leads no further.
        ("v1.32.5", tag("3.5.24-0"), "35", vec!["33", "34-old", "35"]),
        ("v1.32.5", tag("3.5.24-0"), "33-new", vec!["33-new"]),
        ("v1.33.5", tag("3.5.26-0"), "34-old", vec!["34-old"]),
        ("v1.33.5", StartEtcd::Elsewhere, "34-old", vec!["34-old"]),
        ("v1.33.5", tag("3.5.24-0"), "33", vec!["33"]),
        // Asked for by its name, and only then.
        ("v1.34.3", tag("3.6.5-0"), "34-preview", vec!["34-preview"]),
        // What is there by hand may be of no row.
        ("v1.34.4", StartEtcd::Stacked(None), "35", vec!["35"]),
    ] {
        assert_eq!(
            find(present, etcd, wanted),
            Ok(path.into_iter().map(str::to_owned).collect()),
            "{present} to {wanted}"
        );
    }
}

#[test]
fn says_why_there_is_none() {
    for (present, etcd, wanted, message) in [
        (
            "v1.35.4",
            tag("3.6.6-0"),
            "34-old",
            "v1.34.3 is older than v1.35.4, to which the control plane has gone: set the target to v1.35.4 to stop there, or to a newer version to go on",
        ),
        (
            "v2.0.0",
            tag("3.6.6-0"),
            "34-old",
            "v1.34.3 is of another major than v2.0.0, which runs",
        ),
        (
            "v1.35.4",
            tag("3.6.6-0"),
            "38",
            "release 36 upgrades from >=1.35.9, and v1.35.4 comes before it",
        ),
        (
            "v1.36.3",
            tag("3.6.6-0"),
            "38",
            "the catalog has no release of v1.37 that may be gone through, and a control plane can't skip a minor",
        ),
        (
            "v1.33.5",
            tag("3.5.24-0"),
            "34-old",
            "release 34-old runs etcd 3.6.5-0 after etcd 3.5.24-0, and etcd 3.6 may follow only on 3.5.26 or later; go first to release 33",
        ),
        (
            "v1.33.7",
            StartEtcd::Stacked(None),
            "34-old",
            "release 34-old runs etcd 3.6.5-0 after etcd (kubeadm's default for v1.33.7), and etcd 3.6 may follow only on 3.5.26 or later; create a release of the version before it with etcd 3.5.26",
        ),
        (
            "v1.33.5",
            tag("3.5.26-0"),
            "imageless",
            "release imageless has no image for the control plane",
        ),
    ] {
        assert_eq!(find(present, etcd, wanted).unwrap_err(), message);
    }
}
