//! The pins: a topology Cluster's bill of materials, as its annotation carries it.

use std::collections::{BTreeMap, BTreeSet};

use instar_domain::{JsonPointer, KubeVersion, json::Object};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::ReleaseChange;

/// Values by where they go in a template.
pub type Values = BTreeMap<JsonPointer, Value>;

/// Where a KubeadmControlPlaneTemplate keeps etcd's image, for a stacked etcd.
pub const KCP_ETCD: &str = "/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/etcd/local";

/// Where a KubeadmControlPlaneTemplate keeps CoreDNS' image.
pub const KCP_COREDNS: &str = "/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/dns";

/// For each version that a Cluster is on or goes through: the release, and the values that its
/// templates get.
///
/// The wiring of a ClusterClass reads this text with Go templates, so its member names and its
/// shape are fixed: maps are always written, also when they are empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pins {
    /// The versions that the Cluster ran when it met Instar, mostly one: their templates stay as the class renders
    /// them without pins. Written as one string with spaces between the versions, empty where the Cluster was created
    /// with pins: for one version that is the text that classes read which were wired before there could be several.
    #[serde(serialize_with = "spaced", deserialize_with = "from_spaced")]
    pub adopted: BTreeSet<KubeVersion>,

    /// A pin for each version, in the order of the versions.
    #[serde(deserialize_with = "objects")]
    pub releases: BTreeMap<KubeVersion, Pin>,

    /// What a later version of Instar has written beside, kept as it is.
    #[serde(flatten)]
    pub later: BTreeMap<String, Value>,
}

/// What one version's templates get. Only the release has to be there when it is read: a user who
/// edits the annotation names the release, and admission fills in its values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The name of the KubernetesRelease that the values come from.
    pub release: String,

    /// For the KubeadmControlPlaneTemplate: etcd's and CoreDNS' images.
    #[serde(default)]
    pub kubeadm: Values,

    /// For the control plane's machine template.
    #[serde(default)]
    pub control_plane: Values,

    /// For the pools that have no values of their own below.
    #[serde(default)]
    pub workers: Values,

    /// For MachineDeployments that differ from the other workers, by their name in the topology.
    #[serde(default)]
    pub machine_deployments: BTreeMap<String, Values>,

    /// For MachinePools that differ from the other workers, by their name in the topology.
    #[serde(default)]
    pub machine_pools: BTreeMap<String, Values>,

    /// Which pools still have the values of another release of the version.
    #[serde(default, skip_serializing_if = "ReleaseChange::is_empty")]
    pub change: ReleaseChange,

    /// What a later version of Instar has written beside, kept as it is.
    #[serde(flatten)]
    pub later: BTreeMap<String, Value>,
}

/// The annotation's text is no bill of materials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the annotation {annotation} can't be read: {why}", annotation = crate::RELEASES_ANNOTATION)]
pub struct GarbledPins {
    why: String,
}

impl Pins {
    /// Reads the annotation's text.
    ///
    /// # Errors
    /// Where it isn't what [`Pins::to_annotation`] writes. Unknown members are no error: they are kept, so that two
    /// versions of Instar can run side by side.
    pub fn from_annotation(text: &str) -> Result<Self, GarbledPins> {
        let read: Result<Object<Self>, _> = serde_json::from_str(text);
        read.map(|Object(pins)| pins)
            .map_err(|error| GarbledPins { why: error.to_string() })
    }

    /// The annotation's text: the same pins give the same bytes.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        // A map whose keys are strings always has a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The adopted versions, with spaces between.
    #[must_use]
    pub fn adopted_text(&self) -> String {
        joined(&self.adopted)
    }

    /// Whether templates of this version are rendered, either from a pin or by the class alone.
    #[must_use]
    pub fn covers(&self, version: &KubeVersion) -> bool {
        self.adopted.contains(version) || self.releases.contains_key(version)
    }
}

impl Pin {
    /// The values of a MachineDeployment's machine template.
    #[must_use]
    pub fn machine_deployment(&self, name: &str) -> &Values {
        self.machine_deployments.get(name).unwrap_or(&self.workers)
    }

    /// The values of a MachinePool's pool template.
    #[must_use]
    pub fn machine_pool(&self, name: &str) -> &Values {
        self.machine_pools.get(name).unwrap_or(&self.workers)
    }

    /// The tag of etcd's image, where this pin sets one.
    #[must_use]
    pub fn etcd_tag(&self) -> Option<&str> {
        self.image(KCP_ETCD, "/imageTag")
    }

    /// The repository of etcd's image, where this pin sets one.
    #[must_use]
    pub fn etcd_repository(&self) -> Option<&str> {
        self.image(KCP_ETCD, "/imageRepository")
    }

    /// The tag of CoreDNS' image, where this pin sets one.
    #[must_use]
    pub fn core_dns_tag(&self) -> Option<&str> {
        self.image(KCP_COREDNS, "/imageTag")
    }

    /// The repository of CoreDNS' image, where this pin sets one.
    #[must_use]
    pub fn core_dns_repository(&self) -> Option<&str> {
        self.image(KCP_COREDNS, "/imageRepository")
    }

    fn image(&self, of: &str, part: &str) -> Option<&str> {
        self.kubeadm
            .iter()
            .find(|(pointer, _)| pointer.as_str().strip_prefix(of) == Some(part))
            .and_then(|(_, value)| value.as_str())
    }
}

fn joined(versions: &BTreeSet<KubeVersion>) -> String {
    let texts: Vec<String> = versions.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

fn spaced<S: Serializer>(versions: &BTreeSet<KubeVersion>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&joined(versions))
}

fn from_spaced<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<KubeVersion>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let versions = text.split(' ').filter(|version| !version.is_empty());
    versions
        .map(|version| version.parse().map_err(serde::de::Error::custom))
        .collect()
}

fn objects<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<KubeVersion, Pin>, D::Error> {
    let read: BTreeMap<KubeVersion, Object<Pin>> = BTreeMap::deserialize(deserializer)?;
    Ok(read.into_iter().map(|(version, Object(pin))| (version, pin)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What Clusters out there carry. A change here is a migration, never an edit of the text.
    const GOLDEN: &str = r#"{"adopted":"v1.33.5","releases":{"v1.34.3":{"release":"v1.34.3-1","kubeadm":{"/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/dns/imageTag":"v1.12.1","/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/etcd/local/imageTag":"3.6.5-0"},"controlPlane":{"/spec/template/spec/template":"ubuntu-v1.34.3"},"workers":{"/spec/template/spec/template":"ubuntu-v1.34.3"},"machineDeployments":{"gpu":{"/spec/template/spec/template":"ubuntu-gpu-v1.34.3"}},"machinePools":{}},"v1.35.4":{"release":"v1.35.4-2","kubeadm":{},"controlPlane":{},"workers":{},"machineDeployments":{},"machinePools":{}}}}"#;

    #[test]
    fn the_format_is_what_clusters_carry() {
        let pins = Pins::from_annotation(GOLDEN).unwrap();
        assert_eq!(pins.to_annotation(), GOLDEN);
        let pin = &pins.releases[&"v1.34.3".parse().unwrap()];
        assert_eq!(pin.etcd_tag(), Some("3.6.5-0"));
        let image: JsonPointer = "/spec/template/spec/template".parse().unwrap();
        assert_eq!(pin.machine_deployment("gpu")[&image], json!("ubuntu-gpu-v1.34.3"));
        assert_eq!(pin.machine_deployment("md-0")[&image], json!("ubuntu-v1.34.3"));
        assert_eq!(pin.machine_pool("gpu")[&image], json!("ubuntu-v1.34.3"));
        assert!(pins.covers(&"v1.33.5".parse().unwrap()));
        assert!(!pins.covers(&"v1.36.3".parse().unwrap()));
    }

    #[test]
    fn created_pins_say_that_nothing_was_adopted() {
        let text = Pins::default().to_annotation();
        assert_eq!(text, r#"{"adopted":"","releases":{}}"#);
        assert_eq!(Pins::from_annotation(&text).unwrap(), Pins::default());
    }

    #[test]
    fn several_versions_may_be_adopted() {
        let text = r#"{"adopted":"v1.33.5 v1.34.3","releases":{}}"#;
        let pins = Pins::from_annotation(text).unwrap();
        assert_eq!(pins.to_annotation(), text);
        assert!(pins.covers(&"v1.33.5".parse().unwrap()) && pins.covers(&"v1.34.3".parse().unwrap()));
        assert!(!pins.covers(&"v1.35.4".parse().unwrap()));
    }

    #[test]
    fn what_a_later_version_has_written_stays() {
        let text = r#"{"adopted":"","releases":{"v1.34.3":{"release":"r","kubeadm":{},"controlPlane":{},"workers":{},"machineDeployments":{},"machinePools":{},"addons":[1]}},"since":"2026"}"#;
        assert_eq!(Pins::from_annotation(text).unwrap().to_annotation(), text);
    }

    #[test]
    fn pools_that_follow_later_stand_beside_their_values() {
        let text = r#"{"adopted":"","releases":{"v1.34.3":{"release":"v1.34.3-2","kubeadm":{},"controlPlane":{},"workers":{"/spec/template/spec/template":"two"},"machineDeployments":{"md-1":{"/spec/template/spec/template":"one"}},"machinePools":{},"change":{"machineDeployments":{"md-1":"v1.34.3-1"},"left":{"controlPlane":{"name":"c-x","release":"v1.34.3-1"},"machineDeployments":{"md-0":"c-md-0-x"}}}}}}"#;
        let pins = Pins::from_annotation(text).unwrap();
        assert_eq!(pins.to_annotation(), text);
        let pin = &pins.releases[&"v1.34.3".parse().unwrap()];
        assert!(pin.change.has_followers());
        // An Instar that doesn't know it keeps it.
        assert!(pin.later.is_empty());
    }

    #[test]
    fn versions_are_ordered_as_versions() {
        let mut pins = Pins::default();
        for version in ["v1.34.10", "v1.34.9", "v1.34.10-rc.1"] {
            pins.releases.insert(version.parse().unwrap(), Pin::default());
        }
        let order: Vec<String> = pins.releases.keys().map(ToString::to_string).collect();
        assert_eq!(order, ["v1.34.9", "v1.34.10-rc.1", "v1.34.10"]);
    }

    #[test]
    fn garbled_text_says_what_is_wrong() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "missing field `adopted`"),
            (r#"{"adopted":"1.33","releases":{}}"#, "leading v is missing"),
            (r#"{"adopted":"","releases":{"v1.34":{}}}"#, "not a Kubernetes version"),
            // What the wiring's templates could not look into.
            (r#"["",{}]"#, "expected an object"),
            (r#"{"adopted":"","releases":{"v1.34.3":["r"]}}"#, "expected an object"),
        ] {
            let error = Pins::from_annotation(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.starts_with("the annotation upgrade.cluster.x-k8s.io/releases can't be read"));
        }
    }
}
