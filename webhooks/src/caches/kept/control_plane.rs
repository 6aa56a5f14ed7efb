//! KubeadmControlPlanes.

use std::sync::Arc;

use instar_admission::{cluster_of, template::TemplateType};
use instar_capi::{Condition, KubeadmControlPlane, labels::CLUSTER_NAME};
use instar_watch::{Cache, Entry, Guarded, Kept, Key, Presence, Row, Unreadable};

use super::{
    super::{Caches, group::Group},
    Cached, Use, User, bare, groups_of_unreadable, in_use, json_bytes, namespace, same_uses, use_bytes, uses_of,
};
use crate::rbac::Watched;

/// Of a KubeadmControlPlane: its versions, its components, its template, and whose it is.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    cluster: Option<Key>,
    owned: bool,
    view: Arc<KubeadmControlPlane>,
    uses: Box<[Use]>,
}

impl ControlPlane {
    /// Whether its Cluster owns it, and not only a label says so.
    pub(in super::super) const fn is_owned(&self) -> bool {
        self.owned
    }

    pub(in super::super) fn view(&self) -> Arc<KubeadmControlPlane> {
        Arc::clone(&self.view)
    }
}

impl Entry for ControlPlane {
    type Group = Group;

    fn groups(&self, _: &Key) -> Vec<Group> {
        let cluster = self.cluster.iter().cloned().map(Group::Cluster);
        cluster.chain(in_use(&self.uses)).collect()
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        groups_of_unreadable(key, unreadable)
    }

    fn is_same(&self, other: &Self) -> bool {
        let same_owner = self.cluster == other.cluster && self.owned == other.owned;
        same_owner && self.view == other.view && same_uses(&self.uses, &other.uses)
    }

    fn heap_bytes(&self) -> usize {
        let name = self.cluster.as_ref().map_or(0, |cluster| cluster.as_str().len());
        let view = &*self.view;
        let parts = json_bytes(&view.spec) + json_bytes(&view.status);
        name + use_bytes(&self.uses) + size_of_val(view) + parts
    }

    fn complaint(&self) -> Option<&str> {
        self.cluster.is_none().then_some(
            "it has no label cluster.x-k8s.io/cluster-name, so it belongs to no Cluster: put the Cluster's name there",
        )
    }
}

impl Kept for ControlPlane {
    type Object = Guarded<KubeadmControlPlane>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |mut control_plane| {
            let metadata = &control_plane.metadata;
            let label = metadata.labels.as_ref().and_then(|labels| labels.get(CLUSTER_NAME));
            let name = label.map(String::as_str).or_else(|| cluster_of(metadata));
            let mut owners = metadata.owner_references.iter().flatten();
            let owned = owners.any(|owner| owner.kind == "Cluster" && Some(owner.name.as_str()) == name);
            let cluster = name.map(|name| Key::new(namespace(metadata), name));
            let template = control_plane.spec.machine_template.template();
            let template = template.and_then(|template| Use::of(TemplateType::Machine, namespace(metadata), template));
            let uses = uses_of(metadata, [template]);
            control_plane.metadata = bare(control_plane.metadata);
            // The controller's checks read them.
            control_plane.spec.kubeadm_config_spec.settings = Vec::new();
            if let Some(status) = &mut control_plane.status {
                // They are most of what is left, and of one it counts what it is.
                let is_asked_for = |condition: &Condition| condition.kind == Condition::ROLLING_OUT;
                status.conditions.retain(is_asked_for);
                for condition in &mut status.conditions {
                    (condition.reason, condition.message) = (String::new(), String::new());
                }
            }
            Self {
                cluster,
                owned,
                view: Arc::new(control_plane),
                uses,
            }
        })
    }
}

impl Cached for ControlPlane {
    const KIND: Watched = Watched::KubeadmControlPlanes;
    /// Other control plane providers do without it.
    const PRESENCE: Presence = Presence::Optional;

    fn cache(caches: &Caches) -> &Arc<Cache<Self>> {
        &caches.control_planes
    }

    fn lease(&mut self, caches: &Caches) {
        caches.templates.learn(&mut self.uses);
    }
}

impl User for ControlPlane {
    const USER: &str = "KubeadmControlPlane";

    fn cluster_name(&self) -> Option<String> {
        self.cluster.as_ref().map(|cluster| cluster.name().to_owned())
    }
}
