//! What a kubeadm configuration sets that a later Kubernetes may not know: arguments of the components, and kubeadm's
//! own feature gates.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// Where a kubeadm configuration sets something. What only `kubeadm init` reads is left out: the machines of an upgrade
/// join.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettingField {
    /// `clusterConfiguration.apiServer.extraArgs`.
    #[serde(rename = "a")]
    ApiServer,
    /// `clusterConfiguration.controllerManager.extraArgs`.
    #[serde(rename = "c")]
    ControllerManager,
    /// `clusterConfiguration.scheduler.extraArgs`.
    #[serde(rename = "s")]
    Scheduler,
    /// `joinConfiguration.nodeRegistration.kubeletExtraArgs`.
    #[serde(rename = "k")]
    Kubelet,
    /// `clusterConfiguration.featureGates`, which are kubeadm's own.
    #[serde(rename = "f")]
    Kubeadm,
}

impl SettingField {
    /// Where it is in a kubeadm configuration.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ApiServer => "clusterConfiguration.apiServer.extraArgs",
            Self::ControllerManager => "clusterConfiguration.controllerManager.extraArgs",
            Self::Scheduler => "clusterConfiguration.scheduler.extraArgs",
            Self::Kubelet => "joinConfiguration.nodeRegistration.kubeletExtraArgs",
            Self::Kubeadm => "clusterConfiguration.featureGates",
        }
    }

    /// The program that reads it.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Kubeadm => "kubeadm",
        }
    }
}

/// One argument of a component, or one of kubeadm's gates.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComponentSetting {
    /// Where it is.
    #[serde(rename = "f")]
    pub field: SettingField,
    /// The name, without dashes before it.
    #[serde(rename = "n")]
    pub name: String,
    /// The value as text.
    #[serde(rename = "v")]
    pub value: String,
}

impl ComponentSetting {
    /// The arguments of a kubelet, from the value of `kubeletExtraArgs` of either contract.
    ///
    /// # Errors
    ///
    /// It is neither a map nor a list of names and values.
    pub fn of_kubelet(extra_args: &Value) -> Result<Vec<Self>, serde_json::Error> {
        let Arguments(arguments) = Arguments::deserialize(extra_args)?;
        Ok(of(SettingField::Kubelet, arguments).collect())
    }
}

fn of(field: SettingField, arguments: Vec<(String, String)>) -> impl Iterator<Item = ComponentSetting> {
    arguments
        .into_iter()
        .map(move |(name, value)| ComponentSetting { field, name, value })
}

/// A component of a kubeadm configuration.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Component {
    extra_args: Arguments,
}

/// How a machine joins.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JoinConfiguration {
    node_registration: NodeRegistration,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct NodeRegistration {
    kubelet_extra_args: Arguments,
}

/// The settings of the parts of a kubeadm configuration.
pub(crate) fn settings(
    [api_server, controller_manager, scheduler]: [Component; 3],
    join: JoinConfiguration,
    feature_gates: BTreeMap<String, bool>,
) -> Vec<ComponentSetting> {
    let gates = feature_gates.into_iter().map(|(name, value)| (name, value.to_string()));
    of(SettingField::ApiServer, api_server.extra_args.0)
        .chain(of(SettingField::ControllerManager, controller_manager.extra_args.0))
        .chain(of(SettingField::Scheduler, scheduler.extra_args.0))
        .chain(of(SettingField::Kubelet, join.node_registration.kubelet_extra_args.0))
        .chain(of(SettingField::Kubeadm, gates.collect()))
        .collect()
}

/// Arguments by name: a map in the contract v1beta1, a list in v1beta2.
#[derive(Default)]
struct Arguments(Vec<(String, String)>);

#[derive(Deserialize, Default)]
#[serde(default)]
struct Argument {
    name: String,
    value: Option<String>,
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArgumentsVisitor).map(Self)
    }
}

struct ArgumentsVisitor;

impl<'de> Visitor<'de> for ArgumentsVisitor {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("arguments: a map, or a list of names and values")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut arguments = Vec::new();
        while let Some(argument) = map.next_entry()? {
            arguments.push(argument);
        }
        Ok(arguments)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut arguments = Vec::new();
        while let Some(Argument { name, value }) = list.next_element()? {
            arguments.push((name, value.unwrap_or_default()));
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::KubeadmConfigSpec;

    #[test]
    fn both_contracts_say_the_same() {
        let list = json!({
            "clusterConfiguration": {
                "etcd": { "local": { "imageTag": "3.6.5-0" } },
                "apiServer": { "extraArgs": [{ "name": "cloud-provider", "value": "external" }, { "name": "v" }] },
                "controllerManager": {},
                "scheduler": { "extraArgs": null },
                "featureGates": { "EtcdLearnerMode": true },
            },
            "initConfiguration": { "nodeRegistration": { "kubeletExtraArgs": [{ "name": "no", "value": "no" }] } },
            "joinConfiguration": { "nodeRegistration": { "kubeletExtraArgs": [{ "name": "a", "value": "b" }] } },
            "files": [{}],
        });
        let mut map = list.clone();
        map["clusterConfiguration"]["apiServer"]["extraArgs"] = json!({ "cloud-provider": "external", "v": "" });
        map["joinConfiguration"]["nodeRegistration"]["kubeletExtraArgs"] = json!({ "a": "b" });
        for spec in [list, map] {
            let spec: KubeadmConfigSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(
                spec.cluster_configuration.etcd.local.image_tag.as_deref(),
                Some("3.6.5-0")
            );
            let found: Vec<_> = spec
                .settings
                .iter()
                .map(|setting| (setting.field.path(), &*setting.name, &*setting.value))
                .collect();
            assert_eq!(
                found,
                [
                    ("clusterConfiguration.apiServer.extraArgs", "cloud-provider", "external"),
                    ("clusterConfiguration.apiServer.extraArgs", "v", ""),
                    ("joinConfiguration.nodeRegistration.kubeletExtraArgs", "a", "b"),
                    ("clusterConfiguration.featureGates", "EtcdLearnerMode", "true"),
                ]
            );
        }
        assert!(ComponentSetting::of_kubelet(&json!("text")).is_err());
    }
}
