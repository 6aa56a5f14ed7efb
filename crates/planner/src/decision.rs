//! What is to be done, and what is waited for.

mod addons;
mod classic;
mod involved_object;
mod machine_pool;
mod next;
mod no_release;
mod progress;
mod refused_write;
mod refuses;
mod release_change;
mod since;
mod stuck;
mod text;
mod topology;
mod unready_node;

use instar_api::{ApprovedPart, PreflightCheck};
use instar_capi::WorkerKind;
use instar_catalog::Miss;
use instar_domain::{JsonPointer, KubeVersion};
use jiff::{SignedDuration, Timestamp};

use crate::{
    addon::{AskedPoint, ClosedAddon},
    check_outcome::Problem,
    failure::Failed,
    observed::Unreadable,
    path::NoPath,
    pool_id::PoolId,
    restart::NoRestart,
    snapshot::{MachinePhase, TemplateRef},
    upgrade_spec::Gate,
    values::PointerError,
    way_back::NoWayBack,
};

pub use crate::left_because::LeftBecause;
pub use addons::BeginGates;
pub use classic::{Convergence, DeleteTemplate, MintTemplate, PinPath, StepBack, Swap, SwapTemplate};
pub use involved_object::InvolvedObject;
pub use machine_pool::{MachinePoolChange, PatchMachinePool};
pub use no_release::OtherCatalog;
pub use progress::{MachineProgress, MachineState, PoolProgress, Progress, Stage, TemplateProgress, TemplateState};
pub use refused_write::{RefusedWrite, WriteTurn};
pub use release_change::{DeleteMachine, FollowRelease};
pub use stuck::StuckRemedy;
pub use topology::{
    AnswerHook, CompletePins, EditVersion, Hold, HoldPool, RestoreVersionCheck, RolloutPausedBy, SetConcurrency,
};
pub use unready_node::{NodeIs, UnreadyNode};

/// At most one write, and what is waited for.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The write.
    pub action: Action,
    /// What is waited for, and what a user should know. Never empty where nothing is written and
    /// the upgrade isn't complete.
    pub waiting: Vec<Waiting>,
    /// Where the upgrade is.
    pub progress: Progress,
    /// Templates whose content decides and is absent from the snapshot: read them and decide again. Nothing is
    /// written before.
    pub unread: Vec<TemplateRef>,
}

/// A write, carried whole: its execution leaves no choice.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Create a template.
    MintTemplate(MintTemplate),
    /// Point the control plane at its next release.
    SwapControlPlane(Swap),
    /// Point a pool at its next release.
    SwapWorkers(Swap),
    /// Change one of the two objects of a MachinePool, beside its version.
    PatchMachinePool(PatchMachinePool),
    /// Delete a template that nothing refers to.
    DeleteTemplate(DeleteTemplate),
    /// Pin the path of an upgrade that begins.
    PinPath(PinPath),
    /// Write down that all machines of a pool are as its last swap says.
    RecordConvergence(Convergence),
    /// Edit a topology Cluster's version.
    EditVersion(EditVersion),
    /// Name the releases of versions that a topology Cluster goes through and has no pins for.
    CompletePins(CompletePins),
    /// Hold a pool of a topology cluster until its gates open, or let it go.
    HoldPool(HoldPool),
    /// Raise how many pools of a topology Cluster are upgraded at a time, or put the user's value back.
    SetConcurrency(SetConcurrency),
    /// Write down that the turn of add-ons and gates has come.
    BeginGates(BeginGates),
    /// Write what the Runtime Hooks answer before the next step of a topology cluster, or take it off.
    AnswerHook(AnswerHook),
    /// Take pools of a topology cluster off the list of those that still have another release of their version.
    FollowRelease(FollowRelease),
    /// Delete a Machine of a topology cluster's control plane that never joined.
    DeleteMachine(DeleteMachine),
    /// Write nothing.
    Nothing,
    /// Switch on again Cluster API's check of version edits, which was off for the edit by which an upgrade has ended.
    RestoreVersionCheck(RestoreVersionCheck),
}

/// What is waited for, or stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// The `ClusterUpgrade`, the Cluster or the object is paused.
    Paused { kind: String, name: String },
    /// The Cluster or the object is being deleted.
    Deleting { kind: String, name: String },
    /// The topology controller mints and swaps here.
    TopologyOwned { kind: String, name: String },
    /// An object can't be read.
    Unreadable(Unreadable),
    /// The Cluster has no control plane that can be seen.
    NoControlPlane,
    /// The control plane was never up, so there is nothing to upgrade yet.
    NotProvisioned,
    /// The upgrade was to begin elsewhere.
    SourceMismatch {
        /// Where it was to begin.
        source: String,
        /// Where the control plane is.
        present: KubeVersion,
    },
    /// The target means nothing here.
    NoTarget(Miss),
    /// A release that is named is not in the catalog.
    NoRelease {
        /// The pool that it was named for; absent for the target.
        pool: Option<PoolId>,
        /// Its name.
        release: String,
        /// Which catalog has it, where another one than the Cluster's does.
        elsewhere: Option<Box<OtherCatalog>>,
    },
    /// The catalog has no row of a version.
    NoRow { version: KubeVersion },
    /// No path leads there.
    NoPath(Box<NoPath>),
    /// A release has no image for a pool.
    NoImage { pool: PoolId, release: String },
    /// A gate is closed.
    GateClosed {
        /// Which.
        gate: Gate,
        /// Why.
        reason: String,
        /// When it opens by itself; absent where it doesn't, or where that isn't known.
        until: Option<Timestamp>,
    },
    /// An add-on or a gate doesn't let through.
    AddonClosed(Box<ClosedAddon>),
    /// What add-ons and gates come to at a point isn't known: find it and decide again.
    AddonsUnseen(Box<AskedPoint>),
    /// A user has to approve what comes next.
    ApprovalMissing {
        part: ApprovedPart,
        /// Where it would go.
        version: KubeVersion,
        /// The target of the upgrade, as it was written.
        target: Box<str>,
    },
    /// A check before the upgrade found something wrong.
    PreflightFailed {
        check: PreflightCheck,
        problem: Box<Problem>,
    },
    /// A check before the upgrade can't say whether all is well.
    PreflightUnknown {
        check: PreflightCheck,
        problem: Box<Problem>,
    },
    /// A pool of a topology cluster is held until its gates open.
    PoolHeld {
        pool: PoolId,
        /// Where it goes then.
        version: KubeVersion,
        since: Timestamp,
    },
    /// All has arrived, and what was changed for the upgrade is put back.
    Finishing,
    /// A template that is referred to can't be seen.
    TemplateNotVisible {
        /// The pool that refers to it.
        pool: PoolId,
        /// Which.
        template: TemplateRef,
    },
    /// A pool has no bootstrap template, and a change of it is asked for.
    NoBootstrapTemplate { pool: PoolId },
    /// Another object has the name that a template would get.
    NameTaken {
        /// The pool that it would be for.
        pool: PoolId,
        /// The name.
        template: TemplateRef,
        /// The other Cluster that it belongs to; absent where it belongs to none.
        cluster: Option<Box<str>>,
    },
    /// An object with the name that a template would get is being deleted, or is left by an earlier Cluster of the
    /// same name and goes with that.
    TemplateDeleting {
        /// The pool that it would be for.
        pool: PoolId,
        /// The name.
        template: TemplateRef,
    },
    /// The API server, or a webhook that it asked, refuses to create a template.
    TemplateRefused {
        /// The pool that it would be for.
        pool: PoolId,
        template: TemplateRef,
        /// Why.
        refusal: Box<TemplateRefusal>,
    },
    /// A template was created with a value, and reads back without it.
    ValueDropped {
        /// The pool that it is for.
        pool: PoolId,
        template: TemplateRef,
        /// Where.
        pointer: Box<JsonPointer>,
    },
    /// A value can't be put into a pool's template.
    ValueMisfit {
        pool: PoolId,
        /// Where.
        error: PointerError,
    },
    /// The control plane hasn't got to what its spec says.
    ControlPlaneRollingOut {
        /// What its spec says.
        version: KubeVersion,
        /// The lowest version that was seen in it.
        lowest: Option<KubeVersion>,
        /// How many machines are as the spec says, and ready.
        there: u32,
        /// How many there should be.
        desired: u32,
    },
    /// All machines of the control plane are as its spec says, none is replaced, and Cluster API doesn't find it ready.
    ControlPlaneNotReady {
        /// What they run.
        version: KubeVersion,
    },
    /// A pool hasn't got to what its spec says.
    PoolRollingOut {
        pool: PoolId,
        /// What its spec says.
        version: KubeVersion,
        /// How many of its machines are there.
        converged: usize,
        /// How many machines it has.
        machines: usize,
    },
    /// A machine of the new version isn't ready.
    MachineNotReady {
        name: String,
        /// What its controller says.
        phase: MachinePhase,
    },
    /// A new machine of the control plane has had no node for long. Cluster API begins no other rollout before this
    /// one has ended, and neither does Instar.
    ControlPlaneStuck {
        machine: String,
        /// When it was made.
        since: Timestamp,
        /// What the control plane's spec says.
        version: KubeVersion,
        /// The release that comes next, where there is one.
        next: Option<String>,
        remedy: Box<StuckRemedy>,
    },
    /// The node of a machine of the new version runs another one.
    NodeVersion {
        machine: String,
        /// What the Machine says.
        version: KubeVersion,
        /// What its kubelet says.
        node: KubeVersion,
    },
    /// All machines are there, and the Node of one isn't known to be Ready.
    NodeNotReady(Box<UnreadyNode>),
    /// All Nodes are Ready, and have to stay so until a time.
    NodesSettling {
        ready_for: SignedDuration,
        until: Timestamp,
    },
    /// An object without a version is left out: nothing waits for it.
    NoVersion {
        /// Its kind.
        kind: WorkerKind,
        name: String,
    },
    /// Workers outside of MachineDeployments are older than the target, and a user upgrades them: nothing waits for
    /// them.
    LeftToUser {
        /// Their kind.
        kind: WorkerKind,
        /// Their name.
        name: String,
        /// The lowest version that they run.
        version: KubeVersion,
        /// Where the others go.
        target: KubeVersion,
        /// Why; of a MachinePool alone, since nothing upgrades the others.
        because: Option<Box<LeftBecause>>,
    },
    /// A pool with the strategy `OnDelete`: its machines are replaced only when a user deletes them.
    OnDelete {
        pool: PoolId,
        /// The machines to delete.
        machines: Vec<String>,
    },
    /// The control plane can't go on before these workers have moved.
    WorkersBehind {
        /// Their kind.
        kind: WorkerKind,
        /// Their name.
        name: String,
        /// The lowest version that they run.
        version: KubeVersion,
        /// Where the control plane would go.
        next: KubeVersion,
    },
    /// A pool is at a newer version than it should go to; it isn't lowered.
    PoolAhead {
        pool: PoolId,
        /// Where it is.
        version: KubeVersion,
    },
    /// A pool is pinned to a release that the control plane hasn't got to, or whose minor it has left.
    PinOutOfReach { pool: PoolId, release: String },
    /// Another client set a newer version or another template than Instar had, which goes on from there.
    ForeignWriter {
        /// Where.
        pool: PoolId,
        /// What.
        field: Field,
    },
    /// In an upgrade, another client set an older version than Instar had, which writes nothing more until it is set
    /// again, or another target is named.
    Reverted {
        pool: PoolId,
        written: KubeVersion,
        found: KubeVersion,
    },
    /// Something can't be taken back.
    NoWayBack(Box<NoWayBack>),
    /// Something isn't restarted.
    NoRestart(Box<NoRestart>),
    /// After the upgrade, another client set a pool back.
    Drifted {
        /// Which.
        pool: PoolId,
        /// What of it.
        what: SetBack,
    },
    /// Cluster API can't reconcile the topology.
    TopologyNotReconciled {
        /// Why, in Cluster API's words.
        message: String,
    },
    /// A hook, or an annotation in its place, holds the upgrade.
    HookBlocking {
        /// Which, in Cluster API's words.
        message: String,
    },
    /// A hook, or an annotation in its place, holds the upgrade before its first step. Cluster API makes no machine until then.
    StartBlocked {
        /// Which, in Cluster API's words.
        message: String,
    },
    /// An annotation of the Cluster defers the upgrade of pools.
    UpgradeDeferred {
        /// Of which, in Cluster API's words.
        message: String,
    },
    /// Cluster API says what it is at.
    ClusterApi {
        /// The kind of the object of which it says so.
        kind: String,
        name: String,
        /// In which condition.
        condition: String,
        /// Its words.
        message: String,
    },
    /// A MachinePool is changed while it and its infrastructure are paused, and an object doesn't say yet that it is.
    PauseAwaited {
        /// The MachinePool's name.
        pool: String,
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A MachinePool hasn't got to what its spec says.
    MachinePoolRollingOut {
        name: String,
        /// What its spec says.
        version: KubeVersion,
    },
    /// Another client edited the Cluster's version after a `ClusterUpgrade` had written it.
    VersionEdited {
        /// What it is now.
        version: KubeVersion,
    },
    /// The Cluster goes elsewhere by now.
    Superseded {
        /// Where.
        version: KubeVersion,
    },
    /// The Cluster is on its way to the version that it has; the edit comes afterwards.
    UpgradeUnderWay {
        /// Where to.
        version: KubeVersion,
    },
    /// The API server, or a webhook that it asked, refuses the write.
    Refused(Box<RefusedWrite>),
    /// An old template is still kept.
    Retained {
        /// Which.
        template: TemplateRef,
        /// Until when.
        until: Timestamp,
    },
    /// A pool stands in the middle of its rollout.
    RolloutPaused {
        pool: PoolId,
        /// What its spec says.
        version: KubeVersion,
        since: Timestamp,
        by: RolloutPausedBy,
    },
    /// The upgrade of a topology Cluster is aborted: its version goes to where its control plane stands.
    Landing { version: KubeVersion },
    /// It is to be aborted, and goes on to this version: it can't end between two steps.
    NoLanding {
        version: KubeVersion,
        /// Why it can't, or why that isn't known.
        why: String,
    },
    /// Another client has set the version again after the upgrade had been aborted.
    SetAgain {
        version: KubeVersion,
        /// Where it had ended.
        landed: KubeVersion,
    },
    /// The upgrade has failed, or a step of it.
    Failed(Box<Failed>),
    /// Cluster API has still to give a pool of a topology cluster another release of its version.
    ReleaseAwaited { pool: PoolId, release: String },
    /// What is to be refreshed with another release of its version runs another version.
    OtherVersion {
        release: String,
        /// The release's.
        version: KubeVersion,
        present: KubeVersion,
    },
    /// A pool of a topology cluster follows to another release of its version when its turn comes.
    PoolToFollow { pool: PoolId, release: String },
}

impl From<NoRestart> for Waiting {
    fn from(reason: NoRestart) -> Self {
        Self::NoRestart(Box::new(reason))
    }
}

/// What another client set back to what it was before the upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetBack {
    Version {
        /// What the upgrade set.
        written: KubeVersion,
        /// What is there now.
        found: KubeVersion,
    },
    /// The reference to the machine template.
    Template {
        /// The name that the upgrade set.
        written: String,
        /// The name that is there now.
        found: String,
    },
}

/// Why a template wasn't created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRefusal {
    /// Where values are set that its kind has no field for; empty where that isn't the reason.
    pub unknown: Vec<JsonPointer>,
    /// In the words of who refuses.
    pub message: String,
}

/// A field that a swap writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Version,
    /// The reference to the machine template.
    InfrastructureRef,
}

impl Decision {
    /// What the upgrade, or a step of it, has failed by.
    #[must_use]
    pub fn failed(&self) -> Option<&Failed> {
        self.waiting.iter().find_map(|waiting| {
            if let Waiting::Failed(failed) = waiting {
                Some(&**failed)
            } else {
                None
            }
        })
    }

    pub(crate) fn held(waiting: Vec<Waiting>) -> Self {
        Self {
            action: Action::Nothing,
            waiting,
            progress: Progress {
                stage: Stage::Held,
                path: Vec::new(),
                pools: Vec::new(),
                templates: Vec::new(),
            },
            unread: Vec::new(),
        }
    }
}
