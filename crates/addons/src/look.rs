//! What the add-ons of a release and the gates of policies come to at one point of an upgrade.

mod back;

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{Addon, ClusterSide, Gate as Spec, KubernetesReleaseSpec, WorkloadAccess};
use instar_planner::{AddonGate, AddonId, AddonOwner, AddonProblem, AddonState, AskedPoint, GateHistory, ValueBefore};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    hand::{Target, Wanted},
    order::order,
    refusal::{Refusal, refusals_of_addons, refusals_of_gates},
    subject::{ReleaseView, Subject, Written},
    timing::{Outcome, Since},
    verdict::{Applies, Gate, Verdict},
    verified::VerifiedWorkload,
};

pub use back::look_back;

/// A point of an upgrade of a Cluster, and what is known there.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub point: &'a AskedPoint,
    /// The namespace and the name of the Cluster.
    pub cluster: (&'a str, &'a str),
    /// The spec of the point's release; absent where there is no such release, or none is named.
    pub release: Option<&'a KubernetesReleaseSpec>,
    /// The gates of each policy of the Cluster, by the policy's name.
    pub policies: &'a [(&'a str, &'a [Spec])],
    /// What has to be rolled out there beside them.
    pub workloads: &'a [VerifiedWorkload],
    pub access: &'a WorkloadAccess,
    /// The target of the upgrade, as it was written.
    pub target: &'a str,
    pub history: &'a GateHistory,
    pub readings: &'a GateReadings,
    pub now: Timestamp,
}

/// What the gates of a point come to, and what is to be looked at for them.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub gates: Vec<AddonGate>,
    pub wanted: Vec<WantedGate>,
}

/// A gate whose objects are looked at, and what is set for it before.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedGate {
    pub id: AddonId,
    gate: Gate,
    release: ReleaseView,
    /// What is set; absent where nothing is, or where its turn hasn't come.
    pub write: Option<Target>,
    /// What is to be known before its turn can come: what is in the field that will be set.
    pub find: Option<Target>,
    begun: Option<Timestamp>,
}

/// What a look at the objects of a gate came to.
#[derive(Debug, Clone, PartialEq)]
pub struct GateReading {
    /// Of which gate: one that was edited since is another one.
    pub of: WantedGate,
    /// When.
    pub at: Timestamp,
    pub verdict: Verdict,
    /// Since when each look has found it ready.
    pub ready: Option<Timestamp>,
    /// What is in the field that will be set, where that was asked.
    pub before: Option<ValueBefore>,
}

/// A look that is older says nothing of now.
const LONGEST: SignedDuration = SignedDuration::from_mins(5);

/// What is known of each gate. One that isn't there has not been looked at yet.
pub type GateReadings = BTreeMap<AddonId, Arc<GateReading>>;

impl WantedGate {
    /// The gate that is looked at.
    #[must_use]
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Whether it counts for the Cluster, given as JSON. What is set for one that doesn't is not set. What was set for one
    /// that did, goes back.
    #[must_use]
    pub fn applies(&self, cluster: &Value, now: Timestamp) -> Applies {
        if self.write.as_ref().is_some_and(Target::goes_back) {
            return Applies::Yes;
        }
        self.gate.applies(&Subject::new(&self.release, cluster, None, now))
    }

    /// What the objects come to.
    #[must_use]
    pub fn judge(&self, objects: &[Value], cluster: &Value, now: Timestamp) -> Verdict {
        let written = self
            .begun
            .zip(self.write.as_ref())
            .map(|(at, target)| match target.wanted() {
                Wanted::Value(value) => Some(Written {
                    value: value.clone(),
                    at,
                }),
                Wanted::Absent => None,
            });
        let written = match written {
            // What comes of none can't be asked for by its value.
            Some(None) if self.gate.asks_for_written() => return Verdict::Ready,
            Some(written) => written,
            None => None,
        };
        self.gate
            .judge(objects, &Subject::new(&self.release, cluster, written.as_ref(), now))
    }
}

/// Whose gates these are.
enum List<'a> {
    Addons { release: &'a str, addons: &'a [Addon] },
    Gates { policy: &'a str, gates: &'a [Spec] },
}

/// What the gates of a point come to. They have an order: one that depends on others comes after them.
#[must_use]
pub fn look(asked: Asked<'_>) -> Found {
    let mut found = Found::default();
    match (&asked.point.release, asked.release) {
        (Some(release), Some(spec)) => {
            let addons = &spec.addons;
            look_at(asked, &List::Addons { release, addons }, &mut found);
        }
        (Some(release), None) => {
            let owner = AddonOwner::Release(release.clone());
            let message = format!("{owner} is gone, so its add-ons are not known: create it again");
            let id = id(asked, owner, "spec.addons");
            found.gates.push(AddonGate {
                id,
                kind: "KubernetesRelease".to_owned(),
                object: release.clone(),
                state: unknown(message),
            });
        }
        (None, _) => {}
    }
    for (policy, gates) in asked.policies {
        look_at(asked, &List::Gates { policy, gates }, &mut found);
    }
    for workload in asked.workloads {
        look_at_workload(asked, workload, &mut found);
    }
    found
}

fn look_at_workload(asked: Asked<'_>, VerifiedWorkload { owner, gate }: &VerifiedWorkload, found: &mut Found) {
    let wish = WantedGate {
        id: id(asked, owner.clone(), gate.name()),
        gate: gate.clone(),
        release: release_view(asked),
        write: None,
        find: None,
        begun: None,
    };
    let state = match (closed_to(asked.access), recent(asked, &wish)) {
        (Some(why), _) => unknown(why),
        (None, Some(reading)) => state(gate, reading, None, asked.now),
        (None, None) => being_looked_at(),
    };
    found.gates.push(AddonGate {
        id: wish.id.clone(),
        kind: gate.observe().kind.clone(),
        object: gate.observe().name.clone().unwrap_or_default(),
        state,
    });
    found.wanted.push(wish);
}

fn look_at(asked: Asked<'_>, list: &List<'_>, found: &mut Found) {
    let (owner, specs, refusals): (_, Vec<&Spec>, Vec<Refusal>) = match list {
        List::Addons { release, addons } => (
            AddonOwner::Release((*release).to_owned()),
            addons.iter().map(|addon| &addon.gate).collect(),
            refusals_of_addons(addons),
        ),
        List::Gates { policy, gates } => (
            AddonOwner::Policy((*policy).to_owned()),
            gates.iter().collect(),
            refusals_of_gates(gates, asked.cluster.0),
        ),
    };
    let when = asked.point.when;
    if !specs.iter().any(|spec| spec.when == when) {
        return;
    }
    // Admission refuses it, so it was written while admission was off.
    if let Some(refusal) = refusals.first() {
        let (kind, object) = match &owner {
            AddonOwner::Release(name) => ("KubernetesRelease", name.clone()),
            AddonOwner::Policy(name) => ("UpgradePolicy", name.clone()),
            AddonOwner::Kubernetes => ("Cluster", asked.cluster.1.to_owned()),
        };
        found.gates.push(AddonGate {
            id: id(asked, owner, "spec"),
            kind: kind.to_owned(),
            object,
            state: unknown(format!("{}: {}", refusal.what, refusal.remediation)),
        });
        return;
    }
    let Ok(ordered) = order(&specs) else { return };
    let mut not_ready: Vec<&str> = Vec::new();
    for spec in ordered.into_iter().filter(|spec| spec.when == when) {
        let addon = match list {
            List::Addons { addons, .. } => addons.iter().find(|addon| addon.gate.name == spec.name),
            List::Gates { .. } => None,
        };
        let before: Vec<&str> = spec
            .depends_on
            .iter()
            .map(String::as_str)
            .filter(|name| not_ready.contains(name))
            .collect();
        let state = if before.is_empty() {
            one(asked, &owner, spec, addon, &mut found.wanted)
        } else {
            Some(AddonState::Closed {
                problem: AddonProblem::NotReady,
                message: format!("it comes after {}", before.join(", ")),
                until: None,
            })
        };
        let Some(state) = state else { continue };
        if state != AddonState::Open {
            not_ready.push(&spec.name);
        }
        found.gates.push(AddonGate {
            id: id(asked, owner.clone(), &spec.name),
            kind: spec.observe.kind.clone(),
            object: spec.observe.name.clone().unwrap_or_default(),
            state,
        });
    }
}

/// What one comes to whose turn has come; nothing where it doesn't count for the Cluster, which only a look at that tells.
fn one(
    asked: Asked<'_>,
    owner: &AddonOwner,
    spec: &Spec,
    addon: Option<&Addon>,
    wanted: &mut Vec<WantedGate>,
) -> Option<AddonState> {
    let gate = match addon.map_or_else(|| Gate::read(spec), Gate::of_addon) {
        Ok(gate) => gate,
        Err(error) => return Some(unknown(error.to_string())),
    };
    let release = release_view(asked);
    let write = addon.and_then(|addon| Target::of(addon, asked.cluster));
    let reaches_workload = gate.observe().cluster == ClusterSide::Workload
        || write
            .as_ref()
            .is_some_and(|target| target.cluster == ClusterSide::Workload);
    let id = id(asked, owner.clone(), gate.name());
    let begun = asked.history.begun(asked.target, &id);
    let has_to_begin = begun.is_none() && (write.is_some() || spec.timeout.is_some());
    let (find, write) = match (begun, write) {
        (None, write) => (write, None),
        (Some(_), write) => (None, write),
    };
    let sets = find.clone();
    let wish = WantedGate {
        id,
        gate,
        release,
        write,
        find: find.filter(Target::keeps_before),
        begun,
    };
    let reading = recent(asked, &wish);
    let counts = spec.only_if.is_none() || reading.is_some();
    let closed = closed_to(asked.access).filter(|_| reaches_workload && counts);
    let state = match (reading.map(|reading| (reading, &reading.verdict)), closed) {
        (Some((_, Verdict::NotApplicable)), _) => None,
        (_, Some(why)) => Some(unknown(why)),
        (None, None) if !counts || !has_to_begin || wish.find.is_some() => Some(being_looked_at()),
        (reading, None) if has_to_begin => Some(due(asked, &wish, sets.as_ref(), reading.map(|(reading, _)| reading))),
        (Some((reading, _)), None) => Some(self::state(&wish.gate, reading, begun, asked.now)),
        (None, None) => None,
    };
    wanted.push(wish);
    state
}

/// What comes of one whose turn has come. What is in its field has to be known before, where that goes back.
fn due(asked: Asked<'_>, wish: &WantedGate, sets: Option<&Target>, reading: Option<&GateReading>) -> AddonState {
    let Some(sets) = sets else {
        return AddonState::Due(None);
    };
    let before = match (&wish.find, reading) {
        (None, _) => ValueBefore::NotKept,
        (
            Some(_),
            Some(GateReading {
                before: Some(found), ..
            }),
        ) => {
            // What an earlier turn has set is not what was there before.
            let earlier = asked.history.before(&wish.id).filter(|_| is_ours(sets, found));
            earlier.unwrap_or(found).clone()
        }
        (Some(_), Some(reading)) => return state(&wish.gate, reading, None, asked.now),
        (Some(_), None) => return being_looked_at(),
    };
    AddonState::Due(Some(before))
}

fn is_ours(sets: &Target, found: &ValueBefore) -> bool {
    match found {
        ValueBefore::Value(value) => sets.is_as_set(value),
        ValueBefore::Absent | ValueBefore::NoObject | ValueBefore::TooLarge | ValueBefore::NotKept => false,
    }
}

fn release_view(asked: Asked<'_>) -> ReleaseView {
    let AskedPoint { version, release, .. } = asked.point;
    ReleaseView {
        name: release.clone(),
        version: version.clone(),
        revision: asked.release.map(|spec| spec.revision),
    }
}

/// The last look at a gate, where it was as it is now and that says something of now.
fn recent<'a>(asked: Asked<'a>, wish: &WantedGate) -> Option<&'a GateReading> {
    let reading = asked.readings.get(&wish.id)?;
    let is_recent = reading.of == *wish && asked.now.duration_since(reading.at) < LONGEST;
    is_recent.then_some(reading)
}

fn being_looked_at() -> AddonState {
    AddonState::Closed {
        problem: AddonProblem::NotReady,
        message: "it is being looked at".to_owned(),
        until: None,
    }
}

fn state(gate: &Gate, reading: &GateReading, begun: Option<Timestamp>, now: Timestamp) -> AddonState {
    let since = Since {
        begun: begun.or(reading.ready).unwrap_or(now),
        ready: reading.ready,
    };
    let problem = match &reading.verdict {
        Verdict::Ready | Verdict::InProgress(_) | Verdict::NotApplicable => AddonProblem::NotReady,
        Verdict::Failed(_) => AddonProblem::Failed,
        Verdict::Unknown(_) => AddonProblem::Unknown,
    };
    match gate.over_time(&reading.verdict, since, now) {
        Outcome::Open => AddonState::Open,
        Outcome::Closed { message, until } => AddonState::Closed {
            problem,
            message,
            until,
        },
        Outcome::Settling { message, until } => AddonState::Closed {
            problem: AddonProblem::Settling,
            message,
            until: Some(until),
        },
        Outcome::TimedOut { message } => AddonState::Closed {
            problem: AddonProblem::TimedOut,
            message,
            until: None,
        },
        Outcome::Failed { message } => AddonState::Closed {
            problem: AddonProblem::Expired,
            message,
            until: None,
        },
    }
}

/// Why the workload cluster isn't looked at.
fn closed_to(access: &WorkloadAccess) -> Option<String> {
    match access {
        WorkloadAccess::Enabled(_) => None,
        WorkloadAccess::Disabled => Some(
            "the workload cluster is not looked at: set spec.workload.access of an UpgradePolicy of this Cluster to \
             Enabled"
                .to_owned(),
        ),
        WorkloadAccess::Unclear(why) => Some(why.clone()),
    }
}

fn id(asked: Asked<'_>, owner: AddonOwner, name: &str) -> AddonId {
    AddonId {
        owner,
        name: name.to_owned(),
        when: asked.point.when,
        version: asked.point.version.clone(),
    }
}

const fn unknown(message: String) -> AddonState {
    AddonState::Closed {
        problem: AddonProblem::Unknown,
        message,
        until: None,
    }
}

#[cfg(test)]
mod tests;
