//! The snapshot, read: its parts in order, and what they say together.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use instar_capi::labels::CLUSTER_NAME;
use instar_capi::{Lifecycle, ManagedBy, WorkerKind};
use instar_catalog::Labels;
use instar_domain::{BuildOrder, KubeVersion, skew};
use jiff::{civil::Date, tz::TimeZone};

use crate::{
    decision::{Field, LeftBecause, Waiting},
    name::label_value,
    observed::{Unreadable, read},
    pool_id::PoolId,
    settled::{control_plane_rolls, replaces, rolled_out},
    snapshot::{
        ClusterKind, ControlPlane, InfrastructurePool, Initialization, Machine, MachineDeployment, MachinePool,
        MachineSet, Node, Object, Snapshot, Template, TemplateContent, TemplateRef,
    },
    swap_history::{SwapEntry, SwapHistory},
};

/// A snapshot in which everything but templates could be read, of a cluster that may be written.
pub(super) struct ClassicView<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) detail: ProgressDetail,
    pub(super) today: Date,
    pub(super) control_plane: &'a ControlPlane,
    pub(super) pools: Vec<&'a MachineDeployment>,
    pub(super) machine_sets: Vec<&'a MachineSet>,
    /// Those of MachineDeployments, by their names.
    sets: BTreeMap<&'a str, Vec<&'a MachineSet>>,
    pub(super) machine_pools: Vec<&'a MachinePool>,
    machines: BTreeMap<&'a PoolId, Vec<&'a Machine>>,
    /// Those of no MachineDeployment that is there: made alone, or by a MachineSet or a MachinePool.
    other_machines: Vec<&'a Machine>,
    pub(super) templates: Vec<&'a Template>,
    unreadable_templates: Vec<&'a Unreadable>,
    infrastructure_pools: Vec<&'a InfrastructurePool>,
    unreadable_pools: Vec<&'a Unreadable>,
    /// The templates whose content decides, and was not read yet.
    unread: RefCell<BTreeSet<TemplateRef>>,
}

/// What of its progress a decision has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgressDetail {
    /// All of it.
    Full,
    /// The stage and the path.
    Stage,
}

/// How an object differs from what Instar wrote into it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ExternalChange<'a> {
    /// Another client has changed nothing of it, or Instar wrote nothing.
    Unchanged,
    /// Another client set a newer version, or another template.
    Advanced(Field),
    /// Another client set an older version than this one, which Instar had set.
    Reverted(&'a KubeVersion),
}

impl<'a> ClassicView<'a> {
    pub(super) fn read(snapshot: &'a Snapshot) -> Result<Self, Vec<Waiting>> {
        Self::read_for(snapshot, ProgressDetail::Full)
    }

    pub(super) fn read_for(snapshot: &'a Snapshot, detail: ProgressDetail) -> Result<Self, Vec<Waiting>> {
        may_be_written(snapshot)?;
        let mut unreadable: Vec<_> = snapshot.unreadable.iter().collect();
        let mut pools = read(&snapshot.pools, &mut unreadable);
        let mut machine_sets = read(&snapshot.machine_sets, &mut unreadable);
        let mut machine_pools = read(&snapshot.machine_pools, &mut unreadable);
        let mut machines = read(&snapshot.machines, &mut unreadable);
        let control_plane = match &snapshot.control_plane {
            None => return Err(vec![Waiting::NoControlPlane]),
            Some(control_plane) => control_plane.read_or(&mut unreadable),
        };
        // Without each of these it is not known whether a step is safe.
        let Some(control_plane) = control_plane.filter(|_| unreadable.is_empty()) else {
            unreadable.sort();
            return Err(unreadable.into_iter().cloned().map(Waiting::Unreadable).collect());
        };
        if let Some(reason) = blocking_reason(&control_plane.object) {
            return Err(vec![reason]);
        }
        if snapshot.cluster.initialization == Initialization::Awaited && !has_run(control_plane, &machines) {
            return Err(vec![Waiting::NotProvisioned]);
        }
        let mut unreadable_templates = Vec::new();
        let mut templates = read(&snapshot.templates, &mut unreadable_templates);
        let mut unreadable_pools = Vec::new();
        let infrastructure_pools = read(&snapshot.infrastructure_pools, &mut unreadable_pools);
        // Lists come in any order; names decide.
        pools.sort_by(|a, b| a.object.name.cmp(&b.object.name));
        machine_sets.sort_by(|a, b| a.name.cmp(&b.name));
        machine_pools.sort_by(|a, b| a.object.name.cmp(&b.object.name));
        machines.sort_by(|a, b| a.name.cmp(&b.name));
        templates.sort_by_key(|template| template.reference());
        unreadable_templates.sort();
        let names: BTreeSet<&str> = pools.iter().map(|pool| pool.object.name.as_str()).collect();
        Ok(Self {
            snapshot,
            detail,
            today: snapshot.now.to_zoned(TimeZone::UTC).date(),
            control_plane,
            sets: by_deployment(&machine_sets),
            machine_sets,
            machine_pools,
            other_machines: machines
                .iter()
                .copied()
                .filter(|machine| !is_in_a_pool(machine, &names))
                .collect(),
            machines: by_pool(&machines),
            templates,
            unreadable_templates,
            infrastructure_pools,
            unreadable_pools,
            unread: RefCell::default(),
            pools,
        })
    }

    pub(super) fn machines_of(&self, pool: &PoolId) -> Vec<&'a Machine> {
        self.machines.get(pool).cloned().unwrap_or_default()
    }

    /// The machines that a MachinePool makes, where its provider shows them.
    pub(super) fn machines_of_machine_pool(&self, name: &str) -> Vec<&'a Machine> {
        let machines = self.other_machines.iter().copied();
        machines
            .filter(|machine| machine.maker.as_deref() == Some(name))
            .collect()
    }

    /// What makes the machines of a MachinePool.
    pub(super) fn infrastructure_pool(&self, reference: &TemplateRef) -> Result<&'a InfrastructurePool, LeftBecause> {
        let mut pools = self.infrastructure_pools.iter();
        if let Some(pool) = pools.find(|pool| pool.is(reference)) {
            return Ok(pool);
        }
        let (kind, name) = (reference.kind.clone(), reference.name.clone());
        let same = |object: &&&Unreadable| object.kind == kind && object.name == name;
        Err(match self.unreadable_pools.iter().find(same) {
            Some(object) => LeftBecause::Unreadable {
                kind,
                name,
                reason: object.reason.clone(),
            },
            None => LeftBecause::Missing { kind, name },
        })
    }

    pub(super) fn template(&self, pool: &PoolId, reference: &TemplateRef) -> Result<&'a Template, Waiting> {
        if let Some(template) = self.templates.iter().find(|template| template.is(reference)) {
            return Ok(template);
        }
        let same = |object: &&&Unreadable| object.kind == reference.kind && object.name == reference.name;
        Err(match self.unreadable_templates.iter().find(same) {
            Some(object) => Waiting::Unreadable((*object).clone()),
            None => Waiting::TemplateNotVisible {
                pool: pool.clone(),
                template: reference.clone(),
            },
        })
    }

    /// What a template says. Where that was not read yet, [`unread`](Self::unread) names it.
    pub(super) fn content(&self, template: &'a Template) -> Result<&'a TemplateContent, Waiting> {
        template.content.as_deref().ok_or_else(|| {
            self.unread.borrow_mut().insert(template.reference());
            Waiting::Unreadable(Unreadable {
                kind: template.kind.clone(),
                name: template.name.clone(),
                reason: "its content was not read yet".to_owned(),
            })
        })
    }

    /// The templates whose content was asked for so far, and was not read yet.
    pub(super) fn unread(&self) -> Vec<TemplateRef> {
        self.unread.borrow().iter().cloned().collect()
    }

    /// The label of the release that we minted a template for, for this very cluster.
    pub(super) fn minted_for(&self, template: &'a Template) -> Option<&'a str> {
        let own = label_value(&self.snapshot.cluster.name);
        let label = template.labels.get(CLUSTER_NAME);
        template.minted_for().filter(|_| label == Some(&own))
    }

    /// The last swap of an object for this very upgrade.
    pub(super) fn swapped<'o>(&self, object: &'o Object) -> Option<&'o SwapEntry> {
        let history = object.swap_history.as_ref()?;
        history.last_of(&self.snapshot.upgrade_spec.id())
    }

    /// The release that an object is at, where Instar set it.
    pub(super) fn release_of(
        &self,
        object: &Object,
        version: &KubeVersion,
        template: Option<&'a TemplateRef>,
    ) -> Option<String> {
        let name = template.map(|template| &template.name);
        let last = object.swap_history.as_ref().and_then(SwapHistory::last);
        let last = last.filter(|swap| swap.after.is_at(version, name));
        if let Some(release) = last.and_then(|swap| swap.after.release.clone()) {
            return Some(release);
        }
        let there = self
            .templates
            .iter()
            .find(|there| template.is_some_and(|template| there.is(template)))?;
        let label = self.minted_for(there)?;
        let mut rows = self.snapshot.catalog.rows_anywhere(version);
        let row = rows.find(|row| label_value(row.name()) == label);
        row.map(|row| row.name().to_owned())
    }

    /// The labels by which a pool's image is chosen.
    pub(super) const fn labels(&self, pool: &'a BTreeMap<String, String>) -> Labels<'a> {
        Labels {
            cluster: Some(&self.snapshot.cluster.labels),
            pool,
        }
    }

    /// A release that is named, and that the Cluster's catalog doesn't have.
    pub(super) fn no_release(&self, pool: Option<PoolId>, name: &str) -> Waiting {
        Waiting::no_release(&self.snapshot.catalog, pool, name)
    }

    /// Whether another client changed what Instar wrote for this very upgrade. What was set back before the user named
    /// another target is where the upgrade goes on from.
    pub(super) fn external_change<'o>(
        &self,
        object: &'o Object,
        version: &KubeVersion,
        template: Option<&TemplateRef>,
    ) -> ExternalChange<'o> {
        let Some(swap) = self.swapped(object) else {
            return ExternalChange::Unchanged;
        };
        if version.compare(&swap.after.version) == BuildOrder::Less {
            return if self.was_planned_after(swap) {
                ExternalChange::Unchanged
            } else {
                ExternalChange::Reverted(&swap.after.version)
            };
        }
        if *version != swap.after.version {
            return ExternalChange::Advanced(Field::Version);
        }
        if template.map(|template| &template.name) != swap.after.template.as_ref() {
            return ExternalChange::Advanced(Field::InfrastructureRef);
        }
        ExternalChange::Unchanged
    }

    /// The same of a pool of workers, told to the user. What was set back holds the pool.
    pub(super) fn told_change<'o>(
        &self,
        pool: &PoolId,
        object: &'o Object,
        version: &KubeVersion,
        template: Option<&TemplateRef>,
        waiting: &mut Vec<Waiting>,
    ) -> Result<ExternalChange<'o>, Waiting> {
        let change = self.external_change(object, version, template);
        match change {
            ExternalChange::Unchanged => {}
            ExternalChange::Advanced(field) => waiting.push(Waiting::ForeignWriter {
                pool: pool.clone(),
                field,
            }),
            ExternalChange::Reverted(written) => {
                return Err(Waiting::Reverted {
                    pool: pool.clone(),
                    written: written.clone(),
                    found: version.clone(),
                });
            }
        }
        Ok(change)
    }

    /// Whether a target was named later than that swap, be its path pinned already or not yet.
    fn was_planned_after(&self, swap: &SwapEntry) -> bool {
        let path = self
            .snapshot
            .cluster
            .classic()
            .and_then(|classic| classic.path.as_ref());
        let upgrade_spec = &self.snapshot.upgrade_spec;
        path.is_some_and(|path| {
            let was_taken_back = path.takes_back.as_ref().is_some_and(|of| of.upgrade == swap.upgrade);
            let is_of_it = path.upgrade == swap.upgrade || was_taken_back;
            let is_edited = path.target != upgrade_spec.target.as_str();
            is_of_it && (is_edited || path.since.is_some_and(|since| since > swap.since))
        })
    }

    /// The lowest version in a pool, with all that is still there of it.
    pub(super) fn lowest(&self, pool: &'a MachineDeployment) -> &'a KubeVersion {
        let id = PoolId::Workers(pool.object.name.clone());
        let sets = self
            .sets_of(pool)
            .filter(|set| set.replicas > 0)
            .map(|set| &set.version);
        let machines = self.machines_of(&id);
        let versions = machines.into_iter().flat_map(runs);
        sets.chain(versions).fold(&pool.version, |a, b| a.min(b))
    }

    /// The workers that would be too far behind a control plane of that version: kind, name, and
    /// the lowest version that they run.
    pub(super) fn behind(&self, next: &KubeVersion) -> Vec<(WorkerKind, &'a str, &'a KubeVersion)> {
        let pools = self.pools.iter().map(|pool| {
            (
                WorkerKind::MachineDeployment,
                pool.object.name.as_str(),
                self.lowest(pool),
            )
        });
        let machines = self.other_machines.iter().copied().map(lowest_of_machine);
        let all = pools.chain(self.outside_pools()).chain(machines);
        all.filter(|(_, _, version)| {
            matches!(
                skew::kubelet(version, next),
                Err(skew::SkewViolation::TooFarBehind { .. })
            )
        })
        .collect()
    }

    /// The workers outside of MachineDeployments that are older than a version: kind, name, and the lowest version that
    /// they run. Of a MachineSet or a MachinePool its machines are not named; nor is what has no version, or goes.
    pub(super) fn left_behind(&self, target: &KubeVersion) -> Vec<(WorkerKind, &'a str, &'a KubeVersion)> {
        let unversioned = |machine: &Machine| {
            let of = |maker: &String| self.snapshot.unversioned.iter().any(|object| object.name == *maker);
            match &machine.pool {
                Some(PoolId::Workers(name)) => of(name),
                Some(PoolId::ControlPlane | PoolId::MachinePool(_)) | None => false,
            }
        };
        let alone = self.other_machines.iter().copied().filter(|machine| {
            machine.maker.is_none() && machine.lifecycle != Lifecycle::Deleting && !unversioned(machine)
        });
        let all = self.outside_pools().chain(alone.map(lowest_of_machine));
        all.filter(|(_, _, version)| version.compare(target) == BuildOrder::Less && !version.is_same_upstream(target))
            .collect()
    }

    /// The newest version that each of the workers runs or is to run: kind, name, version. Of the MachineDeployments
    /// and of the MachinePools only some.
    pub(super) fn newest_workers(
        &self,
        pools: impl Fn(&MachineDeployment) -> bool,
        machine_pools: impl Fn(&MachinePool) -> bool,
    ) -> Vec<(WorkerKind, &'a str, &'a KubeVersion)> {
        let of_pools = self.pools.iter().copied().filter(|pool| pools(pool)).map(|pool| {
            let machines = self.machines_of(&PoolId::Workers(pool.object.name.clone()));
            let sets = self
                .sets_of(pool)
                .filter(|set| set.replicas > 0)
                .map(|set| &set.version);
            let newest = machines
                .into_iter()
                .flat_map(runs)
                .chain(sets)
                .fold(&pool.version, |a, b| a.max(b));
            (WorkerKind::MachineDeployment, pool.object.name.as_str(), newest)
        });
        let sets = self.machine_sets.iter().copied();
        let sets = sets.filter(|set| set.pool.is_none() && set.replicas > 0);
        let sets = sets.map(|set| (WorkerKind::MachineSet, set.name.as_str(), &set.version));
        let machine_pools = self.machine_pools.iter().filter(|pool| machine_pools(pool));
        let machine_pools = machine_pools.map(|pool| {
            let newest = pool.observed.iter().fold(&pool.version, |a, b| a.max(b));
            (WorkerKind::MachinePool, pool.object.name.as_str(), newest)
        });
        let machines = self.other_machines.iter().copied().map(|machine| {
            let newest = runs(machine).fold(&machine.version, |a, b| a.max(b));
            (WorkerKind::Machine, machine.name.as_str(), newest)
        });
        of_pools.chain(sets).chain(machine_pools).chain(machines).collect()
    }

    /// The MachineSets that stand alone and the MachinePools, with the lowest version that they run. A MachineSet
    /// replaces no machine when its version is raised.
    fn outside_pools(&self) -> impl Iterator<Item = (WorkerKind, &'a str, &'a KubeVersion)> {
        let sets = self.machine_sets.iter().copied();
        let sets = sets.filter(|set| set.pool.is_none() && set.replicas > 0).map(|set| {
            let machines = self.other_machines.iter().copied();
            let mine = machines.filter(|machine| machine.maker.as_ref() == Some(&set.name));
            let lowest = mine.flat_map(runs).fold(&set.version, |a, b| a.min(b));
            (WorkerKind::MachineSet, set.name.as_str(), lowest)
        });
        let machine_pools = self.machine_pools.iter().map(|pool| {
            let lowest = pool.observed.iter().fold(&pool.version, |a, b| a.min(b));
            (WorkerKind::MachinePool, pool.object.name.as_str(), lowest)
        });
        sets.chain(machine_pools)
    }

    /// Whether some machines of the control plane aren't as its spec says.
    pub(super) fn control_plane_rolls(&self) -> bool {
        control_plane_rolls(self.control_plane, &self.machines_of(&PoolId::ControlPlane))
    }

    /// Whether a pool is all that its spec says, and nothing else, be it ready or not.
    pub(super) fn rolled_out(&self, pool: &MachineDeployment) -> bool {
        let machines = self.machines_of(&PoolId::Workers(pool.object.name.clone()));
        rolled_out(pool, self.sets_of(pool), &machines)
    }

    /// Whether machines of a pool are still to be replaced.
    pub(super) fn replaces(&self, pool: &MachineDeployment) -> bool {
        let machines = self.machines_of(&PoolId::Workers(pool.object.name.clone()));
        replaces(pool, self.sets_of(pool), &machines)
    }

    fn sets_of(&self, pool: &MachineDeployment) -> impl Iterator<Item = &'a MachineSet> {
        let sets = self.sets.get(pool.object.name.as_str());
        sets.into_iter().flatten().copied()
    }
}

/// Whether a control plane is or was up, whatever its provider says of it: one of its Machines has a node; without
/// Machines, it says what it runs.
fn has_run(control_plane: &ControlPlane, machines: &[&Machine]) -> bool {
    let mut mine = machines
        .iter()
        .filter(|machine| machine.pool == Some(PoolId::ControlPlane))
        .peekable();
    if mine.peek().is_none() {
        return !control_plane.observed.is_empty();
    }
    mine.any(|machine| machine.node.is_joined())
}

fn is_in_a_pool(machine: &Machine, pools: &BTreeSet<&str>) -> bool {
    match &machine.pool {
        None | Some(PoolId::MachinePool(_)) => false,
        Some(PoolId::ControlPlane) => true,
        Some(PoolId::Workers(name)) => pools.contains(name.as_str()),
    }
}

fn by_deployment<'a>(sets: &[&'a MachineSet]) -> BTreeMap<&'a str, Vec<&'a MachineSet>> {
    let mut by_deployment: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for set in sets {
        if let Some(pool) = &set.pool {
            by_deployment.entry(pool.as_str()).or_default().push(*set);
        }
    }
    by_deployment
}

fn by_pool<'a>(machines: &[&'a Machine]) -> BTreeMap<&'a PoolId, Vec<&'a Machine>> {
    let mut by_pool: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for machine in machines {
        if let Some(pool) = &machine.pool {
            by_pool.entry(pool).or_default().push(*machine);
        }
    }
    by_pool
}

fn runs(machine: &Machine) -> impl Iterator<Item = &KubeVersion> {
    let node = match &machine.node {
        Node::Absent => None,
        Node::Joined { version, .. } => version.as_ref(),
    };
    std::iter::once(&machine.version).chain(node)
}

fn lowest_of_machine(machine: &Machine) -> (WorkerKind, &str, &KubeVersion) {
    let lowest = runs(machine).fold(&machine.version, |a, b| a.min(b));
    (WorkerKind::Machine, machine.name.as_str(), lowest)
}

fn may_be_written(snapshot: &Snapshot) -> Result<(), Vec<Waiting>> {
    let owned = match snapshot.cluster.kind {
        ClusterKind::Classic(_) => None,
        ClusterKind::Topology(_) => Some(Waiting::TopologyOwned {
            kind: "Cluster".to_owned(),
            name: snapshot.cluster.name.clone(),
        }),
    };
    let reasons: Vec<Waiting> = of_cluster(snapshot)
        .into_iter()
        .chain(owned)
        .chain(of_upgrade_spec(snapshot))
        .collect();
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Why the Cluster itself allows no write.
pub(crate) fn of_cluster(snapshot: &Snapshot) -> Option<Waiting> {
    let (kind, name) = ("Cluster".to_owned(), snapshot.cluster.name.clone());
    match snapshot.cluster.lifecycle {
        Lifecycle::Active => None,
        Lifecycle::Paused => Some(Waiting::Paused { kind, name }),
        Lifecycle::Deleting => Some(Waiting::Deleting { kind, name }),
    }
}

/// Why the ClusterUpgrade allows no write.
pub(crate) fn of_upgrade_spec(snapshot: &Snapshot) -> impl Iterator<Item = Waiting> {
    let paused = snapshot.upgrade_spec.paused.then(|| Waiting::Paused {
        kind: "ClusterUpgrade".to_owned(),
        name: snapshot.upgrade_spec.upgrade.clone(),
    });
    let unreadable = snapshot
        .upgrade_spec
        .unreadable
        .iter()
        .cloned()
        .map(Waiting::Unreadable);
    paused.into_iter().chain(unreadable)
}

/// Why an object isn't written to.
pub(super) fn blocking_reason(object: &Object) -> Option<Waiting> {
    match object.managed_by {
        ManagedBy::Topology => Some(Waiting::TopologyOwned {
            kind: object.kind.clone(),
            name: object.name.clone(),
        }),
        ManagedBy::User => stopped(object),
    }
}

/// Why Cluster API goes no further with an object.
pub(crate) fn stopped(object: &Object) -> Option<Waiting> {
    let (kind, name) = (object.kind.clone(), object.name.clone());
    match object.lifecycle {
        Lifecycle::Active => None,
        Lifecycle::Paused => Some(Waiting::Paused { kind, name }),
        Lifecycle::Deleting => Some(Waiting::Deleting { kind, name }),
    }
}
