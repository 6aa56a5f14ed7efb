//! How `spec.template.spec` of a machine template changes, and whether it may.

use std::{ops::ControlFlow, sync::Arc};

use instar_api::UpgradePolicySpec;
use instar_catalog::Catalog;
use instar_domain::json::{Difference, POINTER_LIMIT, Unreadable, differences};

use super::in_place::{SPEC_POINTER, mutable_pointers};

/// How many differences are looked at one by one. Defaulting adds a few members.
const MOST: usize = 64;

/// The ServiceAccounts under which GitOps tools run unless they are told otherwise, by name: Flux, Argo CD (also the
/// one that Red Hat ships) and Rancher Fleet.
const GITOPS_TOOLS: [&str; 6] = [
    "argocd-application-controller",
    "argocd-server",
    "fleet-agent",
    "helm-controller",
    "kustomize-controller",
    "openshift-gitops-argocd-application-controller",
];

/// When an update is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before any other webhook has changed the object: a difference is the user's.
    BeforeOthers,
    /// After all mutating webhooks: a difference that the first look let pass is theirs.
    AfterOthers,
}

/// Who makes an edit of a machine template, and what is known beside it.
#[derive(Debug, Clone, Copy)]
pub struct SpecContext<'a> {
    pub phase: Phase,
    pub group: &'a str,
    pub kind: &'a str,
    /// The user's name.
    pub user: &'a str,
    /// Those that select the template's Cluster.
    pub policies: &'a [Arc<UpgradePolicySpec>],
    /// Any catalog, for it knows the rows of all of them.
    pub catalog: &'a Catalog,
}

/// Where `spec.template.spec` differs, by pointers into the template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecChanges(Vec<(Difference, String)>);

impl SpecChanges {
    /// Of two JSON texts; absent is null, as the API server stores it.
    pub(super) fn between(old: &str, new: &str) -> Self {
        let mut all = Vec::new();
        let end = differences(old, new, |difference, pointer| {
            let is_too_much = all.len() >= MOST || pointer.len() > POINTER_LIMIT;
            let difference = if is_too_much { Difference::Changed } else { difference };
            all.push((difference, format!("{SPEC_POINTER}{pointer}")));
            if is_too_much {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        match end {
            Ok(_) => {}
            // The review was read, so this is a number or an escape that no API server sends.
            Err(Unreadable) => all.push((Difference::Changed, SPEC_POINTER.to_owned())),
        }
        Self(all)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all that differs are members where there were none. An element more of an array is none of them: it is
    /// a disk or a network more.
    #[must_use]
    pub fn only_add(&self) -> bool {
        self.0.iter().all(|(difference, _)| *difference == Difference::Added)
    }

    /// Without the fields that are edited in place. One that goes away leaves the machines as they are, so it stays.
    #[must_use]
    pub fn without_mutable(mut self, context: SpecContext<'_>) -> Self {
        let SpecContext { group, kind, .. } = context;
        let mut pointers = mutable_pointers(group, kind, context.policies.iter().map(AsRef::as_ref));
        // A row that sets it came later than the policy that lists it.
        pointers.retain(|pointer| context.catalog.sets_near(group, kind, pointer.as_str()).is_none());
        self.0.retain(|(difference, at)| {
            let is_gone = |pointer: &str| *difference == Difference::Removed && pointer == at;
            !pointers
                .iter()
                .any(|pointer| pointer.covers(at) && !is_gone(pointer.as_str()))
        });
        self
    }

    /// What is wrong with it, and what to do; nothing where it may be.
    pub(super) fn finding(&self, context: SpecContext<'_>) -> Option<(String, &'static str)> {
        let worst = self.0.iter().find(|(difference, _)| *difference != Difference::Added);
        let (difference, at) = worst.or_else(|| self.0.first())?;
        if worst.is_none() && self.may_be_added(context) {
            return None;
        }
        let verb = match difference {
            Difference::Added => "be added",
            Difference::Removed | Difference::Changed => "change",
        };
        Some(match context.phase {
            Phase::BeforeOthers => (
                format!("{at} would {verb}"),
                "machines are replaced, not changed: create a new template and point to it",
            ),
            Phase::AfterOthers => (
                format!("{at} would {verb}, by this edit or by a mutating webhook after it"),
                "create a new template and point to it; if the edit leaves it alone, its provider's webhook writes it: \
                 switch the rule off for the edit, or ask who runs the webhook",
            ),
        })
    }

    /// Whether a controller writes it: it has read an older version of the kind, or writes a default itself. What a
    /// release sets is no default.
    fn may_be_added(&self, context: SpecContext<'_>) -> bool {
        let SpecContext {
            group, kind, catalog, ..
        } = context;
        is_controller(context)
            && !self
                .0
                .iter()
                .any(|(_, at)| catalog.sets_near(group, kind, at).is_some())
    }
}

/// Whether the user is a ServiceAccount, and not that of a GitOps tool, which writes what users wrote.
fn is_controller(context: SpecContext<'_>) -> bool {
    let account = context.user.strip_prefix("system:serviceaccount:");
    let Some((namespace, name)) = account.and_then(|account| account.split_once(':')) else {
        return false;
    };
    let mut listed = context
        .policies
        .iter()
        .flat_map(|policy| &policy.git_ops_service_accounts);
    !GITOPS_TOOLS.contains(&name) && !listed.any(|listed| listed.namespace == namespace && listed.name == name)
}
