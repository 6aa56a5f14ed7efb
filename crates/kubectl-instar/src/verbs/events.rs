//! `kubectl instar events`.

use std::collections::BTreeSet;

use clap::Args;
use instar_api::EventReason;
use instar_report::{
    age,
    text::{Cell, Table, Tone},
};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{ResourceExt, api::ListParams};

use crate::{Error, Exit, connection::Connection, output, read};

/// Lists Instar's Events of a Cluster, the newest last
///
/// Those about the Cluster and about its ClusterUpgrades. API servers forget an Event after an hour, as long as they aren't
/// told otherwise.
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,
}

/// Prints them.
pub(crate) async fn run(connection: &Connection, args: &EventsArgs) -> Result<Exit, Error> {
    read::cluster(connection, &args.cluster).await?;
    let upgrades = read::upgrades(connection, &args.cluster).await?;
    let mut about: BTreeSet<(String, String)> = upgrades
        .iter()
        .map(|upgrade| ("ClusterUpgrade".to_owned(), upgrade.name_any()))
        .collect();
    about.insert(("Cluster".to_owned(), args.cluster.clone()));
    let events = read::pages(&connection.api::<Event>(), &ListParams::default(), "Event").await?;
    let ours = |event: &&Event| {
        let regarding = event.regarding.as_ref();
        let object = regarding.and_then(|object| Some((object.kind.clone()?, object.name.clone()?)));
        let reason = event.reason.as_deref().unwrap_or_default();
        object.is_some_and(|object| about.contains(&object))
            && EventReason::ALL.iter().any(|known| known.as_str() == reason)
    };
    let mut ours: Vec<&Event> = events.iter().filter(ours).collect();
    ours.sort_by_key(|event| last(event));
    let now = Timestamp::now();
    let mut table = Table::new(["LAST SEEN", "COUNT", "REASON", "OBJECT", "MESSAGE"]);
    for event in &ours {
        let tone = if event.type_.as_deref() == Some("Warning") {
            Tone::Warning
        } else {
            Tone::Plain
        };
        let regarding = event.regarding.clone().unwrap_or_default();
        let count = event.series.as_ref().map_or(1, |series| series.count);
        table.push([
            Cell::plain(
                last(event)
                    .map(|last| age(now.duration_since(last)))
                    .unwrap_or_default(),
            ),
            Cell::plain(count.to_string()),
            Cell::toned(event.reason.clone().unwrap_or_default(), tone),
            Cell::plain(format!(
                "{}/{}",
                regarding.kind.unwrap_or_default(),
                regarding.name.unwrap_or_default()
            )),
            Cell::plain(event.note.clone().unwrap_or_default()),
        ]);
    }
    if ours.is_empty() {
        eprintln!("No Events of Instar found about Cluster {}.", args.cluster);
        return Ok(Exit::Done);
    }
    output::print(&table.text(&output::layout(None, None)))?;
    Ok(Exit::Done)
}

/// When it was seen last.
fn last(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let once = event.event_time.as_ref().map(|time| time.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    series.or(once).or(created)
}
