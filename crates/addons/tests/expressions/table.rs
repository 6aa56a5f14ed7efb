//! The table of expressions. The crate's own test reads it, and the journey that asks an API server.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::Value;

/// The variables that are the object and its parts, and where each is in it.
pub(crate) const OF_OBJECT: [(&str, &str); 4] = [
    ("self", ""),
    ("metadata", "/metadata"),
    ("spec", "/spec"),
    ("status", "/status"),
];

#[derive(Debug, Deserialize)]
pub(crate) struct Table {
    /// What differs on an API server, for users.
    pub(crate) differences: BTreeMap<String, String>,
    /// What all of the expressions look at.
    pub(crate) object: Value,
    pub(crate) expressions: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cel: String,
    #[serde(flatten)]
    pub(crate) instar: Outcome,
    #[serde(default)]
    kubernetes: Option<Kubernetes>,
    /// By which of the differences an API server says something else.
    #[serde(default)]
    pub(crate) why: Option<String>,
}

/// What Instar makes of an expression.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Is(bool),
    /// What isn't there.
    Absent(String),
    Unknown(String),
    /// It doesn't compile.
    Refused(String),
}

/// What an API server makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Kubernetes {
    Is(bool),
    Fails(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Failure {
    /// Of the evaluation.
    Error,
    /// It doesn't compile.
    Refused,
}

impl Table {
    pub(crate) fn read() -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str(include_str!("table.yaml"))
    }
}

impl Row {
    /// What an API server is to say, and whether the row says that it differs.
    pub(crate) fn kubernetes(&self) -> (Kubernetes, bool) {
        let same = match &self.instar {
            Outcome::Is(is) => Kubernetes::Is(*is),
            Outcome::Absent(_) | Outcome::Unknown(_) => Kubernetes::Fails(Failure::Error),
            Outcome::Refused(_) => Kubernetes::Fails(Failure::Refused),
        };
        let expected = self.kubernetes.unwrap_or(same);
        (expected, expected != same)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(is) => write!(f, "{is}"),
            Self::Absent(path) => write!(f, "absent: {path}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

impl fmt::Display for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(is) => write!(f, "{is}"),
            Self::Fails(Failure::Error) => f.write_str("error"),
            Self::Fails(Failure::Refused) => f.write_str("refused"),
        }
    }
}
