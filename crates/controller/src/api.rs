//! Every call of the API server: its deadline, and what its failure means.

use std::{fmt, time::Duration};

use tokio::time::timeout;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Whose writes these are.
pub(crate) const FIELD_MANAGER: &str = "instar-controller";

/// Why a pass over a cluster failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{doing}: {}", Why(source))]
    Call { doing: String, source: kube::Error },
    #[error("{doing}: no answer in {} s", DEADLINE.as_secs())]
    Silence { doing: String },
    #[error("the API server knows no kind {kind} in {group}: install its provider")]
    NoKind { group: String, kind: String },
    #[error("{what} exists already, with another content: delete it, and it is made anew")]
    NameTaken { what: String },
    #[error("the decision breaks {0}, so nothing was written: please report this")]
    Violation(String),
    #[error("this process doesn't hold the lease any more")]
    NotLeader,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Somebody else wrote: read again.
    Conflict,
    /// It may work later.
    Transient,
    /// Somebody has to do something.
    Terminal,
}

impl Error {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Call { source, .. } => class(source),
            Self::Silence { .. } | Self::NotLeader => Class::Transient,
            Self::NoKind { .. } | Self::NameTaken { .. } | Self::Violation(_) => Class::Terminal,
        }
    }
}

fn class(error: &kube::Error) -> Class {
    match error {
        kube::Error::Api(status) if status.is_conflict() => Class::Conflict,
        kube::Error::Api(status) if status.is_invalid() || status.is_forbidden() => Class::Terminal,
        // The list of kube's errors is open.
        _ => Class::Transient,
    }
}

/// A call with a deadline. `doing` begins the error's text.
pub(crate) async fn call<T>(
    doing: impl FnOnce() -> String,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(DEADLINE, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Call { doing: doing(), source }),
        Err(_) => Err(Error::Silence { doing: doing() }),
    }
}

/// The API server's own words, without the debug output that kube's text carries.
struct Why<'e>(&'e kube::Error);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            kube::Error::Api(status) => write!(f, "{} (HTTP {})", status.message.trim(), status.code),
            error => write!(f, "{error}"),
        }
    }
}
