use instar_api::KubernetesReleaseSpec;
use serde_json::{Value, json};

use super::*;

/// A row by its name `VERSION-REVISION`, with what its spec has beside that.
fn row(name: &str, more: Value) -> (String, KubernetesReleaseSpec) {
    let (version, revision) = name.rsplit_once('-').unwrap();
    let mut spec = json!({ "version": version, "revision": revision.parse::<u32>().unwrap() });
    let Value::Object(more) = more else { panic!("{more}") };
    for (field, value) in more {
        spec[field] = value;
    }
    (name.to_owned(), serde_json::from_value(spec).unwrap())
}

fn etcd(tag: &str) -> Value {
    json!({ "components": { "etcd": { "imageTag": tag } } })
}

fn of(rows: &[(String, KubernetesReleaseSpec)]) -> Vec<Problem> {
    let catalog = Catalog::new(rows.iter().map(|(name, spec)| (name.as_str(), spec)));
    problems(&catalog, "2026-11-30".parse().unwrap())
}

/// `RELEASE: TEXT [ID]`, each.
fn texts(rows: &[(String, KubernetesReleaseSpec)]) -> Vec<String> {
    let text = |Problem { release, what, .. }: Problem| {
        let id = what.id();
        format!("{}: {what} [{id}]", release.as_deref().unwrap_or("all"))
    };
    of(rows).into_iter().map(text).collect()
}

#[test]
fn a_catalog_through_which_every_cluster_gets_is_fine() {
    let rows = vec![
        row("v1.33.5-1", etcd("3.5.26-0")),
        row(
            "v1.34.3-1",
            json!({ "upgradesFrom": ">=1.33.5, <1.35.0", "components": { "etcd": { "imageTag": "3.6.5-0" } } }),
        ),
        row(
            "v1.35.4-1",
            json!({ "support": { "tier": "Latest", "endOfLife": "2026-11-30" } }),
        ),
        row("v1.36.0-1", json!({ "support": { "tier": "Preview" } })),
    ];
    assert_eq!(texts(&rows), [] as [String; 0]);
    assert_eq!(texts(&[]), [] as [String; 0]);
}

#[test]
fn a_minor_that_is_missing_is_named_once() {
    let rows = vec![
        row("v1.34.3-1", json!({})),
        row("v1.36.1-1", json!({})),
        row("v1.36.2-1", json!({})),
    ];
    assert_eq!(
        texts(&rows),
        [
            "all: no row is of v1.35, and a control plane can't skip a minor: no cluster gets from v1.34 to v1.36; add a row of v1.35 [gap]"
        ]
    );
}

#[test]
fn etcd_3_6_needs_a_row_before_it() {
    // Kubeadm's own is older.
    let rows = vec![
        row("v1.33.5-1", json!({})),
        row("v1.34.3-1", json!({})),
        row("v1.35.4-1", json!({})),
    ];
    assert_eq!(
        texts(&rows),
        [
            "all: no cluster gets from v1.33 to v1.34: v1.33.5-1 to v1.34.3-1: etcd (kubeadm's default for v1.34.3) after etcd \
          (kubeadm's default for v1.33.5), and etcd 3.6 may follow only on 3.5.26 or later; add a row of v1.33 with \
          spec.components.etcd.imageTag 3.5.26-0 [minor-blocked]"
        ]
    );
    // By way of another row of its version.
    let rows = vec![
        row("v1.33.5-1", json!({})),
        row("v1.33.5-2", etcd("3.5.26-0")),
        row("v1.34.3-1", json!({})),
    ];
    assert_eq!(texts(&rows), [] as [String; 0]);
}

#[test]
fn a_row_that_no_cluster_gets_to_is_named() {
    let rows = vec![
        row("v1.33.5-1", json!({})),
        row(
            "v1.34.2-1",
            json!({ "components": { "etcd": { "imageTag": "3.5.26-0" }, "coreDNS": { "imageTag": "v1.12.1" } } }),
        ),
        row("v1.34.3-1", json!({ "upgradesFrom": ">=1.35.0" })),
        row(
            "v1.35.4-1",
            json!({ "components": { "coreDNS": { "imageTag": "v1.12.0" } } }),
        ),
        row("v1.35.4-2", json!({})),
    ];
    assert_eq!(
        texts(&rows),
        [
            "v1.34.3-1: no cluster gets to this row: v1.33.5-1 to v1.34.3-1: spec.upgradesFrom is >=1.35.0; v1.34.2-1 to v1.34.3-1: spec.upgradesFrom is >=1.35.0; correct it, or add a row that leads to it [unreachable]",
            "v1.35.4-1: no cluster gets to this row: v1.34.2-1 to v1.35.4-1: CoreDNS v1.12.0 after v1.12.1, and Cluster API migrates it only upwards; correct it, or add a row that leads to it [unreachable]",
        ]
    );
}

#[test]
fn a_row_from_which_no_cluster_gets_on_is_named() {
    let rows = vec![
        row("v1.34.2-1", json!({})),
        row("v1.34.9-1", json!({})),
        row("v1.35.4-1", json!({ "upgradesFrom": "<1.34.5" })),
    ];
    assert_eq!(
        texts(&rows),
        [
            "v1.34.9-1: from this row no cluster gets to v1.35: v1.34.9-1 to v1.35.4-1: spec.upgradesFrom is <1.34.5; add a row that leads on from it [dead-end]"
        ]
    );
}

#[test]
fn core_dns_and_etcd_never_go_down() {
    let components = |etcd: &str, core_dns: &str| json!({ "components": { "etcd": { "imageTag": etcd }, "coreDNS": { "imageTag": core_dns } } });
    let rows = vec![
        row("v1.34.3-1", components("3.6.5-0", "v1.12.1")),
        row("v1.35.3-1", components("3.6.6-0", "v1.12.0")),
        row("v1.36.0-1", components("3.5.26-0", "latest")),
    ];
    let texts = texts(&rows);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].contains(
            "CoreDNS v1.12.0 after v1.12.1, and Cluster API migrates it only upwards; add a row of v1.34 that leads on"
        ),
        "{texts:?}"
    );
    assert!(
        texts[1].contains("etcd 3.5.26-0 can't read what etcd 3.6.6-0 has written"),
        "{texts:?}"
    );
}

#[test]
fn what_may_be_meant_so_is_a_warning() {
    let image = |value: &str| json!({ "machineImages": [{ "kind": "K", "values": [{ "pointer": "/spec/template/spec/template", "value": value }] }] });
    let rows = vec![
        row(
            "v1.34.3-1",
            json!({ "support": { "tier": "Latest", "endOfLife": "2026-11-29" } }),
        ),
        row("v1.34.4-1", image("ubuntu-24.04.1-kube-v1.34.3")),
        row("v1.34.5-1", image("ubuntu-24.04.1-kube-v1.34.5-1.2.3")),
        row("v1.34.6-1", image("ami-0123")),
        ("v1.34.6-1b".to_owned(), row("v1.34.6-1", json!({})).1),
    ];
    let found = of(&rows);
    assert!(
        found.iter().all(|problem| problem.what.severity() == Severity::Warning),
        "{found:?}"
    );
    let ids: Vec<String> = texts(&rows)
        .iter()
        .map(|text| {
            format!(
                "{} {}",
                text.split(':').next().unwrap(),
                text.rsplit('[').next().unwrap()
            )
        })
        .collect();
    assert_eq!(
        ids,
        [
            "v1.34.3-1 end-of-life]",
            "v1.34.3-1 not-latest]",
            "v1.34.4-1 other-version]",
            "v1.34.6-1b same-revision]",
        ]
    );
}

#[test]
fn each_catalog_is_by_itself() {
    let rows = [
        row("v1.34.3-1", json!({})),
        row("v1.36.1-1", json!({ "catalog": "flatcar" })),
    ];
    let catalogs = crate::Catalogs::new(rows.iter().map(|(name, spec)| (name.as_str(), spec)));
    for name in ["", "flatcar"] {
        let catalog = catalogs.of(&CatalogName::from(name));
        assert_eq!(problems(&catalog, "2026-11-30".parse().unwrap()), []);
    }
}
