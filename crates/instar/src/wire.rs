//! `instar wire`: reads a class, its templates and the catalog, and prints the wired class.

mod answer;
mod cluster;
mod files;
mod input;
mod releases;

use std::path::PathBuf;

use clap::Args;
use instar_api::CatalogName;
use instar_wiring::WireError;

use crate::{output::OutputFormat, yaml};

pub(crate) use answer::{Answer, answer};

/// Writes the wiring of a ClusterClass
///
/// The wiring consists of inline patches, which render the values that a Cluster is pinned to into the templates of
/// its control plane and its pools, and of the Kubernetes versions in spec.kubernetesVersions. It is computed from the
/// class, the templates that the class refers to, and the KubernetesReleases of the class' catalog (label
/// upgrade.cluster.x-k8s.io/catalog, spec.catalog). The class' own patches do not change and stay first. Wiring a class
/// a second time changes nothing.
///
/// The wired class is printed, ready for `kubectl apply`. Standard error gets one line for each part that could not be
/// wired (`not wired: ...`), and for each release that is not used (`release left out: ...`).
///
/// Without -f, all objects are read from the cluster. With -f and without CLASS, all objects are read from the files,
/// which must contain exactly one ClusterClass; no cluster is needed. With both, and CLASS in the files, it is the
/// same. With both, and CLASS not in the files, the class is read from the cluster; templates and releases in the
/// files replace those of the same name in the cluster, or are added to them. Objects of other kinds in the files are
/// ignored.
#[derive(Debug, Args)]
#[command(after_long_help = WIRE_EXAMPLES)]
pub struct WireArgs {
    /// The name of the ClusterClass
    #[arg(value_name = "CLASS", required_unless_present = "files")]
    pub(crate) class: Option<String>,

    /// The namespace of the ClusterClass; the default is the namespace of the context, or any namespace in files
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// A YAML or JSON file with the class, its templates or releases; - is standard input; can be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// The output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: OutputFormat,

    /// Print no class; if the class differs from its wired form, say where, and exit with 1
    #[arg(long)]
    pub(crate) check: bool,

    /// Print no class and exit with 1 if a part can't be wired or a release is left out
    #[arg(long)]
    pub(crate) strict: bool,

    /// The kubeconfig file
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig file
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

const WIRE_EXAMPLES: &str = "\
Examples:
  # Wire a class in the cluster:
  instar wire my-class -n fleet | kubectl apply -f -

  # Wire a class in files, without a cluster:
  instar wire -f class.yaml -f templates.yaml -f releases.yaml > class-wired.yaml

  # Wire a class in files with the catalog in the cluster:
  kubectl get kubernetesreleases -o yaml | instar wire -f class.yaml -f templates.yaml -f -

  # See what a new release would change, before you apply it:
  instar wire my-class -n fleet -f new-release.yaml --check

Exit codes: 0 done, 1 check failed (--check, --strict), 2 error.";

/// Why the class could not be wired.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files can't be read.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The cluster can't be read.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The class can't be wired.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Without a release the wiring is empty, and what the class has of it would be taken away.
    #[error(
        "found no KubernetesRelease{} to wire{}: create one first, or add its file with -f",
        of(catalog),
        why(left_out)
    )]
    NoRelease {
        /// The catalog of the class.
        catalog: CatalogName,
        /// The releases that can't be used, with the reasons.
        left_out: Vec<String>,
    },
    /// The class can't be printed.
    #[error(transparent)]
    Print(#[from] yaml::PrintError),
}

fn of(catalog: &CatalogName) -> String {
    if catalog.is_default() {
        return String::new();
    }
    format!(" of {catalog}")
}

fn why(left_out: &[String]) -> String {
    if left_out.is_empty() {
        return String::new();
    }
    format!(" ({})", left_out.join("; "))
}

/// Reads the class, its templates and the releases, and wires the class.
pub(crate) async fn run(args: &WireArgs) -> Result<Answer, Error> {
    answer(&input::gather(args).await?, args)
}

#[cfg(test)]
mod tests;
