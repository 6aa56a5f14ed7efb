//! The `instar` binary.

use std::process::ExitCode;

use clap::Parser;
use instar::cli::{self, Cli};
use rustls::crypto::ring;

fn main() -> ExitCode {
    // Before any TLS configuration is created: it would find no provider, or another one.
    if ring::default_provider().install_default().is_err() {
        eprintln!("error: a provider of cryptography is installed already: please report this");
        return ExitCode::from(2);
    }
    match cli::run(&Cli::parse()) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("error: {}", error.one_line());
            error.exit_code()
        }
    }
}
