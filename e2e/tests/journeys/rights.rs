//! What Instar may do, and what it does.

use std::collections::BTreeSet;

use instar_e2e::{Context, Result, journeys::Scene, wait::wait_for};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use serde_json::Value;

/// A verb on a resource of a group.
type Right = (String, String, String);

/// Nothing is forbidden, and nothing is granted that isn't used, in all that ran before.
pub(crate) async fn granted_and_used(scene: Scene) -> Result<()> {
    let role = Api::<ClusterRole>::all(scene.mgmt.client())
        .get("instar-webhook")
        .await?;
    let mut granted = BTreeSet::new();
    for rule in role.rules.unwrap_or_default() {
        for group in rule.api_groups.unwrap_or_default() {
            for resource in rule.resources.clone().unwrap_or_default() {
                granted.extend(
                    rule.verbs
                        .iter()
                        .map(|verb| (verb.clone(), group.clone(), resource.clone())),
                );
            }
        }
    }
    assert!(!granted.is_empty(), "the ClusterRole instar-webhook grants nothing");
    wait_for(
        "every granted verb to be used",
        std::time::Duration::from_secs(30),
        || async {
            let used = used(&scene)?;
            let unused: Vec<&Right> = granted.difference(&used).collect();
            if unused.is_empty() {
                Ok(())
            } else {
                Err(format!("never used: {unused:?}").into())
            }
        },
    )
    .await?;
    let beyond: Vec<Right> = used(&scene)?.difference(&granted).cloned().collect();
    assert!(beyond.is_empty(), "used without being granted by our role: {beyond:?}");
    Ok(())
}

/// What the audit log says that Instar did. A request that was forbidden is an error.
fn used(scene: &Scene) -> Result<BTreeSet<Right>> {
    let path = scene.mgmt.audit_log();
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut used = BTreeSet::new();
    for line in text.lines() {
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if event["user"]["username"] != "system:serviceaccount:instar-system:instar-webhook" {
            continue;
        }
        anyhow::ensure!(event["responseStatus"]["code"] != 403, "forbidden: {line}");
        let at = |field: &str| event["objectRef"][field].as_str().unwrap_or_default().to_owned();
        if event.get("objectRef").is_some() {
            used.insert((
                event["verb"].as_str().unwrap_or_default().to_owned(),
                at("apiGroup"),
                at("resource"),
            ));
        }
    }
    Ok(used)
}
