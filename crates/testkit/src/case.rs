//! One case: an edit, and what becomes of it.

use anyhow::{Context, Result, bail};
use instar_admission::lines;
use serde::Deserialize;
use serde_json::Value;

use crate::world::{Key, NAMESPACE_PLACEHOLDER, World};

/// One edit, and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// What a webhook of another makes of the object between the two halves, as a merge patch.
    pub defaulted: Option<Value>,
    /// The user name; an administrator where it is absent.
    pub user: Option<String>,
    /// Where the user may do anything.
    pub rights: Rights,
    /// Whether it is asked as a dry run everywhere.
    pub dry_run: bool,
    /// How far it gets.
    pub sent: Sent,
    /// What becomes of it.
    pub expected: Expected,
}

/// Where a user may do anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rights {
    /// In the whole management cluster.
    #[default]
    Everywhere,
    /// In the namespace of the case alone.
    Namespace,
    /// The same, and only with objects of infrastructure and bootstrap providers.
    Templates,
    /// In the namespace of the case, and only to read and write ClusterUpgrades.
    Upgrades,
    /// In the namespace of the case, and only with objects of Cluster API.
    ClusterApi,
}

/// What is done to an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A merge patch.
    Edit {
        /// Of which object.
        object: Key,
        patch: Value,
    },
    /// A merge patch of the status alone.
    Status {
        /// Of which object.
        object: Key,
        patch: Value,
    },
    /// A new object.
    Create(Value),
    /// It goes.
    Delete(Key),
}

/// How far a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sent {
    /// The webhook is asked, on a real cluster in a dry run.
    Asked,
    /// The webhook is asked, and on a real cluster the edit is written.
    Written,
    /// The API server lets it through by the configuration alone: a selector or a condition.
    Unasked,
}

/// What becomes of an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// What refuses it.
    pub refused: Option<Refusal>,
    /// The warnings, each text whole.
    warnings: Vec<String>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP code.
    pub code: u16,
    pub reason: String,
    message: String,
}

impl Refusal {
    /// The whole message, for objects in a namespace.
    #[must_use]
    pub fn message(&self, namespace: &str) -> String {
        self.message.replace(NAMESPACE_PLACEHOLDER, namespace)
    }
}

impl Expected {
    /// The warnings as they are sent, for objects in a namespace: none longer than a line.
    #[must_use]
    pub fn warnings(&self, namespace: &str) -> Vec<String> {
        let texts = self
            .warnings
            .iter()
            .map(|text| text.replace(NAMESPACE_PLACEHOLDER, namespace));
        texts.flat_map(|text| lines(&text)).collect()
    }

    /// All that is said, each text whole.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let refused = self.refused.iter().flat_map(|refusal| refusal.message.lines());
        refused.chain(self.warnings.iter().map(String::as_str))
    }
}

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Written {
    name: String,
    edit: Option<Key>,
    status: Option<Key>,
    patch: Option<Value>,
    defaulted: Option<Value>,
    create: Option<Value>,
    delete: Option<Key>,
    #[serde(rename = "as")]
    user: Option<String>,
    #[serde(default)]
    rights: Rights,
    #[serde(default)]
    dry_run: bool,
    #[serde(default = "asked")]
    sent: Sent,
    refused: Option<String>,
    message: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    allowed: Option<Nothing>,
}

const fn asked() -> Sent {
    Sent::Asked
}

/// `allowed: without a warning` or `allowed: with warnings`, so that a case can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Nothing {
    #[serde(rename = "without a warning")]
    Silently,
    #[serde(rename = "with warnings")]
    Loudly,
}

impl Case {
    /// A patch that is written as operations (RFC 6902), for what a merge patch can only replace as a whole, as the merge
    /// patch that makes the same of the object in that world.
    pub(crate) fn merged(mut self, world: &World) -> Result<Self> {
        if let Action::Edit { object, patch } = &mut self.action
            && patch.is_array()
        {
            let operations: json_patch::Patch = serde_json::from_value(patch.take())?;
            let old = world.object(object)?;
            let mut new = old.clone();
            json_patch::patch(&mut new, &operations).with_context(|| self.name.clone())?;
            *patch = difference(&old, &new);
        }
        Ok(self)
    }
}

/// The merge patch that makes one of the other.
fn difference(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return new.clone();
    };
    let removed = old.keys().filter(|name| !new.contains_key(*name));
    let removed = removed.map(|name| (name.clone(), Value::Null));
    let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(value));
    let changed = changed.map(|(name, value)| {
        let change = old
            .get(name)
            .map_or_else(|| value.clone(), |old| difference(old, value));
        (name.clone(), change)
    });
    Value::Object(removed.chain(changed).collect())
}

impl TryFrom<Written> for Case {
    type Error = anyhow::Error;

    fn try_from(written: Written) -> Result<Self> {
        let Written { name, warnings, .. } = written;
        let patch = |patch: Option<Value>| patch.with_context(|| format!("case {name:?} has no patch"));
        let action = match (written.edit, written.status, written.create, written.delete) {
            (Some(object), None, None, None) => Action::Edit {
                object,
                patch: patch(written.patch)?,
            },
            (None, Some(object), None, None) => Action::Status {
                object,
                patch: patch(written.patch)?,
            },
            (None, None, Some(object), None) => Action::Create(object),
            (None, None, None, Some(object)) => Action::Delete(object),
            _ => bail!("case {name:?} must have one of edit, status, create and delete"),
        };
        let refused = match (written.refused, written.message, written.allowed) {
            (Some(status), Some(message), None) => Some(refusal(&status, &message)?),
            (None, None, Some(Nothing::Silently)) if warnings.is_empty() => None,
            (None, None, Some(Nothing::Loudly)) if !warnings.is_empty() => None,
            _ => bail!(
                "case {name:?} must have refused and message, or be allowed without a warning, or with warnings and those"
            ),
        };
        Ok(Self {
            action,
            defaulted: written.defaulted,
            user: written.user,
            rights: written.rights,
            dry_run: written.dry_run,
            sent: written.sent,
            expected: Expected { refused, warnings },
            name,
        })
    }
}

fn refusal(status: &str, message: &str) -> Result<Refusal> {
    let (code, reason) = status.split_once(' ').context("a refusal is a code and a reason")?;
    Ok(Refusal {
        code: code.parse()?,
        reason: reason.to_owned(),
        message: message.trim_end().to_owned(),
    })
}
