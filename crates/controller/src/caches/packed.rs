//! What is kept of an object, in one allocation.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

/// A value as JSON text. A fleet's Clusters are seldom looked at, and each text and map of a value takes an
/// allocation of its own: as text it takes a third. A pass over a Cluster reads those of its own objects again.
#[derive(Debug)]
pub(crate) struct Packed<T> {
    text: Box<str>,
    of: PhantomData<fn() -> T>,
}

impl<T> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T: Serialize + DeserializeOwned> Packed<T> {
    pub(crate) fn new(value: &T) -> Self {
        Self {
            // Texts, numbers and maps by text always have a JSON form. Were there none, `get` would say so.
            text: serde_json::to_string(value).unwrap_or_default().into(),
            of: PhantomData,
        }
    }

    pub(crate) fn get(&self) -> Result<T, String> {
        serde_json::from_str(&self.text).map_err(|error| format!("what is cached of it can't be read: {error}"))
    }

    /// How many bytes it takes beside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.text.len()
    }
}
