//! What gates look at on the management cluster, and what lets the controller look.

use anyhow::Result;
use serde_json::{Value, json};

use super::journeys::JourneyContext;

/// Binds a role with these rules to the controller's account, in the journey's namespace.
pub async fn let_account(scene: &JourneyContext, role: &str, rules: &Value) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let object = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRole",
        "metadata": { "name": role },
        "rules": rules,
    });
    scene.apply_object(object).await?;
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": { "name": role },
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": "instar-controller", "namespace": "instar-system" }],
    });
    scene.apply_object(binding).await.map(drop)
}

/// A ConfigMap with these data.
pub async fn config_map(scene: &JourneyContext, name: &str, data: &Value) -> Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name },
        "data": data,
    });
    scene.apply_object(object).await.map(drop)
}
