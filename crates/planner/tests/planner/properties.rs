//! What holds in every world, whatever fails in it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use instar_domain::{BuildOrder, KubeVersion};
use instar_planner::{
    Action, AskedPoint, Decision, Flavor, Gate, Lifecycle, PausedBy, PoolId, PoolOverride, Snapshot, Stage, check,
    plan, resume,
};
use jiff::{SignedDuration, tz::TimeZone};

pub(super) use crate::world::sampled::world;
use crate::{
    scenarios::decide_reading,
    world::{
        World, addons::WorldGates, closed, held_by_check, random::Random, ready_since, sampled::CONTROL_PLANE, version,
    },
};

/// So many worlds of each sort; `INSTAR_SEEDS` asks for another number, or for one: `4972..4973`. `make worlds` has ten
/// thousand.
const SEEDS: u64 = 2_500;
/// No upgrade here needs half as many.
pub(super) const MOST_TICKS: usize = 2_000;
pub(super) fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("INSTAR_SEEDS").unwrap_or_else(|_| SEEDS.to_string());
    let (from, to) = asked.split_once("..").unwrap_or(("0", &asked));
    from.parse().unwrap()..to.parse().unwrap()
}

/// How much goes wrong.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Faults {
    None,
    /// Old snapshots, lost writes, lost replies, writes that come twice.
    Some,
}

pub(super) struct Run {
    pub(super) world: World,
    pub(super) random: Random,
    faults: Faults,
    past: VecDeque<Rc<Snapshot>>,
    pub(super) writes: usize,
    seed: u64,
}

impl Run {
    pub(super) fn new(world: World, seed: u64, faults: Faults) -> Self {
        Self {
            world,
            random: Random::new(seed ^ 0x5eed),
            faults,
            past: VecDeque::new(),
            writes: 0,
            seed,
        }
    }

    /// What the controller sees: each kind of object may be of another moment.
    fn look(&mut self) -> Rc<Snapshot> {
        let now = Rc::new(self.world.snapshot());
        if self.faults == Faults::None {
            return now;
        }
        let mut seen = Rc::clone(&now);
        if !self.past.is_empty() && self.random.chance(40) {
            let seen = Rc::make_mut(&mut seen);
            let mut at = || &self.past[self.random.below(self.past.len())];
            seen.control_plane.clone_from(&at().control_plane);
            seen.pools.clone_from(&at().pools);
            seen.templates.clone_from(&at().templates);
            let of_machines = at();
            seen.machine_sets.clone_from(&of_machines.machine_sets);
            seen.machines.clone_from(&of_machines.machines);
            let mut at = || &self.past[self.random.below(self.past.len())];
            seen.machine_pools.clone_from(&at().machine_pools);
            seen.infrastructure_pools.clone_from(&at().infrastructure_pools);
        }
        self.past.push_back(now);
        if self.past.len() > 4 {
            self.past.pop_front();
        }
        seen
    }

    fn decide(&mut self) -> Decision {
        let mut seen = self.look();
        let decision = loop {
            let decision = plan(&seen);
            let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
            if unseen.is_empty() {
                break decision;
            }
            for point in unseen {
                let found = self.world.addon(&point);
                Rc::make_mut(&mut seen).addons.found.insert(point, found);
            }
        };
        // It takes as long as all the rest.
        if self.seed.is_multiple_of(32) {
            assert_eq!(
                decide_reading(&seen),
                decision,
                "seed {}: what templates say",
                self.seed
            );
        }
        let broken = check(&seen, &decision);
        assert!(broken.is_empty(), "seed {}: {broken:?} by {decision:#?}", self.seed);
        if decision.action == Action::Nothing && decision.progress.stage != Stage::Complete {
            assert!(!decision.waiting.is_empty(), "seed {}: waits for nothing", self.seed);
        }
        if self.random.chance(5) {
            let mut other = (*seen).clone();
            self.random.shuffle(&mut other.pools);
            self.random.shuffle(&mut other.machine_sets);
            self.random.shuffle(&mut other.machines);
            self.random.shuffle(&mut other.templates);
            self.random.shuffle(&mut other.machine_pools);
            self.random.shuffle(&mut other.infrastructure_pools);
            assert_eq!(plan(&other), decision, "seed {}: the order of lists matters", self.seed);
        }
        decision
    }

    /// Half of the worlds have a maintenance window, which opens and closes whatever goes on, a third have a check that
    /// fails now and then, and some have gates.
    fn time_passes(&mut self) {
        self.world.gates_change(&mut self.random);
        if self.seed.is_multiple_of(3) && self.random.chance(10) {
            let before = std::mem::take(&mut self.world.preflight);
            if before.is_empty() {
                self.world.preflight = vec![held_by_check()];
            }
        }
        if self.seed.is_multiple_of(2) || !self.random.chance(10) {
            return;
        }
        if self.world.gates.remove(&Gate::Window).is_none() {
            let closed = closed("no maintenance window is open");
            self.world.gates.insert(Gate::Window, closed);
        }
    }

    /// One pass of the controller, and of a network that loses and repeats.
    pub(super) fn pass(&mut self) -> Decision {
        self.time_passes();
        let decision = self.decide();
        let (lost, twice) = match self.faults {
            Faults::None => (false, false),
            Faults::Some => (self.random.chance(15), self.random.chance(15)),
        };
        if decision.action != Action::Nothing && !lost {
            // Nobody here reads the answer: a reply that is lost is no other case.
            self.write(&decision.action);
            if twice {
                self.write(&decision.action);
            }
        }
        decision
    }

    fn write(&mut self, action: &Action) {
        let before = self.world.control_plane.version.clone();
        if let Action::DeleteTemplate(delete) = action {
            let name = &delete.template.name;
            assert!(!self.world.refers_to(name), "seed {}: {name} is in use", self.seed);
        }
        if self.world.write(action) != crate::world::api::Answer::Done {
            return;
        }
        self.writes += 1;
        let seed = self.seed;
        match action {
            Action::SwapControlPlane(swap) => {
                assert!(
                    swap.version.minor().minor <= before.minor().minor + 1,
                    "seed {seed}: a minor is skipped"
                );
            }
            Action::SwapWorkers(swap) => {
                let lowest = self.world.lowest_control_plane().unwrap();
                assert_ne!(
                    swap.version.compare(lowest),
                    BuildOrder::Greater,
                    "seed {seed}: {} goes above its control plane",
                    swap.pool
                );
            }
            Action::MintTemplate(_)
            | Action::PatchMachinePool(_)
            | Action::PinPath(_)
            | Action::RecordConvergence(_)
            | Action::DeleteTemplate(_)
            | Action::EditVersion(_)
            | Action::CompletePins(_)
            | Action::HoldPool(_)
            | Action::SetConcurrency(_)
            | Action::BeginGates(_)
            | Action::AnswerHook(_)
            | Action::RestoreVersionCheck(_)
            | Action::FollowRelease(_)
            | Action::DeleteMachine(_)
            | Action::Nothing => {}
        }
    }

    /// To the end, and so long that old templates may go.
    pub(super) fn finish(&mut self, mut user: impl FnMut(&mut World, &mut Random, usize)) {
        for tick in 0..MOST_TICKS {
            user(&mut self.world, &mut self.random, tick);
            let decision = self.pass();
            self.world.tick(&mut self.random);
            let is_done = |decision: &Decision| decision.progress.stage == Stage::Complete;
            if is_done(&decision) && is_done(&self.world.plan()) {
                break;
            }
            if tick + 1 == MOST_TICKS {
                let last = self.world.plan();
                panic!(
                    "seed {}: it doesn't end: {last:#?}\n{:?}\n{:?}\n{:?}",
                    self.seed, self.world.sets, self.world.pools, self.world.machine_pools
                );
            }
        }
        self.world.now += jiff::SignedDuration::from_hours(25);
        // Of an upgrade that is over no gate is asked.
        self.world.addon_gates = WorldGates::default();
        self.world.nodes_flap = false;
        let since = self.world.now - SignedDuration::from_hours(1);
        for machine in &mut self.world.machines {
            machine.node_readiness = ready_since(since);
        }
        // No snapshot is a day old.
        self.past.clear();
        for _ in 0..40 {
            self.pass();
            self.world.tick(&mut self.random);
        }
        // Done means no more writes.
        let writes = self.writes;
        let end = self.world.plan();
        assert_eq!(end.action, Action::Nothing, "seed {}: {end:#?}", self.seed);
        assert_eq!(end.progress.stage, Stage::Complete, "seed {}: {end:#?}", self.seed);
        for _ in 0..3 {
            self.pass();
        }
        assert_eq!(self.writes, writes, "seed {}: it writes at the end", self.seed);
        let marks = self.world.marks();
        assert!(marks.is_empty(), "seed {}: {marks:?} are still marked", self.seed);
    }
}

/// How many machines of each pool were made for each version.
fn births(world: &World) -> BTreeMap<(PoolId, KubeVersion), usize> {
    let mut births = BTreeMap::new();
    for (pool, version, image) in &world.births {
        assert!(
            image.contains(&version.to_string()),
            "{pool} boots {image} as {version}"
        );
        *births.entry((pool.clone(), version.clone())).or_default() += 1;
    }
    births
}

/// The templates that are in use, and those that nobody uses.
pub(super) fn templates(world: &World) -> (BTreeSet<String>, BTreeSet<String>) {
    let names = world.templates.iter().map(|template| template.name.clone());
    names.partition(|name| world.refers_to(name))
}

#[test]
fn every_machine_is_made_once_for_each_version_whatever_fails() {
    for seed in seeds() {
        let mut random = Random::new(seed);
        let (start, wanted) = world(&mut random);
        let present = start.control_plane.version.clone();
        let mut calm = Run::new(start.clone(), seed, Faults::None);
        calm.finish(|_, _, _| {});
        let mut wild = Run::new(start.clone(), seed, Faults::Some);
        wild.finish(|_, _, _| {});

        // The same end, and no template more, whatever failed.
        assert_eq!(templates(&calm.world), templates(&wild.world), "seed {seed}");
        let minted = |run: &Run| run.world.minted.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(minted(&calm), minted(&wild), "seed {seed}");
        assert_eq!(
            wild.world.minted.len(),
            wild.world.swaps,
            "seed {seed}: a template more than swaps"
        );
        assert_eq!(calm.world.swaps, wild.world.swaps, "seed {seed}");
        assert_eq!(calm.world.pool_swaps, wild.world.pool_swaps, "seed {seed}");
        assert_eq!(calm.world.values_set, wild.world.values_set, "seed {seed}");
        assert_eq!(wild.world.values_set, wild.world.pool_swaps, "seed {seed}");
        let leaked: Vec<_> = templates(&wild.world)
            .1
            .into_iter()
            .filter(|name| wild.world.minted.contains(name))
            .collect();
        assert!(leaked.is_empty(), "seed {seed}: {leaked:?} leaked");

        // What an oracle expects: each minor once for the control plane; for the workers, each third
        // minor and the end.
        let (from, to) = (present.minor().minor, wanted.minor().minor);
        let mut expected = BTreeMap::new();
        for minor in from + 1..=to {
            let version = if minor == to {
                wanted.clone()
            } else {
                version(&format!("v1.{minor}.5"))
            };
            let stops = minor == to || (minor - from).is_multiple_of(3);
            expected.insert((PoolId::ControlPlane, version.clone()), CONTROL_PLANE);
            for pool in start.pools.iter().filter(|pool| stops && pool.replicas > 0) {
                let replicas = usize::try_from(pool.replicas).unwrap();
                expected.insert(
                    (PoolId::Workers(pool.object.object.name.clone()), version.clone()),
                    replicas,
                );
            }
            for pool in start
                .machine_pools
                .iter()
                .filter(|pool| stops && !pool.nodes.is_empty())
            {
                let id = PoolId::MachinePool(pool.pool.object.name.clone());
                expected.insert((id, version.clone()), pool.nodes.len());
            }
        }
        let row = wild
            .world
            .catalog
            .best(&wanted, wild.world.now.to_zoned(TimeZone::UTC).date())
            .unwrap();
        let Flavor::Kubeadm {
            cluster_configuration, ..
        } = &wild.world.control_plane.flavor
        else {
            panic!("seed {seed}: no kubeadm");
        };
        let etcd = &cluster_configuration.etcd.local.image_tag;
        assert_eq!(etcd.as_deref(), row.etcd_tag(), "seed {seed}");
        assert_eq!(births(&calm.world), expected, "seed {seed}");
        assert_eq!(births(&wild.world), expected, "seed {seed}");
        let all = wild.world.pools.iter().map(|pool| &pool.object.version);
        let machine_pools = wild.world.machine_pools.iter().map(|pool| &pool.pool.version);
        assert!(
            all.chain(machine_pools)
                .chain([&wild.world.control_plane.version])
                .all(|at| *at == wanted),
            "seed {seed}"
        );
    }
}

/// An upgrade that ends in the middle, be it cancelled, refused or deleted with its Cluster.
#[test]
fn no_mark_of_ours_stays_when_an_upgrade_ends_in_the_middle() {
    for seed in seeds().step_by(5) {
        let mut random = Random::new(seed);
        let (mut start, _) = world(&mut random);
        start.add_machine_pool("mp-9", &start.control_plane.version.clone(), 2);
        let by_user = random.below(2);
        let mut run = Run::new(start, seed, Faults::Some);
        for _ in 0..random.below(400) {
            run.pass();
            run.world.tick(&mut run.random);
        }
        run.world.pause_machine_pool(0, by_user == 0, PausedBy::User);
        for lifecycle in [Lifecycle::Active, Lifecycle::Deleting] {
            let mut world = run.world.clone();
            world.cluster.lifecycle = lifecycle;
            for _ in 0..40 {
                let mut seen = world.snapshot();
                // No upgrade goes on, so none is held.
                seen.gates.clear();
                let decision = resume(&seen);
                assert_eq!(check(&seen, &decision), [], "seed {seed}");
                world.write(&decision.action);
            }
            assert_eq!(world.marks(), [""; 0], "seed {seed}");
            let pool = &world.machine_pools[0];
            let paused_by = [&pool.infrastructure.paused_by, &pool.pool.paused_by];
            assert_eq!(*paused_by[by_user], PausedBy::User, "seed {seed}: it was the user's");
        }
        run.world.cluster.lifecycle = Lifecycle::Paused;
        assert_eq!(resume(&run.world.snapshot()).action, Action::Nothing, "seed {seed}");
    }
}

/// What a busy user has to undo.
enum Undo {
    Cluster,
    UpgradeSpec,
    ControlPlane,
    Pool(String),
    MachinePool(usize, bool),
    Hold(String),
}

struct User {
    left: usize,
    undo: Option<(usize, Undo)>,
}

impl User {
    /// Something now and then, and what was stopped goes on later.
    fn act(&mut self, world: &mut World, random: &mut Random, tick: usize) {
        if let Some((at, _)) = &self.undo {
            if *at <= tick {
                self.undo(world);
            }
            return;
        }
        if self.left == 0 || !random.chance(10) {
            return;
        }
        self.left -= 1;
        let pool = (!world.pools.is_empty()).then(|| random.below(world.pools.len()));
        let name = pool.map(|at| world.pools[at].object.object.name.clone());
        let later = tick + 1 + random.below(15);
        match (random.below(11), pool, name) {
            (0, _, _) => {
                world.cluster.lifecycle = Lifecycle::Paused;
                self.undo = Some((later, Undo::Cluster));
            }
            (1, _, _) => {
                world.upgrade_spec.paused = true;
                self.undo = Some((later, Undo::UpgradeSpec));
            }
            (2, _, _) => {
                world.pause_control_plane(Lifecycle::Paused);
                self.undo = Some((later, Undo::ControlPlane));
            }
            (3, Some(_), Some(name)) => {
                world.pause_pool(&name, Lifecycle::Paused);
                self.undo = Some((later, Undo::Pool(name)));
            }
            (4, Some(_), Some(name)) => {
                world.upgrade_spec.pools.insert(name.clone(), PoolOverride::Hold);
                self.undo = Some((later, Undo::Hold(name)));
            }
            (5, Some(at), _) => world.pools[at].replicas = u32::try_from(random.below(4)).unwrap(),
            (6, _, _) => world.raise_control_plane(),
            (7, Some(_), Some(name)) => world.give_own_template(&name),
            (8, Some(_), Some(name)) => world.raise_pool(&name),
            (9, _, _) => {
                let at = world.control_plane.version.clone();
                let name = world.next_name("late");
                world.add_pool_later(&name, &at, 2);
            }
            (10, _, _) if !world.machine_pools.is_empty() => {
                let (at, infrastructure) = (random.below(world.machine_pools.len()), random.chance(50));
                world.pause_machine_pool(at, infrastructure, PausedBy::User);
                self.undo = Some((later, Undo::MachinePool(at, infrastructure)));
            }
            _ => world.touch_all(),
        }
    }

    fn undo(&mut self, world: &mut World) {
        match self.undo.take() {
            None => {}
            Some((_, Undo::Cluster)) => world.cluster.lifecycle = Lifecycle::Active,
            Some((_, Undo::UpgradeSpec)) => world.upgrade_spec.paused = false,
            Some((_, Undo::ControlPlane)) => world.pause_control_plane(Lifecycle::Active),
            Some((_, Undo::Pool(name))) => world.pause_pool(&name, Lifecycle::Active),
            Some((_, Undo::MachinePool(at, infrastructure))) => {
                world.pause_machine_pool(at, infrastructure, PausedBy::NoOne);
            }
            Some((_, Undo::Hold(name))) => {
                world.upgrade_spec.pools.remove(&name);
            }
        }
    }
}

#[test]
fn it_ends_at_the_target_whatever_users_do() {
    for seed in seeds() {
        let mut random = Random::new(seed);
        let (start, wanted) = world(&mut random);
        let mut run = Run::new(start, seed, Faults::Some);
        let mut user = User { left: 4, undo: None };
        run.finish(|world, random, tick| user.act(world, random, tick));
        user.undo(&mut run.world);
        run.finish(|_, _, _| {});
        let world = &run.world;
        let all = world.pools.iter().map(|pool| &pool.object.version);
        let machine_pools = world.machine_pools.iter().map(|pool| &pool.pool.version);
        assert!(
            all.chain(machine_pools)
                .chain([&world.control_plane.version])
                .all(|at| *at == wanted),
            "seed {seed}"
        );
        let late = world.machines.iter().find(|machine| machine.version != wanted);
        assert_eq!(late, None, "seed {seed}");
        let leaked: Vec<_> = templates(world)
            .1
            .into_iter()
            .filter(|name| world.minted.contains(name))
            .collect();
        assert!(leaked.is_empty(), "seed {seed}: {leaked:?} leaked");
    }
}
