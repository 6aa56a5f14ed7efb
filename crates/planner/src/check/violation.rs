//! What an invariant is called that a decision would break.

use std::fmt;

/// An invariant that a decision breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Something would be written while the cluster, the object or the upgrade is paused or being
    /// deleted, or is the topology controller's.
    Untouchable,
    /// A swap names an object that isn't there.
    UnknownObject,
    /// A swap without the compare.
    NoCompare,
    /// A swap that leaves out what must move together.
    Incomplete,
    /// The control plane would skip a minor.
    SkippedMinor,
    /// A version would go down.
    Lowered,
    /// CoreDNS would go down.
    CoreDnsLowered,
    /// The data of etcd would be read by an older minor version of it.
    EtcdLowered,
    /// What was taken back would be gone to again.
    Spent,
    /// On the way back, something would become what it was not before.
    NotWhatWas,
    /// Workers would be newer than the lowest version that was observed of the control plane.
    WorkersAhead,
    /// Workers would be too far behind the control plane.
    WorkersBehind,
    /// The control plane hasn't got to what its spec says.
    ControlPlaneMoving,
    /// A swap names a template that isn't there.
    NoTemplate,
    /// A template that is there would be written.
    TemplateMutated,
    /// A minted template carries what belongs to another object, or not what must be on it.
    NotFresh,
    /// A template that something refers to would be deleted.
    StillReferred,
    /// What isn't ours would be deleted or written.
    NotOurs,
    /// A pin that a Cluster carries would be changed or taken away.
    PinRewritten,
    /// A gate that isn't open would be passed.
    GateClosed,
    /// A MachinePool, or its infrastructure, would be changed while not both are paused by this upgrade.
    NotPaused,
    /// More pools would be replaced at a time than are asked for.
    TooManyPools,
    /// A Machine would be deleted that has a node, is needed, or may still come up.
    MachineInUse,
    /// The upgrade would be complete while a Node isn't known to have been Ready for long enough.
    NotVerified,
    /// A rollout would be stopped while no maintenance window asks for that.
    StopsOpen,
    /// A pool would be restarted twice for one ClusterUpgrade, or the time of a restart would go back.
    RestartedTwice,
    /// A restart would forget what an object was before an upgrade.
    HistoryLost,
    /// A restart would go on or end, though its Cluster was created after it was asked for.
    RestartUnknown,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untouchable => "it would write while the Cluster, the object or the ClusterUpgrade is paused or being deleted, or to what the topology controller owns",
            Self::UnknownObject => "it would write to an object that does not exist",
            Self::NoCompare => "it would write without a resourceVersion to compare with",
            Self::Incomplete => "it would leave out a field that must change in the same write",
            Self::SkippedMinor => "the control plane would skip a minor version",
            Self::Lowered => "a version would go down",
            Self::CoreDnsLowered => "the CoreDNS version would go down",
            Self::EtcdLowered => "an older minor version of etcd would read the data of a newer one",
            Self::Spent => "it would go again to what was taken back",
            Self::NotWhatWas => "on the way back, an object would become what it was not before the upgrade",
            Self::WorkersAhead => "workers would be newer than the oldest API server of the control plane",
            Self::WorkersBehind => "workers would be too many minor versions behind the control plane",
            Self::ControlPlaneMoving => "the control plane's rollout is not finished",
            Self::NoTemplate => "it would name a template that does not exist",
            Self::TemplateMutated => "it would change a template that exists",
            Self::NotFresh => "a new template would carry fields of the object that it was made from, or lack a field of its own",
            Self::StillReferred => "it would delete a template that is in use",
            Self::NotOurs => "it would delete or change an object that Instar did not make",
            Self::PinRewritten => "it would change or remove a pin that the Cluster carries",
            Self::GateClosed => "it would pass a gate that is not open",
            Self::NotVerified => "it would complete the upgrade before each Node has been Ready for long enough",
            Self::StopsOpen => "it would stop a rollout that no closed maintenance window asks to stop",
            Self::TooManyPools => "more pools would be replaced at a time than the upgrade asks for",
            Self::MachineInUse => "it would delete a Machine that has a node, is needed, or may still come up",
            Self::RestartedTwice => "a pool would be restarted twice for one ClusterUpgrade, or its spec.rollout.after would go back",
            Self::HistoryLost => "a restart would forget what an object was before an upgrade",
            Self::RestartUnknown => "a restart would go on or be complete, though its Cluster was created after it was asked for",
            Self::NotPaused => "it would change a MachinePool that is not paused by this upgrade, or its infrastructure",
        })
    }
}
