//! The Helm chart as a package: what `helm package` makes, with the release's version and image in it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::{Content, Files, Release, changes, gzip};
use crate::{
    chart::{self, Chart},
    generated::manifests,
};

/// The chart's name, and the folder in the package.
const NAME: &str = "instar";

pub(super) fn files(release: &Release) -> Result<Files> {
    let chart = Chart {
        version: release.version.to_string(),
        image: release.image.clone(),
        label: release.label(),
        annotations: vec![
            ("artifacthub.io/changes", changed(&changes::of(release)?)),
            (
                "artifacthub.io/images",
                json!([{ "name": NAME, "image": format!("{}:{}", release.image, release.tag()) }]),
            ),
        ],
    };
    let package = package(&chart::files(&chart, manifests()?)?, release.epoch).context("the chart's package")?;
    let path = format!("charts/{NAME}-{}.tgz", release.version);
    Ok(Files::from([(path, Content::Data(package))]))
}

/// Each time in it is that of the release, and nothing else in it differs from one machine to another.
fn package(files: &[(String, String)], epoch: u64) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    // Helm reads the chart's name first.
    let (first, others): (Vec<_>, Vec<_>) = files.iter().partition(|(path, _)| path == "Chart.yaml");
    for (path, text) in first.into_iter().chain(others) {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(text.len().try_into()?);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(epoch);
        archive.append_data(&mut header, format!("{NAME}/{path}"), text.as_bytes())?;
    }
    gzip(&archive.into_inner()?, epoch)
}

/// The changelog's section as Artifact Hub reads it: the heading above an entry is its kind.
fn changed(section: &str) -> Value {
    let mut kind = "changed".to_owned();
    let mut changes = Vec::new();
    for line in section.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            kind = heading.trim().to_lowercase();
        } else if let Some(entry) = line.strip_prefix("- ") {
            changes.push(json!({ "kind": kind, "description": entry }));
        }
    }
    Value::Array(changes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::release::tests::release;

    #[test]
    fn the_package_has_the_version_and_the_image() {
        let release = release();
        let files = files(&release).unwrap();
        let package = files[concat!("charts/instar-", env!("CARGO_PKG_VERSION"), ".tgz")].bytes();
        let mut archive = tar::Archive::new(GzDecoder::new(package));
        let mut texts = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mtime().unwrap(), release.epoch);
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            texts.push((path, text));
        }
        assert_eq!(texts[0].0, "instar/Chart.yaml");
        let of = |path: &str| &texts.iter().find(|(found, _)| found == path).unwrap().1;
        assert!(of("instar/Chart.yaml").contains("artifacthub.io/changes: |"));
        assert!(of("instar/values.yaml").contains("repository: registry.example.org/instar\n"));
        let role = of("instar/templates/rbac/view-role.yaml");
        assert!(
            role.contains("cluster.x-k8s.io/provider: runtime-extension-example-instar"),
            "{role}"
        );
    }

    #[test]
    fn a_heading_is_the_kind_of_its_entries() {
        assert_eq!(
            changed("# Instar v1\n\n### Added\n\n- one\n\n### Fixed\n\n- two\n"),
            json!([
                { "kind": "added", "description": "one" },
                { "kind": "fixed", "description": "two" },
            ])
        );
    }
}
