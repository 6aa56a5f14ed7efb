//! Which releases a Cluster is pinned to, as the metrics ask it of all Clusters at once.

use std::collections::BTreeMap;

use instar_api::RELEASES_ANNOTATION;
use instar_capi::Cluster;
use instar_domain::KubeVersion;
use kube::ResourceExt;
use serde::Deserialize;

/// Of the pins, what is read here. The values, which are most of it, are skipped.
#[derive(Deserialize)]
struct Releases {
    releases: BTreeMap<KubeVersion, Release>,
}

#[derive(Deserialize)]
struct Release {
    release: String,
}

/// Version and release of each pin, lowest first, a line for each. A fleet has one of these texts for each Cluster.
pub(super) fn text(cluster: &Cluster) -> Box<str> {
    let pins = cluster.annotations().get(RELEASES_ANNOTATION);
    // Pins that can't be read are reported by the pass over the Cluster.
    let pins = pins.and_then(|pins| serde_json::from_str::<Releases>(pins).ok());
    let releases = pins.into_iter().flat_map(|pins| pins.releases);
    let lines = releases.map(|(version, pin)| format!("{version} {}\n", pin.release));
    lines.collect::<String>().into()
}

/// A version with its release, as texts.
pub(crate) type Pinned = (String, String);

/// Of what [`text`] has written.
pub(super) fn read(text: &str) -> Vec<Pinned> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(version, release)| (version.to_owned(), release.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_for_each_pin_and_nothing_of_its_values() {
        let pinned = |pins: &str| {
            let cluster: Cluster = serde_json::from_value(json!({
                "metadata": { "name": "c", "annotations": { RELEASES_ANNOTATION: pins } }, "spec": {},
            }))
            .unwrap();
            read(&text(&cluster))
        };
        let two = r#"{"adopted":"v1.33.5","releases":{
            "v1.34.3":{"release":"v34","kubeadm":{"/a":"b"},"workers":{}},"v1.35.4":{"release":"v35"}}}"#;
        let expected = [("v1.34.3", "v34"), ("v1.35.4", "v35")];
        assert_eq!(
            pinned(two),
            expected.map(|(version, release)| (version.to_owned(), release.to_owned()))
        );
        assert_eq!(pinned("{"), []);
        assert_eq!(pinned(r#"{"adopted":"v1.33.5","releases":{}}"#), []);
    }
}
