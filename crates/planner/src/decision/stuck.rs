//! What ends a rollout of the control plane whose new machine never comes up.

use std::fmt;

use instar_capi::labels::DELETE_MACHINE;
use instar_domain::KubeVersion;

/// What ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StuckRemedy {
    /// A user repairs the machine, or replaces its template.
    Repair,
    /// The same, or a user names another release: the control plane goes back to this version then, and from there to it.
    AnotherRelease(KubeVersion),
    /// A user repairs the machine, or names another release of the version: the machine is deleted then, since Cluster API
    /// owns the reference to the template.
    NameAnother,
    /// The control plane goes back to this version, since another release is asked for.
    GoesBack(KubeVersion),
    /// It isn't of the version, and of several that aren't Cluster API deletes another one first, and waits for this one to
    /// become well: a user says that this one goes first.
    DeleteFirst,
}

impl StuckRemedy {
    /// What comes after the machine and its time: the version of the rollout, and the release that comes next.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, version: &KubeVersion, next: Option<&str>) -> fmt::Result {
        if let Self::GoesBack(before) = self {
            write!(f, ": the control plane goes back from {version} to {before}")?;
            return match next {
                Some(next) => write!(f, ", and from there to release {next}"),
                None => Ok(()),
            };
        }
        if *self == Self::DeleteFirst {
            return write!(
                f,
                ": the control plane goes to {version}, and Cluster API deletes another Machine first and waits for this one \
                 to become healthy; set the annotation {DELETE_MACHINE}: \"\" on the Machine, and it goes first"
            );
        }
        write!(f, ": the rollout to {version} has to end first")?;
        if let Some(next) = next {
            write!(f, ", and release {next} waits for that")?;
        }
        f.write_str("; repair what keeps the Machine from starting, or ")?;
        match self {
            Self::AnotherRelease(before) => write!(
                f,
                "name another release in spec.target of the ClusterUpgrade: the control plane then goes back to \
                 {before}, and from there to that release"
            ),
            Self::NameAnother => write!(
                f,
                "name another release of {version} in spec.target of the ClusterUpgrade or in spec.topology.version: \
                 the Machine is deleted then"
            ),
            Self::Repair | Self::GoesBack(_) | Self::DeleteFirst => write!(
                f,
                "set the control plane's infrastructureRef to a template of {version} that starts, and delete the Machine"
            ),
        }
    }
}
