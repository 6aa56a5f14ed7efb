//! The record that a Cluster's annotation asks for.

use instar_api::ClusterUpgrade;
use instar_planner::Standing;
use jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams};

use super::{Context, Done};
use crate::{
    api::{Error, FIELD_MANAGER, call},
    gather::gather,
    metrics::Written as Counted,
    views::Cluster,
};

impl Context {
    /// Makes the record that an annotation asks for.
    pub(super) async fn record(&self, cluster: &Cluster, upgrade: ClusterUpgrade) -> Result<Done, Error> {
        if gather(&self.caches, cluster, &upgrade, Timestamp::now())
            .cluster
            .standing
            != Standing::Live
        {
            return Ok(Done::Idle);
        }
        self.may_write()?;
        let api: Api<ClusterUpgrade> = Api::namespaced(self.client.clone(), &cluster.namespace().unwrap_or_default());
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let name = upgrade.name_any();
        match call(
            || format!("making ClusterUpgrade {name}"),
            api.create(&parameters, &upgrade),
        )
        .await
        {
            // A moment ago, by us: the cache is behind.
            Err(Error::Call {
                source: kube::Error::Api(status),
                ..
            }) if status.is_already_exists() => {}
            made => {
                made?;
                self.counters.wrote(Counted::Record);
            }
        }
        // Its watch wakes the Cluster.
        Ok(Done::Idle)
    }
}
