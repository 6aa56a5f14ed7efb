//! What is known of one cluster: parsed values, owned, of one moment or of several.

mod machine_deployment;
mod pinned_path;
mod topology;
mod up_to_date;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use instar_api::{MinorRollback, OnClose, Pins, RELEASE_LABEL};
use instar_capi::{ClusterConfiguration, ComponentSetting, Contract, KubeadmAddon, Lifecycle, ManagedBy, WorkerKind};
use instar_catalog::Catalog;
use instar_domain::KubeVersion;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    addon::Addons,
    check_outcome::CheckOutcome,
    drain_timeout::DrainTimeout,
    failure::FailureRule,
    observed::{Observed, Unreadable},
    pause::{LeftMark, PausedBy},
    pool_id::PoolId,
    swap_history::SwapHistory,
    upgrade_spec::{Approvals, CanaryRule, Gate, GateState, Retention, UpgradeSpec},
    values_history::ValuesHistory,
};

pub use crate::resource_version::ResourceVersion;
pub use machine_deployment::{JoinRule, MachineDeployment, Rollout};
pub use pinned_path::{PinnedPath, TakenBack};
pub use topology::{RaisedConcurrency, RuntimeHooks, Topology, UpgradeConcurrency, VersionSetBy};
pub use up_to_date::UpToDate;

/// One cluster, what is asked of it, and the time.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The time.
    pub now: Timestamp,
    pub cluster: Cluster,
    /// What is asked.
    pub upgrade_spec: UpgradeSpec,
    /// The rows of the Cluster's catalog; shared, since it is the same for all clusters of it.
    pub catalog: Arc<Catalog>,
    /// The gates; one that isn't named is open.
    pub gates: BTreeMap<Gate, GateState>,
    /// What becomes of pools that replace machines when the windows close.
    pub on_close: OnClose,
    /// What the checks before an upgrade found; those that aren't listed hold nothing.
    pub preflight: Vec<CheckOutcome>,
    /// What is known of add-ons of releases and gates of policies.
    pub addons: Addons,
    /// What a user has to approve, and did.
    pub approvals: Approvals,
    /// The pools that go first, if some do.
    pub canary: Option<CanaryRule>,
    /// How long old templates are kept.
    pub retention: Retention,
    /// Whether policies let a control plane go down a minor version that has run.
    pub minor_rollback: MinorRollback,
    /// What becomes of the upgrade where it fails, and when it has.
    pub failure_rule: FailureRule,
    /// How long each Node has to be Ready before the upgrade is complete; absent where there is none to complete.
    pub nodes_ready_for: Option<SignedDuration>,
    /// How long a new machine of the control plane may have no node before it is said to be stuck.
    pub machine_start: SignedDuration,
    /// The control plane, where the Cluster refers to one that exists.
    pub control_plane: Option<Observed<ControlPlane>>,
    /// Its MachineDeployments.
    pub pools: Vec<Observed<MachineDeployment>>,
    /// Its MachineSets, also those without a MachineDeployment.
    pub machine_sets: Vec<Observed<MachineSet>>,
    pub machine_pools: Vec<Observed<MachinePool>>,
    /// What its MachinePools refer to as their infrastructure; of a topology Cluster it isn't read.
    pub infrastructure_pools: Vec<Observed<InfrastructurePool>>,
    pub machines: Vec<Observed<Machine>>,
    /// The templates that it refers to, and those that were minted for it.
    pub templates: Vec<Observed<Template>>,
    /// Those of them that objects of other Clusters referred to when one was last about to be deleted.
    pub used_elsewhere: BTreeSet<TemplateRef>,
    /// What has no version, of the kinds above.
    pub unversioned: Vec<Unversioned>,
    /// Other objects that concern it and can't be read, such as a ClusterUpgrade of it.
    pub unreadable: Vec<Unreadable>,
}

/// The Cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its namespace, and that of all its objects.
    pub namespace: String,
    pub name: String,
    /// Its labels, which choose images under those of the pools.
    pub labels: BTreeMap<String, String>,
    /// Its uid, for owner references and for nothing else: `clusterctl move` changes it.
    pub uid: String,
    /// When it was created, here: `clusterctl move` and a restore create it again, with all its objects.
    pub created: Option<Timestamp>,
    /// Counts the edits of its spec.
    pub generation: i64,
    /// Whether it may be written to.
    pub lifecycle: Lifecycle,
    /// Who mints and swaps.
    pub kind: ClusterKind,
    /// Those of its conditions that tell of its health ([`Self::HEALTH`]) and aren't True.
    pub conditions: Vec<Condition>,
    pub initialization: Initialization,
}

/// Whether the control plane was ever up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initialization {
    /// It was, or nothing says that it wasn't.
    Done,
    /// Cluster API says that it wasn't yet.
    Awaited,
}

impl Cluster {
    /// The conditions that tell of its health: `Available`, and what Cluster API makes it of.
    pub const HEALTH: [&str; 5] = [
        "Available",
        "ControlPlaneAvailable",
        "InfrastructureReady",
        "RemoteConnectionProbe",
        "WorkersAvailable",
    ];

    /// What Instar wrote into it, where it is a classic one.
    #[must_use]
    pub fn classic(&self) -> Option<&ClassicCluster> {
        match &self.kind {
            ClusterKind::Classic(classic) => Some(classic),
            ClusterKind::Topology(_) => None,
        }
    }

    /// What the topology says, where there is one that can be read.
    #[must_use]
    pub fn topology(&self) -> Option<&Topology> {
        match &self.kind {
            ClusterKind::Classic(_) => None,
            ClusterKind::Topology(topology) => topology.read(),
        }
    }
}

/// Who mints and swaps the templates of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterKind {
    /// Instar.
    Classic(Box<ClassicCluster>),
    /// Cluster API's topology controller.
    Topology(Box<Observed<Topology>>),
}

/// What Instar wrote into a classic Cluster, where it did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassicCluster {
    /// What a write compares with.
    pub resource_version: ResourceVersion,
    /// The releases that it runs or goes through. Garbled ones count as none: what is to be done is found again.
    pub pins: Option<Pins>,
    /// Which of them the control plane goes through, and for which upgrade.
    pub path: Option<PinnedPath>,
}

/// A condition of an object of Cluster API's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// Its type.
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Machine-readable reason.
    pub reason: String,
    /// Human-readable message.
    pub message: String,
    /// The generation that it describes; 0 where it names none.
    pub observed_generation: i64,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It doesn't.
    False,
    /// Its controller does not know.
    Unknown,
}

/// What the objects that are swapped have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The version of the API at which it was read.
    pub api_version: String,
    pub kind: String,
    pub name: String,
    /// What a write compares with.
    pub resource_version: ResourceVersion,
    /// Counts the edits of its spec.
    pub generation: i64,
    /// The generation that its status describes.
    pub observed_generation: i64,
    /// Whether it may be written to.
    pub lifecycle: Lifecycle,
    /// Whose it is.
    pub managed_by: ManagedBy,
    /// What our swaps of the last upgrade wrote into it.
    pub swap_history: Option<SwapHistory>,
    /// What Cluster API says of it.
    pub conditions: Vec<Condition>,
}

/// A template, as a reference names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateRef {
    /// The API group.
    pub group: String,
    pub kind: String,
    pub name: String,
}

/// The control plane.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlPlane {
    pub object: Object,
    /// The labels of its machine template, by which a release finds its image.
    pub labels: BTreeMap<String, String>,
    /// The version that it should run.
    pub version: KubeVersion,
    /// The versions that its machines run (`status.versions`, else `status.version`).
    pub observed: Vec<KubeVersion>,
    /// The template of its machines; absent where it has none that we could mint from.
    pub infrastructure: Option<TemplateRef>,
    /// The form of the object as it was read: where it keeps its template's reference.
    pub contract: Contract,
    /// What beside Kubernetes moves with it.
    pub flavor: Flavor,
    /// Its machines, counted; absent where it has none.
    pub replicas: Option<Replicas>,
    /// How long the drain of one of its machines may take.
    pub drain_timeout: DrainTimeout,
    /// The add-ons of kubeadm that its user keeps it from updating.
    pub skipped_addons: BTreeSet<KubeadmAddon>,
    /// `spec.rollout.after`: Cluster API replaces the Machines from before this time, once it has come.
    pub rollout_after: Option<Timestamp>,
}

/// Which kind of control plane.
#[derive(Debug, Clone, PartialEq)]
pub enum Flavor {
    /// A KubeadmControlPlane.
    Kubeadm {
        /// `spec.kubeadmConfigSpec.clusterConfiguration`.
        cluster_configuration: ClusterConfiguration,
        /// What `spec.kubeadmConfigSpec` sets on command lines, as far as a check reads it.
        settings: Vec<ComponentSetting>,
    },
    /// Any other: etcd and CoreDNS are its own matter.
    Other,
}

/// A control plane's machines, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// How many there should be.
    pub desired: u32,
    /// How many there are.
    pub total: u32,
    /// How many are ready.
    pub ready: u32,
    /// How many are as the spec says.
    pub up_to_date: u32,
}

/// A MachineSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSet {
    pub name: String,
    /// Its MachineDeployment; absent where it stands alone.
    pub pool: Option<String>,
    /// The version of its machines.
    pub version: KubeVersion,
    /// Their template.
    pub infrastructure: TemplateRef,
    /// The template of their bootstrap configuration.
    pub bootstrap: Option<TemplateRef>,
    /// How many there should be.
    pub replicas: u32,
    /// Whether it stays.
    pub lifecycle: Lifecycle,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Why Cluster API makes no machine of it, in its words; absent where it makes them, or none is missing.
    pub blocked: Option<String>,
}

/// A MachineDeployment, a MachineSet, a MachinePool or a Machine without a version, which Cluster API allows. It is
/// not upgraded; its Machines are among the others, at what their kubelets report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unversioned {
    pub kind: WorkerKind,
    pub name: String,
    /// What makes it, and is named in its place: of a MachineSet its MachineDeployment.
    pub maker: Option<String>,
    /// The templates that it refers to, which are in use all the same.
    pub templates: Vec<TemplateRef>,
}

/// A MachinePool. It has no template to mint from: it and its infrastructure are changed in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachinePool {
    pub object: Object,
    pub paused_by: PausedBy,
    /// The upgrade that left it to its user, if one did.
    pub left: Option<LeftMark>,
    /// The labels by which a release finds its image.
    pub labels: BTreeMap<String, String>,
    /// The version of its machines.
    pub version: KubeVersion,
    /// The versions that its nodes run, as far as they are known.
    pub observed: Vec<KubeVersion>,
    /// What makes its machines.
    pub infrastructure: TemplateRef,
    /// Its machines, counted; absent where it doesn't say how many there should be.
    pub replicas: Option<Replicas>,
    /// Which minor versions its machines join: kubeadm's join none that is newer.
    pub joins: JoinRule,
}

/// What a MachinePool refers to as its infrastructure, such as an AzureMachinePool.
#[derive(Debug, Clone, PartialEq)]
pub struct InfrastructurePool {
    pub object: Object,
    pub paused_by: PausedBy,
    /// The upgrade that left its MachinePool to its user, if one did.
    pub left: Option<LeftMark>,
    pub spec: Value,
    /// The annotation [`instar_api::RENDERED_ANNOTATION`], if it has one.
    pub rendered: Option<String>,
    /// What was there before values were set; absent where nothing says so.
    pub values_history: Option<ValuesHistory>,
}

/// A Machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub name: String,
    /// Its pool; absent where it belongs to none that is planned.
    pub pool: Option<PoolId>,
    /// The MachineSet or MachinePool that makes it, where it has no pool; absent where it was made alone.
    pub maker: Option<String>,
    /// The version that it should run.
    pub version: KubeVersion,
    /// The name of the template that its infrastructure was cloned from; where the annotation is
    /// missing, Cluster API takes it for a match, and so do we.
    pub template: Option<String>,
    /// What its controller says.
    pub phase: MachinePhase,
    pub node: Node,
    /// What Cluster API says of its Node.
    pub node_readiness: NodeReadiness,
    /// Whether it stays.
    pub lifecycle: Lifecycle,
    /// When it was made; it is known of a Machine without a node alone.
    pub created: Option<Timestamp>,
    /// What its deletion waits for, in Cluster API's words; absent where it waits for nothing.
    pub deletion_waits_for: Option<String>,
    /// Whether it is what its control plane asks for; it is known of a Machine without a node alone.
    pub up_to_date: UpToDate,
    /// What `spec.rollout.after` of its pool is compared with: of a control plane's when it was made, of a
    /// MachineDeployment's when its MachineSet was. Absent of any other, and where it isn't known.
    pub rollout_time: Option<Timestamp>,
}

/// `status.phase` of a Machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MachinePhase {
    /// Nothing is there yet.
    Pending,
    /// Its infrastructure is being made.
    Provisioning,
    /// Its infrastructure is there, its node isn't.
    Provisioned,
    /// It runs.
    Running,
    /// It is updated in place.
    Updating,
    /// It is being deleted.
    Deleting,
    /// It failed.
    Failed,
    /// Anything else.
    Unknown,
}

/// A Machine's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// It hasn't joined.
    Absent,
    /// It has.
    Joined {
        name: String,
        /// The kubelet's version in the Machine's status.
        version: Option<KubeVersion>,
    },
}

impl Node {
    /// Whether there is one.
    pub(crate) const fn is_joined(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Joined { .. } => true,
        }
    }
}

/// Whether a Machine's Node is Ready: the Machine's condition `NodeReady`, which Cluster API copies from the Node with the
/// Node's own time. Without a word of Cluster API it isn't known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeReadiness {
    /// It is.
    Ready { since: Timestamp },
    /// It isn't.
    NotReady {
        /// In Cluster API's words; may be empty.
        message: String,
        /// Absent where Cluster API doesn't say it.
        since: Option<Timestamp>,
    },
    /// That isn't known.
    Unknown {
        /// In Cluster API's words; may be empty. Of a Machine without a node, why it has none.
        message: String,
    },
}

/// A template: of machines, or of their bootstrap configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// The version of the API at which it was read.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What a deletion compares with.
    pub resource_version: ResourceVersion,
    /// The labels that we put on what we mint, where it has them: whose it is, and what for.
    pub labels: BTreeMap<String, String>,
    /// What it says; absent where it was not read yet: [`Decision::unread`](crate::Decision::unread) asks for it.
    pub content: Option<Arc<TemplateContent>>,
    /// Of a template of kubeadm configurations: `kubeletExtraArgs` as it is written, null where there is none; absent
    /// where it was not read.
    pub kubelet_arguments: Option<Arc<Value>>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it stays.
    pub lifecycle: Lifecycle,
}

/// What a template says: all that a copy of it is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateContent {
    /// Its spec.
    pub spec: Value,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The Clusters that own it.
    pub owners: Vec<OwningCluster>,
}

/// A Cluster, as an owner reference names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwningCluster {
    pub name: String,
    pub uid: String,
}

impl MachineSet {
    /// The templates that it refers to.
    pub fn templates(&self) -> impl Iterator<Item = &TemplateRef> {
        std::iter::once(&self.infrastructure).chain(&self.bootstrap)
    }
}

impl Template {
    /// The reference that names it.
    #[must_use]
    pub fn reference(&self) -> TemplateRef {
        TemplateRef {
            group: group_of(&self.api_version).to_owned(),
            kind: self.kind.clone(),
            name: self.name.clone(),
        }
    }

    /// Whether a reference names it. The reference's version of the API doesn't matter.
    #[must_use]
    pub fn is(&self, reference: &TemplateRef) -> bool {
        self.name == reference.name && self.kind == reference.kind && group_of(&self.api_version) == reference.group
    }

    /// The value of the label that says for which release we minted it.
    #[must_use]
    pub fn minted_for(&self) -> Option<&str> {
        self.labels.get(RELEASE_LABEL).map(String::as_str)
    }
}

impl Object {
    /// The condition that says whether its controller leaves it alone; some providers have none.
    #[must_use]
    pub fn paused(&self) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == "Paused")
    }

    /// Whether its controller says, of its present generation, that it leaves it alone.
    #[must_use]
    pub fn says_paused(&self) -> bool {
        self.paused().is_some_and(|paused| {
            let is_present = paused.observed_generation == 0 || paused.observed_generation >= self.generation;
            paused.status == ConditionStatus::True && is_present
        })
    }
}

impl InfrastructurePool {
    /// Whether a reference names it. The reference's version of the API doesn't matter.
    #[must_use]
    pub fn is(&self, reference: &TemplateRef) -> bool {
        let Object {
            api_version,
            kind,
            name,
            ..
        } = &self.object;
        *name == reference.name && *kind == reference.kind && group_of(api_version) == reference.group
    }
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}
