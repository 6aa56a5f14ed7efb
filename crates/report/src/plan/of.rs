//! From a forecast to the value.

use instar_api::{ClusterRead, PreflightCheck};
use instar_forecast::{Change, End, Forecast, Mint, Move, PoolSwap, SetValues, Unclear, ValueDifference};
use instar_planner::{
    CheckOutcome, ClusterKind as Planned, Observed, PoolId, PreflightOutcome, Snapshot, Waiting, WayBack,
};

use super::{
    FindingEffect, Plan, PlanCheck, PlanFinding, PlanHold, PlanOutcome, PlanStep, PlannedCluster, PlannedPool,
    PlannedRelease, PlannedValue, PlannedWayBack, PoolName, StepKind,
};
use crate::{ClusterKind, Invocation, PoolKindName, quoted};

/// What is not known of a topology Cluster.
const BY_CLUSTER_API: &str = "Cluster API rolls the machines of this Cluster: it chooses the names of the templates, upgrades the workers' pools in the order of the topology (so many at a time as the annotation topology.cluster.x-k8s.io/upgrade-concurrency says, else one), and gates of the workers and of later steps are asked when they come up. The annotations topology.cluster.x-k8s.io/defer-upgrade and hold-upgrade-sequence of pools are not looked at";

/// What a plan is made of.
#[derive(Clone, Debug)]
pub struct PlanSubject<'a> {
    /// What the upgrade would find.
    pub snapshot: &'a Snapshot,
    /// What the checks came to, those too that were not asked.
    pub checks: &'a [CheckOutcome],
    /// What it would do.
    pub forecast: &'a Forecast,
    /// What admission says to it.
    pub findings: Vec<PlanFinding>,
    /// What couldn't be read.
    pub unread: Vec<String>,
    /// Whether something of that decides where the upgrade can go.
    pub is_undecided: bool,
    /// How the commands in it are called; the namespace is the Cluster's own.
    pub invocation: &'a Invocation,
}

impl Plan {
    /// The plan of a classic Cluster.
    #[must_use]
    pub fn of(subject: PlanSubject<'_>) -> Self {
        let PlanSubject {
            snapshot,
            checks,
            forecast,
            findings,
            mut unread,
            is_undecided,
            invocation,
        } = subject;
        let invocation = invocation.in_namespace(&snapshot.cluster.namespace);
        let (blocked_by, mut notes) = match &forecast.end {
            End::Complete(said) => (
                Vec::new(),
                said.iter()
                    .filter(|said| is_note(said))
                    .map(ToString::to_string)
                    .collect(),
            ),
            End::Blocked(waiting) => (waiting.iter().map(hold).collect(), Vec::new()),
            End::UnderWay => (Vec::new(), vec![under_way(snapshot, &invocation)]),
            End::Unclear(unclear) => {
                unread.push(said(unclear));
                (Vec::new(), Vec::new())
            }
        };
        notes.dedup();
        if !forecast.moves.is_empty() && cluster(snapshot).kind == ClusterKind::Topology {
            notes.push(BY_CLUSTER_API.to_owned());
        }
        let target = snapshot.upgrade_spec.target.as_str().to_owned();
        let mut plan = Self {
            cluster: cluster(snapshot),
            outcome: PlanOutcome::Unknown,
            path: path(snapshot, forecast),
            findings,
            checks: checks.iter().map(check).collect(),
            steps: forecast.moves.iter().map(|done| step(snapshot, done)).collect(),
            before_completion: forecast.before_completion.iter().map(hold).collect(),
            pools: forecast
                .pools
                .iter()
                .map(|total| PlannedPool {
                    pool: pool(snapshot, &total.pool),
                    from: total.from.to_string(),
                    to: total.to.to_string(),
                    replicas: total.replicas,
                    rollouts: total.rollouts,
                    machines: total.machines,
                })
                .collect(),
            blocked_by,
            notes,
            unread,
            next: String::new(),
            target,
        };
        if !is_undecided {
            plan.outcome = outcome(&plan, forecast);
        }
        plan.next = next(&plan, &invocation);
        plan
    }
}

/// A check that reads the workload cluster or a vCenter, of which nothing was read: only the controller does.
#[must_use]
pub fn is_unasked(outcome: &CheckOutcome) -> bool {
    let is_unknown = match &outcome.outcome {
        PreflightOutcome::Unknown(_) | PreflightOutcome::Warn(_) => true,
        PreflightOutcome::Pass
        | PreflightOutcome::Fail(_)
        | PreflightOutcome::Skipped { .. }
        | PreflightOutcome::NotApplicable(_) => false,
    };
    let reads = match outcome.check.reads() {
        ClusterRead::Workload | ClusterRead::Infrastructure => true,
        // Those that report snapshots are looked at by the controller too.
        ClusterRead::Management => outcome.check == PreflightCheck::EtcdSnapshot,
    };
    is_unknown && reads
}

fn outcome(plan: &Plan, forecast: &Forecast) -> PlanOutcome {
    let is_refused = plan
        .findings
        .iter()
        .any(|finding| finding.effect == FindingEffect::Refused);
    let holds = || {
        let moves = forecast.moves.iter().flat_map(|done| &done.holds);
        moves.chain(&forecast.before_completion)
    };
    let is_check = |waiting: &&Waiting| {
        matches!(
            waiting,
            Waiting::PreflightFailed { .. } | Waiting::PreflightUnknown { .. }
        )
    };
    match &forecast.end {
        _ if is_refused => PlanOutcome::Blocked,
        End::Blocked(_) => PlanOutcome::Blocked,
        End::Unclear(_) => PlanOutcome::Unknown,
        End::UnderWay => PlanOutcome::UnderWay,
        End::Complete(_) if forecast.moves.is_empty() => PlanOutcome::NothingToDo,
        End::Complete(_) if holds().any(|waiting| is_check(&waiting)) => PlanOutcome::Held,
        End::Complete(_) if holds().next().is_some() => PlanOutcome::Waits,
        End::Complete(_) => PlanOutcome::CanGo,
    }
}

fn next(plan: &Plan, invocation: &Invocation) -> String {
    let name = &plan.cluster.name;
    match plan.outcome {
        PlanOutcome::CanGo | PlanOutcome::Waits => {
            invocation.command(&format!("upgrade {name}"), &format!("--to {}", quoted(&plan.target)))
        }
        PlanOutcome::UnderWay => invocation.command(&format!("status {name}"), "--watch"),
        PlanOutcome::NothingToDo | PlanOutcome::Held | PlanOutcome::Blocked | PlanOutcome::Unknown => String::new(),
    }
}

fn under_way(snapshot: &Snapshot, invocation: &Invocation) -> String {
    format!(
        "under way: the Cluster goes there already, and what is left of that is not forecast: {}",
        invocation.command(&format!("status {}", snapshot.cluster.name), "")
    )
}

fn said(unclear: &Unclear) -> String {
    match unclear {
        Unclear::Unread(templates) => {
            let names: Vec<String> = templates
                .iter()
                .map(|template| format!("{} {}", template.kind, template.name))
                .collect();
            format!(
                "what comes next depends on templates that were not read: {}; see that you may get them, and that a snapshot has them",
                names.join(", ")
            )
        }
        Unclear::Broken(violations) => {
            let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
            format!(
                "the next write would break an invariant, and the controller wouldn't make it: {}",
                violations.join("; ")
            )
        }
        Unclear::TooLong => "the upgrade takes more steps than are looked at".to_owned(),
    }
}

/// Templates that are kept, and times that pass, are no news before an upgrade.
const fn is_note(said: &Waiting) -> bool {
    !matches!(said, Waiting::Retained { .. } | Waiting::NodesSettling { .. })
}

fn cluster(snapshot: &Snapshot) -> PlannedCluster {
    let control_plane = snapshot.control_plane.as_ref().and_then(Observed::read);
    let topology = snapshot.cluster.topology().map(|topology| &topology.version);
    let version = topology.or_else(|| control_plane.map(|found| &found.version));
    PlannedCluster {
        namespace: snapshot.cluster.namespace.clone(),
        name: snapshot.cluster.name.clone(),
        kind: match snapshot.cluster.kind {
            Planned::Classic(_) => ClusterKind::Classic,
            Planned::Topology(_) => ClusterKind::Topology,
        },
        version: version.map(ToString::to_string).unwrap_or_default(),
    }
}

fn path(snapshot: &Snapshot, forecast: &Forecast) -> Vec<PlannedRelease> {
    let swaps = || {
        forecast.moves.iter().filter_map(|done| match &done.change {
            Change::Swap(swap) => Some(swap),
            Change::Mint(_) | Change::SetValues(_) => None,
        })
    };
    let last = forecast.path.len().saturating_sub(1);
    let releases = forecast.path.iter().enumerate().map(|(at, release)| {
        let is_here = |swap: &&PoolSwap| swap.release.as_ref() == Some(release);
        let workers = swaps().any(|swap| is_here(&swap) && swap.pool != PoolId::ControlPlane);
        let why = match (at == last, workers) {
            (true, _) => "the target",
            (false, true) => {
                "each minor on the way, and the workers stop here: the next one would leave them more than 3 minors behind"
            }
            (false, false) => "each minor on the way: kubeadm skips none",
        };
        let version = snapshot.catalog.named_anywhere(release).map(|row| row.version().to_string());
        PlannedRelease {
            release: release.clone(),
            version: version.unwrap_or_default(),
            why: why.to_owned(),
        }
    });
    releases.collect()
}

fn check(outcome: &CheckOutcome) -> PlanCheck {
    let unasked = is_unasked(outcome);
    let message = match &outcome.outcome {
        _ if unasked => "asked by the controller, once the upgrade is there".to_owned(),
        PreflightOutcome::Pass => String::new(),
        PreflightOutcome::NotApplicable(reason) => reason.clone(),
        PreflightOutcome::Warn(problem) | PreflightOutcome::Fail(problem) => {
            format!("{}; {}", problem.message, outcome.check.remedy())
        }
        PreflightOutcome::Unknown(problem) => problem.message.clone(),
        PreflightOutcome::Skipped { problem, skip } => {
            format!("{} skipped it (\"{}\"): {}", skip.user, skip.reason, problem.message)
        }
    };
    PlanCheck {
        check: outcome.check.as_str().to_owned(),
        result: (!unasked).then(|| outcome.outcome.result()),
        message,
    }
}

fn step(snapshot: &Snapshot, done: &Move) -> PlanStep {
    let holds = done.holds.iter().map(hold).collect();
    match &done.change {
        Change::Mint(mint) => of_mint(snapshot, mint, holds),
        Change::Swap(swap) => of_swap(snapshot, swap, holds),
        Change::SetValues(values) => of_values(snapshot, values, holds),
    }
}

fn of_mint(snapshot: &Snapshot, mint: &Mint, holds: Vec<PlanHold>) -> PlanStep {
    PlanStep {
        kind: StepKind::CreateTemplate,
        pool: pool(snapshot, &mint.pool),
        holds,
        from: String::new(),
        to: String::new(),
        release: mint.release.clone(),
        template: mint.template.name.clone(),
        bootstrap: String::new(),
        replaces: mint.from.clone().unwrap_or_default(),
        changes: mint.differences.iter().map(value).collect(),
        machines: 0,
        way_back: None,
    }
}

fn of_swap(snapshot: &Snapshot, swap: &PoolSwap, holds: Vec<PlanHold>) -> PlanStep {
    PlanStep {
        kind: StepKind::Upgrade,
        pool: pool(snapshot, &swap.pool),
        holds,
        from: swap.from.to_string(),
        to: swap.to.to_string(),
        release: swap.release.clone().unwrap_or_default(),
        template: swap.template.clone().unwrap_or_default(),
        bootstrap: swap.bootstrap.clone().unwrap_or_default(),
        replaces: String::new(),
        changes: swap.differences.iter().map(value).collect(),
        machines: swap.machines,
        way_back: swap.way_back.as_ref().map(way_back),
    }
}

fn of_values(snapshot: &Snapshot, values: &SetValues, holds: Vec<PlanHold>) -> PlanStep {
    PlanStep {
        kind: StepKind::SetValues,
        pool: pool(snapshot, &values.pool),
        holds,
        from: String::new(),
        to: String::new(),
        release: values.release.clone(),
        template: values.name.clone(),
        bootstrap: String::new(),
        replaces: String::new(),
        changes: values.differences.iter().map(value).collect(),
        machines: 0,
        way_back: None,
    }
}

fn value(difference: &ValueDifference) -> PlannedValue {
    let ValueDifference { pointer, before, after } = difference;
    PlannedValue {
        pointer: pointer.clone(),
        before: before.clone(),
        after: after.clone(),
    }
}

fn way_back(back: &WayBack) -> PlannedWayBack {
    PlannedWayBack {
        possible: back.possible(),
        why: back.refused.iter().map(ToString::to_string).collect(),
    }
}

fn hold(waiting: &Waiting) -> PlanHold {
    let reason = waiting.reason();
    PlanHold {
        reason: reason.as_str().to_owned(),
        level: reason.level(),
        message: waiting.to_string(),
        next: waiting.next(),
    }
}

fn pool(snapshot: &Snapshot, pool: &PoolId) -> PoolName {
    let (kind, name) = match pool {
        PoolId::ControlPlane => {
            let control_plane = snapshot.control_plane.as_ref().and_then(Observed::read);
            control_plane.map_or(("", ""), |found| (&*found.object.kind, &*found.object.name))
        }
        PoolId::Workers(name) => ("MachineDeployment", &**name),
        PoolId::MachinePool(name) => ("MachinePool", &**name),
    };
    PoolName {
        kind: PoolKindName(kind.to_owned()),
        name: name.to_owned(),
    }
}
