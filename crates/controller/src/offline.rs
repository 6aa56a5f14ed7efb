//! A Cluster and what belongs to it from objects at hand, such as those of a file, by the code that reads the watches.

use std::{collections::BTreeSet, sync::Arc};

use instar_addons::GateReadings;
use instar_api::{ClusterUpgrade, UpgradePolicySpec};
use instar_capi::Cluster;
use instar_catalog::Catalog;
use instar_domain::KubeVersion;
use instar_planner::{
    AddonProblem, AddonState, AskedPoint, ControlPlane, Observed, Snapshot, Target, TemplateRef, UpgradeSpec,
};
use instar_preflight::workload::{ClusterApiVersion, Readings};
use instar_watch::{Key, Lookup};
use jiff::Timestamp;
use kube::{Client, ResourceExt, core::DynamicObject};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    caches::Caches,
    cluster_api,
    gather::{
        AddonLook, CheckRules, gather, gather_for, infrastructure_pools_among, of_objects, of_topology, preflight,
        template_references, templates_among,
    },
    policy::selecting,
    timing::Timing,
};

/// A Cluster among objects that don't change any more.
pub struct OfflineCluster {
    caches: Arc<Caches>,
    cluster: Arc<Cluster>,
    objects: Vec<Value>,
    dynamic: Vec<DynamicObject>,
}

/// What an upgrade of it would find, and by which rules.
pub struct Gathered<'a> {
    /// What the planner decides by, with what the checks came to: those of the workload cluster have read nothing.
    pub snapshot: Snapshot,
    offline: &'a OfflineCluster,
    rules: CheckRules,
}

/// Why nothing can be said of a Cluster.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// It isn't among the objects.
    #[error("Cluster {namespace}/{name} is not among the objects")]
    Missing {
        /// The namespace that was asked for.
        namespace: String,
        /// The name that was asked for.
        name: String,
    },
    /// It is, and isn't as a Cluster should be.
    #[error("Cluster {name} cannot be read: {reason}")]
    Unreadable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl OfflineCluster {
    /// Reads the Cluster and what belongs to it. Objects of other Clusters are left out where they are asked for, not here.
    pub fn read(objects: Vec<Value>, namespace: &str, name: &str) -> Result<Self, OfflineError> {
        let caches = Caches::of_objects(&objects);
        let cluster = match caches.cluster(&Key::new(namespace, name)) {
            Lookup::Present(cluster) => cluster,
            Lookup::Unreadable(reason) => {
                return Err(OfflineError::Unreadable {
                    name: name.to_owned(),
                    reason,
                });
            }
            Lookup::Absent | Lookup::Pending | Lookup::Unavailable(_) | Lookup::Unwatched => {
                return Err(OfflineError::Missing {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                });
            }
        };
        let own = |object: &&Value| {
            let of = object.pointer("/metadata/namespace").and_then(Value::as_str);
            of.unwrap_or_default() == namespace
        };
        // What is no object can't be referred to.
        let dynamic = objects.iter().filter(own);
        let dynamic = dynamic.filter_map(|object| DynamicObject::deserialize(object).ok());
        Ok(Self {
            dynamic: dynamic.collect(),
            caches,
            cluster,
            objects,
        })
    }

    /// The Cluster, as far as it is read.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// All objects, those of other Clusters too.
    #[must_use]
    pub fn objects(&self) -> &[Value] {
        &self.objects
    }

    /// What a snapshot of it has to have beside: the templates that its objects refer to or referred to before an upgrade,
    /// and the infrastructure of its MachinePools. Those of a topology Cluster are Cluster API's own matter.
    #[must_use]
    pub fn references(&self, now: Timestamp) -> Vec<TemplateRef> {
        if self.cluster.spec.topology.is_some() {
            return Vec::new();
        }
        let control_plane = self.control_plane();
        let spec = UpgradeSpec::new("", Target::Text(String::new()));
        let snapshot = gather_for(&self.caches, &self.cluster, control_plane, spec, None, now);
        let pools = snapshot.machine_pools.iter().filter_map(Observed::read);
        let infrastructure = pools.map(|pool| pool.infrastructure.clone());
        template_references(&snapshot)
            .into_iter()
            .chain(infrastructure)
            .collect()
    }

    fn control_plane(&self) -> Option<Observed<ControlPlane>> {
        match self.cluster.spec.topology {
            Some(_) => of_topology(&self.caches, &self.cluster),
            None => of_objects(&self.caches, &self.cluster, &self.dynamic),
        }
    }

    /// The version that it should be at: its topology's, else its control plane's. Absent where it isn't known.
    #[must_use]
    pub fn version(&self) -> Option<KubeVersion> {
        match &self.cluster.spec.topology {
            Some(topology) => topology.version.parse().ok(),
            None => self.control_plane()?.read().map(|found| found.version.clone()),
        }
    }

    /// The catalog that it has.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.caches.catalog_of(&self.cluster)
    }

    /// The policies that select it.
    #[must_use]
    pub fn policies(&self) -> Vec<UpgradePolicySpec> {
        let policies = self.caches.policies(&self.cluster.namespace().unwrap_or_default());
        selecting(&policies, self.cluster.labels()).cloned().collect()
    }

    /// What an upgrade would find, be it among the objects or not. Of what can't be known without the API server,
    /// `cluster_api` says which Cluster API is installed.
    #[must_use]
    pub fn gather(
        &self,
        upgrade: &ClusterUpgrade,
        timing: Timing,
        cluster_api: &ClusterApiVersion,
        now: Timestamp,
    ) -> Gathered<'_> {
        let (mut snapshot, rules) = gather(&self.caches, &self.cluster, self.control_plane(), upgrade, timing, now);
        snapshot.templates = templates_among(&self.dynamic, &snapshot);
        snapshot.used_elsewhere = BTreeSet::new();
        snapshot.infrastructure_pools = infrastructure_pools_among(&self.objects, &snapshot);
        preflight(&rules, upgrade, &Readings::new(), &[], cluster_api, &mut snapshot);
        Gathered {
            snapshot,
            offline: self,
            rules,
        }
    }
}

impl Gathered<'_> {
    /// Finds what the add-ons and gates of a point come to while nothing of them was read.
    pub fn look(&self, point: &AskedPoint, snapshot: &mut Snapshot) {
        let OfflineCluster { caches, cluster, .. } = self.offline;
        let mut look = AddonLook::new(caches, &self.rules.access, GateReadings::new(), cluster);
        look.look(point.clone(), snapshot);
        for gate in snapshot.addons.found.get_mut(point).into_iter().flatten() {
            let is_to_be_read = match &gate.state {
                AddonState::Due(_) => true,
                AddonState::Closed { problem, .. } => match problem {
                    AddonProblem::NotReady | AddonProblem::Settling => true,
                    AddonProblem::Failed | AddonProblem::Unknown | AddonProblem::TimedOut | AddonProblem::Expired => {
                        false
                    }
                },
                AddonState::Open => false,
            };
            if is_to_be_read {
                gate.state = AddonState::Closed {
                    problem: AddonProblem::NotReady,
                    message: "what it asks for is looked at when its turn comes".to_owned(),
                    until: None,
                };
            }
        }
    }
}

/// Which Cluster API is installed, as clusterctl has written it down.
pub async fn installed_cluster_api(client: &Client) -> ClusterApiVersion {
    cluster_api::read(client).await
}
