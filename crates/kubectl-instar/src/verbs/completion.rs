//! `kubectl instar completion`, and the answers to kubectl's own completion.

mod words;

use std::time::Duration;

use clap::{Args, Command, ValueEnum};
use clap_complete::{generate, shells};
use instar_api::KubernetesRelease;
use instar_capi::Cluster;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
    config::Kubeconfig,
};
use tokio::{runtime::Builder, time::timeout};

use self::words::{Asked, Wanted};
use crate::{
    Error, Exit,
    connection::{Connection, ConnectionArgs},
    output, read,
    verbs::explain,
};

/// Prints a script by which a shell completes the commands of the plugin
///
/// It is for the program's own name. Behind `kubectl instar` kubectl asks a program `kubectl_complete-instar` in the PATH:
/// that is this program under another name, and knows the Clusters and the catalog too.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  # In bash, for kubectl-instar:
  source <(kubectl instar completion bash)

  # In any shell that completes kubectl, for kubectl instar:
  ln -s \"$(command -v kubectl-instar)\" /usr/local/bin/kubectl_complete-instar";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What stands behind the program's name, the last of it being typed.
#[derive(Args, Debug)]
pub struct CompleteArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionArgs, mut command: Command, program: &str) -> Result<Exit, Error> {
    let mut script = Vec::new();
    match args.shell {
        Shell::Bash => generate(shells::Bash, &mut command, program, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, program, &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, program, &mut script),
    }
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// How long the cluster has to answer, since the user waits for it at the prompt.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many names are offered.
const MOST: u32 = 500;

/// As kubectl reads it: a line for each word, then a number. 4: no files beside them; 0: files.
const NO_FILES: &str = ":4\n";
const FILES: &str = ":0\n";

/// Prints what may stand where the last word is. Where nothing is known, it is nothing: an error would stand in the middle of
/// the line that is typed.
pub(crate) fn complete(command: Command, words: &[String]) -> Result<Exit, Error> {
    let (prefix, before) = words
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let Asked { wanted, connection } = words::asked(command, before, prefix);
    let candidates = match wanted {
        Wanted::Files => {
            output::print(FILES)?;
            return Ok(Exit::Done);
        }
        Wanted::Words(words) => words,
        Wanted::Explained => explain::names(),
        Wanted::Contexts => contexts(&connection),
        Wanted::Clusters | Wanted::Releases | Wanted::Namespaces => from_cluster(&wanted, &connection)?,
    };
    let fitting = candidates.into_iter().filter(|word| word.starts_with(prefix));
    output::print(&(output::lines(fitting) + NO_FILES))?;
    Ok(Exit::Done)
}

fn contexts(args: &ConnectionArgs) -> Vec<String> {
    let read = args
        .kubeconfig
        .as_ref()
        .map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let contexts = read.map(|kubeconfig| kubeconfig.contexts).unwrap_or_default();
    contexts.into_iter().map(|context| context.name).collect()
}

fn from_cluster(wanted: &Wanted, args: &ConnectionArgs) -> Result<Vec<String>, Error> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Runtime)?.block_on(async {
        let names = async {
            let connection = Connection::open(args).await?;
            names(wanted, &connection).await
        };
        Ok(timeout(PATIENCE, names)
            .await
            .unwrap_or(Ok(Vec::new()))
            .unwrap_or_default())
    })
}

async fn names(wanted: &Wanted, connection: &Connection) -> Result<Vec<String>, Error> {
    let page = ListParams::default().limit(MOST);
    let client = || connection.client.clone();
    let what = || "cannot list".to_owned();
    match wanted {
        Wanted::Clusters => {
            let clusters = read::dynamic::<Cluster>(connection);
            let clusters = instar::cluster::call(what, clusters.list_metadata(&page)).await?;
            Ok(clusters.items.iter().map(ResourceExt::name_any).collect())
        }
        Wanted::Namespaces => {
            let namespaces = Api::<Namespace>::all(client());
            let namespaces = instar::cluster::call(what, namespaces.list_metadata(&page)).await?;
            Ok(namespaces.items.iter().map(ResourceExt::name_any).collect())
        }
        Wanted::Releases => {
            let resource = ApiResource::erase::<KubernetesRelease>(&());
            let releases = Api::<DynamicObject>::all_with(client(), &resource);
            let releases = instar::cluster::call(what, releases.list(&page)).await?.items;
            let versions = releases
                .iter()
                .filter_map(|release| release.data.pointer("/spec/version")?.as_str().map(ToOwned::to_owned));
            let mut words: Vec<String> = versions.chain(releases.iter().map(ResourceExt::name_any)).collect();
            words.sort();
            words.dedup();
            Ok(words)
        }
        Wanted::Words(_) | Wanted::Explained | Wanted::Contexts | Wanted::Files => Ok(Vec::new()),
    }
}
