//! From a decision to the record: the status of a `ClusterUpgrade`, written when it changes.

mod life;

use instar_api::{
    ClusterUpgrade, ClusterUpgradeStatus, MintedTemplate, PoolStatus, TemplateUse, UpgradePhase, WaitingFor,
};
use instar_planner::{Decision, Observed, PoolId, Snapshot, Stage, Template, TemplateRef, Waiting};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    execute::Told,
    words::{cut, told},
};

pub(crate) use life::{nowhere, refused, restored, unread};

/// What the schema takes.
const LISTED: usize = 256;
const REASONS: usize = 32;
const RELEASES: usize = 64;
const STEP: usize = 512;

/// Whether the controller itself can do what it decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health<'a> {
    /// It can.
    Fine,
    /// It is to be seen: what was said before stands.
    Untried,
    /// It can't, and this is why.
    Ill {
        /// A word for programs.
        reason: &'static str,
        /// A sentence for people.
        message: &'a str,
    },
}

/// The status that a decision comes to.
pub(crate) fn status(
    upgrade: &ClusterUpgrade,
    snapshot: &Snapshot,
    decision: &Decision,
    health: Health<'_>,
) -> ClusterUpgradeStatus {
    let before = upgrade.status.clone().unwrap_or_default();
    let generation = upgrade.metadata.generation.unwrap_or_default();
    let waiting = decision.waiting.iter().filter(|waiting| {
        // That is what the list of templates says.
        !matches!(waiting, Waiting::Retained { .. })
    });
    let waiting: Vec<WaitingFor> = waiting.take(REASONS).map(told).collect();
    let phase = phase(decision);
    let step = Told(&decision.action).to_string();
    let pools = decision.progress.pools.iter().map(|pool| PoolStatus {
        name: match &pool.pool {
            PoolId::ControlPlane => String::new(),
            PoolId::Workers(name) => name.clone(),
        },
        version: pool.version.to_string(),
        machines: count(pool.machines),
        converged: count(pool.converged),
    });
    let mut conditions = before.conditions.clone();
    for condition in conditions_of(phase, &waiting, health, generation, snapshot.now) {
        set(&mut conditions, condition);
    }
    ClusterUpgradeStatus {
        phase,
        path: path(&before.path, &decision.progress.path),
        // What was done last says more than nothing.
        step: if step.is_empty() {
            before.step
        } else {
            step.chars().take(STEP).collect()
        },
        pool_count: count(decision.progress.pools.len()),
        pools: pools.take(LISTED).collect(),
        waiting,
        templates: minted(snapshot),
        conditions,
        observed_generation: generation,
    }
}

/// Whether the record says that the controller itself can't do what it decided.
pub(crate) fn is_ill(status: Option<&ClusterUpgradeStatus>) -> bool {
    let mut conditions = status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == "Healthy" && condition.status == "False")
}

/// Whether the record tells of this very trouble.
pub(crate) fn tells_of(status: Option<&ClusterUpgradeStatus>, reason: &str, message: &str) -> bool {
    let mut conditions = status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| {
        condition.type_ == "Healthy" && condition.reason == reason && condition.message == cut(message)
    })
}

/// Whether there is anything to write. A condition's times alone are nothing new.
pub(crate) fn differs(before: Option<&ClusterUpgradeStatus>, after: &ClusterUpgradeStatus) -> bool {
    before != Some(after)
}

fn phase(decision: &Decision) -> UpgradePhase {
    match decision.progress.stage {
        Stage::Held if decision.waiting.iter().any(Waiting::refuses) => UpgradePhase::Refused,
        Stage::Held => UpgradePhase::Held,
        Stage::ControlPlane => UpgradePhase::ControlPlane,
        Stage::Workers => UpgradePhase::Workers,
        Stage::Complete => UpgradePhase::Completed,
    }
}

/// The planner tells what is left of the path; the record keeps what was there before it.
fn path(before: &[String], left: &[String]) -> Vec<String> {
    let path = if before.ends_with(left) { before } else { left };
    path.iter().take(RELEASES).cloned().collect()
}

fn minted(snapshot: &Snapshot) -> Vec<MintedTemplate> {
    let used = used(snapshot);
    let templates = snapshot.templates.iter().filter_map(|template| match template {
        Observed::Read(template) => Some(template),
        Observed::Invalid(_) => None,
    });
    let mut minted: Vec<MintedTemplate> = templates
        .filter_map(|template: &Template| {
            let release = template.minted_for()?.to_owned();
            let state = if used.iter().any(|reference| template.is(reference)) {
                TemplateUse::InUse
            } else {
                TemplateUse::Kept
            };
            Some(MintedTemplate {
                kind: template.kind.clone(),
                name: template.name.clone(),
                release,
                state,
            })
        })
        .collect();
    minted.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    minted.truncate(LISTED);
    minted
}

fn used(snapshot: &Snapshot) -> Vec<&TemplateRef> {
    let control_plane = snapshot.control_plane.iter().filter_map(|part| match part {
        Observed::Read(control_plane) => control_plane.infrastructure.as_ref(),
        Observed::Invalid(_) => None,
    });
    let pools = snapshot.pools.iter().flat_map(|part| match part {
        Observed::Read(pool) => std::iter::once(&pool.infrastructure).chain(&pool.bootstrap).collect(),
        Observed::Invalid(_) => Vec::new(),
    });
    control_plane.chain(pools).collect()
}

fn conditions_of(
    phase: UpgradePhase,
    waiting: &[WaitingFor],
    health: Health<'_>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let (progressing, completed) = match phase {
        UpgradePhase::ControlPlane | UpgradePhase::Workers => (true, false),
        UpgradePhase::Completed => (false, true),
        UpgradePhase::Pending | UpgradePhase::Held | UpgradePhase::Refused => (false, false),
    };
    let message = waiting.first().map_or_else(String::new, |first| first.message.clone());
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| Condition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: cut(message),
        observed_generation: Some(generation),
        last_transition_time: Time(now),
    };
    let healthy = match health {
        Health::Fine => Some(condition("Healthy", true, "Fine", "")),
        Health::Untried => None,
        Health::Ill { reason, message } => Some(condition("Healthy", false, reason, message)),
    };
    let mut conditions = vec![
        condition("Progressing", progressing, phase.as_str(), &message),
        condition("Completed", completed, phase.as_str(), &message),
    ];
    conditions.extend(healthy);
    conditions
}

/// The time stays while the status does.
fn set(conditions: &mut Vec<Condition>, mut condition: Condition) {
    match conditions.iter_mut().find(|before| before.type_ == condition.type_) {
        None => conditions.push(condition),
        Some(before) => {
            if before.status == condition.status {
                condition.last_transition_time = before.last_transition_time.clone();
            }
            *before = condition;
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_keeps_what_was_passed() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let whole = names(&["v1.34.1-1", "v1.35.1-1"]);
        assert_eq!(path(&[], &whole), whole);
        assert_eq!(path(&whole, &names(&["v1.35.1-1"])), whole);
        assert_eq!(path(&whole, &[]), whole);
        assert_eq!(path(&whole, &names(&["v1.36.1-1"])), names(&["v1.36.1-1"]));
    }
}
