use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use instar_api::{ETCD_ANNOTATION, KCP_ETCD, Values};
use instar_capi::{
    ClusterClassSpec, Definition, JsonPatch, MatchClasses, MatchResources, Patch, Selector, TemplateRef, ValueFrom,
    WorkerClass,
};
use instar_catalog::{Catalog, Role as PoolRole};
use instar_domain::JsonPointer;
use serde_json::{Map, Value, json};

use crate::{
    parents::{self, Blocked},
    text::{PREFIX, Role, Section},
    versions,
};

/// The class' templates, each as the class' reference names it.
pub type Templates = BTreeMap<TemplateRef, Value>;

#[derive(Debug, Clone, PartialEq)]
pub struct Wired {
    pub class: Value,
    /// What is not wired, or not in every case.
    pub unwired: Vec<Unwired>,
}

/// Something that is not wired, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwired {
    /// What: a template, a pointer in it, a version.
    pub what: String,
    /// Why, and the way out.
    pub why: String,
}

/// The class can't be wired at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error(
        "{found} can't be wired: expected kind ClusterClass of apiVersion cluster.x-k8s.io/v1beta2 (kubectl get clusterclasses.v1beta2.cluster.x-k8s.io prints it so)"
    )]
    NotAClass {
        /// Kind and apiVersion that were found.
        found: String,
    },
    /// A field of it has another type than Cluster API gives it.
    #[error("the ClusterClass can't be read: {why}")]
    Unreadable { why: String },
}

/// Writes the wiring of a class: the patches that render what the catalog's rows set, and the list
/// of versions to choose a path from. What it can't wire, it names.
///
/// # Errors
/// Where the object is no `ClusterClass` of the API version that it reads.
pub fn wire(class: &Value, templates: &Templates, catalog: &Catalog) -> Result<Wired, WireError> {
    let text = |field: &str| class.get(field).and_then(Value::as_str).unwrap_or("nothing").to_owned();
    if (text("apiVersion").as_str(), text("kind").as_str()) != ("cluster.x-k8s.io/v1beta2", "ClusterClass") {
        return Err(WireError::NotAClass {
            found: format!("{} of apiVersion {}", text("kind"), text("apiVersion")),
        });
    }
    let spec = class.get("spec").cloned().unwrap_or_else(|| json!({}));
    let view: ClusterClassSpec =
        serde_json::from_value(spec).map_err(|error| WireError::Unreadable { why: error.to_string() })?;
    let mut writer = Writer {
        templates,
        catalog,
        own: view.patches.iter().filter(|patch| !is_ours(patch)).cloned().collect(),
        unwired: Vec::new(),
    };
    let etcd_is_external = writer.etcd_is_external(&view);
    let patches = [
        writer.control_plane(&view, etcd_is_external),
        writer.workers(Role::MachineDeployments, &view.workers.machine_deployments),
        writer.workers(Role::MachinePools, &view.workers.machine_pools),
    ];
    let versions = writer.versions(&view);
    let mut unwired = writer.unwired;
    unwired.sort_by(|a, b| (&a.what, &a.why).cmp(&(&b.what, &b.why)));
    unwired.dedup();

    let mut wired = class.clone();
    if let Some(map) = wired.as_object_mut() {
        if let Some(spec) = child(map, "spec") {
            // The class' own patches are taken as they stand, since a view drops what it doesn't know.
            let own = spec
                .remove("patches")
                .and_then(|patches| patches.as_array().cloned())
                .unwrap_or_default();
            let is_ours = |patch: &Value| patch.get("name").and_then(Value::as_str).is_some_and(is_our_name);
            let mut all: Vec<Value> = own.into_iter().filter(|patch| !is_ours(patch)).collect();
            all.extend(patches.into_iter().flatten().map(|patch| json!(patch)));
            if !all.is_empty() {
                spec.insert("patches".to_owned(), Value::Array(all));
            }
            if !versions.is_empty() {
                spec.insert("kubernetesVersions".to_owned(), json!(versions));
            }
        }
        annotate(map, etcd_is_external);
    }
    Ok(Wired { class: wired, unwired })
}

fn child<'m>(map: &'m mut Map<String, Value>, key: &str) -> Option<&'m mut Map<String, Value>> {
    map.entry(key).or_insert_with(|| json!({})).as_object_mut()
}

fn is_ours(patch: &Patch) -> bool {
    is_our_name(&patch.name)
}

fn is_our_name(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Admission has no template at hand, so the class says itself that its etcd is external.
fn annotate(class: &mut Map<String, Value>, etcd_is_external: bool) {
    let Some(metadata) = child(class, "metadata") else {
        return;
    };
    if etcd_is_external {
        if let Some(annotations) = child(metadata, "annotations") {
            annotations.insert(ETCD_ANNOTATION.to_owned(), json!("external"));
        }
    } else if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove(ETCD_ANNOTATION);
    }
}

struct Writer<'a> {
    templates: &'a Templates,
    catalog: &'a Catalog,
    own: Vec<Patch>,
    unwired: Vec<Unwired>,
}

impl<'a> Writer<'a> {
    fn name(&mut self, what: impl fmt::Display, why: impl Into<String>) {
        self.unwired.push(Unwired {
            what: what.to_string(),
            why: why.into(),
        });
    }

    fn etcd_is_external(&self, class: &ClusterClassSpec) -> bool {
        let template = class
            .control_plane
            .template_ref
            .as_ref()
            .and_then(|reference| self.templates.get(reference));
        template.is_some_and(|template| {
            template
                .pointer("/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/etcd/external")
                .is_some_and(|external| !external.is_null())
        })
    }

    fn control_plane(&mut self, class: &ClusterClassSpec, etcd_is_external: bool) -> Option<Patch> {
        let mut definitions = Vec::new();
        let matches = || MatchResources {
            control_plane: Some(true),
            ..MatchResources::default()
        };
        if let Some(reference) = &class.control_plane.template_ref {
            if reference.kind == "KubeadmControlPlaneTemplate" {
                let catalog = self.catalog;
                let sets: Vec<(&str, Values)> = catalog
                    .releases()
                    .map(|row| {
                        let mut values = row.kubeadm().clone();
                        values.retain(|pointer, _| !(etcd_is_external && pointer.as_str().starts_with(KCP_ETCD)));
                        (row.name(), values)
                    })
                    .collect();
                if etcd_is_external {
                    self.name(
                        template_name(reference),
                        "its etcd is external, so etcd's image is left alone",
                    );
                }
                let patches = self.json_patches(Section::Kubeadm, reference, &sets);
                definitions.extend(definition(reference, matches(), patches));
            } else {
                self.name(
                    template_name(reference),
                    "is no KubeadmControlPlaneTemplate, so the rows' etcd and CoreDNS images are left alone",
                );
            }
        }
        if let Some(reference) = &class.control_plane.machine_infrastructure.template_ref {
            let sets = self.image_sets(PoolRole::ControlPlane, reference);
            let patches = self.json_patches(Section::ControlPlane, reference, &sets);
            definitions.extend(definition(reference, matches(), patches));
        }
        patch(Role::ControlPlane, definitions)
    }

    fn workers(&mut self, role: Role, classes: &[WorkerClass]) -> Option<Patch> {
        let section = match role {
            Role::MachinePools => Section::MachinePool,
            Role::ControlPlane | Role::MachineDeployments => Section::MachineDeployment,
        };
        // Classes whose templates are of one kind and lack the same parents share a definition.
        let mut definitions: Vec<(Definition, Vec<String>)> = Vec::new();
        for class in classes {
            let Some(reference) = &class.infrastructure.template_ref else {
                continue;
            };
            let sets = self.image_sets(PoolRole::Worker, reference);
            let json_patches = self.json_patches(section, reference, &sets);
            let Some(new) = definition(reference, MatchResources::default(), json_patches) else {
                continue;
            };
            match definitions.iter_mut().find(|(known, _)| *known == new) {
                Some((_, names)) => names.push(class.class.clone()),
                None => definitions.push((new, vec![class.class.clone()])),
            }
        }
        let definitions = definitions.into_iter().map(|(mut definition, names)| {
            let names = Some(MatchClasses { names });
            match role {
                Role::MachinePools => definition.selector.match_resources.machine_pool_class = names,
                Role::ControlPlane | Role::MachineDeployments => {
                    definition.selector.match_resources.machine_deployment_class = names;
                }
            }
            definition
        });
        patch(role, definitions.collect())
    }

    /// What each row sets in templates of that kind, once for each image that may be taken.
    fn image_sets(&mut self, role: PoolRole, reference: &TemplateRef) -> Vec<(&'a str, Values)> {
        let catalog = self.catalog;
        let sets: Vec<(&str, Values)> = catalog
            .releases()
            .flat_map(|row| {
                row.images_of_kind(role, reference.group(), &reference.kind)
                    .map(|values| (row.name(), values.clone()))
            })
            .collect();
        if sets.is_empty() {
            let role = match role {
                PoolRole::ControlPlane => "the control plane",
                PoolRole::Worker => "workers",
            };
            self.name(
                template_name(reference),
                format!(
                    "no release has an image for {} of {role}: add one to spec.machineImages of a new row",
                    reference.kind
                ),
            );
        }
        sets
    }

    fn json_patches(&mut self, section: Section, reference: &TemplateRef, sets: &[(&str, Values)]) -> Vec<JsonPatch> {
        let pointers: BTreeSet<&JsonPointer> = sets.iter().flat_map(|(_, values)| values.keys()).collect();
        if pointers.is_empty() {
            return Vec::new();
        }
        let Some(template) = self.templates.get(reference) else {
            self.name(
                template_name(reference),
                "the template is missing from the input, so the parents that it lacks aren't known: give it too",
            );
            return Vec::new();
        };
        let mut added: BTreeSet<JsonPointer> = BTreeSet::new();
        let mut patches = Vec::new();
        for pointer in pointers {
            let at = format!("{} at {pointer}", template_name(reference));
            match parents::missing(pointer, template, reference, &self.own) {
                Err(blocked) => {
                    self.name(at, blocked.to_string());
                    continue;
                }
                Ok(missing) => {
                    for parent in missing {
                        if added.insert(parent.clone()) {
                            patches.push(add_value(&parent, json!({})));
                        }
                    }
                }
            }
            let own = template.pointer(pointer.as_str()).filter(|own| !own.is_null());
            let fallback = own.and_then(|own| section.with_fallback(pointer, own));
            if fallback.is_none() {
                let without = sets.iter().filter(|(_, values)| !values.contains_key(pointer));
                if let Some(why) = without_value(without.map(|(release, _)| *release)) {
                    self.name(&at, why);
                }
            }
            patches.push(add_template(
                pointer,
                fallback.unwrap_or_else(|| section.required(pointer)),
            ));
        }
        if !added.is_empty() {
            let external: Vec<String> = self
                .own
                .iter()
                .filter(|patch| patch.external.is_some())
                .map(|patch| patch.name.clone())
                .collect();
            for name in external {
                self.name(
                    template_name(reference),
                    format!("patch {name:?} is external, and what it writes below {} would be undone: put these parents into the template", join(&added)),
                );
            }
        }
        patches
    }

    fn versions(&mut self, class: &ClusterClassSpec) -> Vec<String> {
        if let Some(extension) = &class.upgrade.external.generate_upgrade_plan_extension {
            self.name(
                "spec.kubernetesVersions",
                format!("the extension {extension:?} chooses the path, so its steps can't be pinned: remove spec.upgrade.external.generateUpgradePlanExtension"),
            );
            return class.kubernetes_versions.clone();
        }
        let versions = versions::choose(&class.kubernetes_versions, self.catalog);
        for version in &versions.without_row {
            self.name(
                format!("spec.kubernetesVersions: {version}"),
                "has no release, so no path through it is accepted; it stays, since a Cluster may use it",
            );
        }
        for version in &versions.below_gap {
            self.name(
                format!("spec.kubernetesVersions: {version}"),
                "is left out: a minor above it has no release, and Cluster API allows no gap",
            );
        }
        for version in &versions.beyond_bound {
            self.name(
                format!("spec.kubernetesVersions: {version}"),
                "is left out: Cluster API allows 100 versions",
            );
        }
        for text in &versions.unreadable {
            self.name(
                format!("spec.kubernetesVersions: {text:?}"),
                "is left out: it is no version",
            );
        }
        versions.listed.iter().map(ToString::to_string).collect()
    }
}

/// How many releases a line lists before it only counts them.
const LISTED: usize = 2;

/// Why these releases can't be used where a pointer needs a value; nothing where there are none.
fn without_value<'r>(releases: impl Iterator<Item = &'r str>) -> Option<String> {
    // A release has as many sets as images.
    let mut each: Vec<&str> = Vec::new();
    for release in releases {
        if !each.contains(&release) {
            each.push(release);
        }
    }
    let (first, rest) = each.split_first()?;
    if rest.is_empty() {
        return Some(format!(
            "release {first} sets no value there, others do, and the template has none: Clusters of this class can't use that release"
        ));
    }
    let listed = match each.get(LISTED..) {
        Some(more @ [_, ..]) => format!(
            "{} and {} more",
            each.get(..LISTED).unwrap_or_default().join(", "),
            more.len()
        ),
        Some([]) | None => each.join(" and "),
    };
    Some(format!(
        "releases {listed} set no value there, others do, and the template has none: Clusters of this class can't use those releases"
    ))
}

fn template_name(reference: &TemplateRef) -> String {
    format!("{} {}", reference.kind, reference.name)
}

fn join(pointers: &BTreeSet<JsonPointer>) -> String {
    pointers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn patch(role: Role, definitions: Vec<Definition>) -> Option<Patch> {
    (!definitions.is_empty()).then(|| Patch {
        name: role.patch_name().to_owned(),
        description: Some(role.description().to_owned()),
        enabled_if: Some(role.enabled_if()),
        definitions,
        external: None,
    })
}

fn definition(reference: &TemplateRef, matches: MatchResources, json_patches: Vec<JsonPatch>) -> Option<Definition> {
    (!json_patches.is_empty()).then(|| Definition {
        selector: Selector {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
            match_resources: matches,
        },
        json_patches,
    })
}

fn add_value(pointer: &JsonPointer, value: Value) -> JsonPatch {
    JsonPatch {
        op: "add".to_owned(),
        path: pointer.to_string(),
        value: Some(value),
        value_from: None,
    }
}

fn add_template(pointer: &JsonPointer, template: String) -> JsonPatch {
    JsonPatch {
        op: "add".to_owned(),
        path: pointer.to_string(),
        value: None,
        value_from: Some(ValueFrom {
            variable: None,
            template: Some(template),
        }),
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject(parent) => write!(f, "the template has something else than an object at {parent}"),
            Self::WouldUndo { parent, patch, path } => write!(
                f,
                "the template lacks {parent}, and adding it would undo what the class' own patch {patch:?} writes at {path}: put {parent}: {{}} into the template"
            ),
        }
    }
}

impl fmt::Display for Unwired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

#[cfg(test)]
mod tests;
