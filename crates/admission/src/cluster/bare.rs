//! Templates that machines get as their class has them: at a version without a pin, the image is the template's own. So a
//! template with the image of another version comes with that version.

use std::sync::Arc;

use instar_api::{Pins, Rule};
use instar_capi::{Cluster, ClusterClass, ManagedBy, PoolKind, Reference, TemplateHolder, Topology};
use instar_catalog::Catalog;
use instar_domain::KubeVersion;
use instar_wiring::{Holder, own_patches_may_write};

use super::{
    request::{Admitted, AnnotationChange, annotation, class_of},
    shape::{Place, PoolShape, Shape},
};
use crate::{
    Finding, catalog,
    cluster_state::{CachedCluster, ClusterState, Lookup, TemplateKey},
    edit::{Edit, finding, object_ref},
    release_drift,
};

/// A Cluster, as far as its bare templates are judged.
struct Bare<'a> {
    namespace: &'a str,
    name: &'a str,
    pins: Option<Pins>,
    /// What its topology asks for.
    target: Option<KubeVersion>,
    catalog: &'a Catalog,
    state: &'a dyn ClusterState,
}

/// A template that takes the place of another one.
struct Change<'a> {
    before: &'a PoolShape<'a>,
    after: &'a PoolShape<'a>,
    classes: (&'a ClusterClass, &'a ClusterClass),
}

/// A template with the image of a release, and the version that stays.
struct Carried {
    what: String,
    stays: KubeVersion,
    place: &'static str,
}

/// Judges an edit of a class by each of its Clusters that gets a template bare.
pub(crate) fn of_class(
    edit: Edit<'_, ClusterClass>,
    clusters: &[Arc<CachedCluster>],
    state: &dyn ClusterState,
) -> Vec<Finding> {
    let Some(old) = edit.old.filter(|old| !same_templates(old, edit.new)) else {
        return Vec::new();
    };
    let class = object_ref(edit.kind, &edit.new.metadata);
    let judged = |cluster: &Arc<CachedCluster>| {
        let topology = cluster.topology.as_ref()?;
        let pins = cluster.pins.as_deref().map(Pins::from_annotation);
        let bare = Bare {
            namespace: &cluster.namespace,
            name: &cluster.name,
            pins: pins.transpose().ok()?,
            target: topology.version.parse().ok(),
            catalog: &state.catalog(&catalog::of_cached(Some(cluster), state)),
            state,
        };
        let labels = Some(&cluster.labels);
        let shapes = (Shape::of(labels, topology, old), Shape::of(labels, topology, edit.new));
        let Carried { what, stays, place } = bare.carried((&shapes.0, old), (&shapes.1, edit.new))?;
        let (namespace, name) = (&cluster.namespace, &cluster.name);
        let what = format!("{what}, and Cluster {namespace}/{name} stays at {stays}");
        let remediation = "create another class, and set it in the Cluster together with the version; or wire this one (instar wire), and leave its templates as they are";
        let finding = finding(Rule::OneRollout, class.clone(), place, what, remediation);
        Some(finding.of_cluster(namespace, name))
    };
    clusters.iter().filter_map(judged).collect()
}

/// Judges another class of a Cluster, or of a pool, by the templates that come with it.
#[must_use]
pub fn of_cluster(
    edit: Edit<'_, Cluster>,
    class: &ClusterClass,
    admitted: &Admitted,
    catalog: &Catalog,
    state: &dyn ClusterState,
) -> Option<Finding> {
    let (old, new) = (edit.old?, edit.new);
    let topologies: (&Topology, &Topology) = (old.spec.topology.as_ref()?, new.spec.topology.as_ref()?);
    let (class_namespace, class_name) = class_of(old)?;
    let old_class = state.class(&class_namespace, &class_name)?;
    let pins = match &admitted.pins {
        AnnotationChange::None => annotation(new),
        AnnotationChange::Set(text) => Some(text.as_str()),
        AnnotationChange::Remove => None,
    };
    let asked = || topologies.1.version.parse().ok();
    let bare = Bare {
        namespace: new.metadata.namespace.as_deref().unwrap_or_default(),
        name: new.metadata.name.as_deref().unwrap_or_default(),
        pins: pins.map(Pins::from_annotation).transpose().ok()?,
        target: admitted.version.clone().or_else(asked),
        catalog,
        state,
    };
    let shapes = (
        Shape::of(old.metadata.labels.as_ref(), topologies.0, &old_class),
        Shape::of(new.metadata.labels.as_ref(), topologies.1, class),
    );
    let Carried { what, stays, .. } = bare.carried((&shapes.0, &old_class), (&shapes.1, class))?;
    Some(finding(
        Rule::OneRollout,
        object_ref(edit.kind, &new.metadata),
        "spec.topology.classRef",
        format!("{what}, and the version stays {stays}"),
        release_drift::remediation_of_template(&stays),
    ))
}

/// Whether all templates of machines are the same: most edits of a class are of something else.
fn same_templates(old: &ClusterClass, new: &ClusterClass) -> bool {
    fn workers(class: &ClusterClass) -> impl Iterator<Item = (&str, &TemplateHolder)> {
        let workers = &class.spec.workers;
        let workers = workers.machine_deployments.iter().chain(&workers.machine_pools);
        workers.map(|worker| (worker.class.as_str(), &worker.infrastructure))
    }
    old.spec.control_plane.machine_infrastructure == new.spec.control_plane.machine_infrastructure
        && workers(old).eq(workers(new))
}

impl Bare<'_> {
    fn carried(
        &self,
        (old, old_class): (&Shape<'_>, &ClusterClass),
        (new, new_class): (&Shape<'_>, &ClusterClass),
    ) -> Option<Carried> {
        new.pools.iter().find_map(|after| {
            let before = old.pools.iter().find(|before| is_same_pool(before, after))?;
            let moves =
                before.template != after.template || old_class.metadata.namespace != new_class.metadata.namespace;
            moves.then_some(())?;
            self.of_another_version(&Change {
                before,
                after,
                classes: (old_class, new_class),
            })
        })
    }

    /// Where the template that is there carries another version too, an edit makes nothing worse.
    fn of_another_version(&self, change: &Change<'_>) -> Option<Carried> {
        let versions = self.unpinned(change.after.place);
        let stays = versions.first()?;
        let of_all = |pool: &PoolShape<'_>, class: &ClusterClass| {
            let mut what = None;
            for version in &versions {
                what = Some(self.release_in(pool, class, version)?);
            }
            what
        };
        let what = of_all(change.after, change.classes.1)?;
        match of_all(change.before, change.classes.0) {
            Some(_) => None,
            None => Some(Carried {
                what,
                stays: stays.clone(),
                place: match change.after.place {
                    Place::ControlPlane => "spec.controlPlane.machineInfrastructure.templateRef",
                    Place::Worker { .. } => "spec.workers",
                },
            }),
        }
    }

    /// The versions that these machines run or go to, and for which they get the template bare.
    fn unpinned(&self, place: Place<'_>) -> Vec<KubeVersion> {
        let (namespace, name, state) = (self.namespace, self.name, self.state);
        let mut versions: Vec<KubeVersion> = self.target.iter().cloned().collect();
        match place {
            Place::ControlPlane => {
                let control_plane = state.control_plane(namespace, name);
                versions.extend(control_plane.and_then(|control_plane| control_plane.spec.version.parse().ok()));
            }
            Place::Worker { .. } => {
                let workers = state.workers(namespace, name).into_iter();
                let workers = workers.filter(|worker| worker.managed_by == ManagedBy::Topology);
                versions.extend(workers.flat_map(|worker| [worker.versions.lowest, worker.versions.highest]));
            }
        }
        versions.sort();
        versions.dedup();
        if let Some(pins) = &self.pins {
            versions.retain(|version| pins.adopted.contains(version));
        }
        versions
    }

    /// What a template carries of a release of another version, unless a patch of the class' own writes there.
    fn release_in(&self, pool: &PoolShape<'_>, class: &ClusterClass, version: &KubeVersion) -> Option<String> {
        let template = pool.template;
        let reference = Reference {
            api_group: template.group().to_owned(),
            kind: template.kind.clone(),
            name: template.name.clone(),
        };
        let key = TemplateKey::of(class.metadata.namespace.as_deref().unwrap_or_default(), &reference);
        let Lookup::Found(found) = self.state.template(&key) else {
            return None;
        };
        let image = pool.of_catalog();
        let release = release_drift::carried(version, &image, &reference, &found, self.catalog)?;
        let holder = match pool.place {
            Place::ControlPlane => Holder::ControlPlane,
            Place::Worker {
                kind: PoolKind::MachineDeployment,
                class,
                ..
            } => Holder::MachineDeployment(class),
            Place::Worker {
                kind: PoolKind::MachinePool,
                class,
                ..
            } => Holder::MachinePool(class),
        };
        let mut pointers = release.image(&image)?.keys();
        if pointers.any(|pointer| own_patches_may_write(&class.spec, holder, template, pointer)) {
            return None;
        }
        Some(format!(
            "{} {} carries what release {} ({}) sets",
            template.kind,
            template.name,
            release.name(),
            release.version()
        ))
    }
}

/// Of a pool that gets another class, the templates are compared too.
fn is_same_pool(before: &PoolShape<'_>, after: &PoolShape<'_>) -> bool {
    match (before.place, after.place) {
        (Place::ControlPlane, Place::ControlPlane) => true,
        (
            Place::Worker { kind, name, .. },
            Place::Worker {
                kind: other,
                name: others,
                ..
            },
        ) => kind == other && name == others,
        (Place::ControlPlane, Place::Worker { .. }) | (Place::Worker { .. }, Place::ControlPlane) => false,
    }
}
