//! The bill of materials: each crate that is linked into the program, with its licence, as `CycloneDX` has it.
//!
//! It comes from the lock file, for the platform of the release. Crates of which cargo only says that some feature of the
//! workspace asks for them are in it too.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Content, Files, Platform, Program, Release, hex};
use crate::root;

pub(super) fn files(release: &Release) -> Result<Files> {
    let metadata = metadata(release.platform())?;
    let mut files = Files::new();
    for program in Program::ALL {
        let bill = bill(release, program, &linked(&metadata, program)?)?;
        let text = serde_json::to_string_pretty(&bill)? + "\n";
        let path = format!("sbom/{}.cdx.json", release.name_of(program));
        files.insert(path, Content::Data(text.into_bytes()));
    }
    Ok(files)
}

pub(super) fn metadata(platform: Platform) -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .features(CargoOpt::SomeFeatures(Vec::new()))
        .other_options([
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            platform.target().to_owned(),
        ])
        .exec()
        .context("cargo metadata")
}

/// A package, and those that it links.
pub(super) type Linked<'a> = BTreeMap<String, (&'a Package, BTreeSet<String>)>;

/// What the program links, by its package URL: not what builds or tests it.
pub(super) fn linked(metadata: &Metadata, program: Program) -> Result<Linked<'_>> {
    let packages: BTreeMap<&PackageId, &Package> =
        metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let resolve = metadata.resolve.as_ref().context("cargo metadata resolves nothing")?;
    let needs: BTreeMap<&PackageId, Vec<&PackageId>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let linked = node.deps.iter().filter(|dependency| {
                let mut kinds = dependency.dep_kinds.iter();
                kinds.any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, linked.map(|dependency| &dependency.pkg).collect())
        })
        .collect();
    let program = metadata
        .workspace_packages()
        .into_iter()
        .find(|package| *package.name == program.package());
    let mut to_visit = vec![&program.context("no package has the program")?.id];
    let mut found = Linked::new();
    while let Some(id) = to_visit.pop() {
        let package = packages.get(id).with_context(|| format!("{id}: no such package"))?;
        // A macro runs when the program is built.
        if package.targets.iter().any(cargo_metadata::Target::is_proc_macro) {
            continue;
        }
        if found.contains_key(&url(package)) {
            continue;
        }
        let next = needs.get(id).map(Vec::as_slice).unwrap_or_default();
        let libraries = next.iter().filter_map(|id| packages.get(id)).filter(|package| {
            let mut targets = package.targets.iter();
            !targets.any(cargo_metadata::Target::is_proc_macro)
        });
        found.insert(url(package), (package, libraries.map(|package| url(package)).collect()));
        to_visit.extend(next);
    }
    Ok(found)
}

/// As package URLs name a crate.
fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn bill(release: &Release, program: Program, linked: &Linked<'_>) -> Result<Value> {
    let (mut components, mut dependencies, mut own) = (Vec::new(), Vec::new(), None);
    for (url, (package, needs)) in linked {
        let mut component = json!({
            "type": "library",
            "bom-ref": url,
            "name": package.name.as_str(),
            "version": package.version.to_string(),
            "purl": url,
            "scope": "required",
        });
        if let Some(license) = &package.license {
            // Old manifests have a slash for the "or" of SPDX.
            component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
        }
        if let Some(repository) = &package.repository {
            component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
        }
        dependencies.push(json!({ "ref": url, "dependsOn": needs }));
        if *package.name == program.package() {
            component["type"] = json!("application");
            component["version"] = json!(release.version.to_string());
            component["hashes"] = json!([{ "alg": "SHA-256", "content": hex(release.bytes_of(program)) }]);
            own = Some(component);
        } else {
            components.push(component);
        }
    }
    let seconds = i64::try_from(release.epoch).context("the time of the release")?;
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": Timestamp::from_second(seconds)?.to_string(),
            "component": own.context("the program is not linked")?,
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::tests::release;

    /// Every crate says under which licence it stands, and each of those that are linked is known.
    #[test]
    fn all_that_is_linked_is_listed() {
        let files = files(&release()).unwrap();
        let bill: Value = serde_json::from_slice(files["sbom/instar-linux-amd64.cdx.json"].bytes()).unwrap();
        let components = bill["components"].as_array().unwrap();
        let names: BTreeSet<&str> = components
            .iter()
            .filter_map(|component| component["name"].as_str())
            .collect();
        for name in ["kube", "tokio", "rustls", "instar-controller", "instar-webhooks"] {
            assert!(names.contains(name), "{name} is linked");
        }
        // They build and test it.
        for name in ["insta", "proptest", "xtask", "serde_derive", "instar-testkit"] {
            assert!(!names.contains(name), "{name} is not linked");
        }
        let known: BTreeSet<&str> = components
            .iter()
            .chain([&bill["metadata"]["component"]])
            .filter_map(|component| component["bom-ref"].as_str())
            .collect();
        let dependencies = bill["dependencies"].as_array().unwrap();
        assert_eq!(dependencies.len(), known.len());
        for dependency in dependencies {
            for needed in dependency["dependsOn"].as_array().unwrap() {
                assert!(known.contains(needed.as_str().unwrap()), "{dependency}");
            }
        }
        for component in components {
            assert!(
                component["licenses"][0]["expression"].is_string(),
                "no licence: {component}"
            );
        }
        assert_eq!(bill["metadata"]["timestamp"], "2027-01-15T08:00:00Z");
    }
}
