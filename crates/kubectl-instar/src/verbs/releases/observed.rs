//! A running cluster as a row: which values its templates have, and which pools share them.

use std::{collections::BTreeMap, fmt};

use instar_api::{Component, Components, KubernetesReleaseSpec, MachineImage, PoolRole, Support, ValueAt};
use instar_catalog::{etcd::Etcd, kubeadm};
use instar_domain::KubeVersion;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::document::{Document, spec};

/// Where the templates of a kind have their image, as a user says it.
pub(super) type Pointers = BTreeMap<String, Vec<String>>;

/// What was read.
#[derive(Debug)]
pub(super) struct ObservedCluster {
    pub(super) version: KubeVersion,
    /// Absent where its control plane is no KubeadmControlPlane.
    pub(super) kubeadm: Option<ObservedKubeadm>,
    pub(super) pools: Vec<ObservedPool>,
    /// What couldn't be read, with the reasons.
    pub(super) unread: Vec<String>,
}

/// What a KubeadmControlPlane sets.
#[derive(Debug)]
pub(super) struct ObservedKubeadm {
    pub(super) etcd: ObservedEtcd,
    pub(super) core_dns: ObservedComponent,
}

#[derive(Debug)]
pub(super) enum ObservedEtcd {
    Stacked(ObservedComponent),
    /// No Kubernetes version moves it.
    External,
}

/// What a KubeadmControlPlane sets of a component.
#[derive(Debug, Default)]
pub(super) struct ObservedComponent {
    pub(super) tag: Option<String>,
    pub(super) repository: Option<String>,
}

#[derive(Debug)]
pub(super) struct ObservedPool {
    pub(super) place: PoolPlace,
    pub(super) version: Option<KubeVersion>,
    /// Of its machines.
    pub(super) labels: BTreeMap<String, String>,
    /// Absent where it has none, or it couldn't be read.
    pub(super) template: Option<Template>,
}

#[derive(Debug)]
pub(super) struct Template {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) object: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PoolPlace {
    ControlPlane,
    MachineDeployment(String),
    MachinePool(String),
}

impl PoolPlace {
    const fn role(&self) -> PoolRole {
        match self {
            Self::ControlPlane => PoolRole::ControlPlane,
            Self::MachineDeployment(_) | Self::MachinePool(_) => PoolRole::Worker,
        }
    }
}

impl fmt::Display for PoolPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlPlane => f.write_str("the control plane"),
            Self::MachineDeployment(name) => write!(f, "MachineDeployment {name}"),
            Self::MachinePool(name) => write!(f, "MachinePool {name}"),
        }
    }
}

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";

/// Where the providers' templates have what belongs to a Kubernetes version, by group and kind; any of a row that is there.
const KNOWN: [(&str, &str, &[&str]); 13] = [
    (INFRASTRUCTURE, "AWSMachineTemplate", &["/spec/template/spec/ami/id"]),
    (INFRASTRUCTURE, "AzureMachineTemplate", &["/spec/template/spec/image"]),
    (
        INFRASTRUCTURE,
        "DevMachineTemplate",
        &[
            "/spec/template/spec/backend/docker/customImage",
            "/spec/template/spec/backend/inMemory/vm/provisioning/startupDuration",
        ],
    ),
    (
        INFRASTRUCTURE,
        "DockerMachineTemplate",
        &["/spec/template/spec/customImage"],
    ),
    (INFRASTRUCTURE, "GCPMachineTemplate", &["/spec/template/spec/image"]),
    (
        INFRASTRUCTURE,
        "HCloudMachineTemplate",
        &["/spec/template/spec/imageName"],
    ),
    (INFRASTRUCTURE, "Metal3MachineTemplate", &["/spec/template/spec/image"]),
    (INFRASTRUCTURE, "NutanixMachineTemplate", &["/spec/template/spec/image"]),
    (INFRASTRUCTURE, "OCIMachineTemplate", &["/spec/template/spec/imageId"]),
    (
        INFRASTRUCTURE,
        "OpenStackMachineTemplate",
        &["/spec/template/spec/image"],
    ),
    (
        INFRASTRUCTURE,
        "VSphereMachineTemplate",
        &["/spec/template/spec/template"],
    ),
    (
        "vmware.infrastructure.cluster.x-k8s.io",
        "VSphereMachineTemplate",
        &["/spec/template/spec/imageName"],
    ),
    (INFRASTRUCTURE, "AzureMachinePool", &["/spec/template/image"]),
];

/// What a template has at the pointers of its kind: those that the user names, else those that are known.
pub(super) fn values(kind: &str, group: &str, template: &Value, pointers: &Pointers) -> Vec<ValueAt> {
    let known = KNOWN
        .iter()
        .find(|(known_group, known, _)| *known_group == group && *known == kind)
        .map_or(&[][..], |(_, _, pointers)| pointers);
    let named = pointers
        .get(kind)
        .map(|named| named.iter().map(String::as_str).collect());
    let pointers: Vec<&str> = named.unwrap_or_else(|| known.to_vec());
    pointers
        .into_iter()
        .filter_map(|pointer| value_at(pointer, template.pointer(pointer)?))
        .collect()
}

fn value_at(pointer: &str, value: &Value) -> Option<ValueAt> {
    let scalar = match value {
        Value::Null => return None,
        Value::String(text) => Some(IntOrString::String(text.clone())),
        Value::Number(number) => number
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .map(IntOrString::Int),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    Some(ValueAt {
        pointer: pointer.to_owned(),
        json: scalar.is_none().then(|| value.to_string()),
        value: scalar,
    })
}

/// The row.
pub(super) fn row(observed: &ObservedCluster, name: Option<&str>, pointers: &Pointers) -> Document {
    let version = &observed.version;
    let own_name = || format!("{}-1", version.to_string().replace('+', "-"));
    let mut document = Document {
        name: name.map_or_else(own_name, ToOwned::to_owned),
        spec: KubernetesReleaseSpec {
            catalog: instar_api::CatalogName::default(),
            version: version.clone(),
            revision: 1,
            support: Support::default(),
            upgrades_from: None,
            machine_images: Vec::new(),
            components: Components::default(),
            addons: Vec::new(),
        },
        notes: Vec::new(),
    };
    document.note(
        spec(&["support"]),
        "Check: set endOfLife, the last day on which you support this row.",
    );
    images(&mut document, observed, pointers);
    components(&mut document, observed);
    document
}

/// What the pools of a kind have.
struct Found<'o> {
    pool: &'o ObservedPool,
    values: Vec<ValueAt>,
}

/// One entry where all pools of a kind have the same, else one for each role, else one for each pool that differs.
fn images(document: &mut Document, observed: &ObservedCluster, pointers: &Pointers) {
    let mut kinds: BTreeMap<(&str, &str), Vec<Found<'_>>> = BTreeMap::new();
    for pool in &observed.pools {
        let Some(template) = &pool.template else { continue };
        let values = values(&template.kind, &template.group, &template.object, pointers);
        if !values.is_empty() {
            let kind = kinds.entry((&template.group, &template.kind)).or_default();
            kind.push(Found { pool, values });
        }
    }
    for ((group, kind), found) in kinds {
        let entry = |role, values: &[ValueAt]| MachineImage {
            api_group: group.to_owned(),
            kind: kind.to_owned(),
            role,
            labels: BTreeMap::new(),
            values: values.to_vec(),
        };
        if let Some(values) = shared(found.iter()) {
            document.spec.machine_images.push(entry(PoolRole::Any, values));
            continue;
        }
        for role in [PoolRole::ControlPlane, PoolRole::Worker] {
            let of_role = || found.iter().filter(move |found| found.pool.place.role() == role);
            if let Some(values) = shared(of_role()) {
                document.spec.machine_images.push(entry(role, values));
                continue;
            }
            let mut written: Vec<&[ValueAt]> = Vec::new();
            for one in of_role() {
                if written.contains(&one.values.as_slice()) {
                    continue;
                }
                written.push(&one.values);
                let path = spec(&["machineImages"]).item(document.spec.machine_images.len());
                let (labels, note) = told_apart(one, of_role());
                document.note(path, note);
                let image = MachineImage {
                    labels,
                    ..entry(role, &one.values)
                };
                document.spec.machine_images.push(image);
            }
        }
    }
    if document.spec.machine_images.is_empty() {
        document.note(
            spec(&["version"]),
            "Check: no image of a machine is known: add machineImages.",
        );
    }
}

/// What all of them have; nothing where they differ, or there are none.
fn shared<'f>(mut found: impl Iterator<Item = &'f Found<'f>>) -> Option<&'f [ValueAt]> {
    let first = found.next()?;
    found.all(|other| other.values == first.values).then_some(&first.values)
}

/// Labels that the pools with these values have and no other pool, and what to say of them.
fn told_apart<'f>(one: &Found<'_>, all: impl Iterator<Item = &'f Found<'f>>) -> (BTreeMap<String, String>, String) {
    let others: Vec<&Found<'_>> = all.filter(|other| other.values != one.values).collect();
    let is_own =
        |(key, value): &(&String, &String)| others.iter().all(|other| other.pool.labels.get(*key) != Some(value));
    let own = one.pool.labels.iter().find(is_own);
    let labels: BTreeMap<String, String> = own
        .into_iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let place = &one.pool.place;
    let note = if labels.is_empty() {
        format!(
            "Check: this is what {place} has. Give its machines a label, and write it here: the first entry that fits counts."
        )
    } else {
        format!("Check: this is what {place} has; see that the label is one by which you choose images.")
    };
    (labels, note)
}

fn components(document: &mut Document, observed: &ObservedCluster) {
    let Some(ObservedKubeadm { etcd, core_dns }) = &observed.kubeadm else {
        return;
    };
    let version = &observed.version;
    let brings = kubeadm::images(version);
    let own = |tag: fn(&kubeadm::KubeadmImages) -> &String| brings.as_ref().map_or("its own", |images| tag(images));
    let at = spec(&["components"]);
    if let ObservedEtcd::Stacked(etcd) = etcd {
        let component = etcd.component();
        let runs = component.as_ref().map_or_else(
            || Etcd::Kubeadm(version.clone()),
            |etcd| Etcd::Tag(etcd.image_tag.clone()),
        );
        if component.is_none() {
            let tag = own(|images| &images.etcd);
            let text = format!("The KubeadmControlPlane sets no etcd, so kubeadm {version} brings {tag}.");
            document.note(at.clone(), text);
        }
        if !runs.is_past_the_step() && !runs.is_the_step_before() {
            document.note(
                at.clone(),
                "From this etcd no safe way leads to 3.6: add a row of this version with a higher revision and etcd \
                 3.5.26-0.",
            );
        }
        document.spec.components.etcd = component;
    }
    let component = core_dns.component();
    if component.is_none() {
        let tag = own(|images| &images.core_dns);
        let text = format!("The KubeadmControlPlane sets no CoreDNS, so kubeadm {version} brings {tag}.");
        document.note(at, text);
    }
    document.spec.components.core_dns = component;
}

impl ObservedComponent {
    /// Absent where kubeadm chooses.
    fn component(&self) -> Option<Component> {
        Some(Component {
            image_tag: self.tag.clone()?,
            image_repository: self.repository.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
