//! Applying the definitions, where no object loses anything by it.

use std::time::Duration;

use instar_api::{
    Definition, GROUP, INSTAR_VERSION_ANNOTATION, STORED_VERSION, missing_fields, pruned_fields, schema_at,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    discovery::ApiResource,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Error, fields::Losses};
use crate::cluster::call;

/// Whose fields those of the definitions are.
const FIELD_MANAGER: &str = "instar-crd";

/// Objects for each page of a list. Records of upgrades have some KiB each.
const PAGE: u32 = 250;

/// How long a new definition may take until it is served.
const SERVED_WITHIN: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What became of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Created,
    Configured,
    Unchanged,
}

impl Applied {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }

    /// Managed fields alone are no change to a user.
    fn of(before: Option<&CustomResourceDefinition>, after: &CustomResourceDefinition) -> Self {
        let Some(before) = before else {
            return Self::Created;
        };
        let same = before.spec == after.spec
            && before.labels() == after.labels()
            && before.annotations() == after.annotations();
        if same { Self::Unchanged } else { Self::Configured }
    }
}

/// Refuses what would take stored versions or fields away.
pub(super) async fn refuse_losses(client: &Client) -> Result<(), Error> {
    let mut losses = Losses::default();
    for definition in Definition::ALL {
        let Some(found) = find(client, definition).await? else {
            continue;
        };
        let stored = found.status.as_ref().and_then(|status| status.stored_versions.as_ref());
        let mut stored = stored.into_iter().flatten();
        if let Some(version) = stored.find(|version| *version != STORED_VERSION) {
            return Err(Error::Stored {
                definition: definition.name(),
                version: version.clone(),
            });
        }
        let kind = found.spec.names.kind.clone();
        let found = serde_json::to_value(&found).map_err(|source| Error::Unreadable {
            what: format!("CustomResourceDefinition {}", definition.name()),
            source,
        })?;
        let ours = definition.schema();
        let theirs = schema_at(&found, STORED_VERSION).unwrap_or_default();
        if !missing_fields(ours, &theirs).is_empty() {
            note_losses(client, definition, &kind, ours, &mut losses).await?;
        }
    }
    match losses.listed() {
        None => Ok(()),
        Some(objects) => Err(Error::Fields { objects }),
    }
}

/// Looks at all objects of a kind, page by page.
async fn note_losses(
    client: &Client,
    definition: Definition,
    kind: &str,
    ours: &Value,
    losses: &mut Losses,
) -> Result<(), Error> {
    let plural = definition.name().split('.').next().unwrap_or_default();
    let resource = ApiResource {
        group: GROUP.to_owned(),
        version: STORED_VERSION.to_owned(),
        api_version: format!("{GROUP}/{STORED_VERSION}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let what = || {
            format!(
                "cannot list {}, to see whether they would lose fields",
                definition.name()
            )
        };
        let page = call(what, api.list(&parameters)).await?;
        for object in page.items {
            let name = match object.namespace() {
                Some(namespace) => format!("{kind} {namespace}/{}", object.name_any()),
                None => format!("{kind} {}", object.name_any()),
            };
            let fields = pruned_fields(&object.data, ours);
            losses.note(|| name, &fields);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Applies a definition. Its fields are Instar's, so what another manager has set is taken over.
pub(super) async fn apply(client: &Client, definition: Definition) -> Result<Applied, Error> {
    let before = find(client, definition).await?;
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let object = Patch::Apply(definition.object());
    let what = || format!("cannot apply CustomResourceDefinition {}", definition.name());
    let after = call(what, api.patch(definition.name(), &parameters, &object)).await?;
    let applied = Applied::of(before.as_ref(), &after);
    tracing::debug!(
        definition = definition.name(),
        version = after.annotations().get(INSTAR_VERSION_ANNOTATION),
        "Applied"
    );
    Ok(applied)
}

/// Waits until the API server serves a definition, so that objects can be applied after it.
pub(super) async fn served(client: &Client, definition: Definition) -> Result<(), Error> {
    let until = Instant::now() + SERVED_WITHIN;
    loop {
        let found = find(client, definition).await?;
        if found.as_ref().is_some_and(is_established) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Error::NotServed {
                definition: definition.name(),
                seconds: SERVED_WITHIN.as_secs(),
            });
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Established" && condition.status == "True")
}

async fn find(client: &Client, definition: Definition) -> Result<Option<CustomResourceDefinition>, Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let what = || format!("cannot get CustomResourceDefinition {}", definition.name());
    Ok(call(what, api.get_opt(definition.name())).await?)
}

#[cfg(test)]
mod tests;
