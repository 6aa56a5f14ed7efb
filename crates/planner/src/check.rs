//! The invariants, held against a decision by a reading of the snapshot of its own.

mod addons;
mod back;
mod canary;
mod hooks;
mod landing;
mod machine_pool;
mod patch;
mod paused_rollout;
mod pinned;
mod release_change;
mod restart;
mod spent;
mod stuck;
mod topology;
mod topology_canary;
mod verification;
mod violation;
mod what_was;

use instar_api::{ApprovalPoint, ApprovedPart, RELEASE_LABEL, RENDERED_ANNOTATION, SWAP_HISTORY_ANNOTATION, Values};
use instar_capi::{Contract, Lifecycle, ManagedBy};
use instar_catalog::core_dns;
use instar_domain::{BuildOrder, KubeVersion, skew};
use serde_json::Value;

use crate::{
    decision::{Action, Decision, DeleteTemplate, Hold, MintTemplate, Stage, Swap},
    observed::Observed,
    operation::Rollback,
    pool_id::PoolId,
    preflight::checks_are_asked,
    rendered::Rendered,
    snapshot::{ControlPlane, Flavor, Machine, MachineDeployment, MachineSet, Node, Object, Snapshot, TemplateRef},
    upgrade_spec::{Approvals, Gate, GateState},
};

pub use violation::Violation;

/// All invariants that a decision breaks.
#[must_use]
pub fn check(snapshot: &Snapshot, decision: &Decision) -> Vec<Violation> {
    let mut broken = Vec::new();
    let may_be_written = match &decision.action {
        Action::Nothing => true,
        Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::BeginGates(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_) => is_live(snapshot),
        Action::RecordConvergence(_) if snapshot.cluster.topology().is_some() => is_live(snapshot),
        Action::AnswerHook(answer) if hooks::begun(answer).is_some() => is_live(snapshot),
        Action::HoldPool(hold) => paused_rollout::may_be_written(snapshot, hold),
        Action::SetConcurrency(_) | Action::AnswerHook(_) | Action::RestoreVersionCheck(_) => {
            snapshot.cluster.lifecycle == Lifecycle::Active
        }
        Action::PatchMachinePool(patch) => machine_pool::may_be_written(snapshot, patch),
        Action::MintTemplate(_)
        | Action::SwapControlPlane(_)
        | Action::SwapWorkers(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::DeleteTemplate(_) => is_open(snapshot),
    };
    if !may_be_written {
        broken.push(Violation::Untouchable);
    }
    let is_closed = |gate| matches!(snapshot.gates.get(gate), Some(GateState::Closed { .. }));
    let passed = passed_gates(snapshot, &decision.action);
    let is_held = || checks_are_asked(snapshot) && snapshot.preflight.iter().any(|found| found.outcome.holds());
    if passed.iter().any(is_closed)
        || (!passed.is_empty() && is_held())
        || matches!(&decision.action, Action::AnswerHook(answer) if hooks::outlasts(snapshot, answer))
        || match rollback(snapshot) {
            None => !stuck::is_taken_back(&decision.action) && passes_what_is_new(snapshot, decision),
            Some(rollback) => back::passes_addons(snapshot, decision, rollback),
        }
    {
        broken.push(Violation::GateClosed);
    }
    if restart::is_unknown(snapshot, decision) {
        broken.push(Violation::RestartUnknown);
    }
    if verification::is_missing(snapshot, decision) {
        broken.push(Violation::NotVerified);
    }
    if spent::is_spent(snapshot, &decision.action) {
        broken.push(Violation::Spent);
    }
    match &decision.action {
        Action::Nothing => {}
        Action::MintTemplate(mint) => check_mint(snapshot, mint, &mut broken),
        Action::DeleteTemplate(delete) => check_delete(snapshot, delete, &mut broken),
        Action::SwapControlPlane(swap) => check_control_plane(snapshot, swap, &mut broken),
        Action::SwapWorkers(swap) => check_workers(snapshot, swap, &mut broken),
        Action::PatchMachinePool(patch) => machine_pool::check(snapshot, patch, &mut broken),
        Action::PinPath(pin) => {
            pinned::check_path(snapshot, pin, &mut broken);
            // What has ended is not looked at again.
            if decision.progress.stage == Stage::Complete {
                broken.push(Violation::Incomplete);
            }
        }
        Action::RecordConvergence(arrival) if snapshot.cluster.topology().is_some() => {
            topology_canary::check_arrival(snapshot, arrival, &mut broken);
        }
        Action::RecordConvergence(convergence) => pinned::check_convergence(snapshot, convergence, &mut broken),
        Action::EditVersion(edit) if landing::lands(snapshot, edit) => landing::check(snapshot, edit, &mut broken),
        Action::EditVersion(edit) => topology::check_edit(snapshot, edit, &mut broken),
        Action::HoldPool(hold) => match hold.change {
            Hold::Hold | Hold::Release => {
                topology::check_hold(snapshot, hold, &mut broken);
                topology_canary::check_history(snapshot, hold, &mut broken);
            }
            Hold::PauseRollout | Hold::ResumeRollout => {
                paused_rollout::check(snapshot, decision, hold, &mut broken);
            }
        },
        Action::SetConcurrency(set) => topology::check_concurrency(snapshot, set, &mut broken),
        Action::CompletePins(complete) => topology::check_pins(snapshot, complete, &mut broken),
        Action::BeginGates(begin) => addons::check_begin(snapshot, begin, &mut broken),
        Action::AnswerHook(answer) => hooks::check(snapshot, answer, &mut broken),
        Action::RestoreVersionCheck(restore) => landing::check_restored(snapshot, restore, &mut broken),
        Action::FollowRelease(follow) => release_change::check(snapshot, follow, &mut broken),
        Action::DeleteMachine(delete) => release_change::check_machine(snapshot, delete, &mut broken),
    }
    broken
}

/// Whether an approval, a canary, an add-on or a gate is passed. They are for what is new: the way back asks for none.
fn passes_what_is_new(snapshot: &Snapshot, decision: &Decision) -> bool {
    lacks_approval(snapshot, &decision.action)
        || canary::is_passed(snapshot, &decision.action)
        || (!hooks::leaves_gates_to_steps(snapshot, &decision.action) && addons::are_passed(snapshot, decision))
}

/// The gates that an action passes. A MachinePool is paused while it is changed, so what has begun with one goes on.
fn passed_gates(snapshot: &Snapshot, action: &Action) -> &'static [Gate] {
    match action {
        Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) if back::turns_around(snapshot, swap) => &[],
        Action::EditVersion(edit) if landing::lands(snapshot, edit) => &[],
        Action::SwapControlPlane(swap) if stuck::takes_back(swap) => &[],
        Action::SwapControlPlane(_) | Action::EditVersion(_) => &Gate::CONTROL_PLANE,
        Action::SwapWorkers(swap) => match swap.pool {
            PoolId::ControlPlane | PoolId::Workers(_) => &Gate::WORKERS,
            PoolId::MachinePool(_) => &[],
        },
        Action::PatchMachinePool(patch) if machine_pool::turns_around(snapshot, patch) => &[],
        Action::PatchMachinePool(patch) if machine_pool::begins(snapshot, patch) => &Gate::WORKERS,
        Action::HoldPool(hold) if topology::begins(snapshot, hold).is_some() => &Gate::WORKERS,
        Action::AnswerHook(answer) => hooks::passed(answer),
        Action::FollowRelease(follow) if !follow.pools.is_empty() => &Gate::WORKERS,
        Action::PatchMachinePool(_)
        | Action::MintTemplate(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::DeleteTemplate(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::RestoreVersionCheck(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::Nothing => &[],
    }
}

/// Whether an approval is missing. The edit of a topology Cluster and the begin with a MachinePool name no version: of
/// those, one of the part has to be there.
fn lacks_approval(snapshot: &Snapshot, action: &Action) -> bool {
    let Approvals { required, given } = &snapshot.approvals;
    let asks = |point: ApprovalPoint| required.contains(&point);
    let has_any = |wanted: ApprovedPart| given.iter().any(|(part, _)| *part == wanted);
    match action {
        Action::SwapControlPlane(swap) => {
            let is_first = control_plane(snapshot).is_none_or(|control_plane| {
                let history = control_plane.object.swap_history.as_ref();
                history.is_none_or(|history| history.last_of(&snapshot.upgrade_spec.id()).is_none())
            });
            let begins = is_first || !has_any(ApprovedPart::ControlPlane);
            let is_asked = asks(ApprovalPoint::EachStep) || (begins && asks(ApprovalPoint::ControlPlane));
            is_asked && !given.contains(&(ApprovedPart::ControlPlane, swap.version.clone()))
        }
        Action::SwapWorkers(swap) => match swap.pool {
            PoolId::ControlPlane | PoolId::Workers(_) => {
                asks(ApprovalPoint::Workers) && !given.contains(&(ApprovedPart::Workers, swap.version.clone()))
            }
            // What has begun with one goes on.
            PoolId::MachinePool(_) => false,
        },
        Action::PatchMachinePool(patch) => {
            machine_pool::begins(snapshot, patch) && asks(ApprovalPoint::Workers) && !has_any(ApprovedPart::Workers)
        }
        Action::EditVersion(edit) if landing::lands(snapshot, edit) => false,
        Action::EditVersion(edit) => {
            let of_each_step = asks(ApprovalPoint::EachStep) && !hooks::answers_each_step(snapshot);
            let of_control_plane = asks(ApprovalPoint::ControlPlane) || of_each_step;
            let follows = topology::has_machine_pools(snapshot) && !hooks::answers_each_step(snapshot);
            let is_asked_later =
                (topology::holds_all_pools(snapshot) && !follows) || topology::changes_release(snapshot, edit);
            (of_control_plane && !has_any(ApprovedPart::ControlPlane))
                || (asks(ApprovalPoint::Workers) && !has_any(ApprovedPart::Workers) && !is_asked_later)
        }
        Action::HoldPool(hold) => topology::begins(snapshot, hold).is_some_and(|version| {
            asks(ApprovalPoint::Workers) && !given.contains(&(ApprovedPart::Workers, version.clone()))
        }),
        Action::AnswerHook(answer) => hooks::lacks_approval(snapshot, answer),
        Action::FollowRelease(follow) => {
            let approved = (ApprovedPart::Workers, follow.version.clone());
            !follow.pools.is_empty() && asks(ApprovalPoint::Workers) && !given.contains(&approved)
        }
        Action::MintTemplate(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::DeleteTemplate(_)
        | Action::CompletePins(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::RestoreVersionCheck(_)
        | Action::DeleteMachine(_)
        | Action::Nothing => false,
    }
}

/// The way back that is asked for, if one is.
fn rollback(snapshot: &Snapshot) -> Option<&Rollback> {
    snapshot.upgrade_spec.operation.rollback()
}

fn is_live(snapshot: &Snapshot) -> bool {
    snapshot.cluster.lifecycle == Lifecycle::Active && !snapshot.upgrade_spec.paused
}

fn is_open(snapshot: &Snapshot) -> bool {
    is_live(snapshot)
        && snapshot.cluster.classic().is_some()
        && control_plane(snapshot).is_some_and(|control_plane| is_ours(&control_plane.object))
}

fn is_ours(object: &Object) -> bool {
    object.lifecycle == Lifecycle::Active && object.managed_by == ManagedBy::User
}

fn check_mint(snapshot: &Snapshot, mint: &MintTemplate, broken: &mut Vec<Violation>) {
    if template_exists(snapshot, &mint.template) {
        broken.push(Violation::TemplateMutated);
    }
    // What is tried first is the swap to this very template.
    let is_tried = |swap: &Swap| {
        let mut templates = swap.template.iter().chain(&swap.bootstrap);
        swap.pool == mint.pool && carries_all(swap) && templates.any(|template| *template == mint.template)
    };
    if !mint.before.as_deref().is_none_or(is_tried) {
        broken.push(Violation::Incomplete);
    }
    let metadata = mint.object.get("metadata");
    let has = |key: &str| metadata.is_some_and(|metadata| metadata.get(key).is_some());
    let server = [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "finalizers",
    ];
    let managed_by = metadata.and_then(|metadata| metadata.pointer("/ownerReferences/0/name"));
    let is_owned = managed_by.and_then(Value::as_str) == Some(&snapshot.cluster.name);
    let labelled = metadata.is_some_and(|metadata| {
        metadata
            .get("labels")
            .is_some_and(|labels| labels.get(RELEASE_LABEL).is_some())
    });
    let is_fresh = is_owned && labelled && is_annotated(snapshot, mint);
    if server.iter().any(|key| has(key)) || mint.object.get("status").is_some() || !is_fresh {
        broken.push(Violation::NotFresh);
    }
}

/// Whether the annotation and the name say what the template holds, so that it is known again.
fn is_annotated(snapshot: &Snapshot, mint: &MintTemplate) -> bool {
    let text = |pointer: &str| mint.object.pointer(pointer).and_then(Value::as_str);
    let annotation = format!("/metadata/annotations/{}", RENDERED_ANNOTATION.replace('/', "~1"));
    let (rendered, name) = (
        text(&annotation).and_then(Rendered::from_annotation),
        text("/metadata/name"),
    );
    let spec = mint.object.get("spec").unwrap_or(&Value::Null);
    let nothing = Values::new();
    let expected = Rendered::new(&snapshot.cluster.name, &mint.template.kind, spec, [&nothing; 2]);
    rendered.is_some_and(|rendered| rendered.is_same_spec(&expected))
        && name.is_some_and(|name| name == mint.template.name && expected.is_of(name))
}

fn check_delete(snapshot: &Snapshot, delete: &DeleteTemplate, broken: &mut Vec<Violation>) {
    let referred = read(&snapshot.pools)
        .flat_map(|pool| std::iter::once(&pool.infrastructure).chain(&pool.bootstrap))
        .chain(
            read(&snapshot.machine_sets)
                .filter(|set| set.lifecycle != Lifecycle::Deleting)
                .flat_map(|set| std::iter::once(&set.infrastructure).chain(&set.bootstrap)),
        )
        .chain(control_plane(snapshot).and_then(|control_plane| control_plane.infrastructure.as_ref()))
        .chain(snapshot.unversioned.iter().flat_map(|object| &object.templates))
        .any(|reference| *reference == delete.template);
    if referred || snapshot.used_elsewhere.contains(&delete.template) {
        broken.push(Violation::StillReferred);
    }
    let ours = read(&snapshot.templates).find(|template| template.is(&delete.template));
    match ours {
        Some(template) if template.minted_for().is_some() => {
            if template.resource_version != delete.resource_version {
                broken.push(Violation::NoCompare);
            }
        }
        Some(_) | None => broken.push(Violation::NotOurs),
    }
}

fn check_control_plane(snapshot: &Snapshot, swap: &Swap, broken: &mut Vec<Violation>) {
    let Some(control_plane) = control_plane(snapshot) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    if !is_ours(&control_plane.object) {
        broken.push(Violation::Untouchable);
    }
    if restart::is_of_one(snapshot, swap) {
        restart::check_control_plane(snapshot, control_plane, swap, broken);
        return;
    }
    check_object(snapshot, &control_plane.object, swap, broken);
    match rollback(snapshot) {
        Some(rollback) => {
            what_was::check_target(&control_plane.object, swap, rollback, broken);
            back::check_step(snapshot, swap, rollback, broken);
        }
        None if stuck::takes_back(swap) => stuck::check(snapshot, control_plane, swap, broken),
        None => check_step_forward(snapshot, control_plane, swap, broken),
    }
    if control_plane.infrastructure.is_some() != swap.template.is_some() {
        broken.push(Violation::Incomplete);
    }
    // The API server drops what the version doesn't know, and says nothing.
    let of_the_other = match control_plane.contract {
        Contract::V1Beta1 => "/spec/machineTemplate/spec",
        Contract::V1Beta2 => "/spec/machineTemplate/infrastructureRef",
    };
    if swap.patch.pointer(of_the_other).is_some() {
        broken.push(Violation::Incomplete);
    }
    let Flavor::Kubeadm {
        cluster_configuration, ..
    } = &control_plane.flavor
    else {
        return;
    };
    let present = cluster_configuration.dns.image_tag.as_deref();
    let tag = "/spec/kubeadmConfigSpec/clusterConfiguration/dns/imageTag";
    let tag = swap.patch.pointer(tag).and_then(Value::as_str);
    if let (Some(present), Some(tag)) = (present, tag)
        && core_dns::lowers(present, tag)
    {
        broken.push(Violation::CoreDnsLowered);
    }
}

/// A step of the control plane to a newer release, or to other values of the same version.
fn check_step_forward(snapshot: &Snapshot, control_plane: &ControlPlane, swap: &Swap, broken: &mut Vec<Violation>) {
    check_version(&control_plane.version, swap, broken);
    let next = &swap.version;
    let lowest = control_plane.observed.iter().min();
    let mut machines = read(&snapshot.machines).filter(|machine| machine.pool == Some(PoolId::ControlPlane));
    if lowest.is_none_or(|lowest| !lowest.is_same_upstream(&control_plane.version))
        || machines.any(|machine| machine.version != control_plane.version)
    {
        broken.push(Violation::ControlPlaneMoving);
    }
    let (from, to) = (lowest.unwrap_or(&control_plane.version).minor(), next.minor());
    if from.major != to.major || to.minor > from.minor + 1 {
        broken.push(Violation::SkippedMinor);
    }
    if workers(snapshot).any(|version| too_far_behind(version, next)) {
        broken.push(Violation::WorkersBehind);
    }
}

fn check_workers(snapshot: &Snapshot, swap: &Swap, broken: &mut Vec<Violation>) {
    if let PoolId::MachinePool(name) = &swap.pool {
        machine_pool::check_swap(snapshot, name, swap, broken);
        return;
    }
    let named = |pool: &&MachineDeployment| PoolId::Workers(pool.object.name.clone()) == swap.pool;
    let Some(pool) = read(&snapshot.pools).find(named) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    if !is_ours(&pool.object) {
        broken.push(Violation::Untouchable);
    }
    if restart::is_of_one(snapshot, swap) {
        restart::check_workers(snapshot, pool, swap, broken);
        return;
    }
    check_object(snapshot, &pool.object, swap, broken);
    match rollback(snapshot) {
        Some(rollback) => what_was::check_target(&pool.object, swap, rollback, broken),
        None => check_version(&pool.version, swap, broken),
    }
    if swap.template.is_none() {
        broken.push(Violation::Incomplete);
    }
    check_skew(snapshot, &swap.version, broken);
}

/// Whether workers may be brought to a version.
fn check_skew(snapshot: &Snapshot, version: &KubeVersion, broken: &mut Vec<Violation>) {
    let Some(control_plane) = control_plane(snapshot) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    if control_plane.object.observed_generation < control_plane.object.generation {
        broken.push(Violation::ControlPlaneMoving);
    }
    let newer =
        |lowest: &KubeVersion| version.compare(lowest) == BuildOrder::Greater && !version.is_same_upstream(lowest);
    if control_plane.observed.iter().min().is_none_or(newer) {
        broken.push(Violation::WorkersAhead);
    }
    if too_far_behind(version, &control_plane.version) {
        broken.push(Violation::WorkersBehind);
    }
}

fn check_object(snapshot: &Snapshot, object: &Object, swap: &Swap, broken: &mut Vec<Violation>) {
    if !patch::compares(&swap.patch, &swap.resource_version, &object.resource_version) {
        broken.push(Violation::NoCompare);
    }
    let annotations = swap.patch.pointer("/metadata/annotations");
    if annotations.is_none_or(|annotations| annotations.get(SWAP_HISTORY_ANNOTATION).is_none()) {
        broken.push(Violation::Incomplete);
    }
    if !carries_all(swap) {
        broken.push(Violation::Incomplete);
    }
    let templates = swap.template.iter().chain(&swap.bootstrap);
    if templates
        .into_iter()
        .any(|template| !template_exists(snapshot, template))
    {
        broken.push(Violation::NoTemplate);
    }
}

/// Whether the version and every reference that a swap speaks of stand in its one patch.
fn carries_all(swap: &Swap) -> bool {
    let (version, infrastructure) = match swap.pool {
        PoolId::ControlPlane => (
            "/spec/version",
            [
                "/spec/machineTemplate/spec/infrastructureRef/name",
                "/spec/machineTemplate/infrastructureRef/name",
            ]
            .as_slice(),
        ),
        PoolId::Workers(_) | PoolId::MachinePool(_) => (
            "/spec/template/spec/version",
            ["/spec/template/spec/infrastructureRef/name"].as_slice(),
        ),
    };
    let at = |pointer: &&str| swap.patch.pointer(pointer).and_then(Value::as_str);
    let is_at = |pointers: &[&str], template: &Option<TemplateRef>| {
        let name = template.as_ref().map(|template| template.name.as_str());
        name.is_none() || pointers.iter().any(|pointer| at(pointer) == name)
    };
    at(&version) == Some(&swap.version.to_string())
        && is_at(infrastructure, &swap.template)
        && is_at(&["/spec/template/spec/bootstrap/configRef/name"], &swap.bootstrap)
}

fn check_version(present: &KubeVersion, swap: &Swap, broken: &mut Vec<Violation>) {
    if swap.version.compare(present) == BuildOrder::Less {
        broken.push(Violation::Lowered);
    }
}

fn too_far_behind(version: &KubeVersion, control_plane: &KubeVersion) -> bool {
    matches!(
        skew::kubelet(version, control_plane),
        Err(skew::SkewViolation::TooFarBehind { .. } | skew::SkewViolation::OtherMajor { .. })
    )
}

/// Every version that a worker runs, or will run by what its pool says.
fn workers(snapshot: &Snapshot) -> impl Iterator<Item = &KubeVersion> {
    let machines = read(&snapshot.machines).filter(|machine| machine.pool != Some(PoolId::ControlPlane));
    let sets = read(&snapshot.machine_sets).filter(|set: &&MachineSet| set.replicas > 0);
    read(&snapshot.pools)
        .map(|pool| &pool.version)
        .chain(sets.map(|set| &set.version))
        .chain(read(&snapshot.machine_pools).map(|pool| &pool.version))
        .chain(machines.flat_map(|machine: &Machine| {
            let node = match &machine.node {
                Node::Absent => None,
                Node::Joined { version, .. } => version.as_ref(),
            };
            std::iter::once(&machine.version).chain(node)
        }))
}

fn control_plane(snapshot: &Snapshot) -> Option<&ControlPlane> {
    snapshot.control_plane.as_ref()?.read()
}

fn template_exists(snapshot: &Snapshot, reference: &TemplateRef) -> bool {
    read(&snapshot.templates).any(|template| template.is(reference))
}

fn read<T>(list: &[Observed<T>]) -> impl Iterator<Item = &T> {
    list.iter().filter_map(Observed::read)
}
