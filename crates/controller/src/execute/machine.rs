//! The deletion of a Machine that never joined. What was decided from the cache is looked at again in the Machine as it is,
//! and nothing of it may change before it goes.

use instar_capi::{Machine, labels::CONTROL_PLANE};
use instar_planner::DeleteMachine;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};

use super::{Effect, Executor, deleted};
use crate::api::{Error, call};

impl Executor<'_> {
    pub(super) async fn delete_machine(&self, delete: &DeleteMachine) -> Result<Effect, Error> {
        let name = &delete.name;
        let api: Api<Machine> = Api::namespaced(self.client.clone(), self.cluster.namespace());
        let Some(machine) = call(|| format!("reading Machine {name}"), api.get_opt(name)).await? else {
            return Ok(Effect::DoneBefore);
        };
        if !is_as_decided(&machine, delete, self.cluster.name()) {
            tracing::info!(cluster = %self.cluster, "Keeping Machine {name}, which has changed");
            return Ok(Effect::Kept);
        }
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: machine.resource_version(),
                uid: machine.uid(),
            }),
            ..DeleteParams::default()
        };
        deleted(call(|| format!("deleting Machine {name}"), api.delete(name, &parameters)).await)
    }
}

/// Whether it is a Machine of the Cluster's control plane, the one that was meant, has never had a node, isn't what its
/// control plane asks for, and isn't being deleted.
fn is_as_decided(machine: &Machine, delete: &DeleteMachine, cluster: &str) -> bool {
    let status = machine.status.clone().unwrap_or_default();
    let created = machine.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let is_outdated = status.conditions.up_to_date == "False" || machine.spec.version != delete.version.to_string();
    machine.spec.cluster_name == cluster
        && machine.labels().contains_key(CONTROL_PLANE)
        && machine.metadata.deletion_timestamp.is_none()
        && created == Some(delete.created)
        && status.node_ref.is_none()
        && is_outdated
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_has_changed_since_stays() {
        let delete = DeleteMachine {
            name: "m".to_owned(),
            created: "2026-11-20T12:00:00Z".parse().unwrap(),
            version: "v1.35.4".parse().unwrap(),
        };
        let machine = || {
            json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
                "metadata": {
                    "name": "m", "namespace": "n", "creationTimestamp": "2026-11-20T12:00:00Z",
                    "labels": { CONTROL_PLANE: "" },
                },
                "spec": { "clusterName": "c", "version": "v1.35.4" },
                "status": { "conditions": [{ "type": "UpToDate", "status": "False" }] },
            })
        };
        let judge = |change: fn(&mut Value)| {
            let mut machine = machine();
            change(&mut machine);
            is_as_decided(&serde_json::from_value(machine).unwrap(), &delete, "c")
        };
        assert!(judge(|_| {}));
        assert!(judge(|machine| {
            machine["spec"]["version"] = json!("v1.34.3");
            machine["status"] = json!({});
        }));
        let changes: [fn(&mut Value); 7] = [
            |machine| machine["metadata"]["creationTimestamp"] = json!("2026-11-20T12:00:01Z"),
            |machine| machine["metadata"]["deletionTimestamp"] = json!("2026-11-20T13:00:00Z"),
            |machine| machine["metadata"]["labels"] = json!({}),
            |machine| machine["spec"]["clusterName"] = json!("other"),
            |machine| machine["status"]["nodeRef"] = json!({ "name": "n" }),
            |machine| machine["status"]["conditions"][0]["status"] = json!("True"),
            |machine| machine["status"] = json!({}),
        ];
        for (place, change) in changes.into_iter().enumerate() {
            assert!(!judge(change), "{place}");
        }
    }
}
