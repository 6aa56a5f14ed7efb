//! Which version of a kind keeps which contract of Cluster API: the labels of its definition say so.

use std::{cmp::Reverse, collections::BTreeMap};

use kube::core::Version;

/// A contract of Cluster API: where in a provider's objects its fields are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contract {
    /// The one before; among others a control plane's `spec.machineTemplate.infrastructureRef`.
    V1Beta1,
    /// The present one, with `spec.machineTemplate.spec.infrastructureRef`.
    V1Beta2,
}

/// The version at which a kind is read and written, and the contract that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served<'l> {
    /// The contract.
    pub contract: Contract,
    /// The version.
    pub version: &'l str,
}

/// A definition that names no version for a contract. Cluster API refuses its objects too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "CustomResourceDefinition {definition} has neither the label {} nor {}, by which its provider says which of its \
     versions Cluster API reads: install a version of the provider that has one",
    Contract::V1Beta2.label(),
    Contract::V1Beta1.label()
)]
pub struct NoContract {
    definition: String,
}

impl Contract {
    /// The label of a definition that names the versions which keep this contract.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::V1Beta1 => "cluster.x-k8s.io/v1beta1",
            Self::V1Beta2 => "cluster.x-k8s.io/v1beta2",
        }
    }
}

/// The version of a kind that Cluster API reads: of the newest contract that its definition has a
/// label for, the latest version. Source: `GetLatestContractAndAPIVersionFromContract` of
/// cluster-api's internal/contract/version.go.
///
/// # Errors
/// Where the definition has no such label, or empty ones.
pub fn served<'l>(definition: &str, labels: &'l BTreeMap<String, String>) -> Result<Served<'l>, NoContract> {
    [Contract::V1Beta2, Contract::V1Beta1]
        .into_iter()
        .find_map(|contract| {
            let versions = labels.get(contract.label())?.split('_');
            let version = versions
                .filter(|version| !version.is_empty())
                .min_by_key(|version| Reverse(Version::parse(version).priority()))?;
            Some(Served { contract, version })
        })
        .ok_or_else(|| NoContract {
            definition: definition.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_contract_and_its_latest_version() {
        let (old, new) = (Contract::V1Beta1, Contract::V1Beta2);
        for (on_old, on_new, expected) in [
            (None, None, None),
            (Some(""), Some(""), None),
            (Some("v1alpha1"), None, Some((old, "v1alpha1"))),
            (Some("v1beta1"), Some(""), Some((old, "v1beta1"))),
            (None, Some("v1beta2"), Some((new, "v1beta2"))),
            (Some("v1"), Some("v1alpha3"), Some((new, "v1alpha3"))),
            (Some("v1alpha3_v1alpha4_v1beta1"), None, Some((old, "v1beta1"))),
            (Some("v1beta1_v1alpha4"), None, Some((old, "v1beta1"))),
            (Some("v1beta2_v1beta10_v1beta9"), None, Some((old, "v1beta10"))),
            (Some("v1_v2alpha1"), None, Some((old, "v1"))),
            (Some("v1_v2_v10"), None, Some((old, "v10"))),
            (Some("next_v1alpha1"), None, Some((old, "v1alpha1"))),
            (Some("b_a"), None, Some((old, "a"))),
        ] {
            let on = |contract: Contract, text: Option<&str>| {
                text.map(|text| (contract.label().to_owned(), text.to_owned()))
            };
            let labels: BTreeMap<_, _> = on(old, on_old).into_iter().chain(on(new, on_new)).collect();
            let found = served("things.example.org", &labels).ok();
            let found = found.map(|served| (served.contract, served.version));
            assert_eq!(found, expected, "{labels:?}");
        }
    }

    #[test]
    fn a_definition_without_a_label_is_named() {
        let labels = BTreeMap::from([("cluster.x-k8s.io/provider".to_owned(), "v1beta2".to_owned())]);
        assert_eq!(
            served("things.example.org", &labels).unwrap_err().to_string(),
            "CustomResourceDefinition things.example.org has neither the label cluster.x-k8s.io/v1beta2 nor \
             cluster.x-k8s.io/v1beta1, by which its provider says which of its versions Cluster API reads: install a \
             version of the provider that has one"
        );
    }
}
