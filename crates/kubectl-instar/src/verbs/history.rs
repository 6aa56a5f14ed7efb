//! `kubectl instar history`.

use clap::Args;
use instar_report::{
    age, newest_first, target,
    text::{Cell, Table},
};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    Error, Exit,
    connection::Connection,
    output::{self, Format, ValueFormat},
    read,
};

/// Lists the upgrades that a Cluster has had, the last one first
#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<Format>,
}

/// Prints them.
pub(crate) async fn run(connection: &Connection, args: &HistoryArgs) -> Result<Exit, Error> {
    let upgrades = read::upgrades(connection, &args.cluster).await?;
    if upgrades.is_empty() {
        read::cluster(connection, &args.cluster).await?;
        eprintln!("Cluster {} has had no upgrade that is kept.", args.cluster);
        return Ok(Exit::Done);
    }
    let sorted = newest_first(&upgrades);
    let text = match args.output {
        Some(Format::Json) => output::value(&sorted, ValueFormat::Json)?,
        Some(Format::Yaml) => output::value(&sorted, ValueFormat::Yaml)?,
        Some(Format::Name) => output::lines(sorted.iter().map(|upgrade| read::resource_name(&upgrade.name_any()))),
        Some(Format::Wide) | None => {
            let now = Timestamp::now();
            let mut table = Table::new(["UPGRADE", "OPERATION", "TARGET", "PHASE", "MACHINES", "AGE"]);
            for upgrade in sorted {
                let spec = &upgrade.spec;
                let status = upgrade.status.clone().unwrap_or_default();
                let created = upgrade.metadata.creation_timestamp.as_ref();
                table.push([
                    Cell::plain(upgrade.name_any()),
                    Cell::plain(spec.operation.as_str()),
                    Cell::plain(target(upgrade)),
                    Cell::plain(status.phase.as_str()),
                    Cell::plain(status.machines),
                    Cell::plain(
                        created
                            .map(|created| age(now.duration_since(created.0)))
                            .unwrap_or_default(),
                    ),
                ]);
            }
            table.text(&output::layout(None, args.output))
        }
    };
    output::print(&text)?;
    Ok(Exit::Done)
}
