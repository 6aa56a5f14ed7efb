//! `cargo xtask removed-apis`: which kinds of Kubernetes' own APIs are served no more, and since which minor, from its
//! sources.
//!
//! The sources are Go modules, which `go mod download` unpacks and checks; nothing is built of them:
//!
//! ```text
//! for version in 22.17 23.17 24.17 25.16 26.15 27.16 28.15 29.15 30.14 31.14 32.13 33.13 34.4 35.4 36.3 37.2; do
//!   go mod download "k8s.io/api@v0.$version"
//! done
//! cargo run -p xtask -- removed-apis "$(go env GOMODCACHE)"
//! ```
//!
//! All minors are read, since the newest has no package of what went long ago, and since dates are put off: what a newer
//! minor says of a kind counts. Packages stay for a while after the API is served no more, so a kind is gone in the minor
//! that it names, or in the first one without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use crate::go_modules::{self, newest_of_each_minor, text};
use anyhow::{Context, Result, ensure};

/// What is written.
pub const FILE: &str = "crates/preflight/data/removed_apis.tsv";

/// The first minor that is read. What was gone in it already is not written: no upgrade takes it away.
const FIRST: u64 = 22;

const API: go_modules::Sources = go_modules::Sources {
    module: "api",
    major: "v0",
    first: FIRST,
    doc: "crates/xtask/src/removed_apis.rs",
};

const HEADER: &str = "\
# Which resources of Kubernetes' own APIs are served no more, since which minor, and what to use in their place. Generated
# by cargo xtask removed-apis from these modules; do not edit.
";

/// A kind at a version of its API group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GroupVersionKind {
    group: String,
    version: String,
    kind: String,
}

/// What a minor says of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    /// The minor of v1 that doesn't serve it.
    removed: Option<u64>,
    replacement: Option<GroupVersionKind>,
}

/// The kinds of one minor.
#[derive(Debug, Default)]
struct Sources {
    minor: u64,
    version: String,
    sum: String,
    kinds: BTreeMap<GroupVersionKind, Said>,
}

/// The table, from the modules in Go's cache.
pub fn table(cache: &Path) -> Result<String> {
    let minors: Result<Vec<Sources>> = newest_of_each_minor(&cache.join("k8s.io"), &API)?
        .into_iter()
        .map(|(minor, patch)| read(cache, minor, patch))
        .collect();
    Ok(derive(&minors?))
}

fn read(cache: &Path, minor: u64, patch: u64) -> Result<Sources> {
    let version = format!("v0.{minor}.{patch}");
    let module = cache.join(format!("k8s.io/api@{version}"));
    let sum = text(&cache.join(format!("cache/download/k8s.io/api/@v/{version}.ziphash")))?;
    let mut kinds = BTreeMap::new();
    for group in folders(&module)? {
        for package in folders(&group)? {
            if package.join("register.go").exists() {
                kinds.extend(of_package(&package).with_context(|| package.display().to_string())?);
            }
        }
    }
    ensure!(!kinds.is_empty(), "{}: no kinds are there", module.display());
    Ok(Sources {
        minor,
        version,
        sum: sum.trim().to_owned(),
        kinds,
    })
}

/// The kinds of one package. Some say nothing of their end.
fn of_package(package: &Path) -> Result<BTreeMap<GroupVersionKind, Said>> {
    let group = text(&package.join("register.go"))?;
    let group = group_name(&group).context("register.go names no group")?.to_owned();
    let version = package.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let lifecycle = package.join("zz_generated.prerelease-lifecycle.go");
    let lifecycle = if lifecycle.exists() {
        text(&lifecycle)?
    } else {
        String::new()
    };
    let said = lifecycle_of(&lifecycle)?;
    let kinds = kinds(&text(&package.join("zz_generated.deepcopy.go"))?);
    let kinds = kinds.into_iter().map(|kind| {
        let said = said.get(&kind).cloned().unwrap_or_default();
        let (group, version) = (group.clone(), version.to_owned());
        (GroupVersionKind { group, version, kind }, said)
    });
    Ok(kinds.collect())
}

fn folders(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("testdata") {
            found.push(path);
        }
    }
    Ok(found)
}

/// `const GroupName = "storage.k8s.io"`.
fn group_name(register: &str) -> Option<&str> {
    let declared = register
        .lines()
        .find_map(|line| line.strip_prefix("const GroupName = \""))?;
    declared.split_once('"').map(|(name, _)| name)
}

/// The types that are objects: those with `DeepCopyObject`. A list goes with what it lists.
fn kinds(deep_copies: &str) -> BTreeSet<String> {
    let all: BTreeSet<&str> = deep_copies
        .lines()
        .filter_map(|line| receiver(line, "DeepCopyObject"))
        .collect();
    let is_list = |kind: &str| kind.strip_suffix("List").is_some_and(|of| all.contains(of));
    all.iter()
        .filter(|kind| !is_list(kind))
        .map(|kind| (*kind).to_owned())
        .collect()
}

/// What a file of `APILifecycle...` functions says of each kind.
fn lifecycle_of(source: &str) -> Result<BTreeMap<String, Said>> {
    let mut kinds: BTreeMap<String, Said> = BTreeMap::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = receiver(line, "APILifecycleRemoved") {
            let removed = returned(lines.next()).context("APILifecycleRemoved returns something else")?;
            let (major, minor) = removed
                .split_once(", ")
                .context("APILifecycleRemoved returns no version")?;
            ensure!(major == "1", "{line}: {removed} is of another major version");
            kinds.entry(kind.to_owned()).or_default().removed = Some(minor.parse()?);
        } else if let Some(kind) = receiver(line, "APILifecycleReplacement") {
            let replacement = returned(lines.next()).context("APILifecycleReplacement returns something else")?;
            let field = |name: &str| {
                let (_, rest) = replacement.split_once(&format!("{name}: \""))?;
                rest.split_once('"').map(|(value, _)| value.to_owned())
            };
            let replacement = GroupVersionKind {
                group: field("Group").context("a replacement without a group")?,
                version: field("Version").context("a replacement without a version")?,
                kind: field("Kind").context("a replacement without a kind")?,
            };
            kinds.entry(kind.to_owned()).or_default().replacement = Some(replacement);
        }
    }
    Ok(kinds)
}

/// The type of a method: `func (in *Kind) Method() ...`.
fn receiver<'l>(line: &'l str, method: &str) -> Option<&'l str> {
    let (kind, rest) = line.strip_prefix("func (in *")?.split_once(") ")?;
    rest.strip_prefix(method)?.starts_with('(').then_some(kind)
}

fn returned(line: Option<&str>) -> Option<&str> {
    line?.trim().strip_prefix("return ")
}

/// What is gone, and since when. `minors` are in order.
fn derive(minors: &[Sources]) -> String {
    let mut table = HEADER.to_owned();
    for Sources { version, sum, .. } in minors {
        // A String takes whatever is written.
        let _ = writeln!(table, "source\tk8s.io/api {version}\t{sum}");
    }
    let kinds: BTreeSet<&GroupVersionKind> = minors.iter().flat_map(|minor| minor.kinds.keys()).collect();
    for kind in kinds {
        let Some(gone) = gone(minors, kind) else {
            continue;
        };
        let GroupVersionKind { group, version, .. } = kind;
        let _ = write!(
            table,
            "api\t{group}\t{version}\t{}\tgone=v1.{gone}",
            resource(&kind.kind)
        );
        if let Some(GroupVersionKind { group, version, kind }) = successor(minors, kind) {
            let _ = write!(table, "\tuse={group}/{version}/{}", resource(&kind));
        }
        table.push('\n');
    }
    table
}

/// The first minor that doesn't serve a kind.
fn gone(minors: &[Sources], kind: &GroupVersionKind) -> Option<u64> {
    let (last, said) = newest(minors, kind)?;
    let absent = minors.iter().map(|minor| minor.minor).find(|minor| *minor > last);
    let gone = said.removed.into_iter().chain(absent).min();
    gone.filter(|gone| *gone > FIRST)
}

fn newest<'m>(minors: &'m [Sources], kind: &GroupVersionKind) -> Option<(u64, &'m Said)> {
    let mut said = minors
        .iter()
        .rev()
        .filter_map(|minor| Some((minor.minor, minor.kinds.get(kind)?)));
    said.next()
}

/// What stays when a kind goes: its replacement, or that one's, and where none is declared the kind at a version that is
/// no alpha and no beta.
fn successor(minors: &[Sources], kind: &GroupVersionKind) -> Option<GroupVersionKind> {
    let declared = std::iter::successors(Some(kind.clone()), |kind| newest(minors, kind)?.1.replacement.clone());
    // No chain of them is longer.
    let declared = declared.skip(1).take(4).find(|kind| gone(minors, kind).is_none());
    let stable = || {
        let mut kinds = minors.last()?.kinds.keys();
        kinds.find(|other| {
            other.group == kind.group
                && other.kind == kind.kind
                && other
                    .version
                    .trim_start_matches('v')
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
        })
    };
    declared.or_else(|| stable().cloned())
}

/// The resource of a kind: all that Kubernetes ever took away have a name that follows from it.
fn resource(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if lower == "endpoints" || lower.ends_with("parameters") {
        return lower;
    }
    match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if lower.ends_with('s') => format!("{lower}es"),
        None => format!("{lower}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFECYCLE: &str = "\
// APILifecycleIntroduced is an autogenerated function.
func (in *Widget) APILifecycleIntroduced() (major, minor int) {
	return 1, 20
}
func (in *Widget) APILifecycleReplacement() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: \"w.k8s.io\", Version: \"v1\", Kind: \"Widget\"}
}
func (in *Widget) APILifecycleRemoved() (major, minor int) {
	return 1, 25
}
";

    fn kind(version: &str) -> GroupVersionKind {
        GroupVersionKind {
            group: "w.k8s.io".to_owned(),
            version: version.to_owned(),
            kind: "Widget".to_owned(),
        }
    }

    #[test]
    fn sources_are_read() {
        let said = lifecycle_of(LIFECYCLE).unwrap();
        let expected = Said {
            removed: Some(25),
            replacement: Some(kind("v1")),
        };
        assert_eq!(said, BTreeMap::from([("Widget".to_owned(), expected)]));
        let copies = "func (in *Widget) DeepCopyObject() runtime.Object {\nfunc (in *WidgetList) DeepCopyObject() \
                      runtime.Object {\nfunc (in *WidgetSpec) DeepCopy() *WidgetSpec {\n";
        assert_eq!(kinds(copies), BTreeSet::from(["Widget".to_owned()]));
        assert_eq!(group_name("// x\nconst GroupName = \"w.k8s.io\"\n"), Some("w.k8s.io"));
        for (kind, name) in [
            ("FlowSchema", "flowschemas"),
            ("PodSecurityPolicy", "podsecuritypolicies"),
            ("CSIStorageCapacity", "csistoragecapacities"),
            ("Ingress", "ingresses"),
            ("VolumeAttributesClass", "volumeattributesclasses"),
            ("Endpoints", "endpoints"),
        ] {
            assert_eq!(resource(kind), name);
        }
    }

    #[test]
    fn what_stays_is_named() {
        let said = |removed, replacement: &str| Said {
            removed,
            replacement: (!replacement.is_empty()).then(|| kind(replacement)),
        };
        let source = Sources {
            minor: 30,
            kinds: BTreeMap::from([
                (kind("v1alpha1"), said(Some(31), "")),
                (kind("v1beta1"), said(Some(31), "v1beta2")),
                (kind("v1beta2"), said(Some(32), "v1")),
                (kind("v1"), said(None, "")),
            ]),
            ..Sources::default()
        };
        for version in ["v1alpha1", "v1beta1", "v1beta2"] {
            let found = successor(std::slice::from_ref(&source), &kind(version));
            assert_eq!(found, Some(kind("v1")), "{version}");
        }
    }

    #[test]
    fn a_kind_is_gone_when_it_says_so_last_or_is_not_there() {
        let gone = |minors: [Option<Option<u64>>; 3]| {
            let minors: Vec<Sources> = (23..)
                .zip(minors)
                .map(|(minor, removed)| {
                    let said = removed.map(|removed| {
                        let replacement = Some(kind("v1"));
                        (kind("v1beta1"), Said { removed, replacement })
                    });
                    Sources {
                        minor,
                        kinds: said.into_iter().collect(),
                        ..Sources::default()
                    }
                })
                .collect();
            let table = derive(&minors);
            let row = table.lines().find_map(|line| line.strip_prefix("api\t"));
            row.map(str::to_owned)
        };
        let row = |minor: u64| {
            Some(format!(
                "w.k8s.io\tv1beta1\twidgets\tgone=v1.{minor}\tuse=w.k8s.io/v1/widgets"
            ))
        };
        assert_eq!(gone([Some(None), Some(None), Some(None)]), None);
        assert_eq!(gone([Some(Some(25)), Some(Some(26)), Some(Some(27))]), row(27));
        assert_eq!(gone([Some(Some(24)), Some(Some(24)), Some(Some(24))]), row(24));
        assert_eq!(gone([Some(Some(26)), None, None]), row(24));
        assert_eq!(gone([Some(None), Some(None), None]), row(25));
        assert_eq!(gone([Some(Some(22)), Some(Some(22)), None]), None);
    }
}
