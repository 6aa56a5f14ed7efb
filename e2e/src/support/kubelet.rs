//! In the place of a cluster's nodes: the program of a Deployment runs while the Deployment is there and wants a pod.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt, api::ListParams};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{
    failure::describe,
    mgmt::Mgmt,
    progress::say,
    wait::{Seen, wait_for},
};

/// How soon a Deployment that comes or goes is seen.
const INTERVAL: Duration = Duration::from_millis(200);

/// Starts and ends the programs of the Deployments of a namespace, from [`Kubelet::start`] until it is dropped.
#[derive(Debug)]
pub struct Kubelet {
    deployments: Api<Deployment>,
    /// The uids of those whose programs are ready.
    ready: watch::Receiver<BTreeSet<String>>,
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Follows the Deployments of a namespace, all of which are Instar's.
    #[must_use]
    pub fn start(mgmt: Arc<Mgmt>, namespace: &str) -> Self {
        let deployments = Api::namespaced(mgmt.client(), namespace);
        let (sender, ready) = watch::channel(BTreeSet::new());
        let followed = follow(mgmt, deployments.clone(), sender);
        let task = tokio::spawn(async {
            if let Err(error) = followed.await {
                say(format!(
                    "no program of a Deployment is started any more: {}",
                    describe(&error)
                ));
            }
        });
        Self {
            deployments,
            ready,
            task,
        }
    }

    /// Waits until the programs of so many Deployments are ready, and no other runs.
    pub async fn settles(&self, count: usize) -> Result<()> {
        wait_for("the programs of the Deployments", Duration::from_mins(2), || async {
            if self.task.is_finished() {
                return Err(Seen::from("a program could not be started: see above"));
            }
            let there = wanted(&self.deployments).await?;
            let ready = self.ready.borrow().clone();
            if there.len() == count && there.keys().eq(ready.iter()) {
                return Ok(());
            }
            Err(Seen::from(format!(
                "{} Deployments, {} ready",
                there.len(),
                ready.len()
            )))
        })
        .await
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mgmt: Arc<Mgmt>, deployments: Api<Deployment>, ready: watch::Sender<BTreeSet<String>>) -> Result<()> {
    let mut running = BTreeMap::new();
    loop {
        let wanted = wanted(&deployments).await?;
        let gone: Vec<String> = running
            .keys()
            .filter(|uid| !wanted.contains_key(*uid))
            .cloned()
            .collect();
        for uid in gone {
            ready.send_modify(|ready| {
                ready.remove(&uid);
            });
            if let Some(component) = running.remove(&uid) {
                mgmt.end(component).await?;
            }
        }
        for (uid, deployment) in wanted {
            if !running.contains_key(&uid) {
                let component = mgmt.run_deployed(&serde_json::to_value(deployment)?).await?;
                running.insert(uid.clone(), component);
                ready.send_modify(|ready| {
                    ready.insert(uid);
                });
            }
        }
        sleep(INTERVAL).await;
    }
}

/// Those that want a pod, by uid.
async fn wanted(deployments: &Api<Deployment>) -> Result<BTreeMap<String, Deployment>> {
    let found = deployments.list(&ListParams::default()).await?.items.into_iter();
    let wanted = found.filter_map(|deployment| {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        let uid = deployment.uid()?;
        (replicas != Some(0) && deployment.metadata.deletion_timestamp.is_none()).then_some((uid, deployment))
    });
    Ok(wanted.collect())
}
