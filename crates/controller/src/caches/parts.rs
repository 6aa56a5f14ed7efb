//! What is kept of an object that the planner reads as a whole: what it reads, parsed when the object comes.

mod control_plane;
#[cfg(test)]
mod tests;
mod workers;

use std::fmt::Debug;

use instar_api::SWAP_HISTORY_ANNOTATION;
use instar_capi::{self as capi, labels::PAUSED};
use instar_planner::{Lifecycle, ManagedBy, Object, Observed, ResourceVersion, SwapHistory, Unversioned};
use instar_watch::{Entry, Guarded, Kept, Key, Row, Unreadable};
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    kept::{Cached, Group, lifecycle, of_cluster},
    observed,
    packed::Packed,
};
use crate::fields::condition;

/// A kind that the planner has a part for.
pub(crate) trait PlannedKind: Cached<Kept = KeptPart<Self>> {
    /// The fields that a part is made of.
    type Fields: Serialize + DeserializeOwned + Debug + 'static;

    /// What the planner reads.
    type Part;

    /// The name of the Cluster that it belongs to; absent where nothing says it.
    fn cluster(&self) -> Option<&str>;

    /// The fields that are read.
    fn fields(&self) -> Self::Fields;

    /// What the planner reads, of the object of this name.
    fn part(name: &str, fields: Self::Fields) -> Result<Self::Part, NoPart>;
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
    /// Whether it has the annotation by which Cluster API pauses it.
    has_pause: bool,
    fields: Packed<K::Fields>,
}

impl<K: PlannedKind> KeptPart<K> {
    /// Whether a swap was written into it, be it readable or not.
    pub(crate) const fn was_swapped(&self) -> bool {
        self.was_swapped
    }

    /// Whether it has the annotation by which Cluster API pauses it, be it ours or not.
    pub(crate) const fn has_pause(&self) -> bool {
        self.has_pause
    }

    /// As the planner takes it.
    ///
    /// # Errors
    ///
    /// It has no version.
    pub(crate) fn observed(&self, key: &Key) -> Result<Observed<K::Part>, Unversioned> {
        let part = self.fields.get().map_err(NoPart::Invalid);
        let read = match part.and_then(|fields| K::part(key.name(), fields)) {
            Ok(part) => Ok(part),
            Err(NoPart::Invalid(reason)) => Err(reason),
            Err(NoPart::Unversioned(unversioned)) => return Err(unversioned),
        };
        Ok(observed(&K::kind(&()), key.name(), read))
    }
}

impl<K: PlannedKind> From<K> for KeptPart<K> {
    fn from(object: K) -> Self {
        let has = |name| {
            let annotations = object.meta().annotations.as_ref();
            annotations.is_some_and(|all| all.contains_key(name))
        };
        Self {
            cluster: object.cluster().map(Into::into),
            was_swapped: has(SWAP_HISTORY_ANNOTATION),
            has_pause: has(PAUSED),
            fields: Packed::new(&object.fields()),
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

    fn is_same(&self, other: &Self) -> bool {
        self.cluster == other.cluster
            && self.was_swapped == other.was_swapped
            && self.has_pause == other.has_pause
            && self.fields == other.fields
    }

    fn heap_bytes(&self) -> usize {
        self.cluster.as_ref().map_or(0, |cluster| cluster.len()) + self.fields.heap_bytes()
    }
}

impl<K: PlannedKind> Kept for KeptPart<K> {
    type Object = Guarded<K>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, Self::from)
    }
}

/// Of what control planes and MachineDeployments have in common, the fields that are read.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct ObjectFields {
    #[serde(rename = "r")]
    resource_version: String,
    #[serde(rename = "g")]
    generation: i64,
    #[serde(rename = "o")]
    observed_generation: i64,
    #[serde(rename = "l")]
    lifecycle: Lifecycle,
    #[serde(rename = "m")]
    managed_by: ManagedBy,
    #[serde(rename = "s")]
    swap_history: Option<String>,
    #[serde(rename = "c")]
    conditions: Vec<capi::Condition>,
}

impl ObjectFields {
    /// `paused` is what the object's spec says of it.
    fn of(object: &impl Resource, paused: bool, observed_generation: i64, conditions: &[capi::Condition]) -> Self {
        let is_read = |said: &&capi::Condition| condition(said).is_read();
        Self {
            resource_version: object.resource_version().unwrap_or_default(),
            generation: object.meta().generation.unwrap_or_default(),
            observed_generation,
            lifecycle: lifecycle(object, paused),
            managed_by: ManagedBy::of(object.labels()),
            swap_history: object.annotations().get(SWAP_HISTORY_ANNOTATION).cloned(),
            conditions: conditions.iter().filter(is_read).cloned().collect(),
        }
    }

    fn object<K: Resource<DynamicType = ()>>(self, name: &str) -> Object {
        Object {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            name: name.to_owned(),
            resource_version: ResourceVersion(self.resource_version),
            generation: self.generation,
            observed_generation: self.observed_generation,
            lifecycle: self.lifecycle,
            managed_by: self.managed_by,
            swap_history: self.swap_history.as_deref().and_then(SwapHistory::from_annotation),
            conditions: self.conditions.iter().map(condition).collect(),
        }
    }
}
