//! A topology Cluster.

use instar_api::{LandingMark, Pin, Pins};
use instar_domain::KubeVersion;
use serde::{Deserialize, Serialize};

use super::{Condition, ResourceVersion};

/// What a topology Cluster asks for, and what Cluster API says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// What a write compares with.
    pub resource_version: ResourceVersion,
    /// `spec.topology.version`.
    pub version: KubeVersion,
    /// Its bill of materials; absent where its class isn't wired, or before its first edit.
    pub pins: Option<Pins>,
    /// What Cluster API plans for the control plane (`status.controlPlane.upgradePlan`).
    pub control_plane_plan: Vec<KubeVersion>,
    /// What Cluster API plans for the workers (`status.workers.upgradePlan`).
    pub workers_plan: Vec<KubeVersion>,
    /// Which `ClusterUpgrade` wrote the version last, if one did.
    pub version_set_by: Option<VersionSetBy>,
    /// That Instar has switched off Cluster API's check of version edits, for one edit.
    pub landing_mark: Option<LandingMark>,
    pub concurrency: UpgradeConcurrency,
    /// Whether Cluster API asks before each step.
    pub hooks: RuntimeHooks,
    /// The annotation [`instar_api::HOOK_ANSWER_ANNOTATION`], if it has one.
    pub hook_answer: Option<String>,
    /// What Cluster API says of it.
    pub conditions: Vec<Condition>,
}

/// Whether Cluster API asks Instar's Runtime Hooks before each step of a Cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeHooks {
    /// It does.
    On,
    /// It doesn't, and this is why.
    Off(String),
    /// That isn't known, and this is why.
    Unknown(String),
    /// That isn't known yet: for a minute at most after a start.
    NotLooked,
}

impl RuntimeHooks {
    /// Why it doesn't, or why that isn't known; nothing where it does.
    #[must_use]
    pub fn why_not(&self) -> Option<&str> {
        match self {
            Self::On => None,
            Self::Off(why) | Self::Unknown(why) => Some(why),
            Self::NotLooked => Some("Cluster API has not been asked yet"),
        }
    }
}

/// How many pools of a topology Cluster are upgraded at a time, in annotations of the Cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpgradeConcurrency {
    /// What Cluster API goes by ([`instar_capi::labels::UPGRADE_CONCURRENCY`]).
    pub present: Option<String>,
    /// What an upgrade made of it, while it has raised it ([`instar_api::CONCURRENCY_ANNOTATION`]).
    pub raised: Option<RaisedConcurrency>,
}

/// A number of pools that an upgrade has raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedConcurrency {
    /// What the user had; absent where that was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What the upgrade wrote. What else stands there is the user's again.
    pub to: String,
}

impl Topology {
    /// The release that a version is pinned to.
    #[must_use]
    pub fn release_of(&self, version: &KubeVersion) -> Option<&str> {
        let pin = self.pins.as_ref()?.releases.get(version)?;
        Some(&pin.release)
    }

    /// The pin of the Cluster's version, where its release replaces another one, or has left some pools at that.
    #[must_use]
    pub fn changed_pin(&self) -> Option<&Pin> {
        let pin = self.pins.as_ref()?.releases.get(&self.version)?;
        (!pin.change.is_empty()).then_some(pin)
    }

    /// The release of the Cluster's version that replaces another one, while that goes on.
    #[must_use]
    pub fn changing_release(&self) -> Option<&str> {
        let pin = self.changed_pin()?;
        pin.change.is_under_way().then_some(pin.release.as_str())
    }
}

impl RaisedConcurrency {
    /// Reads the annotation. A garbled one says nothing of what was there.
    #[must_use]
    pub fn from_annotation(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or(Self {
            before: None,
            to: String::new(),
        })
    }

    /// The annotation's text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        // Texts alone always have a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Which `ClusterUpgrade` wrote a Cluster's version, kept in the Cluster's annotation
/// [`instar_api::SWAP_HISTORY_ANNOTATION`]: it writes it once, so that a later edit by another client is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSetBy {
    /// The `ClusterUpgrade`'s name.
    pub upgrade: String,
    pub target: String,
    /// Where it has ended, where it was aborted between its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed: Option<KubeVersion>,
}

impl Topology {
    /// What Cluster API says of the topology as a whole.
    #[must_use]
    pub fn reconciled(&self) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == "TopologyReconciled")
    }
}

impl VersionSetBy {
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
