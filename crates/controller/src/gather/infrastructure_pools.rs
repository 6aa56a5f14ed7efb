//! What the MachinePools of a classic Cluster refer to as their infrastructure.

use instar_planner::{InfrastructurePool, ManagedBy, Observed, Snapshot, TemplateRef, Unreadable};
use instar_watch::{Guarded, Kept, Key};
use kube::{core::DynamicObject, discovery::ApiResource};
use serde::Deserialize;
use serde_json::Value;

use super::referred::{Found, Referred, find};
use crate::{
    api::{Class, Error},
    caches::{KeptInfrastructurePool, is_of_kind},
};

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

/// Those that are among these objects.
pub(crate) fn infrastructure_pools_among(objects: &[Value], snapshot: &Snapshot) -> Vec<Observed<InfrastructurePool>> {
    let pools = snapshot.machine_pools.iter().filter_map(Observed::read);
    let pools = pools.filter(|pool| pool.object.managed_by == ManagedBy::User);
    let found = pools.filter_map(|pool| {
        let reference = &pool.infrastructure;
        let object = objects.iter().find(|object| {
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            is_of_kind(object, &reference.group, &reference.kind) && name == Some(&*reference.name)
        })?;
        let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let resource = ApiResource {
            group: reference.group.clone(),
            version: api_version
                .split_once('/')
                .map_or("", |(_, version)| version)
                .to_owned(),
            api_version: api_version.to_owned(),
            kind: reference.kind.clone(),
            // Nothing is asked for by it.
            plural: String::new(),
        };
        let row = Guarded::<DynamicObject>::deserialize(object).map(KeptInfrastructurePool::keep);
        let read = match row.map(|row| row.read) {
            Ok(Ok(kept)) => kept.get(&reference.name, &resource),
            Ok(Err(unreadable)) => Err(unreadable.error),
            Err(error) => Err(error.to_string()),
        };
        Some(match read {
            Ok(pool) => Observed::Read(pool),
            Err(reason) => unreadable(reference, reason),
        })
    });
    found.collect()
}

fn unreadable(reference: &TemplateRef, reason: String) -> Observed<InfrastructurePool> {
    Observed::Invalid(Unreadable {
        kind: reference.kind.clone(),
        name: reference.name.clone(),
        reason,
    })
}
