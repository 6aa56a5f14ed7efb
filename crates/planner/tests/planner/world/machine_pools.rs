//! MachinePools: two objects that are changed in place, and a provider that replaces machines while neither is paused.

use std::collections::BTreeMap;

use instar_api::{LEFT_ANNOTATION, RENDERED_ANNOTATION, VALUES_HISTORY_ANNOTATION};
use instar_domain::KubeVersion;
use instar_planner::{
    Condition, ConditionStatus, InfrastructurePool, JoinRule, LeftMark, Lifecycle, MachinePool, Object,
    PatchMachinePool, PausedBy, PoolId, Replicas, Swap, TemplateRef, ValuesHistory,
};
use serde_json::json;

use super::{
    GROUP, World,
    api::{Answer, compared, swap_history},
    object,
    random::Random,
    version,
};

pub const POOL_KIND: &str = "TestMachinePool";
const PAUSED: &str = "cluster.x-k8s.io/paused";

/// A MachinePool, and the machines that its provider has made, as their nodes tell of them.
#[derive(Debug, Clone)]
pub struct WorldPool {
    pub pool: MachinePool,
    pub infrastructure: InfrastructurePool,
    /// The version and the image of each.
    pub nodes: Vec<(KubeVersion, String)>,
    /// Whether the provider heeds a pause and says so.
    pub says_paused: bool,
}

/// A pool that runs, and what it refers to.
pub fn machine_pool(name: &str, says: &str, runs: &[&str]) -> MachinePool {
    let mut object = object("cluster.x-k8s.io/v1beta2", "MachinePool", name);
    object.conditions = vec![paused(false, 1)];
    MachinePool {
        object,
        paused_by: PausedBy::NoOne,
        left: None,
        labels: BTreeMap::new(),
        version: version(says),
        observed: runs.iter().map(|text| version(text)).collect(),
        infrastructure: TemplateRef {
            group: GROUP.to_owned(),
            kind: POOL_KIND.to_owned(),
            name: format!("{name}-infra"),
        },
        replicas: None,
        joins: JoinRule::SameMinor,
    }
}

pub fn infrastructure_pool(name: &str, image: &str) -> InfrastructurePool {
    let mut object = object(&format!("{GROUP}/v1beta2"), POOL_KIND, &format!("{name}-infra"));
    object.conditions = vec![paused(false, 1)];
    InfrastructurePool {
        object,
        paused_by: PausedBy::NoOne,
        left: None,
        spec: json!({ "image": image, "size": "small" }),
        rendered: None,
        values_history: None,
    }
}

pub fn paused(is: bool, generation: i64) -> Condition {
    Condition {
        kind: "Paused".to_owned(),
        status: if is {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason: if is { "Paused" } else { "NotPaused" }.to_owned(),
        message: String::new(),
        observed_generation: generation,
    }
}

impl World {
    pub fn add_machine_pool(&mut self, name: &str, at: &KubeVersion, replicas: usize) {
        let image = format!("own-{at}");
        let text = at.to_string();
        let mut pool = machine_pool(name, &text, &[]);
        let nodes = vec![(at.clone(), image.clone()); replicas];
        pool.observed = nodes.iter().map(|(version, _)| version.clone()).collect();
        pool.replicas = Some(counted(replicas));
        self.machine_pools.push(WorldPool {
            pool,
            infrastructure: infrastructure_pool(name, &image),
            nodes,
            says_paused: true,
        });
    }

    pub fn patch_machine_pool(&mut self, write: &PatchMachinePool) -> Answer {
        let Some(at) = self.at_machine_pool(&write.pool) else {
            return Answer::NotFound;
        };
        let WorldPool {
            pool, infrastructure, ..
        } = &mut self.machine_pools[at];
        let is_pool = pool.object.kind == write.kind && pool.object.name == write.name;
        let (object, paused_by, left) = if is_pool {
            (&mut pool.object, &mut pool.paused_by, &mut pool.left)
        } else {
            let InfrastructurePool {
                object,
                paused_by,
                left,
                ..
            } = infrastructure;
            (object, paused_by, left)
        };
        let Some(patch) = compared(&write.patch, &object.resource_version) else {
            return Answer::Conflict;
        };
        let annotations = &patch["metadata"]["annotations"];
        if let Some(mark) = annotations.get(PAUSED) {
            *paused_by = PausedBy::of(mark.as_str());
            object.lifecycle = lifecycle(paused_by);
        }
        if let Some(text) = annotations.get(LEFT_ANNOTATION) {
            *left = LeftMark::from_annotation(text.as_str().unwrap());
        }
        Self::touched(&mut self.counter, object);
        if is_pool {
            assert!(patch.get("spec").is_none(), "a MachinePool's spec is not patched so");
            return Answer::Done;
        }
        if let Some(rendered) = annotations.get(RENDERED_ANNOTATION) {
            infrastructure.rendered = rendered.as_str().map(str::to_owned);
        }
        if let Some(history) = annotations.get(VALUES_HISTORY_ANNOTATION) {
            infrastructure.values_history = ValuesHistory::from_annotation(history.as_str().unwrap());
        }
        if let Some(spec) = patch.get("spec") {
            json_patch::merge(&mut infrastructure.spec, spec);
            // As a webhook of the provider may.
            let mut template = json!({ "template": { "spec": infrastructure.spec } });
            (self.webhook)(&mut template);
            infrastructure.spec = template["template"]["spec"].take();
            infrastructure.object.generation += 1;
            self.values_set += 1;
        }
        Answer::Done
    }

    pub fn swap_machine_pool(&mut self, swap: &Swap) -> Answer {
        let Some(at) = self.at_machine_pool(&swap.pool) else {
            return Answer::NotFound;
        };
        let pool = &mut self.machine_pools[at].pool;
        let Some(patch) = compared(&swap.patch, &pool.object.resource_version) else {
            return Answer::Conflict;
        };
        let before = pool.version.clone();
        pool.version = version(patch["spec"]["template"]["spec"]["version"].as_str().unwrap());
        pool.object.swap_history = swap_history(patch);
        if pool.version == before {
            Self::touched(&mut self.counter, &mut pool.object);
        } else {
            Self::edited(&mut self.counter, &mut pool.object);
        }
        self.pool_swaps += 1;
        Answer::Done
    }

    /// A user pauses or unpauses one of the two objects.
    pub fn pause_machine_pool(&mut self, at: usize, infrastructure: bool, by: PausedBy) {
        let pool = &mut self.machine_pools[at];
        let (object, paused_by) = if infrastructure {
            (&mut pool.infrastructure.object, &mut pool.infrastructure.paused_by)
        } else {
            (&mut pool.pool.object, &mut pool.pool.paused_by)
        };
        *paused_by = by;
        object.lifecycle = lifecycle(paused_by);
        Self::touched(&mut self.counter, object);
    }

    /// Cluster API's controller, and the provider's.
    pub fn reconcile_machine_pool(&mut self, at: usize, random: &mut Random) {
        if random.chance(60) {
            self.reconcile_core(at);
        }
        if random.chance(60) {
            self.reconcile_provider(at);
        }
    }

    fn reconcile_core(&mut self, at: usize) {
        let WorldPool { pool, nodes, .. } = &mut self.machine_pools[at];
        let is_paused = pool.paused_by != PausedBy::NoOne;
        let changed = set_paused(&mut self.counter, &mut pool.object, is_paused);
        if is_paused || changed {
            return;
        }
        pool.object.observed_generation = pool.object.generation;
        pool.observed = nodes.iter().map(|(version, _)| version.clone()).collect();
        pool.replicas = Some(counted(nodes.len()));
    }

    fn reconcile_provider(&mut self, at: usize) {
        let WorldPool {
            pool,
            infrastructure,
            nodes,
            says_paused,
        } = &mut self.machine_pools[at];
        let is_paused = infrastructure.paused_by != PausedBy::NoOne;
        if *says_paused {
            let changed = set_paused(&mut self.counter, &mut infrastructure.object, is_paused);
            if is_paused || changed {
                return;
            }
        }
        infrastructure.object.observed_generation = infrastructure.object.generation;
        let image = infrastructure.spec["image"].as_str().unwrap_or_default().to_owned();
        let wanted = (pool.version.clone(), image.clone());
        if let Some(old) = nodes.iter_mut().find(|node| **node != wanted) {
            *old = wanted;
            let id = PoolId::MachinePool(pool.object.name.clone());
            self.births.push((id, pool.version.clone(), image));
        }
    }

    fn at_machine_pool(&self, id: &PoolId) -> Option<usize> {
        let PoolId::MachinePool(name) = id else { return None };
        self.machine_pools
            .iter()
            .position(|pool| pool.pool.object.name == *name)
    }

    /// Every mark of ours that is there.
    pub fn marks(&self) -> Vec<String> {
        let objects = self.machine_pools.iter().flat_map(|pool| {
            let infrastructure = &pool.infrastructure;
            [
                (&pool.pool.object, &pool.pool.paused_by),
                (&infrastructure.object, &infrastructure.paused_by),
            ]
        });
        let marked = objects.filter(|(_, paused_by)| paused_by.mark().is_some());
        let marked = marked.map(|(object, _)| object.name.clone());
        let stopped = self.pools.iter().filter(|pool| pool.object.rollout_paused.is_some());
        marked
            .chain(stopped.map(|pool| pool.object.object.name.clone()))
            .collect()
    }
}

/// Sets the condition as Cluster API does, also of a new generation; whether that was a change.
fn set_paused(counter: &mut u64, object: &mut Object, is_paused: bool) -> bool {
    let condition = vec![paused(is_paused, object.generation)];
    let changed = object.conditions != condition;
    if changed {
        object.conditions = condition;
        World::touched(counter, object);
    }
    changed
}

fn counted(replicas: usize) -> Replicas {
    let count = u32::try_from(replicas).unwrap();
    Replicas {
        desired: count,
        total: count,
        ready: count,
        up_to_date: count,
    }
}

fn lifecycle(paused_by: &PausedBy) -> Lifecycle {
    match paused_by {
        PausedBy::NoOne => Lifecycle::Active,
        PausedBy::User | PausedBy::Upgrade(_) => Lifecycle::Paused,
    }
}
