//! A last look before a template goes: caches are a moment behind, and know a template's own Cluster.

use instar_capi::{KubeadmControlPlane, MachineDeployment, MachineSet, MachineSpec, Reference};
use instar_planner::{Lifecycle, TemplateRef};
use instar_watch::{Guarded, is_not_found};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::ListParams,
    core::{DynamicObject, NamespaceResourceScope},
};
use serde::de::DeserializeOwned;

use crate::{
    api::{Error, call, of_provider},
    caches::lifecycle,
    gather::infrastructure,
    kinds::Kind,
};

/// Which object of a kind of Cluster API itself, or of kubeadm's, refers to a template at this moment.
pub(super) async fn referrer(
    client: &Client,
    namespace: &str,
    template: &TemplateRef,
) -> Result<Option<String>, Error> {
    let is = |reference: &Reference| names(reference, template);
    let of_machines = |spec: &MachineSpec| {
        let bootstrap = spec.bootstrap.config_ref.as_ref();
        is(&spec.infrastructure_ref) || bootstrap.is_some_and(is)
    };
    let control_planes = find(client, namespace, template, |object: &KubeadmControlPlane| {
        let machines = &object.spec.machine_template.spec;
        machines.infrastructure_ref.as_ref().is_some_and(is)
    });
    match control_planes.await {
        // Kubeadm's kinds need not be installed.
        Err(Error::Call { source, .. }) if is_not_found(&source) => {}
        Ok(None) => {}
        found => return found,
    }
    let deployments = find(client, namespace, template, |object: &MachineDeployment| {
        of_machines(&object.spec.template.spec)
    });
    if let Some(found) = deployments.await? {
        return Ok(Some(found));
    }
    find(client, namespace, template, |object: &MachineSet| {
        lifecycle(object, false) != Lifecycle::Deleting && of_machines(&object.spec.template.spec)
    })
    .await
}

/// The same of control planes of another kind than kubeadm's. One that can't be read counts.
pub(super) async fn foreign_referrer(
    client: &Client,
    namespace: &str,
    template: &TemplateRef,
    known: &Kind,
) -> Result<Option<String>, Error> {
    let Kind { resource, contract } = known;
    let kind = &resource.kind;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let doing = || format!("listing every {kind} of {namespace}");
    let objects = of_provider(resource, doing, api.list(&ListParams::default())).await?;
    let found = objects.iter().find(|object| match infrastructure(object, *contract) {
        Ok(reference) => reference.as_ref() == Some(template),
        Err(_) => true,
    });
    Ok(found.map(|object| format!("{kind} {}", object.name_any())))
}

/// Of an object that can't be decoded, whatever it names counts.
async fn find<K>(
    client: &Client,
    namespace: &str,
    template: &TemplateRef,
    refers: impl Fn(&K) -> bool,
) -> Result<Option<String>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<Guarded<K>> = Api::namespaced(client.clone(), namespace);
    let kind = K::kind(&());
    let doing = || format!("listing every {kind} of {namespace}");
    let objects = call(doing, api.list(&ListParams::default())).await?;
    let found = objects.iter().find(|object| match &object.0 {
        Ok(object) => refers(object),
        Err(unreadable) => unreadable.references.iter().any(|reference| names(reference, template)),
    });
    Ok(found.map(|object| format!("{kind} {}", object.name_any())))
}

fn names(reference: &Reference, template: &TemplateRef) -> bool {
    reference.name == template.name && reference.kind == template.kind && reference.api_group == template.group
}
