//! Control planes of kinds that aren't watched, as the last pass over their Cluster has read them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use instar_planner::{ControlPlane, Observed};
use instar_watch::Key;

use crate::views::Cluster;

/// By Cluster.
#[derive(Debug, Default)]
pub(crate) struct Others {
    seen: Mutex<HashMap<Key, Observed<ControlPlane>>>,
}

impl Others {
    /// What was seen takes the place of what was; where nothing was there, nothing is kept.
    pub(crate) fn put(&self, cluster: Key, seen: Option<Observed<ControlPlane>>) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen {
            Some(seen) => all.insert(cluster, seen),
            None => all.remove(&cluster),
        };
    }

    /// What was seen last.
    pub(crate) fn of(&self, cluster: &Cluster) -> Option<Observed<ControlPlane>> {
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&Key::of(cluster)).cloned()
    }
}
