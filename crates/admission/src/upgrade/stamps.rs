//! What lets an upgrade through that would be held: who asked for it stands beside it, written by admission.

use instar_api::{Approval, ClusterUpgrade, GROUP, PreflightSkip, Rule, SetBy, WindowOverride};
use jiff::Timestamp;

use crate::{
    Finding,
    edit::{Edit, finding, object_ref},
};

/// A right on ClusterUpgrades beyond that to edit them: a verb in RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// To let an upgrade through that a check or a maintenance window would hold.
    Override,
    /// To approve a step, where a policy asks for that.
    Approve,
}

impl Right {
    /// The verb.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Approve => "approve",
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

/// Entries whose `set_by` admission writes, with the fields by which they ask for the same.
macro_rules! signed {
    ($($kind:ty: $($field:ident),+;)+) => {$(
        impl Signed for $kind {
            fn asks_the_same(&self, other: &Self) -> bool {
                $(self.$field == other.$field)&&+
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
    )+};
}

signed! {
    PreflightSkip: name, reason, until;
    WindowOverride: reason, until;
    Approval: before, version, target;
}

/// What of a spec is to be stored otherwise than the request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamped {
    /// `spec.preflight.skip`.
    pub skip: Option<Vec<PreflightSkip>>,
    /// `spec.overrideWindow`.
    pub override_window: Option<WindowOverride>,
    /// `spec.approvals`.
    pub approvals: Option<Vec<Approval>>,
}

/// Writes who set what. An entry that was there keeps its stamp, whatever the request says, so that a manifest without
/// stamps may be applied again.
#[must_use]
pub fn stamped(edit: Edit<'_, ClusterUpgrade>, signature: Signature<'_>) -> Stamped {
    Stamped {
        skip: skips(edit).stored(signature),
        override_window: override_window(edit).stored(signature).and_then(|mut one| one.pop()),
        approvals: approvals(edit).stored(signature),
    }
}

/// Judges an edit by a user who lacks a right.
#[must_use]
pub fn without(right: Right, edit: Edit<'_, ClusterUpgrade>, user: &str) -> Vec<Finding> {
    let may_not = |field, what: String| {
        let remediation = format!(
            "ask for the right to {} clusterupgrades.{GROUP} in the namespace",
            right.verb()
        );
        say(edit, field, format!("{user} may not {what}"), remediation)
    };
    match right {
        Right::Override => {
            let skips = skips(edit)
                .added()
                .map(|skip| may_not(SKIP, format!("skip the check {}", skip.name)));
            let windows = override_window(edit)
                .added()
                .map(|_| may_not(OVERRIDE_WINDOW, "override the maintenance windows".to_owned()));
            skips.chain(windows).collect()
        }
        Right::Approve => approvals(edit)
            .added()
            .map(|approval| may_not(APPROVALS, format!("approve {}", step(approval))))
            .collect(),
    }
}

/// Whether each entry says who set it, as [`stamped`] has written it: a webhook that came later may have changed it.
pub(super) fn forged(edit: Edit<'_, ClusterUpgrade>, user: &str) -> Vec<Finding> {
    let forged = |field, entry: String| {
        let what = format!("setBy of {entry} isn't what admission wrote");
        say(edit, field, what, "find the webhook that changes it".to_owned())
    };
    let of_skips = skips(edit)
        .forged(user)
        .map(|skip| forged(SKIP, format!("the check {}", skip.name)));
    let of_approvals = approvals(edit)
        .forged(user)
        .map(|approval| forged(APPROVALS, format!("the approval of {}", step(approval))));
    let of_window = override_window(edit)
        .forged(user)
        .map(|_| forged(OVERRIDE_WINDOW, "overrideWindow".to_owned()));
    of_skips.chain(of_window).chain(of_approvals).collect()
}

/// The entries of a list before and after an edit.
struct Entries<'a, T> {
    old: &'a [T],
    new: &'a [T],
}

fn skips(edit: Edit<'_, ClusterUpgrade>) -> Entries<'_, PreflightSkip> {
    Entries {
        old: edit.old.map_or(&[], |old| &old.spec.preflight.skip),
        new: &edit.new.spec.preflight.skip,
    }
}

fn override_window(edit: Edit<'_, ClusterUpgrade>) -> Entries<'_, WindowOverride> {
    Entries {
        old: edit.old.map_or(&[], |old| old.spec.override_window.as_slice()),
        new: edit.new.spec.override_window.as_slice(),
    }
}

fn approvals(edit: Edit<'_, ClusterUpgrade>) -> Entries<'_, Approval> {
    Entries {
        old: edit.old.map_or(&[], |old| &old.spec.approvals),
        new: &edit.new.spec.approvals,
    }
}

impl<'a, T: Signed> Entries<'a, T> {
    /// As it was, where it was there.
    fn before(&self, entry: &T) -> Option<&'a T> {
        self.old.iter().find(|old| old.asks_the_same(entry))
    }

    fn added(self) -> impl Iterator<Item = &'a T> {
        self.new.iter().filter(move |entry| self.before(entry).is_none())
    }

    /// Nothing where it is what the request says.
    fn stored(&self, signature: Signature<'_>) -> Option<Vec<T>> {
        let stored = |entry: &T| {
            self.before(entry).cloned().unwrap_or_else(|| {
                entry.signed(SetBy {
                    user: signature.user.to_owned(),
                    // As the API server keeps a time.
                    time: Timestamp::from_second(signature.now.as_second()).unwrap_or(signature.now),
                })
            })
        };
        let stored: Vec<T> = self.new.iter().map(stored).collect();
        (stored != *self.new).then_some(stored)
    }

    fn forged(self, user: &str) -> impl Iterator<Item = &'a T> {
        self.new.iter().filter(move |entry| match self.before(entry) {
            Some(before) => before != *entry,
            None => entry.set_by().is_none_or(|set_by| set_by.user != user),
        })
    }
}

/// An approval in a message.
fn step(approval: &Approval) -> String {
    let Approval {
        before,
        version,
        target,
        ..
    } = approval;
    format!("{} {version} on the way to {target}", before.as_str())
}

const SKIP: &str = "spec.preflight.skip";
const OVERRIDE_WINDOW: &str = "spec.overrideWindow";
const APPROVALS: &str = "spec.approvals";

fn say(edit: Edit<'_, ClusterUpgrade>, field: &'static str, what: String, remediation: String) -> Finding {
    let object = object_ref(edit.kind, &edit.new.metadata);
    finding(Rule::UpgradeRights, object, field, what, remediation)
}
