//! The machines, the Clusters and their upgrades as they are at this moment.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    catalog::Images,
    clusters::{MACHINES, Subject},
    table::Row,
};
use instar_e2e::support::{
    fixtures::core_kind,
    ledger::{Ledger, Pool},
};

/// The phase of a ClusterUpgrade that is done.
const COMPLETED: &str = "Completed";

/// What is there at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// The machines, by Cluster, by pool, and then by age.
    pub(crate) rows: Vec<Row>,
    /// What each ClusterUpgrade says of itself.
    pub(crate) upgrades: Vec<String>,
}

/// Watches both Clusters for as long as it lives.
#[derive(Debug)]
pub(crate) struct Live {
    machines: Store<DynamicObject>,
    clusters: Store<DynamicObject>,
    upgrades: Store<DynamicObject>,
    ledger: Ledger,
    changed: watch::Receiver<()>,
    _watches: JoinSet<()>,
}

impl Live {
    /// Starts to watch the Clusters, which need not be there yet.
    pub(crate) async fn start(client: &Client, namespace: &str) -> Result<Self> {
        let (sender, changed) = watch::channel(());
        let mut watches = JoinSet::new();
        let mut follow = |resource: ApiResource| {
            let writer = reflector::store::Writer::new(resource.clone());
            let store = writer.as_reader();
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            let events = watcher(api, watcher::Config::default())
                .default_backoff()
                .reflect(writer);
            let sender = sender.clone();
            watches.spawn(async move {
                let mut events = events.boxed();
                // A watch that broke goes on by itself, and the stage's deadline ends what doesn't.
                while events.next().await.is_some() {
                    sender.send_replace(());
                }
            });
            store
        };
        Ok(Self {
            machines: follow(core_kind("Machine", "machines")),
            clusters: follow(core_kind("Cluster", "clusters")),
            upgrades: follow(ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk(instar_api::GROUP, "v1alpha1", "ClusterUpgrade"),
                "clusterupgrades",
            )),
            ledger: Ledger::start(client, namespace).await?,
            changed,
            _watches: watches,
        })
    }

    /// Every machine that ever was.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) -> Result<()> {
        self.changed.changed().await.context("nothing is watched any more")
    }

    /// How it all is now.
    pub(crate) fn look(&self, images: &Images) -> Result<Look> {
        let upgrades = self.upgrades.state();
        let mut upgrades: Vec<_> = upgrades.iter().map(|upgrade| told(upgrade)).collect();
        upgrades.sort();
        Ok(Look {
            rows: self.rows(images)?,
            upgrades,
        })
    }

    fn rows(&self, images: &Images) -> Result<Vec<Row>> {
        let machines = self.machines.state();
        let by_name: BTreeMap<_, _> = machines.iter().map(|machine| (machine.name_any(), machine)).collect();
        let mut all = Vec::new();
        for subject in Subject::BOTH {
            let mut rows = Vec::new();
            for record in self.ledger.machines_ever(subject.name())? {
                // One of the two watches may be a moment ahead of the other.
                let Some(machine) = by_name.get(&record.name).filter(|_| !record.deleted) else {
                    continue;
                };
                let template = record.template.as_ref();
                let image = template.and_then(|template| images.of(&template.spec));
                rows.push(Row {
                    cluster: subject.name().to_owned(),
                    pool: pool_name(&record.pool).to_owned(),
                    machine: record.name,
                    version: record.version,
                    phase: text(machine, "/status/phase").unwrap_or("Pending").to_owned(),
                    has_node: text(machine, "/status/nodeRef/name").is_some(),
                    template: template.map_or_else(String::new, |template| template.name.clone()),
                    image: image.unwrap_or_default().to_owned(),
                });
            }
            rows.sort_by(|a, b| a.pool.cmp(&b.pool));
            all.extend(rows);
        }
        Ok(all)
    }

    /// Whether all machines that should be there are, and no others, all of them run at a version,
    /// and nothing is under way.
    pub(crate) fn is_done(&self, look: &Look, version: &str) -> Result<bool> {
        for subject in Subject::BOTH {
            let ever = self.ledger.machines_ever(subject.name())?;
            let there = ever.iter().filter(|machine| !machine.deleted).count();
            let rows: Vec<_> = look.rows.iter().filter(|row| row.cluster == subject.name()).collect();
            let runs = |row: &&Row| row.version == version && row.phase == "Running" && row.has_node;
            let all_run = there == MACHINES && rows.len() == MACHINES && rows.iter().all(runs);
            if !all_run || !self.is_settled(subject, version) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether nobody has anything left to do: for a Cluster of a class the topology controller, which
    /// has rendered it as it is; for a classic one Instar, which has no upgrade of it that isn't done.
    fn is_settled(&self, subject: Subject, version: &str) -> bool {
        let clusters = self.clusters.state();
        let Some(cluster) = clusters.iter().find(|cluster| cluster.name_any() == subject.name()) else {
            return false;
        };
        match subject {
            Subject::Topology => {
                let conditions = cluster.data.pointer("/status/conditions").and_then(Value::as_array);
                let is_rendered = conditions.into_iter().flatten().any(|condition| {
                    condition["type"] == "TopologyReconciled"
                        && condition["status"] == "True"
                        && condition["observedGeneration"].as_i64() == cluster.metadata.generation
                });
                is_rendered && text(cluster, "/spec/topology/version") == Some(version)
            }
            Subject::Classic => {
                let upgrades = self.upgrades.state();
                upgrades
                    .iter()
                    .filter(|upgrade| text(upgrade, "/spec/clusterName") == Some(subject.name()))
                    .all(|upgrade| text(upgrade, "/status/phase") == Some(COMPLETED))
            }
        }
    }
}

/// `classic to v1.35: Workers: `, and what it waits for, or what it did last.
fn told(upgrade: &DynamicObject) -> String {
    let at = |pointer: &str| text(upgrade, pointer).filter(|text| !text.is_empty());
    let phase = at("/status/phase").unwrap_or("new");
    let why = at("/status/health/0/message").or_else(|| at("/status/step").filter(|_| phase != COMPLETED));
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let (cluster, target) = (at("/spec/clusterName"), at("/spec/target"));
    format!(
        "{} to {}: {phase}{why}",
        cluster.unwrap_or_default(),
        target.unwrap_or_default()
    )
}

/// A pool's name for people.
pub(crate) fn pool_name(pool: &Pool) -> &str {
    match pool {
        Pool::ControlPlane => "control plane",
        Pool::Workers(name) => name,
    }
}

fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_upgrade_says_what_it_waits_for_or_did() {
        let line = |status: Value| {
            let object = json!({
                "metadata": { "name": "u" },
                "spec": { "clusterName": "classic", "target": "v1.35" },
                "status": status,
            });
            told(&serde_json::from_value(object).unwrap())
        };
        assert_eq!(line(json!({})), "classic to v1.35: new");
        assert_eq!(
            line(json!({ "phase": "Workers", "step": "Minting a", "health": [{ "message": "a comes" }] })),
            "classic to v1.35: Workers: a comes"
        );
        assert_eq!(
            line(json!({ "phase": "Workers", "step": "Minting a", "health": [] })),
            "classic to v1.35: Workers: Minting a"
        );
        assert_eq!(
            line(json!({ "phase": "Completed", "step": "Minting a" })),
            "classic to v1.35: Completed"
        );
    }
}
