//! What the rules may know beside the request: the objects as the last events have shown them.
//!
//! Every answer comes from memory, at once. What isn't known is a value of its own ([`Lookup`],
//! `None`), so that each rule has to decide what follows.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{CatalogName, UpgradePolicySpec, WindowOverride};
use instar_capi::{
    ClusterClass, ControlPlaneSpec, ControlPlaneStatus, KubeadmControlPlane, Lifecycle, ManagedBy, Reference, Topology,
    VersionCount, WorkerKind,
};
use instar_catalog::Catalog;
use instar_domain::{KubeVersion, skew::ApiServers};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;

/// What is known.
pub trait ClusterState: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;

    /// The rows of a catalog.
    fn catalog(&self, name: &CatalogName) -> Arc<Catalog>;

    /// A ClusterClass.
    fn class(&self, namespace: &str, name: &str) -> Option<Arc<ClusterClass>>;

    fn cluster(&self, namespace: &str, name: &str) -> Option<Arc<CachedCluster>>;

    /// What becomes of a Cluster. One that can't be decoded may be paused, so it counts as that.
    fn lifecycle(&self, namespace: &str, cluster: &str) -> Option<Lifecycle>;

    /// The Clusters of a class, by their keys.
    fn clusters_of(&self, class_namespace: &str, class: &str) -> Vec<Arc<CachedCluster>>;

    /// The Clusters that are pinned to a release, as namespace/name.
    fn pinned_to(&self, release: &str) -> Vec<String>;

    /// The ClusterUpgrades that are not over and have a release on their path, as namespace/name.
    fn upgrading_to(&self, release: &str) -> Vec<String>;

    /// The KubeadmControlPlane of a Cluster.
    fn control_plane(&self, namespace: &str, cluster: &str) -> Option<Arc<KubeadmControlPlane>>;

    /// The workers of a Cluster: MachineDeployments, MachinePools, and MachineSets and Machines that
    /// nothing owns, by kind and name.
    fn workers(&self, namespace: &str, cluster: &str) -> Vec<CachedWorker>;

    fn template(&self, template: &TemplateKey<'_>) -> Lookup<Arc<CachedTemplate>>;

    /// What refers to a template, and isn't being deleted.
    fn users_of(&self, template: &TemplateKey<'_>) -> Vec<TemplateUser>;

    /// The control planes that Clusters of a namespace refer to, and that can't be looked at now.
    fn unseen_control_planes(&self, namespace: &str) -> Vec<UnseenControlPlane>;

    /// The versions that the control plane of a Cluster runs, if it is of another kind than kubeadm's: by what it says
    /// itself.
    fn foreign_versions(&self, namespace: &str, cluster: &str) -> Option<Versions>;

    /// Until when a template is kept for a rollback.
    fn kept(&self, template: &TemplateKey<'_>) -> Option<Kept>;

    /// The ClusterUpgrades of a Cluster that are not over.
    fn upgrades(&self, namespace: &str, cluster: &str) -> Vec<CachedUpgrade>;

    /// The policies of a namespace.
    fn policies(&self, namespace: &str) -> Vec<Arc<UpgradePolicySpec>>;

    /// The names of the policies of a namespace that can't be decoded.
    fn unreadable_policies(&self, namespace: &str) -> Vec<String>;

    /// The day, in UTC.
    fn today(&self) -> Date {
        self.now().to_zoned(TimeZone::UTC).date()
    }
}

/// What a cache answers about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<T> {
    /// The object exists.
    Found(T),
    /// The kind is watched, and it has no such object.
    NotFound,
    /// The kind was not looked at before, and is from now on.
    NotYet(String),
    /// Objects of the kind can't be looked at now, for this reason.
    Unavailable(String),
}

/// A Cluster, as far as it is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CachedCluster {
    pub namespace: String,
    pub name: String,
    /// Its labels, by which policies select it.
    pub labels: BTreeMap<String, String>,
    /// Whether it is paused or being deleted.
    pub lifecycle: Lifecycle,
    /// `spec.topology`.
    pub topology: Option<Topology>,
    /// The text of its pins.
    pub pins: Option<Arc<str>>,
    pub control_plane: Option<Reference>,
    /// The versions that its status reports for the control plane.
    pub versions: Option<Versions>,
}

/// The lowest and the highest of the versions that run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Versions {
    pub lowest: KubeVersion,
    pub highest: KubeVersion,
}

impl Versions {
    /// Of what a status counts. What can't be read, which Cluster API doesn't write, is left out.
    #[must_use]
    pub fn of(counts: &[VersionCount]) -> Option<Self> {
        let versions: Vec<KubeVersion> = counts.iter().filter_map(|count| count.version.parse().ok()).collect();
        Some(Self {
            lowest: versions.iter().min()?.clone(),
            highest: versions.into_iter().max()?,
        })
    }

    /// As the API servers of a control plane.
    #[must_use]
    pub fn api_servers(&self) -> ApiServers {
        ApiServers::observed([&self.lowest, &self.highest]).unwrap_or_else(|| ApiServers::at(&self.lowest))
    }

    /// With one more.
    #[must_use]
    pub fn with(self, version: &KubeVersion) -> Self {
        Self {
            lowest: self.lowest.min(version.clone()),
            highest: self.highest.max(version.clone()),
        }
    }
}

/// Workers that share a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CachedWorker {
    /// What they are.
    pub kind: WorkerKind,
    pub name: String,
    /// Who moves them.
    pub managed_by: ManagedBy,
    /// The name of the MachineDeployment or the MachinePool in its Cluster's topology.
    pub in_topology: Option<String>,
    /// The versions: of what is asked and of the machines that there are.
    pub versions: Versions,
}

/// A template's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateKey<'a> {
    /// The API group.
    pub group: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl<'a> TemplateKey<'a> {
    /// The template that a reference of an object in a namespace names.
    #[must_use]
    pub fn of(namespace: &'a str, reference: &'a Reference) -> Self {
        Self {
            group: &reference.api_group,
            kind: &reference.kind,
            namespace,
            name: &reference.name,
        }
    }
}

/// A template, as far as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedTemplate {
    /// The names of the Clusters that it belongs to, by its owners and its label; empty where it belongs
    /// to none yet.
    pub clusters: Vec<String>,
    /// The release that Instar minted it for.
    pub release: Option<String>,
    /// Its `spec`, as JSON text.
    pub spec: Arc<str>,
}

impl CachedTemplate {
    /// Its `spec`; nothing where the text is none, as of a template that is known by its name alone.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        serde_json::from_str(&self.spec).ok()
    }
}

/// Something that refers to a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateUser {
    pub kind: String,
    pub name: String,
    /// The Cluster, where it belongs to one.
    pub cluster: Option<String>,
}

/// A control plane of which it isn't known what it refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnseenControlPlane {
    pub kind: String,
    pub name: String,
    /// The Cluster that refers to it.
    pub cluster: String,
    /// Why it can't be looked at.
    pub why: String,
}

/// Why a template that nothing refers to stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The ClusterUpgrade that minted over it.
    pub upgrade: String,
    pub cluster: String,
    /// Until when; absent while the upgrade goes on.
    pub until: Option<Timestamp>,
}

/// A ClusterUpgrade that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedUpgrade {
    pub name: String,
    /// Where to, as it was written.
    pub target: String,
    /// The releases on its path.
    pub path: Vec<String>,
    /// That it goes on outside of maintenance windows.
    pub override_window: Option<Box<WindowOverride>>,
}

/// The versions that a control plane's machines run, as far as it says so. Where it says the lowest
/// alone, what is asked may run already; where it says none, as some providers do, what is asked runs.
#[must_use]
pub fn observed(spec: &ControlPlaneSpec, status: Option<&ControlPlaneStatus>) -> Option<Versions> {
    let status = status?;
    Versions::of(&status.versions).or_else(|| {
        let asked: Option<KubeVersion> = spec.version.parse().ok();
        let lowest: Option<KubeVersion> = status.version.as_deref().and_then(|lowest| lowest.parse().ok());
        let lowest = lowest.or_else(|| asked.clone())?;
        let highest = asked.map_or_else(|| lowest.clone(), |asked| asked.max(lowest.clone()));
        Some(Versions { lowest, highest })
    })
}

/// The versions that a Cluster's control plane runs, as far as anything says so: of kubeadm's the
/// object itself, of others what the Cluster has read of it, or else the object too: not every provider fills what Cluster
/// API reads. One that has no machine yet runs what is asked.
#[must_use]
pub fn running(state: &dyn ClusterState, namespace: &str, cluster: &str) -> Option<Versions> {
    if let Some(control_plane) = state.control_plane(namespace, cluster) {
        return observed(&control_plane.spec, control_plane.status.as_ref()).or_else(|| {
            let asked: KubeVersion = control_plane.spec.version.parse().ok()?;
            Some(Versions {
                lowest: asked.clone(),
                highest: asked,
            })
        });
    }
    let seen = state.cluster(namespace, cluster)?;
    seen.versions
        .clone()
        .or_else(|| state.foreign_versions(namespace, cluster))
}

/// The version that a Cluster's control plane goes to: what is asked of it, or of its topology, whichever is newer.
#[must_use]
pub fn asked(state: &dyn ClusterState, namespace: &str, cluster: &str) -> Option<KubeVersion> {
    let control_plane = state.control_plane(namespace, cluster);
    let of_control_plane = control_plane.and_then(|control_plane| control_plane.spec.version.parse().ok());
    let cluster = state.cluster(namespace, cluster);
    let topology = cluster.as_ref().and_then(|cluster| cluster.topology.as_ref());
    let of_topology = topology.and_then(|topology| topology.version.parse().ok());
    of_control_plane.max(of_topology)
}
