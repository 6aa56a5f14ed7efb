//! Which Clusters own an object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The owner references of an object that name Clusters, in their order. There is no more than one, unless another
/// client than Cluster API wrote them, or the object is a template that Clusters share.
pub fn references_to_clusters(metadata: &ObjectMeta) -> impl Iterator<Item = &OwnerReference> {
    let owners = metadata.owner_references.iter().flatten();
    owners.filter(|owner| owner.kind == "Cluster" && owner.api_version.starts_with("cluster.x-k8s.io/"))
}

/// The names of the Clusters that own an object.
pub fn owning_clusters(metadata: &ObjectMeta) -> impl Iterator<Item = &str> {
    references_to_clusters(metadata).map(|owner| owner.name.as_str())
}
