//! `kubectl instar snapshot`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use instar::yaml;
use serde_json::Value;

use crate::{Error, Exit, connection::Connection, output, read};

/// The file in the folder.
const FILE: &str = "objects.yaml";

/// Writes the objects of a Cluster into a folder, to look at them without the cluster
///
/// Those of Cluster API and of Instar alone: no Secret, and nothing of the workload cluster. What providers keep in their
/// own objects, such as addresses, may be in it: read it before you send it to anyone.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct SnapshotArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// The folder; it is created where it isn't there
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  kubectl instar snapshot my-cluster ./my-cluster
  kubectl instar status my-cluster --from-snapshot ./my-cluster

Exit codes: 0 done, 2 couldn't be read or written.";

/// Writes them.
pub(crate) async fn run(connection: &Connection, args: &SnapshotArgs) -> Result<Exit, Error> {
    let read = read::snapshot(connection, &args.cluster).await?;
    for why in &read.unread {
        eprintln!("not written: {why}");
    }
    let documents = read
        .objects
        .iter()
        .map(|object| Ok(format!("---\n{}", yaml::print(object)?)));
    let text: String = documents.collect::<Result<_, yaml::PrintError>>()?;
    let path = args.dir.join(FILE);
    let written = fs::create_dir_all(&args.dir).and_then(|()| fs::write(&path, text));
    written.map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    output::print(&format!("{}: {} objects\n", path.display(), read.objects.len()))?;
    Ok(Exit::Done)
}

/// The objects of a folder.
pub(crate) fn read(dir: &Path) -> Result<Vec<Value>, Error> {
    let path = dir.join(FILE);
    let text = fs::read_to_string(&path).map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    yaml::read(&text).map_err(|source| Error::Snapshot { path, source })
}
