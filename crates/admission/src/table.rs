//! The table of rules: all that is said of a rule, in one place.
//!
//! The webhook configuration with its conditions, the page of rules and the list of tests are made
//! of it.

mod cluster;
mod machines;
mod marks;
mod objects;

use instar_api::{Enforcement, Rule};

/// What is said of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleInfo {
    /// What it guards, in a sentence.
    pub guards: &'static str,
    /// Where it comes from: a page of the field, or of our own docs.
    pub source: &'static str,
    /// What its messages say is wrong; `{}` stands for a name or a value.
    pub messages: &'static [&'static str],
    /// What to do, where the message has nothing nearer to say.
    pub remediation: &'static str,
    /// What becomes of an edit that breaks it, where no policy says anything else.
    pub default: Enforcement,
    /// Which edits it is held against.
    pub on: &'static [Trigger],
    /// Whether the change alone breaks it, whatever else is known.
    pub enforceable_by: EnforceableBy,
}

/// What can enforce a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnforceableBy {
    /// A CEL expression over the old and the new object: a ValidatingAdmissionPolicy enforces it too, also while
    /// the admission server is down.
    Cel,
    /// Only the admission server: the rule needs other objects, or a content that CEL can't read.
    Server,
}

/// Edits of one kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trigger {
    /// The kind of object.
    pub guard: GuardedKind,
    /// What has to change for the rule to be asked.
    pub changes: &'static [Change],
}

/// A kind of object that is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GuardedKind {
    /// Clusters.
    Cluster,
    /// Control planes of any provider.
    ControlPlane,
    /// MachineDeployments, MachineSets, MachinePools and Machines.
    Worker,
    /// ClusterClasses.
    ClusterClass,
    /// Machine templates of any provider.
    MachineTemplate,
    /// KubeadmConfigTemplates.
    BootstrapTemplate,
    /// All other templates: of control planes, of infrastructure clusters, of MachinePools, and bootstrap templates but
    /// for kubeadm's.
    OtherTemplate,
    /// KubernetesReleases.
    KubernetesRelease,
    /// ClusterUpgrades.
    ClusterUpgrade,
    /// UpgradePolicies.
    UpgradePolicy,
    /// Marks of Instar's controller, on objects of whatever kind carries them.
    Marks,
}

impl GuardedKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Cluster,
        Self::ControlPlane,
        Self::Worker,
        Self::ClusterClass,
        Self::MachineTemplate,
        Self::BootstrapTemplate,
        Self::OtherTemplate,
        Self::KubernetesRelease,
        Self::ClusterUpgrade,
        Self::UpgradePolicy,
        Self::Marks,
    ];

    /// What changes of its objects any rule asks about, each once.
    #[must_use]
    pub fn changes(self) -> Vec<Change> {
        let mut changes: Vec<Change> = Rule::ALL
            .iter()
            .flat_map(|rule| rule_info(*rule).on)
            .filter(|on| on.guard == self)
            .flat_map(|on| on.changes)
            .copied()
            .collect();
        changes.sort_unstable();
        changes.dedup();
        changes
    }
}

/// A change of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It is created.
    Created,
    /// It is deleted.
    Deleted,
    /// Its Kubernetes version.
    Version,
    /// A Cluster's class.
    Class,
    /// The set of a Cluster's pools: their names and classes.
    Pools,
    /// A Cluster's pins.
    Pins,
    /// The templates that it points to.
    Template,
    /// The images of etcd and CoreDNS.
    Components,
    /// What a class renders, and into what.
    Wiring,
    /// `spec.template.spec`.
    MachinesSpec,
    /// `spec.template.metadata`.
    MachinesMetadata,
    /// Its `spec`.
    Spec,
    /// The label that names its catalog.
    Catalog,
    /// The annotation of a classic Cluster that asks for a version.
    VersionAnnotation,
    /// The annotations that Instar's controller keeps on it, and the pause that one of them is of.
    Marks,
}

/// What is said of a rule.
#[must_use]
pub const fn rule_info(rule: Rule) -> RuleInfo {
    match rule {
        Rule::ClassKnown => cluster::CLASS_KNOWN,
        Rule::ReleaseInCatalog => cluster::RELEASE_IN_CATALOG,
        Rule::CatalogOfClass => cluster::CATALOG_OF_CLASS,
        Rule::CatalogAllowed => cluster::CATALOG_ALLOWED,
        Rule::VersionReadable => cluster::VERSION_READABLE,
        Rule::NoDowngrade => cluster::NO_DOWNGRADE,
        Rule::Path => cluster::PATH,
        Rule::UpgradesFrom => cluster::UPGRADES_FROM,
        Rule::EtcdStep => cluster::ETCD_STEP,
        Rule::CoreDnsStep => cluster::CORE_DNS_STEP,
        Rule::ImageForPool => cluster::IMAGE_FOR_POOL,
        Rule::WiringRenders => cluster::WIRING_RENDERS,
        Rule::PinsByHand => cluster::PINS_BY_HAND,
        Rule::RestoredCluster => cluster::RESTORED_CLUSTER,
        Rule::OneChange => cluster::ONE_CHANGE,
        Rule::MaintenanceWindow => cluster::MAINTENANCE_WINDOW,
        Rule::StartGates => cluster::START_GATES,
        Rule::WorkersInReach => cluster::WORKERS_IN_REACH,
        Rule::ControlPlaneDowngrade => machines::CONTROL_PLANE_DOWNGRADE,
        Rule::ApiServersTogether => machines::API_SERVERS_TOGETHER,
        Rule::EtcdDowngrade => machines::ETCD_DOWNGRADE,
        Rule::OneRollout => machines::ONE_ROLLOUT,
        Rule::TemplateExists => machines::TEMPLATE_EXISTS,
        Rule::TemplateToCome => machines::TEMPLATE_TO_COME,
        Rule::TemplateUnseen => machines::TEMPLATE_UNSEEN,
        Rule::TemplateKind => machines::TEMPLATE_KIND,
        Rule::TemplateForeign => machines::TEMPLATE_FOREIGN,
        Rule::WorkerNotNewer => machines::WORKER_NOT_NEWER,
        Rule::WorkerNotTooOld => machines::WORKER_NOT_TOO_OLD,
        Rule::KubeadmJoin => machines::KUBEADM_JOIN,
        Rule::ControlPlaneKnown => machines::CONTROL_PLANE_KNOWN,
        Rule::WiringKept => cluster::WIRING_KEPT,
        Rule::TemplateSpec => objects::TEMPLATE_SPEC,
        Rule::TemplateMetadata => objects::TEMPLATE_METADATA,
        Rule::BootstrapTemplate => objects::BOOTSTRAP_TEMPLATE,
        Rule::TemplateInUse => objects::TEMPLATE_IN_USE,
        Rule::TemplateKept => objects::TEMPLATE_KEPT,
        Rule::ReleaseReadable => objects::RELEASE_READABLE,
        Rule::ReleaseSpec => objects::RELEASE_SPEC,
        Rule::ReleaseInUse => objects::RELEASE_IN_USE,
        Rule::UpgradeReadable => objects::UPGRADE_READABLE,
        Rule::UpgradeCluster => objects::UPGRADE_CLUSTER,
        Rule::UpgradeTarget => objects::UPGRADE_TARGET,
        Rule::UpgradePools => objects::UPGRADE_POOLS,
        Rule::OneUpgrade => objects::ONE_UPGRADE,
        Rule::ClassicOperation => objects::CLASSIC_OPERATION,
        Rule::UpgradeRights => objects::UPGRADE_RIGHTS,
        Rule::MarksByHand => marks::MARKS_BY_HAND,
        Rule::PolicyReadable => objects::POLICY_READABLE,
        Rule::WindowsOpen => objects::WINDOWS_OPEN,
        Rule::GateReadable => objects::GATE_READABLE,
        Rule::GateNeedsStatus => objects::GATE_NEEDS_STATUS,
        Rule::GateReach => objects::GATE_REACH,
        Rule::BreakGlass => objects::BREAK_GLASS,
        Rule::ReleaseDeprecated => objects::RELEASE_DEPRECATED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flux deletes an object of which it is told that it is.
    #[test]
    fn nothing_is_called_immutable() {
        for rule in Rule::ALL {
            let info = rule_info(*rule);
            let texts = info.messages.iter().copied();
            for text in texts.chain([info.remediation, rule.id()]) {
                assert!(!text.contains("immutable"), "{rule}: {text}");
            }
        }
    }

    #[test]
    fn every_rule_is_held_against_something() {
        for rule in Rule::ALL {
            let info = rule_info(*rule);
            let everywhere = *rule == Rule::BreakGlass;
            assert_eq!(info.on.is_empty(), everywhere, "{rule}");
            assert!(!info.messages.is_empty() && !info.remediation.is_empty(), "{rule}");
        }
        for guard in GuardedKind::ALL {
            assert!(!guard.changes().is_empty(), "{guard:?}");
        }
    }
}
