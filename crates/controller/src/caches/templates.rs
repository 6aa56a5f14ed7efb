//! What is kept of a template: what tells who minted it for what, and whether it may go. What it says is read
//! where it decides: templates are large, and most of them are never looked at.

use std::collections::BTreeMap;

use instar_api::{RELEASE_LABEL, ROLE_LABEL, SOURCE_LABEL};
use instar_capi::labels::CLUSTER_NAME;
use instar_planner::{Lifecycle, ResourceVersion};
use instar_watch::{Entry, Guarded, Kept, Key, Row, Unreadable};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, PartialObjectMeta};

use super::kept::{Group, groups_of_clusters, groups_of_unreadable};

/// The labels that are kept.
const LABELS: [&str; 4] = [CLUSTER_NAME, RELEASE_LABEL, ROLE_LABEL, SOURCE_LABEL];

/// A template's metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TemplateMetadata {
    pub(crate) resource_version: ResourceVersion,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) lifecycle: Lifecycle,
    clusters: Box<[Group]>,
}

impl TemplateMetadata {
    pub(crate) fn new(mut metadata: ObjectMeta) -> Self {
        let clusters = groups_of_clusters(&metadata);
        let mut labels = metadata.labels.take().unwrap_or_default();
        labels.retain(|name, _| LABELS.contains(&name.as_str()));
        Self {
            resource_version: ResourceVersion(metadata.resource_version.unwrap_or_default()),
            created: metadata.creation_timestamp.map(|time| time.0),
            lifecycle: match metadata.deletion_timestamp {
                Some(_) => Lifecycle::Deleting,
                None => Lifecycle::Active,
            },
            labels,
            clusters,
        }
    }

    /// The Clusters that it belongs to.
    pub(crate) fn clusters(&self) -> &[Group] {
        &self.clusters
    }
}

impl Entry for TemplateMetadata {
    type Group = Group;

    fn groups(&self, _: &Key) -> Vec<Group> {
        self.clusters.to_vec()
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn heap_bytes(&self) -> usize {
        let labels = self.labels.iter().map(|(name, value)| name.len() + value.len());
        let texts = self.resource_version.0.len() + labels.sum::<usize>();
        texts + size_of_val(&*self.clusters) + self.labels.len() * 2 * size_of::<String>()
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        groups_of_unreadable(key, unreadable)
    }
}

impl Kept for TemplateMetadata {
    type Object = Guarded<PartialObjectMeta<DynamicObject>>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |object| Self::new(object.metadata))
    }
}
