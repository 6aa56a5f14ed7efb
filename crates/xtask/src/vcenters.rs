//! The controller's right to see which vCenter a VSphereCluster has: a role of its own, since only a check that a policy
//! turns on needs it.

use anyhow::Result;

use crate::{Artifact, CONTROLLER, grant::granted, kustomization, kustomization::Folder};

const WHY: &str = "\
For the check machine-image-present. The controller reads the Secret with the credentials too, where you let it:
kubectl -n NAMESPACE create role instar-vcenter-SECRET --verb get --resource secrets --resource-name SECRET
kubectl -n NAMESPACE create rolebinding instar-vcenter-SECRET --role instar-vcenter-SECRET --serviceaccount instar-system:instar-controller
";

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let role = granted(
        "instar-controller-vcenters",
        CONTROLLER,
        None,
        instar_controller::VSPHERE_RULES,
    );
    Folder::new("config/vsphere", kustomization::plain())
        .with_objects("role.yaml", WHY, &role.objects()?)?
        .artifacts()
}
