//! The reasons of Events, each with the objects that it is about, its type, when it is posted, and what to do.

use std::fmt;

use crate::{FailureReason, UpgradePhase};

/// The type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSeverity {
    /// Information.
    Normal,
    /// A problem.
    Warning,
}

impl EventSeverity {
    /// The type as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

macro_rules! event_reasons {
    ($($variant:ident: $severity:ident, $regarding:literal, $when:literal, $remedy:literal;)+) => {
        /// The reason of an Event of Instar.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventReason {
            $(#[doc = $when] $variant,)+
        }

        impl EventReason {
            /// All reasons, in the order of the reference page.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The reason as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// The type of its Events.
            #[must_use]
            pub const fn severity(self) -> EventSeverity {
                match self {
                    $(Self::$variant => EventSeverity::$severity,)+
                }
            }

            /// The objects that get such an Event.
            #[must_use]
            pub const fn regarding(self) -> &'static str {
                match self {
                    $(Self::$variant => $regarding,)+
                }
            }

            /// When it is posted.
            #[must_use]
            pub const fn when(self) -> &'static str {
                match self {
                    $(Self::$variant => $when,)+
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

event_reasons! {
    Held: Normal, "ClusterUpgrade, Cluster",
        "The upgrade can't continue before something happens.",
        "Solve what the note says; `status.health` has all of it.";
    ControlPlane: Normal, "ClusterUpgrade, Cluster",
        "The upgrade of the control plane begins or continues.",
        "Nothing.";
    Workers: Normal, "ClusterUpgrade, Cluster",
        "The control plane has arrived, and the upgrade of the workers begins or continues.",
        "Nothing.";
    Verifying: Normal, "ClusterUpgrade, Cluster",
        "Every machine has the version that it should have, and it is seen whether the cluster works: its Nodes, and what \
         else `status.health` names.",
        "Nothing.";
    Completed: Normal, "ClusterUpgrade, Cluster",
        "Every machine has the version that it should have, and the cluster works.",
        "Nothing.";
    Refused: Normal, "ClusterUpgrade, Cluster",
        "The upgrade will not be done before its spec is edited.",
        "Edit `spec`, or delete the ClusterUpgrade; the note says why.";
    Drifted: Warning, "ClusterUpgrade, Cluster",
        "After the upgrade, another client set a version or a template reference back to what it was before.",
        "Take the field out of what applies it, such as a manifest in Git, and set it to what the note says.";
    RollingBack: Normal, "ClusterUpgrade, Cluster",
        "Another ClusterUpgrade takes the upgrade back.",
        "Nothing.";
    RolledBack: Normal, "ClusterUpgrade, Cluster",
        "Another ClusterUpgrade has taken the upgrade back.",
        "Nothing: edit its target when it should begin again.";
    Aborted: Normal, "ClusterUpgrade, Cluster",
        "The upgrade was aborted, and has ended where the control plane stood.",
        "Nothing: edit its target or its operation when it should go on.";
    Failed: Warning, "ClusterUpgrade, Cluster",
        "An add-on or a gate with `onTimeout: Fail` has timed out, and the upgrade has ended.",
        "Mend what the note says, and edit its spec when it should go on.";
    StepFailed: Warning, "ClusterUpgrade, Cluster",
        "A step of the upgrade has failed: a pool makes no progress, or a Node isn't ready, for longer than `progressDeadline`.",
        "What the note says; `status.health` has the object and what to do.";
    CreatedRollback: Warning, "ClusterUpgrade, Cluster",
        "The upgrade has failed, and the controller created a ClusterUpgrade that takes it back, as `spec.rollback.onFailure` \
         asks for.",
        "Nothing: see why it failed in the note, and in the annotation `upgrade.cluster.x-k8s.io/on-failure` of that \
         ClusterUpgrade.";
    WindowOpened: Normal, "ClusterUpgrade, Cluster",
        "A maintenance window of an upgrade that goes on has opened.",
        "Nothing.";
    WindowClosed: Normal, "ClusterUpgrade, Cluster",
        "The maintenance windows of an upgrade that goes on have closed. What has begun goes on to its end.",
        "Nothing: it goes on when one opens.";
    GateOpened: Normal, "ClusterUpgrade, Cluster",
        "A check, an approval, an add-on or a gate holds the upgrade no more: it passes, it was skipped, it was given, or it \
         is ready.",
        "Nothing.";
    GateClosed: Normal, "ClusterUpgrade, Cluster",
        "A check, a missing approval, an add-on or a gate holds the upgrade. What has begun goes on to its end.",
        "What the note says; `status.health` has all that holds it.";
    PinnedPath: Normal, "ClusterUpgrade, Cluster",
        "The controller wrote into the Cluster which releases the control plane goes through.",
        "Nothing.";
    MintedTemplate: Normal, "ClusterUpgrade, Cluster",
        "The controller created a template for a pool.",
        "Nothing.";
    ValueNormalised: Normal, "ClusterUpgrade, Cluster",
        "A webhook of the provider changed a value of a release or of a patch in a template that the controller created.",
        "Nothing, if the value means the same; the template is used as it is. Else correct the value in a new release.";
    UpgradingControlPlane: Normal, "ClusterUpgrade, Cluster",
        "The controller set the version and the template of the control plane.",
        "Nothing.";
    UpgradingWorkers: Normal, "ClusterUpgrade, Cluster",
        "The controller set the version and the template of a MachineDeployment.",
        "Nothing.";
    HeldPool: Normal, "ClusterUpgrade, Cluster",
        "The controller paused a MachineDeployment: one of a topology Cluster, so that it waits for its gates, or one whose \
         rollout stops until a maintenance window opens.",
        "Nothing: the controller resumes it.";
    ReleasedPool: Normal, "ClusterUpgrade, Cluster",
        "The controller resumed a MachineDeployment that it had paused.",
        "Nothing.";
    DeletedTemplate: Normal, "ClusterUpgrade, Cluster",
        "The controller deleted a template of its own that nothing refers to any more.",
        "Nothing.";
    FollowedRelease: Normal, "ClusterUpgrade, Cluster",
        "Pools of a topology Cluster got another release of the version that they run, after the control plane.",
        "Nothing.";
    DeletedMachine: Warning, "ClusterUpgrade, Cluster",
        "The controller deleted a Machine of a topology Cluster's control plane that never got a node, since the control \
         plane asks for another release by now and Cluster API waits for that Machine.",
        "Nothing: Cluster API creates another Machine.";
    EditedVersion: Normal, "ClusterUpgrade, Cluster",
        "The controller set `spec.topology.version` of a Cluster, for a ClusterUpgrade.",
        "Nothing.";
    CompletedPins: Normal, "ClusterUpgrade, Cluster",
        "The controller added releases to the pins of a Cluster, for versions that Cluster API plans and that had none.",
        "Nothing.";
    VersionAnnotationWaits: Normal, "Cluster",
        "The annotation `upgrade.cluster.x-k8s.io/version` has a new value while another ClusterUpgrade is active.",
        "Nothing, if it may wait. Else delete the ClusterUpgrade that the note names, or edit its target.";
    AnnotationWithoutEffect: Warning, "Cluster",
        "The annotation `upgrade.cluster.x-k8s.io/version` is empty or on a Cluster with `spec.topology`, or an annotation of the same domain is not known.",
        "What the note says.";
    NameTaken: Warning, "ClusterUpgrade, Cluster",
        "An object has the name of a template that the controller creates, and other content.",
        "What the note says: delete it if nothing refers to it, and never if it belongs to another Cluster.";
    NoKind: Warning, "ClusterUpgrade, Cluster",
        "The API server doesn't serve a kind that the Cluster refers to.",
        "Install the provider of this kind.";
    NoContract: Warning, "ClusterUpgrade, Cluster",
        "The CustomResourceDefinition of a kind has no label for a contract of Cluster API that Instar reads.",
        "Install a version of the provider for the contract v1beta1 or v1beta2.";
    NotServed: Warning, "ClusterUpgrade, Cluster",
        "The label of a CustomResourceDefinition names a version that the API server doesn't serve.",
        "Install the provider again; its definition is inconsistent.";
    NoRight: Warning, "ClusterUpgrade, Cluster",
        "The controller has no right to a provider's kind.",
        "Run the `kubectl apply -k config/providers/...` of the note.";
    ReadFailed: Warning, "ClusterUpgrade, Cluster",
        "The controller couldn't read an object from the API server.",
        "Nothing at first: the controller tries again. If it stays, look at the API server.";
    WriteFailed: Warning, "ClusterUpgrade, Cluster",
        "The API server refused a write of the controller.",
        "Solve what the note says; the controller tries again.";
    InvariantBroken: Warning, "ClusterUpgrade, Cluster",
        "The decision would break an invariant of Instar, so nothing was written.",
        "Report it, with the note and the ClusterUpgrade.";
    RuleSwitchedOff: Warning, "the object that was edited",
        "An edit was admitted although it breaks a rule, since its annotation \
         `upgrade.cluster.x-k8s.io/break-glass` switches the rule off.",
        "Check that it was intended: the note names the user and the rule.";
    MadeAuthority: Normal, "Secret",
        "The controller made a CA for the certificates of the admission server (`--webhook-certificates=self-signed`).",
        "Nothing: the CA of before is trusted too until every server has a certificate of the new one.";
    MadeCertificate: Normal, "Secret",
        "The controller made a certificate for the admission server.",
        "Nothing: the servers read it within two minutes.";
    CertificatesFailed: Warning, "Secret",
        "The controller can't read or write the certificates of the admission server, or the webhook configurations.",
        "What the note says. While it lasts no certificate is renewed; those that are there stay valid for months.";
    CrdSkew: Warning, "CustomResourceDefinition",
        "A CustomResourceDefinition of Instar doesn't fit the controller that runs, which therefore writes nothing.",
        "What the note says; [crd-skew.md](crd-skew.md) has all cases.";
}

impl EventReason {
    /// The reason of the Event when an upgrade enters a phase. None enters `Pending`: an upgrade begins in it.
    #[must_use]
    pub const fn of_phase(phase: UpgradePhase) -> Option<Self> {
        match phase {
            UpgradePhase::Pending => None,
            UpgradePhase::Held => Some(Self::Held),
            UpgradePhase::ControlPlane => Some(Self::ControlPlane),
            UpgradePhase::Workers => Some(Self::Workers),
            UpgradePhase::Verifying => Some(Self::Verifying),
            UpgradePhase::Completed => Some(Self::Completed),
            UpgradePhase::Refused => Some(Self::Refused),
            UpgradePhase::RollingBack => Some(Self::RollingBack),
            UpgradePhase::RolledBack => Some(Self::RolledBack),
            UpgradePhase::Aborted => Some(Self::Aborted),
            UpgradePhase::Failed => Some(Self::Failed),
        }
    }
}

impl From<FailureReason> for EventReason {
    fn from(reason: FailureReason) -> Self {
        match reason {
            FailureReason::NameTaken => Self::NameTaken,
            FailureReason::NoKind => Self::NoKind,
            FailureReason::NoContract => Self::NoContract,
            FailureReason::NotServed => Self::NotServed,
            FailureReason::NoRight => Self::NoRight,
            FailureReason::ReadFailed => Self::ReadFailed,
            FailureReason::WriteFailed => Self::WriteFailed,
            FailureReason::InvariantBroken => Self::InvariantBroken,
        }
    }
}

impl fmt::Display for EventReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_one_reason_in_the_status_and_in_its_event() {
        for failure in FailureReason::ALL {
            assert_eq!(EventReason::from(*failure).as_str(), failure.as_str());
            assert_eq!(EventReason::from(*failure).severity(), EventSeverity::Warning);
        }
    }

    #[test]
    fn the_event_of_a_phase_has_its_name() {
        for phase in [
            UpgradePhase::Held,
            UpgradePhase::ControlPlane,
            UpgradePhase::Workers,
            UpgradePhase::Verifying,
            UpgradePhase::Completed,
            UpgradePhase::Refused,
            UpgradePhase::Failed,
        ] {
            assert_eq!(
                EventReason::of_phase(phase).map(EventReason::as_str),
                Some(phase.as_str())
            );
        }
    }
}
