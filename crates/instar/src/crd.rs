//! `instar crd`: the CustomResourceDefinitions of this version, printed or applied.

mod apply;
mod fields;

use std::path::PathBuf;

use clap::Args;
use instar_api::Definition;
use serde_json::{Value, json};

use crate::{cluster, output::OutputFormat, yaml};

/// Prints or applies the CustomResourceDefinitions
///
/// The definitions of ClusterUpgrades, KubernetesReleases and UpgradePolicies are in the program itself, so they need no
/// other file and no network but the cluster's. Each has the version of Instar in its annotation
/// upgrade.cluster.x-k8s.io/instar-version. Apply them before a newer Instar starts: it works with definitions of its own
/// minor version alone.
///
/// With --apply, the definitions are applied on the server side, by the field manager instar-crd, and one line for each
/// says whether it was created, configured or is unchanged. Fields of the definitions that another client has set are
/// taken over. Nothing is applied if objects have fields that these definitions don't have, since the API server would
/// drop them without a word: the error names the objects and the fields.
#[derive(Debug, Args)]
#[command(after_long_help = CRD_EXAMPLES)]
pub struct CrdArgs {
    /// Apply the definitions to the cluster instead of printing them
    #[arg(long, conflicts_with = "output")]
    pub(crate) apply: bool,

    /// The output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: OutputFormat,

    /// The kubeconfig file
    #[arg(long, value_name = "FILE", requires = "apply")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig file
    #[arg(long, value_name = "NAME", requires = "apply")]
    pub(crate) context: Option<String>,
}

const CRD_EXAMPLES: &str = "\
Examples:
  # Apply the definitions before a newer Instar is installed:
  instar crd --apply

  # The same with another client:
  instar crd | kubectl apply --server-side --force-conflicts -f -

  # See which version the definitions are from:
  instar crd -o json | jq '.items[].metadata.annotations'

Exit codes: 0 done, 2 error.";

/// Why the definitions can't be printed or applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster can't be talked to.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// They can't be printed.
    #[error(transparent)]
    Print(#[from] yaml::PrintError),
    /// An object is not read as JSON.
    #[error("cannot read the API server's answer for {what}")]
    Unreadable {
        /// The object.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Objects may be stored at a version that would be taken away.
    #[error(
        "CustomResourceDefinition {definition} has objects that are stored at {version} (status.storedVersions), which this \
         program doesn't have, so nothing is applied: use the version of Instar that has it, or write the objects again at \
         {} and take {version} out of status.storedVersions",
        instar_api::STORED_VERSION
    )]
    Stored {
        /// Its name.
        definition: &'static str,
        /// The version.
        version: String,
    },
    /// Objects would lose fields.
    #[error(
        "objects have fields that the definitions of {} don't have, and the API server would drop them, so nothing is \
         applied: {}: use the version of Instar that has these fields, or remove them from the objects first",
        instar_api::INSTAR_VERSION,
        .objects.join("; ")
    )]
    Fields {
        /// The first objects with their fields, and how many more there are.
        objects: Vec<String>,
    },
    /// A definition isn't served.
    #[error(
        "CustomResourceDefinition {definition} was applied, but the API server doesn't serve it after {seconds} s: see its \
         conditions with kubectl describe"
    )]
    NotServed {
        /// Its name.
        definition: &'static str,
        /// How long was waited.
        seconds: u64,
    },
}

/// Prints or applies the definitions. `print` writes to standard output, a line as soon as it is true.
pub(crate) async fn run<E: From<Error>>(args: &CrdArgs, print: impl Fn(&str) -> Result<(), E>) -> Result<(), E> {
    if !args.apply {
        return print(&text(args.output).map_err(Error::Print)?);
    }
    let client = cluster::connect(args.kubeconfig.as_deref(), args.context.as_deref()).await;
    let client = client.map_err(Error::Cluster)?;
    apply::refuse_losses(&client).await?;
    for definition in Definition::ALL {
        let applied = apply::apply(&client, definition).await?;
        print(&format!(
            "customresourcedefinition.apiextensions.k8s.io/{} {}\n",
            definition.name(),
            applied.as_str()
        ))?;
    }
    for definition in Definition::ALL {
        apply::served(&client, definition).await?;
    }
    Ok(())
}

fn text(format: OutputFormat) -> Result<String, yaml::PrintError> {
    let objects = Definition::ALL.map(Definition::object);
    match format {
        OutputFormat::Yaml => objects
            .iter()
            .map(|object| Ok(format!("---\n{}", yaml::print(object)?)))
            .collect(),
        OutputFormat::Json => yaml::json(&list(&objects)),
    }
}

/// As `kubectl get -o json` prints several objects.
fn list(objects: &[Value]) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": objects })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_have_the_same_definitions() {
        let yaml = yaml::read(&text(OutputFormat::Yaml).unwrap()).unwrap();
        let json: Value = serde_json::from_str(&text(OutputFormat::Json).unwrap()).unwrap();
        assert_eq!(yaml.len(), 3);
        assert_eq!(json["items"].as_array(), Some(&yaml));
    }
}
