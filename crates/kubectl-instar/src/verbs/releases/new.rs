//! `kubectl instar releases new`: the next row, after the example of another one.

use std::{io, path::PathBuf};

use clap::Args;
use instar_api::{KubernetesRelease, KubernetesReleaseSpec};
use instar_catalog::Release;
use instar_domain::KubeVersion;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject},
};
use serde::Deserialize;

use super::{files, next};
use crate::{Error, Exit, connection::Connection, output, read};

/// Prints the row of a new version, after the example of another row
///
/// The new version takes the place of the old one in the values of the machine images; etcd and CoreDNS are those that
/// kubeadm of the new version brings, but for an etcd from which no safe way leads to 3.6. Comments say what has to be
/// checked by hand, such as an image whose name doesn't contain the version. With the version of the other row, the row has
/// the next revision: for a new image.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct NewArgs {
    /// The Kubernetes version, such as v1.36.3
    #[arg(value_name = "VERSION")]
    version: KubeVersion,

    /// The KubernetesRelease after whose example it is made
    #[arg(long, value_name = "RELEASE")]
    from: String,

    /// Read the KubernetesReleases from files or folders instead of the cluster; - is standard input; can be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Its name; the default is that of the other row with the new version
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  # The next row of a catalog in Git, without a cluster:
  kubectl instar releases new v1.36.3 --from v1.35.4-1 -f catalog/ > catalog/v1.36.3-1.yaml

  # After the example of a row in the cluster:
  kubectl instar releases new v1.36.3 --from v1.35.4-1 | tee next.yaml

Exit codes: 0 done, 1 a row of its name exists, 2 the other row can't be read.";

/// A row that exists.
type Row = (String, KubernetesReleaseSpec);

/// From files, without a cluster.
pub(super) fn offline(args: &NewArgs) -> Option<Result<Exit, Error>> {
    (!args.files.is_empty()).then(|| print(args, &from_files(&args.files)?))
}

/// From the catalog in the cluster.
pub(super) async fn run(connection: &Connection, args: &NewArgs) -> Result<Exit, Error> {
    if let Some(done) = offline(args) {
        return done;
    }
    let resource = ApiResource::erase::<KubernetesRelease>(&());
    let api = Api::<DynamicObject>::all_with(connection.client.clone(), &resource);
    let rows = read::readable::<KubernetesRelease>(&api).await?;
    let rows: Vec<Row> = rows.into_iter().map(|row| (row.name_any(), row.spec)).collect();
    print(args, &rows)
}

fn from_files(paths: &[PathBuf]) -> Result<Vec<Row>, Error> {
    let files = files::read(paths, io::stdin())?;
    let mut rows = Vec::new();
    for row in &files.rows {
        let value = row.located.value();
        match KubernetesReleaseSpec::deserialize(&value["spec"]) {
            Ok(spec) => rows.push((row.name(), spec)),
            Err(why) => eprintln!(
                "not read: KubernetesRelease {} in {}: {why}",
                row.name(),
                row.place.file
            ),
        }
    }
    Ok(rows)
}

fn print(args: &NewArgs, rows: &[Row]) -> Result<Exit, Error> {
    let NewArgs {
        version, from, name, ..
    } = args;
    let Some((_, spec)) = rows.iter().find(|(name, _)| name == from) else {
        let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Error::NoRow {
            name: from.clone(),
            others: names.join(", "),
        });
    };
    let of_version = |(_, other): &&Row| other.catalog == spec.catalog && other.version == *version;
    let highest = rows.iter().filter(of_version).map(|(_, other)| other.revision).max();
    let revision = highest.map_or(1, |highest| highest + 1);
    let document = next::row((from, spec), version, revision, name.as_deref());
    if rows.iter().any(|(name, _)| *name == document.name) {
        return Err(Error::Refused(format!(
            "KubernetesRelease {} exists: choose another name with --name",
            document.name
        )));
    }
    output::print(&document.yaml()?)?;
    let releases =
        Release::read(from, spec).and_then(|from| Ok((from, Release::read(&document.name, &document.spec)?)));
    match releases {
        Ok((before, next)) => {
            if let Some(why) = before.refuses_step_to(&next) {
                eprintln!("No cluster gets from {from} to {} in one step: {why}.", document.name);
            }
        }
        Err(why) => eprintln!("{why}"),
    }
    eprintln!("Check it, beside the others, with: kubectl instar releases lint FILES");
    Ok(Exit::Done)
}
