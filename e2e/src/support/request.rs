//! A request as it goes over the wire, with the warnings that come back: kube hides those.

use anyhow::{Context, Result};
use axum::http::Request;
use kube::{
    Client, Resource,
    api::DeleteParams,
    client::Body,
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::Value;

/// The API server's response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiResponse {
    /// The HTTP code.
    pub code: u16,
    /// The reason of a refusal, as Kubernetes names it; empty where it is none.
    pub reason: String,
    /// The message of a refusal.
    pub message: String,
    /// The warnings, in the order in which they came.
    pub warnings: Vec<String>,
}

/// A request that changes one object.
#[derive(Debug, Clone)]
pub struct ApiRequest<'a> {
    /// The kind, with its plural.
    pub resource: &'a ApiResource,
    /// The namespace, if it has one.
    pub namespace: Option<&'a str>,
    /// The object's name.
    pub name: &'a str,
    /// What is to be done.
    pub verb: Verb<'a>,
    /// Whether nothing is to be stored.
    pub is_dry_run: bool,
}

/// What is to be done to an object.
#[derive(Debug, Clone)]
pub enum Verb<'a> {
    /// It is created.
    Create(&'a Value),
    /// It is replaced, by a text as it is: what a serializer would never write gets through.
    Replace(String),
    /// A merge patch.
    Merge(&'a Value),
    /// A JSON patch.
    Patch(&'a Value),
    /// It is deleted.
    Delete,
}

impl ApiRequest<'_> {
    /// Sends it, and reads the response.
    pub async fn send(&self, client: &Client) -> Result<ApiResponse> {
        let (method, content, body) = match &self.verb {
            Verb::Create(object) => ("POST", "application/json", object.to_string()),
            Verb::Replace(text) => ("PUT", "application/json", text.clone()),
            Verb::Merge(patch) => ("PATCH", "application/merge-patch+json", patch.to_string()),
            Verb::Patch(patch) => ("PATCH", "application/json-patch+json", patch.to_string()),
            Verb::Delete => {
                let params = DeleteParams {
                    dry_run: self.is_dry_run,
                    ..DeleteParams::default()
                };
                ("DELETE", "application/json", serde_json::to_string(&params)?)
            }
        };
        let mut path = DynamicObject::url_path(self.resource, self.namespace);
        if !matches!(self.verb, Verb::Create(_)) {
            path = format!("{path}/{}", self.name);
        }
        if self.is_dry_run && !matches!(self.verb, Verb::Delete) {
            path.push_str("?dryRun=All");
        }
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .header("content-type", content)
            .body(Body::from(body.into_bytes()))?;
        let response = client.send(request).await.with_context(|| format!("{method} {path}"))?;
        let code = response.status().as_u16();
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|value| Ok(warning(value.to_str()?)))
            .collect::<Result<_>>()?;
        let body = response.into_body().collect_bytes().await?;
        let status: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |field: &str| {
            let is_status = status["kind"] == "Status" && code >= 400;
            let text = status[field].as_str().filter(|_| is_status);
            text.unwrap_or_default().to_owned()
        };
        Ok(ApiResponse {
            code,
            reason: text("reason"),
            message: text("message"),
            warnings,
        })
    }
}

/// The text of a warning: `299 - "text"`, with its quotes escaped. Source: RFC 7234, 5.5.
fn warning(header: &str) -> String {
    let text = header.splitn(3, ' ').nth(2).unwrap_or(header);
    let text = text.strip_prefix('"').unwrap_or(text);
    let text = text.strip_suffix('"').unwrap_or(text);
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.extend(letters.next()),
            letter => plain.push(letter),
        }
    }
    plain
}

/// The resource of a kind at a version.
#[must_use]
pub fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        assert_eq!(warning(r#"299 - "rule \"x\" says \\ no""#), r#"rule "x" says \ no"#);
        assert_eq!(warning("odd"), "odd");
    }
}
