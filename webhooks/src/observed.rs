//! What the server knows, as of the last event that its caches have seen.

use std::sync::Arc;

use instar_capi::{ClusterClass, KubeadmControlPlane};
use instar_catalog::Catalog;
use jiff::civil::Date;

/// What the server knows. Answers come from memory, at once.
pub trait Observed: Send + Sync + 'static {
    /// The catalog.
    fn catalog(&self) -> Arc<Catalog>;

    /// A ClusterClass.
    fn class(&self, namespace: &str, name: &str) -> Option<Arc<ClusterClass>>;

    /// The KubeadmControlPlane of a Cluster.
    fn control_plane(&self, namespace: &str, cluster: &str) -> Option<Arc<KubeadmControlPlane>>;

    /// The Clusters that are pinned to a release, as namespace/name.
    fn pinned_to(&self, release: &str) -> Vec<String>;

    /// The day, in UTC.
    fn today(&self) -> Date;
}
