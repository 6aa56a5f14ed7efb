//! What is known of add-ons of releases and gates of policies, and when their turn came.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use instar_api::GatePoint;
use instar_domain::KubeVersion;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::value_before::ValueBefore;

/// A point of an upgrade, and of its path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskedPoint {
    pub when: GatePoint,
    /// Where the control plane, or the workers, go to or have come to.
    pub version: KubeVersion,
    /// The release of it; absent where none is known.
    pub release: Option<String>,
}

/// Whose add-on or gate it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddonOwner {
    /// A `KubernetesRelease`'s.
    Release(String),
    /// An `UpgradePolicy`'s.
    Policy(String),
    /// Kubernetes' own: what kubeadm installs in each cluster.
    Kubernetes,
}

/// An add-on or a gate, at one point of an upgrade: at another one it begins anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AddonId {
    pub owner: AddonOwner,
    pub name: String,
    pub when: GatePoint,
    pub version: KubeVersion,
}

/// An add-on or a gate, and what it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddonGate {
    pub id: AddonId,
    /// The kind of the objects that it looks at.
    pub kind: String,
    /// The name of the one object; empty where several are selected.
    pub object: String,
    pub state: AddonState,
}

/// What an add-on or a gate comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddonState {
    /// It lets through.
    Open,
    /// Its turn has come, and that is to be written down before anything is done for it; where something is set, with what
    /// was there before.
    Due(Option<ValueBefore>),
    /// It doesn't let through.
    Closed {
        problem: AddonProblem,
        /// Why.
        message: String,
        /// When time alone may change it.
        until: Option<Timestamp>,
    },
}

/// Why an add-on or a gate doesn't let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddonProblem {
    /// It is on its way.
    NotReady,
    /// It is ready, and has to stay so for a while.
    Settling,
    /// An object says that it failed. It may be mended.
    Failed,
    /// It can't be said.
    Unknown,
    /// It takes longer than its timeout.
    TimedOut,
    /// The same, and the upgrade has failed for it.
    Expired,
}

/// An add-on or a gate that doesn't let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedAddon {
    pub id: AddonId,
    pub kind: String,
    pub object: String,
    pub problem: AddonProblem,
    pub message: String,
    pub until: Option<Timestamp>,
}

/// What is known of add-ons and gates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addons {
    /// The points at which policies of the Cluster have gates.
    pub of_policies: BTreeSet<GatePoint>,
    /// What was found at the points that a decision asked for.
    pub found: BTreeMap<AskedPoint, Vec<AddonGate>>,
    /// On the way back, what was set for the upgrade that is taken back, in this order; absent where its record is gone.
    pub taken_back: Option<Vec<SetAddon>>,
}

/// When the turn of add-ons and gates has come, in the annotation [`instar_api::GATE_HISTORY_ANNOTATION`] of a `ClusterUpgrade`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateHistory {
    /// The target for which: another one begins anew.
    pub target: String,
    pub gates: Vec<GateBegun>,
    /// Those for which something is set, in this order, whatever the target was then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<SetAddon>,
}

/// An add-on for which something is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAddon {
    #[serde(flatten)]
    pub id: AddonId,
    /// What was there before the first time.
    pub before: ValueBefore,
}

/// When the turn of one has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateBegun {
    #[serde(flatten)]
    pub id: AddonId,
    pub begun: Timestamp,
}

/// More are not kept: those that came first have let through. Five policies and a release have fewer at one point.
const MOST_BEGUN: usize = 256;

/// How many are kept for which something is set: a release has 16 add-ons at most.
const MOST_SET: usize = 256;

/// How much all values before take together: the annotations of an object have 256 KiB.
const MOST_BYTES_SET: usize = 64 * 1024;

impl GateHistory {
    /// Reads the annotation. A garbled one counts as none: it only ever begins anew.
    #[must_use]
    pub fn from_annotation(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The annotation's text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        // Texts and times always have a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// When the turn of one came, for this target.
    #[must_use]
    pub fn begun(&self, target: &str, id: &AddonId) -> Option<Timestamp> {
        let mut gates = self.gates.iter().filter(|_| self.target == target);
        gates.find(|begun| begun.id == *id).map(|begun| begun.begun)
    }

    pub(crate) fn with(&self, target: &str, ids: impl IntoIterator<Item = AddonId>, now: Timestamp) -> Self {
        let mut gates = if self.target == target {
            self.gates.clone()
        } else {
            Vec::new()
        };
        for id in ids {
            gates.retain(|begun| begun.id != id);
            gates.push(GateBegun { id, begun: now });
        }
        let surplus = gates.len().saturating_sub(MOST_BEGUN);
        gates.drain(..surplus);
        Self {
            target: target.to_owned(),
            gates,
            set: self.set.clone(),
        }
    }

    /// What of it belongs to a target alone; nothing where none has begun for that.
    #[must_use]
    pub fn of_target(&self, target: &str) -> Option<Self> {
        let has_begun = |set: &&SetAddon| self.gates.iter().any(|begun| begun.id == set.id);
        (self.target == target && !self.gates.is_empty()).then(|| Self {
            set: self.set.iter().filter(has_begun).cloned().collect(),
            ..self.clone()
        })
    }

    /// What was there before an add-on was set for the first time.
    #[must_use]
    pub fn before(&self, id: &AddonId) -> Option<&ValueBefore> {
        self.set.iter().find(|set| set.id == *id).map(|set| &set.before)
    }

    /// With what is set for an add-on now. One that was set before is set again, and comes last.
    pub(crate) fn with_set(mut self, id: AddonId, before: ValueBefore) -> Self {
        if self.before(&id) == Some(&before) {
            return self;
        }
        self.set.retain(|set| set.id != id);
        let bytes: usize = self.set.iter().map(|set| set.before.bytes()).sum();
        let before = if bytes + before.bytes() > MOST_BYTES_SET {
            ValueBefore::TooLarge
        } else {
            before
        };
        if self.set.len() < MOST_SET {
            self.set.push(SetAddon { id, before });
        }
        self
    }
}

impl AskedPoint {
    pub(crate) fn new(when: GatePoint, version: &KubeVersion, release: Option<&str>) -> Self {
        Self {
            when,
            version: version.clone(),
            release: release.map(str::to_owned),
        }
    }
}

impl AddonId {
    /// The point at which it is asked.
    #[must_use]
    pub fn point(&self) -> AskedPoint {
        let release = match &self.owner {
            AddonOwner::Release(name) => Some(name.as_str()),
            AddonOwner::Policy(_) | AddonOwner::Kubernetes => None,
        };
        AskedPoint::new(self.when, &self.version, release)
    }
}

impl fmt::Display for AddonOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(name) => write!(f, "KubernetesRelease {name}"),
            Self::Policy(name) => write!(f, "UpgradePolicy {name}"),
            Self::Kubernetes => f.write_str("Kubernetes"),
        }
    }
}

impl fmt::Display for AddonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            owner,
            name,
            when,
            version,
        } = self;
        let what = match owner {
            AddonOwner::Release(_) => "add-on",
            AddonOwner::Policy(_) => "gate",
            AddonOwner::Kubernetes => "component",
        };
        write!(f, "{what} {name} of {owner} ({when} {version})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> AddonId {
        AddonId {
            owner: AddonOwner::Policy("p".to_owned()),
            name: name.to_owned(),
            when: GatePoint::BeforeWorkers,
            version: "v1.35.2".parse().unwrap(),
        }
    }

    #[test]
    fn the_format_is_what_records_carry() {
        let now = "2026-11-20T11:00:00Z".parse().unwrap();
        let history = GateHistory::default().with("v1.35", [id("cni")], now);
        let text = r#"{"target":"v1.35","gates":[{"owner":{"policy":"p"},"name":"cni","when":"BeforeWorkers","version":"v1.35.2","begun":"2026-11-20T11:00:00Z"}]}"#;
        assert_eq!(history.to_annotation(), text);
        assert_eq!(GateHistory::from_annotation(text), history);
        assert_eq!(GateHistory::from_annotation("{"), GateHistory::default());
        assert_eq!(history.begun("v1.35", &id("cni")), Some(now));
        assert_eq!(history.begun("v1.36", &id("cni")), None, "another target begins anew");
        assert_eq!(history.begun("v1.35", &id("dns")), None);
    }

    #[test]
    fn what_was_there_before_is_kept_whatever_the_target_becomes() {
        let now = "2026-11-20T11:00:00Z".parse().unwrap();
        let value = |text: &str| ValueBefore::Value(text.into());
        let history = GateHistory::default().with("v1.35", [id("cni")], now);
        let history = history.with_set(id("cni"), value("v1"));
        let text = r#""set":[{"owner":{"policy":"p"},"name":"cni","when":"BeforeWorkers","version":"v1.35.2","before":{"value":"v1"}}]}"#;
        assert!(history.to_annotation().ends_with(text), "{}", history.to_annotation());
        assert_eq!(GateHistory::from_annotation(&history.to_annotation()), history);
        let other = history
            .with("v1.36", [id("dns")], now)
            .with_set(id("dns"), ValueBefore::Absent);
        assert_eq!(other.before(&id("cni")), Some(&value("v1")));
        assert_eq!(other.before(&id("dns")), Some(&ValueBefore::Absent));
        let again = other.with_set(id("cni"), value("v2"));
        let names: Vec<&str> = again.set.iter().map(|set| set.id.name.as_str()).collect();
        assert_eq!(names, ["dns", "cni"]);
    }

    #[test]
    fn values_take_no_more_than_an_annotation_has() {
        let long = || ValueBefore::Value("x".repeat(4_000).into());
        let full = (0..300).fold(GateHistory::default(), |history, number| {
            history.with_set(id(&number.to_string()), long())
        });
        assert_eq!(full.set.len(), MOST_SET);
        assert_eq!(full.before(&id("0")), Some(&long()));
        assert_eq!(full.before(&id("255")), Some(&ValueBefore::TooLarge));
        assert!(full.to_annotation().len() < 128 * 1024);
    }

    #[test]
    fn as_many_are_kept_as_an_annotation_takes() {
        let now: Timestamp = "2026-11-20T11:00:00Z".parse().unwrap();
        let ids = (0..300).map(|number| id(&number.to_string()));
        let history = GateHistory::default().with("v1.35", ids, now);
        assert_eq!(history.gates.len(), MOST_BEGUN);
        assert_eq!(history.begun("v1.35", &id("43")), None);
        let again = history.with("v1.35", [id("299")], now);
        assert_eq!(again.gates.len(), MOST_BEGUN, "none is there twice");
        let other = history.with("v1.36", [id("0")], now);
        assert_eq!(other.gates.len(), 1);
    }

    #[test]
    fn what_was_set_for_another_target_stays_until_something_is_changed_for_this_one() {
        let (now, value) = (Timestamp::UNIX_EPOCH, |text: &str| ValueBefore::Value(text.into()));
        let first = GateHistory::default().with("v1.34", [id("cni")], now);
        let first = first.with_set(id("cni"), value("v1"));
        assert_eq!(first.of_target("v1.35"), None);
        let both = first.with("v1.35", [id("dns")], now).with_set(id("dns"), value("v2"));
        assert_eq!(both.set.len(), 2, "a rollback of the first restores both");
        let own = both.of_target("v1.35").unwrap();
        assert_eq!(
            (own.begun("v1.35", &id("dns")), own.before(&id("cni"))),
            (Some(now), None)
        );
        assert_eq!(own.before(&id("dns")), Some(&value("v2")));
    }
}
