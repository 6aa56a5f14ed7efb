//! `kubectl instar releases`.

use std::collections::BTreeMap;

use clap::Args;
use instar_api::{KubernetesRelease, Pins, RELEASES_ANNOTATION, Tier};
use instar_capi::Cluster;
use instar_report::text::{Cell, Table, Tone};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject},
};

use crate::{
    Error, Exit,
    connection::Connection,
    output::{self, Format, ValueFormat},
    read,
};

/// Lists the catalog: each release with its support, and how many Clusters are pinned to it
#[derive(Args, Debug)]
pub struct ReleasesArgs {
    /// Only the releases of this catalog; "" is the default catalog
    #[arg(long, value_name = "NAME")]
    pub(crate) catalog: Option<String>,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<Format>,
}

/// Prints them, by catalog, version and revision.
pub(crate) async fn run(connection: &Connection, args: &ReleasesArgs) -> Result<Exit, Error> {
    let all = |resource| Api::<DynamicObject>::all_with(connection.client.clone(), &resource);
    let releases = all(ApiResource::erase::<KubernetesRelease>(&()));
    let clusters = all(ApiResource::erase::<Cluster>(&()));
    let (mut releases, clusters) = tokio::try_join!(
        read::readable::<KubernetesRelease>(&releases),
        read::readable::<Cluster>(&clusters)
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
    let used = used(&clusters);
    let text = match args.output {
        Some(Format::Json) => output::value(&releases, ValueFormat::Json)?,
        Some(Format::Yaml) => output::value(&releases, ValueFormat::Yaml)?,
        Some(Format::Name) => output::lines(
            releases
                .iter()
                .map(|release| format!("kubernetesrelease.upgrade.cluster.x-k8s.io/{}", release.name_any())),
        ),
        Some(Format::Wide) | None => table(&releases, &used, args.output),
    };
    if releases.is_empty() {
        eprintln!("No KubernetesReleases found.");
    }
    output::print(&text)?;
    Ok(Exit::Done)
}

/// How many Clusters have each release in their pins.
fn used(clusters: &[Cluster]) -> BTreeMap<String, usize> {
    let mut used = BTreeMap::new();
    let pins = clusters
        .iter()
        .filter_map(|cluster| Pins::from_annotation(cluster.annotations().get(RELEASES_ANNOTATION)?).ok());
    for pin in pins.flat_map(|pins| pins.releases.into_values()) {
        *used.entry(pin.release).or_default() += 1;
    }
    used
}

fn table(releases: &[KubernetesRelease], used: &BTreeMap<String, usize>, format: Option<Format>) -> String {
    let mut table = Table::new([
        "NAME",
        "CATALOG",
        "VERSION",
        "REVISION",
        "TIER",
        "END OF LIFE",
        "CLUSTERS",
    ]);
    for release in releases {
        let spec = &release.spec;
        let support = &spec.support;
        let tone = if support.tier == Tier::Deprecated {
            Tone::Warning
        } else {
            Tone::Plain
        };
        let name = release.name_any();
        table.push([
            Cell::plain(&name),
            Cell::plain(spec.catalog.as_str()),
            Cell::plain(spec.version.to_string()),
            Cell::plain(spec.revision.to_string()),
            Cell::toned(support.tier.as_str(), tone),
            Cell::plain(support.end_of_life.map(|day| day.to_string()).unwrap_or_default()),
            Cell::plain(used.get(&name).copied().unwrap_or_default().to_string()),
        ]);
    }
    table.text(&output::layout(None, format))
}
