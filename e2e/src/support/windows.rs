//! Maintenance windows that close in the middle of a pool's rollout.

use std::time::Duration;

use anyhow::Result;
use instar_api::HealthReason;
use jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};

use super::{
    fixtures::core_kind,
    journeys::JourneyContext,
    ledger::{Ledger, Pool},
    topology::namespaced,
    upgrade::{UPGRADE, upgrade},
};
use crate::wait::wait_for;

/// The annotation by which Cluster API pauses an object.
const PAUSED: &str = "cluster.x-k8s.io/paused";

/// How long nothing may happen to a pool that has stopped.
const STANDS: Duration = Duration::from_secs(8);

/// What a record says while [`closed`] counts.
pub const CLOSED: &str = "maintenance window: upgrades are excluded: a move";

/// Replaces what the policy `maintenance` says.
pub async fn policy(scene: &JourneyContext, maintenance: &Value) -> Result<()> {
    scene.apply_object(policy_of(maintenance)).await.map(drop)
}

/// The policy `maintenance` with windows that stay closed.
#[must_use]
pub fn closed_policy() -> Value {
    policy_of(&closed())
}

fn policy_of(maintenance: &Value) -> Value {
    json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "maintenance" },
        "spec": { "maintenance": maintenance },
    })
}

/// Windows that are closed until then.
#[must_use]
pub fn excluded_until(to: &str) -> Value {
    json!({ "exclusions": [{ "from": "2020-01-01T00:00:00Z", "to": to, "reason": "a move" }] })
}

/// Windows that stay closed.
#[must_use]
pub fn closed() -> Value {
    excluded_until("2199-01-01T00:00:00Z")
}

/// Waits until the record says that its gate is closed.
pub async fn held(scene: &JourneyContext, message: &str) -> Result<()> {
    wait_for(&format!("{message:?}"), UPGRADE, || async {
        let status = upgrade(scene).await?.and_then(|record| record.status);
        let mut rows = status.iter().flat_map(|status| &status.health);
        let says = rows.any(|row| row.reason == HealthReason::GateClosed.as_str() && row.message == message);
        if says {
            Ok(())
        } else {
            Err(format!("{status:?}").into())
        }
    })
    .await
}

/// A MachineDeployment of three machines that goes to another version, one by one.
#[derive(Debug, Clone, Copy)]
pub struct RollingPool<'a> {
    /// The Cluster, which has one record.
    pub cluster: &'a str,
    /// What the ledger calls it.
    pub pool: &'a str,
    /// The name of the MachineDeployment.
    pub deployment: &'a str,
    /// Where it goes.
    pub target: &'a str,
}

impl RollingPool<'_> {
    /// With `onClose: FinishMachine` the pool stops after the machines that are under way, and nothing more happens until the
    /// windows open again.
    pub async fn stops_when_windows_close(self, scene: &JourneyContext, ledger: &Ledger) -> Result<()> {
        wait_for("the first new machine of the pool", UPGRADE, || async {
            match self.new_machines(ledger)? {
                0 => Err("there is none".into()),
                _ => Ok(()),
            }
        })
        .await?;
        let mut finish_machine = closed();
        finish_machine["onClose"] = json!("FinishMachine");
        policy(scene, &finish_machine).await?;
        let since = Timestamp::now();
        wait_for("the pool to stop", UPGRADE, || async {
            let mark = self.pause(scene).await?;
            let status = upgrade(scene).await?.and_then(|record| record.status);
            let mut rows = status.iter().flat_map(|status| &status.health);
            let is_told = rows.any(|row| row.reason == HealthReason::RolloutPaused.as_str());
            match mark.filter(|_| is_told) {
                Some(mark) if mark.starts_with("{\"upgrade\":") => Ok(()),
                mark => Err(format!("{mark:?} {status:?}, closed since {since}").into()),
            }
        })
        .await?;
        held(scene, CLOSED).await?;
        wait_for("what had begun to be finished", UPGRADE, || async {
            let machines = namespaced(scene, &core_kind("Machine", "machines"));
            let machines = machines.list(&ListParams::default()).await?;
            let unfinished = machines.iter().filter(|machine| {
                machine.metadata.deletion_timestamp.is_some() || machine.data["status"]["phase"] != json!("Running")
            });
            let unfinished: Vec<String> = unfinished.map(ResourceExt::name_any).collect();
            if unfinished.is_empty() {
                Ok(())
            } else {
                Err(format!("{unfinished:?}").into())
            }
        })
        .await?;
        let begun = self.new_machines(ledger)?;
        anyhow::ensure!(begun < 3, "the window closed too late");
        tokio::time::sleep(STANDS).await;
        ledger.caught_up().await?;
        let now = self.new_machines(ledger)?;
        anyhow::ensure!(now == begun, "another machine was begun: {now}, and not {begun}");
        Ok(())
    }

    /// Nothing that stopped it is left.
    pub async fn goes_on(self, scene: &JourneyContext) -> Result<()> {
        let mark = self.pause(scene).await?;
        anyhow::ensure!(mark.is_none(), "{} is still paused: {mark:?}", self.deployment);
        Ok(())
    }

    /// How many machines of the new version the pool has had.
    fn new_machines(self, ledger: &Ledger) -> Result<usize> {
        let groups = ledger.machines_by_version(self.cluster)?;
        let machines = groups.get(&(Pool::Workers(self.pool.to_owned()), self.target.to_owned()));
        Ok(machines.map_or(0, Vec::len))
    }

    /// The value of the annotation by which Cluster API pauses the pool.
    async fn pause(self, scene: &JourneyContext) -> Result<Option<String>> {
        let pools = namespaced(scene, &core_kind("MachineDeployment", "machinedeployments"));
        Ok(pools.get(self.deployment).await?.annotations().get(PAUSED).cloned())
    }
}
