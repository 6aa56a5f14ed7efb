//! What gates the upgrades to which things go wrong: each has its checks, two approvals, an add-on that is set, and a pool that
//! goes first. And whether one of these was passed before it was open.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use instar_api::{Approval, ApprovedPart, HOOK_ANSWER_ANNOTATION, HealthReason, HookAnswer, SWAP_HISTORY_ANNOTATION};
use instar_e2e::{
    Result,
    support::{
        catalog::Rows,
        fault_proxy::ObservedRequest,
        fixtures::{Shape, core_kind},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        topology::{clusters, namespaced},
        upgrade::{upgrade, upgrades},
    },
};
use jiff::{SignedDuration, Timestamp};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use serde_json::{Value, json};

/// What the add-on sets on the Cluster.
const NETWORK: &str = "journey.example.org/network";

/// How long the pool that goes first has to be there, and how long what was set has to stay.
const BAKE: SignedDuration = SignedDuration::from_secs(5);
const SETTLE: SignedDuration = SignedDuration::from_secs(2);

/// Times of objects are whole seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

const POLICY: &str = "gates";

/// A release that brings a version of the network along.
pub(crate) fn row(rows: &Rows, minor: u8) -> Value {
    let mut row = rows.row(minor, 1);
    row["spec"]["addons"] = json!([{
        "name": "network",
        "when": "BeforeWorkers",
        "write": { "annotation": { "key": NETWORK, "value": rows.version(minor) } },
        "observe": {
            "cluster": "Management", "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "c",
        },
        "readyWhen": format!("metadata.annotations['{NETWORK}'] == written.value"),
        "generation": "Ignore",
        "settle": format!("{}s", SETTLE.as_secs()),
        "timeout": "1h",
    }]);
    row
}

/// The policy of one namespace. With Runtime Hooks each step of the control plane has an approval of its own, else all of
/// them have one.
pub(crate) async fn by_policy(scene: &JourneyContext, asks: AskedBy) -> Result<()> {
    let control_plane = match asks {
        AskedBy::ClusterUpgrade => "ControlPlane",
        AskedBy::Hook => "EachStep",
    };
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": POLICY },
        "spec": {
            "approval": { "before": [control_plane, "Workers"] },
            "canary": { "pools": 1, "bake": format!("{}s", BAKE.as_secs()) },
        },
    });
    scene.apply_object(policy).await.map(drop)
}

/// What comes later in that namespace waits for nothing.
pub(crate) async fn no_more(scene: &JourneyContext) -> Result<()> {
    let group = "upgrade.cluster.x-k8s.io";
    let policies = ApiResource {
        group: group.to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: format!("{group}/v1alpha1"),
        kind: "UpgradePolicy".to_owned(),
        plural: "upgradepolicies".to_owned(),
    };
    let policies = namespaced(scene, &policies);
    policies.delete(POLICY, &DeleteParams::default()).await?;
    Ok(())
}

/// Of what is told, every so manieth news is a fault: a start takes two seconds, and steps fail in one of two ways
/// whatever is told between them.
const STRIDE: usize = 3;

/// What the controller has told, of each namespace.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<BTreeSet<String>>>);

impl Told {
    /// Whether a write is a step, or tells what was not told before, some of it. After each start the controller looks at add-ons anew,
    /// they have to stay ready for a while, and it tells that anew: where that went wrong each time, nothing would ever end.
    pub(crate) fn is_news(&self, request: &ObservedRequest) -> bool {
        if request.resource != "events" && request.subresource.is_none() {
            return true;
        }
        // Times and names that are made up differ each time.
        let told = String::from_utf8_lossy(&request.body);
        let told = told.chars().filter(|letter| !letter.is_ascii_hexdigit());
        let told = request
            .namespace
            .iter()
            .flat_map(|namespace| namespace.chars())
            .chain(told);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(told.collect()) && known.len() % STRIDE == 1
    }
}

/// What holds the control plane until it is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedBy {
    /// The edit of the version waits.
    ClusterUpgrade,
    /// The edit is made, and Cluster API is answered that the step may not go.
    Hook,
}

/// Approves what the record asks for, as its message says; a step that a hook holds once Cluster API is answered so, that it
/// may not go, since else it depends on who is faster whether that is ever written.
pub(crate) async fn approve_what_is_asked(scene: &JourneyContext, asks: AskedBy) -> Result<()> {
    let Some(record) = upgrade(scene).await? else {
        return Ok(());
    };
    let status = record.status.clone().unwrap_or_default();
    let missing = HealthReason::ApprovalMissing.as_str();
    let Some(row) = status.health.iter().find(|row| row.reason == missing) else {
        return Ok(());
    };
    let entry = row.message.find('{').zip(row.message.rfind('}'));
    let entry = entry.and_then(|(from, to)| row.message.get(from..=to));
    let asked: Approval = serde_json::from_str(entry.with_context(|| format!("no entry to copy: {}", row.message))?)?;
    if (asks, asked.before) == (AskedBy::Hook, ApprovedPart::ControlPlane) {
        let cluster = clusters(scene).get("c").await?;
        let answer = cluster.annotations().get(HOOK_ANSWER_ANNOTATION);
        let answer = answer.and_then(|text| HookAnswer::from_annotation(text));
        if answer.is_none_or(|answer| answer.verdict.hold_message().is_none()) {
            return Ok(());
        }
    }
    let mut approvals = record.spec.approvals.clone();
    let is_same = |given: &Approval| given.entry() == asked.entry();
    // The status may be of before.
    if approvals.iter().any(is_same) {
        return Ok(());
    }
    approvals.push(asked);
    let patch = json!({ "spec": { "approvals": approvals } });
    upgrades(scene)
        .patch(&record.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// What was passed before it was open, by the times that objects have: of approvals, of what was set, of when the pool that
/// goes first was there, and of machines.
pub(crate) async fn passed_early(
    scene: &JourneyContext,
    ledger: &Ledger,
    shape: &Shape<'_>,
    [from, target]: [&str; 2],
) -> Result<Vec<String>> {
    let record = upgrade(scene).await?.context("there is no ClusterUpgrade")?;
    let mut broken = Vec::new();
    if record.status.as_ref().is_none_or(|status| status.preflight.is_empty()) {
        broken.push("it has no results of checks".to_owned());
    }
    let approved = |part: ApprovedPart| {
        let mut approvals = record.spec.approvals.iter().filter(|approval| approval.before == part);
        match (approvals.next(), approvals.next()) {
            (Some(approval), None) => approval.set_by.clone().map(|by| by.time).context("no stamp"),
            (first, second) => anyhow::bail!("{part:?} was approved by {first:?} and {second:?}"),
        }
    };
    let [control_plane, workers] = [approved(ApprovedPart::ControlPlane)?, approved(ApprovedPart::Workers)?];
    let set = set_at(scene, target).await?;
    if set + SECOND <= workers {
        broken.push(format!(
            "the add-on was set at {set}, and the workers approved at {workers}"
        ));
    }
    let first = shape.pools.first().map(|(name, _)| *name).unwrap_or_default();
    let baked = there_since(scene, first).await? + BAKE;
    let ready = set + SETTLE;
    ledger.caught_up().await?;
    for machine in ledger.machines_ever("c")? {
        let gates = match &machine.pool {
            Pool::ControlPlane => vec![("it was approved", control_plane)],
            Pool::Workers(pool) if pool == first => {
                vec![("they were approved", workers), ("the add-on is ready", ready)]
            }
            Pool::Workers(_) => vec![("the first pool had baked", baked)],
        };
        for (gate, open) in gates {
            if machine.version != from && machine.created + SECOND <= open {
                broken.push(format!(
                    "{} was made at {}, and {gate} at {open}",
                    machine.name, machine.created
                ));
            }
        }
    }
    Ok(broken)
}

/// When the controller set the add-on's annotation.
async fn set_at(scene: &JourneyContext, version: &str) -> Result<Timestamp> {
    let cluster = clusters(scene).get("c").await?;
    let value = cluster.annotations().get(NETWORK);
    anyhow::ensure!(value.map(String::as_str) == Some(version), "{NETWORK} is {value:?}");
    let mut managers = cluster.managed_fields().iter();
    let own = managers.find(|entry| {
        entry
            .manager
            .as_ref()
            .is_some_and(|name| name.starts_with("instar-addon-"))
    });
    let time = own
        .and_then(|entry| entry.time.as_ref())
        .context("the controller didn't set it")?;
    Ok(time.0)
}

/// When all machines of a pool were there, as its MachineDeployment says.
async fn there_since(scene: &JourneyContext, pool: &str) -> Result<Timestamp> {
    let pools = namespaced(scene, &core_kind("MachineDeployment", "machinedeployments"));
    let pools = pools.list(&ListParams::default()).await?;
    let name = |object: &DynamicObject| {
        let label = object
            .labels()
            .get("topology.cluster.x-k8s.io/deployment-name")
            .cloned();
        label.unwrap_or_else(|| object.name_any())
    };
    let mut pools = pools.iter().filter(|object| name(object) == pool);
    let history = pools
        .next()
        .and_then(|object| object.annotations().get(SWAP_HISTORY_ANNOTATION));
    let history: Value = serde_json::from_str(history.context("no swap history")?)?;
    let last = history.as_array().and_then(|swaps| swaps.last());
    let converged = last.and_then(|swap| swap["converged"].as_str());
    Ok(converged.context("it has not converged")?.parse()?)
}
