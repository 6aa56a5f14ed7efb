//! What is kept of an object that the planner reads as a whole: what it reads, parsed when the object comes.

mod control_plane;
#[cfg(test)]
mod tests;
mod workers;

use std::fmt::Debug;

use instar_api::SWAP_HISTORY_ANNOTATION;
use instar_capi as capi;
use instar_planner::{Condition, ManagedBy, Object, Observed, ResourceVersion, SwapHistory, Unversioned};
use instar_watch::{Entry, Guarded, Kept, Key, Row, Unreadable};
use kube::{Resource, ResourceExt};

use super::{
    kept::{Cached, Group, lifecycle, of_cluster},
    observed,
};
use crate::fields::condition;

/// A kind that the planner has a part for.
pub(crate) trait PlannedKind: Cached<Kept = KeptPart<Self>> {
    /// What the planner reads.
    type Part: Clone + Debug + Send + Sync + 'static;

    /// The name of the Cluster that it belongs to; absent where nothing says it.
    fn cluster(&self) -> Option<&str>;

    /// What the planner reads.
    fn part(&self) -> Result<Self::Part, NoPart>;
}

/// Why there is no part of an object for the planner.
#[derive(Debug)]
pub(crate) enum NoPart {
    /// This is wrong with it.
    Invalid(String),
    /// It has no version.
    Unversioned(Unversioned),
}

impl From<String> for NoPart {
    fn from(reason: String) -> Self {
        Self::Invalid(reason)
    }
}

/// What is kept of an object that the planner reads.
#[derive(Debug)]
pub(crate) struct KeptPart<K: PlannedKind> {
    cluster: Option<Box<str>>,
    was_swapped: bool,
    // In the table, a place for it is kept in every empty slot.
    part: Result<Box<K::Part>, Box<NoPart>>,
}

impl<K: PlannedKind> KeptPart<K> {
    /// Whether a swap was written into it, be it readable or not.
    pub(crate) const fn was_swapped(&self) -> bool {
        self.was_swapped
    }

    /// As the planner takes it, if it has a version.
    pub(crate) fn observed(&self, key: &Key) -> Option<Observed<K::Part>> {
        let read = match &self.part {
            Ok(part) => Ok((**part).clone()),
            Err(no_part) => match &**no_part {
                NoPart::Invalid(reason) => Err(reason),
                NoPart::Unversioned(_) => return None,
            },
        };
        Some(observed(&K::kind(&()), key.name(), read))
    }

    /// As the planner takes it, if it has no version.
    pub(crate) fn unversioned(&self) -> Option<Unversioned> {
        match self.part.as_ref().err().map(|no_part| &**no_part) {
            None | Some(NoPart::Invalid(_)) => None,
            Some(NoPart::Unversioned(unversioned)) => Some(unversioned.clone()),
        }
    }
}

impl<K: PlannedKind> From<K> for KeptPart<K> {
    fn from(object: K) -> Self {
        Self {
            cluster: object.cluster().map(Into::into),
            was_swapped: object
                .meta()
                .annotations
                .as_ref()
                .is_some_and(|all| all.contains_key(SWAP_HISTORY_ANNOTATION)),
            part: object.part().map(Box::new).map_err(Box::new),
        }
    }
}

impl<K: PlannedKind> Entry for KeptPart<K> {
    type Group = Group;

    fn groups(&self, key: &Key) -> Vec<Group> {
        let cluster = self.cluster.iter();
        cluster.map(|name| of_cluster(key, name)).collect()
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        K::groups_of_unreadable(key, unreadable)
    }
}

impl<K: PlannedKind> Kept for KeptPart<K> {
    type Object = Guarded<K>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, Self::from)
    }
}

/// `paused` is what the object's spec says of it.
fn object<K: Resource<DynamicType = ()>>(
    object: &K,
    paused: bool,
    observed_generation: i64,
    conditions: &[capi::Condition],
) -> Object {
    let swap_history = object.annotations().get(SWAP_HISTORY_ANNOTATION);
    Object {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: object.name_any(),
        resource_version: ResourceVersion(object.resource_version().unwrap_or_default()),
        generation: object.meta().generation.unwrap_or_default(),
        observed_generation,
        lifecycle: lifecycle(object, paused),
        managed_by: ManagedBy::of(object.labels()),
        swap_history: swap_history.and_then(|text| SwapHistory::from_annotation(text)),
        conditions: conditions
            .iter()
            .map(condition)
            .filter(Condition::is_passed_on)
            .collect(),
    }
}
