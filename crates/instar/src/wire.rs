//! `instar wire`: the class, its templates and the catalog in, the wired class out.

mod answer;
mod cluster;
mod files;
mod input;
mod releases;

use clap::ValueEnum;
use instar_wiring::WireError;

use crate::{cli::WireArgs, yaml};

pub(crate) use answer::{Answer, answer};

/// How the class is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// YAML.
    #[default]
    Yaml,
    /// JSON.
    Json,
}

/// Why there is no wired class.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files don't serve.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The cluster doesn't serve.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The class can't be wired.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Without a release the wiring is empty, and what the class has of it would be taken away.
    #[error(
        "there is no KubernetesRelease to wire{}: create one first, or give one with -f",
        why(left_out)
    )]
    NoRelease {
        /// Those that can't be read.
        left_out: Vec<String>,
    },
    /// The class can't be printed.
    #[error(transparent)]
    Print(#[from] yaml::PrintError),
}

fn why(left_out: &[String]) -> String {
    if left_out.is_empty() {
        return String::new();
    }
    format!(" ({})", left_out.join("; "))
}

/// Reads what is asked for, and wires it.
pub(crate) async fn run(args: &WireArgs) -> Result<Answer, Error> {
    answer(&input::gather(args).await?, args)
}

#[cfg(test)]
mod tests;
