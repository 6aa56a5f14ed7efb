//! ClusterClasses: what Clusters are pinned to goes on being rendered, and they agree about the catalog.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use instar_api::{Pins, Rule};
use instar_capi::{ClusterClass, Lifecycle, PoolKind, Topology};
use instar_wiring::Wiring;

use crate::{
    Finding, catalog,
    cluster::{bare_templates_of_class, unrendered},
    cluster_state::{CachedCluster, ClusterState},
    edit::{Edit, finding, object_ref},
};

const FIELD: &str = "spec.patches";

/// Judges an edit of a class by each of its Clusters that has pins. Where the class as it is
/// renders them no more either, an edit makes nothing worse.
#[must_use]
pub fn judge(edit: Edit<'_, ClusterClass>, state: &dyn ClusterState) -> Vec<Finding> {
    let Some(old) = edit.old else { return Vec::new() };
    let metadata = &edit.new.metadata;
    let mut clusters = state.clusters_of(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    );
    clusters.retain(|cluster| match cluster.lifecycle {
        Lifecycle::Active | Lifecycle::Paused => true,
        Lifecycle::Deleting => false,
    });
    let mut findings = catalog::of_class(edit, &clusters);
    findings.extend(bare_templates_of_class(edit, &clusters, state));
    let (old, new) = (Rendering::of(old), Rendering::of(edit.new));
    findings.extend(external_after(edit, &old, &new, &clusters));
    // Most Clusters of a class have the same pins and the same pools: what is said of one counts for all of them.
    let mut verdicts: BTreeMap<Alike<'_>, Option<String>> = BTreeMap::new();
    for cluster in &clusters {
        let Some(alike) = Alike::of(cluster) else { continue };
        let verdict = verdicts
            .entry(alike)
            .or_insert_with_key(|alike| broken(&old, &new, alike));
        let Some(what) = verdict else { continue };
        let (namespace, name) = (&cluster.namespace, &cluster.name);
        let finding = finding(
            Rule::WiringKept,
            object_ref(edit.kind, metadata),
            FIELD,
            format!("Cluster {namespace}/{name} {what}"),
            format!(
                "wire the class again, with all of its changes: instar wire {} prints it",
                metadata.name.as_deref().unwrap_or_default()
            ),
        );
        findings.push(finding.of_cluster(namespace, name));
    }
    findings
}

/// An external patch that comes after the wiring may do anything, or nothing at what is pinned: nobody knows, so it isn't
/// refused.
fn external_after(
    edit: Edit<'_, ClusterClass>,
    old: &Rendering<'_>,
    new: &Rendering<'_>,
    clusters: &[Arc<CachedCluster>],
) -> Option<Finding> {
    let patch = new.wiring.as_ref()?.external_after()?;
    let was_there = old.wiring.as_ref().and_then(Wiring::external_after) == Some(patch);
    let cluster = clusters.iter().find(|cluster| !was_there && cluster.pins.is_some())?;
    let (namespace, name) = (&cluster.namespace, &cluster.name);
    let finding = finding(
        Rule::WiringKept,
        object_ref(edit.kind, &edit.new.metadata),
        FIELD,
        format!(
            "Cluster {namespace}/{name} is pinned, and the external patch {patch} comes after the wiring, so it may change what is pinned"
        ),
        "move it before the patches of the wiring, as instar wire does",
    );
    Some(finding.of_cluster(namespace, name).into_warning())
}

/// What an edit of a class does to Clusters, if it does anything. Where the class as it is doesn't render them either, it
/// makes nothing worse.
fn broken(old: &Rendering<'_>, new: &Rendering<'_>, clusters: &Alike<'_>) -> Option<String> {
    let Ok(pins) = Pins::from_annotation(clusters.pins) else {
        // By another version of Instar, or by hand.
        let loses_all = old.wiring.is_some() && new.wiring.is_none();
        return loses_all.then(|| {
            "carries pins that can't be read, and without the wiring its machines would be replaced by the bare template's"
                .to_owned()
        });
    };
    let what = new.breaks(clusters.topology, &pins)?;
    match old.breaks(clusters.topology, &pins) {
        Some(_) => None,
        None => Some(what),
    }
}

/// What the verdict about a Cluster depends on.
struct Alike<'c> {
    pins: &'c str,
    topology: &'c Topology,
}

impl<'c> Alike<'c> {
    fn of(cluster: &'c CachedCluster) -> Option<Self> {
        Some(Self {
            pins: cluster.pins.as_deref()?,
            topology: cluster.topology.as_ref()?,
        })
    }

    fn key(&self) -> (&str, impl Iterator<Item = (PoolKind, &str, &str)>) {
        let pools = self.topology.workers.pools();
        (
            self.pins,
            pools.map(|(kind, pool)| (kind, pool.name.as_str(), pool.class.as_str())),
        )
    }
}

impl Ord for Alike<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((pins, pools), (others_pins, others_pools)) = (self.key(), other.key());
        pins.cmp(others_pins).then_with(|| pools.cmp(others_pools))
    }
}

impl PartialOrd for Alike<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alike<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Alike<'_> {}

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
    fn breaks(&self, topology: &Topology, pins: &Pins) -> Option<String> {
        pins.releases.iter().find_map(|(version, pin)| {
            let pinned = format!("is pinned to release {} ({version})", pin.release);
            let Some(wiring) = &self.wiring else {
                return Some(format!(
                    "{pinned}, and without the wiring its machines would be replaced by the bare template's"
                ));
            };
            let missing = unrendered(topology, self.class, wiring, version, pin)?;
            Some(format!("{pinned}, and {missing}"))
        })
    }
}
