//! Who trusts the servers: our webhook configurations, and the ExtensionConfig.

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::try_join_all;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};

use super::{
    decision::{Configuration, Entry, Extension},
    read::bundle,
};
use crate::api::{Error, FIELD_MANAGER, call};

/// A webhook configuration, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookConfiguration {
    /// A `MutatingWebhookConfiguration` of this name.
    Mutating(String),
    /// A `ValidatingWebhookConfiguration` of this name.
    Validating(String),
}

impl WebhookConfiguration {
    fn name(&self) -> &str {
        match self {
            Self::Mutating(name) | Self::Validating(name) => name,
        }
    }

    fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Mutating(_) => ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
            Self::Validating(_) => ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
        }
    }

    /// What tells it from another one in a decision.
    fn title(&self) -> String {
        format!("{} {}", self.kind().0, self.name())
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        let (kind, plural) = self.kind();
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural))
    }
}

/// One that is installed, as it was read.
pub(super) struct Found {
    configuration: WebhookConfiguration,
    object: DynamicObject,
}

impl Found {
    /// What it trusts.
    pub(super) fn seen(&self) -> Configuration {
        let webhooks = self.object.data["webhooks"].as_array();
        let bundles = webhooks
            .into_iter()
            .flatten()
            .map(|webhook| trusted(&webhook["clientConfig"]));
        Configuration {
            name: self.configuration.title(),
            bundles: bundles.collect(),
        }
    }

    /// Writes the bundle into each of its webhooks, whether it names a Service or a URL.
    pub(super) async fn trust(&self, client: &Client, bundle: &str) -> Result<(), Error> {
        let mut webhooks = self.object.data["webhooks"].clone();
        for webhook in webhooks.as_array_mut().into_iter().flatten() {
            webhook["clientConfig"]["caBundle"] = json!(BASE64_STANDARD.encode(bundle));
        }
        // A list is replaced whole, so nothing may have changed since it was read.
        let patch = json!({
            "metadata": { "resourceVersion": self.object.resource_version() },
            "webhooks": webhooks,
        });
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let (api, patch) = (self.configuration.api(client), Patch::Merge(&patch));
        let patched = api.patch(self.configuration.name(), &parameters, &patch);
        call(|| format!("patching {}", self.configuration.title()), patched).await?;
        Ok(())
    }
}

/// Those of them that are installed.
pub(super) async fn read(client: &Client, configurations: &[WebhookConfiguration]) -> Result<Vec<Found>, Error> {
    let read = configurations.iter().map(async |configuration| {
        let api = configuration.api(client);
        let read = api.get_opt(configuration.name());
        let object = call(|| format!("reading {}", configuration.title()), read).await?;
        Ok::<_, Error>(object.map(|object| Found {
            configuration: configuration.clone(),
            object,
        }))
    });
    Ok(try_join_all(read).await?.into_iter().flatten().collect())
}

/// What Cluster API trusts when it calls Runtime Hooks: it copies the bundle from the Secret.
pub(super) async fn extension(api: &Api<DynamicObject>, name: &str) -> Result<Extension, Error> {
    let found = call(|| format!("reading ExtensionConfig {name}"), api.get_opt(name)).await?;
    Ok(found.map_or(Extension::Absent, |found| {
        Extension::Present(trusted(&found.data["spec"]["clientConfig"]))
    }))
}

fn trusted(client_config: &Value) -> Vec<Entry> {
    let text = client_config["caBundle"].as_str().unwrap_or_default();
    BASE64_STANDARD
        .decode(text)
        .map_or_else(|_| vec![Entry::Unreadable], |pem| bundle(&pem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_webhook_has_its_bundle() {
        let object = serde_json::from_value(json!({
            "metadata": { "name": "v" },
            "webhooks": [
                { "clientConfig": { "url": "https://127.0.0.1/a", "caBundle": "Z2FyYmxlZA==" } },
                { "clientConfig": { "service": { "name": "s", "namespace": "n" } } },
            ],
        }));
        let found = Found {
            configuration: WebhookConfiguration::Validating("v".to_owned()),
            object: object.unwrap(),
        };
        let seen = found.seen();
        assert_eq!(seen.name, "ValidatingWebhookConfiguration v");
        assert_eq!(seen.bundles, [vec![Entry::Unreadable], vec![]]);
    }
}
