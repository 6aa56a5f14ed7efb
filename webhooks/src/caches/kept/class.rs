//! ClusterClasses.

use std::sync::Arc;

use instar_admission::{cluster_state::TemplateKey, template::TemplateType};
use instar_api::{CATALOG_LABEL, ETCD_ANNOTATION};
use instar_capi::{ClusterClass, ClusterClassSpec, ControlPlaneClass, TemplateRef, WorkersClass};
use instar_watch::{Cache, Entry, Guarded, Kept, Key, Presence, Row, Unreadable};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    super::{Caches, group::Group},
    Cached, Use, User, bare, groups_of_unreadable, in_use, json_bytes, namespace, use_bytes, uses_of,
};
use crate::rbac::Watched;

/// Of a ClusterClass: its spec, its catalog, and whether its etcd is external.
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
    type Group = Group;

    fn groups(&self, _: &Key) -> Vec<Group> {
        in_use(&self.uses).collect()
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        groups_of_unreadable(key, unreadable)
    }

    fn heap_bytes(&self) -> usize {
        size_of_val(&*self.view) + json_bytes(&self.view.spec) + use_bytes(&self.uses)
    }
}

impl Kept for Class {
    type Object = Guarded<ClusterClass>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |mut class| {
            let uses = uses_of(&class.metadata, uses(&class.spec, namespace(&class.metadata)));
            let mut annotations = class.metadata.annotations.take().unwrap_or_default();
            annotations.retain(|name, _| name == ETCD_ANNOTATION);
            let mut labels = class.metadata.labels.take().unwrap_or_default();
            labels.retain(|name, _| name == CATALOG_LABEL);
            class.metadata = ObjectMeta {
                labels: (!labels.is_empty()).then_some(labels),
                annotations: (!annotations.is_empty()).then_some(annotations),
                ..bare(class.metadata)
            };
            Self {
                view: Arc::new(class),
                uses,
            }
        })
    }
}

impl Cached for Class {
    const KIND: Watched = Watched::ClusterClasses;
    const PRESENCE: Presence = Presence::CLUSTER_API;

    fn cache(caches: &Caches) -> &Arc<Cache<Self>> {
        &caches.classes
    }

    fn lease(&mut self, caches: &Caches) {
        caches.templates.learn(&mut self.uses);
    }
}

impl User for Class {
    const USER: &str = "ClusterClass";

    fn cluster_name(&self) -> Option<String> {
        None
    }
}

/// All templates that it refers to. Only those of machines and of their bootstrapping are looked at.
fn uses(class: &ClusterClassSpec, namespace: &str) -> impl Iterator<Item = Option<Use>> {
    let named = move |sort: Option<TemplateType>, template: Option<&TemplateRef>| {
        let template = template?;
        let key = TemplateKey {
            group: template.group(),
            kind: &template.kind,
            namespace,
            name: &template.name,
        };
        Use::named(sort, &key)
    };
    let ControlPlaneClass {
        metadata: _,
        template_ref,
        machine_infrastructure,
        health_check,
    } = &class.control_plane;
    let WorkersClass {
        machine_deployments,
        machine_pools,
    } = &class.workers;
    let holders = [
        (None, &class.infrastructure),
        (Some(TemplateType::Machine), machine_infrastructure),
        (None, &health_check.remediation),
    ];
    let deployments = machine_deployments.iter().flat_map(|pool| {
        [
            (Some(TemplateType::Machine), &pool.infrastructure),
            (Some(TemplateType::Bootstrap), &pool.bootstrap),
            (None, &pool.health_check.remediation),
        ]
    });
    let pools = machine_pools.iter().flat_map(|pool| {
        [
            (None, &pool.infrastructure),
            (Some(TemplateType::Bootstrap), &pool.bootstrap),
        ]
    });
    let holders = holders.into_iter().chain(deployments).chain(pools);
    std::iter::once((None, template_ref.as_ref()))
        .chain(holders.map(|(sort, holder)| (sort, holder.template_ref.as_ref())))
        .map(move |(sort, template)| named(sort, template))
}
