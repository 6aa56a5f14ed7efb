//! What is kept of an object that makes the machines of a MachinePool.

use instar_api::{LEFT_ANNOTATION, RENDERED_ANNOTATION, VALUES_HISTORY_ANNOTATION};
use instar_capi::{self as capi, Lifecycle, labels::PAUSED};
use instar_planner::{InfrastructurePool, LeftMark, ManagedBy, Object, PausedBy, ResourceVersion, ValuesHistory};
use instar_watch::{Entry, Guarded, Kept, Key, Row, Unreadable};
use kube::{ResourceExt, core::DynamicObject, discovery::ApiResource};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    kept::{Group, groups_of_clusters, groups_of_unreadable, lifecycle},
    packed::Packed,
};
use crate::fields::{condition, observed_generation};

/// The condition by which Cluster API's controllers, and those of most providers, say that they leave an object alone.
const PAUSED_CONDITION: &str = "Paused";

/// Where conditions stand: at the contract v1beta2, and where a provider of v1beta1 has those of the next one.
const CONDITIONS: [&str; 2] = ["/status/conditions", "/status/v1beta2/conditions"];

/// An object that makes the machines of a MachinePool.
#[derive(Debug)]
pub(crate) struct KeptInfrastructurePool {
    fields: Packed<Fields>,
    clusters: Box<[Group]>,
}

/// The fields that are read.
#[derive(Serialize, Deserialize, Debug)]
struct Fields {
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
    #[serde(rename = "p")]
    paused: Option<String>,
    #[serde(rename = "f")]
    left: Option<String>,
    #[serde(rename = "e")]
    rendered: Option<String>,
    #[serde(rename = "v", default)]
    values_history: Option<String>,
    #[serde(rename = "c")]
    condition: Option<capi::Condition>,
    /// A release may set any of it.
    #[serde(rename = "s")]
    spec: Value,
}

impl KeptInfrastructurePool {
    /// As the planner takes it.
    pub(crate) fn get(&self, name: &str, resource: &ApiResource) -> Result<InfrastructurePool, String> {
        let fields = self.fields.get()?;
        Ok(InfrastructurePool {
            object: Object {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
                name: name.to_owned(),
                resource_version: ResourceVersion(fields.resource_version),
                generation: fields.generation,
                observed_generation: fields.observed_generation,
                lifecycle: fields.lifecycle,
                managed_by: fields.managed_by,
                swap_history: None,
                conditions: fields.condition.iter().map(condition).collect(),
            },
            paused_by: PausedBy::of(fields.paused.as_deref()),
            left: fields.left.as_deref().and_then(LeftMark::from_annotation),
            spec: fields.spec,
            rendered: fields.rendered,
            values_history: fields
                .values_history
                .as_deref()
                .and_then(ValuesHistory::from_annotation),
        })
    }
}

impl From<DynamicObject> for Fields {
    fn from(mut object: DynamicObject) -> Self {
        let annotation = |name: &str| object.annotations().get(name).cloned();
        let generation = object.metadata.generation.unwrap_or_default();
        let condition = CONDITIONS.iter().find_map(|at| paused(&object.data, at));
        let observed = object
            .data
            .pointer("/status/observedGeneration")
            .and_then(Value::as_i64);
        Self {
            resource_version: object.resource_version().unwrap_or_default(),
            generation,
            observed_generation: observed_generation(observed.unwrap_or(generation), condition.as_ref()),
            lifecycle: lifecycle(&object, false),
            managed_by: ManagedBy::of(object.labels()),
            paused: annotation(PAUSED),
            left: annotation(LEFT_ANNOTATION),
            rendered: annotation(RENDERED_ANNOTATION),
            values_history: annotation(VALUES_HISTORY_ANNOTATION),
            condition,
            spec: object.data.get_mut("spec").map(Value::take).unwrap_or_default(),
        }
    }
}

/// What a list of conditions says of a pause. Conditions of a contract before have other fields, and are none then.
fn paused(data: &Value, at: &str) -> Option<capi::Condition> {
    let mut conditions = data.pointer(at)?.as_array()?.iter();
    let found = conditions.find(|condition| condition["type"] == PAUSED_CONDITION)?;
    let condition = capi::Condition::deserialize(found).ok()?;
    Some(capi::Condition {
        message: String::new(),
        ..condition
    })
}

impl Entry for KeptInfrastructurePool {
    type Group = Group;

    fn groups(&self, _: &Key) -> Vec<Group> {
        self.clusters.to_vec()
    }

    fn is_same(&self, other: &Self) -> bool {
        self.fields == other.fields && self.clusters == other.clusters
    }

    fn heap_bytes(&self) -> usize {
        self.fields.heap_bytes() + size_of_val(&*self.clusters)
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        groups_of_unreadable(key, unreadable)
    }
}

impl Kept for KeptInfrastructurePool {
    type Object = Guarded<DynamicObject>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |object| Self {
            clusters: groups_of_clusters(&object.metadata),
            fields: Packed::new(&Fields::from(object)),
        })
    }
}

#[cfg(test)]
mod tests {
    use instar_planner::ConditionStatus;
    use serde_json::json;

    use super::*;

    const MARK: &str = r#"{"upgrade":"up","since":"2026-11-20T11:00:00Z","paused":"2026-11-20T12:00:00Z"}"#;

    fn kept(annotations: &Value, status: &Value) -> (Vec<Group>, InfrastructurePool) {
        let object: Guarded<DynamicObject> = serde_json::from_value(json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "ExampleMachinePool",
            "metadata": {
                "name": "mp", "namespace": "n", "generation": 3, "resourceVersion": "7", "annotations": annotations,
                "labels": { "cluster.x-k8s.io/cluster-name": "blue" },
            },
            "spec": { "image": "a", "list": [1] },
            "status": status,
        }))
        .unwrap();
        let row = KeptInfrastructurePool::keep(object);
        let entry = row.read.unwrap();
        let resource = ApiResource {
            group: "infrastructure.cluster.x-k8s.io".to_owned(),
            version: "v1beta2".to_owned(),
            api_version: "infrastructure.cluster.x-k8s.io/v1beta2".to_owned(),
            kind: "ExampleMachinePool".to_owned(),
            plural: "examplemachinepools".to_owned(),
        };
        (entry.groups(&row.key), entry.get("mp", &resource).unwrap())
    }

    #[test]
    fn all_that_is_read_comes_back() {
        let history = r#"{"upgrade":{"name":"up"},"steps":[{"from":"v1.34.3","values":{"/spec/image":null}}]}"#;
        let annotations = json!({
            PAUSED: MARK, RENDERED_ANNOTATION: "{}", LEFT_ANNOTATION: r#"{"upgrade":"up"}"#,
            VALUES_HISTORY_ANNOTATION: history,
        });
        let condition = json!({ "type": "Paused", "status": "True", "message": "m", "observedGeneration": 3 });
        let (groups, pool) = kept(
            &annotations,
            &json!({ "observedGeneration": 2, "conditions": [condition] }),
        );
        assert_eq!(groups, [Group::Cluster(Key::new("n", "blue"))]);
        let object = &pool.object;
        assert_eq!((&*object.name, &*object.resource_version.0), ("mp", "7"));
        assert_eq!((object.generation, object.observed_generation), (3, 2));
        assert_eq!(
            (object.lifecycle, object.managed_by),
            (Lifecycle::Paused, ManagedBy::User)
        );
        assert!(object.says_paused());
        assert_eq!(
            pool.paused_by
                .mark()
                .map(instar_planner::PauseMark::to_annotation)
                .as_deref(),
            Some(MARK)
        );
        assert_eq!(pool.left.map(|left| left.upgrade).as_deref(), Some("up"));
        assert_eq!(pool.rendered.as_deref(), Some("{}"));
        let kept = pool.values_history.map(|kept| kept.to_annotation());
        assert_eq!(kept.as_deref(), Some(history));
        assert_eq!(pool.spec, json!({ "image": "a", "list": [1] }));
    }

    #[test]
    fn the_condition_is_found_at_either_contract_and_not_made_up() {
        let of = |status: Value| {
            let (_, pool) = kept(&json!({ PAUSED: "" }), &status);
            assert_eq!(pool.paused_by, PausedBy::User);
            pool.object.paused().map(|paused| paused.status)
        };
        let condition = |kind: &str, status: &str| json!([{ "type": kind, "status": status }]);
        for (status, expected) in [
            (json!({}), None),
            (json!({ "conditions": condition("Ready", "True") }), None),
            (
                json!({ "conditions": condition("Paused", "False") }),
                Some(ConditionStatus::False),
            ),
            (
                json!({ "conditions": condition("Ready", "True"), "v1beta2": { "conditions": condition("Paused", "True") } }),
                Some(ConditionStatus::True),
            ),
        ] {
            assert_eq!(of(status.clone()), expected, "{status}");
        }
        let (_, pool) = kept(&json!({}), &json!({}));
        assert_eq!(pool.paused_by, PausedBy::NoOne);
        assert_eq!(pool.object.observed_generation, 3);
    }
}
