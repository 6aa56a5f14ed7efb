//! The write for add-ons and gates, and what a decision asks for of them.

use serde_json::Value;

use super::{Decision, Waiting};
use crate::{
    addon::{AddonId, AskedPoint, Readiness},
    snapshot::ResourceVersion,
};

/// A merge patch of the annotation of a `ClusterUpgrade`: the turn of these has come, or since when they are ready has
/// changed.
#[derive(Debug, Clone, PartialEq)]
pub struct BeginGates {
    /// The `ClusterUpgrade`.
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// Those whose turn has come.
    pub gates: Vec<AddonId>,
    /// Those of which it has changed since when they are ready.
    pub readiness: Vec<(AddonId, Readiness)>,
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
