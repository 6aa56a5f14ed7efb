//! Why a run fails.

use std::process::ExitCode;

use instar_watch::ErrorChain;

use crate::{controller, crd, log, release_holds, webhook, wire, yaml};

/// Why a run could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log can't be set up.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The admission server did not start, or ended.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
    /// The controller did not start, or ended.
    #[error(transparent)]
    Controller(#[from] controller::Error),
    /// The class can't be wired.
    #[error(transparent)]
    Wire(#[from] wire::Error),
    /// The CustomResourceDefinitions can't be printed or applied.
    #[error(transparent)]
    Crd(#[from] crd::Error),
    /// Nothing could be taken off.
    #[error(transparent)]
    ReleaseHolds(#[from] release_holds::Error),
    /// The result can't be printed as YAML or JSON.
    #[error(transparent)]
    Print(#[from] yaml::PrintError),
    /// The result can't be written to standard output.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// The runtime didn't start.
    #[error("cannot start the runtime's threads")]
    Runtime(#[source] std::io::Error),
}

impl Error {
    /// The error and its causes.
    #[must_use]
    pub fn one_line(&self) -> String {
        ErrorChain(self).to_string()
    }

    /// The exit code: as documented in `--help`, and that of a command line that can't be read.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(2)
    }
}
