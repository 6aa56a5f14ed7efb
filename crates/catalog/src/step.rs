//! Whether a cluster that runs one row may go to another one, as far as the two rows say.

use std::fmt;

use instar_domain::BuildOrder;

use crate::{
    Release,
    core_dns::{self, Refused},
    etcd::Etcd,
};

/// Why a cluster can't go from one row to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepRefusal {
    /// The other row is older, or of a version that has no order with this one.
    NotNewer,
    /// A control plane goes through every minor.
    SkipsMinor,
    /// `spec.upgradesFrom` of the other row.
    Source {
        /// What it requires.
        requirement: String,
    },
    /// etcd 3.6 may follow only on 3.5.26 or later, no minor may be skipped, and none reads what a newer one has written.
    Etcd {
        /// What runs.
        present: Etcd,
        /// What would run.
        next: Etcd,
    },
    /// Cluster API migrates CoreDNS only upwards.
    CoreDns {
        /// What runs.
        present: String,
        /// What would run.
        next: String,
        /// What is wrong with it.
        why: Refused,
    },
}

impl fmt::Display for StepRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNewer => f.write_str("it is not older"),
            Self::SkipsMinor => f.write_str("a control plane can't skip a minor"),
            Self::Source { requirement } => write!(f, "spec.upgradesFrom is {requirement}"),
            Self::Etcd { present, next } if next.is_minor_below(present) => {
                write!(f, "etcd {next} can't read what etcd {present} has written")
            }
            Self::Etcd { present, next } => match present.refuses(next) {
                Some(why) => write!(f, "etcd {next} after etcd {present}, and {why}"),
                None => write!(f, "etcd {next} after etcd {present}"),
            },
            Self::CoreDns { present, next, why } => match why {
                Refused::Lower => write!(
                    f,
                    "CoreDNS {next} after {present}, and Cluster API migrates it only upwards"
                ),
                Refused::Unreadable => write!(f, "CoreDNS {next}, in which Cluster API finds no version"),
            },
        }
    }
}

impl Release {
    /// The etcd that a control plane with a stacked etcd runs at this row: its tag, or kubeadm's own.
    #[must_use]
    pub fn etcd(&self) -> Etcd {
        self.etcd_tag().map_or_else(
            || Etcd::Kubeadm(self.version().clone()),
            |tag| Etcd::Tag(tag.to_owned()),
        )
    }

    /// Why a cluster with kubeadm's control plane that runs this row can't go to another one in one step; nothing where it
    /// can. Another row of the same version may be gone to whatever its revision.
    #[must_use]
    pub fn refuses_step_to(&self, next: &Self) -> Option<StepRefusal> {
        (self.version() != next.version())
            .then(|| self.refuses_version_of(next))
            .flatten()
            .or_else(|| self.refuses_components_of(next))
    }

    fn refuses_version_of(&self, next: &Self) -> Option<StepRefusal> {
        if next.version().compare(self.version()) != BuildOrder::Greater {
            return Some(StepRefusal::NotNewer);
        }
        let (present, wanted) = (self.version().minor(), next.version().minor());
        if present.major != wanted.major || wanted.minor.saturating_sub(present.minor) > 1 {
            return Some(StepRefusal::SkipsMinor);
        }
        let requirement = next.refuses_source(self.version())?;
        Some(StepRefusal::Source { requirement })
    }

    fn refuses_components_of(&self, next: &Self) -> Option<StepRefusal> {
        let (present_etcd, next_etcd) = (self.etcd(), next.etcd());
        if !present_etcd.may_be_followed_by(&next_etcd) || next_etcd.is_minor_below(&present_etcd) {
            return Some(StepRefusal::Etcd {
                present: present_etcd,
                next: next_etcd,
            });
        }
        let (present, next) = (self.core_dns_tag()?, next.core_dns_tag()?);
        let why = core_dns::refuses(present, next)?;
        Some(StepRefusal::CoreDns {
            present: present.to_owned(),
            next: next.to_owned(),
            why,
        })
    }
}
