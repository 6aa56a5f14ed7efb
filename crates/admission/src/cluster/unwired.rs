//! A Cluster of a class without wiring.
//!
//! Nothing is resolved and nothing is pinned. But what Cluster API's own webhook refuses of an edit of the version is
//! refused here first: it comes after the mutating phase, and answers 422, by which a tool that applies from Git deletes
//! the Cluster (see [`crate::REFUSAL_CODE`]).
//! Source: `validateTopologyVersionUpdate` and `ValidateClusterForClusterClass` of cluster-api's
//! core/webhooks/admission/cluster.go.

use instar_capi::{ClusterClass, Topology};
use instar_domain::KubeVersion;

use super::{
    request::{Admitted, Request, annotation},
    steps::VERSION,
};
use crate::{Finding, Rule};

impl Request<'_> {
    /// A class without wiring renders no pins: its Clusters are left alone, unless they have some.
    pub(super) fn unwired(&self, class: &ClusterClass) -> Result<Admitted, Finding> {
        let pinned = self.old.and_then(annotation).or_else(|| annotation(self.new)).is_some();
        if !pinned {
            let Some(old) = self.old_topology else {
                return Ok(Admitted::default());
            };
            let target = self.refused_by_cluster_api(old, class)?;
            let present = old.version.parse::<KubeVersion>().ok();
            return Ok(Admitted {
                findings: self.moves_to(present.as_ref(), target.as_ref(), &[]),
                ..Admitted::default()
            });
        }
        if self.old.is_none() {
            let warning = format!(
                "ClusterClass {} is not wired: the pins of Cluster {} have no effect",
                self.class_name(),
                self.name()
            );
            return Ok(Admitted {
                warnings: vec![warning],
                ..Admitted::default()
            });
        }
        if self.moves() {
            let name = class.metadata.name.as_deref().unwrap_or_default();
            return Err(self.deny(
                Rule::WiringRenders,
                "spec.topology",
                format!(
                    "the Cluster is pinned to releases, and ClusterClass {} has no wiring to render them",
                    self.class_name()
                ),
                format!("wire it: instar wire {name} | kubectl apply -f -"),
            ));
        }
        Ok(Admitted::default())
    }

    /// The version that is asked for, where Cluster API takes it; nothing where the edit leaves version and class.
    fn refused_by_cluster_api(&self, old: &Topology, class: &ClusterClass) -> Result<Option<KubeVersion>, Finding> {
        let text = &self.topology.version;
        if !self.moves() {
            return Ok(text.parse().ok());
        }
        if !KubeVersion::is_read_by_cluster_api(text) {
            return Err(self.deny(
                Rule::VersionReadable,
                VERSION,
                format!("{text} is not a version"),
                format!(
                    "set a full version, such as v1.34.3; a prefix or a release's name needs a wired class (instar wire {})",
                    class.metadata.name.as_deref().unwrap_or_default()
                ),
            ));
        }
        let listed = &class.spec.kubernetes_versions;
        if !listed.is_empty() && !listed.contains(text) {
            return Err(self.deny(
                Rule::Path,
                VERSION,
                format!(
                    "{text} is not in spec.kubernetesVersions of ClusterClass {}",
                    self.class_name()
                ),
                format!("set one of {}, or add it to the class first", listed.join(", ")),
            ));
        }
        // Longer than any version that we read: Cluster API decides alone.
        let (Ok(target), Ok(present)) = (text.parse::<KubeVersion>(), old.version.parse::<KubeVersion>()) else {
            return Ok(None);
        };
        if self.is_unsafe() {
            return Ok(Some(target));
        }
        // Without pre-releases and build tags, as Cluster API compares them here.
        let (to, from) = (target.release(), present.release());
        if to < from {
            return Err(self.deny(
                Rule::NoDowngrade,
                VERSION,
                format!("{target} is older than {present}, which runs"),
                "Cluster API has no way down: fix forward with a newer version, or restore from a backup",
            ));
        }
        let has_path = !listed.is_empty() || class.spec.upgrade.external.generate_upgrade_plan_extension.is_some();
        if !has_path && (to.major, to.minor) > (from.major, from.minor.saturating_add(1)) {
            return Err(self.deny(
                Rule::Path,
                VERSION,
                format!(
                    "{target} is more than one minor above {present}, and ClusterClass {} lists no versions to go through (spec.kubernetesVersions)",
                    self.class_name()
                ),
                "go there one minor at a time, or let the class list the versions between",
            ));
        }
        Ok(Some(target))
    }
}
