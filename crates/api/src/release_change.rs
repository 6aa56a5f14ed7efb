//! Another release of the version that a topology Cluster runs: who has its values already.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// While a release of a version is replaced by another one: the control plane has its values first, then one pool after
/// the other. The wiring doesn't read it: what a pool has stands among the pin's values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseChange {
    /// The MachineDeployments that still have the values of another release, which is named by [`Earlier`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub machine_deployments: BTreeMap<String, Earlier>,

    /// The same for MachinePools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub machine_pools: BTreeMap<String, Earlier>,

    /// Those of the MachineDeployments above that an upgrade held back when all else had followed: they stay as they are,
    /// also when its record is gone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<String>,

    /// The machine templates that Cluster API replaces.
    #[serde(default, skip_serializing_if = "LeftTemplates::is_empty")]
    pub left: LeftTemplates,
}

/// The name of a release; empty where the class rendered a version without a pin.
pub type Earlier = String;

/// The machine templates from before: what refers to another one has the values of the new release. Its version says
/// nothing of that, and neither does any condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftTemplates {
    /// The control plane's; absent where its machines get no other values, or where it can't be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<LeftTemplate>,

    /// The release whose etcd and CoreDNS the control plane had; absent where they are the same. What it asks for tells
    /// that it has those of the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeadm: Option<Earlier>,

    /// Those of the MachineDeployments that have the new values, by their name in the topology.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub machine_deployments: BTreeMap<String, String>,
}

/// A machine template, and the release that it was rendered from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftTemplate {
    /// The template's name.
    pub name: String,
    /// The release; empty where the class rendered it without a pin.
    pub release: Earlier,
}

impl ReleaseChange {
    /// Whether every pool has the values of the release, and nothing is known to be replaced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether something has still to get the values of the release: pools that are held stay as they are.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        let is_rest_held = !self.held.is_empty()
            && self.machine_pools.is_empty()
            && self.machine_deployments.keys().eq(self.held.iter());
        !self.is_empty() && !is_rest_held
    }

    /// Whether pools have still to follow.
    #[must_use]
    pub fn has_followers(&self) -> bool {
        !self.machine_deployments.is_empty() || !self.machine_pools.is_empty()
    }
}

impl LeftTemplates {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
