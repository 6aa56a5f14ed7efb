//! What an upgrade waits for, and what of its cluster isn't well: the rows of `status.health[]`, and their reasons, each
//! with its meaning and what to do about it.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// One thing that an upgrade waits for, or that isn't well. What has one cause is one row.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HealthStatus {
    /// Whether a user has to act.
    pub level: HealthLevel,
    /// What it does to the cluster, or to the upgrade.
    pub impact: HealthImpact,
    /// Since when: the time of the object that it is about where that has one, else when it was first seen.
    #[schemars(schema_with = "schema::time")]
    pub since: Time,
    /// How many objects it holds for, with the one that is named.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: u32,
    /// The kind of the object that it is about; absent where no single object is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub kind: String,
    /// The name of that object, in the Cluster's namespace; a `KubernetesRelease` has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub name: String,
    /// Machine-readable reason; docs/reference/health.md lists them.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// A sentence for people, with the object's kind and name.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// What to do next.
    #[schemars(length(max = 1024))]
    pub next: String,
}

/// Whether a user has to act. The highest level comes first.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthLevel {
    /// All goes as planned, also where that waits for a time or for a user.
    Info,
    /// Something isn't as it should be; it may mend by itself.
    Warning,
    /// It doesn't go on before a user mends something.
    Error,
}

/// What a row of `status.health[]` does to the cluster, or to the upgrade.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthImpact {
    /// Nothing.
    None,
    /// It isn't known.
    Unknown,
    /// The cluster's API server may not answer.
    #[serde(rename = "APIAvailability")]
    ApiAvailability,
    /// The cluster has fewer machines than it should have.
    Capacity,
    /// What runs in the cluster may be hurt.
    Application,
    /// Data may be lost.
    DataLoss,
    /// The upgrade, or a part of it, stands still.
    Stalled,
}

impl HealthLevel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Error];

    /// The level as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Error => "Error",
        }
    }
}

impl HealthImpact {
    /// The impact as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Unknown => "Unknown",
            Self::ApiAvailability => "APIAvailability",
            Self::Capacity => "Capacity",
            Self::Application => "Application",
            Self::DataLoss => "DataLoss",
            Self::Stalled => "Stalled",
        }
    }
}

macro_rules! health_reasons {
    ($($variant:ident = $level:ident, $impact:ident: $meaning:literal, $remedy:literal;)+) => {
        /// Why a row is there: `status.health[].reason` of a `ClusterUpgrade`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum HealthReason {
            $(#[doc = $meaning] $variant,)+
        }

        impl HealthReason {
            /// All reasons, in the order of the reference page.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The reason as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// Whether a user has to act.
            #[must_use]
            pub const fn level(self) -> HealthLevel {
                match self {
                    $(Self::$variant => HealthLevel::$level,)+
                }
            }

            /// What it does to the cluster, or to the upgrade.
            #[must_use]
            pub const fn impact(self) -> HealthImpact {
                match self {
                    $(Self::$variant => HealthImpact::$impact,)+
                }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)+
                }
            }
        }
    };
}

health_reasons! {
    ControlPlaneRollingOut = Info, None:
        "Machines of the control plane don't have the version of its spec yet.",
        "Nothing: Cluster API replaces them.";
    ControlPlaneNotReady = Warning, ApiAvailability:
        "All machines of the control plane run the version of its spec, and Cluster API doesn't find it ready. Nothing is \
         begun before it is; what Cluster API has begun with the workers goes on.",
        "Look at the Machine and the condition that the next row names: most often a member of etcd or a static pod. It \
         goes on by itself.";
    PoolRollingOut = Info, None:
        "Machines of a MachineDeployment don't have the version that it should have.",
        "Nothing: Cluster API replaces them.";
    MachinePoolRollingOut = Info, None:
        "Machines of a MachinePool don't have the version that it should have.",
        "Nothing: Cluster API and the infrastructure provider replace them.";
    PauseAwaited = Info, None:
        "A MachinePool and its infrastructure are changed while both are paused, and one of them doesn't say yet that it \
         is, in its condition `Paused`.",
        "Nothing at first: after 5 minutes the pool is unpaused and left to you. Then look at the controller of the \
         object.";
    MachineNotReady = Info, Capacity:
        "A Machine has the new version, and its Node isn't ready, or runs another version.",
        "Nothing at first. If it stays, look at the conditions of the Machine and of its Node.";
    NodeNotReady = Warning, Capacity:
        "All Machines are there, and the Node of one is not Ready, as Cluster API says in the Machine's condition \
         `NodeReady`. The upgrade is not complete before each Node has been Ready for a minute. A new target is let \
         through.",
        "Look at the Node: most often its network plugin or its kubelet isn't ready, as the message says. Then nothing: \
         the upgrade completes by itself.";
    NodeUnknown = Warning, Unknown:
        "All Machines are there, and Cluster API doesn't say whether the Node of one is Ready: the Machine's condition \
         `NodeReady` is Unknown or absent. What isn't known holds the end of the upgrade.",
        "Nothing at first. If it stays, look at whether Cluster API reaches the workload cluster (condition \
         `RemoteConnectionProbe` of the Cluster), and whether the Machine is paused.";
    NodesSettling = Info, None:
        "All Machines are there and all Nodes are Ready, one of them for less than a minute.",
        "Nothing: the upgrade completes at the time of the message.";
    ControlPlaneStuck = Error, Stalled:
        "A new Machine of the control plane has had no Node for more than 10 minutes (`--machine-start-seconds`). A \
         rollout that has begun has to end, or to go back, before another one begins.",
        "Name a release that starts in `spec.target`: where nothing of the stuck one has run, a kubeadm control plane \
         goes back to what it was and from there to that release. Or repair what keeps the Machine from starting, \
         such as an image that doesn't exist under its name.";
    ClusterApi = Info, Unknown:
        "Cluster API reports in a condition of the Cluster, of a pool or of a Machine what it is doing. The message \
         is its own.",
        "Whatever the message asks for. Most often nothing.";
    UpgradeUnderWay = Info, None:
        "The Cluster is on its way to another version, and Cluster API accepts no new one before it has arrived.",
        "Nothing: the controller edits the version afterwards.";
    NoVersion = Info, None:
        "A MachineDeployment, MachinePool, MachineSet or Machine has no version, so it is not upgraded. Its Machines are \
         judged by what their kubelets report.",
        "Nothing, or set the version of its machines to have it upgraded too.";
    LeftToUser = Info, None:
        "A MachineSet or Machine outside a MachineDeployment, or a MachinePool that Instar can't upgrade, is older than the \
         target. The upgrade completes without it. Of a MachinePool the message says why: its infrastructure has no \
         condition `Paused`, did not become paused, or the release has no `machineImages` for its kind.",
        "Upgrade it yourself; an upgrade for which it would be too old waits for that.";
    OnDelete = Info, Stalled:
        "The pool has the update strategy `OnDelete`: Cluster API replaces a Machine only when it is deleted.",
        "Delete the Machines that the message names, at your pace.";
    GateClosed = Info, Stalled:
        "A gate of the upgrade is closed: no maintenance window is open, or an UpgradePolicy that may have some can't be \
         read. What has begun goes on to its end.",
        "Nothing, if the message says until when. Else change or correct `spec.maintenance` of the UpgradePolicies.";
    AddonNotReady = Info, Stalled:
        "An add-on of a release, a gate of an UpgradePolicy, or what is verified at the end, such as kube-proxy, isn't \
         ready yet. The message names the object, and the expression or the field that decided.",
        "Nothing at first. If it stays, look at the object that the message names, and at its controller.";
    AddonFailed = Error, Application:
        "An object of an add-on, or of a gate, says that it has failed. The upgrade goes on when it is ready after all.",
        "Repair what the message names.";
    AddonUnknown = Warning, Stalled:
        "It can't be said whether an add-on or a gate is ready, and what isn't known holds the upgrade.",
        "Whatever the message asks for, such as a role that the controller needs to read the objects.";
    AddonTimedOut = Error, Stalled:
        "An add-on or a gate takes longer than its `timeout`.",
        "Repair what the message names; the upgrade then goes on.";
    StalledStep = Error, Stalled:
        "The control plane or a pool goes to a new version, and none of its new Machines has become ready for longer than \
         `progressDeadline`. No further pool begins.",
        "Repair what keeps the Machine from starting, such as an image that doesn't exist under its name: the upgrade then \
         goes on by itself. Or take it back, or name another target; see docs/way-back.md.";
    CanaryFailed = Error, Application:
        "A Node of a pool that went first hasn't been Ready for longer than `progressDeadline`, so no other pool follows.",
        "Repair the Node: the upgrade then goes on by itself. Or take it back; see docs/way-back.md.";
    VerificationFailed = Error, Application:
        "All Machines are there, and a Node hasn't been Ready for longer than `progressDeadline`.",
        "Repair the Node: the upgrade then completes by itself. Or take it back; see docs/way-back.md.";
    UpgradeFailed = Error, Stalled:
        "An add-on or a gate with `onTimeout: Fail` has timed out, so the upgrade has failed.",
        "Mend what the message names, then edit the spec of the ClusterUpgrade: another target, or `paused: true` and \
         `paused: false` again.";
    PreflightFailed = Error, Stalled:
        "A check before the upgrade found something wrong. `status.preflight` has the results of all checks.",
        "What the message says; the upgrade then begins by itself. To begin it all the same, skip the check in \
         `spec.preflight.skip`, or set its mode to Warn in an UpgradePolicy.";
    PreflightUnknown = Warning, Stalled:
        "A check before the upgrade can't say whether all is well, so the upgrade doesn't begin.",
        "Nothing at first. If it stays, as for `PreflightFailed`.";
    ApprovalMissing = Info, Stalled:
        "An UpgradePolicy asks for an approval before this step, in `spec.approval`.",
        "Add the entry of the message to `spec.approvals` of the ClusterUpgrade, if you have the right to.";
    Landing = Info, None:
        "The upgrade of a topology Cluster is aborted. Its version goes down to where the control plane stands, once the step \
         under way has ended and Cluster API says that it waits for the next one (condition `TopologyReconciled`).",
        "Nothing.";
    NoLanding = Warning, Stalled:
        "The upgrade of a topology Cluster is to be aborted, and can't be between its steps: Cluster API doesn't ask before \
         them. It goes on, and ends as aborted when the workers have followed.",
        "Nothing, or opt the namespace in to Runtime Hooks, as docs/runtime-hooks.md says: then it ends before its next step.";
    PoolHeld = Info, Capacity:
        "The controller has paused a MachineDeployment of a topology Cluster until its gates open. Once the control plane \
         is a minor ahead, Cluster API creates no machine of the older version in place of one that fails.",
        "Nothing: it goes on when the gates are open that other rows name.";
    RolloutPaused = Info, Capacity:
        "The maintenance windows have closed while a MachineDeployment was replacing machines, and an UpgradePolicy says \
         `onClose: FinishMachine`. It has the annotation `cluster.x-k8s.io/paused` until a window opens; while a rollback \
         is asked for, until that has set it back or has ended. Cluster API doesn't scale it meanwhile, and doesn't \
         remediate its old machines.",
        "Nothing: it goes on when a window opens, or with the rollback. To let it go on before a window opens, set \
         `spec.overrideWindow` of the ClusterUpgrade; to let it go on without the rollback, delete that.";
    ReleaseAwaited = Info, None:
        "A topology Cluster goes to another release of the version that it runs, and Cluster API has not given the control \
         plane or a MachineDeployment its template yet.",
        "Nothing at first. If it stays, look at the condition `TopologyReconciled` of the Cluster.";
    OtherVersion = Error, Stalled:
        "The operation Refresh brings a Cluster to another release of the version that it runs, and the target is a release \
         of another version.",
        "Set `spec.target` to a release of the version that runs, or `spec.operation` to Upgrade.";
    PoolToFollow = Info, None:
        "A topology Cluster goes to another release of the version that it runs. The control plane goes first, then one pool \
         after the other, and this one has still the release from before.",
        "Nothing: it follows when those before it have arrived and its gates are open.";
    Finishing = Info, None:
        "All machines are there, and the controller puts back what it changed meanwhile: the marks of pools that it held, and \
         the annotation `topology.cluster.x-k8s.io/upgrade-concurrency`.",
        "Nothing.";
    Paused = Info, Stalled:
        "The Cluster, or an object of it, is paused.",
        "To continue, set `spec.paused` of the Cluster to false, or remove the annotation `cluster.x-k8s.io/paused` of \
         the object.";
    Deleting = Info, Stalled:
        "The Cluster, or an object of it, is being deleted. Nothing of it is written any more.",
        "Nothing.";
    HookBlocking = Warning, Stalled:
        "A runtime extension's hook, or an annotation in its place, blocks Cluster API's upgrade.",
        "See what the hook that the message names waits for.";
    StartBlocked = Error, Capacity:
        "The hook `BeforeClusterUpgrade` of a runtime extension, or an annotation in its place, blocks an upgrade to a \
         version that the Cluster has already. Until it begins, Cluster API's preflight checks wait for it: no machine \
         is created in the Cluster, also not in place of one that failed.",
        "See what the hook that the message names waits for, or remove the annotation \
         `before-upgrade.hook.cluster.cluster.x-k8s.io` that it names. Gates of Instar hold an upgrade without that.";
    UpgradeDeferred = Info, Stalled:
        "An annotation of a pool in the Cluster's `spec.topology.workers` defers its upgrade.",
        "Remove `topology.cluster.x-k8s.io/defer-upgrade` or `topology.cluster.x-k8s.io/hold-upgrade-sequence` when \
         these pools may be upgraded.";
    TopologyNotReconciled = Error, Stalled:
        "Cluster API can't reconcile the Cluster's topology.",
        "Solve what the message says; it is Cluster API's.";
    TopologyOwned = Error, Stalled:
        "The object belongs to Cluster API's topology controller, which creates templates and refers to them itself.",
        "Upgrade this Cluster by its `spec.topology.version`.";
    Refused = Error, Stalled:
        "The API server, or an admission webhook, refused the controller's write. The message is theirs. Where a \
         template has no field for a value, it names the JSON Pointer.",
        "Solve what the message says; the controller tries again.";
    ForeignWriter = Warning, Unknown:
        "Another client changed a version or a template reference after the controller had set it. The controller \
         continues from a newer version of a classic Cluster; where an older one was set, it writes nothing more.",
        "Find the client, such as a GitOps tool with an old manifest. Set the field to what the message says, or edit \
         the target, such as the Cluster's annotation: the upgrade then continues from the older version.";
    Drifted = Warning, Unknown:
        "After the upgrade, another client set a version or a template reference back to what it was before. The \
         controller doesn't change it, and Cluster API may create no machine of an older minor than the control plane's.",
        "Take the field out of what applies it, such as a manifest in Git, and set it to what the message says.";
    Superseded = Info, None:
        "The Cluster's version was edited to another one than this upgrade's.",
        "Nothing: the newer version has a ClusterUpgrade of its own. Delete this one, or edit its target.";
    SourceMismatch = Error, Stalled:
        "The control plane isn't at the version of `spec.source`.",
        "Correct `spec.source`, or leave it out.";
    NoTarget = Error, Stalled:
        "No release in the catalog matches `spec.target`.",
        "Create a KubernetesRelease, or edit the target to one that the message lists.";
    NoRelease = Error, Stalled:
        "A release that `spec` names is not in the catalog.",
        "Create the KubernetesRelease, or name another one.";
    NoRow = Error, Stalled:
        "The catalog has no release of a version on the path.",
        "Create a KubernetesRelease of that version.";
    NoPath = Error, Stalled:
        "No path leads from the present version to the target.",
        "Create the releases that are missing on the way, or edit the target. A cluster never goes to an older version.";
    NoWayBack = Error, Stalled:
        "Something of an upgrade can't be taken back. Before the rollback has begun, nothing of it is done.",
        "The message names what stands in the way, and the nearest thing that is possible; see docs/way-back.md.";
    NotTakenBack = Info, None:
        "Something isn't taken back: a pool that another client has changed since, a MachinePool, of which nothing says \
         what its infrastructure had before, or what was set for an add-on. The rollback completes without it.",
        "It is yours to take back, if it should go.";
    NoRestart = Error, Stalled:
        "A ClusterUpgrade with the operation Restart can't replace machines here, or waits for a user.",
        "The message names what stands in the way, and the nearest thing that is possible; see docs/upgrading.md.";
    NotRestarted = Info, None:
        "The operation Restart leaves a MachinePool as it is. The restart completes without it.",
        "Replace its machines as its provider says, if they should be new.";
    RolledBack = Info, None:
        "Another ClusterUpgrade takes this one back, or has done so.",
        "Edit spec.target when it should begin again.";
    NoImage = Error, Stalled:
        "A release on the path has no machine image for a pool.",
        "Create a release of the same version that has one. Releases are immutable.";
    WorkersBehind = Warning, Stalled:
        "Workers are too old for the next version of the control plane, by Kubernetes' version skew policy.",
        "Upgrade these workers, or wait for the upgrade of their pool. Machines and MachineSets outside a \
         MachineDeployment, and MachinePools with the reason `LeftToUser`, are yours to upgrade.";
    PoolAhead = Warning, None:
        "A pool has a newer version than this upgrade would give it. It isn't lowered.",
        "Edit the target to a version that is not older, or recreate the pool.";
    PinOutOfReach = Error, Stalled:
        "A pool is pinned to a release whose machines can't join the control plane at its present version.",
        "Name another release in `spec.pools`, or wait until the control plane has reached it.";
    NoControlPlane = Error, Stalled:
        "The controller finds no control plane of the Cluster.",
        "Check `spec.controlPlaneRef` of the Cluster, and that the object exists.";
    NotProvisioned = Info, Stalled:
        "The control plane of the Cluster has never been up: Cluster API's condition `ControlPlaneInitialized` of the \
         Cluster is not True.",
        "Nothing at first. If it stays, look at the conditions of the Cluster and of its first Machine.";
    NoCluster = Error, Stalled:
        "The Cluster of `spec.clusterName` doesn't exist.",
        "Create the Cluster, and the upgrade continues; or delete the ClusterUpgrade.";
    AnotherUpgrade = Error, Stalled:
        "Another ClusterUpgrade of the same Cluster is active.",
        "Edit the target of the active one, or create this one again when that one has finished.";
    Unreadable = Error, Stalled:
        "An object that the decision needs can't be read.",
        "Correct the field that the message names.";
    TemplateNotVisible = Error, Stalled:
        "The template that a pool refers to was not found.",
        "Create it, or correct the reference.";
    NoBootstrapTemplate = Error, Stalled:
        "`spec` sets values of a bootstrap template, and the pool has none.",
        "Remove these patches from `spec`, or give the pool a bootstrap template.";
    ValueMisfit = Error, Stalled:
        "A value of a release or of a patch doesn't fit into a pool's template, or doesn't stay in it.",
        "Correct the JSON Pointer or the value that the message names.";
    NameTaken = Error, Stalled:
        "An object has the name of a template that the controller creates, and other content.",
        "If nothing refers to it, delete it; the controller then creates the template. If it belongs to another \
         Cluster, leave it, and point the pool at a copy of its template that has another name.";
    TemplateDeleting = Warning, Stalled:
        "An object with the name of a template that the controller creates is being deleted.",
        "Nothing: the controller creates the template when it is gone. If it stays, look at its finalizers.";
    NoKind = Error, Stalled:
        "The API server doesn't serve a kind that the Cluster refers to.",
        "Install the provider of this kind.";
    NoContract = Error, Stalled:
        "The CustomResourceDefinition of a kind has no label for a contract of Cluster API that Instar reads.",
        "Install a version of the provider for the contract v1beta1 or v1beta2.";
    NotServed = Error, Stalled:
        "The label of a CustomResourceDefinition names a version that the API server doesn't serve.",
        "Install the provider again; its definition is inconsistent.";
    NoRight = Error, Stalled:
        "The controller has no right to a provider's kind.",
        "Run the `kubectl apply -k config/providers/...` of the message.";
    ReadFailed = Warning, Stalled:
        "The controller couldn't read an object from the API server.",
        "Nothing at first: the controller tries again. If it stays, look at the API server.";
    WriteFailed = Warning, Stalled:
        "The controller couldn't write what it decided.",
        "Solve what the message says; the controller tries again.";
    InvariantBroken = Error, Stalled:
        "The decision would break an invariant of Instar, so nothing was written.",
        "Report it, with the message and the ClusterUpgrade.";
    Retained = Info, None:
        "A previous template is still kept. `status.templates` says so instead of `status.health`.",
        "Nothing: the controller deletes it later.";
}

impl HealthReason {
    /// What to do about it, as a status says it: the marks are for the reference page.
    #[must_use]
    pub fn next(self) -> String {
        self.remedy().replace('`', "")
    }
}

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! failure_reasons {
    ($($variant:ident,)+) => {
        /// Why the controller couldn't read or write what it had to: the reason of the condition `Healthy` while it
        /// is False, and of a Warning Event. Each is a [`HealthReason`] too.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailureReason {
            $(#[doc = concat!("See [`HealthReason::", stringify!($variant), "`].")] $variant,)+
        }

        impl FailureReason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The same reason in `status.health`.
            #[must_use]
            pub const fn health(self) -> HealthReason {
                match self {
                    $(Self::$variant => HealthReason::$variant,)+
                }
            }

            /// The reason as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                self.health().as_str()
            }
        }
    };
}

failure_reasons! {
    NameTaken,
    NoKind,
    NoContract,
    NotServed,
    NoRight,
    ReadFailed,
    WriteFailed,
    InvariantBroken,
}
