//! The `kubectl-instar` binary: `kubectl instar`, and `clusterctl instar` under that name.

use std::{env, ffi::OsString, process::ExitCode};

use kubectl_instar::cli::{self, Program};
use rustls::crypto::ring;

fn main() -> ExitCode {
    // Before any TLS configuration is created: it would find no provider, or another one.
    if ring::default_provider().install_default().is_err() {
        eprintln!("error: a provider of cryptography is installed already: please report this");
        return ExitCode::from(2);
    }
    let arguments: Vec<OsString> = env::args_os().collect();
    let program = arguments.first().map_or(Program::Kubectl, |path| Program::of(path));
    match cli::run(&program.parse(arguments), program) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {}", error.one_line());
            error.exit().into()
        }
    }
}
