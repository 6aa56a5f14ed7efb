//! What a write of the planner's leaves of a snapshot: as the API server would take it.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{
    GATE_HISTORY_ANNOTATION, LEFT_ANNOTATION, PATH_ANNOTATION, Pins, RELEASES_ANNOTATION, RENDERED_ANNOTATION,
    SWAP_HISTORY_ANNOTATION, VALUES_HISTORY_ANNOTATION,
};
use instar_capi::labels::PAUSED;
use instar_planner::{
    Action, AddonProblem, AddonState, BeginGates, ClusterKind, Contract, ControlPlane, DeleteTemplate, Flavor,
    GateHistory, HoldPool, InfrastructurePool, LeftMark, Lifecycle, MachineDeployment, MachinePool, Object, Observed,
    OwningCluster, PatchMachinePool, PauseMark, PausedBy, PinPath, PinnedPath, PoolId, ResourceVersion, Snapshot, Swap,
    SwapHistory, Template, TemplateContent, ValuesHistory,
};
use serde_json::Value;

/// Writes it. What is of topology Clusters alone, and what names an object that isn't there, changes nothing.
pub(crate) fn apply(snapshot: &mut Snapshot, action: &Action) {
    match action {
        Action::PinPath(pin) => pin_path(snapshot, pin),
        Action::MintTemplate(mint) => snapshot
            .templates
            .extend(template(snapshot, &mint.object).map(Observed::Read)),
        Action::SwapControlPlane(swap) => {
            if let Some(Observed::Read(control_plane)) = &mut snapshot.control_plane {
                swap_control_plane(control_plane, swap);
            }
        }
        Action::SwapWorkers(swap) => swap_workers(snapshot, swap),
        Action::PatchMachinePool(patch) => patch_machine_pool(snapshot, patch),
        Action::DeleteTemplate(delete) => delete_template(snapshot, delete),
        Action::RecordConvergence(convergence) => {
            if let Some(object) = object(snapshot, &convergence.pool) {
                object.swap_history = swap_history(&convergence.patch);
            }
        }
        Action::HoldPool(hold) => hold_pool(snapshot, hold),
        Action::BeginGates(begin) => begin_gates(snapshot, begin),
        Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::SetConcurrency(_)
        | Action::AnswerHook(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::RestoreVersionCheck(_)
        | Action::Nothing => {}
    }
}

/// Those that can be read.
pub(crate) fn read_mut<T>(parts: &mut [Observed<T>]) -> impl Iterator<Item = &mut T> {
    parts.iter_mut().filter_map(|part| match part {
        Observed::Read(part) => Some(part),
        Observed::Invalid(_) => None,
    })
}

pub(crate) fn deployment<'s>(snapshot: &'s mut Snapshot, name: &str) -> Option<&'s mut MachineDeployment> {
    read_mut(&mut snapshot.pools).find(|pool| pool.object.name == name)
}

fn machine_pool<'s>(snapshot: &'s mut Snapshot, name: &str) -> Option<&'s mut MachinePool> {
    read_mut(&mut snapshot.machine_pools).find(|pool| pool.object.name == name)
}

fn object<'s>(snapshot: &'s mut Snapshot, pool: &PoolId) -> Option<&'s mut Object> {
    match pool {
        PoolId::ControlPlane => match &mut snapshot.control_plane {
            Some(Observed::Read(control_plane)) => Some(&mut control_plane.object),
            Some(Observed::Invalid(_)) | None => None,
        },
        PoolId::Workers(name) => deployment(snapshot, name).map(|pool| &mut pool.object),
        PoolId::MachinePool(name) => machine_pool(snapshot, name).map(|pool| &mut pool.object),
    }
}

fn annotation<'p>(patch: &'p Value, name: &str) -> Option<&'p str> {
    patch.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

fn text<'p>(value: &'p Value, pointer: &str) -> Option<&'p str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn swap_history(patch: &Value) -> Option<SwapHistory> {
    SwapHistory::from_annotation(annotation(patch, SWAP_HISTORY_ANNOTATION)?)
}

fn pin_path(snapshot: &mut Snapshot, pin: &PinPath) {
    match &mut snapshot.cluster.kind {
        ClusterKind::Classic(classic) => {
            let pins = annotation(&pin.patch, RELEASES_ANNOTATION);
            if let Some(pins) = pins.and_then(|text| Pins::from_annotation(text).ok()) {
                classic.pins = Some(pins);
            }
            let path = annotation(&pin.patch, PATH_ANNOTATION);
            classic.path = path.and_then(PinnedPath::from_annotation);
        }
        ClusterKind::Topology(_) => {}
    }
}

fn template(snapshot: &Snapshot, object: &Value) -> Option<Template> {
    let map = |of: &str| -> BTreeMap<String, String> {
        let members = object.pointer(&format!("/metadata/{of}")).and_then(Value::as_object);
        let members = members.into_iter().flatten();
        members
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect()
    };
    let labels = map("labels");
    let owner = |member: &str| text(object, &format!("/metadata/ownerReferences/0/{member}")).map(str::to_owned);
    let owner = owner("name")
        .zip(owner("uid"))
        .map(|(name, uid)| OwningCluster { name, uid });
    Some(Template {
        api_version: text(object, "/apiVersion")?.to_owned(),
        kind: text(object, "/kind")?.to_owned(),
        name: text(object, "/metadata/name")?.to_owned(),
        resource_version: ResourceVersion::default(),
        content: Some(Arc::new(TemplateContent {
            spec: object.get("spec").cloned().unwrap_or_default(),
            labels: labels.clone(),
            annotations: map("annotations"),
            owners: owner.into_iter().collect(),
        })),
        labels,
        kubelet_arguments: None,
        created: snapshot.now,
        lifecycle: Lifecycle::Active,
    })
}

fn swap_control_plane(control_plane: &mut ControlPlane, swap: &Swap) {
    let patch = &swap.patch;
    control_plane.version = swap.version.clone();
    let reference = match control_plane.contract {
        Contract::V1Beta1 => "/spec/machineTemplate/infrastructureRef/name",
        Contract::V1Beta2 => "/spec/machineTemplate/spec/infrastructureRef/name",
    };
    if let (Some(name), Some(template)) = (text(patch, reference), &mut control_plane.infrastructure) {
        name.clone_into(&mut template.name);
    }
    if let Flavor::Kubeadm {
        cluster_configuration, ..
    } = &mut control_plane.flavor
        && let Some(change) = patch.pointer("/spec/kubeadmConfigSpec/clusterConfiguration")
        && let Ok(mut changed) = serde_json::to_value(&*cluster_configuration)
    {
        json_patch::merge(&mut changed, change);
        if let Ok(changed) = serde_json::from_value(changed) {
            *cluster_configuration = changed;
        }
    }
    if swap.rollout_after.is_some() {
        control_plane.rollout_after = swap.rollout_after;
    }
    edited(&mut control_plane.object, patch);
}

fn swap_workers(snapshot: &mut Snapshot, swap: &Swap) {
    match &swap.pool {
        PoolId::ControlPlane => {}
        PoolId::Workers(name) => {
            let Some(pool) = deployment(snapshot, name) else { return };
            pool.version = swap.version.clone();
            if let Some(template) = &swap.template {
                pool.infrastructure = template.clone();
            }
            if let Some(template) = &swap.bootstrap {
                pool.bootstrap = Some(template.clone());
            }
            if swap.rollout_after.is_some() {
                pool.rollout_after = swap.rollout_after;
            }
            edited(&mut pool.object, &swap.patch);
        }
        PoolId::MachinePool(name) => {
            let Some(pool) = machine_pool(snapshot, name) else {
                return;
            };
            pool.version = swap.version.clone();
            edited(&mut pool.object, &swap.patch);
        }
    }
}

/// Its spec was edited, and its controller hasn't seen that yet.
fn edited(object: &mut Object, patch: &Value) {
    object.swap_history = swap_history(patch);
    object.generation = object.generation.saturating_add(1);
}

fn patch_machine_pool(snapshot: &mut Snapshot, write: &PatchMachinePool) {
    let is_pool = write.kind == "MachinePool";
    if is_pool && let Some(pool) = machine_pool(snapshot, &write.name) {
        mark(&write.patch, &mut pool.object, &mut pool.paused_by, &mut pool.left);
        return;
    }
    let mut all = read_mut(&mut snapshot.infrastructure_pools);
    let is = |pool: &&mut InfrastructurePool| pool.object.kind == write.kind && pool.object.name == write.name;
    let Some(infrastructure) = all.find(is) else { return };
    let InfrastructurePool {
        object,
        paused_by,
        left,
        spec,
        rendered,
        values_history,
    } = infrastructure;
    mark(&write.patch, object, paused_by, left);
    if let Some(text) = annotation(&write.patch, RENDERED_ANNOTATION) {
        *rendered = Some(text.to_owned());
    }
    if let Some(text) = annotation(&write.patch, VALUES_HISTORY_ANNOTATION) {
        *values_history = ValuesHistory::from_annotation(text);
    }
    if let Some(change) = write.patch.get("spec") {
        json_patch::merge(spec, change);
        object.generation = object.generation.saturating_add(1);
    }
}

/// Our marks, put on or taken off.
fn mark(patch: &Value, object: &mut Object, paused_by: &mut PausedBy, left: &mut Option<LeftMark>) {
    let paused = patch
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations")?.get(PAUSED));
    if let Some(paused) = paused {
        *paused_by = PausedBy::of(paused.as_str());
        object.lifecycle = match paused_by {
            PausedBy::NoOne => Lifecycle::Active,
            PausedBy::User | PausedBy::Upgrade(_) => Lifecycle::Paused,
        };
    }
    if let Some(text) = annotation(patch, LEFT_ANNOTATION) {
        *left = LeftMark::from_annotation(text);
    }
}

fn hold_pool(snapshot: &mut Snapshot, hold: &HoldPool) {
    if let Some(pool) = deployment(snapshot, &hold.name) {
        let mark = annotation(&hold.patch, PAUSED);
        pool.rollout_paused = mark.and_then(PauseMark::from_annotation);
    }
}

fn begin_gates(snapshot: &mut Snapshot, begin: &BeginGates) {
    if let Some(text) = annotation(&begin.patch, GATE_HISTORY_ANNOTATION) {
        snapshot.upgrade_spec.gate_history = GateHistory::from_annotation(text);
    }
    for gate in snapshot.addons.found.values_mut().flatten() {
        let is_due = match &gate.state {
            AddonState::Due(_) => true,
            AddonState::Open | AddonState::Closed { .. } => false,
        };
        if is_due && begin.gates.contains(&gate.id) {
            gate.state = AddonState::Closed {
                problem: AddonProblem::NotReady,
                message: "it is asked for when its turn comes".to_owned(),
                until: None,
            };
        }
    }
}

fn delete_template(snapshot: &mut Snapshot, delete: &DeleteTemplate) {
    snapshot.templates.retain(|template| match template {
        Observed::Read(template) => !template.is(&delete.template),
        Observed::Invalid(_) => true,
    });
}
