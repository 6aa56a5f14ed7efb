//! What is counted.

use std::sync::Arc;

use instar_serve::Metrics;
use instar_watch::WatchMetrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::{
    caches::{CONTROL_PLANES, INFRASTRUCTURE_POOLS, TEMPLATES},
    certificates::CertificateMetrics,
    lease::NAME as LEASE_NAME,
    rbac::Watched,
    release_metrics::ReleaseMetrics,
    report::{GateEdge, GateKind},
    upgrade_metrics::{Taken, UpgradeMetrics},
};

/// How a pass over a Cluster ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pass {
    /// Nothing had to be written.
    Idle,
    /// Something was written.
    Wrote,
    /// Another client wrote in between.
    Conflict,
    /// It failed.
    Failed,
}

impl Pass {
    const ALL: [Self; 4] = [Self::Idle, Self::Wrote, Self::Conflict, Self::Failed];
}

impl EncodeLabelValue for Pass {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Idle => "idle",
            Self::Wrote => "wrote",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
        .encode(encoder)
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Written {
    /// A template was made.
    Mint,
    /// A pool was pointed at a release.
    Swap,
    /// A MachinePool was paused or resumed, or its infrastructure got values.
    MachinePool,
    /// The path of an upgrade was written into a classic Cluster.
    Path,
    /// That all machines of a pool are as its last swap says was written into it.
    Convergence,
    /// A topology Cluster's version was edited.
    Edit,
    /// A topology Cluster's pins were completed.
    Pins,
    /// A pool of a topology Cluster was held, or let go.
    PoolHold,
    /// How many pools of a topology Cluster are upgraded at a time was written into it.
    Concurrency,
    /// That the turn of add-ons and gates has come was written into a record.
    Gates,
    /// What an add-on asks for was set.
    Addon,
    /// What the Runtime Hooks answer was written into a topology Cluster, or taken off.
    HookAnswer,
    /// Pools of a topology Cluster were taken off the list of those that still have another release.
    Follow,
    /// A Machine that never joined was deleted.
    Machine,
    /// A template was deleted.
    Delete,
    /// A record was made.
    Record,
    /// A record got another target.
    Retarget,
    /// When a record was first seen was written into it.
    StartedMarker,
    /// A record was marked as over, or no more.
    FinishedMarker,
    /// A record beyond the history limit was deleted.
    DeletedRecord,
    /// A status was written.
    Status,
    /// Cluster API's check of version edits was switched on again for a topology Cluster.
    VersionCheck,
}

impl Written {
    const ALL: [Self; 22] = [
        Self::Mint,
        Self::Swap,
        Self::MachinePool,
        Self::Path,
        Self::Convergence,
        Self::Edit,
        Self::Pins,
        Self::PoolHold,
        Self::Concurrency,
        Self::Gates,
        Self::Addon,
        Self::HookAnswer,
        Self::Follow,
        Self::Machine,
        Self::Delete,
        Self::Record,
        Self::Retarget,
        Self::StartedMarker,
        Self::FinishedMarker,
        Self::DeletedRecord,
        Self::Status,
        Self::VersionCheck,
    ];
}

impl EncodeLabelValue for Written {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Mint => "mint",
            Self::Swap => "swap",
            Self::MachinePool => "machine_pool",
            Self::Path => "path",
            Self::Convergence => "convergence",
            Self::Edit => "edit",
            Self::Pins => "pins",
            Self::PoolHold => "pool_hold",
            Self::Concurrency => "concurrency",
            Self::Gates => "gates",
            Self::Addon => "addon",
            Self::HookAnswer => "hook_answer",
            Self::Follow => "follow",
            Self::Machine => "machine",
            Self::Delete => "delete",
            Self::Record => "record",
            Self::Retarget => "retarget",
            Self::StartedMarker => "started_marker",
            Self::FinishedMarker => "finished_marker",
            Self::DeletedRecord => "deleted_record",
            Self::Status => "status",
            Self::VersionCheck => "version_check",
        }
        .encode(encoder)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Passes {
    outcome: Pass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Writes {
    what: Written,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GateChanges {
    gate: GateKind,
    to: GateEdge,
}

impl EncodeLabelValue for GateKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Window => "window",
            Self::Preflight => "preflight",
            Self::Approval => "approval",
            Self::Addon => "addon",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for GateEdge {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
        .encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Leader {
    /// The Lease's name: each of several controllers has its own leader.
    lease: String,
}

/// The counters.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    passes: Family<Passes, Counter>,
    writes: Family<Writes, Counter>,
    gate_changes: Family<GateChanges, Counter>,
    leader: Family<Leader, Gauge>,
    /// Events that were not posted.
    pub(crate) events_dropped: Counter,
}

/// Registers what the controller tells, as [`run`](crate::run) does.
pub fn register(metrics: &Metrics) {
    Counters::register(metrics).stands_by(LEASE_NAME);
    drop(register_watches(metrics));
    CertificateMetrics::register(metrics).begin();
    UpgradeMetrics::register(metrics, Arc::default(), Gauge::default(), Taken::All);
    ReleaseMetrics::register_example(metrics);
}

/// Registers how the watches fare.
pub(crate) fn register_watches(metrics: &Metrics) -> WatchMetrics {
    let kinds = Watched::ALL.map(|kind| kind.rule().resource);
    let referred = [TEMPLATES, CONTROL_PLANES, INFRASTRUCTURE_POOLS];
    WatchMetrics::register(metrics, kinds.into_iter().chain(referred))
}

impl Counters {
    /// Registers them. Every series is there from the start, as a zero: what first happens is a rise.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let registered = Self {
            passes: metrics.register("reconcile", "Passes over Clusters by outcome", Family::default()),
            writes: metrics.register("writes", "Writes by what was written", Family::default()),
            gate_changes: metrics.register(
                "gate_changes",
                "Gates of upgrades that opened or closed",
                Family::default(),
            ),
            leader: metrics.register("leader", "Whether this process holds the lease", Family::default()),
            events_dropped: metrics.register(
                "events_dropped",
                "Events about upgrades that were not posted, since too many waited for the API server",
                Counter::default(),
            ),
        };
        for outcome in Pass::ALL {
            drop(registered.passes.get_or_create(&Passes { outcome }));
        }
        for what in Written::ALL {
            drop(registered.writes.get_or_create(&Writes { what }));
        }
        for gate in GateKind::ALL {
            for to in GateEdge::ALL {
                drop(registered.gate_changes.get_or_create(&GateChanges { gate, to }));
            }
        }
        registered
    }

    /// This process would take the Lease of this name.
    pub(crate) fn stands_by(&self, lease: &str) {
        self.set_leader(lease, 0);
    }

    /// This process has it.
    pub(crate) fn leads(&self, lease: &str) {
        self.set_leader(lease, 1);
    }

    fn set_leader(&self, lease: &str, value: i64) {
        self.leader(lease).set(value);
    }

    /// Whether this process has the Lease of this name.
    pub(crate) fn leader(&self, lease: &str) -> Gauge {
        let lease = lease.to_owned();
        self.leader.get_or_create(&Leader { lease }).clone()
    }

    pub(crate) fn pass(&self, outcome: Pass) {
        self.passes.get_or_create(&Passes { outcome }).inc();
    }

    pub(crate) fn gate_changed(&self, gate: GateKind, to: GateEdge) {
        self.gate_changes.get_or_create(&GateChanges { gate, to }).inc();
    }

    pub(crate) fn wrote(&self, what: Written) {
        self.writes.get_or_create(&Writes { what }).inc();
    }
}
