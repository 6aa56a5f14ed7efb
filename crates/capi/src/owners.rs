//! Which Clusters own an object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The names of the Clusters that own an object, in the order of its owner references. There is no more than one,
/// unless another client than Cluster API wrote them.
pub fn owning_clusters(metadata: &ObjectMeta) -> impl Iterator<Item = &str> {
    let owners = metadata.owner_references.iter().flatten();
    let clusters = owners.filter(|owner| owner.kind == "Cluster" && owner.api_version.starts_with("cluster.x-k8s.io/"));
    clusters.map(|owner| owner.name.as_str())
}
