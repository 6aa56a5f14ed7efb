//! The catalog's rows and the policies: their specs.

use std::sync::Arc;

use instar_api::{KubernetesRelease, KubernetesReleaseSpec, UpgradePolicy, UpgradePolicySpec};
use instar_watch::{Cache, Entry, Guarded, Kept, Key, Presence, Row, Unreadable};

use super::{
    super::{Caches, group::Group},
    Cached, json_bytes,
};
use crate::rbac::Watched;

/// Of a KubernetesRelease: its spec.
#[derive(Debug)]
pub(crate) struct Release(KubernetesReleaseSpec);

impl Release {
    pub(in super::super) const fn spec(&self) -> &KubernetesReleaseSpec {
        &self.0
    }
}

impl Entry for Release {
    type Group = Group;

    fn groups(&self, _: &Key) -> Vec<Group> {
        Vec::new()
    }

    fn groups_of_unreadable(_: &Key, _: &Unreadable) -> Vec<Group> {
        Vec::new()
    }

    fn heap_bytes(&self) -> usize {
        json_bytes(&self.0)
    }
}

impl Kept for Release {
    type Object = Guarded<KubernetesRelease>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |release| Self(release.spec))
    }
}

impl Cached for Release {
    const KIND: Watched = Watched::KubernetesReleases;
    const PRESENCE: Presence = Presence::DEFINITIONS;

    fn cache(caches: &Caches) -> &Arc<Cache<Self>> {
        &caches.releases
    }

    fn changed(caches: &Caches) {
        caches.renew_catalogs();
    }
}

/// Of an UpgradePolicy: its spec.
#[derive(Debug)]
pub(crate) struct Policy(Arc<UpgradePolicySpec>);

impl Policy {
    pub(in super::super) fn spec(&self) -> Arc<UpgradePolicySpec> {
        Arc::clone(&self.0)
    }
}

impl Entry for Policy {
    type Group = Group;

    fn groups(&self, key: &Key) -> Vec<Group> {
        vec![Group::Namespace(key.namespace().into())]
    }

    fn groups_of_unreadable(key: &Key, _: &Unreadable) -> Vec<Group> {
        vec![Group::Namespace(key.namespace().into())]
    }

    fn heap_bytes(&self) -> usize {
        size_of_val(&*self.0) + json_bytes(&*self.0)
    }
}

impl Kept for Policy {
    type Object = Guarded<UpgradePolicy>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |policy| Self(Arc::new(policy.spec)))
    }
}

impl Cached for Policy {
    const KIND: Watched = Watched::UpgradePolicies;
    const PRESENCE: Presence = Presence::DEFINITIONS;

    fn cache(caches: &Caches) -> &Arc<Cache<Self>> {
        &caches.policies
    }
}
