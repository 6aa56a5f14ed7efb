//! The kubeconfig of a workload cluster, as a Secret holds it.
//!
//! Whoever writes the Secret could name a program to run, a file to send, or a proxy to send it through. So only inline
//! data is read: a server, its certificate authorities, and a client certificate with its key or a token. Everything
//! else is refused by its name. No error contains a value or a name from the text, which may be a key out of place.
//!
//! Invariants: no client, no IO, no clock; every function is total.

mod error;

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

pub use error::{Entry, KubeconfigError};
use error::{Refused, refused};

/// What the text of a kubeconfig may have. Cluster API writes about 6 KiB.
const MOST_BYTES: usize = 256 * 1024;

const MOST_AUTHORITIES: usize = 64;
const MOST_SERVER: usize = 2048;
const MOST_TOKEN: usize = 16 * 1024;

const READ_OF_CLUSTER: [&str; 2] = ["server", "certificate-authority-data"];
const READ_OF_USER: [&str; 3] = ["client-certificate-data", "client-key-data", "token"];

/// What changes nothing about where a request goes and what it carries.
const IGNORED_OF_CLUSTER: [&str; 2] = ["extensions", "disable-compression"];
const IGNORED_OF_USER: [&str; 1] = ["extensions"];

/// How to reach the API server of a workload cluster.
#[derive(Clone)]
pub struct Kubeconfig {
    pub(crate) server: Uri,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    pub(crate) certificate: Option<ClientCertificate>,
    pub(crate) token: Option<SecretString>,
}

/// A client certificate and its key, each as PEM in base64.
#[derive(Clone)]
pub(crate) struct ClientCertificate {
    pub(crate) chain: String,
    pub(crate) key: SecretString,
}

/// Where it leads, and nothing that opens it.
impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubeconfig")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    current_context: Option<String>,
    #[serde(default)]
    contexts: Option<Vec<NamedContext>>,
    #[serde(default)]
    clusters: Option<Vec<NamedCluster>>,
    #[serde(default)]
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Map<String, Value>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Map<String, Value>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Map<String, Value>,
}

/// The entries that the current context names.
struct Current<'f> {
    cluster: &'f Map<String, Value>,
    user: &'f Map<String, Value>,
}

impl Kubeconfig {
    /// Reads the current context of a kubeconfig.
    ///
    /// # Errors
    /// The field that can't be used, and what to write instead.
    pub fn read(bytes: &[u8]) -> Result<Self, KubeconfigError> {
        if bytes.len() > MOST_BYTES {
            return Err(KubeconfigError::TooLarge { most: MOST_BYTES });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| KubeconfigError::NotText)?;
        let options = serde_saphyr::options! {
            // An excerpt of the text could be a key.
            with_snippet: false,
        };
        let file: Option<File> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let location = error.location();
            KubeconfigError::NotKubeconfig {
                line: location.map_or(0, |location| location.line()),
            }
        })?;
        let file = file.ok_or(KubeconfigError::NotKubeconfig { line: 0 })?;
        let Current { cluster, user } = file.current()?;
        allow_only(Entry::Cluster, cluster, &READ_OF_CLUSTER, &IGNORED_OF_CLUSTER)?;
        allow_only(Entry::User, user, &READ_OF_USER, &IGNORED_OF_USER)?;
        let read = Self {
            server: server(cluster)?,
            authorities: authorities(cluster)?,
            certificate: client_certificate(user)?,
            token: token(user)?,
        };
        if read.certificate.is_none() && read.token.is_none() {
            return Err(KubeconfigError::NoCredentials);
        }
        Ok(read)
    }

    /// The server's host and port, for messages.
    #[must_use]
    pub fn host(&self) -> &str {
        self.server.authority().map_or("", |authority| authority.as_str())
    }

    /// The certificates that its certificates are signed with, as DER.
    pub fn authorities(&self) -> impl Iterator<Item = &[u8]> {
        self.authorities.iter().map(AsRef::as_ref)
    }
}

impl File {
    fn current(&self) -> Result<Current<'_>, KubeconfigError> {
        let current = self.current_context.as_deref().filter(|name| !name.is_empty());
        let current = current.ok_or(KubeconfigError::Missing {
            field: "current-context",
        })?;
        let contexts = self.contexts.iter().flatten();
        let context = only_one(
            contexts.filter(|named| named.name == current),
            "contexts",
            "current-context",
        )?;
        let context = &context.context;
        let cluster = required(Entry::Context, context, "cluster")?;
        let clusters = self.clusters.iter().flatten();
        let cluster = only_one(
            clusters.filter(|named| named.name == cluster),
            "clusters",
            "contexts[].context.cluster",
        )?;
        let user = required(Entry::Context, context, "user")?;
        let users = self.users.iter().flatten();
        let user = only_one(
            users.filter(|named| named.name == user),
            "users",
            "contexts[].context.user",
        )?;
        Ok(Current {
            cluster: &cluster.cluster,
            user: &user.user,
        })
    }
}

/// The one entry that a name means. Readers of kubeconfigs don't agree which one of several counts.
fn only_one<T>(
    mut found: impl Iterator<Item = T>,
    list: &'static str,
    named_by: &'static str,
) -> Result<T, KubeconfigError> {
    let first = found.next().ok_or(KubeconfigError::NoEntry { list, named_by })?;
    match found.next() {
        None => Ok(first),
        Some(_) => Err(KubeconfigError::SeveralEntries { list, named_by }),
    }
}

fn allow_only(
    of: Entry,
    entry: &Map<String, Value>,
    read: &[&'static str],
    ignored: &[&'static str],
) -> Result<(), KubeconfigError> {
    for (field, value) in entry {
        let field = field.as_str();
        if !is_set(value) || read.contains(&field) || ignored.contains(&field) {
            continue;
        }
        return Err(match refused(of, field) {
            Some(Refused { field, why }) => KubeconfigError::Refused { of, field, why },
            None => KubeconfigError::UnknownField {
                of,
                read: read.join(", "),
            },
        });
    }
    Ok(())
}

/// What a reader of kubeconfigs takes as absent isn't refused.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

fn optional<'e>(
    of: Entry,
    entry: &'e Map<String, Value>,
    field: &'static str,
) -> Result<Option<&'e str>, KubeconfigError> {
    match entry.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(KubeconfigError::invalid(of, field, "is not a text"))
        }
    }
}

fn required<'e>(of: Entry, entry: &'e Map<String, Value>, field: &'static str) -> Result<&'e str, KubeconfigError> {
    optional(of, entry, field)?.ok_or(KubeconfigError::MissingIn { of, field })
}

fn server(cluster: &Map<String, Value>) -> Result<Uri, KubeconfigError> {
    let field = "server";
    let invalid = |why| KubeconfigError::invalid(Entry::Cluster, field, why);
    let text = required(Entry::Cluster, cluster, field)?;
    if text.len() > MOST_SERVER {
        return Err(invalid("is longer than 2048 bytes"));
    }
    let server: Uri = text.parse().map_err(|_| invalid("is not a URL"))?;
    if server.scheme_str() != Some("https") {
        return Err(invalid("does not begin with https://"));
    }
    if server.host().is_none_or(str::is_empty) {
        return Err(invalid("names no host"));
    }
    if server
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(invalid("contains a user"));
    }
    if server.query().is_some() {
        return Err(invalid("has a query"));
    }
    Ok(server)
}

fn authorities(cluster: &Map<String, Value>) -> Result<Vec<CertificateDer<'static>>, KubeconfigError> {
    let field = "certificate-authority-data";
    let invalid = |why| KubeconfigError::invalid(Entry::Cluster, field, why);
    let data = required(Entry::Cluster, cluster, field)?;
    let pem = decoded(data).ok_or_else(|| invalid("is not base64"))?;
    let authorities = certificates(&pem).ok_or_else(|| invalid("holds no certificate in PEM"))?;
    if authorities.len() > MOST_AUTHORITIES {
        return Err(invalid("holds more than 64 certificates"));
    }
    Ok(authorities)
}

fn client_certificate(user: &Map<String, Value>) -> Result<Option<ClientCertificate>, KubeconfigError> {
    let (of_chain, of_key) = ("client-certificate-data", "client-key-data");
    let chain = optional(Entry::User, user, of_chain)?;
    let key = optional(Entry::User, user, of_key)?;
    let (chain, key) = match (chain, key) {
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return Err(KubeconfigError::MissingIn {
                of: Entry::User,
                field: of_key,
            });
        }
        (None, Some(_)) => {
            return Err(KubeconfigError::MissingIn {
                of: Entry::User,
                field: of_chain,
            });
        }
        (Some(chain), Some(key)) => (chain, key),
    };
    let invalid = |field, why| KubeconfigError::invalid(Entry::User, field, why);
    let pem = decoded(chain).ok_or_else(|| invalid(of_chain, "is not base64"))?;
    certificates(&pem).ok_or_else(|| invalid(of_chain, "holds no certificate in PEM"))?;
    let pem = SecretString::from(
        decoded(key)
            .and_then(|pem| String::from_utf8(pem).ok())
            .ok_or_else(|| invalid(of_key, "is not base64 of a text"))?,
    );
    PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes())
        .map_err(|_| invalid(of_key, "holds no private key in PEM"))?;
    Ok(Some(ClientCertificate {
        chain: chain.to_owned(),
        key: key.to_owned().into(),
    }))
}

fn token(user: &Map<String, Value>) -> Result<Option<SecretString>, KubeconfigError> {
    let field = "token";
    let Some(token) = optional(Entry::User, user, field)? else {
        return Ok(None);
    };
    // It becomes a header.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "contains characters that no token has";
        return Err(KubeconfigError::invalid(Entry::User, field, why));
    }
    if token.len() > MOST_TOKEN {
        return Err(KubeconfigError::invalid(
            Entry::User,
            field,
            "is longer than 16384 bytes",
        ));
    }
    Ok(Some(token.to_owned().into()))
}

fn decoded(base64: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(base64).ok()
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty())
}

#[cfg(test)]
mod tests;
