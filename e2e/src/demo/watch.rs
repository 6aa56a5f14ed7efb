//! The machines and the Cluster as they are at this moment.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::DynamicObject,
    discovery::ApiResource,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

use super::{catalog::Images, table::Row};
use crate::{
    fixtures::core_kind,
    ledger::{Ledger, Pool},
};

/// Watches one Cluster for as long as it lives.
#[derive(Debug)]
pub(super) struct Live {
    cluster: String,
    machines: Store<DynamicObject>,
    clusters: Store<DynamicObject>,
    ledger: Ledger,
    changed: watch::Receiver<()>,
    _watches: JoinSet<()>,
}

impl Live {
    /// Starts to watch a Cluster, which need not be there yet.
    pub(super) async fn start(client: &Client, namespace: &str, cluster: &str) -> Result<Self> {
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
            cluster: cluster.to_owned(),
            machines: follow(core_kind("Machine", "machines")),
            clusters: follow(core_kind("Cluster", "clusters")),
            ledger: Ledger::start(client, namespace).await?,
            changed,
            _watches: watches,
        })
    }

    /// Every machine that ever was.
    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Waits for the next change.
    pub(super) async fn changed(&mut self) -> Result<()> {
        self.changed.changed().await.context("nothing is watched any more")
    }

    /// The machines as rows, by pool and then by age.
    pub(super) fn rows(&self, images: &Images) -> Result<Vec<Row>> {
        let machines = self.machines.state();
        let by_name: BTreeMap<_, _> = machines.iter().map(|machine| (machine.name_any(), machine)).collect();
        let mut rows = Vec::new();
        for record in self.ledger.machines_ever(&self.cluster)? {
            // One of the two watches may be a moment ahead of the other.
            let Some(machine) = by_name.get(&record.name).filter(|_| !record.deleted) else {
                continue;
            };
            let template = record.template.as_ref();
            let image = template.and_then(|template| images.of(&template.spec));
            rows.push(Row {
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
        Ok(rows)
    }

    /// Whether exactly this many machines are there, all of them run at a version, and nothing is
    /// under way.
    pub(super) fn is_done(&self, rows: &[Row], version: &str, machines: usize) -> Result<bool> {
        let ever = self.ledger.machines_ever(&self.cluster)?;
        let there = ever.iter().filter(|machine| !machine.deleted).count();
        let runs = |row: &Row| row.version == version && row.phase == "Running" && row.has_node;
        let all_run = there == machines && rows.len() == machines && rows.iter().all(runs);
        Ok(all_run && self.version().as_deref() == Some(version) && self.is_reconciled())
    }

    /// Whether the topology controller has rendered the Cluster as it is, and has nothing left to do.
    fn is_reconciled(&self) -> bool {
        let clusters = self.clusters.state();
        let Some(cluster) = clusters.iter().find(|cluster| cluster.name_any() == self.cluster) else {
            return false;
        };
        let conditions = cluster.data.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|condition| {
            condition["type"] == "TopologyReconciled"
                && condition["status"] == "True"
                && condition["observedGeneration"].as_i64() == cluster.metadata.generation
        })
    }

    /// The version that the Cluster asks for.
    fn version(&self) -> Option<String> {
        let clusters = self.clusters.state();
        let cluster = clusters.iter().find(|cluster| cluster.name_any() == self.cluster)?;
        text(cluster, "/spec/topology/version").map(ToOwned::to_owned)
    }
}

/// A pool's name for people.
pub(super) fn pool_name(pool: &Pool) -> &str {
    match pool {
        Pool::ControlPlane => "control plane",
        Pool::Workers(name) => name,
    }
}

fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer).and_then(Value::as_str)
}
