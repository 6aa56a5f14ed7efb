//! Who has paused an object, and the mark by which a pause of ours is known.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::swap_history::UpgradeId;

/// How long an object may take to say that it is paused. Its controller has only to write a condition.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// What an upgrade writes into the annotation [`instar_capi::labels::PAUSED`] of a MachinePool and of its
/// infrastructure, of which Cluster API asks only whether it is there, and into the annotation
/// [`instar_api::HELD_ANNOTATION`] of a MachineDeployment that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseMark {
    /// The `ClusterUpgrade`'s name.
    pub upgrade: String,
    /// When Instar first saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When the object was marked.
    pub paused: Timestamp,
}

/// Who has paused an object by its annotation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PausedBy {
    #[default]
    NoOne,
    /// A user, or a tool: the annotation isn't ours and is never taken off.
    User,
    /// An upgrade, be it over or not.
    Upgrade(PauseMark),
}

/// What an upgrade that gave a MachinePool up writes into the object that did not become paused, in the annotation
/// [`instar_api::LEFT_ANNOTATION`], so that it doesn't begin again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftMark {
    /// The `ClusterUpgrade`'s name.
    pub upgrade: String,
    /// When Instar first saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl PauseMark {
    pub(crate) fn new(upgrade: &UpgradeId, now: Timestamp) -> Self {
        Self {
            upgrade: upgrade.name.clone(),
            since: upgrade.started,
            paused: now,
        }
    }

    /// Whether this upgrade set it.
    #[must_use]
    pub fn is_of(&self, upgrade: &UpgradeId) -> bool {
        self.upgrade == upgrade.name && self.since == upgrade.started
    }

    /// Whether the object has had its time to say that it is paused.
    pub(crate) fn is_late(&self, now: Timestamp) -> bool {
        now.duration_since(self.paused) >= PATIENCE
    }

    /// Reads the annotation. A garbled one counts as none.
    #[must_use]
    pub fn from_annotation(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Reads the annotation of a MachineDeployment that an upgrade holds. One that can't be read is a hold all the same, of
    /// an upgrade that isn't known: a later version of Instar may have written it.
    #[must_use]
    pub fn of_held(text: &str) -> Self {
        Self::from_annotation(text).unwrap_or(Self {
            upgrade: String::new(),
            since: None,
            paused: Timestamp::UNIX_EPOCH,
        })
    }

    /// The annotation's text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        // Texts and times always have a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl PausedBy {
    /// By the annotation's text; absent where there is no annotation. What isn't a mark of ours is a user's.
    #[must_use]
    pub fn of(annotation: Option<&str>) -> Self {
        match annotation {
            None => Self::NoOne,
            Some(text) => serde_json::from_str(text).map_or(Self::User, Self::Upgrade),
        }
    }

    /// Our mark, if there is one.
    #[must_use]
    pub const fn mark(&self) -> Option<&PauseMark> {
        match self {
            Self::NoOne | Self::User => None,
            Self::Upgrade(mark) => Some(mark),
        }
    }

    /// Our mark, if this upgrade set it.
    pub(crate) fn mark_of(&self, upgrade: &UpgradeId) -> Option<&PauseMark> {
        self.mark().filter(|mark| mark.is_of(upgrade))
    }
}

impl LeftMark {
    pub(crate) fn new(upgrade: &UpgradeId) -> Self {
        Self {
            upgrade: upgrade.name.clone(),
            since: upgrade.started,
        }
    }

    pub(crate) fn is_of(&self, upgrade: &UpgradeId) -> bool {
        self.upgrade == upgrade.name && self.since == upgrade.started
    }

    /// Reads the annotation. A garbled one counts as none.
    #[must_use]
    pub fn from_annotation(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The annotation's text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        // Texts and times always have a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade(name: &str) -> UpgradeId {
        UpgradeId {
            name: name.to_owned(),
            started: Some("2026-11-20T11:00:00Z".parse().unwrap()),
        }
    }

    #[test]
    fn a_mark_of_ours_is_known_and_nothing_else_is_one() {
        let mark = PauseMark::new(&upgrade("up"), "2026-11-20T12:00:00Z".parse().unwrap());
        let text = mark.to_annotation();
        assert_eq!(
            text,
            r#"{"upgrade":"up","since":"2026-11-20T11:00:00Z","paused":"2026-11-20T12:00:00Z"}"#
        );
        assert_eq!(PausedBy::of(Some(&text)), PausedBy::Upgrade(mark.clone()));
        assert!(mark.is_of(&upgrade("up")) && !mark.is_of(&upgrade("other")));
        assert_eq!(PausedBy::of(None), PausedBy::NoOne);
        for users in [
            "",
            "true",
            "{}",
            r#"{"upgrade":"up"}"#,
            r#"{"upgrade":"up","paused":"2026-11-20T12:00:00Z","by":"me"}"#,
        ] {
            assert_eq!(PausedBy::of(Some(users)), PausedBy::User, "{users}");
        }
    }

    #[test]
    fn five_minutes_are_enough() {
        let mark = PauseMark::new(&upgrade("up"), "2026-11-20T12:00:00Z".parse().unwrap());
        assert!(!mark.is_late("2026-11-20T12:04:59Z".parse().unwrap()));
        assert!(mark.is_late("2026-11-20T12:05:00Z".parse().unwrap()));
    }

    #[test]
    fn what_was_given_up_is_of_one_upgrade() {
        let left = LeftMark::new(&upgrade("up"));
        assert_eq!(LeftMark::from_annotation(&left.to_annotation()), Some(left.clone()));
        assert!(left.is_of(&upgrade("up")) && !left.is_of(&upgrade("other")));
        assert_eq!(LeftMark::from_annotation("{}"), None);
    }
}
