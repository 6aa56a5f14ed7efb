//! Whether a DaemonSet, a Deployment or a `StatefulSet` is rolled out, as `kubectl rollout status` asks it.

use instar_api::WorkloadKind;
use serde_json::Value;

/// What a workload has to have come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollout {
    pub(crate) kind: WorkloadKind,
    /// The tag that the image of a container has to have; absent where any will do.
    pub(crate) image: Option<ImageTag>,
}

/// A tag of a container's image. Registry and repository are a platform's own matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageTag {
    pub(crate) container: &'static str,
    pub(crate) tag: String,
}

impl Rollout {
    /// What is missing; nothing where it is rolled out. An API server leaves out counts that are 0.
    pub(crate) fn missing(&self, object: &Value) -> Option<String> {
        let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let (observed, generation) = (count("/status/observedGeneration"), count("/metadata/generation"));
        if observed < generation {
            return Some(format!(
                "its status is of generation {observed}, and the object is at {generation}"
            ));
        }
        if let Some(why) = self.image.as_ref().and_then(|image| image.missing(object)) {
            return Some(why);
        }
        let desired = match self.kind {
            WorkloadKind::DaemonSet => count("/status/desiredNumberScheduled"),
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => count("/spec/replicas"),
        };
        let (updated, of_edit, available) = match self.kind {
            WorkloadKind::DaemonSet => (
                count("/status/updatedNumberScheduled"),
                desired,
                count("/status/numberAvailable"),
            ),
            WorkloadKind::Deployment => (
                count("/status/updatedReplicas"),
                desired,
                count("/status/availableReplicas"),
            ),
            // Those below the partition keep what they have, as their user asks.
            WorkloadKind::StatefulSet => (
                count("/status/updatedReplicas"),
                desired.saturating_sub(count("/spec/updateStrategy/rollingUpdate/partition")),
                count("/status/availableReplicas"),
            ),
        };
        let total = count("/status/replicas");
        if updated < of_edit {
            Some(format!("{updated} of {of_edit} Pods are of its latest edit"))
        } else if self.kind == WorkloadKind::Deployment && total > updated {
            Some(format!("{} old Pods are still there", total - updated))
        } else if available < desired {
            Some(format!("{available} of {desired} Pods are available"))
        } else {
            None
        }
    }
}

impl ImageTag {
    fn missing(&self, object: &Value) -> Option<String> {
        let Self { container, tag } = self;
        let containers = object.pointer("/spec/template/spec/containers")?.as_array()?;
        let container_is = |one: &&Value| one.get("name").and_then(Value::as_str) == Some(container);
        // One without the container is another program under the name, and an image by its digest alone says no version.
        let image = containers.iter().find(container_is)?.get("image")?.as_str()?;
        let found = tag_of(image)?;
        // What a workload cluster says is no tag before it is looked at.
        let plain = || found.chars().filter(|one| !one.is_control()).take(LONGEST_TAG);
        (found != tag).then(|| {
            let found: String = plain().collect();
            format!("the image of its container {container} has the tag {found}, and not {tag}")
        })
    }
}

/// As long as a tag may be.
const LONGEST_TAG: usize = 128;

/// The tag of an image. The port of a registry is none.
fn tag_of(image: &str) -> Option<&str> {
    let named = image.split_once('@').map_or(image, |(named, _)| named);
    let (_, last) = named.rsplit_once('/').unwrap_or(("", named));
    let (_, tag) = last.split_once(':')?;
    Some(tag)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(kind: WorkloadKind) -> Rollout {
        Rollout { kind, image: None }
    }

    #[test]
    fn a_tag_is_what_comes_after_the_name() {
        for (image, tag) in [
            ("registry.k8s.io/kube-proxy:v1.35.2", Some("v1.35.2")),
            ("registry:5000/a/kube-proxy:v1.35.2@sha256:00", Some("v1.35.2")),
            ("registry:5000/kube-proxy", None),
            ("kube-proxy@sha256:00", None),
            ("kube-proxy:v1", Some("v1")),
        ] {
            assert_eq!(tag_of(image), tag, "{image}");
        }
    }

    #[test]
    fn a_daemon_set_is_on_each_node() {
        let of = |status: Value| {
            let object = json!({ "metadata": { "generation": 2 }, "status": status });
            rollout(WorkloadKind::DaemonSet).missing(&object)
        };
        let old = json!({ "observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2 });
        assert_eq!(
            of(old).as_deref(),
            Some("its status is of generation 1, and the object is at 2")
        );
        let mut status = json!({ "observedGeneration": 2, "desiredNumberScheduled": 2 });
        assert_eq!(
            of(status.clone()).as_deref(),
            Some("0 of 2 Pods are of its latest edit")
        );
        status["updatedNumberScheduled"] = json!(2);
        status["numberAvailable"] = json!(1);
        assert_eq!(of(status.clone()).as_deref(), Some("1 of 2 Pods are available"));
        status["numberAvailable"] = json!(2);
        assert_eq!(of(status), None);
        // Of a cluster without nodes for it.
        assert_eq!(
            of(json!({ "observedGeneration": 2, "desiredNumberScheduled": 0 })),
            None
        );
    }

    #[test]
    fn a_deployment_has_no_old_pods() {
        let of = |replicas: u32, status: Value| {
            let object = json!({ "metadata": { "generation": 1 }, "spec": { "replicas": replicas }, "status": status });
            rollout(WorkloadKind::Deployment).missing(&object)
        };
        let mut status =
            json!({ "observedGeneration": 1, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 3 });
        assert_eq!(
            of(2, status.clone()).as_deref(),
            Some("1 of 2 Pods are of its latest edit")
        );
        status["updatedReplicas"] = json!(2);
        assert_eq!(of(2, status.clone()).as_deref(), Some("1 old Pods are still there"));
        status["replicas"] = json!(2);
        assert_eq!(of(2, status), None);
        assert_eq!(
            of(0, json!({ "observedGeneration": 1 })),
            None,
            "scaled down to nothing"
        );
        assert_eq!(
            of(1, json!({})).as_deref(),
            Some("its status is of generation 0, and the object is at 1")
        );
    }

    #[test]
    fn a_stateful_set_may_keep_some_old() {
        let object = json!({
            "spec": { "replicas": 3, "updateStrategy": { "rollingUpdate": { "partition": 1 } } },
            "status": { "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3 },
        });
        assert_eq!(rollout(WorkloadKind::StatefulSet).missing(&object), None);
    }

    #[test]
    fn an_image_has_the_tag() {
        let of = |containers: Value| {
            let image = ImageTag {
                container: "kube-proxy",
                tag: "v1.35.2".to_owned(),
            };
            let rollout = Rollout {
                image: Some(image),
                ..rollout(WorkloadKind::DaemonSet)
            };
            rollout.missing(&json!({ "spec": { "template": { "spec": { "containers": containers } } } }))
        };
        let with =
            |image: &str| of(json!([{ "name": "side", "image": "a:v1" }, { "name": "kube-proxy", "image": image }]));
        assert_eq!(with("mirror.example.org/kube-proxy:v1.35.2"), None);
        assert_eq!(
            with("mirror.example.org/kube-proxy:v1.34.3").as_deref(),
            Some("the image of its container kube-proxy has the tag v1.34.3, and not v1.35.2")
        );
        let long = with(&format!("kube-proxy:\n{}", "x".repeat(4096))).unwrap();
        assert!(long.len() < 256 && !long.contains('\n'), "{long}");
        assert_eq!(with("mirror.example.org/kube-proxy@sha256:00"), None);
        assert_eq!(of(json!([])), None);
        assert_eq!(of(Value::Null), None);
    }
}
