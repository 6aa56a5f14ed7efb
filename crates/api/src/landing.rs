//! An upgrade of a topology Cluster that ends where its control plane stands.

use instar_domain::KubeVersion;
use serde::{Deserialize, Serialize};

/// Who has switched off Cluster API's check of a version edit: the value of its annotation
/// `unsafe.topology.cluster.x-k8s.io/disable-update-version-check` where admission has set it, for the one edit by which the
/// version goes down to where the control plane stands. By it the controller takes that annotation off, and no other.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LandingMark {
    /// Always Instar.
    set_by: Instar,
    /// `spec.topology.version` before the edit.
    pub from: KubeVersion,
    /// What it became.
    pub to: KubeVersion,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
enum Instar {
    Instar,
}

impl LandingMark {
    /// The mark of an edit.
    #[must_use]
    pub const fn new(from: KubeVersion, to: KubeVersion) -> Self {
        Self {
            set_by: Instar::Instar,
            from,
            to,
        }
    }

    /// Reads the annotation; nothing where a user has set it.
    #[must_use]
    pub fn from_annotation(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The annotation's text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        // Texts alone always have a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It stands on Clusters, and two versions of Instar read it.
    #[test]
    fn the_format_is_what_clusters_carry() {
        let mark = LandingMark::new("v1.35.4".parse().unwrap(), "v1.34.3".parse().unwrap());
        let text = r#"{"setBy":"Instar","from":"v1.35.4","to":"v1.34.3"}"#;
        assert_eq!(mark.to_annotation(), text);
        assert_eq!(LandingMark::from_annotation(text), Some(mark));
        for users in ["", "true", r#"{"setBy":"me","from":"v1.35.4","to":"v1.34.3"}"#] {
            assert_eq!(LandingMark::from_annotation(users), None, "{users}");
        }
    }
}
