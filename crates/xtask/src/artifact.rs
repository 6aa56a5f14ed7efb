//! A generated file.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file that the code gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Where it is, from the root of the repository.
    pub path: String,
    pub text: String,
    /// The objects that the text has; none in a page.
    pub objects: Vec<Value>,
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}
