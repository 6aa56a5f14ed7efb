//! What a write compares with.

use serde::{Deserialize, Serialize};

/// An opaque version of an object, good for comparing and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceVersion(pub String);
