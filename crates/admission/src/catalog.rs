//! Which catalog is a Cluster's, and whether it may be.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{CATALOG_LABEL, CatalogName, Rule, VERSION_ANNOTATION};
use instar_capi::{ClassRef, Cluster, ClusterClass};

use crate::{
    Finding,
    cluster_state::{CachedCluster, ClusterState},
    edit::{Edit, finding, object_ref},
    verdict::policies_of,
};

/// The label, as messages name it.
const LABEL: &str = "metadata.labels[upgrade.cluster.x-k8s.io/catalog]";

/// The catalog of a Cluster that is there.
pub(crate) fn of_cached(cluster: Option<&CachedCluster>, state: &dyn ClusterState) -> CatalogName {
    let Some(cluster) = cluster else {
        return CatalogName::default();
    };
    let class = cluster.topology.as_ref().and_then(|topology| {
        let class = &topology.class_ref;
        state.class(class.namespace_or(&cluster.namespace), &class.name)
    });
    CatalogName::of_cluster(Some(&cluster.labels), class.as_deref().map(|class| &class.metadata))
}

/// Judges the creation or an edit of a Cluster by its catalog. `class` is its ClusterClass, where it has one that is known.
#[must_use]
pub fn judge(edit: Edit<'_, Cluster>, class: Option<&ClusterClass>, state: &dyn ClusterState) -> Vec<Finding> {
    let new = edit.new;
    if new.metadata.deletion_timestamp.is_some() || !edit.old.is_none_or(|old| asks_for_catalog(old, new)) {
        return Vec::new();
    }
    let labels = new.metadata.labels.as_ref();
    let catalog = CatalogName::of_cluster(labels, class.map(|class| &class.metadata));
    let object = || object_ref(edit.kind, &new.metadata);
    let mut findings = Vec::new();
    let own = CatalogName::labelled(labels);
    if let (Some(own), Some(class)) = (own.filter(|own| *own != catalog), class) {
        let (what, remediation) = contradiction(&own, &catalog, &object_ref("ClusterClass", &class.metadata));
        findings.push(finding(Rule::CatalogOfClass, object(), LABEL, what, remediation));
    }
    let namespace = new.metadata.namespace.as_deref().unwrap_or_default();
    // By what it was: an edit can't choose its policy.
    let selected_by = edit.old.unwrap_or(new).metadata.labels.as_ref();
    if let Some((what, remediation)) = not_allowed(&catalog, namespace, selected_by, state) {
        let field = match new.spec.topology {
            Some(_) => "spec.topology.classRef",
            None => LABEL,
        };
        findings.push(finding(Rule::CatalogAllowed, object(), field, what, remediation));
    }
    findings
}

/// Whether an edit makes a Cluster take rows of its catalog, or of another one.
fn asks_for_catalog(old: &Cluster, new: &Cluster) -> bool {
    fn asked(cluster: &Cluster) -> Option<(&str, &ClassRef)> {
        let topology = cluster.spec.topology.as_ref()?;
        Some((&topology.version, &topology.class_ref))
    }
    fn by_annotation(cluster: &Cluster) -> Option<&String> {
        cluster.metadata.annotations.as_ref()?.get(VERSION_ANNOTATION)
    }
    fn label(cluster: &Cluster) -> Option<&String> {
        cluster.metadata.labels.as_ref()?.get(CATALOG_LABEL)
    }
    asked(old) != asked(new)
        || label(old) != label(new)
        || (new.spec.topology.is_none() && by_annotation(old) != by_annotation(new))
}

/// Judges a new catalog of a class by the Clusters that name another one themselves.
pub(crate) fn of_class(edit: Edit<'_, ClusterClass>, clusters: &[Arc<CachedCluster>]) -> Vec<Finding> {
    let named = |class: &ClusterClass| CatalogName::of_cluster(None, Some(&class.metadata));
    let catalog = named(edit.new);
    if edit.old.is_none_or(|old| named(old) == catalog) {
        return Vec::new();
    }
    let metadata = &edit.new.metadata;
    let class = object_ref(edit.kind, metadata);
    let broken = |cluster: &Arc<CachedCluster>| {
        let own = CatalogName::labelled(Some(&cluster.labels)).filter(|own| *own != catalog)?;
        let (namespace, name) = (&cluster.namespace, &cluster.name);
        let what =
            format!("the class would belong to {catalog}, and the label of Cluster {namespace}/{name} names {own}");
        let remediation = "remove that label first, or create another class for that catalog";
        let finding = finding(Rule::CatalogOfClass, class.clone(), LABEL, what, remediation);
        Some(finding.of_cluster(namespace, name))
    };
    clusters.iter().filter_map(broken).collect()
}

fn contradiction(own: &CatalogName, of_class: &CatalogName, class: &str) -> (String, String) {
    (
        format!("it names {own}, and {class} belongs to {of_class}"),
        format!("use a class of {own}, or remove the label"),
    )
}

/// What is wrong with a catalog by the policies that select a Cluster with these labels, and what to do.
pub(crate) fn not_allowed(
    catalog: &CatalogName,
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
    state: &dyn ClusterState,
) -> Option<(String, &'static str)> {
    let policies = policies_of(namespace, labels, state);
    let refusing = policies
        .iter()
        .find(|policy| !policy.catalogs.is_empty() && !policy.catalogs.contains(catalog))?;
    let listed: Vec<String> = refusing.catalogs.iter().map(ToString::to_string).collect();
    Some((
        format!(
            "the Cluster would use {catalog}, and an UpgradePolicy of its namespace allows only {} (spec.catalogs)",
            listed.join(", ")
        ),
        "use one of these, or let the policy list this one",
    ))
}
