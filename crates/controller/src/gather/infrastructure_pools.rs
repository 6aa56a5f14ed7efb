//! What the MachinePools of a classic Cluster refer to as their infrastructure.

use instar_planner::{InfrastructurePool, ManagedBy, Observed, Snapshot, TemplateRef, Unreadable};
use instar_watch::Key;

use super::referred::{Found, Referred, find};
use crate::api::{Class, Error};

impl Referred<'_> {
    /// Those that are there. What has to be done before one can be read is reported like an object that can't be read:
    /// then its MachinePool alone is left to its user.
    pub(crate) async fn infrastructure_pools(
        &self,
        snapshot: &Snapshot,
    ) -> Result<Vec<Observed<InfrastructurePool>>, Error> {
        let cluster = Key::new(&snapshot.cluster.namespace, &snapshot.cluster.name);
        let pools = snapshot.machine_pools.iter().filter_map(Observed::read);
        let mut found = Vec::new();
        for pool in pools.filter(|pool| pool.object.managed_by == ManagedBy::User) {
            let reference = &pool.infrastructure;
            match self.infrastructure_pool(&cluster, reference).await {
                Ok(pool) => found.extend(pool),
                Err(error) if error.class() == Class::Terminal => found.push(unreadable(reference, error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn infrastructure_pool(
        &self,
        cluster: &Key,
        reference: &TemplateRef,
    ) -> Result<Option<Observed<InfrastructurePool>>, Error> {
        let TemplateRef { group, kind, name } = reference;
        let resource = self.kinds.resource(self.client, group, kind).await?;
        let watches = &self.caches.infrastructure_pools;
        let kind = self.watch(watches, cluster, &resource).await?;
        let key = Key::new(cluster.namespace(), name);
        let found = watches.look_up(kind.as_str(), &key, |kept| kept.get(name, &resource));
        let found = find(found, &resource).inspect_err(|error| self.kinds.forget_after(error, &resource))?;
        Ok(match found {
            Found::Present(Ok(pool)) => Some(Observed::Read(pool)),
            Found::Present(Err(reason)) | Found::Unreadable(reason) => Some(unreadable(reference, reason)),
            Found::Absent => None,
        })
    }
}

fn unreadable(reference: &TemplateRef, reason: String) -> Observed<InfrastructurePool> {
    Observed::Invalid(Unreadable {
        kind: reference.kind.clone(),
        name: reference.name.clone(),
        reason,
    })
}
