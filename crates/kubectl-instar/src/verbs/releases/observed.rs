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

impl ObservedPool {
    /// What is to be said where its template may be one of another version, as in the middle of an upgrade.
    pub(super) fn other_version(&self, row: &KubeVersion) -> Option<String> {
        let version = self.version.as_ref().filter(|version| *version != row)?;
        self.template.as_ref()?;
        let place = &self.place;
        Some(format!(
            "{place} is asked to run {version}, and the row is of {row}: its template counts all the same"
        ))
    }
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
    for text in observed.pools.iter().filter_map(|pool| pool.other_version(version)) {
        document.note(spec(&["version"]), format!("Check: {text}."));
    }
    images(&mut document, observed, pointers);
    components(&mut document, observed);
    document
}

/// What the pools of a kind have.
struct Found<'o> {
    pool: &'o ObservedPool,
    values: Vec<ValueAt>,
}

/// One entry where all pools of a kind have the same, the control plane among them, else one for each role, else one for each
/// pool that differs.
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
    let mut is_whole = false;
    for ((group, kind), found) in kinds {
        let entry = |role, values: &[ValueAt]| MachineImage {
            api_group: group.to_owned(),
            kind: kind.to_owned(),
            role,
            labels: BTreeMap::new(),
            values: values.to_vec(),
        };
        let has_control_plane = found.iter().any(|found| found.pool.place == PoolPlace::ControlPlane);
        is_whole |= has_control_plane;
        if let Some(values) = shared(found.iter()).filter(|_| has_control_plane) {
            document.spec.machine_images.push(entry(PoolRole::Any, values));
            continue;
        }
        for role in [PoolRole::ControlPlane, PoolRole::Worker] {
            let of_role = || found.iter().filter(move |found| found.pool.place.role() == role);
            if let Some(values) = shared(of_role()) {
                document.spec.machine_images.push(entry(role, values));
                continue;
            }
            let of_role: Vec<&Found<'_>> = of_role().collect();
            for Apart { values, label, notes } in told_apart(&of_role) {
                let path = spec(&["machineImages"]).item(document.spec.machine_images.len());
                for note in notes {
                    document.note(path.clone(), note);
                }
                let labels = label.map(|(key, value)| (key.to_owned(), value.to_owned()));
                let image = MachineImage {
                    labels: labels.into_iter().collect(),
                    ..entry(role, values)
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
    } else if !is_whole {
        document.note(
            spec(&["machineImages"]),
            "Check: the image of the control plane is missing, since none of its template is known: add an entry with role \
             ControlPlane.",
        );
    }
}

/// What all of them have; nothing where they differ, or there are none.
fn shared<'f>(mut found: impl Iterator<Item = &'f Found<'f>>) -> Option<&'f [ValueAt]> {
    let first = found.next()?;
    found.all(|other| other.values == first.values).then_some(&first.values)
}

/// An entry for pools that others of their role and kind differ from.
struct Apart<'f> {
    values: &'f [ValueAt],
    /// By which it is theirs; one entry at most has none.
    label: Option<(&'f str, &'f str)>,
    notes: Vec<String>,
}

/// Entries of pools that differ: by a label that all with the same values have and no other pool, else for each pool by a label
/// that no pool with other values has. One without a label fits every pool, so it is the last.
fn told_apart<'f>(all: &[&'f Found<'f>]) -> Vec<Apart<'f>> {
    let (mut entries, mut without): (Vec<Apart<'f>>, Vec<&'f Found<'f>>) = (Vec::new(), Vec::new());
    let mut seen: Vec<&[ValueAt]> = Vec::new();
    for first in all {
        if seen.contains(&first.values.as_slice()) {
            continue;
        }
        seen.push(&first.values);
        let (same, others): (Vec<&'f Found<'f>>, Vec<&'f Found<'f>>) =
            all.iter().copied().partition(|other| other.values == first.values);
        let is_own = |label: &(&str, &str)| !others.iter().any(|other| other.has(*label));
        let of_all = first
            .labels()
            .find(|label| is_own(label) && same.iter().all(|one| one.has(*label)));
        for one in same {
            let Some(label) = of_all.or_else(|| one.labels().find(is_own)) else {
                without.push(one);
                continue;
            };
            if entries.iter().all(|entry| entry.label != Some(label)) {
                let place = &one.pool.place;
                entries.push(Apart {
                    values: &one.values,
                    label: Some(label),
                    notes: vec![format!(
                        "Check: this is what {place} has; see that the label is one by which you choose images."
                    )],
                });
            }
        }
    }
    if let Some((first, rest)) = without.split_first() {
        let place = &first.pool.place;
        let mut notes = vec![format!(
            "Check: this is what {place} has. Give its machines a label, and write it here: the first entry that fits counts."
        )];
        let left_out = rest.iter().filter(|other| other.values != first.values);
        notes.extend(left_out.map(|other| {
            let place = &other.pool.place;
            format!("Check: {place} has another image and no label of its own: give it one, and add an entry above.")
        }));
        entries.push(Apart {
            values: &first.values,
            label: None,
            notes,
        });
    }
    entries
}

impl Found<'_> {
    fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.pool.labels.iter();
        labels.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn has(&self, (key, value): (&str, &str)) -> bool {
        self.pool.labels.get(key).is_some_and(|own| own == value)
    }
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
