//! KubeadmControlPlanes.

use std::sync::{Arc, RwLock};

use instar_admission::{cluster_of, cluster_state::TemplateUser, template::TemplateType};
use instar_capi::{KubeadmControlPlane, labels::CLUSTER_NAME};
use kube::core::DeserializeGuard;

use super::{
    super::{
        Caches,
        index::{self, Entry, Group, Index, Key},
    },
    Absent, Cached, Use, User, bare, guarded, in_use, namespace, uses_of,
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
    fn groups(&self, _: &Key) -> Vec<Group> {
        let cluster = self.cluster.iter().cloned().map(Group::Cluster);
        cluster.chain(in_use(&self.uses)).collect()
    }

    fn complaint(&self) -> Option<&str> {
        self.cluster.is_none().then_some(
            "it has no label cluster.x-k8s.io/cluster-name, so it belongs to no Cluster: put the Cluster's name there",
        )
    }
}

impl Cached for ControlPlane {
    type Object = DeserializeGuard<KubeadmControlPlane>;
    const KIND: Watched = Watched::KubeadmControlPlanes;
    /// Other control plane providers do without it.
    const ABSENT: Absent = Absent::Empty("the kubeadm control plane provider isn't installed");

    fn keep(object: Self::Object) -> index::Row<Self> {
        guarded(object, |mut control_plane| {
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
            Self {
                cluster,
                owned,
                view: Arc::new(control_plane),
                uses,
            }
        })
    }

    fn index(caches: &Caches) -> &RwLock<Index<Self>> {
        &caches.control_planes
    }

    fn uses(&self) -> &[Use] {
        &self.uses
    }
}

impl User for ControlPlane {
    fn user(&self, key: &Key) -> TemplateUser {
        TemplateUser {
            kind: "KubeadmControlPlane".to_owned(),
            name: key.name().to_owned(),
            cluster: self.cluster.as_ref().map(|cluster| cluster.name().to_owned()),
        }
    }
}
