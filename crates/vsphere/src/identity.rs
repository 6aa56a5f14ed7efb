//! With whose identity a VSphereCluster talks to its vCenter, as the provider itself decides it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;
use serde_json::Value;

use crate::{address::Address, thumbprint::Thumbprint};

/// The vCenter of a VSphereCluster, and who talks to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VCenter {
    pub address: Address,
    pub thumbprint: Thumbprint,
    pub identity: Identity,
}

/// Where the credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A Secret in the namespace of the VSphereCluster.
    Secret(String),
    /// A VSphereClusterIdentity, whose Secret is in the namespace of the provider.
    ClusterIdentity(String),
}

/// Why no credentials are sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The object isn't what the provider's definition says.
    #[error("it can't be read: {0}")]
    Unreadable(String),
    /// No address.
    #[error("spec.server can't be used: {0}")]
    Server(&'static str),
    /// Nothing says which server is the right one.
    #[error(
        "it has no spec.thumbprint, so nothing tells its vCenter from another server, and no credentials are sent: set the \
         SHA-1 thumbprint of the vCenter's certificate there"
    )]
    NoThumbprint,
    /// It is no hash.
    #[error("spec.thumbprint is neither 20 nor 32 bytes in hexadecimal digits")]
    Thumbprint,
    /// The provider's own credentials would be used, to which Instar has no right.
    #[error("it has no spec.identityRef, and the provider's own credentials are not used")]
    NoIdentity,
    /// A kind that isn't known.
    #[error("spec.identityRef names the kind {0}, which is neither Secret nor VSphereClusterIdentity")]
    IdentityKind(String),
    /// The platform hasn't let this namespace use it.
    #[error("spec.allowedNamespaces doesn't let namespace {0} use it")]
    NotAllowed(String),
    /// The provider hasn't found its Secret.
    #[error("its status.ready is not true")]
    NotReady,
}

#[derive(Deserialize)]
struct Object<S> {
    spec: S,
    #[serde(default)]
    status: IdentityStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClusterSpec {
    #[serde(default)]
    server: String,
    #[serde(default)]
    thumbprint: String,
    identity_ref: Option<IdentityRef>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct IdentityRef {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentitySpec {
    secret_name: String,
    allowed_namespaces: Option<AllowedNamespaces>,
}

#[derive(Deserialize)]
struct AllowedNamespaces {
    #[serde(default)]
    selector: LabelSelector,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct IdentityStatus {
    ready: bool,
}

fn read<S: for<'d> Deserialize<'d>>(object: &Value) -> Result<Object<S>, IdentityError> {
    // The error may show a value, and these objects have no credentials in them.
    Object::deserialize(object).map_err(|error| IdentityError::Unreadable(error.to_string()))
}

impl VCenter {
    /// Reads a VSphereCluster.
    ///
    /// # Errors
    /// What it lacks for credentials to be sent.
    pub fn of(vsphere_cluster: &Value) -> Result<Self, IdentityError> {
        let Object { spec, .. } = read::<ClusterSpec>(vsphere_cluster)?;
        let address = Address::parse(&spec.server).map_err(IdentityError::Server)?;
        let identity = spec.identity_ref.unwrap_or_default();
        let identity = match (identity.kind.as_str(), identity.name) {
            ("", _) => return Err(IdentityError::NoIdentity),
            ("Secret", name) => Identity::Secret(name),
            ("VSphereClusterIdentity", name) => Identity::ClusterIdentity(name),
            (kind, _) => return Err(IdentityError::IdentityKind(kind.to_owned())),
        };
        if spec.thumbprint.is_empty() {
            return Err(IdentityError::NoThumbprint);
        }
        let thumbprint = Thumbprint::parse(&spec.thumbprint).ok_or(IdentityError::Thumbprint)?;
        Ok(Self {
            address,
            thumbprint,
            identity,
        })
    }
}

/// The Secret of a VSphereClusterIdentity, where it lets a namespace with these labels use it.
///
/// # Errors
/// Why it doesn't.
pub fn allowed_secret(
    identity: &Value,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Result<String, IdentityError> {
    let Object { spec, status } = read::<IdentitySpec>(identity)?;
    if !status.ready {
        return Err(IdentityError::NotReady);
    }
    // Without the field no namespace may; an empty selector lets all.
    let selector = spec
        .allowed_namespaces
        .map(|allowed| Selector::try_from(allowed.selector));
    let allows = match selector {
        Some(Ok(selector)) => selector.matches(labels),
        Some(Err(_)) | None => false,
    };
    if allows {
        Ok(spec.secret_name)
    } else {
        Err(IdentityError::NotAllowed(namespace.to_owned()))
    }
}

/// Where a machine template wants its VMs, as far as it says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Location {
    pub datacenter: Option<String>,
    /// Another one than the VSphereCluster's.
    pub server: Option<String>,
}

impl Location {
    /// Reads a VSphereMachineTemplate.
    ///
    /// # Errors
    /// Where it isn't what the provider's definition says.
    pub fn of(template: &Value) -> Result<Self, IdentityError> {
        let spec = template.pointer("/spec/template/spec");
        let spec = spec.ok_or_else(|| IdentityError::Unreadable("it has no spec.template.spec".to_owned()))?;
        Self::deserialize(spec).map_err(|error| IdentityError::Unreadable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const THUMBPRINT: &str = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";

    #[test]
    fn a_cluster_says_where_to_and_with_whose_credentials() {
        let of = |kind: Option<&str>, thumbprint: &str| {
            let identity = kind.map(|kind| json!({ "kind": kind, "name": "i" }));
            VCenter::of(&json!({ "spec": { "server": "vc", "thumbprint": thumbprint, "identityRef": identity } }))
        };
        let identity = |kind| of(Some(kind), THUMBPRINT).map(|vcenter| vcenter.identity);
        assert_eq!(identity("Secret"), Ok(Identity::Secret("i".to_owned())));
        assert_eq!(
            identity("VSphereClusterIdentity"),
            Ok(Identity::ClusterIdentity("i".to_owned()))
        );
        assert_eq!(
            identity("ConfigMap"),
            Err(IdentityError::IdentityKind("ConfigMap".to_owned()))
        );
        assert_eq!(of(None, THUMBPRINT), Err(IdentityError::NoIdentity));
        assert_eq!(of(Some("Secret"), ""), Err(IdentityError::NoThumbprint));
        assert_eq!(of(Some("Secret"), "x"), Err(IdentityError::Thumbprint));
        let server = VCenter::of(&json!({ "spec": { "server": "http://vc" } }));
        assert_eq!(server, Err(IdentityError::Server("its scheme is not https")));
        assert!(matches!(VCenter::of(&json!({})), Err(IdentityError::Unreadable(_))));
    }

    #[test]
    fn an_identity_is_for_the_namespaces_that_it_selects() {
        let identity = |allowed: Value, ready: bool| json!({ "spec": { "secretName": "s", "allowedNamespaces": allowed }, "status": { "ready": ready } });
        let labels = BTreeMap::from([("tier".to_owned(), "prod".to_owned())]);
        let of = |allowed: Value| allowed_secret(&identity(allowed, true), "n", &labels);
        let not_allowed = Err(IdentityError::NotAllowed("n".to_owned()));
        for (allowed, result) in [
            (json!({ "selector": {} }), Ok("s".to_owned())),
            (json!({}), Ok("s".to_owned())),
            (
                json!({ "selector": { "matchLabels": { "tier": "prod" } } }),
                Ok("s".to_owned()),
            ),
            (
                json!({ "selector": { "matchLabels": { "tier": "dev" } } }),
                not_allowed.clone(),
            ),
            (
                json!({ "selector": { "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["prod"] }] } }),
                not_allowed.clone(),
            ),
            (
                json!({ "selector": { "matchExpressions": [{ "key": "tier", "operator": "Nonsense" }] } }),
                not_allowed.clone(),
            ),
            (Value::Null, not_allowed),
        ] {
            assert_eq!(of(allowed.clone()), result, "{allowed}");
        }
        let not_ready = allowed_secret(&identity(json!({ "selector": {} }), false), "n", &labels);
        assert_eq!(not_ready, Err(IdentityError::NotReady));
    }

    #[test]
    fn a_template_says_where_its_machines_go() {
        let of = |spec: Value| Location::of(&json!({ "spec": { "template": { "spec": spec } } })).unwrap();
        assert_eq!(of(json!({ "template": "t" })), Location::default());
        let both = of(json!({ "datacenter": "DC0", "server": "vc2" }));
        assert_eq!(
            (both.datacenter.as_deref(), both.server.as_deref()),
            (Some("DC0"), Some("vc2"))
        );
        assert!(Location::of(&json!({ "spec": {} })).is_err());
    }
}
