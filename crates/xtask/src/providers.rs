//! The rights to the kinds of each provider: the controller's, and of templates and control planes the webhook's.
//!
//! They are bound to the accounts by themselves and not aggregated into their roles: a cluster whose
//! kube-controller-manager doesn't aggregate would then silently have none.

use anyhow::Result;
use instar_watch::rbac::{PROVIDERS, Provider, Rule};
use instar_webhooks::rbac::provider_rules;

use crate::{Artifact, CONTROLLER, Granted, WEBHOOK, grant::granted, kustomization, kustomization::Folder};

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let mut artifacts = Vec::new();
    for provider in PROVIDERS {
        let folder = Folder::new(&format!("config/providers/{}", provider.name), kustomization::plain());
        let mut objects = Vec::new();
        for grant in grants_of(provider) {
            objects.extend(grant.objects()?);
        }
        artifacts.extend(folder.with_objects("role.yaml", "", &objects)?.artifacts()?);
    }
    Ok(artifacts)
}

pub(crate) fn grants() -> impl Iterator<Item = Granted> {
    PROVIDERS.iter().flat_map(grants_of)
}

fn grants_of(provider: &Provider) -> impl Iterator<Item = Granted> {
    let watched = provider_rules(provider);
    let granting =
        |account: &'static str, rules: &[Rule]| granted(&format!("{account}-{}", provider.name), account, None, rules);
    let webhook = (!watched.is_empty()).then(|| granting(WEBHOOK, &watched));
    std::iter::once(granting(CONTROLLER, provider.rules)).chain(webhook)
}
