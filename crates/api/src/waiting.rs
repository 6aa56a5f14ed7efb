//! The reasons in `status.waiting[]`, each with its meaning and what to do about it.

use std::fmt;

macro_rules! waiting_reasons {
    ($($variant:ident: $meaning:literal, $remedy:literal;)+) => {
        /// Why an upgrade waits: `status.waiting[].reason` of a `ClusterUpgrade`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum WaitingReason {
            $(#[doc = $meaning] $variant,)+
        }

        impl WaitingReason {
            /// All reasons, in the order of the reference page.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The reason as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
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

waiting_reasons! {
    ControlPlaneRollingOut:
        "Machines of the control plane don't have the version of its spec yet.",
        "Nothing: Cluster API replaces them.";
    PoolRollingOut:
        "Machines of a MachineDeployment don't have the version that it should have.",
        "Nothing: Cluster API replaces them.";
    MachinePoolRollingOut:
        "Machines of a MachinePool don't have the version that it should have.",
        "Nothing: Cluster API and the infrastructure provider replace them.";
    PauseAwaited:
        "A MachinePool and its infrastructure are changed while both are paused, and one of them doesn't say yet that it \
         is, in its condition `Paused`.",
        "Nothing at first: after 5 minutes the pool is unpaused and left to you. Then look at the controller of the \
         object.";
    MachineNotReady:
        "A Machine has the new version, and its Node isn't ready, or runs another version.",
        "Nothing at first. If it stays, look at the conditions of the Machine and of its Node.";
    ControlPlaneStuck:
        "A new Machine of the control plane has had no Node for more than 10 minutes. A rollout that has begun has to \
         end before another one begins, so a new target waits.",
        "Repair what keeps the Machine from starting, such as an image that doesn't exist under its name; or set the \
         control plane's infrastructureRef to a template of the same version that starts. Then delete the Machine: \
         Cluster API creates another.";
    ClusterApi:
        "Cluster API reports in a condition of the Cluster, of a pool or of a Machine what it is doing. The message \
         is its own.",
        "Whatever the message asks for. Most often nothing.";
    UpgradeUnderWay:
        "The Cluster is on its way to another version, and Cluster API accepts no new one before it has arrived.",
        "Nothing: the controller edits the version afterwards.";
    NoVersion:
        "A MachineDeployment, MachinePool, MachineSet or Machine has no version, so it is not upgraded. Its Machines are \
         judged by what their kubelets report.",
        "Nothing, or set the version of its machines to have it upgraded too.";
    LeftToUser:
        "A MachineSet or Machine outside a MachineDeployment, or a MachinePool that Instar can't upgrade, is older than the \
         target. The upgrade completes without it. Of a MachinePool the message says why: its infrastructure has no \
         condition `Paused`, did not become paused, or the release has no `machineImages` for its kind.",
        "Upgrade it yourself; an upgrade for which it would be too old waits for that.";
    OnDelete:
        "The pool has the update strategy `OnDelete`: Cluster API replaces a Machine only when it is deleted.",
        "Delete the Machines that the message names, at your pace.";
    GateClosed:
        "A gate of the upgrade is closed: no maintenance window is open, or an UpgradePolicy that may have some can't be \
         read. What has begun goes on to its end.",
        "Nothing, if the message says until when. Else change or correct `spec.maintenance` of the UpgradePolicies.";
    PreflightFailed:
        "A check before the upgrade found something wrong. `status.preflight` has the results of all checks.",
        "What the message says; the upgrade then begins by itself. To begin it all the same, skip the check in \
         `spec.preflight.skip`, or set its mode to Warn in an UpgradePolicy.";
    PreflightUnknown:
        "A check before the upgrade can't say whether all is well, so the upgrade doesn't begin.",
        "Nothing at first. If it stays, as for `PreflightFailed`.";
    ApprovalMissing:
        "An UpgradePolicy asks for an approval before this step, in `spec.approval`.",
        "Add the entry of the message to `spec.approvals` of the ClusterUpgrade, if you have the right to.";
    Paused:
        "The Cluster, or an object of it, is paused.",
        "To continue, set `spec.paused` of the Cluster to false, or remove the annotation `cluster.x-k8s.io/paused` of \
         the object.";
    Deleting:
        "The Cluster, or an object of it, is being deleted. Nothing of it is written any more.",
        "Nothing.";
    HookBlocking:
        "A runtime extension's hook, or an annotation in its place, blocks Cluster API's upgrade.",
        "See what the hook that the message names waits for.";
    UpgradeDeferred:
        "An annotation of a pool in the Cluster's `spec.topology.workers` defers its upgrade.",
        "Remove `topology.cluster.x-k8s.io/defer-upgrade` or `topology.cluster.x-k8s.io/hold-upgrade-sequence` when \
         these pools may be upgraded.";
    TopologyNotReconciled:
        "Cluster API can't reconcile the Cluster's topology.",
        "Solve what the message says; it is Cluster API's.";
    TopologyOwned:
        "The object belongs to Cluster API's topology controller, which creates templates and refers to them itself.",
        "Upgrade this Cluster by its `spec.topology.version`.";
    Refused:
        "The API server, or an admission webhook, refused the controller's write. The message is theirs. Where a \
         template has no field for a value, it names the JSON Pointer.",
        "Solve what the message says; the controller tries again.";
    ForeignWriter:
        "Another client changed a version or a template reference after the controller had set it. The controller \
         continues from a newer version of a classic Cluster; where an older one was set, it writes nothing more.",
        "Find the client, such as a GitOps tool with an old manifest. Set the field to what the message says, or edit \
         the target, such as the Cluster's annotation: the upgrade then continues from the older version.";
    Drifted:
        "After the upgrade, another client set a version or a template reference back to what it was before. The \
         controller doesn't change it, and Cluster API may create no machine of an older minor than the control plane's.",
        "Take the field out of what applies it, such as a manifest in Git, and set it to what the message says.";
    Superseded:
        "The Cluster's version was edited to another one than this upgrade's.",
        "Nothing: the newer version has a ClusterUpgrade of its own. Delete this one, or edit its target.";
    SourceMismatch:
        "The control plane isn't at the version of `spec.source`.",
        "Correct `spec.source`, or leave it out.";
    NoTarget:
        "No release in the catalog matches `spec.target`.",
        "Create a KubernetesRelease, or edit the target to one that the message lists.";
    NoRelease:
        "A release that `spec` names is not in the catalog.",
        "Create the KubernetesRelease, or name another one.";
    NoRow:
        "The catalog has no release of a version on the path.",
        "Create a KubernetesRelease of that version.";
    NoPath:
        "No path leads from the present version to the target.",
        "Create the releases that are missing on the way, or edit the target. A cluster never goes to an older version.";
    NoImage:
        "A release on the path has no machine image for a pool.",
        "Create a release of the same version that has one. Releases are immutable.";
    WorkersBehind:
        "Workers are too old for the next version of the control plane, by Kubernetes' version skew policy.",
        "Upgrade these workers, or wait for the upgrade of their pool. Machines and MachineSets outside a \
         MachineDeployment, and MachinePools with the reason `LeftToUser`, are yours to upgrade.";
    PoolAhead:
        "A pool has a newer version than this upgrade would give it. It isn't lowered.",
        "Edit the target to a version that is not older, or recreate the pool.";
    PinOutOfReach:
        "A pool is pinned to a release whose machines can't join the control plane at its present version.",
        "Name another release in `spec.pools`, or wait until the control plane has reached it.";
    NoControlPlane:
        "The controller finds no control plane of the Cluster.",
        "Check `spec.controlPlaneRef` of the Cluster, and that the object exists.";
    NotProvisioned:
        "The control plane of the Cluster has never been up: Cluster API's condition `ControlPlaneInitialized` of the \
         Cluster is not True.",
        "Nothing at first. If it stays, look at the conditions of the Cluster and of its first Machine.";
    NoCluster:
        "The Cluster of `spec.clusterName` doesn't exist.",
        "Create the Cluster, and the upgrade continues; or delete the ClusterUpgrade.";
    AnotherUpgrade:
        "Another ClusterUpgrade of the same Cluster is active.",
        "Edit the target of the active one, or create this one again when that one has finished.";
    Unreadable:
        "An object that the decision needs can't be read.",
        "Correct the field that the message names.";
    TemplateNotVisible:
        "The template that a pool refers to was not found.",
        "Create it, or correct the reference.";
    NoBootstrapTemplate:
        "`spec` sets values of a bootstrap template, and the pool has none.",
        "Remove these patches from `spec`, or give the pool a bootstrap template.";
    ValueMisfit:
        "A value of a release or of a patch doesn't fit into a pool's template, or doesn't stay in it.",
        "Correct the JSON Pointer or the value that the message names.";
    NameTaken:
        "An object has the name of a template that the controller creates, and other content.",
        "If nothing refers to it, delete it; the controller then creates the template. If it belongs to another \
         Cluster, leave it, and point the pool at a copy of its template that has another name.";
    TemplateDeleting:
        "An object with the name of a template that the controller creates is being deleted.",
        "Nothing: the controller creates the template when it is gone. If it stays, look at its finalizers.";
    NoKind:
        "The API server doesn't serve a kind that the Cluster refers to.",
        "Install the provider of this kind.";
    NoContract:
        "The CustomResourceDefinition of a kind has no label for a contract of Cluster API that Instar reads.",
        "Install a version of the provider for the contract v1beta1 or v1beta2.";
    NotServed:
        "The label of a CustomResourceDefinition names a version that the API server doesn't serve.",
        "Install the provider again; its definition is inconsistent.";
    NoRight:
        "The controller has no right to a provider's kind.",
        "Run the `kubectl apply -k config/providers/...` of the message.";
    ReadFailed:
        "The controller couldn't read an object from the API server.",
        "Nothing at first: the controller tries again. If it stays, look at the API server.";
    WriteFailed:
        "The controller couldn't write what it decided.",
        "Solve what the message says; the controller tries again.";
    InvariantBroken:
        "The decision would break an invariant of Instar, so nothing was written.",
        "Report it, with the message and the ClusterUpgrade.";
    Retained:
        "A previous template is still kept. `status.templates` says so instead of `status.waiting`.",
        "Nothing: the controller deletes it later.";
}

impl fmt::Display for WaitingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! failure_reasons {
    ($($variant:ident,)+) => {
        /// Why the controller couldn't read or write what it had to: the reason of the condition `Healthy` while it
        /// is False, and of a Warning Event. Each is a [`WaitingReason`] too.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailureReason {
            $(#[doc = concat!("See [`WaitingReason::", stringify!($variant), "`].")] $variant,)+
        }

        impl FailureReason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The same reason in `status.waiting`.
            #[must_use]
            pub const fn waiting(self) -> WaitingReason {
                match self {
                    $(Self::$variant => WaitingReason::$variant,)+
                }
            }

            /// The reason as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                self.waiting().as_str()
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
