//! The write for add-ons and gates, and what a decision asks for of them.

use serde_json::Value;

use super::{Decision, Waiting};
use crate::{
    addon::{AddonId, AskedPoint},
    snapshot::ResourceVersion,
};

/// A merge patch of the annotation of a `ClusterUpgrade`: the turn of these has come.
#[derive(Debug, Clone, PartialEq)]
pub struct BeginGates {
    /// The `ClusterUpgrade`.
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    pub gates: Vec<AddonId>,
    /// The JSON merge patch.
    pub patch: Value,
}

impl Decision {
    /// The points whose add-ons and gates decide and aren't in the snapshot: find what they come to and decide again.
    pub fn unseen(&self) -> impl Iterator<Item = &AskedPoint> {
        self.waiting.iter().filter_map(|waiting| {
            if let Waiting::AddonsUnseen(point) = waiting {
                Some(&**point)
            } else {
                None
            }
        })
    }
}
