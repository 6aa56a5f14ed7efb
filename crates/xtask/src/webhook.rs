use anyhow::Result;
use instar_webhooks::configuration::{Service, mutating, opt_out_policy, policies, validating};
use serde_json::Value;

use crate::{Artifact, NAMESPACE, WEBHOOK, kustomization, kustomization::Folder};

/// Where the API server finds Instar.
const SERVICE: Service<'static> = Service {
    namespace: NAMESPACE,
    name: WEBHOOK,
};

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let [first, second] = mutating(SERVICE);
    Folder::new("config/webhook", kustomization::plain())
        .with("mutating-first.yaml", &first)?
        .with("mutating.yaml", &second)?
        .with("validating.yaml", &validating(SERVICE))?
        .artifacts()
}

/// The rules that need no server, for who wants them beside it.
pub(crate) fn policy_artifacts() -> Result<Vec<Artifact>> {
    let mut folder = Folder::new("config/policy", kustomization::plain());
    for (policy, binding) in policies() {
        let name = policy.metadata.name.clone().unwrap_or_default();
        let rule = name.split('.').next().unwrap_or_default().to_owned();
        let objects = [serde_json::to_value(&policy)?, serde_json::to_value(&binding)?];
        folder = folder.with_objects(&format!("{rule}.yaml"), "", &objects)?;
    }
    let (policy, binding) = opt_out_policy();
    let objects = [serde_json::to_value(&policy)?, serde_json::to_value(&binding)?];
    folder.with_objects("admission-opt-out.yaml", "", &objects)?.artifacts()
}

pub fn configurations() -> Result<[Value; 3]> {
    let [first, second] = mutating(SERVICE);
    Ok([
        serde_json::to_value(first)?,
        serde_json::to_value(second)?,
        serde_json::to_value(validating(SERVICE))?,
    ])
}
