//! YAML with the line of each value, for messages about files.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// From 1.
    pub line: u64,
    /// What it is.
    pub node: Node,
}

/// A value whose parts have lines too.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Neither a list nor a mapping.
    Scalar(Value),
    /// A list.
    Items(Vec<Located>),
    /// A mapping, in its order.
    Members(Vec<(String, Located)>),
}

impl Located {
    /// The value without lines.
    #[must_use]
    pub fn value(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::Items(items) => Value::Array(items.iter().map(Self::value).collect()),
            Node::Members(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, member)| (name.clone(), member.value()))
                    .collect::<Map<String, Value>>(),
            ),
        }
    }

    /// A member of a mapping.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match &self.node {
            Node::Members(members) => members.iter().find(|(own, _)| own == name).map(|(_, member)| member),
            Node::Scalar(_) | Node::Items(_) => None,
        }
    }

    /// The items of a list; of anything else there are none.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.node {
            Node::Items(items) => items,
            Node::Scalar(_) | Node::Members(_) => &[],
        }
    }

    /// How many members it has; anything but a mapping has none.
    #[must_use]
    pub const fn member_count(&self) -> usize {
        match &self.node {
            Node::Members(members) => members.len(),
            Node::Scalar(_) | Node::Items(_) => 0,
        }
    }

    /// Whether it is nothing: what stands between two marks of documents.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.node, Node::Scalar(Value::Null))
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Node>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            node: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Node::Items(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Node::Members(all))
    }
}
