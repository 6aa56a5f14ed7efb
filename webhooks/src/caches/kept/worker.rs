//! What makes workers: MachineDeployments, MachineSets, MachinePools, and Machines that nothing makes.

use std::{fmt::Debug, marker::PhantomData, sync::Arc};

use instar_admission::{
    cluster_state::{CachedWorker, Versions},
    is_made_by_another,
    template::TemplateType,
};
use instar_capi::{
    Machine, MachineDeployment, MachinePool, MachineSet, MachineSpec, ManagedBy, VersionCount, WorkerKind,
};
use instar_watch::{Cache, Entry, Guarded, Kept, Key, Presence, Row, Unreadable};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;

use super::{
    super::{Caches, group::Group},
    Cached, Use, User, groups_of_unreadable, in_use, namespace, same_uses, use_bytes, uses_of,
};
use crate::rbac::Watched;

/// Of what makes workers: whose they are, their versions, their templates.
#[derive(Debug)]
pub(crate) struct Worker<O> {
    cluster: Box<str>,
    /// Its name in its Cluster's topology; empty where it has none.
    in_topology: Box<str>,
    /// Nothing where another worker speaks for it, or where no version of it can be read.
    moves: Option<(ManagedBy, Versions)>,
    uses: Box<[Use]>,
    of: PhantomData<fn() -> O>,
}

/// A kind that makes workers.
pub(crate) trait WorkerResource:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static
{
    /// Which kind.
    const KIND: WorkerKind;
    /// Its watch.
    const WATCHED: Watched;
    /// Which of the objects are watched.
    const SELECTOR: &str = "";

    /// What is read of an object.
    fn made(self) -> WorkerFields;

    /// Where it is kept.
    fn cache(caches: &Caches) -> &Arc<Cache<Worker<Self>>>;
}

/// What is read of an object that makes workers.
pub(crate) struct WorkerFields {
    metadata: ObjectMeta,
    cluster: String,
    machines: MachineSpec,
    running: Vec<VersionCount>,
}

impl<O: WorkerResource> Worker<O> {
    fn new(made: WorkerFields) -> Self {
        let WorkerFields {
            metadata,
            cluster,
            machines,
            mut running,
        } = made;
        let namespace = namespace(&metadata);
        let uses = match O::KIND {
            WorkerKind::MachineDeployment | WorkerKind::MachineSet => {
                let bootstrap = machines.bootstrap.config_ref.as_ref();
                uses_of(
                    &metadata,
                    [
                        Use::of(TemplateType::Machine, namespace, &machines.infrastructure_ref),
                        bootstrap.and_then(|template| Use::of(TemplateType::Bootstrap, namespace, template)),
                    ],
                )
            }
            // These refer to their infrastructure itself.
            WorkerKind::MachinePool | WorkerKind::Machine => Box::default(),
        };
        running.push(VersionCount {
            version: machines.version,
            replicas: None,
        });
        let labels = metadata.labels.as_ref();
        let in_topology = O::KIND.topology_label().and_then(|label| labels?.get(label));
        let managed_by = metadata.labels.as_ref().map_or(ManagedBy::User, ManagedBy::of);
        let stands_alone = !is_made_by_another(O::KIND, &metadata);
        Self {
            in_topology: in_topology.map(String::as_str).unwrap_or_default().into(),
            cluster: cluster.into(),
            moves: Versions::of(&running)
                .filter(|_| stands_alone)
                .map(|versions| (managed_by, versions)),
            uses,
            of: PhantomData,
        }
    }

    /// As the rules see it.
    pub(in super::super) fn seen(&self, key: &Key) -> Option<CachedWorker> {
        let (managed_by, versions) = self.moves.clone()?;
        Some(CachedWorker {
            kind: O::KIND,
            name: key.name().to_owned(),
            managed_by,
            in_topology: Some(self.in_topology.to_string()).filter(|name| !name.is_empty()),
            versions,
        })
    }
}

impl<O: WorkerResource> Entry for Worker<O> {
    type Group = Group;

    fn groups(&self, key: &Key) -> Vec<Group> {
        let cluster = self.moves.iter();
        let cluster = cluster.map(|_| Group::Cluster(Key::new(key.namespace(), &self.cluster)));
        cluster.chain(in_use(&self.uses)).collect()
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        groups_of_unreadable(key, unreadable)
    }
    fn is_same(&self, other: &Self) -> bool {
        self.cluster == other.cluster
            && self.in_topology == other.in_topology
            && self.moves == other.moves
            && same_uses(&self.uses, &other.uses)
    }

    fn heap_bytes(&self) -> usize {
        self.cluster.len() + self.in_topology.len() + use_bytes(&self.uses)
    }
}

impl<O: WorkerResource> Kept for Worker<O> {
    type Object = Guarded<O>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |object| Self::new(object.made()))
    }
}

impl<O: WorkerResource> Cached for Worker<O> {
    const KIND: Watched = O::WATCHED;
    const PRESENCE: Presence = Presence::CLUSTER_API;
    const SELECTOR: &str = O::SELECTOR;

    fn cache(caches: &Caches) -> &Arc<Cache<Self>> {
        O::cache(caches)
    }

    fn lease(&mut self, caches: &Caches) {
        caches.templates.learn(&mut self.uses);
    }
}

impl<O: WorkerResource> User for Worker<O> {
    const USER: &str = O::KIND.as_str();

    fn cluster_name(&self) -> Option<String> {
        Some(self.cluster.clone().into_string())
    }
}

/// A kind whose spec has a template of its machines.
macro_rules! with_machine_template {
    ($($kind:ident, $watched:ident, $cache:ident;)+) => {$(
        impl WorkerResource for $kind {
            const KIND: WorkerKind = WorkerKind::$kind;
            const WATCHED: Watched = Watched::$watched;

            fn made(self) -> WorkerFields {
                WorkerFields {
                    metadata: self.metadata,
                    cluster: self.spec.cluster_name,
                    machines: self.spec.template.spec,
                    running: self.status.unwrap_or_default().versions,
                }
            }

            fn cache(caches: &Caches) -> &Arc<Cache<Worker<Self>>> {
                &caches.$cache
            }
        }
    )+};
}

with_machine_template! {
    MachineDeployment, MachineDeployments, deployments;
    MachineSet, MachineSets, sets;
    MachinePool, MachinePools, pools;
}

impl WorkerResource for Machine {
    const KIND: WorkerKind = WorkerKind::Machine;
    const WATCHED: Watched = Watched::Machines;
    /// Those that nothing makes: most Machines are never sent here.
    const SELECTOR: &str = "!cluster.x-k8s.io/control-plane,!cluster.x-k8s.io/set-name,!cluster.x-k8s.io/pool-name";

    fn made(self) -> WorkerFields {
        let kubelet = self.status.unwrap_or_default().node_info.kubelet_version;
        WorkerFields {
            metadata: self.metadata,
            cluster: self.spec.cluster_name.clone(),
            machines: self.spec,
            running: vec![VersionCount {
                version: kubelet,
                replicas: None,
            }],
        }
    }

    fn cache(caches: &Caches) -> &Arc<Cache<Worker<Self>>> {
        &caches.machines
    }
}
