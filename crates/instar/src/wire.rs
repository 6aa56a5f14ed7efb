//! `instar wire`: the class, its templates and the catalog in, the wired class out.

mod answer;
mod cluster;
mod files;
mod input;
mod releases;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use instar_wiring::WireError;

use crate::yaml;

pub(crate) use answer::{Answer, answer};

/// Writes the wiring of a ClusterClass
///
/// The wiring are inline patches that render what a Cluster is pinned to into the templates of
/// its control plane and its pools, and the list of Kubernetes versions to choose a path from. It
/// is made of the class, the templates that the class refers to, and the KubernetesReleases. The
/// class' own patches stay as they are and come first; wiring a wired class changes nothing.
///
/// The class is printed, ready for `kubectl apply`. What could not be wired is named on standard
/// error, one line each: `not wired: ...` and `release left out: ...`.
///
/// Without -f, all of it is read from the cluster. With -f and without CLASS, all of it is read
/// from the files, no cluster is asked, and the files must hold one ClusterClass. With both, it is
/// the same if the files hold that class; else it is read from the cluster, and templates and
/// releases in the files take the place of those in the cluster, or are added to them. Other
/// objects in the files are passed over.
#[derive(Debug, Args)]
#[command(after_long_help = WIRE_EXAMPLES)]
pub struct WireArgs {
    /// The ClusterClass's name
    #[arg(value_name = "CLASS", required_unless_present = "files")]
    pub(crate) class: Option<String>,

    /// The ClusterClass's namespace; by default that of the context, and with files any
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// YAML or JSON with the class, its templates or releases, - for standard input; repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// How the class is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Format,

    /// Print nothing; exit with 1, and say what differs, if the class isn't wired like that
    #[arg(long)]
    pub(crate) check: bool,

    /// Print nothing and exit with 1 if anything can't be wired or a release is left out
    #[arg(long)]
    pub(crate) strict: bool,

    /// The kubeconfig file
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

const WIRE_EXAMPLES: &str = "\
Examples:
  # Wire a class that is in the cluster:
  instar wire my-class -n fleet | kubectl apply -f -

  # Wire a class that is kept in Git, without a cluster:
  instar wire -f class.yaml -f templates.yaml -f releases.yaml > class-wired.yaml

  # The same, with the catalog that is in the cluster:
  kubectl get kubernetesreleases -o yaml | instar wire -f class.yaml -f templates.yaml -f -

  # See what a new release would change, before it is applied:
  instar wire my-class -n fleet -f new-release.yaml --check

Exit codes: 0 done, 1 check failed (--check, --strict), 2 error.";

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
