//! The `kubectl-instar` binary: `kubectl instar`, and `clusterctl instar` under that name.

use std::process::ExitCode;

use clap::Parser;
use kubectl_instar::cli::{self, Cli};
use rustls::crypto::ring;

fn main() -> ExitCode {
    // Before any TLS configuration is created: it would find no provider, or another one.
    if ring::default_provider().install_default().is_err() {
        eprintln!("error: a provider of cryptography is installed already: please report this");
        return ExitCode::from(2);
    }
    match cli::run(&Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {}", error.one_line());
            error.exit().into()
        }
    }
}
