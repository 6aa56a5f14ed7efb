//! A world as a cluster state: it reads the objects again for every question, which a cache may not do.

use std::sync::Arc;

use instar_admission::{
    cluster_of,
    cluster_state::{
        CachedCluster, CachedTemplate, CachedUpgrade, CachedWorker, ClusterState, Kept, Lookup, TemplateKey,
        TemplateUser, Versions,
    },
};
use instar_api::{
    ClusterUpgrade, FINISHED_ANNOTATION, Pins, RELEASE_LABEL, RELEASES_ANNOTATION, TemplateUse, UpgradePolicy,
};
use instar_capi::{
    Cluster, ClusterClass, KubeadmControlPlane, Lifecycle, ManagedBy, VersionCount, WorkerKind,
    labels::{CLUSTER_NAME, TOPOLOGY_OWNED},
};
use instar_catalog::Catalog;
use instar_domain::KubeVersion;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::world::{World, now};

fn metadata(object: &Value) -> ObjectMeta {
    serde_json::from_value(object["metadata"].clone()).unwrap_or_default()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn is_owned(object: &Value) -> bool {
    let mut owners = metadata(object).owner_references.into_iter().flatten();
    owners.any(|owner| owner.controller == Some(true))
}

fn worker(kind: WorkerKind, object: &Value) -> Option<CachedWorker> {
    let (asked, counted) = match kind {
        WorkerKind::Machine => (&object["spec"]["version"], Vec::new()),
        WorkerKind::MachineDeployment | WorkerKind::MachineSet | WorkerKind::MachinePool => (
            &object["spec"]["template"]["spec"]["version"],
            serde_json::from_value::<Vec<VersionCount>>(object["status"]["versions"].clone()).unwrap_or_default(),
        ),
    };
    let asked: KubeVersion = asked.as_str()?.parse().ok()?;
    let versions = Versions::of(&counted).map_or_else(
        || Versions {
            lowest: asked.clone(),
            highest: asked.clone(),
        },
        |counted| counted.with(&asked),
    );
    let managed_by = if object["metadata"]["labels"].get(TOPOLOGY_OWNED).is_some() {
        ManagedBy::Topology
    } else {
        ManagedBy::User
    };
    Some(CachedWorker {
        kind,
        name: name(object).to_owned(),
        managed_by,
        versions,
    })
}

impl World {
    fn seen(&self, object: &Value) -> Option<CachedCluster> {
        let cluster: Cluster = self.typed(object).ok()?;
        let metadata = cluster.metadata;
        let lifecycle = if metadata.deletion_timestamp.is_some() {
            Lifecycle::Deleting
        } else if cluster.spec.paused {
            Lifecycle::Paused
        } else {
            Lifecycle::Active
        };
        let status = cluster.status.unwrap_or_default();
        Some(CachedCluster {
            namespace: metadata.namespace?,
            name: metadata.name?,
            labels: metadata.labels.unwrap_or_default(),
            lifecycle,
            topology: cluster.spec.topology,
            pins: metadata.annotations.unwrap_or_default().remove(RELEASES_ANNOTATION),
            control_plane: cluster.spec.control_plane_ref,
            versions: Versions::of(&status.control_plane.versions),
        })
    }

    fn all_seen(&self) -> impl Iterator<Item = CachedCluster> {
        self.of_kind("Cluster").filter_map(|object| self.seen(object))
    }

    fn upgrades_that_go_on(&self) -> impl Iterator<Item = (ClusterUpgrade, CachedUpgrade)> {
        self.of_kind("ClusterUpgrade").filter_map(|object| {
            let upgrade: ClusterUpgrade = self.typed(object).ok()?;
            let generation = upgrade.metadata.generation.unwrap_or(1);
            let status = upgrade.status.clone().unwrap_or_default();
            let annotations = upgrade.metadata.annotations.clone().unwrap_or_default();
            if status.is_finished(generation) || annotations.contains_key(FINISHED_ANNOTATION) {
                return None;
            }
            let seen = CachedUpgrade {
                name: upgrade.metadata.name.clone()?,
                target: upgrade.spec.target.clone(),
                path: status.path,
            };
            Some((upgrade, seen))
        })
    }
}

impl ClusterState for World {
    fn now(&self) -> Timestamp {
        now()
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::new(self.catalog_of_it())
    }

    fn class(&self, namespace: &str, name_of_it: &str) -> Option<Arc<ClusterClass>> {
        let mut classes = self
            .of_kind("ClusterClass")
            .filter(|class| self.is_here(namespace) && name(class) == name_of_it);
        self.typed(classes.next()?).ok().map(Arc::new)
    }

    fn cluster(&self, namespace: &str, name: &str) -> Option<Arc<CachedCluster>> {
        let mut clusters = self.all_seen();
        clusters
            .find(|cluster| cluster.namespace == namespace && cluster.name == name)
            .map(Arc::new)
    }

    fn clusters_of(&self, class_namespace: &str, class: &str) -> Vec<Arc<CachedCluster>> {
        let of_class = |cluster: &CachedCluster| {
            cluster.topology.as_ref().is_some_and(|topology| {
                let namespace = topology.class_ref.namespace.as_ref().unwrap_or(&cluster.namespace);
                namespace == class_namespace && topology.class_ref.name == class
            })
        };
        self.all_seen().filter(of_class).map(Arc::new).collect()
    }

    fn pinned_to(&self, release: &str) -> Vec<String> {
        let is_pinned = |cluster: &CachedCluster| {
            let pins = cluster
                .pins
                .as_deref()
                .and_then(|text| Pins::from_annotation(text).ok());
            pins.is_some_and(|pins| pins.releases.values().any(|pin| pin.release == release))
        };
        self.all_seen()
            .filter(is_pinned)
            .map(|cluster| format!("{}/{}", cluster.namespace, cluster.name))
            .collect()
    }

    fn upgrading_to(&self, release: &str) -> Vec<String> {
        self.upgrades_that_go_on()
            .filter(|(_, seen)| seen.path.iter().any(|step| step == release))
            .map(|(upgrade, seen)| format!("{}/{}", upgrade.metadata.namespace.unwrap_or_default(), seen.name))
            .collect()
    }

    fn control_plane(&self, namespace: &str, cluster: &str) -> Option<Arc<KubeadmControlPlane>> {
        let mut control_planes = self
            .of_kind("KubeadmControlPlane")
            .filter(|object| self.is_here(namespace) && cluster_of(&metadata(object)) == Some(cluster));
        self.typed(control_planes.next()?).ok().map(Arc::new)
    }

    fn workers(&self, namespace: &str, cluster: &str) -> Vec<CachedWorker> {
        let kinds = [
            WorkerKind::MachineDeployment,
            WorkerKind::MachineSet,
            WorkerKind::MachinePool,
            WorkerKind::Machine,
        ];
        let mut workers: Vec<CachedWorker> = kinds
            .into_iter()
            .flat_map(|kind| self.of_kind(kind.as_str()).map(move |object| (kind, object)))
            .filter(|(_, object)| self.is_here(namespace) && object["spec"]["clusterName"] == cluster)
            .filter(|(_, object)| !is_owned(object))
            .filter_map(|(kind, object)| worker(kind, object))
            .collect();
        workers.sort();
        workers
    }

    fn template(&self, template: &TemplateKey<'_>) -> Lookup<Arc<CachedTemplate>> {
        // A kind is watched from the first reference on.
        let mut is_referred_to = false;
        for (_, object) in self.objects() {
            visit(&object["spec"], &mut |value| {
                is_referred_to |= value["kind"] == template.kind && value.get("name").is_some();
            });
        }
        if !is_referred_to {
            return Lookup::Unavailable("nothing has referred to its kind before".to_owned());
        }
        let found = self
            .of_kind(template.kind)
            .find(|object| self.is_here(template.namespace) && name(object) == template.name);
        let Some(object) = found else { return Lookup::NotFound };
        let metadata = metadata(object);
        let labels = metadata.labels.clone().unwrap_or_default();
        Lookup::Found(Arc::new(CachedTemplate {
            clusters: cluster_of(&metadata)
                .map(ToOwned::to_owned)
                .into_iter()
                .chain(labels.get(CLUSTER_NAME).cloned())
                .collect(),
            release: labels.get(RELEASE_LABEL).cloned(),
            spec: object["spec"].to_string(),
        }))
    }

    fn users_of(&self, template: &TemplateKey<'_>) -> Vec<TemplateUser> {
        let references = |object: &Value| {
            [
                "/spec/machineTemplate/spec/infrastructureRef",
                "/spec/machineTemplate/infrastructureRef",
                "/spec/template/spec/infrastructureRef",
                "/spec/template/spec/bootstrap/configRef",
            ]
            .iter()
            .filter_map(|pointer| object.pointer(pointer))
            .any(|reference| reference["kind"] == template.kind && reference["name"] == template.name)
        };
        let of_class = |object: &Value| {
            let mut found = false;
            visit(object, &mut |value| {
                found |= value["kind"] == template.kind && value["name"] == template.name;
            });
            found
        };
        let user = |object: &Value, cluster: Option<String>| TemplateUser {
            kind: object["kind"].as_str().unwrap_or_default().to_owned(),
            name: name(object).to_owned(),
            cluster,
        };
        let mut users: Vec<TemplateUser> = self
            .objects()
            .map(|(_, object)| object)
            .filter(|_| self.is_here(template.namespace))
            .filter(|object| object["metadata"].get("deletionTimestamp").is_none())
            .filter_map(|object| match object["kind"].as_str()? {
                "ClusterClass" => of_class(&object["spec"]).then(|| user(object, None)),
                _ => references(object).then(|| {
                    let of = object["spec"]["clusterName"].as_str().map(ToOwned::to_owned);
                    user(
                        object,
                        of.or_else(|| cluster_of(&metadata(object)).map(ToOwned::to_owned)),
                    )
                }),
            })
            .collect();
        users.sort();
        users
    }

    fn kept(&self, template: &TemplateKey<'_>) -> Option<Kept> {
        self.of_kind("ClusterUpgrade").find_map(|object| {
            let upgrade: ClusterUpgrade = self.typed(object).ok()?;
            let status = upgrade.status?;
            let minted = status
                .templates
                .iter()
                .find(|minted| minted.kind == template.kind && minted.name == template.name)?;
            match minted.state {
                TemplateUse::Kept => Some(Kept {
                    upgrade: upgrade.metadata.name?,
                    cluster: upgrade.spec.cluster_name,
                    until: minted.kept_until.as_ref().map(|time| time.0),
                }),
                TemplateUse::InUse | TemplateUse::InMachineSet | TemplateUse::Unused => None,
            }
        })
    }

    fn upgrades(&self, namespace: &str, cluster: &str) -> Vec<CachedUpgrade> {
        self.upgrades_that_go_on()
            .filter(|(upgrade, _)| self.is_here(namespace) && upgrade.spec.cluster_name == cluster)
            .map(|(_, seen)| seen)
            .collect()
    }

    fn policies(&self, namespace: &str) -> Vec<Arc<instar_api::UpgradePolicySpec>> {
        self.of_kind("UpgradePolicy")
            .filter(|_| self.is_here(namespace))
            .filter_map(|object| self.typed::<UpgradePolicy>(object).ok())
            .map(|policy| Arc::new(policy.spec))
            .collect()
    }
}

fn visit(value: &Value, look: &mut impl FnMut(&Value)) {
    look(value);
    match value {
        Value::Object(fields) => fields.values().for_each(|value| visit(value, look)),
        Value::Array(items) => items.iter().for_each(|value| visit(value, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
