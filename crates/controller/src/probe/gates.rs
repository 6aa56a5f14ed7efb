//! The add-ons and gates of a round: what is set for each, and what its objects say.

use std::{collections::BTreeMap, sync::Arc};

use instar_addons::{Applies, Target, Verdict, WantedGate};
use instar_api::{ClusterSide, Observe};
use instar_capi::Cluster;
use instar_planner::{AddonId, Lifecycle, Problem, ValueBefore};
use instar_watch::Key;
use instar_workload::{CallError, Seen, SetError, SetOutcome, WorkloadClient, find, observe, read_object, set};
use jiff::Timestamp;
use kube::Resource;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{lanes::Lanes, schedule::Look};
use crate::{
    gather::lifecycle_of,
    lease::Leads,
    metrics::{Counters, Written},
};

/// How both clusters are reached.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) management: &'a WorkloadClient,
    /// Or why not.
    pub(super) workload: Result<&'a WorkloadClient, &'a Problem>,
    pub(super) leads: &'a Leads,
    pub(super) counters: &'a Counters,
}

impl Sides<'_> {
    pub(super) fn client(&self, side: ClusterSide) -> Result<&WorkloadClient, String> {
        match side {
            ClusterSide::Management => Ok(self.management),
            ClusterSide::Workload => self.workload.map_err(|problem| problem.message.clone()),
        }
    }
}

/// Whether a gate needs the workload cluster.
pub(super) fn is_in_workload(gate: &WantedGate) -> bool {
    let observed = gate.gate().observe().cluster;
    let field = gate.write.as_ref().or(gate.find.as_ref());
    let field = field.map(|target| target.cluster);
    [Some(observed), field].contains(&Some(ClusterSide::Workload))
}

/// Looks at each. Their expressions see the Cluster as it is now, with all its labels and annotations.
pub(super) async fn look_at_all(
    sides: Sides<'_>,
    cluster: &Key,
    read: &Result<Arc<Value>, String>,
    gates: &[WantedGate],
    lanes: &Lanes,
) -> BTreeMap<AddonId, Look> {
    let mut looks = BTreeMap::new();
    let read = match read {
        Ok(read) => read,
        Err(message) => {
            let unknown = |gate: &WantedGate| (gate.id.clone(), Look::Judged(Verdict::Unknown(message.clone())));
            return gates.iter().map(unknown).collect();
        }
    };
    for gate in gates {
        let look = match gate.applies(read, Timestamp::now()) {
            Applies::Yes => look(sides, cluster, read, gate, lanes).await,
            Applies::No => Look::Judged(Verdict::NotApplicable),
            Applies::Unknown(why) => Look::Judged(Verdict::Unknown(why)),
        };
        looks.insert(gate.id.clone(), look);
    }
    looks
}

/// The Cluster as JSON, or why nothing is looked at for it.
pub(super) async fn read_cluster(management: &WorkloadClient, cluster: &Key) -> Result<Arc<Value>, String> {
    let path = Cluster::url_path(&(), Some(cluster.namespace()));
    let read = read_object(management, &format!("{path}/{}", cluster.name())).await;
    let read = read.map_err(|error| format!("Cluster {cluster} was not read: {error}"))?;
    // It may have been paused or deleted since the pass that wanted the look.
    match serde_json::from_value::<Cluster>(read.clone()) {
        Ok(typed) => match lifecycle_of(&typed) {
            Lifecycle::Active => Ok(Arc::new(read)),
            Lifecycle::Paused => Err(format!("Cluster {cluster} is paused")),
            Lifecycle::Deleting => Err(format!("Cluster {cluster} is being deleted")),
        },
        Err(error) => Err(format!("Cluster {cluster} can't be decoded: {error}")),
    }
}

/// Sets what is to be set, and looks.
async fn look(sides: Sides<'_>, cluster: &Key, read: &Arc<Value>, gate: &WantedGate, lanes: &Lanes) -> Look {
    if let Some(target) = &gate.find {
        return find_before(sides, target).await.map_or_else(|look| look, Look::Found);
    }
    if let Some(target) = &gate.write {
        match hand(sides, target).await {
            Ok(SetOutcome::There) => {}
            Ok(SetOutcome::Written) => {
                tracing::info!(
                    %cluster,
                    "Setting {} of {} for {}: {}", target.field(), target.object(), gate.id, target.wanted()
                );
                sides.counters.wrote(Written::Addon);
                let message = format!("{} of {} was set just now", target.field(), target.object());
                return Look::Set(Verdict::InProgress(message));
            }
            Err(look) => return look,
        }
    }
    let observed = gate.gate().observe();
    let unknown = |message: String| Look::Judged(Verdict::Unknown(message));
    let objects = match objects(sides, cluster, observed, GATES).await {
        Ok(Found::Objects(objects)) => objects,
        Ok(Found::NotServed(message)) => return Look::Judged(Verdict::InProgress(format!("not ready: {message}"))),
        Err(message) => return unknown(message),
    };
    let (gate, cluster) = (gate.clone(), Arc::clone(read));
    let judging = evaluated(lanes, move || gate.judge(&objects, &cluster, Timestamp::now()));
    judging.await.map_or_else(unknown, Look::Judged)
}

/// What was observed.
pub(super) enum Found {
    Objects(Vec<Value>),
    /// The API server doesn't know the kind, in words.
    NotServed(String),
}

/// Reads what is observed; an error says why nothing was. `presets` is where roles for it are.
pub(super) async fn objects(
    sides: Sides<'_>,
    cluster: &Key,
    observed: &Observe,
    presets: &str,
) -> Result<Found, String> {
    let client = sides.client(observed.cluster)?;
    let namespace = match observed.cluster {
        ClusterSide::Management => Some(cluster.namespace()),
        ClusterSide::Workload => None,
    };
    let (kind, place) = (&observed.kind, observed.cluster.as_str());
    match observe(client, observed, namespace).await {
        Ok(Seen::Objects(objects)) => Ok(Found::Objects(objects)),
        Ok(Seen::NotServed) => Ok(Found::NotServed(format!(
            "the {place} doesn't know the kind {kind} of {}",
            observed.api_version
        ))),
        Ok(Seen::TooLong) => Err(format!(
            "the objects of kind {kind} are larger than is read: narrow observe.labelSelector"
        )),
        Ok(Seen::NoName(text)) => Err(format!("\"{text}\" is no name of Kubernetes: correct observe")),
        Err(error) => Err(said(&error, observed.cluster, kind, "get and list", presets)),
    }
}

/// Evaluates expressions when their turn has come, on a thread of its own.
pub(super) async fn evaluated<T: Send + 'static>(
    lanes: &Lanes,
    evaluate: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let turn = lanes.evaluation().await;
    let evaluating = spawn_blocking(move || {
        // Its turn lasts as long as the thread, also where nobody waits for it any more.
        let _turn = turn;
        evaluate()
    });
    let evaluated = evaluating.await;
    evaluated.map_err(|panicked| format!("evaluating it panicked, please report this: {panicked}"))
}

/// Where the roles of add-ons and gates are.
const GATES: &str = "config/gates";

/// What is in a field before it is set; an error says what the look at the gate comes to.
async fn find_before(sides: Sides<'_>, target: &Target) -> Result<ValueBefore, Look> {
    let unknown = |message| Look::Judged(Verdict::Unknown(message));
    let client = sides.client(target.cluster).map_err(unknown)?;
    let not_read = |why: String| unknown(format!("{} of {} is not read: {why}", target.field(), target.object()));
    match find(client, target).await {
        Ok(found) => Ok(ValueBefore::of(found)),
        Err(SetError::NotThere) => Ok(ValueBefore::NoObject),
        Err(SetError::Call(error)) => Err(not_read(said(
            &error,
            target.cluster,
            &target.kind,
            "get and patch",
            GATES,
        ))),
        Err(error @ (SetError::NoName(_) | SetError::Changed | SetError::Managed(_) | SetError::NotKept(_))) => {
            Err(not_read(error.to_string()))
        }
    }
}

/// Sets a value; an error says what the look at the gate comes to.
async fn hand(sides: Sides<'_>, target: &Target) -> Result<SetOutcome, Look> {
    let unknown = |message| Look::Judged(Verdict::Unknown(message));
    let client = sides.client(target.cluster).map_err(unknown)?;
    if !sides.leads.now() {
        let why = "this process doesn't hold the lease any more, or the CustomResourceDefinitions don't fit it";
        return Err(unknown(why.to_owned()));
    }
    let (object, field) = (target.object(), target.field());
    let (set_there, instead) = if target.goes_back() {
        ("set back", ", or name the add-on in spec.keepAddons of the rollback")
    } else {
        ("set", "")
    };
    Err(match set(client, target).await {
        Ok(outcome) => return Ok(outcome),
        // It is tried again soon.
        Err(SetError::Changed) => Look::Set(Verdict::InProgress(format!("{field} of {object} is being {set_there}"))),
        Err(SetError::NotThere) => Look::Judged(Verdict::InProgress(format!(
            "{object} is not there, and its {field} is to be {set_there}{instead}"
        ))),
        Err(SetError::Managed(message)) => unknown(format!(
            "{field} of {object} is not {set_there}, since another client manages it: {message}; let that client {}{instead}",
            target.wanted()
        )),
        Err(error @ SetError::NotKept(_)) => unknown(format!(
            "{field} of {object} was {set_there} ({}), and {error}: see what changes it, and let the add-on set what is kept{instead}",
            target.wanted()
        )),
        Err(error @ SetError::NoName(_)) => unknown(format!("{field} of {object} is not {set_there}: {error}")),
        Err(SetError::Call(error)) => unknown(format!(
            "{field} of {object} is not {set_there}: {}{instead}",
            said(&error, target.cluster, &target.kind, "get and patch", GATES)
        )),
    })
}

fn said(error: &CallError, side: ClusterSide, kind: &str, verbs: &str, presets: &str) -> String {
    match (error, side) {
        (CallError::Refused { code: 403, .. }, ClusterSide::Management) => format!(
            "{error}; bind a role to the controller's account that lets it {verbs} this kind, such as that of {presets}"
        ),
        (CallError::Refused { code: 403, .. }, ClusterSide::Workload) => {
            format!("{error}; let the user of the kubeconfig {verbs} objects of kind {kind}")
        }
        (
            CallError::Unusable { .. }
            | CallError::Unreachable { .. }
            | CallError::Silence { .. }
            | CallError::Refused { .. }
            | CallError::Redirected { .. }
            | CallError::TooLong { .. }
            | CallError::Garbled { .. },
            _,
        ) => error.to_string(),
    }
}
