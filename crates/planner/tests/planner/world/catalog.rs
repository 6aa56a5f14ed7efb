//! Two patches of each minor from v1.31 to v1.36, and rows that are not to be taken.

use std::sync::{Arc, OnceLock};

use instar_api::KubernetesReleaseSpec;
use instar_catalog::{Catalog, Catalogs};
use serde_json::{Value, json};

use super::{KIND, machine_pools::POOL_KIND};

pub fn row(version: &str, revision: u32, etcd: &str, dns: &str) -> (String, Value) {
    let image = |role: &str| json!({"kind": KIND, "role": role, "values": [{"pointer": "/spec/template/spec/image", "value": format!("{role}-{version}-{revision}")}]});
    let pool = json!({"kind": POOL_KIND, "role": "Worker", "values": [{"pointer": "/spec/image", "value": format!("Pool-{version}-{revision}")}]});
    let row = json!({
        "version": version,
        "revision": revision,
        "machineImages": [image("ControlPlane"), image("Worker"), pool],
        "components": {"etcd": {"imageTag": etcd}, "coreDNS": {"imageTag": dns}},
    });
    (format!("{version}-{revision}"), row)
}

pub fn of(rows: Vec<(String, Value)>) -> Arc<Catalog> {
    named(rows, "")
}

/// A catalog of these rows.
pub fn named(rows: Vec<(String, Value)>, name: &str) -> Arc<Catalog> {
    let rows: Vec<(String, KubernetesReleaseSpec)> = rows
        .into_iter()
        .map(|(name, spec)| (name, serde_json::from_value(spec).unwrap()))
        .collect();
    Catalogs::new(rows.iter().map(|(name, spec)| (name.as_str(), spec))).of(&name.into())
}

pub fn rows() -> Vec<(String, Value)> {
    let mut rows = Vec::new();
    for (minor, etcd, dns) in [
        (31, "3.5.24-0", "v1.11.3"),
        (32, "3.5.24-0", "v1.11.3"),
        (33, "3.5.26-0", "v1.12.0"),
        (34, "3.6.5-0", "v1.12.1"),
        (35, "3.6.6-0", "v1.13.1"),
        (36, "3.6.8-0", "v1.14.2"),
    ] {
        for patch in [1, 5] {
            rows.push(row(&format!("v1.{minor}.{patch}"), 1, etcd, dns));
        }
    }
    // Newer, and with an etcd from which v1.34 can't be gone to.
    rows.push(row("v1.33.9", 1, "3.5.24-0", "v1.12.0"));
    rows.push(row("v1.35.5", 2, "3.6.6-0", "v1.13.1"));
    let (name, mut preview) = row("v1.34.9", 1, "3.6.5-0", "v1.12.1");
    preview["support"] = json!({"tier": "Preview"});
    rows.push((name, preview));
    rows
}

pub fn catalog() -> Arc<Catalog> {
    static CATALOG: OnceLock<Arc<Catalog>> = OnceLock::new();
    Arc::clone(CATALOG.get_or_init(|| of(rows())))
}
