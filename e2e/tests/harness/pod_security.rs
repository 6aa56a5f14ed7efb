//! Pod Security's `restricted`, as the API server's own plugin enforces it.

use std::collections::BTreeMap;

use instar_e2e::{
    Result,
    support::{
        commands::{Printed, kubectl},
        journeys::JourneyContext,
    },
};
use serde_json::{Value, json};

/// The Pods of both Deployments are let in without a warning, and one with a privilege more isn't.
pub(crate) async fn admits_the_pods(scene: JourneyContext) -> Result<()> {
    let restricted = |mode: &str| (format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
    let labels = BTreeMap::from(["enforce", "audit", "warn"].map(restricted));
    let scene = scene.within(&scene.another_namespace(labels).await?);
    for deployment in xtask::deployments() {
        let deployment = serde_json::to_value(deployment)?;
        let name = deployment["metadata"]["name"].clone();
        let template = &deployment["spec"]["template"];
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "labels": template["metadata"]["labels"] },
            "spec": template["spec"],
        });
        let printed = tried(&scene, &pod).await?;
        assert!(
            printed.succeeded && printed.stderr.is_empty(),
            "{name}: {}",
            printed.stderr
        );

        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let printed = tried(&scene, &pod).await?;
        assert!(!printed.succeeded, "{name} may get privileges");
        assert!(
            printed.stderr.contains("violates PodSecurity \"restricted:latest\""),
            "{name}: {}",
            printed.stderr
        );
    }
    Ok(())
}

async fn tried(scene: &JourneyContext, pod: &Value) -> Result<Printed> {
    let create = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    kubectl(scene, &create, &pod.to_string()).await
}
