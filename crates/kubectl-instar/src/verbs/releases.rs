//! `kubectl instar releases`.

mod document;
mod files;
mod from_cluster;
mod lint;
mod new;
mod next;
mod observed;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use instar_api::{KubernetesRelease, KubernetesReleaseSpec, Pins, RELEASES_ANNOTATION, Tier};
use instar_capi::Cluster;
use instar_catalog::{Catalog, Catalogs};
use instar_domain::Minor;
use instar_report::text::{Cell, Table, Tone};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::PartialObjectMeta,
};

use crate::{
    Error, Exit,
    connection::Connection,
    output::{self, Format, ValueFormat},
    read,
};

/// Lists the catalog: each release with its support, and how many Clusters are pinned to it
///
/// With -o wide also which Clusters, and to which releases each leads in one step. What it says of steps holds for control
/// planes of kubeadm.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_long_help = EXAMPLES)]
pub struct ReleasesArgs {
    #[command(subcommand)]
    command: Option<ReleasesCommand>,

    #[command(flatten)]
    list: ListArgs,
}

const EXAMPLES: &str = "\
Examples:
  kubectl instar releases -o wide
  kubectl instar releases lint catalog/
  kubectl instar releases new v1.36.3 --from v1.35.4-1 > v1.36.3-1.yaml";

#[derive(Debug, Subcommand)]
enum ReleasesCommand {
    Lint(lint::LintArgs),
    New(new::NewArgs),
    FromCluster(from_cluster::FromClusterArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Only the releases of this catalog; "" is the default catalog
    #[arg(long, value_name = "NAME")]
    pub(crate) catalog: Option<String>,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<Format>,
}

/// What needs no cluster; nothing where it needs one.
pub(crate) fn offline(args: &ReleasesArgs) -> Option<Result<Exit, Error>> {
    match &args.command {
        Some(ReleasesCommand::Lint(args)) => Some(lint::run(args)),
        Some(ReleasesCommand::New(args)) => new::offline(args),
        Some(ReleasesCommand::FromCluster(_)) | None => None,
    }
}

/// What is asked of the catalog.
pub(crate) async fn run(connection: &Connection, args: &ReleasesArgs) -> Result<Exit, Error> {
    match &args.command {
        Some(ReleasesCommand::Lint(args)) => lint::run(args),
        Some(ReleasesCommand::New(args)) => new::run(connection, args).await,
        Some(ReleasesCommand::FromCluster(args)) => from_cluster::run(connection, args).await,
        None => list(connection, &args.list).await,
    }
}

/// Prints them, by catalog, version and revision.
async fn list(connection: &Connection, args: &ListArgs) -> Result<Exit, Error> {
    let all = |resource| Api::<DynamicObject>::all_with(connection.client.clone(), &resource);
    let releases = all(ApiResource::erase::<KubernetesRelease>(&()));
    let (mut releases, clusters) = tokio::try_join!(
        read::readable::<KubernetesRelease>(&releases),
        read::all_metadata::<Cluster>(connection)
    )?;
    let catalog = |release: &KubernetesRelease| release.spec.catalog.to_string();
    if let Some(wanted) = &args.catalog {
        releases.retain(|release| release.spec.catalog.as_str() == wanted);
    }
    releases.sort_by(|one, other| {
        let key = |release: &KubernetesRelease| (release.spec.version.clone(), release.spec.revision);
        catalog(one)
            .cmp(&catalog(other))
            .then_with(|| key(one).cmp(&key(other)))
    });
    let pinned = pinned(&clusters);
    let text = match args.output {
        Some(Format::Json) => output::value(&releases, ValueFormat::Json)?,
        Some(Format::Yaml) => output::value(&releases, ValueFormat::Yaml)?,
        Some(Format::Name) => output::lines(
            releases
                .iter()
                .map(|release| format!("kubernetesrelease.upgrade.cluster.x-k8s.io/{}", release.name_any())),
        ),
        Some(Format::Wide) => wide_table(&releases, &pinned),
        None => table(&releases, &pinned),
    };
    if releases.is_empty() {
        eprintln!("No KubernetesReleases found.");
    }
    output::print(&text)?;
    Ok(Exit::Done)
}

/// The Clusters that have each release in their pins, as namespace/name.
fn pinned(clusters: &[PartialObjectMeta<Cluster>]) -> BTreeMap<String, Vec<String>> {
    let mut pinned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cluster in clusters {
        let annotation = cluster.annotations().get(RELEASES_ANNOTATION);
        let Some(Ok(pins)) = annotation.map(|annotation| Pins::from_annotation(annotation)) else {
            continue;
        };
        let name = format!("{}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any());
        for pin in pins.releases.into_values() {
            pinned.entry(pin.release).or_default().push(name.clone());
        }
    }
    pinned
}

const HEADINGS: [&str; 7] = [
    "NAME",
    "CATALOG",
    "VERSION",
    "REVISION",
    "TIER",
    "END OF LIFE",
    "CLUSTERS",
];

fn table(releases: &[KubernetesRelease], pinned: &BTreeMap<String, Vec<String>>) -> String {
    let mut table = Table::new(HEADINGS);
    for release in releases {
        table.push(cells(release, pinned));
    }
    table.text(&output::layout(None, None))
}

/// With the names of the Clusters, and where each row leads.
fn wide_table(releases: &[KubernetesRelease], pinned: &BTreeMap<String, Vec<String>>) -> String {
    let [name, catalog, version, revision, tier, end_of_life, clusters] = HEADINGS;
    let mut table = Table::new([
        name,
        catalog,
        version,
        revision,
        tier,
        end_of_life,
        clusters,
        "PINNED BY",
        "LEADS TO",
    ]);
    let specs = releases.iter().map(|release| (release.name_any(), &release.spec));
    let specs: Vec<(String, &KubernetesReleaseSpec)> = specs.collect();
    let catalogs = Catalogs::new(specs.iter().map(|(name, spec)| (name.as_str(), *spec)));
    for release in releases {
        let name = release.name_any();
        let catalog = catalogs.of(&release.spec.catalog);
        let [c1, c2, c3, c4, c5, c6, c7] = cells(release, pinned);
        let by = pinned.get(&name).map_or(&[][..], Vec::as_slice);
        table.push([
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
            Cell::plain(some(by)),
            Cell::plain(leads_to(&catalog, &name).join(", ")),
        ]);
    }
    table.text(&output::layout(None, Some(Format::Wide)))
}

/// So many names stand in a cell.
const SHOWN: usize = 3;

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<String>>().join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}

/// The row of each minor that is gone to from this one in one step: the newest that it leads to. For a control plane of
/// kubeadm; a class may list fewer.
fn leads_to(catalog: &Catalog, name: &str) -> Vec<String> {
    let Some(own) = catalog.named(name) else {
        return Vec::new();
    };
    let newer = catalog.releases().filter(|row| row.version() > own.version());
    let mut newest: BTreeMap<Minor, &str> = BTreeMap::new();
    for row in newer.filter(|row| own.refuses_step_to(row).is_none()) {
        newest.insert(row.version().minor(), row.name());
    }
    newest.into_values().map(ToOwned::to_owned).collect()
}

fn cells(release: &KubernetesRelease, pinned: &BTreeMap<String, Vec<String>>) -> [Cell; 7] {
    let spec = &release.spec;
    let support = &spec.support;
    let tone = if support.tier == Tier::Deprecated {
        Tone::Warning
    } else {
        Tone::Plain
    };
    let name = release.name_any();
    [
        Cell::plain(&name),
        Cell::plain(spec.catalog.as_str()),
        Cell::plain(spec.version.to_string()),
        Cell::plain(spec.revision.to_string()),
        Cell::toned(support.tier.as_str(), tone),
        Cell::plain(support.end_of_life.map(|day| day.to_string()).unwrap_or_default()),
        Cell::plain(pinned.get(&name).map_or(0, Vec::len).to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_leads_to_the_newest_of_each_minor() {
        let row = |name: &str, spec: serde_json::Value| (name.to_owned(), serde_json::from_value(spec).unwrap());
        let rows: [(String, KubernetesReleaseSpec); 5] = [
            row("a", json!({ "version": "v1.34.1" })),
            row("b", json!({ "version": "v1.34.3" })),
            row("c", json!({ "version": "v1.35.1" })),
            row("d", json!({ "version": "v1.35.4", "upgradesFrom": ">=1.34.3" })),
            row("e", json!({ "version": "v1.36.0" })),
        ];
        let catalog = Catalog::new(rows.iter().map(|(name, spec)| (name.as_str(), spec)));
        assert_eq!(leads_to(&catalog, "a"), ["b", "c"]);
        assert_eq!(leads_to(&catalog, "b"), ["d"]);
        assert_eq!(leads_to(&catalog, "d"), ["e"]);
        assert!(leads_to(&catalog, "e").is_empty());
        let names: Vec<String> = (0..5).map(|at| format!("fleet/c{at}")).collect();
        assert_eq!(some(&names), "fleet/c0, fleet/c1, fleet/c2 and 2 more");
    }
}
