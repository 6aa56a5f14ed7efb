//! ClusterClasses: what Clusters are pinned to goes on being rendered, and they agree about the catalog.

use std::sync::Arc;

use instar_api::{Pins, Rule};
use instar_capi::{ClusterClass, Lifecycle};
use instar_wiring::Wiring;

use crate::{
    Finding, catalog,
    cluster::unrendered,
    cluster_state::{CachedCluster, ClusterState},
    edit::{Edit, finding, object_ref},
    finding::ClusterName,
};

const FIELD: &str = "spec.patches";

/// Judges an edit of a class by each of its Clusters that has pins. Where the class as it is
/// renders them no more either, an edit makes nothing worse.
#[must_use]
pub fn judge(edit: Edit<'_, ClusterClass>, state: &dyn ClusterState) -> Vec<Finding> {
    let Some(old) = edit.old else { return Vec::new() };
    let metadata = &edit.new.metadata;
    let clusters = state.clusters_of(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    );
    let (old, new) = (Rendering::of(old), Rendering::of(edit.new));
    let broken = |cluster: &Arc<CachedCluster>| {
        // Pins that can't be read are refused where they are written, and render nothing.
        let pins = Pins::from_annotation(cluster.pins.as_deref()?).ok()?;
        let what = new.breaks(cluster, &pins)?;
        if old.breaks(cluster, &pins).is_some() {
            return None;
        }
        Some(Finding {
            of: Some(Box::new(ClusterName {
                namespace: cluster.namespace.clone(),
                name: cluster.name.clone(),
            })),
            ..finding(
                Rule::WiringKept,
                object_ref(edit.kind, metadata),
                FIELD,
                what,
                format!(
                    "wire the class again, with all of its changes: instar wire {} prints it",
                    metadata.name.as_deref().unwrap_or_default()
                ),
            )
        })
    };
    let mut findings = catalog::of_class(edit, &clusters);
    findings.extend(clusters.iter().filter_map(broken));
    findings
}

/// A class, and its wiring as it is read once for all of its Clusters.
struct Rendering<'c> {
    class: &'c ClusterClass,
    wiring: Option<Wiring<'c>>,
}

impl<'c> Rendering<'c> {
    fn of(class: &'c ClusterClass) -> Self {
        Self {
            class,
            wiring: Wiring::read(&class.spec),
        }
    }

    /// Which pin of a Cluster the class doesn't render, and what becomes of it.
    fn breaks(&self, cluster: &CachedCluster, pins: &Pins) -> Option<String> {
        match cluster.lifecycle {
            Lifecycle::Active | Lifecycle::Paused => {}
            Lifecycle::Deleting => return None,
        }
        let topology = cluster.topology.as_ref()?;
        pins.releases.iter().find_map(|(version, pin)| {
            let whose = format!(
                "Cluster {}/{} is pinned to release {} ({version})",
                cluster.namespace, cluster.name, pin.release
            );
            let Some(wiring) = &self.wiring else {
                return Some(format!(
                    "{whose}, and without the wiring its machines would be replaced by the bare template's"
                ));
            };
            let missing = unrendered(topology, self.class, wiring, version, pin)?;
            Some(format!("{whose}, and {missing}"))
        })
    }
}
