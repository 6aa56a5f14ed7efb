//! Kubernetes' sources, as Go's module cache has them.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};

/// Which module's sources a table is made from.
pub(crate) struct Sources {
    /// Its name below k8s.io.
    pub(crate) module: &'static str,
    /// The part of its versions before the minor.
    pub(crate) major: &'static str,
    /// The first minor that is read.
    pub(crate) first: u64,
    /// The file that says how to download them.
    pub(crate) doc: &'static str,
}

/// The newest patch of each minor that the cache has, from the first one on without a gap.
pub(crate) fn newest_of_each_minor(folder: &Path, sources: &Sources) -> Result<BTreeMap<u64, u64>> {
    let Sources {
        module,
        major,
        first,
        doc,
    } = *sources;
    let prefix = format!("{module}@{major}.");
    let mut minors = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name();
        let version = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        let Some((minor, patch)) = version.and_then(|version| version.split_once('.')) else {
            continue;
        };
        let (Ok(minor), Ok(patch)) = (minor.parse::<u64>(), patch.parse::<u64>()) else {
            continue;
        };
        let newest = minors.entry(minor).or_insert(patch);
        *newest = patch.max(*newest);
    }
    let last = minors.keys().next_back().copied().unwrap_or_default();
    for minor in first..=last.max(first) {
        ensure!(
            minors.contains_key(&minor),
            "{}: no k8s.io/{module} of {major}.{minor} is there; download it first, as {doc} says",
            folder.display()
        );
    }
    minors.retain(|minor, _| *minor >= first);
    Ok(minors)
}

pub(crate) fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
