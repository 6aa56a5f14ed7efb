//! The releases that were found, and those that can't be read.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{CatalogName, KubernetesRelease, KubernetesReleaseSpec};
use instar_catalog::{Catalog, Catalogs};
use kube::Resource;
use serde::Deserialize;
use serde_json::Value;

/// Releases by name. Of one name, the last that is put here counts.
#[derive(Debug, Default)]
pub(crate) struct Releases(BTreeMap<String, Found>);

#[derive(Debug)]
struct Found {
    /// Its catalog; absent where even that can't be read.
    catalog: Option<CatalogName>,
    read: Result<KubernetesReleaseSpec, String>,
}

impl Releases {
    /// Adds a release. `origin` is the file, or the cluster.
    pub(crate) fn put(&mut self, object: &Value, origin: &str) {
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let read = spec(object).map_err(|why| {
            let name = name.unwrap_or("without a name");
            format!("KubernetesRelease {name} in {origin}: {why}")
        });
        let catalog = match object.pointer("/spec/catalog") {
            None => Some(CatalogName::default()),
            Some(name) => name.as_str().map(CatalogName::from),
        };
        // A name that is missing can't be taken for another.
        let key = name.map_or_else(|| format!("/{origin}"), ToOwned::to_owned);
        self.0.insert(key, Found { catalog, read });
    }

    /// The catalog of that name, of those that can be read.
    pub(crate) fn catalog(&self, name: &CatalogName) -> Arc<Catalog> {
        let readable = self.0.iter().filter_map(|(name, found)| {
            let spec = found.read.as_ref().ok()?;
            Some((name.as_str(), spec))
        });
        Catalogs::new(readable).of(name)
    }

    /// Those that should be in the catalog, and are not, and why, one line each.
    pub(crate) fn left_out(&self, catalog: &Catalog) -> Vec<String> {
        let is_here = |found: &&Found| found.catalog.as_ref().is_none_or(|name| name == catalog.name());
        let here = self.0.values().filter(is_here);
        let here = here.filter_map(|found| found.read.as_ref().err().cloned());
        let there = catalog.unreadable().iter().map(ToString::to_string);
        let mut lines: Vec<String> = here
            .chain(there)
            .map(|why| format!("release left out: {why}"))
            .collect();
        lines.sort();
        lines
    }
}

fn spec(object: &Value) -> Result<KubernetesReleaseSpec, String> {
    let expected = KubernetesRelease::api_version(&());
    let found = object.get("apiVersion").and_then(Value::as_str).unwrap_or("nothing");
    if found != expected {
        return Err(format!("its apiVersion is {found}, but must be {expected}"));
    }
    if object.pointer("/metadata/name").and_then(Value::as_str).is_none() {
        return Err("it has no metadata.name".to_owned());
    }
    let spec = object.get("spec").ok_or("it has no spec")?;
    KubernetesReleaseSpec::deserialize(spec).map_err(|error| format!("spec: {error}"))
}
