//! Why a run couldn't do what it was asked.

use std::path::PathBuf;

use instar_watch::ErrorChain;

use crate::Exit;

/// Why a run couldn't do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cluster can't be talked to, or says no.
    #[error(transparent)]
    Cluster(#[from] instar::cluster::Error),
    /// What `instar` has under the same name.
    #[error(transparent)]
    Instar(#[from] instar::Error),
    /// Nothing of that name is there.
    #[error("{what} was not found in namespace {namespace}: {remedy}")]
    NotFound {
        /// The kind and the name.
        what: String,
        /// Where it was looked for.
        namespace: String,
        /// What to do.
        remedy: String,
    },
    /// The verb has nothing to act on, or may not.
    #[error("{0}")]
    Refused(String),
    /// An answer isn't what it should be.
    #[error("cannot read the API server's answer for {what}")]
    Unreadable {
        /// For what.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An object isn't as this version of the plugin knows its kind.
    #[error("cannot read {0}: it may be of a newer Instar than this plugin: use the plugin of that version")]
    Unread(String),
    /// A file can't be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A snapshot isn't YAML.
    #[error("{} is not the YAML of a snapshot", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: instar::yaml::ReadError,
    },
    /// A file isn't YAML.
    #[error("{} is not valid YAML", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: instar::yaml::ReadError,
    },
    /// What was to be checked isn't there.
    #[error("found no KubernetesRelease in {}: name its file or folder, or - for standard input", files.join(", "))]
    NoRelease {
        /// The files and folders.
        files: Vec<String>,
    },
    /// The row that another one is made of isn't there.
    #[error("found no KubernetesRelease {name}: there are {}", if others.is_empty() { "none" } else { others })]
    NoRow {
        /// Its name.
        name: String,
        /// Those that are there.
        others: String,
    },
    /// A pattern of our own schema isn't read.
    #[error("cannot read a pattern of the schema: please report this")]
    Pattern(#[source] regex::Error),
    /// The result can't be printed as YAML or JSON.
    #[error(transparent)]
    Print(#[from] instar::yaml::PrintError),
    /// The result can't be written to standard output.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// The page can't be served.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system gives no random bytes.
    #[error("cannot make a token for the page: the system gives no random bytes")]
    NoRandom,
    /// The runtime didn't start.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
}

impl Error {
    /// The error and its causes.
    #[must_use]
    pub fn one_line(&self) -> String {
        ErrorChain(self).to_string()
    }

    /// What the run ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Blocked,
            Self::Cluster(instar::cluster::Error::Call {
                source: kube::Error::Api(status),
                ..
            }) if matches!(status.code, 403 | 409 | 422) => Exit::Blocked,
            Self::Cluster(_)
            | Self::Instar(_)
            | Self::NotFound { .. }
            | Self::Unreadable { .. }
            | Self::Unread(_)
            | Self::File { .. }
            | Self::Snapshot { .. }
            | Self::Yaml { .. }
            | Self::NoRelease { .. }
            | Self::NoRow { .. }
            | Self::Pattern(_)
            | Self::Print(_)
            | Self::Output(_)
            | Self::Listen { .. }
            | Self::NoRandom
            | Self::Runtime(_) => Exit::Unknown,
        }
    }
}
