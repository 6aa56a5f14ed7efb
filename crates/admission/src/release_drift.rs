//! Whether an edit of a version carries what the version's release sets.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{VERSION_ANNOTATION, Values};
use instar_capi::{ClusterConfiguration, Reference};
use instar_catalog::{Catalog, Labels, Pool, Release, Role};
use instar_domain::{JsonPointer, KubeVersion};
use serde_json::Value;

use crate::{
    catalog,
    cluster_state::{CachedCluster, CachedTemplate, ClusterState, Lookup, TemplateKey},
};

/// The machines of a control plane or of a pool, as an edit would have them.
pub(crate) struct Machines<'a> {
    pub(crate) role: Role,
    pub(crate) namespace: &'a str,
    /// The name of the Cluster, where the object says it.
    pub(crate) cluster: Option<&'a str>,
    /// The field and the template.
    pub(crate) template: Option<(&'static str, &'a Reference)>,
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// Of a KubeadmControlPlane.
    pub(crate) kubeadm: Option<&'a ClusterConfiguration>,
}

impl<'a> Machines<'a> {
    fn cluster(&self, state: &dyn ClusterState) -> Option<Arc<CachedCluster>> {
        state.cluster(self.namespace, self.cluster?)
    }

    fn labels(&self, cluster: Option<&'a CachedCluster>) -> Labels<'a> {
        Labels {
            cluster: cluster.map(|cluster| &cluster.labels),
            pool: self.labels,
        }
    }
}

/// The field that disagrees with every release of the version, and what it should be. Nothing where
/// the catalog has no such version.
pub(crate) fn disagreement(
    version: &KubeVersion,
    machines: &Machines<'_>,
    state: &dyn ClusterState,
) -> Option<(&'static str, String)> {
    let cluster = machines.cluster(state);
    let catalog = state.catalog(&catalog::of_cached(cluster.as_deref(), state));
    let labels = machines.labels(cluster.as_deref());
    let rows = || catalog.rows_of(version);
    let template = machines.template.and_then(|(_, reference)| {
        match state.template(&TemplateKey::of(machines.namespace, reference)) {
            Lookup::Found(template) => Some(template),
            Lookup::NotFound | Lookup::NotYet(_) | Lookup::Unavailable(_) => None,
        }
    });
    let against = |row: &Release| disagrees(row, machines, labels, template.as_deref());
    // A row without an image for these machines counts only where no row has one.
    let says = |row: &&Release| {
        let image = machines
            .template
            .and_then(|(_, reference)| row.image(&pool(machines.role, labels, reference)));
        image.is_some()
    };
    let mut candidates: Vec<&Release> = rows().filter(says).collect();
    if candidates.is_empty() {
        candidates.extend(rows());
    }
    if candidates.iter().any(|row| against(row).is_none()) {
        return None;
    }
    let best = catalog.best(version, state.today());
    let best = best.filter(|best| candidates.iter().any(|row| row.name() == best.name()));
    against(best.or_else(|| candidates.last().copied())?)
}

/// What an edit does with the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionEdit {
    /// It points to a template, and leaves the version.
    Stays,
    /// It sets it.
    Set,
}

/// The field and the template where it carries what a release of another version sets, and none of this version does.
/// One that no release describes is the user's own.
pub(crate) fn of_another_version(
    version: &KubeVersion,
    edit: VersionEdit,
    machines: &Machines<'_>,
    state: &dyn ClusterState,
) -> Option<(&'static str, String)> {
    let (field, reference) = machines.template?;
    let Lookup::Found(template) = state.template(&TemplateKey::of(machines.namespace, reference)) else {
        return None;
    };
    let cluster = machines.cluster(state);
    let catalog = state.catalog(&catalog::of_cached(cluster.as_deref(), state));
    let labels = machines.labels(cluster.as_deref());
    let other = carried(
        version,
        &pool(machines.role, labels, reference),
        reference,
        &template,
        &catalog,
    )?;
    // A build of its own has no image of its own where no release sets one.
    if edit == VersionEdit::Set && other.version().is_same_upstream(version) {
        return None;
    }
    let (kind, name) = (&reference.kind, &reference.name);
    let and = match edit {
        VersionEdit::Stays => format!("the version stays {version}"),
        VersionEdit::Set => format!("no release of {version} does"),
    };
    Some((
        field,
        format!(
            "{kind} {name} carries what release {} ({}) sets, and {and}",
            other.name(),
            other.version()
        ),
    ))
}

/// The release of another version whose image a template carries, for these machines; none where it carries one of the
/// version too.
pub(crate) fn carried<'c>(
    version: &KubeVersion,
    machines: &Pool<'_>,
    reference: &Reference,
    template: &CachedTemplate,
    catalog: &'c Catalog,
) -> Option<&'c Release> {
    let carries = |row: &&Release| {
        let values = row.image(machines);
        values.is_some_and(|values| differs(row, values, reference, template).is_none())
    };
    // It may be of the catalog that was the Cluster's before.
    if catalog.rows_anywhere(version).any(|row| carries(&row)) {
        return None;
    }
    catalog.releases().find(carries)
}

/// What to do about a disagreement.
pub(crate) fn remediation() -> String {
    format!(
        "else every machine is replaced twice: put both in one edit, or let Instar do it (annotate the Cluster with {VERSION_ANNOTATION})"
    )
}

/// What to do about a version with a template of another one.
pub(crate) fn remediation_of_version(version: &KubeVersion) -> String {
    format!("point to a template with an image of {version}, or new machines have that one's")
}

/// What to do about a template of another version.
pub(crate) fn remediation_of_template(version: &KubeVersion) -> String {
    format!("set the version in the same edit, or point to a template with an image of {version}")
}

fn disagrees(
    row: &Release,
    machines: &Machines<'_>,
    labels: Labels<'_>,
    template: Option<&CachedTemplate>,
) -> Option<(&'static str, String)> {
    let image = machines
        .template
        .zip(template)
        .and_then(|((field, reference), template)| {
            // What Instar minted for the release may have been patched on purpose.
            if template.release.as_deref() == Some(row.name()) {
                return None;
            }
            let what = differs(
                row,
                row.image(&pool(machines.role, labels, reference))?,
                reference,
                template,
            )?;
            Some((field, what))
        });
    image.or_else(|| components(row, machines.kubeadm?))
}

fn pool<'a>(role: Role, labels: Labels<'a>, reference: &'a Reference) -> Pool<'a> {
    Pool {
        role,
        group: &reference.api_group,
        kind: &reference.kind,
        labels,
    }
}

fn differs(row: &Release, values: &Values, reference: &Reference, template: &CachedTemplate) -> Option<String> {
    let spec = template.value();
    values.iter().find_map(|(pointer, wanted)| {
        let has = at(spec.as_ref(), pointer);
        (has != Some(wanted)).then(|| {
            format!(
                "release {} needs {wanted} at {pointer} of {} {}, which has {}",
                row.name(),
                reference.kind,
                reference.name,
                has.map_or_else(|| "nothing there".to_owned(), ToString::to_string),
            )
        })
    })
}

/// The value at a pointer, which begins with `/spec`, in a template's spec.
fn at<'v>(spec: Option<&'v Value>, pointer: &JsonPointer) -> Option<&'v Value> {
    spec?.pointer(pointer.as_str().strip_prefix("/spec")?)
}

fn components(row: &Release, configuration: &ClusterConfiguration) -> Option<(&'static str, String)> {
    let leaves = |name: &str, wanted: &str, has: Option<&str>| {
        (has != Some(wanted)).then(|| {
            format!(
                "release {} needs {name} {wanted}, and the edit leaves {}",
                row.name(),
                has.unwrap_or("kubeadm's own")
            )
        })
    };
    let etcd = row
        .etcd_tag()
        .filter(|_| configuration.etcd.external.is_none())
        .and_then(|tag| leaves("etcd", tag, configuration.etcd.local.image_tag.as_deref()))
        .map(|what| ("spec.kubeadmConfigSpec.clusterConfiguration.etcd.local.imageTag", what));
    etcd.or_else(|| {
        let what = leaves("CoreDNS", row.core_dns_tag()?, configuration.dns.image_tag.as_deref())?;
        Some(("spec.kubeadmConfigSpec.clusterConfiguration.dns.imageTag", what))
    })
}

#[cfg(test)]
mod tests {
    use instar_api::{Component, Components, KubernetesReleaseSpec};
    use serde_json::{Map, json};

    use super::*;

    /// Without `..`, so that the compiler asks for a component that is new in the API.
    fn every_component() -> Components {
        let component = |image_tag: &str| {
            Some(Component {
                image_tag: image_tag.to_owned(),
                image_repository: None,
            })
        };
        Components {
            etcd: component("3.6.5-0"),
            core_dns: component("v1.12.1"),
        }
    }

    #[test]
    fn each_component_of_a_release_is_compared() {
        let components: Map<String, Value> =
            serde_json::from_value(serde_json::to_value(every_component()).unwrap()).unwrap();
        assert_eq!(components.len(), 2, "the JSON of a component is missing here");
        for (name, component) in components {
            let tag = component["imageTag"].as_str().unwrap().to_owned();
            let spec = json!({ "version": "v1.34.3", "components": { &*name: component } });
            let spec: KubernetesReleaseSpec = serde_json::from_value(spec).unwrap();
            let catalog = Catalog::new([("r", &spec)]);
            let row = catalog.named("r").unwrap();
            let found = self::components(row, &ClusterConfiguration::default());
            let (field, what) = found.unwrap_or_else(|| panic!("{name} is not compared"));
            assert!(
                field.starts_with("spec.kubeadmConfigSpec.clusterConfiguration."),
                "{field}"
            );
            assert!(what.contains(&tag), "{what}");
        }
    }
}
