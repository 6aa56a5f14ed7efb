//! `kubectl instar ui`.

mod page;

use std::path::PathBuf;

use clap::Args;

use self::page::{MayWrite, Options, Page, Scope};
use crate::{Error, Exit, connection::Connection, export, output, read};

/// Shows what upgrades are at in a browser
///
/// The page is served on 127.0.0.1 alone, with the rights of your kubeconfig, and without --allow-actions it writes nothing. Its
/// address has a random token: who doesn't know it is refused, also on this machine. It ends with Ctrl-C.
///
/// With CLUSTER the browser opens that Cluster's page, else the list of the Clusters that have upgrades.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct UiArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,

    /// List the Clusters of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,

    /// The port; the default is one that is free
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    pub(crate) port: u16,

    /// Let the page approve, pause, resume, abort, take back, begin and retry upgrades, each with a button beside the command
    /// that does the same
    #[arg(long)]
    pub(crate) allow_actions: bool,

    /// Print the address, and open no browser
    #[arg(long)]
    pub(crate) no_open: bool,

    /// Write the Cluster's page into one file, and serve nothing
    #[arg(long, value_name = "FILE", requires = "cluster", conflicts_with_all = ["port", "no_open", "all_namespaces", "allow_actions"])]
    pub(crate) export: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  # One Cluster, in the browser:
  kubectl instar ui my-cluster

  # The same, with buttons for what you may do:
  kubectl instar ui my-cluster --allow-actions

  # All Clusters, on a port that you can forward by ssh:
  kubectl instar ui -A --port 8700 --no-open

  # One file for a ticket, which asks for nothing when it is opened:
  kubectl instar ui my-cluster --export my-cluster.html

Exit codes: 0 ended by Ctrl-C, 2 couldn't be served.";

/// Serves it until the program is ended.
pub(crate) async fn run(connection: &Connection, args: &UiArgs) -> Result<Exit, Error> {
    if let (Some(cluster), Some(file)) = (&args.cluster, &args.export) {
        let report = read::report(connection, cluster).await?;
        export::write(&report, file)?;
        return Ok(Exit::Done);
    }
    let scope = if args.all_namespaces {
        Scope::All
    } else {
        Scope::Namespace
    };
    let may = if args.allow_actions {
        MayWrite::Actions
    } else {
        MayWrite::Nothing
    };
    let options = Options {
        port: args.port,
        scope,
        may,
    };
    let page = Page::bind(connection.clone(), options).await?;
    let cluster = args.cluster.as_deref();
    let cluster = cluster.map(|name| (connection.namespace.as_str(), name));
    output::print(&format!("{}\n", page.address(cluster)))?;
    let who = match may {
        MayWrite::Nothing => "sees what you may see",
        MayWrite::Actions => "sees what you may see, and can do what the page's buttons do under your rights",
    };
    eprintln!("It is served until Ctrl-C. Who knows the address {who}: keep it to yourself.");
    if !args.no_open
        && let Err(error) = open::that_detached(page.ticket(cluster))
    {
        eprintln!("cannot open a browser: {error}. Open the address above.");
    }
    tokio::select! {
        served = page.serve() => served.map(|()| Exit::Done),
        stopped = tokio::signal::ctrl_c() => stopped.map(|()| Exit::Done).map_err(Error::Runtime),
    }
}
