//! With whose identity a VSphereCluster talks to its vCenter, as the provider itself decides it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;
use serde_json::Value;

use crate::{address::Address, thumbprint::Thumbprint};

/// The provider's.
const GROUP: &str = "infrastructure.cluster.x-k8s.io";

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

/// Whose a Secret with credentials has to be. The provider adds the owner, and takes no Secret that another one has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `VSphereCluster` or `VSphereClusterIdentity`.
    pub kind: &'static str,
    pub name: String,
    pub uid: String,
}

impl Owner {
    /// That a Secret with these `ownerReferences` is its.
    ///
    /// # Errors
    /// Where it isn't.
    pub fn owns(&self, secret: &str, references: &[OwnerReference]) -> Result<(), IdentityError> {
        let is_it = |reference: &OwnerReference| {
            let group = reference.api_version.split_once('/').map(|(group, _)| group);
            group == Some(GROUP)
                && reference.kind == self.kind
                && reference.name == self.name
                && reference.uid == self.uid
        };
        if !self.uid.is_empty() && references.iter().any(is_it) {
            return Ok(());
        }
        Err(IdentityError::NotOwned {
            secret: secret.to_owned(),
            kind: self.kind,
            name: self.name.clone(),
        })
    }
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
    /// It would be part of a path and of a command.
    #[error("{0} is no name that a Secret or a VSphereClusterIdentity can have")]
    Name(&'static str),
    /// It is somebody else's, or nobody's yet.
    #[error(
        "Secret {secret} isn't this {kind}'s: its metadata.ownerReferences don't name {kind} {name} with its uid, as Cluster \
         API Provider vSphere sets it for the one that the Secret is for"
    )]
    NotOwned {
        secret: String,
        kind: &'static str,
        name: String,
    },
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
            ("Secret" | "VSphereClusterIdentity", name) if !is_name(&name) => {
                return Err(IdentityError::Name("spec.identityRef.name"));
            }
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
    if !allows {
        return Err(IdentityError::NotAllowed(namespace.to_owned()));
    }
    if !is_name(&spec.secret_name) {
        return Err(IdentityError::Name("spec.secretName"));
    }
    Ok(spec.secret_name)
}

/// Whether it is a DNS subdomain as RFC 1123 has it, which names of objects are.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let may_be = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(may_be)
    };
    text.len() <= 253 && text.split('.').all(is_label)
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
    fn a_name_that_no_object_can_have_is_refused() {
        let long = "a".repeat(254);
        for name in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "A",
            "a/b",
            "../a",
            "a?b",
            "a b",
            "a;b",
            "$(a)",
            "a\n",
            long.as_str(),
        ] {
            for kind in ["Secret", "VSphereClusterIdentity"] {
                let spec = json!({
                    "server": "vc", "thumbprint": THUMBPRINT, "identityRef": { "kind": kind, "name": name },
                });
                let refused = Err(IdentityError::Name("spec.identityRef.name"));
                assert_eq!(VCenter::of(&json!({ "spec": spec })), refused, "{kind} {name:?}");
            }
            let spec = json!({ "secretName": name, "allowedNamespaces": {} });
            let identity = json!({ "spec": spec, "status": { "ready": true } });
            let refused = Err(IdentityError::Name("spec.secretName"));
            assert_eq!(allowed_secret(&identity, "n", &BTreeMap::new()), refused, "{name:?}");
        }
        assert!(is_name("a") && is_name("my-vc.creds-1") && is_name(&long[1..]));
    }

    #[test]
    fn a_secret_is_used_for_the_one_that_owns_it() {
        let owner = Owner {
            kind: "VSphereCluster",
            name: "vc".to_owned(),
            uid: "1".to_owned(),
        };
        let reference = |api_version: &str, kind: &str, name: &str, uid: &str| OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        };
        let beta = "infrastructure.cluster.x-k8s.io/v1beta1";
        let it = reference(beta, "VSphereCluster", "vc", "1");
        assert_eq!(owner.owns("s", &[reference("v1", "Pod", "p", "2"), it.clone()]), Ok(()));
        for other in [
            reference(beta, "VSphereCluster", "vc", "2"),
            reference(beta, "VSphereCluster", "vc2", "1"),
            reference(beta, "VSphereClusterIdentity", "vc", "1"),
            reference("example.org/v1beta1", "VSphereCluster", "vc", "1"),
        ] {
            assert!(owner.owns("s", &[other]).is_err());
        }
        let error = owner.owns("s", &[]).unwrap_err().to_string();
        assert!(error.starts_with("Secret s isn't this VSphereCluster's: "), "{error}");
        let no_uid = Owner {
            uid: String::new(),
            ..owner
        };
        assert!(
            no_uid
                .owns("s", &[reference(beta, "VSphereCluster", "vc", "")])
                .is_err()
        );
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
