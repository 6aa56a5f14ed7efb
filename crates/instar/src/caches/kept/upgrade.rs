//! ClusterUpgrades: which one goes on, and what its Cluster keeps for the way back.

use std::sync::RwLock;

use instar_admission::cluster_state::{self, CachedUpgrade};
use instar_api::{ClusterUpgrade, FINISHED_ANNOTATION, TemplateUse};
use jiff::Timestamp;
use kube::core::DeserializeGuard;

use super::{
    super::{
        Caches,
        index::{self, Entry, Group, Index, Key},
    },
    Absent, Cached, NO_DEFINITIONS, annotation, guarded,
};
use crate::rbac::Watched;

/// Of a ClusterUpgrade: where it goes, if it is not over, and the templates that are kept.
#[derive(Debug)]
pub(crate) struct Upgrade {
    cluster: Box<str>,
    goes_on: Option<CachedUpgrade>,
    kept: Box<[KeptTemplate]>,
}

#[derive(Debug)]
struct KeptTemplate {
    kind: Box<str>,
    name: Box<str>,
    until: Option<Timestamp>,
}

impl Upgrade {
    pub(in super::super) const fn goes_on(&self) -> Option<&CachedUpgrade> {
        self.goes_on.as_ref()
    }

    /// What it says of a template that it keeps.
    pub(in super::super) fn keeps(&self, key: &Key, kind: &str, name: &str) -> Option<cluster_state::Kept> {
        let mut kept = self.kept.iter();
        let template = kept.find(|kept| *kept.kind == *kind && *kept.name == *name)?;
        Some(cluster_state::Kept {
            upgrade: key.name().to_owned(),
            cluster: self.cluster.clone().into_string(),
            until: template.until,
        })
    }
}

impl Entry for Upgrade {
    fn groups(&self, key: &Key) -> Vec<Group> {
        let namespace = key.namespace();
        let going_on = self.goes_on.iter().flat_map(|upgrade| {
            let releases = upgrade
                .path
                .iter()
                .map(|release| Group::Release(release.as_str().into()));
            releases.chain([Group::Cluster(Key::new(namespace, &self.cluster))])
        });
        let kept = self.kept.iter();
        let kept = kept.map(|kept| Group::Kept(kept.kind.clone(), Key::new(namespace, &kept.name)));
        going_on.chain(kept).collect()
    }
}

impl Cached for Upgrade {
    type Object = DeserializeGuard<ClusterUpgrade>;
    const KIND: Watched = Watched::ClusterUpgrades;
    const ABSENT: Absent = NO_DEFINITIONS;

    fn keep(object: Self::Object) -> index::Row<Self> {
        guarded(object, |upgrade| {
            let is_finished = is_finished(&upgrade);
            let status = upgrade.status.unwrap_or_default();
            let templates = status.templates.into_iter();
            Self {
                goes_on: (!is_finished).then(|| CachedUpgrade {
                    name: upgrade.metadata.name.unwrap_or_default(),
                    target: upgrade.spec.target,
                    path: status.path,
                }),
                cluster: upgrade.spec.cluster_name.into(),
                kept: templates
                    .filter(|template| template.state == TemplateUse::Kept)
                    .map(|template| KeptTemplate {
                        kind: template.kind.into(),
                        name: template.name.into(),
                        until: template.kept_until.map(|until| until.0),
                    })
                    .collect(),
            }
        })
    }

    fn index(caches: &Caches) -> &RwLock<Index<Self>> {
        &caches.upgrades
    }
}

/// Whether it is over, as the controller sees it: by its status, and where that was dropped by the
/// annotation.
fn is_finished(upgrade: &ClusterUpgrade) -> bool {
    let generation = upgrade.metadata.generation.unwrap_or_default();
    match upgrade.status.as_ref().filter(|status| status.observed_generation > 0) {
        Some(status) => status.is_finished(generation),
        None => annotation(&upgrade.metadata, FINISHED_ANNOTATION).is_some(),
    }
}
