//! What lets an upgrade through that would be held: who asked for it stands beside it, written by admission.

use instar_api::{ClusterUpgrade, GROUP, PreflightSkip, Rule, SetBy};
use jiff::Timestamp;

use crate::{
    Finding,
    edit::{Edit, finding, object_ref},
};

/// A right on ClusterUpgrades beyond that to edit them: a verb in RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// To let an upgrade through that a check would hold.
    Override,
}

impl Right {
    /// The verb.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Override => "override",
        }
    }
}

/// Who edits a ClusterUpgrade, and when.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// As the API server knows the user.
    pub user: &'a str,
    pub now: Timestamp,
}

/// An entry of a spec that says who set it.
trait Signed: Clone + PartialEq {
    /// Whether it is the same but for what admission writes.
    fn asks_the_same(&self, other: &Self) -> bool;

    /// As admission writes it.
    fn signed(&self, set_by: SetBy) -> Self;

    /// Who set it, as it says.
    fn set_by(&self) -> Option<&SetBy>;
}

impl Signed for PreflightSkip {
    fn asks_the_same(&self, other: &Self) -> bool {
        (self.name, &self.reason, self.until) == (other.name, &other.reason, other.until)
    }

    fn signed(&self, set_by: SetBy) -> Self {
        Self {
            set_by: Some(set_by),
            ..self.clone()
        }
    }

    fn set_by(&self) -> Option<&SetBy> {
        self.set_by.as_ref()
    }
}

/// What of a spec is to be stored otherwise than the request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamped {
    /// `spec.preflight.skip`.
    pub skip: Option<Vec<PreflightSkip>>,
}

/// Writes who set what. An entry that was there keeps its stamp, whatever the request says, so that a manifest without
/// stamps may be applied again.
#[must_use]
pub fn stamped(edit: Edit<'_, ClusterUpgrade>, signature: Signature<'_>) -> Stamped {
    let (old, new) = skips(edit);
    Stamped {
        skip: entries(old, new, signature),
    }
}

fn entries<T: Signed>(old: &[T], new: &[T], signature: Signature<'_>) -> Option<Vec<T>> {
    let entry = |entry: &T| {
        let before = old.iter().find(|old| old.asks_the_same(entry));
        before.cloned().unwrap_or_else(|| {
            entry.signed(SetBy {
                user: signature.user.to_owned(),
                // As the API server keeps a time.
                time: Timestamp::from_second(signature.now.as_second()).unwrap_or(signature.now),
            })
        })
    };
    let stored: Vec<T> = new.iter().map(entry).collect();
    (stored != *new).then_some(stored)
}

fn skips(edit: Edit<'_, ClusterUpgrade>) -> (&[PreflightSkip], &[PreflightSkip]) {
    let old = edit.old.map_or(&[][..], |old| &old.spec.preflight.skip);
    (old, &edit.new.spec.preflight.skip)
}

/// Judges an edit by a user who lacks a right.
#[must_use]
pub fn without(right: Right, edit: Edit<'_, ClusterUpgrade>, user: &str) -> Vec<Finding> {
    match right {
        Right::Override => {
            let (old, new) = skips(edit);
            let found = added(old, new).map(|skip| {
                say(
                    edit,
                    SKIP,
                    format!("{user} may not skip the check {}", skip.name),
                    format!(
                        "ask for the right to {} clusterupgrades.{GROUP} in the namespace",
                        right.verb()
                    ),
                )
            });
            found.collect()
        }
    }
}

fn added<'a, T: Signed>(old: &'a [T], new: &'a [T]) -> impl Iterator<Item = &'a T> {
    new.iter()
        .filter(|entry| !old.iter().any(|old| old.asks_the_same(entry)))
}

/// Whether each entry says who set it, as [`stamped`] has written it: a webhook that came later may have changed it.
pub(super) fn forged(edit: Edit<'_, ClusterUpgrade>, user: &str) -> Vec<Finding> {
    let (old, new) = skips(edit);
    let found = new.iter().filter(|entry| is_forged(old, *entry, user)).map(|skip| {
        say(
            edit,
            SKIP,
            format!("setBy of the check {} isn't what admission wrote", skip.name),
            "find the webhook that changes it".to_owned(),
        )
    });
    found.collect()
}

fn is_forged<T: Signed>(old: &[T], entry: &T, user: &str) -> bool {
    match old.iter().find(|old| old.asks_the_same(entry)) {
        Some(before) => before != entry,
        None => entry.set_by().is_none_or(|set_by| set_by.user != user),
    }
}

const SKIP: &str = "spec.preflight.skip";

fn say(edit: Edit<'_, ClusterUpgrade>, field: &'static str, what: String, remediation: String) -> Finding {
    let object = object_ref(edit.kind, &edit.new.metadata);
    finding(Rule::OverrideRight, object, field, what, remediation)
}
