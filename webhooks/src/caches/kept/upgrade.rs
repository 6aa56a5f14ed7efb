//! ClusterUpgrades: which one goes on, and what its Cluster keeps for a rollback.

use std::sync::Arc;

use instar_admission::cluster_state::{self, CachedUpgrade};
use instar_api::{ClusterUpgrade, TemplateUse};
use instar_watch::{Cache, Entry, Guarded, Kept, Key, Presence, Row, Unreadable};
use jiff::Timestamp;

use super::{
    super::{Caches, group::Group},
    Cached, groups_of_unreadable,
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
    type Group = Group;

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

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        groups_of_unreadable(key, unreadable)
    }

    fn heap_bytes(&self) -> usize {
        let going_on = self.goes_on.as_ref().map_or(0, |upgrade| {
            let path = upgrade.path.iter().map(|release| size_of_val(release) + release.len());
            let window = upgrade.override_window.as_deref();
            let window = window.map_or(0, |window| size_of_val(window) + window.reason.len());
            upgrade.name.len() + path.sum::<usize>() + window
        });
        let kept = self.kept.iter();
        let kept = kept.map(|kept| size_of_val(kept) + kept.kind.len() + kept.name.len());
        self.cluster.len() + going_on + kept.sum::<usize>()
    }
}

impl Kept for Upgrade {
    type Object = Guarded<ClusterUpgrade>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |upgrade| {
            let goes_on = upgrade.finished_phase().is_none() && upgrade.metadata.deletion_timestamp.is_none();
            let status = upgrade.status.unwrap_or_default();
            let templates = status.templates.into_iter();
            Self {
                goes_on: goes_on.then(|| CachedUpgrade {
                    name: upgrade.metadata.name.unwrap_or_default(),
                    target: upgrade.spec.target,
                    path: status.path,
                    override_window: upgrade.spec.override_window.map(Box::new),
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
}

impl Cached for Upgrade {
    const KIND: Watched = Watched::ClusterUpgrades;
    const PRESENCE: Presence = Presence::DEFINITIONS;

    fn cache(caches: &Caches) -> &Arc<Cache<Self>> {
        &caches.upgrades
    }
}
