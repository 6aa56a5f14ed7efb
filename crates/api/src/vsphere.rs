//! Which vCenters the controller may ask.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the controller may ask of vCenters.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VspherePolicy {
    /// The servers to which the credentials of a VSphereCluster may be sent when the check machine-image-present looks for
    /// VM templates, as spec.server of a VSphereCluster names them: a host, with a port where it isn't 443. Absent: that
    /// of any VSphereCluster; an empty list is refused, since it would say the same. If several policies select a Cluster, a
    /// server must be in the list of each that has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub servers: Vec<String>,
}

impl VspherePolicy {
    /// Whether it says nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

/// Which vCenters may be asked for a Cluster, as the policies that select it say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VcenterAccess {
    /// That of its VSphereCluster, whatever it is: no policy has a list.
    Any,
    /// Those that are in each of these lists.
    Listed(Vec<BTreeSet<String>>),
    /// It isn't known, for this reason.
    Unclear(String),
}

/// What the policies that select a Cluster say together.
pub fn vcenter_access<'a>(policies: impl IntoIterator<Item = &'a VspherePolicy>) -> VcenterAccess {
    let lists = policies.into_iter().filter(|policy| !policy.is_empty());
    let lists: Vec<BTreeSet<String>> = lists.map(|policy| policy.servers.iter().cloned().collect()).collect();
    if lists.is_empty() {
        VcenterAccess::Any
    } else {
        VcenterAccess::Listed(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_counts_and_no_list_allows_all() {
        let policy = |servers: &[&str]| VspherePolicy {
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
        };
        assert_eq!(vcenter_access(&[policy(&[])]), VcenterAccess::Any);
        let access = vcenter_access(&[policy(&["a", "b"]), policy(&[]), policy(&["b"])]);
        let list = |servers: &[&str]| servers.iter().map(|server| (*server).to_owned()).collect();
        assert_eq!(access, VcenterAccess::Listed(vec![list(&["a", "b"]), list(&["b"])]));
    }
}
