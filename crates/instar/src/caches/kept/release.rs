//! The catalog's rows and the policies: their specs.

use std::sync::{Arc, RwLock};

use instar_api::{KubernetesRelease, KubernetesReleaseSpec, UpgradePolicy, UpgradePolicySpec};
use kube::core::DeserializeGuard;

use super::{
    super::{
        Caches,
        index::{self, Entry, Group, Index, Key},
    },
    Absent, Cached, NO_DEFINITIONS, guarded,
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
    fn groups(&self, _: &Key) -> Vec<Group> {
        Vec::new()
    }
}

impl Cached for Release {
    type Object = DeserializeGuard<KubernetesRelease>;
    const KIND: Watched = Watched::KubernetesReleases;
    const ABSENT: Absent = NO_DEFINITIONS;

    fn keep(object: Self::Object) -> index::Row<Self> {
        guarded(object, |release| Self(release.spec))
    }

    fn index(caches: &Caches) -> &RwLock<Index<Self>> {
        &caches.releases
    }

    fn changed(caches: &Caches) {
        caches.renew_catalog();
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
    fn groups(&self, key: &Key) -> Vec<Group> {
        vec![Group::Namespace(key.namespace().into())]
    }
}

impl Cached for Policy {
    type Object = DeserializeGuard<UpgradePolicy>;
    const KIND: Watched = Watched::UpgradePolicies;
    const ABSENT: Absent = NO_DEFINITIONS;

    fn keep(object: Self::Object) -> index::Row<Self> {
        guarded(object, |policy| Self(Arc::new(policy.spec)))
    }

    fn index(caches: &Caches) -> &RwLock<Index<Self>> {
        &caches.policies
    }
}
