//! A last look before a template goes: caches are a moment behind, and know a template's own Cluster.

use instar_planner::{Lifecycle, TemplateRef};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use crate::{
    api::{Error, call},
    gather::lifecycle,
    views::{KubeadmControlPlane, MachineDeployment, MachineSet, MachineSpec, Reference},
};

/// Who in the namespace refers to a template at this moment, of whatever Cluster.
pub(super) async fn referrer(
    client: &Client,
    namespace: &str,
    template: &TemplateRef,
) -> Result<Option<String>, Error> {
    let is = |reference: &Reference| {
        reference.name == template.name && reference.kind == template.kind && reference.api_group == template.group
    };
    let of_machines = |spec: &MachineSpec| {
        let bootstrap = spec.bootstrap.config_ref.as_ref();
        is(&spec.infrastructure_ref) || bootstrap.is_some_and(is)
    };
    let control_planes = find(client, namespace, |object: &KubeadmControlPlane| {
        let machines = &object.spec.machine_template.spec;
        machines.infrastructure_ref.as_ref().is_some_and(is)
    });
    if let Some(found) = control_planes.await? {
        return Ok(Some(found));
    }
    let deployments = find(client, namespace, |object: &MachineDeployment| {
        of_machines(&object.spec.template.spec)
    });
    if let Some(found) = deployments.await? {
        return Ok(Some(found));
    }
    find(client, namespace, |object: &MachineSet| {
        lifecycle(object, false) != Lifecycle::Deleting && of_machines(&object.spec.template.spec)
    })
    .await
}

async fn find<K>(client: &Client, namespace: &str, refers: impl Fn(&K) -> bool) -> Result<Option<String>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let kind = K::kind(&());
    let doing = || format!("listing every {kind} of {namespace}");
    let objects = call(doing, api.list(&ListParams::default())).await?;
    let found = objects.iter().find(|object| refers(object));
    Ok(found.map(|object| format!("{kind} {}", object.name_any())))
}
