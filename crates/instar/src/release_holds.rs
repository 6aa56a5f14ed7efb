//! `instar release-holds`: takes off what Instar holds, before Instar is removed.

mod lease;
mod objects;

use std::path::PathBuf;

use clap::Args;
use instar_api::{HOOKS_ENABLED, HOOKS_LABEL};
use instar_planner::HookAnswers;
use kube::Client;

use crate::{Outcome, cluster};
use objects::Write;

/// Takes off everything that Instar holds, before it is removed
///
/// Instar holds upgrades by marks in objects of Cluster API's, and lets them go itself when it is time. Once it is removed,
/// nothing does: a pool that is held would stay as it is. This command takes off all marks of Instar's, and none of a
/// user's:
///
///   spec.paused of MachineDeployments with the annotation upgrade.cluster.x-k8s.io/held
///   the annotation cluster.x-k8s.io/paused with Instar's mark, of MachineDeployments, MachinePools and their infrastructure
///   the raised topology.cluster.x-k8s.io/upgrade-concurrency of Clusters: the user's value is put back
///   the answer to Runtime Hooks, and Instar's value of the annotation that switches Cluster API's version check off
///   the ExtensionConfig of Instar's Runtime Hooks
///
/// Cluster API asks for every namespace by the one ExtensionConfig, so with -n it stays, and so do the answers: topology
/// Clusters of a namespace that opted in to Runtime Hooks wait at their next step, until the command runs without -n or the
/// namespace's label is taken off.
///
/// What was held goes on at once, and all of it at the same time: pools that had waited for a window or an approval begin
/// to replace their machines. Use --dry-run first.
///
/// The controller would hold the objects again, so the command refuses while one has its Lease.
#[derive(Debug, Args)]
#[command(after_long_help = RELEASE_EXAMPLES)]
pub struct ReleaseHoldsArgs {
    /// Only objects of this namespace; the default is all namespaces
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// Say what would be taken off, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// The kubeconfig file
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig file
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

const RELEASE_EXAMPLES: &str = "\
Examples:
  # See what is held:
  instar release-holds --dry-run

  # Stop the controller, and let everything go:
  kubectl scale deployment instar-controller -n instar-system --replicas=0
  instar release-holds

Exit codes: 0 done, 1 an object could not be changed, 2 error.";

/// Why nothing was taken off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster can't be talked to.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The controller runs.
    #[error(
        "the controller {holder} runs (Lease {namespace}/{name}) and would hold the objects again, so nothing is taken off: \
         stop it first: kubectl scale deployment {} -n {namespace} --replicas=0{}",
        instar_controller::LEASE_NAME,
        other_deployment(name)
    )]
    Running {
        /// The Lease's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// The ExtensionConfig can't be deleted.
    #[error("cannot delete the ExtensionConfig of Instar's Runtime Hooks: {why}")]
    Extension {
        /// Why.
        why: String,
    },
}

/// Only the Deployment of a controller that looks after every Cluster has a name that is known.
fn other_deployment(lease: &str) -> &'static str {
    if lease == instar_controller::LEASE_NAME {
        ""
    } else {
        ", with the name of the Deployment that runs it with --watch-filter or --namespace"
    }
}

/// Takes off all marks. `print` writes a line for each object to standard output, as soon as it is true.
pub(crate) async fn run<E: From<Error>>(
    args: &ReleaseHoldsArgs,
    print: impl Fn(&str) -> Result<(), E>,
) -> Result<Outcome, E> {
    let client = cluster::connect(args.kubeconfig.as_deref(), args.context.as_deref()).await;
    let client = client.map_err(Error::Cluster)?;
    if !args.dry_run {
        lease::refuse_running(&client, args.namespace.as_deref()).await?;
    }
    let write = if args.dry_run { Write::Said } else { Write::Made };
    release(&client, args.namespace.as_deref(), write, &print).await
}

/// First the ExtensionConfig: while Cluster API asks, a Cluster without an answer waits. Where it can't be deleted nothing has
/// changed yet.
async fn release<E: From<Error>>(
    client: &Client,
    namespace: Option<&str>,
    write: Write,
    print: &impl Fn(&str) -> Result<(), E>,
) -> Result<Outcome, E> {
    let answers = if let Some(namespace) = namespace {
        print(&format!(
            "Namespace {namespace}: if it has the label {HOOKS_LABEL}={HOOKS_ENABLED}, its topology Clusters wait at \
                 their next step while ExtensionConfig instar is there: run this command without -n, or take the label off\n"
        ))?;
        HookAnswers::Left
    } else {
        let (dry_run, does) = match write {
            Write::Said => (true, "would delete"),
            Write::Made => (false, "deleted"),
        };
        let removed = instar_controller::remove_extension_config(client, dry_run).await;
        if removed.map_err(|why| Error::Extension { why })? {
            print(&format!("ExtensionConfig instar: {does}\n"))?;
        }
        HookAnswers::TakenOff
    };
    objects::release(client, namespace, answers, write, print).await
}
