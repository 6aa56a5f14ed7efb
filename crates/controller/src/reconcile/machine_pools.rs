//! The marks by which an upgrade pauses pools go with it, however it ends.

use instar_capi::{Cluster, MachineDeployment, MachinePool};
use instar_planner::{Observed, Target, UpgradeSpec, resume};
use instar_watch::Key;
use jiff::Timestamp;

use super::{Context, Done};
use crate::{api::Error, caches::KeptPart, gather::gather_for};

impl Context {
    /// No upgrade goes on, or the Cluster is being deleted: takes one mark off, if there is one. An object that stays
    /// paused would not even be deleted.
    pub(super) async fn resume_pools(&self, cluster: &Cluster) -> Result<Option<Done>, Error> {
        let key = Key::of(cluster);
        let (pools, _) = self.caches.parts::<MachinePool>(&key);
        let mut pools = pools.iter().filter_map(Observed::read);
        let has_pause = || self.caches.any::<MachineDeployment>(&key, KeptPart::has_pause);
        if !pools.any(|pool| pool.paused_by.mark().is_some()) && !has_pause() {
            return Ok(None);
        }
        let nothing = UpgradeSpec::new("", Target::Text(String::new()));
        let mut snapshot = gather_for(&self.caches, cluster, None, nothing, None, Timestamp::now());
        snapshot.infrastructure_pools = self.referred().infrastructure_pools(&snapshot).await?;
        self.write_leftover(cluster, &snapshot, &resume(&snapshot)).await
    }
}
