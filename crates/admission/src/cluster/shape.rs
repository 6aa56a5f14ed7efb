//! What a topology Cluster is made of: each template that gets values, with what chooses them.

use std::collections::BTreeMap;

use instar_api::{ETCD_ANNOTATION, KCP_ETCD, Pin, Values};
use instar_capi::{ClusterClass, KubeadmControlPlane, PoolKind, TemplateRef, Topology, WorkerKind};
use instar_catalog::{Labels, Pool, Release, Role};
use instar_domain::JsonPointer;
use instar_wiring::{Rendered, Wiring};

/// The templates of a Cluster of a class.
pub(super) struct Shape<'a> {
    /// The control plane's own template, where it is a kubeadm one.
    pub(super) kubeadm: Option<&'a TemplateRef>,
    /// The class says that its etcd is external, and the control plane says nothing else.
    pub(super) etcd_is_external: bool,
    /// The control plane's machines and the pools, in this order.
    pub(super) pools: Vec<PoolShape<'a>>,
}

/// Machines that share a template.
pub(super) struct PoolShape<'a> {
    pub(super) place: Place<'a>,
    pub(super) template: &'a TemplateRef,
    /// The pool's own.
    labels: BTreeMap<String, String>,
    /// Those of its Cluster, which count where the pool has none of that name.
    cluster_labels: Option<&'a BTreeMap<String, String>>,
}

/// Which machines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    ControlPlane,
    Worker {
        kind: PoolKind,
        name: &'a str,
        class: &'a str,
    },
}

impl<'a> Shape<'a> {
    pub(super) fn of(
        cluster_labels: Option<&'a BTreeMap<String, String>>,
        topology: &'a Topology,
        class: &'a ClusterClass,
    ) -> Self {
        let spec = &class.spec;
        let mut pools = Vec::new();
        if let Some(template) = &spec.control_plane.machine_infrastructure.template_ref {
            pools.push(PoolShape {
                place: Place::ControlPlane,
                template,
                labels: spec
                    .control_plane
                    .metadata
                    .labels_under(&topology.control_plane.metadata),
                cluster_labels,
            });
        }
        for (kind, pool) in topology.workers.pools() {
            let worker = match kind {
                PoolKind::MachineDeployment => spec.workers.machine_deployment(&pool.class),
                PoolKind::MachinePool => spec.workers.machine_pool(&pool.class),
            };
            // A pool of a class that isn't there is refused by Cluster API itself.
            let Some(worker) = worker else { continue };
            let Some(template) = &worker.infrastructure.template_ref else {
                continue;
            };
            pools.push(PoolShape {
                place: Place::Worker {
                    kind,
                    name: &pool.name,
                    class: &pool.class,
                },
                template,
                labels: worker.metadata.labels_under(&pool.metadata),
                cluster_labels,
            });
        }
        let annotations = class.metadata.annotations.as_ref();
        Self {
            kubeadm: spec
                .control_plane
                .template_ref
                .as_ref()
                .filter(|template| template.kind == "KubeadmControlPlaneTemplate"),
            etcd_is_external: annotations.is_some_and(|all| all.contains_key(ETCD_ANNOTATION)),
            pools,
        }
    }

    /// Believes the class' annotation only as far as the control plane, where there is one, has an external etcd.
    pub(super) fn with_control_plane(mut self, control_plane: Option<&KubeadmControlPlane>) -> Self {
        let has_external = |control_plane: &KubeadmControlPlane| {
            let configuration = &control_plane.spec.kubeadm_config_spec.cluster_configuration;
            configuration.etcd.external.is_some()
        };
        self.etcd_is_external &= control_plane.is_none_or(has_external);
        self
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = (&PoolShape<'a>, PoolKind, &'a str)> {
        self.pools.iter().filter_map(|pool| match pool.place {
            Place::ControlPlane => None,
            Place::Worker { kind, name, .. } => Some((pool, kind, name)),
        })
    }

    /// What the row sets in the control plane's own template.
    pub(super) fn kubeadm_values(&self, row: &Release) -> Values {
        let mut values = Values::new();
        if self.kubeadm.is_some() {
            values.clone_from(row.kubeadm());
            values.retain(|pointer, _| !(self.etcd_is_external && pointer.as_str().starts_with(KCP_ETCD)));
        }
        values
    }

    /// What a pin leaves out that the row sets: the templates would be rendered bare. etcd is the class' to leave out.
    pub(super) fn lacks(&self, row: &Release, pin: &Pin) -> Option<String> {
        let release = row.name();
        let kubeadm = self.kubeadm_values(row);
        let is_left_out =
            |pointer: &&JsonPointer| !pin.kubeadm.contains_key(*pointer) && !pointer.as_str().starts_with(KCP_ETCD);
        if let Some(pointer) = kubeadm.keys().find(is_left_out) {
            return Some(format!("release {release} sets {pointer}, which is not pinned"));
        }
        let bare = self
            .pools
            .iter()
            .find(|pool| pool.pinned(pin).is_empty() && pool.image(row).is_some());
        bare.map(|pool| format!("release {release} has values for {}, which has none", pool.object_ref()))
    }

    /// The pin that the row gives. A pool without an image is pinned to nothing, so that rendering
    /// it stops instead of taking another pool's image.
    pub(super) fn mint(&self, row: &Release) -> Pin {
        let mut pin = Pin {
            release: row.name().to_owned(),
            kubeadm: self.kubeadm_values(row),
            ..Pin::default()
        };
        let mut counts: Vec<(&Values, usize)> = Vec::new();
        for pool in &self.pools {
            let Some(values) = pool.image(row) else { continue };
            match pool.place {
                Place::ControlPlane => pin.control_plane.clone_from(values),
                Place::Worker { .. } => match counts.iter_mut().find(|(known, _)| *known == values) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((values, 1)),
                },
            }
        }
        // What most pools get is the rule, and of equals the first: pools that differ are named.
        let mut most: Option<(&Values, usize)> = None;
        for (values, count) in counts {
            if most.is_none_or(|(_, so_far)| count > so_far) {
                most = Some((values, count));
            }
        }
        if let Some((values, _)) = most {
            pin.workers.clone_from(values);
        }
        for (pool, kind, name) in self.workers() {
            let values = pool.image(row).cloned().unwrap_or_default();
            set_pool(&mut pin, kind, name, values);
        }
        pin
    }
}

/// Gives a pool its values, by name only where they differ from the other workers'.
pub(super) fn set_pool(pin: &mut Pin, kind: PoolKind, name: &str, values: Values) {
    let differs = values != pin.workers;
    let pools = match kind {
        PoolKind::MachineDeployment => &mut pin.machine_deployments,
        PoolKind::MachinePool => &mut pin.machine_pools,
    };
    if differs {
        pools.insert(name.to_owned(), values);
    } else {
        pools.remove(name);
    }
}

impl PoolShape<'_> {
    pub(super) fn image<'r>(&self, row: &'r Release) -> Option<&'r Values> {
        row.image(&self.of_catalog())
    }

    /// As a catalog chooses images for it.
    pub(super) fn of_catalog(&self) -> Pool<'_> {
        Pool {
            role: match self.place {
                Place::ControlPlane => Role::ControlPlane,
                Place::Worker { .. } => Role::Worker,
            },
            group: self.template.group(),
            kind: &self.template.kind,
            labels: Labels {
                cluster: self.cluster_labels,
                pool: &self.labels,
            },
        }
    }

    pub(super) fn pinned<'p>(&self, pin: &'p Pin) -> &'p Values {
        match self.place {
            Place::ControlPlane => &pin.control_plane,
            Place::Worker {
                kind: PoolKind::MachineDeployment,
                name,
                ..
            } => pin.machine_deployment(name),
            Place::Worker {
                kind: PoolKind::MachinePool,
                name,
                ..
            } => pin.machine_pool(name),
        }
    }

    pub(super) fn rendered(&self, wiring: &Wiring<'_>) -> Rendered {
        match self.place {
            Place::ControlPlane => wiring.control_plane(self.template),
            Place::Worker {
                kind: PoolKind::MachineDeployment,
                class,
                ..
            } => wiring.machine_deployment(class, self.template),
            Place::Worker {
                kind: PoolKind::MachinePool,
                class,
                ..
            } => wiring.machine_pool(class, self.template),
        }
    }

    /// What a message calls it.
    pub(super) fn object_ref(&self) -> String {
        match self.place {
            Place::ControlPlane => "the control plane".to_owned(),
            Place::Worker { kind, name, .. } => format!("{} {name}", WorkerKind::from(kind)),
        }
    }

    /// Labels as a message shows them, where there are any.
    pub(super) fn labelled(&self) -> String {
        let mut effective = self.cluster_labels.cloned().unwrap_or_default();
        effective.extend(self.labels.clone());
        if effective.is_empty() {
            return String::new();
        }
        let labels: Vec<String> = effective.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!(" with labels {}", labels.join(","))
    }
}
