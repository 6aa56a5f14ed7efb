//! Annotations of a Cluster that ask for something and have no effect.

use instar_api::{BREAK_GLASS_ANNOTATION, VERSION_ANNOTATION, is_unknown_annotation};
use instar_capi::Cluster;
use kube::ResourceExt;

/// What is wrong with the first of them, and what to do.
pub(crate) fn annotation_mistake(cluster: &Cluster) -> Option<String> {
    let annotations = cluster.annotations();
    let version = annotations.get(VERSION_ANNOTATION);
    if cluster.spec.topology.is_some() && version.is_some() {
        return Some(format!(
            "The annotation {VERSION_ANNOTATION} has no effect on a Cluster with spec.topology: edit spec.topology.version, and remove the annotation"
        ));
    }
    if version.is_some_and(|text| text.trim().is_empty()) {
        return Some(format!(
            "The annotation {VERSION_ANNOTATION} is empty: set it to a version, such as v1.35, or remove it"
        ));
    }
    let unknown = annotations.keys().find(|name| is_unknown_annotation(name))?;
    Some(format!(
        "The annotation {unknown} is not known and has no effect: users set {VERSION_ANNOTATION} and {BREAK_GLASS_ANNOTATION}"
    ))
}

#[cfg(test)]
mod tests {
    use instar_api::RELEASES_ANNOTATION;
    use serde_json::{Value, json};

    use super::*;

    fn mistake(annotations: &Value, topology: &Value) -> Option<String> {
        let cluster = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": {"name": "c", "annotations": annotations}, "spec": {"topology": topology},
        });
        annotation_mistake(&serde_json::from_value(cluster).unwrap())
    }

    #[test]
    fn what_has_no_effect_is_named() {
        let topology = json!({"version": "v1.34.3"});
        for (annotations, topology, expected) in [
            (
                json!({VERSION_ANNOTATION: "v1.35", RELEASES_ANNOTATION: "{}"}),
                &Value::Null,
                None,
            ),
            (json!({"example.org/version": "v1.35"}), &topology, None),
            (
                json!({VERSION_ANNOTATION: "v1.35"}),
                &topology,
                Some("has no effect on a Cluster with spec.topology: edit spec.topology.version"),
            ),
            (
                json!({VERSION_ANNOTATION: " "}),
                &Value::Null,
                Some("is empty: set it to a version"),
            ),
            (
                json!({"upgrade.cluster.x-k8s.io/verison": "v1.35"}),
                &Value::Null,
                Some("The annotation upgrade.cluster.x-k8s.io/verison is not known and has no effect"),
            ),
        ] {
            match (mistake(&annotations, topology), expected) {
                (None, None) => {}
                (Some(what), Some(part)) => assert!(what.contains(part), "{what}"),
                (what, expected) => panic!("{annotations}: {what:?}, expected {expected:?}"),
            }
        }
    }
}
