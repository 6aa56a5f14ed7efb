//! The value.

use instar_domain::KubeVersion;
use instar_planner::{PoolId, TemplateRef, Violation, Waiting, WayBack};

use crate::ValueDifference;

/// What an upgrade would do, and where it would end.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The names of the releases that the control plane goes through, in their order; empty where it stays.
    pub path: Vec<String>,
    /// The writes that change a pool or make a template for it, in their order.
    pub moves: Vec<Move>,
    /// What would hold the end, once all machines are there.
    pub before_completion: Vec<Waiting>,
    /// The control plane, then the pools by kind and name: also those that stay as they are.
    pub pools: Vec<PoolTotal>,
    /// Where it ends.
    pub end: End,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// What holds it: each is closed now, and was taken as open for what comes after it.
    pub holds: Vec<Waiting>,
    /// What is written.
    pub change: Change,
}

/// What a write changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A template is created.
    Mint(Mint),
    /// A pool is pointed at a release.
    Swap(PoolSwap),
    /// The infrastructure of a MachinePool gets a release's values.
    SetValues(SetValues),
}

/// A template that is created.
#[derive(Debug, Clone, PartialEq)]
pub struct Mint {
    /// The pool that it is for.
    pub pool: PoolId,
    /// What it will be called. A name is a hash of what was rendered: where a webhook of the provider changes what is
    /// created, what is made from that for a later release is called otherwise.
    pub template: TemplateRef,
    /// The release that it is made for, as its label has it.
    pub release: String,
    /// The name of the template that the pool refers to until then; absent where it has none of that kind.
    pub from: Option<String>,
    /// Where its spec differs from that one's.
    pub differences: Vec<ValueDifference>,
}

/// A pool that is pointed at a release.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSwap {
    /// Which.
    pub pool: PoolId,
    /// The version that it had.
    pub from: KubeVersion,
    /// The version that it gets.
    pub to: KubeVersion,
    /// The release that it gets; absent where that isn't known.
    pub release: Option<String>,
    /// The name of the machine template that it gets; absent where it has none.
    pub template: Option<String>,
    /// The name of the bootstrap template that it gets; absent where that stays.
    pub bootstrap: Option<String>,
    /// What else of a KubeadmControlPlane changes: its `clusterConfiguration`, by pointer.
    pub differences: Vec<ValueDifference>,
    /// How many machines are replaced by it.
    pub machines: u32,
    /// What the way back is once these machines are there; absent where that can't be said, or isn't asked for.
    pub way_back: Option<WayBack>,
}

/// Values of a MachinePool's infrastructure, which is changed in place.
#[derive(Debug, Clone, PartialEq)]
pub struct SetValues {
    /// The MachinePool.
    pub pool: PoolId,
    /// The kind of its infrastructure.
    pub kind: String,
    /// The name of its infrastructure.
    pub name: String,
    /// The release whose values they are.
    pub release: String,
    /// Which, by pointer.
    pub differences: Vec<ValueDifference>,
}

/// A pool, all in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolTotal {
    /// Which.
    pub pool: PoolId,
    /// The version that it has now.
    pub from: KubeVersion,
    /// The version that it has at the end.
    pub to: KubeVersion,
    /// How many machines it has.
    pub replicas: u32,
    /// How often its machines are replaced.
    pub rollouts: u32,
    /// How many machines are replaced in all of them, each counted as often as its place is filled again.
    pub machines: u32,
}

/// Where an upgrade ends.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// All is where it should be. What is said of it all the same, such as workers that are left to their user.
    Complete(Vec<Waiting>),
    /// It doesn't go on, for what stands in the way: nothing of it opens by itself or by an approval.
    Blocked(Vec<Waiting>),
    /// A topology Cluster has the version that is asked for, and goes there already: what is left of that isn't forecast.
    UnderWay,
    /// That can't be said.
    Unclear(Unclear),
}

/// Why the end can't be said.
#[derive(Debug, Clone, PartialEq)]
pub enum Unclear {
    /// What these templates say decides, and isn't known.
    Unread(Vec<TemplateRef>),
    /// What the planner decided would break an invariant, and the controller wouldn't write it.
    Broken(Vec<Violation>),
    /// It takes more steps than are looked at.
    TooLong,
}
