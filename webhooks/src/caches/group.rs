//! What objects are looked up by, beside their own keys.

use std::sync::Arc;

use instar_admission::cluster_state::TemplateKey;
use instar_watch::Key;
use serde_json::Value;

/// A template's API group, kind and key, as one text that the entries and their groups share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TemplateId(Arc<str>);

impl TemplateId {
    pub(crate) fn of(key: &TemplateKey<'_>) -> Self {
        let TemplateKey {
            group,
            kind,
            namespace,
            name,
        } = key;
        Self(format!("{} {namespace}/{name}", kind_key(group, kind)).into())
    }

    /// How long its text is.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// See [`kind_key`].
    pub(crate) fn kind_key(&self) -> &str {
        self.0.rsplit_once(' ').map_or("", |(kind, _)| kind)
    }
}

/// The text of an [`instar_watch::KindKey`].
pub(crate) fn kind_key(group: &str, kind: &str) -> String {
    format!("{group} {kind}")
}

/// The same text of an object's kind.
pub(crate) fn kind_of(object: &Value) -> String {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    kind_key(group, text("kind"))
}

/// What an object is looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// The Cluster that it belongs to.
    Cluster(Key),
    /// The ClusterClass that it is made of.
    Class(Key),
    /// A release that it needs.
    Release(Box<str>),
    /// A template that it refers to.
    Template(TemplateId),
    /// A template that it keeps, by kind and key: its record doesn't say the API group.
    Kept(Box<str>, Key),
    /// Its namespace.
    Namespace(Box<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_templates_id_names_its_kind() {
        let key = TemplateKey {
            group: "infrastructure.cluster.x-k8s.io",
            kind: "DevMachineTemplate",
            namespace: "ns",
            name: "t",
        };
        assert_eq!(TemplateId::of(&key).kind_key(), kind_key(key.group, key.kind));
        assert_ne!(TemplateId::of(&key), TemplateId::of(&TemplateKey { name: "u", ..key }));
    }
}
