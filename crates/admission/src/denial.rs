//! A refusal: which rule, which object, which field, which value, and the way out.

use std::fmt;

/// The rules by which admission refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A Cluster's class must be known, since a class that isn't may be wired.
    ClassKnown,
    /// The target of a Cluster is a version, a prefix or a release of the catalog.
    ReleaseInCatalog,
    /// A Cluster's version doesn't go down.
    NoDowngrade,
    /// Cluster API finds a path to the target, and each step has a release.
    Path,
    /// Each step's release accepts the version before it.
    UpgradesFrom,
    /// etcd 3.6 only after 3.5.26.
    EtcdStep,
    /// Each pool finds its image at each step that it takes.
    ImageForPool,
    /// The class' wiring renders all that the releases set, and the releases set all that it renders.
    WiringRenders,
    /// Pins are edited by naming releases of the catalog.
    PinsByHand,
    /// A machine template's spec doesn't change.
    TemplateImmutable,
    /// A release's texts can be read.
    ReleaseReadable,
    /// A release that a Cluster is pinned to isn't deleted.
    ReleaseInUse,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 12] = [
        Self::ClassKnown,
        Self::ReleaseInCatalog,
        Self::NoDowngrade,
        Self::Path,
        Self::UpgradesFrom,
        Self::EtcdStep,
        Self::ImageForPool,
        Self::WiringRenders,
        Self::PinsByHand,
        Self::TemplateImmutable,
        Self::ReleaseReadable,
        Self::ReleaseInUse,
    ];

    /// The rule's id, as messages, metrics and docs name it.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::ClassKnown => "class-known",
            Self::ReleaseInCatalog => "release-in-catalog",
            Self::NoDowngrade => "no-downgrade",
            Self::Path => "path",
            Self::UpgradesFrom => "upgrades-from",
            Self::EtcdStep => "etcd-step",
            Self::ImageForPool => "image-for-pool",
            Self::WiringRenders => "wiring-renders",
            Self::PinsByHand => "pins-by-hand",
            Self::TemplateImmutable => "template-immutable",
            Self::ReleaseReadable => "release-readable",
            Self::ReleaseInUse => "release-in-use",
        }
    }

    /// What the rule guards, in a sentence for the docs.
    #[must_use]
    pub const fn guards(self) -> &'static str {
        match self {
            Self::ClassKnown => {
                "A Cluster is created, or moved to another version or class, only when its ClusterClass has been seen."
            }
            Self::ReleaseInCatalog => {
                "`spec.topology.version` is a version, a prefix (`v1.36`) or the name of a KubernetesRelease."
            }
            Self::NoDowngrade => "`spec.topology.version` never goes down.",
            Self::Path => {
                "Cluster API finds a path from the present version to the target, the skew of Kubernetes holds on it, and each of its steps has a release."
            }
            Self::UpgradesFrom => "The release of each step accepts the version before it (`spec.upgradesFrom`).",
            Self::EtcdStep => {
                "etcd 3.6 follows only after etcd 3.5.26 or later has run (etcd.io/blog/2025/zombie_members_upgrade)."
            }
            Self::ImageForPool => {
                "The release of each step has an image for the control plane and for each pool that takes the step."
            }
            Self::WiringRenders => {
                "The class' wiring renders every value that a pinned release sets, and every value that it renders is set."
            }
            Self::PinsByHand => {
                "The annotation `upgrade.cluster.x-k8s.io/releases` is edited by naming other releases of the same versions, and in no other way."
            }
            Self::TemplateImmutable => {
                "`spec.template.spec` of a machine template never changes, but in the topology controller's dry run."
            }
            Self::ReleaseReadable => "Every text of a KubernetesRelease can be read.",
            Self::ReleaseInUse => "A KubernetesRelease that a Cluster is pinned to is not deleted.",
        }
    }

    /// The HTTP code of the refusal: 422 for a value that can't be, 403 for one that may not be now.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::ReleaseInCatalog
            | Self::NoDowngrade
            | Self::Path
            | Self::UpgradesFrom
            | Self::EtcdStep
            | Self::ImageForPool
            | Self::PinsByHand
            | Self::TemplateImmutable
            | Self::ReleaseReadable => 422,
            Self::ClassKnown | Self::WiringRenders | Self::ReleaseInUse => 403,
        }
    }

    /// The reason of the refusal, as Kubernetes names it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self.code() {
            422 => "Invalid",
            _ => "Forbidden",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule.
    pub rule: Rule,
    /// Kind, namespace and name.
    pub object: String,
    /// The field, as kubectl writes it.
    pub field: &'static str,
    /// What is wrong, with the value.
    pub what: String,
    /// What to do.
    pub way_out: String,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            object,
            field,
            what,
            way_out,
        } = self;
        write!(f, "{object}: {field}: {what}; {way_out} [rule {rule}]")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique() {
        let ids: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
    }
}
