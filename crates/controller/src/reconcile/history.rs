//! Finished records beyond the limit go, one in a pass.

use std::sync::Arc;

use instar_api::ClusterUpgrade;
use instar_capi::Cluster;
use instar_watch::Key;
use kube::{
    ResourceExt,
    api::{DeleteParams, Preconditions},
};

use super::{AFTER_WRITE, Context, Done};
use crate::{
    api::{Error, call},
    gather::completed_at,
    metrics::Written as Counted,
    policy::history_limit,
    upgrade_spec::{Needed, beyond_limit},
};

impl Context {
    /// No upgrade is active: deletes the oldest record beyond the limit, if there is one. `last` is the one that was
    /// completed last, `of_version` the name of the record of a topology Cluster's version.
    pub(super) async fn trim_history(
        &self,
        cluster: &Cluster,
        known: &[Arc<ClusterUpgrade>],
        last: Option<&ClusterUpgrade>,
        of_version: Option<&str>,
    ) -> Result<Option<Done>, Error> {
        let namespace = cluster.namespace().unwrap_or_default();
        // One that can't be decoded may have a higher limit.
        if !self.caches.unreadable_policies(&namespace).is_empty() {
            return Ok(None);
        }
        let limit = history_limit(&self.caches.policies(&namespace), cluster.labels());
        let ended = known.iter().filter(|upgrade| completed_at(upgrade).is_some());
        let ended = ended.max_by_key(|upgrade| completed_at(upgrade));
        let (last, ended) = (last.map(ResourceExt::name_any), ended.map(|ended| ended.name_any()));
        let needed = Needed {
            last: last.as_deref(),
            ended: ended.as_deref(),
            of_version,
        };
        let Some(record) = beyond_limit(known, &needed, limit) else {
            return Ok(None);
        };
        self.may_write()?;
        let name = record.name_any();
        tracing::info!(
            cluster = %Key::of(cluster),
            upgrade = name,
            "Deleting finished ClusterUpgrade beyond the history limit of {limit}"
        );
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: record.resource_version(),
                uid: record.uid(),
            }),
            ..DeleteParams::default()
        };
        let doing = || format!("deleting ClusterUpgrade {name}");
        match call(doing, self.records(record).delete(&name, &parameters)).await {
            // The cache is behind.
            Err(Error::Call {
                source: kube::Error::Api(status),
                ..
            }) if status.is_not_found() => Ok(Some(Done::Until(AFTER_WRITE))),
            deleted => {
                deleted?;
                self.counters.wrote(Counted::DeletedRecord);
                Ok(Some(Done::Wrote))
            }
        }
    }
}
