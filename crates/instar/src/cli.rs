//! The command line.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tokio::runtime::{Builder, Runtime};

use crate::{Error, Outcome, controller, log, version, webhook, wire};

/// Upgrades Cluster API clusters to what a catalog of releases says.
///
/// Each KubernetesRelease is one row of the catalog: a Kubernetes version with the machine images
/// and the component tags that belong to it. With a ClusterClass that `instar wire` has wired and
/// `instar webhook` at admission, an edit of a Cluster's version is checked against the catalog,
/// and everything that has to move with it moves with it.
#[derive(Debug, Parser)]
#[command(name = "instar", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Webhook(WebhookArgs),
    Controller(ControllerArgs),
    Wire(WireArgs),
    Version(VersionArgs),
}

/// Runs the admission server
///
/// It watches Clusters, ClusterClasses, KubeadmControlPlanes and KubernetesReleases, and answers
/// the API server from what it has seen: it resolves a Cluster's version and writes its pins,
/// refuses what would break an upgrade, keeps machine templates as they are, and keeps the rows
/// of the catalog that are in use. It writes nothing to the API server, so any number of replicas
/// can run.
///
/// The cluster is that of KUBECONFIG, of ~/.kube/config, or, in a pod, the pod's own.
///
/// On the TLS port: /mutate/cluster, /validate/cluster, /validate/machine-template,
/// /validate/kubernetes-release. On the health port, without TLS: /healthz, /readyz (which names
/// what is still awaited), /metrics.
#[derive(Debug, Args)]
#[command(after_long_help = WEBHOOK_EXAMPLES)]
pub struct WebhookArgs {
    /// The address of both ports
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) bind_address: IpAddr,

    /// The TLS port, for the API server
    #[arg(long, value_name = "PORT", default_value_t = 9443)]
    pub(crate) port: u16,

    /// The port of /healthz, /readyz and /metrics
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub(crate) health_port: u16,

    /// Where tls.crt and tls.key are; they are read again when they change
    #[arg(long, value_name = "DIR", default_value = "/tmp/k8s-webhook-server/serving-certs")]
    pub(crate) cert_dir: PathBuf,

    /// Answer only clients with a certificate that one of the authorities in this file, in PEM, has
    /// signed; it is read again when it changes. The API server shows one where its
    /// --admission-control-config-file names a kubeconfig with one for this server
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca_file: Option<PathBuf>,

    /// How the log looks, on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: log::Format,
}

const WEBHOOK_EXAMPLES: &str = "\
Environment:
  INSTAR_LOG   what is logged, such as info or instar=debug,kube=warn; where it is not set,
               RUST_LOG; else info
  KUBECONFIG   the cluster, where it is not the pod's own

Examples:
  # In a pod, with cert-manager's certificate mounted:
  instar webhook --cert-dir /certs --log-format json

  # On a workstation, against the current context:
  instar webhook --bind-address 127.0.0.1 --cert-dir ./certs

Exit codes: 0 stopped by SIGTERM or SIGINT, 2 error.";

/// Runs the controller of upgrades
///
/// Of a Cluster without spec.topology, a classic one, a ClusterUpgrade or the annotation
/// upgrade.cluster.x-k8s.io/version says where it goes; the controller mints the machine templates
/// and points the control plane and the pools at them, step by step. Of a Cluster of a class, Cluster
/// API does that; a ClusterUpgrade edits its version, and an edited version makes a ClusterUpgrade.
/// Either way the ClusterUpgrade's status says where it is, and what it waits for.
///
/// The cluster is that of KUBECONFIG, of ~/.kube/config, or, in a pod, the pod's own.
///
/// On the health port, without TLS: /healthz, /readyz (which names what is still awaited),
/// /metrics.
#[derive(Debug, Args)]
#[command(after_long_help = CONTROLLER_EXAMPLES)]
pub struct ControllerArgs {
    /// The address of the health port
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) bind_address: IpAddr,

    /// The port of /healthz, /readyz and /metrics
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub(crate) health_port: u16,

    /// How the log looks, on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: log::Format,

    /// Where the Lease instar-controller is; by default the pod's or the context's own namespace
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,

    /// Write without holding the Lease
    #[arg(long)]
    pub(crate) no_leader_election: bool,
}

const CONTROLLER_EXAMPLES: &str = "\
Environment:
  INSTAR_LOG   what is logged, such as info or instar=debug,kube=warn; where it is not set,
               RUST_LOG; else info
  KUBECONFIG   the cluster, where it is not the pod's own

Examples:
  # In a pod:
  instar controller --log-format json

  # On a workstation, against the current context:
  instar controller --bind-address 127.0.0.1 --no-leader-election

Exit codes: 0 stopped by SIGTERM or SIGINT, 2 error, which the loss of the Lease is too.";

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
    pub(crate) output: wire::Format,

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

/// Prints the version
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  instar version -o json | jq -r .version")]
pub struct VersionArgs {
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: VersionFormat,
}

/// How the version is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum VersionFormat {
    /// One line.
    #[default]
    Text,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// The whole command line, for help and for what is generated from it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
impl Cli {
    /// The arguments of `instar wire`, if it is that.
    pub(crate) fn into_wire(self) -> Option<WireArgs> {
        match self.command {
            Command::Wire(args) => Some(args),
            Command::Webhook(_) | Command::Controller(_) | Command::Version(_) => None,
        }
    }
}

/// Does what the command line says.
pub fn run(cli: &Cli) -> Result<Outcome, Error> {
    match &cli.command {
        Command::Webhook(args) => {
            log::start(args.log_format)?;
            // What floods the port must not keep the caches from what is new.
            let watching = Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let watching = watching.map_err(Error::Runtime)?;
            serving()?.block_on(webhook::run(args, watching.handle()))?;
            Ok(Outcome::Done)
        }
        Command::Controller(args) => {
            log::start(args.log_format)?;
            runtime()?.block_on(controller::run(args))?;
            Ok(Outcome::Done)
        }
        Command::Wire(args) => {
            log::start(log::Format::Text)?;
            let answer = runtime()?.block_on(wire::run(args))?;
            for line in answer.notes {
                eprintln!("{line}");
            }
            print(&answer.text)?;
            Ok(answer.outcome)
        }
        Command::Version(args) => {
            print(&version::text(args.output)?)?;
            Ok(Outcome::Done)
        }
    }
}

/// Of all programs here none has more to do at once.
const MOST_THREADS: usize = 4;

fn runtime() -> Result<Runtime, Error> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MOST_THREADS));
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(Error::Runtime)
}

/// One thread: an answer takes less time than to wake another thread for it, and each has memory of its own.
fn serving() -> Result<Runtime, Error> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)
}

fn print(text: &str) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(Error::Output)
}

#[cfg(test)]
mod tests;
