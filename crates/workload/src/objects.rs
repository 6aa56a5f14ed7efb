//! Objects of any kind, as add-ons and gates name them: read with bounds, and one field of them set.

use std::{fmt, sync::Arc};

use instar_addons::{Target, Wanted};
use instar_api::Observe;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{api::ListParams, core::Selector};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    client::{CallError, WorkloadClient},
    discovery::Resource,
};

/// One more than a gate takes, so that it says that there are too many.
const MOST: usize = 1_001;

/// How much memory the objects of one gate may take together, about: those of several clusters are held at once.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What one value takes, whatever is in it.
const VALUE: usize = 64;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// The objects, by name.
    Objects(Vec<Value>),
    /// The API server doesn't know the kind: its definition may still come.
    NotServed,
    /// More than is read.
    TooLong,
    /// A text that is no name or version of Kubernetes.
    NoName(String),
}

/// What became of a value that is to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOutcome {
    /// It is there.
    There,
    /// It was written.
    Written,
}

/// Why a value was not set.
#[derive(Debug)]
pub enum SetError {
    /// There is no such object, or no such kind.
    NotThere,
    /// The object has changed since it was read.
    Changed,
    /// Another field manager has the field, in the server's words.
    Managed(String),
    /// It was written, and reads back otherwise.
    NotKept(Value),
    NoName(String),
    Call(CallError),
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere => f.write_str("it is not there"),
            Self::Changed => f.write_str("it has changed meanwhile"),
            Self::Managed(message) => write!(f, "{message}"),
            Self::NotKept(found) => write!(f, "it reads back as {found}"),
            Self::NoName(text) => write!(f, "\"{text}\" is no name of Kubernetes"),
            Self::Call(error) => write!(f, "{error}"),
        }
    }
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

/// Reads the objects that a gate looks at. `namespace` is where they are if the gate names none.
///
/// # Errors
/// The first call that failed.
pub async fn observe(client: &WorkloadClient, observe: &Observe, namespace: Option<&str>) -> Result<Seen, CallError> {
    let namespace = observe.namespace.as_deref().or(namespace);
    let named = namespace.into_iter().chain(observe.name.as_deref());
    if let Some(wrong) = wrong(&observe.api_version, named) {
        return Ok(Seen::NoName(wrong.to_owned()));
    }
    let base = base(&observe.api_version);
    let Some(resource) = resource(client, &base, &observe.kind).await? else {
        return Ok(Seen::NotServed);
    };
    let namespace = namespace.filter(|_| resource.namespaced);
    let path = path(&base, &resource, namespace);
    let mut selected = ListParams::default();
    match (&observe.name, &observe.label_selector) {
        // An object in any namespace is found by its name alone.
        (Some(name), _) if resource.namespaced && namespace.is_none() => {
            selected = selected.fields(&format!("metadata.name={name}"));
        }
        (Some(name), _) => {
            return match client.one::<Value>(&format!("{path}/{name}")).await {
                Ok(object) => Ok(Seen::Objects(vec![without_managers(object)])),
                Err(CallError::Refused { code: 404, .. }) => Ok(Seen::Objects(Vec::new())),
                Err(CallError::TooLong { .. }) => Ok(Seen::TooLong),
                Err(error) => Err(error),
            };
        }
        (None, Some(selector)) => match labels(selector.clone()) {
            Some(labels) => selected = selected.labels(&labels),
            None => return Ok(Seen::NoName("labelSelector".to_owned())),
        },
        (None, None) => {}
    }
    let (mut objects, mut bytes) = (Vec::new(), 0);
    let read = client
        .each_selected(&path, selected, MOST, |object: Value| {
            let object = without_managers(object);
            bytes += memory(&object);
            if bytes <= MOST_BYTES {
                objects.push(object);
            }
        })
        .await;
    match read {
        Ok(_) if bytes <= MOST_BYTES => Ok(Seen::Objects(objects)),
        Ok(_) | Err(CallError::TooLong { .. }) => Ok(Seen::TooLong),
        Err(error) => Err(error),
    }
}

/// Sets the one field of an object, where it hasn't the value, and only if the object is as it was read and no other field
/// manager has the field: by server-side apply, or by a merge patch where the API server doesn't know how to apply.
///
/// # Errors
/// Why it isn't set.
pub async fn set(client: &WorkloadClient, target: &Target) -> Result<SetOutcome, SetError> {
    let (path, object) = read_target(client, target).await?;
    if target.is_set(&object) {
        return Ok(SetOutcome::There);
    }
    let query = format!("fieldManager={}&fieldValidation=Strict", target.field_manager());
    let applied = client
        .patch(
            &format!("{path}?{query}&force=false"),
            "application/apply-patch+yaml",
            &target.applied(&object),
        )
        .await;
    let written = match applied {
        // Without managers, only the value says whether another client has set it since.
        Err(CallError::Refused { code: 415, .. }) if target.goes_back() && !target.has_ours(&object) => {
            let found = target.found(&object).cloned().unwrap_or_default();
            return Err(SetError::Managed(format!("another client has set it to {found}")));
        }
        Err(CallError::Refused { code: 415, .. }) => {
            let merged = target.merged(&object);
            client
                .patch(&format!("{path}?{query}"), "application/merge-patch+json", &merged)
                .await
        }
        other => other,
    };
    match written {
        Ok(object) if target.is_set(&object) => Ok(SetOutcome::Written),
        Ok(object) if target.wanted() == Wanted::Absent => {
            Err(SetError::Managed(match target.other_managers(&object).as_slice() {
                [] => "it stays where it is left out".to_owned(),
                managers => format!("it is managed by {}", managers.join(", ")),
            }))
        }
        Ok(object) => Err(SetError::NotKept(target.found(&object).cloned().unwrap_or_default())),
        Err(CallError::Refused { code: 409, message, .. }) if message.starts_with("Apply failed") => {
            Err(SetError::Managed(message))
        }
        Err(CallError::Refused { code: 409, .. }) => Err(SetError::Changed),
        Err(CallError::Refused { code: 404, .. }) => Err(SetError::NotThere),
        Err(error) => Err(SetError::Call(error)),
    }
}

/// Reads the one field of an object; absent where the object hasn't it.
///
/// # Errors
/// Why it isn't known.
pub async fn find(client: &WorkloadClient, target: &Target) -> Result<Option<Value>, SetError> {
    let (_, object) = read_target(client, target).await?;
    Ok(target.found(&object).cloned())
}

/// The path of the object, and the object.
async fn read_target(client: &WorkloadClient, target: &Target) -> Result<(String, Value), SetError> {
    let named = target.namespace.iter().chain([&target.name]).map(String::as_str);
    if let Some(wrong) = wrong(&target.api_version, named) {
        return Err(SetError::NoName(wrong.to_owned()));
    }
    let base = base(&target.api_version);
    let resource = resource(client, &base, &target.kind).await.map_err(SetError::Call)?;
    let resource = resource.ok_or(SetError::NotThere)?;
    let namespace = target.namespace.as_deref().filter(|_| resource.namespaced);
    let path = format!("{}/{}", path(&base, &resource, namespace), target.name);
    let object: Value = client.one(&path).await.map_err(|error| match error {
        CallError::Refused { code: 404, .. } => SetError::NotThere,
        other => SetError::Call(other),
    })?;
    Ok((path, object))
}

async fn resource(client: &WorkloadClient, base: &str, kind: &str) -> Result<Option<Resource>, CallError> {
    let resources = if let Some(known) = client.discovery().known(base) {
        known
    } else {
        let found: Arc<[Resource]> = match client.one::<Resources>(base).await {
            Ok(Resources { resources }) => resources.into(),
            Err(CallError::Refused { code: 404, .. }) => Arc::new([]),
            Err(error) => return Err(error),
        };
        client.discovery().keep(base, &found);
        found
    };
    let mut found = resources.iter().filter(|resource| resource.kind == kind);
    Ok(found.find(|resource| is_segment(&resource.name)).cloned())
}

fn base(api_version: &str) -> String {
    if api_version.contains('/') {
        format!("/apis/{api_version}")
    } else {
        format!("/api/{api_version}")
    }
}

fn path(base: &str, resource: &Resource, namespace: Option<&str>) -> String {
    let name = &resource.name;
    match namespace {
        Some(namespace) => format!("{base}/namespaces/{namespace}/{name}"),
        None => format!("{base}/{name}"),
    }
}

/// What may stand in a path. A name with a slash would lead elsewhere, to a Secret for one.
fn is_segment(text: &str) -> bool {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "-_.:".contains(character);
    !text.is_empty() && !text.starts_with('.') && text.chars().all(is_allowed)
}

/// The text that is no name, or no group with a version.
fn wrong<'a>(api_version: &'a str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (group, version) = api_version.split_once('/').unwrap_or(("group", api_version));
    names.chain([group, version]).find(|text| !is_segment(text))
}

fn labels(selector: LabelSelector) -> Option<String> {
    Selector::try_from(selector).ok().map(|selector| selector.to_string())
}

/// A number is two bytes of a body, and many times as much in memory.
fn memory(value: &Value) -> usize {
    let own = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(memory).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| VALUE + name.len() + memory(value))
            .sum(),
    };
    VALUE + own
}

/// Reads the object at a path.
///
/// # Errors
/// The call that failed.
pub async fn read_object(client: &WorkloadClient, path: &str) -> Result<Value, CallError> {
    client.one(path).await.map(without_managers)
}

/// Who manages which field is no matter of an expression, and is often the longest part.
fn without_managers(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

#[cfg(test)]
mod tests;
