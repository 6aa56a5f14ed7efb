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
    edits,
    request::{Admitted, Request, VERSION, annotation, object},
};
use crate::{Finding, Rule};

impl Request<'_> {
    /// A class without wiring renders no pins: its Clusters are left alone, unless they have some.
    pub(super) fn unwired(&self, class: &ClusterClass) -> Result<Admitted, Finding> {
        let Some(old) = self.old else {
            return self.created_unwired(class);
        };
        let mut admitted = edits::restored(
            self.old,
            self.new,
            &format!("ClusterClass {} is not wired", self.class_name()),
        );
        if annotation(old).is_some() {
            if self.moves() {
                return Err(self.not_rendered(class));
            }
            return Ok(admitted);
        }
        if let Some(old) = self.old_topology {
            let present = old.version.parse::<KubeVersion>().ok();
            match self.landing(class, present.as_ref(), None) {
                Ok(Some(landing)) => {
                    admitted.warnings.push(landing.warning());
                    admitted.version = (landing.to.to_string() != self.topology.version).then(|| landing.to.clone());
                    admitted.version_check = self.version_check(Some(&landing));
                    admitted.landing = Some(landing.to);
                    return Ok(admitted);
                }
                Err(finding) if !self.is_unsafe() => return Err(finding),
                // What its user has switched off is the user's.
                Ok(None) | Err(_) => {}
            }
            let target = self.refused_by_cluster_api(old, class)?;
            admitted.version_check = self.version_check(None);
            admitted
                .findings
                .extend(self.moves_to(present.as_ref(), target.as_ref(), &[]));
        }
        Ok(admitted)
    }

    /// Pins that a created Cluster brings along count when its class is wired later, so they are judged now.
    fn created_unwired(&self, class: &ClusterClass) -> Result<Admitted, Finding> {
        let pins = self.carried()?;
        let shape = self.shape(class);
        let mut admitted = self.brought_along(pins.as_ref(), Some(&shape));
        if let Some(pins) = &pins {
            let runs_pinned = self.is_restored() && !pins.releases.is_empty();
            if runs_pinned {
                return Err(self.not_rendered(class));
            }
            admitted.warnings.push(format!(
                "ClusterClass {} is not wired: the pins of {} have no effect",
                self.class_name(),
                object(self.new)
            ));
        }
        Ok(admitted)
    }

    fn not_rendered(&self, class: &ClusterClass) -> Finding {
        let name = class.metadata.name.as_deref().unwrap_or_default();
        self.deny(
            Rule::WiringRenders,
            "spec.topology",
            format!(
                "the Cluster is pinned to releases, and ClusterClass {} has no wiring to render them",
                self.class_name()
            ),
            format!("wire it: instar wire {name} | kubectl apply -f -"),
        )
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
                self.instead_of_lower(&present, "fix forward with a newer version, or restore from a backup"),
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
