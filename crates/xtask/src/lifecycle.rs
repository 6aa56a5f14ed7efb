//! `cargo xtask lifecycle`: which feature gates and admission plugins come and go with the minors of Kubernetes, from its
//! sources.
//!
//! The sources are Go modules, which `go mod download` unpacks and checks; nothing is built of them:
//!
//! ```text
//! for version in 28.15 29.6 30.14 31.14 32.13 33.13 34.4 35.4 36.3 37.2; do
//!   go mod download "k8s.io/kubernetes@v1.$version"
//!   for name in apiextensions-apiserver apiserver client-go cloud-provider component-base controller-manager; do
//!     go mod download "k8s.io/$name@v0.$version"
//!   done
//! done
//! cargo run -p xtask -- lifecycle "$(go env GOMODCACHE)"
//! ```
//!
//! Kubernetes lists its gates itself since v1.32 (`test/.../versioned_feature_list.yaml`), but the list has no gate of
//! client-go's, and until v1.35 the names of Go's constants. So a gate exists as long as a constant of the sources or the
//! list has it: what is said to be gone too early would hold upgrades without a reason.

mod derive;
mod go;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::go_modules::{self, newest_of_each_minor, text};
use anyhow::{Context, Result};
use serde::Deserialize;

/// What is written.
pub const FILE: &str = "crates/preflight/data/lifecycle.tsv";

/// The first minor that is read. What was so in it already is not written: no upgrade brings it.
const FIRST: u64 = 28;

const KUBERNETES: go_modules::Sources = go_modules::Sources {
    module: "kubernetes",
    major: "v1",
    first: FIRST,
    doc: "crates/xtask/src/lifecycle.rs",
};

/// The modules of Kubernetes' own repository in which gates are registered.
const STAGING: [&str; 6] = [
    "apiextensions-apiserver",
    "apiserver",
    "client-go",
    "cloud-provider",
    "component-base",
    "controller-manager",
];

/// Where a minor may have its list.
const LISTS: [&str; 4] = [
    "test/featuregates_linter/test_data/versioned_feature_list.yaml",
    "test/featuregates_linter/test_data/unversioned_feature_list.yaml",
    "test/compatibility_lifecycle/reference/versioned_feature_list.yaml",
    "test/compatibility_lifecycle/reference/unversioned_feature_list.yaml",
];

/// What a minor says of a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Gate {
    stage: Stage,
    /// The only value that it may have, where there is one.
    locked: Option<bool>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    Deprecated,
    #[default]
    Other,
}

impl Stage {
    fn read(text: &str) -> Self {
        if text == "Deprecated" {
            Self::Deprecated
        } else {
            Self::Other
        }
    }
}

/// What is known of one minor.
#[derive(Debug, Default)]
struct Sources {
    minor: u64,
    /// The version of the module, and its checksum as `go.sum` has it.
    version: String,
    sum: String,
    gates: BTreeMap<String, Gate>,
    /// kubeadm's own gates.
    kubeadm: BTreeSet<String>,
    plugins: BTreeSet<String>,
}

/// The table, from the modules in Go's cache.
pub fn table(cache: &Path) -> Result<String> {
    let minors = newest_of_each_minor(&cache.join("k8s.io"), &KUBERNETES)?;
    let minors: Result<Vec<Sources>> = minors
        .into_iter()
        .map(|(minor, patch)| read(cache, minor, patch))
        .collect();
    Ok(derive::table(&minors?))
}

fn read(cache: &Path, minor: u64, patch: u64) -> Result<Sources> {
    let version = format!("v1.{minor}.{patch}");
    let kubernetes = cache.join(format!("k8s.io/kubernetes@{version}"));
    let sum = cache.join(format!("cache/download/k8s.io/kubernetes/@v/{version}.ziphash"));
    let staging = STAGING.map(|name| cache.join(format!("k8s.io/{name}@v0.{minor}.{patch}")));
    let mut constants = BTreeMap::new();
    let mut gates = BTreeMap::new();
    for folder in std::iter::once(kubernetes.join("pkg/features")).chain(staging) {
        for path in go_files(&folder)? {
            let text = text(&path)?;
            constants.extend(go::constants(&text));
            gates.extend(go::gates(&text));
        }
    }
    let name = |constant: &str| constants.get(constant).map_or(constant, String::as_str).to_owned();
    let mut gates: BTreeMap<String, Gate> = gates
        .into_iter()
        .map(|(constant, gate)| (name(&constant), gate))
        .collect();
    for list in LISTS
        .map(|list| kubernetes.join(list))
        .iter()
        .filter(|list| list.exists())
    {
        gates.extend(
            listed(list, minor)?
                .into_iter()
                .map(|(constant, gate)| (name(&constant), gate)),
        );
    }
    for constant in constants.values() {
        gates.entry(constant.clone()).or_default();
    }
    let features = text(&kubernetes.join("cmd/kubeadm/app/features/features.go"))?;
    let plugins = text(&kubernetes.join("pkg/kubeapiserver/options/plugins.go"))?;
    Ok(Sources {
        minor,
        sum: text(&sum)?.trim().to_owned(),
        version,
        gates,
        kubeadm: go::kubeadm_gates(&features),
        plugins: go::plugins(&plugins),
    })
}

/// The sources below a folder, but for tests.
fn go_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        if path.is_dir() {
            files.extend(go_files(&path)?);
        } else if name.ends_with(".go") && !name.ends_with("_test.go") {
            files.push(path);
        }
    }
    Ok(files)
}

/// A gate in Kubernetes' list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    versioned_specs: Vec<ListedSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedSpec {
    default: bool,
    lock_to_default: bool,
    pre_release: String,
    /// The minor since which it is so; empty where it always was.
    version: String,
}

/// The gates of a list, as they are in a minor.
fn listed(path: &Path, minor: u64) -> Result<BTreeMap<String, Gate>> {
    let gates: Option<Vec<Listed>> =
        serde_saphyr::from_str(&text(path)?).with_context(|| path.display().to_string())?;
    let gates = gates.into_iter().flatten().map(|gate| {
        let since = |spec: &&ListedSpec| {
            let since = spec.version.split_once('.').map(|(_, minor)| minor.parse::<u64>());
            since.is_none_or(|since| since.is_ok_and(|since| since <= minor))
        };
        let spec = gate.versioned_specs.iter().rfind(since);
        let said = spec.map_or_else(Gate::default, |spec| Gate {
            stage: Stage::read(&spec.pre_release),
            locked: spec.lock_to_default.then_some(spec.default),
        });
        (gate.name, said)
    });
    Ok(gates.collect())
}
