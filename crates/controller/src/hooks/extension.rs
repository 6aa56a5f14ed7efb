//! The ExtensionConfig: Cluster API's object that says where a Runtime Extension answers, and for which namespaces.

use instar_api::{HOOKS_ENABLED, HOOKS_LABEL};
use instar_watch::is_not_found;
use k8s_openapi::ByteString;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};

use crate::api::{Error, FIELD_MANAGER, call};

/// Its name: handlers are named HANDLER.instar.
pub(crate) const NAME: &str = "instar";

/// The label that clusterctl knows what belongs to Instar by. Without it an object of that name is another's.
const PROVIDER: (&str, &str) = ("cluster.x-k8s.io/provider", "runtime-extension-instar");

/// Cluster API's controller reads the CA from the Secret that this annotation names.
const INJECT_CA: &str = "runtime.cluster.x-k8s.io/inject-ca-from-secret";

/// What Cluster API's webhook says of any ExtensionConfig while the feature gate is off.
const GATE_OFF: &str = "RuntimeSDK feature flag";

/// How Cluster API reaches the admission server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionServer {
    /// By a Service.
    Service {
        namespace: String,
        name: String,
        ca: ExtensionCa,
    },
    /// By a URL.
    Url { url: String, ca: ExtensionCa },
}

/// By which certificates Cluster API knows the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionCa {
    /// Those in `ca.crt` of a Secret, which Cluster API reads itself: cert-manager keeps it.
    Secret { namespace: String, name: String },
    /// These, in PEM.
    Bundle(String),
}

/// Whether a write is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// In a dry run: Cluster API says whether it would take it.
    Tried,
    Made,
}

/// What became of the ExtensionConfig.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Cluster API has it, and has found the server.
    Applied,
    /// Cluster API has it, and hasn't found the server, with what it says of that.
    Undiscovered(String),
    /// Cluster API doesn't take it.
    Refused(String),
}

pub(super) async fn apply(client: &Client, server: &ExtensionServer, write: Write) -> Result<Found, Error> {
    let parameters = PatchParams {
        dry_run: write == Write::Tried,
        ..PatchParams::apply(FIELD_MANAGER)
    };
    let (api, object) = (api(client), Patch::Apply(object(server)));
    let applied = api.patch(NAME, &parameters, &object);
    match call(|| format!("applying ExtensionConfig {NAME}"), applied).await {
        Ok(applied) => Ok(discovered(&applied)),
        Err(error) => refused(&error).map(Found::Refused).ok_or(error),
    }
}

/// Deletes the ExtensionConfig, if there is one and it is Instar's; in a dry run it is only asked for. Says whether there is
/// one, or why it can't be deleted.
pub async fn remove_extension_config(client: &Client, dry_run: bool) -> Result<bool, String> {
    let write = if dry_run { Write::Tried } else { Write::Made };
    match remove(client, "Instar is being removed", write).await {
        Ok(was_there) => Ok(was_there),
        // Cluster API isn't installed, or an older one.
        Err(Error::Call { source, .. }) if is_not_found(&source) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// Deletes it, if it is Instar's, and says whether it was.
pub(super) async fn remove(client: &Client, why: &str, write: Write) -> Result<bool, Error> {
    match ours(client).await? {
        Some(found) => delete(client, &found, why, write).await.map(|()| true),
        None => Ok(false),
    }
}

/// The ExtensionConfig, if there is one and it is Instar's.
pub(super) async fn ours(client: &Client) -> Result<Option<DynamicObject>, Error> {
    let found = call(|| format!("reading ExtensionConfig {NAME}"), api(client).get_opt(NAME)).await?;
    Ok(found.filter(|found| found.labels().get(PROVIDER.0).is_some_and(|value| value == PROVIDER.1)))
}

/// Deletes it as it was read, or not at all.
pub(super) async fn delete(client: &Client, found: &DynamicObject, why: &str, write: Write) -> Result<(), Error> {
    let parameters = DeleteParams {
        dry_run: write == Write::Tried,
        preconditions: Some(Preconditions {
            resource_version: found.resource_version(),
            uid: found.uid(),
        }),
        ..DeleteParams::default()
    };
    call(
        || format!("deleting ExtensionConfig {NAME}"),
        api(client).delete(NAME, &parameters),
    )
    .await?;
    match write {
        Write::Made => tracing::info!("Deleted ExtensionConfig {NAME}: {why}"),
        Write::Tried => {}
    }
    Ok(())
}

pub(crate) fn api(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("runtime.cluster.x-k8s.io", "v1beta2", "ExtensionConfig");
    Api::all_with(
        client.clone(),
        &ApiResource::from_gvk_with_plural(&kind, "extensionconfigs"),
    )
}

fn object(server: &ExtensionServer) -> Value {
    let (mut client_config, ca) = match server {
        ExtensionServer::Service { namespace, name, ca } => (
            json!({ "service": { "namespace": namespace, "name": name, "port": 443 } }),
            ca,
        ),
        ExtensionServer::Url { url, ca } => (json!({ "url": url }), ca),
    };
    let mut metadata = json!({ "name": NAME, "labels": { (PROVIDER.0): PROVIDER.1 } });
    match ca {
        ExtensionCa::Secret { namespace, name } => {
            metadata["annotations"] = json!({ (INJECT_CA): format!("{namespace}/{name}") });
        }
        ExtensionCa::Bundle(pem) => client_config["caBundle"] = json!(ByteString(pem.as_bytes().to_vec())),
    }
    json!({
        "apiVersion": "runtime.cluster.x-k8s.io/v1beta2",
        "kind": "ExtensionConfig",
        "metadata": metadata,
        "spec": {
            "clientConfig": client_config,
            "namespaceSelector": { "matchLabels": { (HOOKS_LABEL): HOOKS_ENABLED } },
        },
    })
}

/// Why Cluster API takes no ExtensionConfig at all; nothing where that isn't what the failure says.
fn refused(error: &Error) -> Option<String> {
    match error {
        Error::Call {
            source: kube::Error::Api(status),
            ..
        } if status.message.contains(GATE_OFF) => Some(
            "Cluster API's feature gate RuntimeSDK is off: start its core with --feature-gates=RuntimeSDK=true"
                .to_owned(),
        ),
        Error::Call {
            source: kube::Error::Api(status),
            ..
        } if status.is_not_found() => {
            Some("the API server knows no kind ExtensionConfig: install Cluster API 1.11 or later".to_owned())
        }
        Error::Call { .. }
        | Error::Tried { .. }
        | Error::Silence { .. }
        | Error::NoRight { .. }
        | Error::NoTurn { .. }
        | Error::NoKind { .. }
        | Error::Unlisted { .. }
        | Error::NotListedYet { .. }
        | Error::CacheBehind { .. }
        | Error::NoContract(_)
        | Error::NotServed { .. }
        | Error::NotMinted(_)
        | Error::Violation(_)
        | Error::NotLeader => None,
    }
}

/// What Cluster API says of having found the server.
fn discovered(applied: &DynamicObject) -> Found {
    let conditions = applied.data.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == "Discovered");
    if found.is_some_and(|condition| condition["status"] == "True") {
        return Found::Applied;
    }
    let message = found
        .and_then(|condition| condition["message"].as_str())
        .unwrap_or_default();
    let colon = if message.is_empty() { "" } else { ": " };
    Found::Undiscovered(format!(
        "Cluster API has not found the admission server by ExtensionConfig {NAME}{colon}{message}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_names_the_server_and_who_opts_in() {
        let secret = ExtensionCa::Secret {
            namespace: "instar-system".to_owned(),
            name: "instar-webhook-cert".to_owned(),
        };
        let service = object(&ExtensionServer::Service {
            namespace: "instar-system".to_owned(),
            name: "instar-webhook".to_owned(),
            ca: secret,
        });
        assert_eq!(
            service["metadata"]["annotations"],
            json!({ "runtime.cluster.x-k8s.io/inject-ca-from-secret": "instar-system/instar-webhook-cert" })
        );
        assert_eq!(
            service["spec"],
            json!({
                "clientConfig": { "service": { "namespace": "instar-system", "name": "instar-webhook", "port": 443 } },
                "namespaceSelector": { "matchLabels": { "upgrade.cluster.x-k8s.io/runtime-hooks": "enabled" } },
            })
        );
        let url = object(&ExtensionServer::Url {
            url: "https://127.0.0.1:9460".to_owned(),
            ca: ExtensionCa::Bundle("PEM".to_owned()),
        });
        assert_eq!(
            url["spec"]["clientConfig"],
            json!({ "url": "https://127.0.0.1:9460", "caBundle": "UEVN" })
        );
        assert_eq!(url["metadata"].get("annotations"), None);
    }

    #[test]
    fn the_condition_says_whether_the_server_was_found() {
        let with = |conditions: Value| -> DynamicObject {
            serde_json::from_value(json!({ "metadata": {}, "status": { "conditions": conditions } })).unwrap()
        };
        assert_eq!(
            discovered(&with(json!([{ "type": "Discovered", "status": "True" }]))),
            Found::Applied
        );
        let start = "Cluster API has not found the admission server by ExtensionConfig instar";
        let paused = json!([{ "type": "Paused", "status": "False" }]);
        assert_eq!(discovered(&with(paused)), Found::Undiscovered(start.to_owned()));
        let failed = json!([{ "type": "Discovered", "status": "False", "message": "Error in discovery: x" }]);
        assert_eq!(
            discovered(&with(failed)),
            Found::Undiscovered(format!("{start}: Error in discovery: x"))
        );
    }
}
