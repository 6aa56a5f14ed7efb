//! What a client asks of the API server, read from its request.

use axum::{
    body::Bytes,
    http::{Method, request::Parts},
};
use serde_json::Value;

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// One object, or something that is no resource: `/version`, discovery.
    Get,
    /// All objects of a kind.
    List,
    /// The changes of a kind.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH, also a server-side apply.
    Patch,
    /// DELETE, of one object or of a collection.
    Delete,
}

/// What verbs have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Get and List.
    Read,
    /// Watch.
    Watch,
    /// All others.
    Write,
}

impl Verb {
    /// Its class.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Get | Self::List => Class::Read,
            Self::Watch => Class::Watch,
            Self::Create | Self::Update | Self::Patch | Self::Delete => Class::Write,
        }
    }
}

/// Whether a write is only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRun {
    /// It counts.
    No,
    /// `dryRun=All`.
    All,
}

/// What a client asks. What is no resource has an empty `resource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRequest {
    /// What is done.
    pub verb: Verb,
    /// The API group; empty for the core's.
    pub group: String,
    /// The version of the group.
    pub version: String,
    /// The resource: `clusters`.
    pub resource: String,
    /// The subresource: `status`.
    pub subresource: Option<String>,
    /// The namespace; none where all are meant, and for what has none.
    pub namespace: Option<String>,
    /// The object's name; that of a created one is read from the body, where it is JSON.
    pub name: Option<String>,
    /// Whether it is only tried.
    pub dry_run: DryRun,
    /// Path and query, as they came.
    pub path: String,
    /// The body, as it came.
    pub body: Bytes,
}

impl ObservedRequest {
    pub(super) fn read(parts: &Parts, body: &Bytes) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let has = |wanted: &str| query.split('&').any(|pair| pair == wanted);
        let place = Place::read(parts.uri.path());
        let is_create = parts.method == Method::POST;
        Self {
            verb: match parts.method {
                Method::POST => Verb::Create,
                Method::PUT => Verb::Update,
                Method::PATCH => Verb::Patch,
                Method::DELETE => Verb::Delete,
                _ if has("watch=true") || has("watch=1") => Verb::Watch,
                _ if place.name.is_none() && !place.resource.is_empty() => Verb::List,
                _ => Verb::Get,
            },
            group: place.group.to_owned(),
            version: place.version.to_owned(),
            resource: place.resource.to_owned(),
            subresource: place.subresource.map(ToOwned::to_owned),
            namespace: place.namespace.map(ToOwned::to_owned),
            name: match place.name {
                Some(name) => Some(name.to_owned()),
                None if is_create => name_in(body),
                None => None,
            },
            dry_run: if has("dryRun=All") { DryRun::All } else { DryRun::No },
            path: parts
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
            body: body.clone(),
        }
    }
}

/// Where a path leads.
#[derive(Debug, Default)]
struct Place<'a> {
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: Option<&'a str>,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn read(path: &'a str) -> Self {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let (group, version, rest) = match words.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Self::default(),
        };
        let (namespace, rest) = match rest {
            // Of the namespace itself; any other third word is a resource in it.
            ["namespaces", _, "status" | "finalize", ..] => (None, rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            _ => (None, rest),
        };
        Self {
            group,
            version,
            resource: rest.first().copied().unwrap_or_default(),
            subresource: rest.get(2).copied(),
            namespace,
            name: rest.get(1).copied(),
        }
    }
}

fn name_in(body: &Bytes) -> Option<String> {
    let object: Value = serde_json::from_slice(body).ok()?;
    Some(object.pointer("/metadata/name")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn read(method: Method, uri: &str, body: &'static str) -> ObservedRequest {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        ObservedRequest::read(&request.into_parts().0, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn paths_are_read_as_the_api_server_reads_them() {
        let told = |request: ObservedRequest| {
            format!(
                "{:?} {}/{} {:?} {:?} {:?}",
                request.verb, request.group, request.resource, request.subresource, request.namespace, request.name
            )
        };
        let cases = [
            ("/api/v1/namespaces", "List /namespaces None None None"),
            ("/api/v1/namespaces/a", "Get /namespaces None None Some(\"a\")"),
            (
                "/api/v1/namespaces/a/status",
                "Get /namespaces Some(\"status\") None Some(\"a\")",
            ),
            (
                "/api/v1/namespaces/a/configmaps?watch=true",
                "Watch /configmaps None Some(\"a\") None",
            ),
            (
                "/apis/cluster.x-k8s.io/v1beta2/clusters?limit=500&watch=1",
                "Watch cluster.x-k8s.io/clusters None None None",
            ),
            (
                "/apis/cluster.x-k8s.io/v1beta2/namespaces/a/clusters/c/status",
                "Get cluster.x-k8s.io/clusters Some(\"status\") Some(\"a\") Some(\"c\")",
            ),
            ("/version", "Get / None None None"),
            ("/apis/cluster.x-k8s.io/v1beta2", "Get cluster.x-k8s.io/ None None None"),
        ];
        for (uri, expected) in cases {
            assert_eq!(told(read(Method::GET, uri, "")), expected, "{uri}");
        }
    }

    #[test]
    fn a_created_object_is_named_by_its_body() {
        let request = read(
            Method::POST,
            "/api/v1/namespaces/a/configmaps?&dryRun=All",
            "{\"metadata\":{\"name\":\"m\"}}",
        );
        assert_eq!(
            (request.verb, request.name.as_deref(), request.dry_run),
            (Verb::Create, Some("m"), DryRun::All)
        );
    }
}
