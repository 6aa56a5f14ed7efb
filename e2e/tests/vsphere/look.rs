//! The check `machine-image-present`: who lets the controller look into the vCenter, and what it finds.

use std::path::Path;

use instar_api::{PreflightCheck, PreflightResult};
use instar_e2e::{
    Result,
    support::{
        classic::NAME,
        journeys::JourneyContext,
        topology::namespaced,
        upgrade::{UPGRADE, upgrades},
    },
    vcenter::Sessions,
    wait::wait_for,
};
use kube::{
    api::{Patch, PatchParams},
    core::GroupVersionKind,
    discovery::ApiResource,
};
use serde_json::{Value, json};

/// The upgrade that is asked for.
pub(crate) const RECORD: &str = "forward";

const CHECK: PreflightCheck = PreflightCheck::MachineImagePresent;

/// As the controller calls itself in a vCenter.
const AGENT: &str = "instar/";

/// As docs/preflight.md says: a policy turns it on, and the platform lets the controller read the one Secret.
pub(crate) async fn let_it_look(scene: &JourneyContext) -> Result<()> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/vsphere");
    scene.mgmt.apply_instar(&[config]).await?;
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "UpgradePolicy",
        "metadata": { "name": "images" },
        "spec": { "preflight": { "checks": [{ "name": CHECK, "mode": "Enforce" }] } },
    });
    no_server_is_not_any(scene, policy.clone()).await?;
    scene.apply_object(policy).await?;
    let (group, name) = ("rbac.authorization.k8s.io", format!("instar-vcenter-{NAME}"));
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": { "name": name },
        "rules": [{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": [NAME], "verbs": ["get"] }],
    });
    scene.apply_object(role).await?;
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": { "name": name },
        "roleRef": { "apiGroup": group, "kind": "Role", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": "instar-controller", "namespace": "instar-system" }],
    });
    scene.apply_object(binding).await.map(drop)
}

/// An empty list of vCenters would read as no list, which lets any be asked.
async fn no_server_is_not_any(scene: &JourneyContext, mut policy: Value) -> Result<()> {
    policy["spec"]["vsphere"] = json!({ "servers": [] });
    let refused = scene.apply_object(policy).await;
    let why = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(
        why.contains("spec.vsphere.servers") && why.contains("should have at least 1 items"),
        "an empty list of servers: {why:?}"
    );
    Ok(())
}

pub(crate) async fn set_thumbprint(scene: &JourneyContext, thumbprint: &str) -> Result<()> {
    let kind = GroupVersionKind::gvk("infrastructure.cluster.x-k8s.io", "v1beta1", "VSphereCluster");
    let clusters = namespaced(scene, &ApiResource::from_gvk_with_plural(&kind, "vsphereclusters"));
    let patch = Patch::Merge(json!({ "spec": { "thumbprint": thumbprint } }));
    clusters.patch(NAME, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until the check says exactly this.
pub(crate) async fn finds(scene: &JourneyContext, result: PreflightResult, message: &str) -> Result<()> {
    wait_for(&format!("{CHECK} to say {message:?}"), UPGRADE, || async {
        let status = upgrades(scene).get(RECORD).await?.status.unwrap_or_default();
        let mut found = status.preflight.iter().filter(|found| found.check == CHECK);
        match found.next() {
            Some(found) if found.result == result && found.message == message => Ok(()),
            _ => Err(serde_json::to_string(&status)?.into()),
        }
    })
    .await
}

/// Lets the upgrade begin all the same.
pub(crate) async fn skip(scene: &JourneyContext) -> Result<()> {
    let skip = json!([{ "name": CHECK, "reason": "it is uploaded meanwhile" }]);
    let patch = Patch::Merge(json!({ "spec": { "preflight": { "skip": skip } } }));
    upgrades(scene).patch(RECORD, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// What the controller did in the vCenter.
pub(crate) async fn sessions(scene: &JourneyContext) -> Result<Sessions> {
    scene.mgmt.vcenter_sessions(AGENT).await
}
