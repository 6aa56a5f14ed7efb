//! The planner, asked again and again.

use std::collections::BTreeMap;

use instar_api::RELEASE_LABEL;
use instar_domain::KubeVersion;
use instar_planner::{
    Action, AskedPoint, ControlPlane, Decision, Flavor, MachinePoolChange, MintTemplate, Observed, PatchMachinePool,
    PoolId, Snapshot, Stage, Swap, TemplateContent, TemplateRef, Waiting, check, next_write, plan, way_back,
};
use jiff::SignedDuration;
use serde_json::Value;

use crate::{
    Change, End, Forecast, Mint, Move, PoolSwap, PoolTotal, SetValues, Unclear,
    apply::apply,
    converge::{OnDelete, Replaced, converge},
    differences::{ValueDifference, value_differences},
    open::open,
};

/// So many looks at each pool and each release of the path, and as many more.
const LOOKS: usize = 48;

/// So often is waited for the same in a row: what was taken as open wasn't what holds it.
const REPEATS: u32 = 3;

/// Between two writes, so that times tell which came first.
const BETWEEN: SignedDuration = SignedDuration::from_secs(1);

/// How much a forecast tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// All of it.
    All,
    /// All but the way back of each swap, which takes as long again where there are many pools.
    WithoutWayBack,
}

/// What the upgrade of this snapshot would do. `look` puts what the add-ons and gates of a point come to now into
/// [`instar_planner::Addons::found`].
#[must_use]
pub fn forecast(snapshot: Snapshot, detail: Detail, look: impl FnMut(AskedPoint, &mut Snapshot)) -> Forecast {
    let pools = totals(&snapshot);
    let mut run = Run {
        looks: LOOKS * (pools.len() + 1),
        snapshot,
        detail,
        look,
        path: Vec::new(),
        moves: Vec::new(),
        holds: Vec::new(),
        waited: (Vec::new(), 0),
        untold: 0,
    };
    let end = run.go_to_end();
    run.tell_way_back();
    Forecast {
        pools: counted(pools, &run),
        path: run.path,
        moves: run.moves,
        before_completion: run.holds,
        end,
    }
}

struct Run<L> {
    snapshot: Snapshot,
    detail: Detail,
    look: L,
    looks: usize,
    path: Vec<String>,
    moves: Vec<Move>,
    /// What held it since the last move.
    holds: Vec<Waiting>,
    /// What was waited for last, and how often in a row, with no write and no new machine in between.
    waited: (Vec<Waiting>, u32),
    /// The first of the moves of which it isn't said what the way back from there is.
    untold: usize,
}

impl<L: FnMut(AskedPoint, &mut Snapshot)> Run<L> {
    fn go_to_end(&mut self) -> End {
        for _ in 0..self.looks {
            let decision = self.decide();
            if !decision.unread.is_empty() {
                return End::Unclear(Unclear::Unread(decision.unread));
            }
            let broken = check(&self.snapshot, &decision);
            if !broken.is_empty() {
                return End::Unclear(Unclear::Broken(broken));
            }
            if self.path.is_empty() {
                self.path.clone_from(&decision.progress.path);
            }
            match decision.progress.stage {
                Stage::Complete => return End::Complete(decision.waiting),
                Stage::Held | Stage::ControlPlane | Stage::Workers | Stage::Verifying => {}
            }
            let goes_on = match &decision.action {
                Action::Nothing => self.wait(&decision),
                action => {
                    self.write(action);
                    true
                }
            };
            if !goes_on {
                return End::Blocked(decision.waiting);
            }
        }
        End::Unclear(Unclear::TooLong)
    }

    /// What is decided, once all that is asked for is known.
    fn decide(&mut self) -> Decision {
        loop {
            // The first one asks for each template; after that, a progress that nobody reads is left out.
            let decision = if self.moves.is_empty() {
                plan(&self.snapshot)
            } else {
                next_write(&self.snapshot)
            };
            let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
            if unseen.is_empty() {
                return decision;
            }
            for point in unseen {
                (self.look)(point.clone(), &mut self.snapshot);
                // What nothing was found for doesn't hold, and isn't asked for again.
                self.snapshot.addons.found.entry(point).or_default();
            }
        }
    }

    fn write(&mut self, action: &Action) {
        let change = match action {
            Action::MintTemplate(mint) => Some(Change::Mint(self.minted(mint))),
            Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => self.swapped(swap).map(Change::Swap),
            Action::PatchMachinePool(patch) => self.set_values(patch).map(Change::SetValues),
            Action::DeleteTemplate(_)
            | Action::PinPath(_)
            | Action::RecordConvergence(_)
            | Action::EditVersion(_)
            | Action::CompletePins(_)
            | Action::HoldPool(_)
            | Action::SetConcurrency(_)
            | Action::BeginGates(_)
            | Action::AnswerHook(_)
            | Action::FollowRelease(_)
            | Action::DeleteMachine(_)
            | Action::RestoreVersionCheck(_)
            | Action::Nothing => None,
        };
        if let Some(change) = change {
            let holds = std::mem::take(&mut self.holds);
            self.moves.push(Move { holds, change });
        }
        apply(&mut self.snapshot, action);
        self.waited = (Vec::new(), 0);
        self.pass_time();
    }

    /// Whether anything has changed by waiting: machines that came up, a gate, the time.
    fn wait(&mut self, decision: &Decision) -> bool {
        let arrived = converge(&mut self.snapshot, OnDelete::Waits);
        if self.arrive(&arrived) {
            return true;
        }
        if self.waited.0 == decision.waiting {
            self.waited.1 += 1;
        } else {
            self.waited = (decision.waiting.clone(), 0);
        }
        if self.waited.1 >= REPEATS {
            return false;
        }
        let opened = open(&mut self.snapshot, &decision.waiting);
        let goes_on = !opened.holds.is_empty() || opened.has_waited;
        if opened.deletes_machines {
            let arrived = converge(&mut self.snapshot, OnDelete::Deleted);
            self.arrive(&arrived);
        }
        add(&mut self.holds, opened.holds);
        self.pass_time();
        goes_on
    }

    /// Machines are there: they count for the last swap of their pool.
    fn arrive(&mut self, arrived: &Replaced) -> bool {
        for (pool, count) in arrived {
            let swaps = self.moves.iter_mut().rev().filter_map(|done| match &mut done.change {
                Change::Swap(swap) => Some(swap),
                Change::Mint(_) | Change::SetValues(_) => None,
            });
            let mut of_pool = swaps.filter(|swap| swap.pool == *pool);
            if let Some(swap) = of_pool.next() {
                swap.machines = swap.machines.saturating_add(*count);
            }
        }
        let is_news = !arrived.is_empty();
        if is_news {
            self.waited = (Vec::new(), 0);
            self.pass_time();
            self.tell_way_back();
        }
        is_news
    }

    /// What the way back is from here, for all that was swapped since that was said last.
    fn tell_way_back(&mut self) {
        match self.detail {
            Detail::All => {}
            Detail::WithoutWayBack => return,
        }
        let Some(moves) = self.moves.get_mut(self.untold..).filter(|moves| !moves.is_empty()) else {
            return;
        };
        let back = way_back(&self.snapshot, &self.snapshot.upgrade_spec.id());
        for done in moves {
            match &mut done.change {
                Change::Swap(swap) => swap.way_back.clone_from(&back),
                Change::Mint(_) | Change::SetValues(_) => {}
            }
        }
        self.untold = self.moves.len();
    }

    fn pass_time(&mut self) {
        if let Ok(later) = self.snapshot.now.checked_add(BETWEEN) {
            self.snapshot.now = later;
        }
    }

    fn minted(&self, mint: &MintTemplate) -> Mint {
        let references = self.references(&mint.pool);
        let from = references
            .into_iter()
            .find(|reference| reference.group == mint.template.group && reference.kind == mint.template.kind);
        let spec = mint.object.get("spec").unwrap_or(&Value::Null);
        let before = from.as_ref().and_then(|from| self.content(from));
        let nothing = Value::Object(serde_json::Map::new());
        Mint {
            pool: mint.pool.clone(),
            template: mint.template.clone(),
            release: label(&mint.object, RELEASE_LABEL).unwrap_or_default().to_owned(),
            from: from.map(|from| from.name),
            differences: value_differences(before.map_or(&nothing, |content| &content.spec), spec),
        }
    }

    /// The templates that a pool refers to.
    fn references(&self, pool: &PoolId) -> Vec<TemplateRef> {
        match pool {
            PoolId::ControlPlane => {
                let control_plane = control_plane(&self.snapshot);
                control_plane
                    .and_then(|found| found.infrastructure.clone())
                    .into_iter()
                    .collect()
            }
            PoolId::Workers(name) => {
                let mut pools = self.snapshot.pools.iter().filter_map(Observed::read);
                let pool = pools.find(|pool| pool.object.name == *name);
                pool.into_iter().flat_map(|pool| pool.templates().cloned()).collect()
            }
            PoolId::MachinePool(_) => Vec::new(),
        }
    }

    fn content(&self, reference: &TemplateRef) -> Option<&TemplateContent> {
        let mut templates = self.snapshot.templates.iter().filter_map(Observed::read);
        templates.find(|template| template.is(reference))?.content.as_deref()
    }

    fn swapped(&self, swap: &Swap) -> Option<PoolSwap> {
        let differences = match &swap.pool {
            PoolId::ControlPlane => configuration(&self.snapshot, swap),
            PoolId::Workers(_) | PoolId::MachinePool(_) => Vec::new(),
        };
        Some(PoolSwap {
            pool: swap.pool.clone(),
            from: version(&self.snapshot, &swap.pool)?.clone(),
            to: swap.version.clone(),
            release: swap.release.clone(),
            template: swap.template.as_ref().map(|template| template.name.clone()),
            bootstrap: swap.bootstrap.as_ref().map(|template| template.name.clone()),
            differences,
            machines: 0,
            way_back: None,
        })
    }

    fn set_values(&self, patch: &PatchMachinePool) -> Option<SetValues> {
        let release = match &patch.change {
            MachinePoolChange::SetValues { release, .. } => release.clone(),
            MachinePoolChange::Pause
            | MachinePoolChange::RestoreValues { .. }
            | MachinePoolChange::GiveUp
            | MachinePoolChange::Resume => return None,
        };
        let mut all = self.snapshot.infrastructure_pools.iter().filter_map(Observed::read);
        let is = |object: &instar_planner::Object| object.kind == patch.kind && object.name == patch.name;
        let before = all.find(|pool| is(&pool.object)).map(|pool| &pool.spec)?;
        let mut after = before.clone();
        if let Some(change) = patch.patch.get("spec") {
            json_patch::merge(&mut after, change);
        }
        Some(SetValues {
            pool: patch.pool.clone(),
            kind: patch.kind.clone(),
            name: patch.name.clone(),
            release,
            differences: value_differences(before, &after),
        })
    }
}

fn label<'o>(object: &'o Value, name: &str) -> Option<&'o str> {
    object.get("metadata")?.get("labels")?.get(name)?.as_str()
}

fn control_plane(snapshot: &Snapshot) -> Option<&ControlPlane> {
    snapshot.control_plane.as_ref()?.read()
}

/// What a swap changes of kubeadm's configuration.
fn configuration(snapshot: &Snapshot, swap: &Swap) -> Vec<ValueDifference> {
    let of = |snapshot: &Snapshot| match &control_plane(snapshot)?.flavor {
        Flavor::Kubeadm {
            cluster_configuration, ..
        } => serde_json::to_value(cluster_configuration).ok(),
        Flavor::Other => None,
    };
    let change = swap.patch.pointer("/spec/kubeadmConfigSpec/clusterConfiguration");
    let (Some(before), Some(change)) = (of(snapshot), change) else {
        return Vec::new();
    };
    let mut after = before.clone();
    json_patch::merge(&mut after, change);
    value_differences(&before, &after)
}

/// The version that a pool's spec says.
fn version<'s>(snapshot: &'s Snapshot, pool: &PoolId) -> Option<&'s KubeVersion> {
    match pool {
        PoolId::ControlPlane => control_plane(snapshot).map(|found| &found.version),
        PoolId::Workers(name) => {
            let mut pools = snapshot.pools.iter().filter_map(Observed::read);
            let pool = pools.find(|pool| pool.object.name == *name);
            pool.map(|pool| &pool.version)
        }
        PoolId::MachinePool(name) => {
            let mut pools = snapshot.machine_pools.iter().filter_map(Observed::read);
            let pool = pools.find(|pool| pool.object.name == *name);
            pool.map(|pool| &pool.version)
        }
    }
}

/// Adds what isn't told yet.
pub(crate) fn add(holds: &mut Vec<Waiting>, more: Vec<Waiting>) {
    for hold in more {
        if !holds.contains(&hold) {
            holds.push(hold);
        }
    }
}

/// All pools as they are.
pub(crate) fn totals(snapshot: &Snapshot) -> BTreeMap<PoolId, PoolTotal> {
    let there = u32::try_from(
        snapshot
            .machines
            .iter()
            .filter_map(Observed::read)
            .filter(|machine| machine.pool == Some(PoolId::ControlPlane))
            .count(),
    )
    .unwrap_or(u32::MAX);
    let control_plane = control_plane(snapshot).map(|found| {
        let replicas = found.replicas.map_or(there, |counts| counts.desired);
        (PoolId::ControlPlane, &found.version, replicas)
    });
    let pools = snapshot.pools.iter().filter_map(Observed::read).map(|pool| {
        let id = PoolId::Workers(pool.object.name.clone());
        (id, &pool.version, pool.replicas)
    });
    let machine_pools = snapshot.machine_pools.iter().filter_map(Observed::read).map(|pool| {
        let there = u32::try_from(pool.observed.len()).unwrap_or(u32::MAX);
        let replicas = pool.replicas.map_or(there, |counts| counts.desired);
        (PoolId::MachinePool(pool.object.name.clone()), &pool.version, replicas)
    });
    let all = control_plane.into_iter().chain(pools).chain(machine_pools);
    all.map(|(pool, version, replicas)| {
        let total = PoolTotal {
            pool: pool.clone(),
            from: version.clone(),
            to: version.clone(),
            replicas,
            rollouts: 0,
            machines: 0,
        };
        (pool, total)
    })
    .collect()
}

fn counted<L>(mut pools: BTreeMap<PoolId, PoolTotal>, run: &Run<L>) -> Vec<PoolTotal> {
    for total in pools.values_mut() {
        if let Some(version) = version(&run.snapshot, &total.pool) {
            total.to = version.clone();
        }
    }
    for done in &run.moves {
        let swap = match &done.change {
            Change::Swap(swap) => swap,
            Change::Mint(_) | Change::SetValues(_) => continue,
        };
        if let Some(total) = pools.get_mut(&swap.pool) {
            total.machines = total.machines.saturating_add(swap.machines);
            total.rollouts = total.rollouts.saturating_add(u32::from(swap.machines > 0));
        }
    }
    pools.into_values().collect()
}
