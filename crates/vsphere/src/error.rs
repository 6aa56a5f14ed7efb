//! Why a vCenter was not asked.

use std::time::Duration;

use crate::thumbprint::Thumbprint;

/// How long one call may take, from the first byte to the last.
pub(crate) const CALL: Duration = Duration::from_secs(10);

/// Why nothing was found out. What the server says in words is never repeated: it has the credentials, or may have got them
/// from somebody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// Nothing answers there, or not with TLS.
    #[error("{host} can't be reached: {why}")]
    Unreachable { host: String, why: String },
    /// It took too long.
    #[error("{host} gave no answer to {call} in {} s", CALL.as_secs())]
    Silence { host: String, call: &'static str },
    /// All of it took too long.
    #[error("{host} was not searched in {seconds} s")]
    TooSlow { host: String, seconds: u64 },
    /// It is another server than the VSphereCluster means. It was sent nothing.
    #[error(
        "the certificate of {host} has the thumbprint {shown}, and spec.thumbprint of the VSphereCluster is {expected}, so \
         no credentials were sent: see whether it is the right server, and set its thumbprint there"
    )]
    WrongThumbprint {
        host: String,
        shown: Box<Thumbprint>,
        expected: Box<Thumbprint>,
    },
    /// The credentials are wrong.
    #[error("{host} refused the login: correct the Secret")]
    LoginRefused { host: String },
    /// Others of this user were refused, and it isn't tried.
    #[error(
        "{host} refused logins of this user with other passwords in the last {minutes} minutes, so this one isn't tried: the \
         account would be locked. Correct the password in all Secrets that have this user"
    )]
    LoginSpared { host: String, minutes: u64 },
    /// The user may not do that.
    #[error("{host} refused {call}: give the user the privileges of Cluster API Provider vSphere")]
    NoPermission { host: String, call: &'static str },
    /// A fault, or another code than those of answers.
    #[error("{host} answered {call} with HTTP {code}")]
    Refused {
        host: String,
        call: &'static str,
        code: u16,
    },
    /// A redirect.
    #[error("{host} answered {call} with a redirect, which is not followed: name the vCenter itself")]
    Redirected { host: String, call: &'static str },
    /// A body without end.
    #[error("the answer of {host} to {call} is too long")]
    TooLong { host: String, call: &'static str },
    /// Not what a vCenter answers.
    #[error("the answer of {host} to {call} can't be read")]
    Garbled { host: String, call: &'static str },
}

impl LookError {
    /// Whether a call was given up whose answer may still come.
    pub(crate) const fn leaves_an_answer_open(&self) -> bool {
        match self {
            Self::Silence { .. } | Self::TooSlow { .. } => true,
            Self::Unreachable { .. }
            | Self::WrongThumbprint { .. }
            | Self::LoginRefused { .. }
            | Self::LoginSpared { .. }
            | Self::NoPermission { .. }
            | Self::Refused { .. }
            | Self::Redirected { .. }
            | Self::TooLong { .. }
            | Self::Garbled { .. } => false,
        }
    }

    /// Whether nothing answered, so that the next one to ask need not find that out again.
    #[must_use]
    pub const fn is_of_dead_server(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silence { .. } => true,
            // It answers each call: there is much to search for one Cluster.
            Self::TooSlow { .. }
            | Self::WrongThumbprint { .. }
            | Self::LoginRefused { .. }
            | Self::LoginSpared { .. }
            | Self::NoPermission { .. }
            | Self::Refused { .. }
            | Self::Redirected { .. }
            | Self::TooLong { .. }
            | Self::Garbled { .. } => false,
        }
    }
}
