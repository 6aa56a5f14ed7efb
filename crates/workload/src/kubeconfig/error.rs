//! Why a kubeconfig isn't used: the field, what is wrong with it, and what to write instead.

use std::fmt;

/// Why a kubeconfig can't be used. It contains field names alone, and no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    /// The text is too long.
    #[error("the kubeconfig is longer than {most} bytes: leave out what the current context doesn't name")]
    TooLarge {
        /// How many bytes it may have.
        most: usize,
    },
    /// The bytes are no text.
    #[error("the kubeconfig is not UTF-8: write a kubeconfig in YAML or JSON")]
    NotText,
    /// It has another structure.
    #[error("the kubeconfig can't be read (line {line}): write one like that of `clusterctl get kubeconfig`")]
    NotKubeconfig {
        /// The line, from 1; 0 where it isn't known.
        line: u64,
    },
    /// A field of the file itself is missing.
    #[error("{field} is missing: set it")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field of an entry is missing.
    #[error("{of}.{field} is missing: set it")]
    MissingIn {
        /// Which entry.
        of: Entry,
        /// The field.
        field: &'static str,
    },
    /// A name leads to no entry.
    #[error("{list} has no entry with the name that {named_by} has: add it")]
    NoEntry {
        /// The list.
        list: &'static str,
        /// The field with the name.
        named_by: &'static str,
    },
    /// A name leads to several entries.
    #[error("{list} has several entries with the name that {named_by} has: keep one")]
    SeveralEntries {
        /// The list.
        list: &'static str,
        /// The field with the name.
        named_by: &'static str,
    },
    /// A field that is never used.
    #[error("{of}.{field} {why}")]
    Refused {
        /// Which entry.
        of: Entry,
        /// The field.
        field: &'static str,
        /// Why, and what to write instead.
        why: &'static str,
    },
    /// A field that isn't known. Its name could be a part of a token, so it isn't told.
    #[error("{of} has a field that Instar doesn't know: leave only {read}")]
    UnknownField {
        /// Which entry.
        of: Entry,
        /// The fields that are read.
        read: String,
    },
    /// A field with a value that can't be used.
    #[error("{of}.{field} {why}: correct it")]
    Invalid {
        /// Which entry.
        of: Entry,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing says who asks.
    #[error("users[].user has no credentials: set client-certificate-data and client-key-data, or token")]
    NoCredentials,
}

impl KubeconfigError {
    pub(super) const fn invalid(of: Entry, field: &'static str, why: &'static str) -> Self {
        Self::Invalid { of, field, why }
    }
}

/// An entry of a kubeconfig's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Of `contexts`.
    Context,
    /// Of `clusters`.
    Cluster,
    /// Of `users`.
    User,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Context => "contexts[].context",
            Self::Cluster => "clusters[].cluster",
            Self::User => "users[].user",
        })
    }
}

/// A field that is never used, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) field: &'static str,
    pub(super) why: &'static str,
}

const fn refuse(field: &'static str, why: &'static str) -> Refused {
    Refused { field, why }
}

const NO_FILE: &str = "names a file, and Instar reads none for a kubeconfig: put its content, in base64, into the field with this name and -data";
const NO_PROGRAM: &str =
    "runs a program, and Instar runs none: write a client certificate or a token of a ServiceAccount";
const NO_PASSWORD: &str = "is a password, which API servers don't take: write a client certificate or a token";
const NO_IMPERSONATION: &str = "impersonates another user: write the credentials of the user that is to ask";

const OF_CLUSTER: [Refused; 4] = [
    refuse("certificate-authority", NO_FILE),
    refuse(
        "insecure-skip-tls-verify",
        "is true, so anybody could answer: set certificate-authority-data instead",
    ),
    refuse(
        "proxy-url",
        "sends credentials through a proxy, and Instar uses none: set a server that can be reached directly",
    ),
    refuse(
        "tls-server-name",
        "verifies another name than that of the server: set a server that its certificate names",
    ),
];

const OF_USER: [Refused; 11] = [
    refuse("exec", NO_PROGRAM),
    refuse("auth-provider", NO_PROGRAM),
    refuse(
        "tokenFile",
        "names a file, and Instar reads none for a kubeconfig: put the token into the field token",
    ),
    refuse("client-certificate", NO_FILE),
    refuse("client-key", NO_FILE),
    refuse("username", NO_PASSWORD),
    refuse("password", NO_PASSWORD),
    refuse("as", NO_IMPERSONATION),
    refuse("as-uid", NO_IMPERSONATION),
    refuse("as-groups", NO_IMPERSONATION),
    refuse("as-user-extra", NO_IMPERSONATION),
];

/// The known field of this name that is never used.
pub(super) fn refused(of: Entry, name: &str) -> Option<Refused> {
    let fields: &[Refused] = match of {
        Entry::Context => &[],
        Entry::Cluster => &OF_CLUSTER,
        Entry::User => &OF_USER,
    };
    fields.iter().copied().find(|refused| refused.field == name)
}
