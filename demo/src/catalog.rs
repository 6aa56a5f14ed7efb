//! What the demo's catalog says, to compare what happened with.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use instar_e2e::manifests::{documents, kind};

/// The value of each row that stands for its image.
#[derive(Debug)]
pub(crate) struct Images {
    /// Where it goes in a machine template's spec.
    pub(crate) pointer: String,
    /// The value by version.
    pub(crate) by_version: BTreeMap<String, String>,
}

impl Images {
    /// Reads the rows of a catalog, which all set one and the same field.
    pub(crate) fn read(yaml: &str) -> Result<Self> {
        let mut pointer = None;
        let mut by_version = BTreeMap::new();
        for row in documents(yaml)?
            .iter()
            .filter(|object| kind(object) == "KubernetesRelease")
        {
            let text = |at: &str| {
                let found = row.pointer(at).and_then(Value::as_str);
                found.with_context(|| format!("a row of the catalog has no {at}"))
            };
            let at = text("/spec/machineImages/0/values/0/pointer")?;
            let found = pointer.get_or_insert_with(|| at.to_owned());
            ensure!(found == at, "the rows of the catalog set {found} and also {at}");
            let image = text("/spec/machineImages/0/values/0/value")?;
            by_version.insert(text("/spec/version")?.to_owned(), image.to_owned());
        }
        let pointer = pointer.context("the catalog has no rows")?;
        let pointer = pointer.strip_prefix("/spec").unwrap_or(&pointer).to_owned();
        Ok(Self { pointer, by_version })
    }

    /// The value in the spec of a machine template.
    pub(crate) fn of<'a>(&self, spec: &'a Value) -> Option<&'a str> {
        spec.pointer(&self.pointer).and_then(Value::as_str)
    }

    /// The name of the field.
    pub(crate) fn field(&self) -> &str {
        self.pointer.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_an_image_for_each_minor() {
        let images = Images::read(include_str!("../../config/samples/catalog-in-memory.yaml")).unwrap();
        let versions: Vec<_> = images.by_version.keys().map(String::as_str).collect();
        assert_eq!(versions, ["v1.33.5", "v1.34.3", "v1.35.4", "v1.36.3"]);
        assert_eq!(images.by_version["v1.35.4"], "1.354s");
        assert_eq!(images.field(), "startupDuration");
    }
}
