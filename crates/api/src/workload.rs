//! Whether the checks may read the workload clusters, and by which Secret.

use std::{collections::BTreeSet, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What Cluster API calls the Secret of a Cluster's kubeconfig.
const DEFAULT_NAME: &str = "{cluster}-kubeconfig";

/// Where the name of the Cluster goes.
const CLUSTER: &str = "{cluster}";

/// How the workload clusters are read.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPolicy {
    /// Absent: it is as other policies say, and Disabled where none says anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<WorkloadSwitch>,

    /// The Secret with the kubeconfig, in the namespace of the Cluster. It has the label
    /// cluster.x-k8s.io/cluster-name with the name of the Cluster, and the kubeconfig in the key value. If several
    /// policies select a Cluster and name a Secret, they must name the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig_secret: Option<KubeconfigSecret>,
}

impl WorkloadPolicy {
    /// Whether it says nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.access.is_none() && self.kubeconfig_secret.is_none()
    }
}

/// Enabled: the checks that read the workload cluster are asked, and its kube-proxy and CoreDNS are verified at the end, by
/// the kubeconfig in a Secret of the Cluster, to which the controller needs a right (config/workload). Disabled: no such
/// Secret is read, whatever other policies say. Absent: it is as other policies say, and Disabled where none says anything.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadSwitch {
    /// They are.
    Enabled,
    /// They are not.
    Disabled,
}

/// The Secret that has the kubeconfig of a Cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigSecret {
    /// Its name, in which {cluster} stands for the name of the Cluster: "{cluster}-kubeconfig" where it is absent.
    #[serde(default)]
    pub name: SecretNameTemplate,
}

/// The name of a Secret, in which `{cluster}` stands for the name of a Cluster. It is there once, so that no two
/// Clusters have one Secret.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String", into = "String")]
pub struct SecretNameTemplate {
    before: String,
    after: String,
}

/// A text is no name of a Secret with a place for the name of the Cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write the name of a Secret that contains {{cluster}} once, such as \"{DEFAULT_NAME}\"")]
pub struct InvalidSecretName;

impl SecretNameTemplate {
    const PATTERN: &str = r"^[a-z0-9.-]*\{cluster\}[a-z0-9.-]*$";
    const MAX_LENGTH: usize = 128;

    /// The name of the Secret of a Cluster.
    #[must_use]
    pub fn of(&self, cluster: &str) -> String {
        format!("{}{cluster}{}", self.before, self.after)
    }
}

impl Default for SecretNameTemplate {
    fn default() -> Self {
        Self {
            before: String::new(),
            after: DEFAULT_NAME.trim_start_matches(CLUSTER).to_owned(),
        }
    }
}

impl TryFrom<String> for SecretNameTemplate {
    type Error = InvalidSecretName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (before, after) = text.split_once(CLUSTER).ok_or(InvalidSecretName)?;
        let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
        if text.len() > Self::MAX_LENGTH || !before.bytes().chain(after.bytes()).all(is_of_name) {
            return Err(InvalidSecretName);
        }
        Ok(Self {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }
}

impl From<SecretNameTemplate> for String {
    fn from(template: SecretNameTemplate) -> Self {
        template.to_string()
    }
}

impl fmt::Display for SecretNameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of(CLUSTER))
    }
}

impl JsonSchema for SecretNameTemplate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretNameTemplate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": Self::MAX_LENGTH, "pattern": Self::PATTERN })
    }
}

/// Whether a workload cluster is read, as the policies that select its Cluster say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadAccess {
    /// It isn't.
    Disabled,
    /// By the kubeconfig in this Secret.
    Enabled(SecretNameTemplate),
    /// The policies don't say how, and this is why.
    Unclear(String),
}

/// What the policies say together: one that says Disabled counts more than any that says Enabled. Pass those that
/// select the Cluster.
#[must_use]
pub fn workload_access<'a>(policies: impl IntoIterator<Item = &'a WorkloadPolicy>) -> WorkloadAccess {
    let (mut is_enabled, mut names) = (WorkloadSwitch::Disabled, BTreeSet::new());
    for policy in policies {
        match policy.access {
            Some(WorkloadSwitch::Disabled) => return WorkloadAccess::Disabled,
            Some(WorkloadSwitch::Enabled) => is_enabled = WorkloadSwitch::Enabled,
            None => {}
        }
        names.extend(policy.kubeconfig_secret.iter().map(|secret| &secret.name));
    }
    match is_enabled {
        WorkloadSwitch::Disabled => return WorkloadAccess::Disabled,
        WorkloadSwitch::Enabled => {}
    }
    let mut names = names.into_iter();
    match (names.next(), names.next()) {
        (None, _) => WorkloadAccess::Enabled(SecretNameTemplate::default()),
        (Some(name), None) => WorkloadAccess::Enabled(name.clone()),
        (Some(one), Some(other)) => WorkloadAccess::Unclear(format!(
            "spec.workload.kubeconfigSecret.name is \"{one}\" in one UpgradePolicy of this Cluster and \"{other}\" in \
             another: let them name the same Secret"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn disabled_counts_more_than_enabled_and_nothing_is_read_without_either() {
        let enabled = || json!({ "access": "Enabled" });
        let named = |name: &str| json!({ "kubeconfigSecret": { "name": name } });
        let access = |policies: &[Value]| {
            let read = |policy: &Value| -> WorkloadPolicy { serde_json::from_value(policy.clone()).unwrap() };
            let policies: Vec<_> = policies.iter().map(read).collect();
            workload_access(&policies)
        };
        let default = || WorkloadAccess::Enabled(SecretNameTemplate::default());
        assert_eq!(access(&[]), WorkloadAccess::Disabled);
        assert_eq!(access(&[json!({}), named("x-{cluster}")]), WorkloadAccess::Disabled);
        assert_eq!(access(&[json!({}), enabled()]), default());
        assert_eq!(access(&[enabled(), json!({ "kubeconfigSecret": {} })]), default());
        assert_eq!(
            access(&[enabled(), json!({ "access": "Disabled" })]),
            WorkloadAccess::Disabled
        );
        let WorkloadAccess::Enabled(secret) = access(&[named("vc-{cluster}"), enabled()]) else {
            panic!("not enabled");
        };
        assert_eq!(secret.of("a"), "vc-a");
        let WorkloadAccess::Unclear(why) = access(&[named("vc-{cluster}"), enabled(), named("{cluster}-k")]) else {
            panic!("not unclear");
        };
        assert!(
            why.contains("\"vc-{cluster}\"") && why.contains("\"{cluster}-k\""),
            "{why}"
        );
    }

    #[test]
    fn a_name_has_one_place_for_the_cluster() {
        assert_eq!(SecretNameTemplate::default().to_string(), DEFAULT_NAME);
        for name in ["{cluster}-kubeconfig", "vc-{cluster}", "{cluster}"] {
            let read: SecretNameTemplate = serde_json::from_value(json!(name)).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), json!(name));
        }
        let long = format!("{{cluster}}{}", "a".repeat(128));
        for name in [
            "",
            "kubeconfig",
            "{cluster}{cluster}",
            "A{cluster}",
            "../{cluster}",
            "{name}-kubeconfig",
            &long,
        ] {
            assert!(
                serde_json::from_value::<SecretNameTemplate>(json!(name)).is_err(),
                "{name}"
            );
        }
    }
}
