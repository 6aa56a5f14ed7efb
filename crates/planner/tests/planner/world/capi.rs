//! Cluster API's controllers: each does a little at a time, late, in any order.

use instar_domain::KubeVersion;
use instar_planner::{
    JoinRule, Lifecycle, Machine, MachinePhase, MachineSet, Node, NodeReadiness, PoolId, Replicas, Rollout,
};

use super::{World, joined, not_ready, random::Random, ready_since};

impl World {
    /// Every controller may get its turn.
    pub fn tick(&mut self, random: &mut Random) {
        self.now += jiff::SignedDuration::from_secs(10);
        if self.cluster.lifecycle == Lifecycle::Paused {
            return;
        }
        if random.chance(70) {
            self.reconcile_machines(random);
        }
        if self.nodes_flap {
            self.nodes_change(random);
        }
        if random.chance(70) {
            self.reconcile_control_plane();
        }
        for at in 0..self.pools.len() {
            if random.chance(70) {
                self.reconcile_pool(at);
            }
        }
        for at in 0..self.machine_pools.len() {
            self.reconcile_machine_pool(at, random);
        }
        for at in 0..self.sets.len() {
            if random.chance(70) {
                self.reconcile_set(at);
            }
        }
    }

    fn reconcile_machines(&mut self, random: &mut Random) {
        self.machines
            .retain(|machine| machine.lifecycle == Lifecycle::Active || !random.chance(60));
        let broken: Vec<String> = self
            .templates
            .iter()
            .filter(|template| self.never_boots.contains(&super::image(template)))
            .map(|template| template.name.clone())
            .collect();
        let boots = |machine: &Machine| !machine.template.as_ref().is_some_and(|name| broken.contains(name));
        for machine in &mut self.machines {
            let is_worker = machine.pool != Some(PoolId::ControlPlane);
            let never_joins = is_worker && self.never_join.contains(&machine.version);
            machine.phase = match machine.phase {
                MachinePhase::Pending => MachinePhase::Provisioned,
                MachinePhase::Provisioned if never_joins => MachinePhase::Provisioned,
                MachinePhase::Provisioned if random.chance(70) && boots(machine) => {
                    machine.node = joined(&machine.name, &machine.version);
                    machine.node_readiness = if self.nodes_flap {
                        not_ready()
                    } else {
                        ready_since(self.now)
                    };
                    MachinePhase::Running
                }
                phase => phase,
            };
        }
    }

    fn nodes_change(&mut self, random: &mut Random) {
        for machine in &mut self.machines {
            machine.node_readiness = match &machine.node_readiness {
                NodeReadiness::Ready { .. } if random.chance(1) => not_ready(),
                NodeReadiness::NotReady { .. } if random.chance(50) => ready_since(self.now),
                same => same.clone(),
            };
        }
    }

    /// Surge by one, one at a time, and only while all is well.
    fn reconcile_control_plane(&mut self) {
        if self.control_plane.object.lifecycle == Lifecycle::Paused {
            return;
        }
        let version = self.control_plane.version.clone();
        let template = self.control_plane.infrastructure.clone().unwrap().name;
        let desired = self.control_plane.replicas.unwrap().desired;
        let mine = |machine: &Machine| machine.pool == Some(PoolId::ControlPlane);
        let expired = self.expired(self.control_plane.rollout_after);
        let up_to_date = |machine: &Machine| {
            machine.version == version
                && machine.template.as_ref() == Some(&template)
                && expired.is_none_or(|after| machine.rollout_time >= Some(after))
        };
        let ready = |machine: &Machine| machine.phase == MachinePhase::Running;
        let all: Vec<&Machine> = self.machines.iter().filter(|machine| mine(machine)).collect();
        let count =
            |of: &dyn Fn(&Machine) -> bool| u32::try_from(all.iter().filter(|machine| of(machine)).count()).unwrap();
        let replicas = Replicas {
            desired,
            total: count(&|_| true),
            ready: count(&ready),
            up_to_date: count(&up_to_date),
        };
        // What its status says of versions comes from the nodes.
        self.control_plane.observed = all
            .iter()
            .filter_map(|machine| node_version(machine))
            .cloned()
            .collect();
        self.control_plane.replicas = Some(replicas);
        self.control_plane.object.observed_generation = self.control_plane.object.generation;
        let quiet = all
            .iter()
            .all(|machine| ready(machine) && machine.lifecycle == Lifecycle::Active);
        // What isn't as the spec says is taken away first where it isn't well, and nothing else is done.
        let unwell = all
            .iter()
            .find(|machine| !ready(machine) && machine.lifecycle == Lifecycle::Active && !up_to_date(machine));
        let others_are_well = all
            .iter()
            .filter(|machine| ready(machine) || machine.lifecycle == Lifecycle::Deleting)
            .count()
            + 1
            == all.len();
        let serves = all.iter().any(|machine| ready(machine) && up_to_date(machine));
        if let Some(unwell) = unwell
            && others_are_well
            && serves
            && replicas.total > desired
        {
            let at = self.machines.iter().position(|machine| machine.name == unwell.name);
            self.remove_machine(at.unwrap());
            return;
        }
        if !quiet {
            return;
        }
        if replicas.total > desired {
            let old = self
                .machines
                .iter()
                .position(|machine| mine(machine) && !up_to_date(machine));
            self.remove_machine(old.unwrap());
        } else if replicas.up_to_date < replicas.total {
            self.machine(PoolId::ControlPlane, version, &template);
        }
    }

    fn reconcile_pool(&mut self, at: usize) {
        let pool = self.pools[at].clone();
        let object = &pool.object;
        if object.object.lifecycle == Lifecycle::Paused || object.rollout_paused.is_some() {
            return;
        }
        let mine = |set: &MachineSet| set.pool.as_ref() == Some(&object.object.name);
        let expired = self.expired(object.rollout_after);
        let current = |set: &MachineSet| {
            mine(set)
                && expired.is_none_or(|after| set.created >= Some(after))
                && set.version == object.version
                && set.infrastructure == object.infrastructure
                && set.bootstrap == object.bootstrap
        };
        self.pools[at].object.object.observed_generation = object.object.generation;
        let Some(new) = self.sets.iter().position(current) else {
            let name = self.next_name(&object.object.name);
            self.sets.push(MachineSet {
                name,
                pool: Some(object.object.name.clone()),
                version: object.version.clone(),
                infrastructure: object.infrastructure.clone(),
                bootstrap: object.bootstrap.clone(),
                replicas: 0,
                lifecycle: Lifecycle::Active,
                created: Some(self.now),
                blocked: None,
            });
            return;
        };
        if object.rollout == Rollout::OnDelete
            && self
                .sets
                .iter()
                .any(|set| mine(set) && !current(set) && set.replicas > 0)
        {
            return;
        }
        let total: u32 = self.sets.iter().filter(|set| mine(set)).map(|set| set.replicas).sum();
        let mut machines = self
            .machines
            .iter()
            .filter(|machine| machine.pool == Some(PoolId::Workers(object.object.name.clone())));
        let all_ready =
            machines.all(|machine| machine.phase == MachinePhase::Running && machine.lifecycle == Lifecycle::Active);
        let old = self
            .sets
            .iter()
            .position(|set| mine(set) && !current(set) && set.replicas > 0);
        // As `cleanupUnhealthyReplicas` does: what an old set couldn't make, it needn't.
        let is_short = |set: &MachineSet| {
            mine(set) && !current(set) && self.machines_of(set).len() < usize::try_from(set.replicas).unwrap()
        };
        let has_unhealthy =
            |set: &MachineSet| mine(set) && !current(set) && set.replicas > 0 && self.never_join.contains(&set.version);
        if let Some(at) = self.sets.iter().position(has_unhealthy) {
            self.sets[at].replicas -= 1;
        } else if let Some(at) = self.sets.iter().position(is_short) {
            self.sets[at].replicas -= 1;
        } else if total > pool.replicas && all_ready && self.sets_are_full(&object.object.name) {
            let surplus = old.unwrap_or(new);
            self.sets[surplus].replicas -= 1;
        } else if total <= pool.replicas && self.sets[new].replicas < pool.replicas {
            self.sets[new].replicas += 1;
        } else if old.is_none() && all_ready && self.sets_are_full(&object.object.name) {
            let keep = self.sets[new].name.clone();
            let empty = |set: &MachineSet| mine(set) && set.name != keep && set.replicas == 0;
            self.sets.retain(|set| !empty(set));
        }
    }

    /// `spec.rollout.after`, once it has come.
    fn expired(&self, after: Option<jiff::Timestamp>) -> Option<jiff::Timestamp> {
        after.filter(|after| *after < self.now)
    }

    fn sets_are_full(&self, pool: &str) -> bool {
        self.sets
            .iter()
            .filter(|set| set.pool.as_deref() == Some(pool))
            .all(|set| u32::try_from(self.machines_of(set).len()).unwrap() == set.replicas)
    }

    fn machines_of(&self, set: &MachineSet) -> Vec<usize> {
        let belongs = |machine: &Machine| {
            machine.pool == set.pool.clone().map(PoolId::Workers)
                && machine.lifecycle == Lifecycle::Active
                && machine.version == set.version
                && machine.template.as_ref() == Some(&set.infrastructure.name)
                && self.makers.get(&machine.name).is_none_or(|maker| *maker == set.name)
        };
        (0..self.machines.len())
            .filter(|at| belongs(&self.machines[*at]))
            .collect()
    }

    fn reconcile_set(&mut self, at: usize) {
        let Some(set) = self.sets.get(at).cloned() else { return };
        let machines = self.machines_of(&set);
        let replicas = usize::try_from(set.replicas).unwrap();
        if machines.len() > replicas {
            self.remove_machine(machines[0]);
        } else if machines.len() < replicas && self.preflight(&set) {
            self.machine(
                PoolId::Workers(set.pool.unwrap()),
                set.version,
                &set.infrastructure.name,
            );
            self.made_by(&set.name);
        }
    }

    /// `machineset_preflight.go`: the control plane stands still, and the minors are the same, unless that is skipped.
    fn preflight(&self, set: &MachineSet) -> bool {
        let control_plane = &self.control_plane;
        let runs = |seen: &KubeVersion| seen.is_same_upstream(&control_plane.version);
        let stable = control_plane.observed.iter().all(runs);
        let named = |pool: &&super::Pool| set.pool.as_ref() == Some(&pool.object.object.name);
        let joins = self.pools.iter().find(named).map(|pool| pool.object.joins);
        let (own, others) = (set.version.minor(), control_plane.version.minor());
        stable
            && match joins {
                Some(JoinRule::AnyMinor) => own <= others,
                Some(JoinRule::SameMinor) | None => own == others,
            }
    }

    pub fn remove_machine(&mut self, at: usize) {
        self.machines[at].lifecycle = Lifecycle::Deleting;
        self.machines[at].phase = MachinePhase::Deleting;
    }

    /// The lowest version of a node of the control plane, in truth.
    pub fn lowest_control_plane(&self) -> Option<&KubeVersion> {
        let mine = self
            .machines
            .iter()
            .filter(|machine| machine.pool == Some(PoolId::ControlPlane));
        mine.filter_map(node_version).min()
    }
}

pub fn node_version(machine: &Machine) -> Option<&KubeVersion> {
    match &machine.node {
        Node::Absent => None,
        Node::Joined { version, .. } => version.as_ref(),
    }
}
