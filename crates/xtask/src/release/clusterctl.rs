//! The files that clusterctl installs from.
//!
//! Source: Cluster API's book, developer/providers/contracts/clusterctl.md.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Content, Files, Release, objects};
use crate::yaml;

/// Each minor of ours, with Cluster API's contract that it is for. A new minor gets a line; none goes.
pub(crate) const SERIES: [(u64, u64, &str); 1] = [(0, 1, "v1beta2")];

pub(super) const COMPONENTS: &str = "runtime-extension-components.yaml";

/// The folder of a release in a local repository of clusterctl.
pub(super) fn folder(release: &Release) -> String {
    format!("clusterctl/{}/{}", release.label(), release.tag())
}

pub(super) fn files(release: &Release, objects: &[Value]) -> Result<Files> {
    let folder = folder(release);
    Ok(Files::from([
        (
            format!("{folder}/{COMPONENTS}"),
            Content::Data(objects::text(objects)?.into_bytes()),
        ),
        (
            format!("{folder}/metadata.yaml"),
            Content::Data(metadata(release)?.into_bytes()),
        ),
    ]))
}

/// clusterctl refuses a release that no series has.
pub(super) fn metadata(release: &Release) -> Result<String> {
    let (major, minor) = (release.version.major, release.version.minor);
    ensure!(
        SERIES.iter().any(|series| (series.0, series.1) == (major, minor)),
        "no series for {}: add a line with its contract to SERIES of crates/xtask/src/release/clusterctl.rs",
        release.tag()
    );
    let series = SERIES.map(|(major, minor, contract)| json!({ "major": major, "minor": minor, "contract": contract }));
    yaml::documents(&[json!({
        "apiVersion": "clusterctl.cluster.x-k8s.io/v1alpha3",
        "kind": "Metadata",
        "releaseSeries": series,
    })])
}
