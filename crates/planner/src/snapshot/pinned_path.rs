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
/// else or raises `spec.retry`, and that upgrade never does, whatever Git still says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    pub upgrade: UpgradeId,
    /// Its target as it was written.
    pub target: String,
    /// What it had reached, where it had got another target since for which nothing was written: that was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<String>,
    /// How many times it had been asked for again by then: as many ask for nothing more.
    #[serde(default, skip_serializing_if = "is_first_try")]
    pub retry: u32,
    /// Who took it back.
    pub by: UpgradeId,
    /// How much of it.
    pub scope: RollbackScope,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_first_try(retry: &u32) -> bool {
    *retry == 0
}

impl TakenBack {
    /// Whether what was taken back, or was asked for then, is this target.
    fn is_of(&self, target: &str) -> bool {
        self.target == target || self.reached.as_deref() == Some(target)
    }
}

impl PinnedPath {
    /// Why an upgrade would go again to what was taken back, without being asked for that once more.
    #[must_use]
    pub fn spent_by(&self, upgrade: &str, target: &str, retry: u32) -> Option<&TakenBack> {
        self.takes_back.as_ref().filter(|taken_back| {
            let is_the_last = taken_back.by == self.upgrade;
            let is_asked_again = retry > taken_back.retry;
            taken_back.is_of(target) && !is_asked_again && (is_the_last || taken_back.upgrade.name == upgrade)
        })
    }

    /// Whether this very upgrade is or was taken back, and asks for nothing else since.
    #[must_use]
    pub fn has_taken_back(&self, upgrade: &UpgradeId, target: &str, retry: u32) -> bool {
        let taken_back = self.takes_back.as_ref();
        taken_back.is_some_and(|of| of.upgrade == *upgrade && of.is_of(target) && retry <= of.retry)
    }

    /// How many times a target had been asked for again when it was taken back the last time: a higher number asks for it
    /// once more. Absent where this was not the last that was taken back.
    #[must_use]
    pub fn tries_of(&self, target: &str) -> Option<u32> {
        let taken_back = self.takes_back.as_ref().filter(|taken_back| taken_back.is_of(target));
        taken_back.map(|taken_back| taken_back.retry)
    }

    /// What stays taken back when an upgrade goes on: not what it is asked to go to once more.
    pub(crate) fn taken_back_beside(&self, upgrade: &str, target: &str) -> Option<&TakenBack> {
        let taken_back = self.takes_back.as_ref();
        taken_back.filter(|of| of.upgrade.name != upgrade || !of.is_of(target))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// It was at v1.35, was asked for v1.36, for which nothing was written, and was taken back: from v1.35.
    #[test]
    fn both_what_was_reached_and_what_was_asked_for_are_spent() {
        let id = |name: &str| UpgradeId {
            name: name.to_owned(),
            started: None,
        };
        let path = PinnedPath {
            upgrade: id("back"),
            target: String::new(),
            since: None,
            from: "v1.35.4".parse().unwrap(),
            releases: Vec::new(),
            addons: Vec::new(),
            takes_back: Some(TakenBack {
                upgrade: id("up"),
                target: "v1.36".to_owned(),
                reached: Some("v1.35".to_owned()),
                retry: 0,
                by: id("back"),
                scope: RollbackScope::All,
            }),
        };
        for (target, retry, spent) in [
            ("v1.35", 0, true),
            ("v1.36", 0, true),
            ("v1.35", 1, false),
            ("v1.37", 0, false),
        ] {
            assert_eq!(path.spent_by("up", target, retry).is_some(), spent, "{target} {retry}");
            assert_eq!(path.has_taken_back(&id("up"), target, retry), spent, "{target} {retry}");
        }
        let read = PinnedPath::from_annotation(&path.to_annotation());
        assert_eq!(read, Some(path));
    }
}
