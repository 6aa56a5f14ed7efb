//! The rules of admission, by id: the words of messages, metrics, policies and break-glass.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What becomes of an edit that breaks a rule.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Enforcement {
    /// Nothing.
    Off,
    /// It is allowed, with a warning.
    Warn,
    /// It is refused.
    Enforce,
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal,)+) => {
        /// A rule of admission.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Rule {
            $($(#[doc = $doc])+ #[serde(rename = $id)] $variant,)+
        }

        impl Rule {
            /// All rules, in the order in which they are judged and documented.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its id.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)+
                }
            }
        }
    };
}

rules! {
    /// A Cluster's class must be known, since a class that isn't may be wired.
    ClassKnown = "class-known",
    /// The target of a Cluster is a version, a prefix or a release of the catalog.
    ReleaseInCatalog = "release-in-catalog",
    /// A topology Cluster belongs to the catalog of its class.
    CatalogOfClass = "catalog-of-class",
    /// The policies of a Cluster list its catalog.
    CatalogAllowed = "catalog-allowed",
    /// A version is a text that Cluster API can read.
    VersionReadable = "version-readable",
    /// A Cluster's version doesn't go down.
    NoDowngrade = "no-downgrade",
    /// Cluster API finds a path to the target, and each step has a release.
    Path = "path",
    /// Each step's release accepts the version before it.
    UpgradesFrom = "upgrades-from",
    /// etcd 3.6 only after 3.5.26.
    EtcdStep = "etcd-step",
    /// CoreDNS doesn't go down.
    CoreDnsStep = "core-dns-step",
    /// Each pool finds its image at each step that it takes.
    ImageForPool = "image-for-pool",
    /// The class' wiring renders all that the releases set, and the releases set all that it renders.
    WiringRenders = "wiring-renders",
    /// Pins are edited by naming releases of the catalog.
    PinsByHand = "pins-by-hand",
    /// What a created Cluster brings along is what it had elsewhere.
    RestoredCluster = "restored-cluster",
    /// A Cluster's version is edited when the last edit has arrived everywhere.
    OneChange = "one-change",
    /// A Cluster's version is edited while its maintenance windows are open.
    MaintenanceWindow = "maintenance-window",
    /// A topology Cluster's version is edited by its ClusterUpgrade where a policy asks for gates before the control plane.
    StartGates = "start-gates",
    /// A new version of the control plane leaves no worker too far behind.
    WorkersInReach = "workers-in-reach",
    /// A control plane doesn't go down a minor below what runs.
    ControlPlaneDowngrade = "control-plane-downgrade",
    /// The API servers of a control plane are at most one minor apart.
    ApiServersTogether = "api-servers-together",
    /// etcd doesn't go down a minor.
    EtcdDowngrade = "etcd-downgrade",
    /// What a release sets moves in one edit with its version.
    OneRollout = "one-rollout",
    /// A template that is pointed to exists.
    TemplateExists = "template-exists",
    /// A template that a created object names may still come.
    TemplateToCome = "template-to-come",
    /// Templates of a kind that isn't watched can't be checked.
    TemplateUnseen = "template-unseen",
    /// A template is of the kind that was there before.
    TemplateKind = "template-kind",
    /// A template is not another Cluster's.
    TemplateForeign = "template-foreign",
    /// A worker is not newer than any API server.
    WorkerNotNewer = "worker-not-newer",
    /// A worker is not too far behind any API server.
    WorkerNotTooOld = "worker-not-too-old",
    /// kubeadm joins a control plane of its own minor.
    KubeadmJoin = "kubeadm-join",
    /// A worker's version is judged by a control plane's that is known.
    ControlPlaneKnown = "control-plane-known",
    /// A class goes on rendering what its Clusters are pinned to.
    WiringKept = "wiring-kept",
    /// A machine template's spec doesn't change.
    TemplateSpec = "template-spec",
    /// The labels and annotations that a template gives its machines reach new machines only.
    TemplateMetadata = "template-metadata",
    /// A bootstrap template that changes reaches new machines only.
    BootstrapTemplate = "bootstrap-template",
    /// A template that something refers to isn't deleted.
    TemplateInUse = "template-in-use",
    /// A template that is kept for a rollback isn't deleted.
    TemplateKept = "template-kept",
    /// A release's texts can be read.
    ReleaseReadable = "release-readable",
    /// What Clusters are pinned to doesn't change in a release.
    ReleaseSpec = "release-spec",
    /// A release that a Cluster is pinned to isn't deleted.
    ReleaseInUse = "release-in-use",
    /// A ClusterUpgrade's texts can be read.
    UpgradeReadable = "upgrade-readable",
    /// A ClusterUpgrade stays the record of its Cluster.
    UpgradeCluster = "upgrade-cluster",
    /// A ClusterUpgrade goes where the catalog has a release.
    UpgradeTarget = "upgrade-target",
    /// A ClusterUpgrade names pools that exist.
    UpgradePools = "upgrade-pools",
    /// A Cluster has one upgrade that goes on.
    OneUpgrade = "one-upgrade",
    /// Only the upgrade of a classic Cluster is aborted or taken back.
    ClassicOperation = "classic-operation",
    /// A user who approves an upgrade, or lets it through where it would be held, has the right to.
    UpgradeRights = "upgrade-rights",
    /// A user who lifts a hold of Instar's, or changes what its controller keeps in an object, has the right to.
    MarksByHand = "marks-by-hand",
    /// The selector and the windows of an `UpgradePolicy` can be read.
    PolicyReadable = "policy-readable",
    /// The windows of an `UpgradePolicy` open.
    WindowsOpen = "windows-open",
    /// The add-ons of a `KubernetesRelease` and the gates of an `UpgradePolicy` can be read.
    GateReadable = "gate-readable",
    /// Nothing is ready that doesn't say so.
    GateNeedsStatus = "gate-needs-status",
    /// Add-ons and gates reach no Secrets, no foreign namespaces, and nothing that the upgrade itself steers.
    GateReach = "gate-reach",
    /// The break-glass annotation names rules that can be switched off.
    BreakGlass = "break-glass",
    /// No Cluster goes to a release that is to be left.
    ReleaseDeprecated = "release-deprecated",
}

/// What may change a rule's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjustable {
    /// An `UpgradePolicy`, and the break-glass annotation.
    ByPolicy,
    /// The break-glass annotation alone: no policy selects what it guards.
    ByBreakGlass,
    /// Nothing: without the rule there would be nothing to write, or nothing to read.
    Never,
}

impl Rule {
    /// What may change its default.
    #[must_use]
    pub const fn adjustable(self) -> Adjustable {
        match self {
            Self::ReleaseInCatalog
            | Self::VersionReadable
            | Self::NoDowngrade
            | Self::Path
            | Self::ImageForPool
            | Self::WiringRenders
            | Self::PinsByHand
            | Self::RestoredCluster
            | Self::ReleaseReadable
            | Self::ReleaseSpec
            | Self::UpgradeReadable
            | Self::UpgradeCluster
            | Self::UpgradeRights
            | Self::MarksByHand
            | Self::PolicyReadable
            | Self::GateReadable
            | Self::GateReach
            | Self::BreakGlass => Adjustable::Never,
            Self::ReleaseInUse | Self::GateNeedsStatus => Adjustable::ByBreakGlass,
            Self::ClassKnown
            | Self::CatalogOfClass
            | Self::CatalogAllowed
            | Self::UpgradesFrom
            | Self::EtcdStep
            | Self::CoreDnsStep
            | Self::OneChange
            | Self::MaintenanceWindow
            | Self::StartGates
            | Self::WindowsOpen
            | Self::WorkersInReach
            | Self::ControlPlaneDowngrade
            | Self::ApiServersTogether
            | Self::EtcdDowngrade
            | Self::OneRollout
            | Self::TemplateExists
            | Self::TemplateToCome
            | Self::TemplateUnseen
            | Self::TemplateKind
            | Self::TemplateForeign
            | Self::WorkerNotNewer
            | Self::WorkerNotTooOld
            | Self::KubeadmJoin
            | Self::ControlPlaneKnown
            | Self::WiringKept
            | Self::TemplateSpec
            | Self::TemplateMetadata
            | Self::BootstrapTemplate
            | Self::TemplateInUse
            | Self::TemplateKept
            | Self::UpgradeTarget
            | Self::UpgradePools
            | Self::OneUpgrade
            | Self::ClassicOperation
            | Self::ReleaseDeprecated => Adjustable::ByPolicy,
        }
    }

    /// The schema of a rule that a policy may change.
    pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
        let ids: Vec<&str> = Self::ALL
            .iter()
            .filter(|rule| rule.adjustable() == Adjustable::ByPolicy)
            .map(|rule| rule.id())
            .collect();
        json_schema!({ "type": "string", "enum": ids })
    }
}

/// A text that is no rule's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rule")]
pub struct UnknownRule(String);

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = Self::ALL.iter().find(|rule| rule.id() == text);
        rule.copied()
            .ok_or_else(|| UnknownRule(text.chars().take(63).collect()))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_read_back() {
        let ids: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert_eq!(rule.id().parse(), Ok(*rule));
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.id());
        }
        assert_eq!(
            "nonsense".parse::<Rule>().unwrap_err().to_string(),
            "\"nonsense\" is no rule"
        );
    }
}
