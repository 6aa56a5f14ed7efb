//! Control planes of other providers: of kinds that nobody knows before a Cluster refers to them.
//!
//! The first Cluster that refers to a kind starts its watch, and it ends some time after the last one is gone. What such
//! a kind refers to isn't known until its first list is in, and while it can't be listed.

use std::sync::Arc;

use instar_admission::cluster_state::{TemplateUser, Versions};
use instar_capi::Reference;
use instar_watch::{
    DynamicWatches, FirstAnswers, Guarded, Kept, Key, KindLease, Lookup, Unavailable, WatchMetrics, config,
};
use kube::{Client, core::DynamicObject};
use serde::Deserialize;
use serde_json::Value;

use super::{
    CONTROL_PLANES, PAGE,
    group::{Group, kind_key, kind_of},
    kept::{ForeignControlPlane, users_of},
    templates::Templates,
};

/// The kinds of control planes that Clusters refer to, but for kubeadm's.
#[derive(Debug)]
pub(super) struct ForeignControlPlanes {
    pub(super) watches: Arc<DynamicWatches<ForeignControlPlane>>,
}

impl ForeignControlPlanes {
    /// What they refer to is watched among `templates`.
    pub(super) fn new(templates: &Templates) -> Self {
        let (watches, templates) = (
            DynamicWatches::<ForeignControlPlane>::new(CONTROL_PLANES),
            templates.clone(),
        );
        watches.on_arrival(move |row| {
            if let Ok(control_plane) = &mut row.read {
                templates.learn(control_plane.uses_mut());
            }
        });
        Self {
            watches: Arc::new(watches),
        }
    }

    /// Makes readiness wait for the first answers.
    pub(super) fn await_in(&self, answers: &Arc<FirstAnswers>) {
        self.watches.await_in(answers);
    }

    /// Takes note of a Cluster's reference: the first one to a kind starts its watch.
    pub(super) fn lease(&self, reference: &Reference) -> Option<KindLease> {
        self.watches.lease(&kind_key(&reference.api_group, &reference.kind))
    }

    /// The versions of the one that a Cluster refers to.
    pub(super) fn versions(&self, namespace: &str, reference: &Reference) -> Option<Versions> {
        match self.look_up(namespace, reference, ForeignControlPlane::versions) {
            Lookup::Present(versions) => versions,
            Lookup::Absent | Lookup::Unreadable(_) | Lookup::Pending | Lookup::Unavailable(_) | Lookup::Unwatched => {
                None
            }
        }
    }

    /// Why it isn't known what the one refers to that a Cluster refers to. Of one that can't be decoded it is known.
    pub(super) fn why_unseen(&self, namespace: &str, reference: &Reference) -> Option<String> {
        match self.look_up(namespace, reference, |_| ()) {
            // Where its kind isn't there, no object of it is.
            Lookup::Present(())
            | Lookup::Absent
            | Lookup::Unreadable(_)
            | Lookup::Unavailable(Unavailable::NotServed) => None,
            Lookup::Pending => Some("its kind is not listed yet".to_owned()),
            Lookup::Unavailable(why @ (Unavailable::Forbidden { .. } | Unavailable::Failing)) => Some(why.to_string()),
            Lookup::Unwatched => Some("its kind is not watched".to_owned()),
        }
    }

    fn look_up<T>(
        &self,
        namespace: &str,
        Reference { api_group, kind, name }: &Reference,
        found: impl FnOnce(&ForeignControlPlane) -> T,
    ) -> Lookup<T> {
        let key = Key::new(namespace, name);
        self.watches.look_up(&kind_key(api_group, kind), &key, found)
    }

    /// Those that refer to a template.
    pub(super) fn users_of(&self, template: &Group) -> Vec<TemplateUser> {
        let kinds = self.watches.caches().into_iter();
        let users =
            kinds.flat_map(|(kind, cache)| users_of(&cache, template, kind.kind(), ForeignControlPlane::cluster_name));
        let mut users: Vec<TemplateUser> = users.collect();
        // The kinds are in no order.
        users.sort_unstable();
        users
    }

    /// Watches every kind that is referred to. It ends where one of the watches panics.
    pub(super) fn run(&self, client: &Client, metrics: &WatchMetrics) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.watches).run(client.clone(), metrics.clone(), config().page_size(PAGE))
    }

    /// Takes in a control plane that no API server sends. One of a kind that no Cluster refers to isn't kept.
    pub(super) fn put(&self, object: &Value) -> Result<(), serde_json::Error> {
        let row = ForeignControlPlane::keep(Guarded::<DynamicObject>::deserialize(object)?);
        self.watches.fill(&kind_of(object), [row]);
        Ok(())
    }

    /// From now on every kind that a Cluster refers to counts as listed.
    pub(super) fn all_listed(&self) {
        for kind in self.watches.kinds() {
            self.watches.fill(kind.as_str(), []);
        }
    }
}
