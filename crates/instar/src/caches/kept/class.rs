//! ClusterClasses.

use std::sync::{Arc, RwLock};

use instar_admission::{
    cluster_state::{TemplateKey, TemplateUser},
    template::TemplateType,
};
use instar_api::ETCD_ANNOTATION;
use instar_capi::{ClusterClass, ClusterClassSpec, TemplateHolder};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;

use super::{
    super::{
        Caches,
        index::{self, Entry, Group, Index, Key},
    },
    Absent, Cached, NO_CLUSTER_API, Use, User, bare, guarded, in_use, namespace, uses_of,
};
use crate::rbac::Watched;

/// Of a ClusterClass: its spec, and whether its etcd is external.
#[derive(Debug)]
pub(crate) struct Class {
    view: Arc<ClusterClass>,
    uses: Box<[Use]>,
}

impl Class {
    pub(in super::super) fn view(&self) -> Arc<ClusterClass> {
        Arc::clone(&self.view)
    }
}

impl Entry for Class {
    fn groups(&self, _: &Key) -> Vec<Group> {
        in_use(&self.uses).collect()
    }
}

impl Cached for Class {
    type Object = DeserializeGuard<ClusterClass>;
    const KIND: Watched = Watched::ClusterClasses;
    const ABSENT: Absent = NO_CLUSTER_API;

    fn keep(object: Self::Object) -> index::Row<Self> {
        guarded(object, |mut class| {
            let uses = uses_of(&class.metadata, uses(&class.spec, namespace(&class.metadata)));
            let mut annotations = class.metadata.annotations.take().unwrap_or_default();
            annotations.retain(|name, _| name == ETCD_ANNOTATION);
            class.metadata = ObjectMeta {
                annotations: (!annotations.is_empty()).then_some(annotations),
                ..bare(class.metadata)
            };
            Self {
                view: Arc::new(class),
                uses,
            }
        })
    }

    fn index(caches: &Caches) -> &RwLock<Index<Self>> {
        &caches.classes
    }

    fn uses(&self) -> &[Use] {
        &self.uses
    }
}

impl User for Class {
    fn user(&self, key: &Key) -> TemplateUser {
        TemplateUser {
            kind: "ClusterClass".to_owned(),
            name: key.name().to_owned(),
            cluster: None,
        }
    }
}

/// The templates of machines. Those of a MachinePool's infrastructure are none.
fn uses(class: &ClusterClassSpec, namespace: &str) -> impl Iterator<Item = Option<Use>> {
    let named = move |sort: TemplateType, holder: &TemplateHolder| {
        let template = holder.template_ref.as_ref()?;
        let key = TemplateKey {
            group: template.group(),
            kind: &template.kind,
            namespace,
            name: &template.name,
        };
        Use::named(sort, &key)
    };
    let machines = std::iter::once(&class.control_plane.machine_infrastructure).chain(
        class
            .workers
            .machine_deployments
            .iter()
            .map(|pool| &pool.infrastructure),
    );
    let bootstraps = class
        .workers
        .machine_deployments
        .iter()
        .chain(&class.workers.machine_pools)
        .map(|pool| &pool.bootstrap);
    machines
        .map(move |holder| named(TemplateType::Machine, holder))
        .chain(bootstraps.map(move |holder| named(TemplateType::Bootstrap, holder)))
}
