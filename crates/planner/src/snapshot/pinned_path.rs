//! The path that a classic Cluster carries, and what it takes back.

use instar_domain::KubeVersion;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{operation::RollbackScope, swap_history::UpgradeId};

/// The path of an upgrade, found when it began: what the catalog gets later moves nothing. It is kept in the annotation
/// [`instar_api::PATH_ANNOTATION`] of the Cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedPath {
    pub upgrade: UpgradeId,
    /// The target as it was written: another one is another path.
    pub target: String,
    /// When it was found. What another client had set back before then, it takes as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Where the control plane was.
    pub from: KubeVersion,
    /// The names of the releases that it goes through, the target's at the end. Empty where its version already was
    /// what the target asks for, so that only workers follow.
    pub releases: Vec<String>,
    /// Those of them that had add-ons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<String>,
    /// What this upgrade takes back, if it does.
    #[serde(rename = "takesBack", default, skip_serializing_if = "Option::is_none")]
    pub takes_back: Option<TakenBack>,
}

/// An upgrade that is or was taken back. Its target is spent: nothing goes there again before a user asks for something
/// else, and that upgrade never does, whatever Git still says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    pub upgrade: UpgradeId,
    /// Its target as it was written.
    pub target: String,
    /// Who took it back.
    pub by: UpgradeId,
    /// How much of it.
    pub scope: RollbackScope,
}

impl PinnedPath {
    /// Whether an upgrade of that name would go again to what was taken back.
    #[must_use]
    pub fn is_spent(&self, upgrade: &str, target: &str) -> bool {
        self.takes_back.as_ref().is_some_and(|taken_back| {
            let is_the_last = taken_back.by == self.upgrade;
            taken_back.target == target && (is_the_last || taken_back.upgrade.name == upgrade)
        })
    }
}

impl PinnedPath {
    /// Reads the annotation. A garbled one counts as none.
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
