//! What is asked of a cluster, and what may hold it.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{ApprovalPoint, ApprovedPart, Values};
use instar_domain::KubeVersion;
use jiff::{SignedDuration, Timestamp};

use crate::{
    addon::GateHistory, observed::Unreadable, operation::Operation, pool_id::PoolId, resource_version::ResourceVersion,
    swap_history::UpgradeId,
};

/// What a `ClusterUpgrade` asks.
#[derive(Debug, Clone, PartialEq)]
pub struct UpgradeSpec {
    /// The `ClusterUpgrade`'s name.
    pub upgrade: String,
    /// When Instar first saw it; absent where it has not written that down yet.
    pub started: Option<Timestamp>,
    /// What it is to do.
    pub operation: Operation,
    /// Where to; of a rollback it says nothing.
    pub target: Target,
    /// The version or prefix that the control plane must be at when the upgrade begins.
    pub source: Option<String>,
    /// How many pools at a time.
    pub strategy: Strategy,
    /// The pools that go first, in this order; the others follow by name.
    pub order: Vec<String>,
    /// The pools that don't simply follow the control plane, by MachineDeployment.
    pub pools: BTreeMap<String, PoolOverride>,
    /// What a pool's machine template gets beside the release's image: CPUs, memory, disk.
    pub patches: BTreeMap<PoolId, Values>,
    /// What a pool's bootstrap template gets, by MachineDeployment.
    pub bootstrap_patches: BTreeMap<String, Values>,
    /// `spec.paused`: nothing is written for the upgrade while it is true.
    pub paused: bool,
    /// What of it can't be read. Nothing is done before it can.
    pub unreadable: Vec<Unreadable>,
    /// When the turn of its add-ons and gates came.
    pub gate_history: GateHistory,
    /// What a write of that compares with.
    pub resource_version: ResourceVersion,
    /// Whether Instar writes the version, or, on a topology cluster, has only to follow an edit.
    pub origin: Origin,
    /// The add-ons that stay as they are on the way back, by name.
    pub keep_addons: Vec<String>,
    /// How many times it was asked for again after it had been taken back.
    pub retry: u32,
}

/// Who asked for an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The `ClusterUpgrade` itself.
    Upgrade,
    /// An edit of the topology Cluster, of which the `ClusterUpgrade` is the record: it never edits.
    Cluster,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// As it was written: a version, a prefix, or a release's name. A version that already runs is
    /// left as it is, whatever the templates hold.
    Text(String),
    /// The release of that name. What runs its version from other values goes to its values.
    Release(String),
}

/// How many pools at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other.
    Ordered,
    /// Several.
    Parallel {
        /// How many; 0 counts as 1.
        limit: usize,
    },
    /// All at once.
    All,
}

/// What is asked of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolOverride {
    /// It stays as it is.
    Hold,
    /// It goes to this release and no further.
    Pin(String),
}

/// What must hold before the next swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// The maintenance window.
    Window,
    /// The first pools, before the others: it is found from the pools ([`CanaryRule`]), and no state of it is given.
    Canary,
}

/// Where a gate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateState {
    /// It lets through.
    Open {
        /// When it closes by itself; absent where it doesn't, or where that isn't known.
        until: Option<Timestamp>,
    },
    /// It doesn't.
    Closed {
        /// Why, as the gate reports it.
        reason: String,
        /// When it opens by itself; absent where it doesn't, or where that isn't known.
        until: Option<Timestamp>,
    },
}

/// Pools that go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanaryRule {
    /// How many MachineDeployments.
    pub pools: usize,
    /// How long they run before the others follow.
    pub bake: SignedDuration,
}

/// What policies ask to be approved, and what was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approvals {
    pub required: BTreeSet<ApprovalPoint>,
    /// Those of the upgrade's present target.
    pub given: BTreeSet<(ApprovedPart, KubeVersion)>,
}

impl Approvals {
    /// Whether this wasn't approved.
    pub(crate) fn lack(&self, part: ApprovedPart, version: &KubeVersion) -> bool {
        !self.given.contains(&(part, version.clone()))
    }
}

/// How long old templates are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long the one before the present one is kept, counted from the end of the upgrade. Nothing
    /// goes before that.
    pub previous: SignedDuration,
    /// How long any other is kept, counted from when it was minted: longer than a snapshot is ever
    /// old, since an old one doesn't show who has come to refer to it.
    pub other: SignedDuration,
    /// When the upgrade ended, where its status says so. It only ever keeps a template longer:
    /// where it is lost, the last template that was minted and is in use stands for it.
    pub ended: Option<Timestamp>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            previous: SignedDuration::from_hours(24),
            other: SignedDuration::from_hours(1),
            ended: None,
        }
    }
}

impl UpgradeSpec {
    /// Everything goes there, one pool after the other.
    #[must_use]
    pub fn new(upgrade: impl Into<String>, target: Target) -> Self {
        Self {
            upgrade: upgrade.into(),
            started: None,
            operation: Operation::Upgrade,
            target,
            source: None,
            strategy: Strategy::Ordered,
            order: Vec::new(),
            pools: BTreeMap::new(),
            patches: BTreeMap::new(),
            bootstrap_patches: BTreeMap::new(),
            paused: false,
            unreadable: Vec::new(),
            gate_history: GateHistory::default(),
            resource_version: ResourceVersion::default(),
            origin: Origin::Upgrade,
            keep_addons: Vec::new(),
            retry: 0,
        }
    }
}

impl UpgradeSpec {
    /// What tells it from all others of its Cluster.
    #[must_use]
    pub fn id(&self) -> UpgradeId {
        UpgradeId {
            name: self.upgrade.clone(),
            started: self.started,
        }
    }
}

impl Target {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) | Self::Release(text) => text,
        }
    }
}

impl Strategy {
    /// How many pools may be on their way.
    #[must_use]
    pub fn limit(self) -> usize {
        match self {
            Self::Ordered => 1,
            Self::Parallel { limit } => limit.max(1),
            Self::All => usize::MAX,
        }
    }
}

impl Gate {
    /// What is asked before the control plane moves.
    pub const CONTROL_PLANE: [Self; 1] = [Self::Window];
    /// What is asked before a pool moves.
    pub const WORKERS: [Self; 1] = [Self::Window];
}
