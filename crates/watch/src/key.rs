//! Names of objects and kinds.

use std::{borrow::Borrow, fmt, sync::Arc};

use kube::{Resource, discovery::ApiResource};

/// An object's `namespace/name`, or its name where it has no namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// An empty namespace is none.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        if namespace.is_empty() {
            Self(name.into())
        } else {
            Self(format!("{namespace}/{name}").into())
        }
    }

    /// The key of an object.
    pub fn of(object: &impl Resource) -> Self {
        let metadata = object.meta();
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// The text, as Kubernetes writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Empty where there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The part after the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An API group and a kind, as the one text `group kind`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindKey(Arc<str>);

impl KindKey {
    /// Neither has a space in it.
    #[must_use]
    pub fn new(group: &str, kind: &str) -> Self {
        Self(format!("{group} {kind}").into())
    }

    /// The key of a kind at one version of its API: the group is followed by `/` and the version.
    #[must_use]
    pub fn of_resource(resource: &ApiResource) -> Self {
        Self::new(&resource.api_version, &resource.kind)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The API group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.0.split_once(' ').map_or("", |(group, _)| group)
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split_once(' ').map_or(&*self.0, |(_, kind)| kind)
    }
}

impl From<&str> for KindKey {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Borrow<str> for KindKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}
