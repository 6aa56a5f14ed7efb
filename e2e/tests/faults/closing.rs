//! Windows that close while the first pool of a classic cluster replaces its machines, where a policy lets no other machine
//! begin then. They open again when the one that had begun is there.

use std::time::Duration;

use anyhow::ensure;
use instar_e2e::{
    Result,
    support::{fixtures::core_kind, journeys::JourneyContext, machine_pools::PAUSED, topology::namespaced, windows},
};
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};

/// The pool.
pub(crate) const POOL: &str = "md-0";

/// How long a node of it takes to come up: time enough to close the windows meanwhile, on any machine.
pub(crate) const TAKES: Duration = Duration::from_secs(15);

/// The windows of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Windows {
    /// They have not closed yet.
    Open,
    Closed,
    /// They have closed and opened.
    OpenAgain,
}

impl Windows {
    /// Closes or opens them, if it is time for that.
    pub(crate) async fn next(self, scene: &JourneyContext, target: &str) -> Result<Self> {
        match self {
            Self::Open => {
                let pools = namespaced(scene, &core_kind("MachineDeployment", "machinedeployments"));
                let pool = pools.get(POOL).await?;
                if pool.data["spec"]["template"]["spec"]["version"] != json!(target) {
                    return Ok(self);
                }
                windows::policy(scene, &finish_machine(windows::closed())).await?;
                Ok(Self::Closed)
            }
            Self::Closed if has_stopped(scene, target).await? => {
                windows::policy(scene, &finish_machine(json!({}))).await?;
                Ok(Self::OpenAgain)
            }
            Self::Closed | Self::OpenAgain => Ok(self),
        }
    }
}

/// Whether the pool is paused, and what had begun is there.
async fn has_stopped(scene: &JourneyContext, target: &str) -> Result<bool> {
    let pools = namespaced(scene, &core_kind("MachineDeployment", "machinedeployments"));
    let is_paused = pools.get(POOL).await?.annotations().contains_key(PAUSED);
    let machines = namespaced(scene, &core_kind("Machine", "machines"));
    let of_pool = ListParams::default().labels(&format!("cluster.x-k8s.io/deployment-name={POOL}"));
    let machines = machines.list(&of_pool).await?.items;
    let new = machines
        .iter()
        .filter(|machine| machine.data["spec"]["version"] == json!(target));
    let new: Vec<&Value> = new.map(|machine| &machine.data["status"]["phase"]).collect();
    ensure!(
        new.len() <= 1,
        "{POOL} of {} went on while the windows were closed, paused: {is_paused}",
        scene.namespace
    );
    Ok(is_paused && new == [&json!("Running")])
}

fn finish_machine(mut maintenance: Value) -> Value {
    maintenance["onClose"] = json!("FinishMachine");
    maintenance
}
