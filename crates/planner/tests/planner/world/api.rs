//! Writes, as the API server takes them.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{PATH_ANNOTATION, Pins, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION};
use instar_capi::labels::PAUSED;
use instar_planner::{
    Action, ClassicCluster, ClusterKind, Contract, Flavor, HoldPool, Lifecycle, OwningCluster, PauseMark, PinnedPath,
    PoolId, ResourceVersion, Swap, SwapHistory, Template, TemplateContent, TemplateRef,
};
use serde_json::Value;

use super::{Pool, World, configuration};

/// What the API server answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Conflict,
    NotFound,
}

impl World {
    pub fn write(&mut self, action: &Action) -> Answer {
        match action {
            Action::PinPath(pin) => self.pin(&pin.patch),
            Action::RecordConvergence(convergence) => self.record(&convergence.pool, &convergence.patch),
            Action::BeginGates(begin) => self.begin_gates(begin),
            Action::HoldPool(hold) => self.mark_rollout(hold),
            // Classic clusters alone live here.
            Action::Nothing
            | Action::EditVersion(_)
            | Action::SetConcurrency(_)
            | Action::AnswerHook(_)
            | Action::RestoreVersionCheck(_)
            | Action::FollowRelease(_)
            | Action::DeleteMachine(_)
            | Action::CompletePins(_) => Answer::Done,
            Action::MintTemplate(mint) => self.create(&mint.object),
            Action::SwapControlPlane(swap) => self.swap_control_plane(swap),
            Action::SwapWorkers(swap) if matches!(swap.pool, PoolId::MachinePool(_)) => self.swap_machine_pool(swap),
            Action::SwapWorkers(swap) => self.swap_workers(swap),
            Action::PatchMachinePool(patch) => self.patch_machine_pool(patch),
            Action::DeleteTemplate(delete) => self.delete(&delete.template, &delete.resource_version),
        }
    }

    fn pin(&mut self, patch: &Value) -> Answer {
        let ClusterKind::Classic(classic) = &mut self.cluster.kind else {
            return Answer::NotFound;
        };
        let Some(patch) = compared(patch, &classic.resource_version) else {
            return Answer::Conflict;
        };
        let text = |annotation: &str| patch["metadata"]["annotations"][annotation].as_str().unwrap();
        self.counter += 1;
        **classic = ClassicCluster {
            resource_version: ResourceVersion(self.counter.to_string()),
            pins: Some(Pins::from_annotation(text(RELEASES_ANNOTATION)).unwrap()),
            path: Some(PinnedPath::from_annotation(text(PATH_ANNOTATION)).unwrap()),
        };
        self.pinned.push(classic.path.clone().unwrap().releases);
        Answer::Done
    }

    /// The annotation changes no generation.
    fn mark_rollout(&mut self, hold: &HoldPool) -> Answer {
        let named = |pool: &&mut Pool| pool.object.object.name == hold.name;
        let Some(pool) = self.pools.iter_mut().find(named) else {
            return Answer::NotFound;
        };
        let Some(patch) = compared(&hold.patch, &pool.object.object.resource_version) else {
            return Answer::Conflict;
        };
        let mark = patch["metadata"]["annotations"][PAUSED].as_str();
        pool.object.rollout_paused = mark.and_then(PauseMark::from_annotation);
        if pool.object.rollout_paused.is_some() {
            self.rollouts_stopped += 1;
        }
        Self::touched(&mut self.counter, &mut pool.object.object);
        Answer::Done
    }

    fn record(&mut self, pool: &PoolId, patch: &Value) -> Answer {
        let object = match pool {
            PoolId::ControlPlane => &mut self.control_plane.object,
            PoolId::Workers(name) => {
                let named = |pool: &&mut Pool| pool.object.object.name == *name;
                let Some(pool) = self.pools.iter_mut().find(named) else {
                    return Answer::NotFound;
                };
                &mut pool.object.object
            }
            PoolId::MachinePool(name) => {
                let mut pools = self.machine_pools.iter_mut();
                let Some(pool) = pools.find(|pool| pool.pool.object.name == *name) else {
                    return Answer::NotFound;
                };
                &mut pool.pool.object
            }
        };
        let Some(patch) = compared(patch, &object.resource_version) else {
            return Answer::Conflict;
        };
        object.swap_history = swap_history(patch);
        Self::touched(&mut self.counter, object);
        Answer::Done
    }

    fn create(&mut self, object: &Value) -> Answer {
        let text = |pointer: &str| object.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        let name = text("/metadata/name");
        if self.templates.iter().any(|template| template.name == name) {
            return Answer::Conflict;
        }
        self.counter += 1;
        let map =
            |of: &str| -> BTreeMap<String, String> { serde_json::from_value(object["metadata"][of].clone()).unwrap() };
        let labels = map("labels");
        let mut spec = object["spec"].clone();
        (self.webhook)(&mut spec);
        self.minted.push(name.clone());
        self.templates.push(Template {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            name,
            resource_version: ResourceVersion(self.counter.to_string()),
            content: Some(Arc::new(TemplateContent {
                spec,
                labels: labels.clone(),
                annotations: map("annotations"),
                owners: vec![OwningCluster {
                    name: text("/metadata/ownerReferences/0/name"),
                    uid: text("/metadata/ownerReferences/0/uid"),
                }],
            })),
            labels,
            kubelet_arguments: None,
            created: self.now,
            lifecycle: Lifecycle::Active,
        });
        Answer::Done
    }

    fn swap_control_plane(&mut self, swap: &Swap) -> Answer {
        let control_plane = &mut self.control_plane;
        let Some(patch) = compared(&swap.patch, &control_plane.object.resource_version) else {
            return Answer::Conflict;
        };
        if let Some(version) = patch.pointer("/spec/version") {
            control_plane.version = version.as_str().unwrap().parse().unwrap();
        }
        let reference = match control_plane.contract {
            Contract::V1Beta1 => "/spec/machineTemplate/infrastructureRef/name",
            Contract::V1Beta2 => "/spec/machineTemplate/spec/infrastructureRef/name",
        };
        if let (Some(name), Some(template)) = (patch.pointer(reference), &mut control_plane.infrastructure) {
            name.as_str().unwrap().clone_into(&mut template.name);
        }
        if let Flavor::Kubeadm {
            cluster_configuration, ..
        } = &mut control_plane.flavor
            && let Some(change) = patch.pointer("/spec/kubeadmConfigSpec/clusterConfiguration")
        {
            let mut changed = serde_json::to_value(&*cluster_configuration).unwrap();
            json_patch::merge(&mut changed, change);
            *cluster_configuration = configuration(changed);
        }
        if let Some(after) = rollout_after(patch) {
            control_plane.rollout_after = Some(after);
        }
        control_plane.object.swap_history = swap_history(patch);
        Self::edited(&mut self.counter, &mut control_plane.object);
        self.swaps += 1;
        Answer::Done
    }

    fn swap_workers(&mut self, swap: &Swap) -> Answer {
        let named = |pool: &&mut Pool| pool.object.object.name == swap.name;
        let Some(pool) = self.pools.iter_mut().find(named) else {
            return Answer::NotFound;
        };
        let pool = &mut pool.object;
        let Some(patch) = compared(&swap.patch, &pool.object.resource_version) else {
            return Answer::Conflict;
        };
        let spec = &patch["spec"]["template"]["spec"];
        if let Some(version) = spec["version"].as_str() {
            pool.version = version.parse().unwrap();
        }
        if let Some(after) = rollout_after(patch) {
            pool.rollout_after = Some(after);
        }
        if let Some(name) = spec.pointer("/infrastructureRef/name") {
            name.as_str().unwrap().clone_into(&mut pool.infrastructure.name);
        }
        if let (Some(name), Some(bootstrap)) = (spec.pointer("/bootstrap/configRef/name"), &mut pool.bootstrap) {
            name.as_str().unwrap().clone_into(&mut bootstrap.name);
        }
        pool.object.swap_history = swap_history(patch);
        Self::edited(&mut self.counter, &mut pool.object);
        self.swaps += 1;
        Answer::Done
    }

    fn delete(&mut self, template: &TemplateRef, resource_version: &ResourceVersion) -> Answer {
        let Some(at) = self.templates.iter().position(|other| other.is(template)) else {
            return Answer::NotFound;
        };
        if self.templates[at].resource_version != *resource_version {
            return Answer::Conflict;
        }
        self.templates.remove(at);
        Answer::Done
    }

    pub fn refers_to(&self, name: &str) -> bool {
        let control_plane = self.control_plane.infrastructure.iter();
        let pools = self.pools.iter().map(|pool| &pool.object.infrastructure);
        let sets = self.sets.iter().map(|set| &set.infrastructure);
        control_plane
            .chain(pools)
            .chain(sets)
            .any(|reference| reference.name == name)
    }
}

/// Without a compare, a write is taken as it comes.
pub fn compared<'a>(patch: &'a Value, present: &ResourceVersion) -> Option<&'a Value> {
    let expected = patch.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    expected.is_none_or(|expected| expected == present.0).then_some(patch)
}

fn rollout_after(patch: &Value) -> Option<jiff::Timestamp> {
    patch.pointer("/spec/rollout/after")?.as_str()?.parse().ok()
}

pub fn swap_history(patch: &Value) -> Option<SwapHistory> {
    SwapHistory::from_annotation(patch["metadata"]["annotations"][SWAP_HISTORY_ANNOTATION].as_str()?)
}
