//! YAML in and out, by way of `serde_json::Value`: what is read is what Kubernetes would read.

mod located;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use located::{Located, Node};

/// A value can't be written.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// As YAML.
    #[error("cannot write YAML")]
    Yaml(#[source] serde_saphyr::SerializeError),
    /// As JSON.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
}

/// Why a text is not valid YAML, and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(String);

/// Reads all documents of a text. Empty ones are left out.
pub fn read(text: &str) -> Result<Vec<Value>, ReadError> {
    let documents: Vec<Value> = documents(text)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The same, with the line of each value.
pub fn read_located(text: &str) -> Result<Vec<Located>, ReadError> {
    let documents: Vec<Located> = documents(text)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

fn documents<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, ReadError> {
    let options = serde_saphyr::options! {
        // A dump of a large catalog is valid input, and `kubectl` has no such limits.
        budget: serde_saphyr::budget! {
            max_documents: 100_000,
            max_events: 20_000_000,
            max_nodes: 10_000_000,
        },
        // The excerpt would have many lines; the message says the line and the column.
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| ReadError(error.render_with_formatter(&serde_saphyr::UserMessageFormatter)))
}

/// Writes a document, with a line break at its end. The members of a type stand in its order.
pub fn print(value: &impl Serialize) -> Result<String, PrintError> {
    let options = serde_saphyr::ser_options! {
        // A Go template on one line stays on it: folding would break it between words.
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(value, options).map_err(PrintError::Yaml)
}

/// Writes JSON, with a line break at its end.
pub fn json(value: &Value) -> Result<String, PrintError> {
    let text = serde_json::to_string_pretty(value).map_err(PrintError::Json)?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests;
