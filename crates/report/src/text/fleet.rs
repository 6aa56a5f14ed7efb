//! Many Clusters, a line each.

use std::collections::BTreeMap;

use instar_api::{ClusterUpgrade, HealthLevel, UpgradePhase};
use jiff::Timestamp;
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Cell, Layout, Table, words};
use crate::{age, record};

/// A Cluster's upgrade, in a list.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FleetRow {
    /// The Cluster's namespace.
    pub namespace: String,
    /// Its name.
    pub cluster: String,
    /// The ClusterUpgrade.
    pub upgrade: String,
    /// Where it goes; of a rollback the ClusterUpgrade that it takes back.
    pub target: String,
    /// What it is at.
    pub phase: UpgradePhase,
    /// Whether `spec.paused` is set.
    pub paused: bool,
    /// Whether the status describes the spec as it is now.
    pub observed: bool,
    /// How many machines are where they go, of how many: 5/7.
    pub machines: String,
    /// The level of the first row of its health; absent where nothing is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<HealthLevel>,
    /// The reason of that row.
    pub reason: String,
    /// The object of that row.
    pub object: String,
    /// When it began, as a Unix time in seconds; absent where that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<i64>,
}

impl FleetRow {
    /// A row for each Cluster that has any, by namespace and name.
    #[must_use]
    pub fn of_all(upgrades: Vec<ClusterUpgrade>) -> Vec<Self> {
        let mut clusters: BTreeMap<(String, String), Vec<ClusterUpgrade>> = BTreeMap::new();
        for upgrade in upgrades {
            let key = (
                upgrade.namespace().unwrap_or_default(),
                upgrade.spec.cluster_name.clone(),
            );
            clusters.entry(key).or_default().push(upgrade);
        }
        clusters.values().filter_map(|upgrades| Self::of(upgrades)).collect()
    }

    /// Of the upgrades of one Cluster, the one that goes on or else the last one.
    #[must_use]
    pub fn of(upgrades: &[ClusterUpgrade]) -> Option<Self> {
        let upgrade = record::current(upgrades)?;
        let status = upgrade.status.clone().unwrap_or_default();
        let row = status.health.first();
        let spec = &upgrade.spec;
        Some(Self {
            namespace: upgrade.namespace().unwrap_or_default(),
            cluster: spec.cluster_name.clone(),
            upgrade: upgrade.name_any(),
            target: record::target(upgrade).to_owned(),
            phase: status.phase,
            paused: spec.paused,
            observed: record::is_observed(upgrade),
            machines: status.machines.clone(),
            level: row.map(|row| row.level),
            reason: row.map(|row| row.reason.clone()).unwrap_or_default(),
            object: row
                .filter(|row| !row.kind.is_empty())
                .map(|row| format!("{}/{}", row.kind, row.name))
                .unwrap_or_default(),
            began: record::began(upgrade).map(Timestamp::as_second),
        })
    }
}

/// The rows as text.
#[must_use]
pub fn of_fleet(rows: &[FleetRow], layout: &Layout, now: Timestamp) -> String {
    let mut table = Table::new([
        "NAMESPACE",
        "CLUSTER",
        "UPGRADE",
        "TARGET",
        "PHASE",
        "MACHINES",
        "REASON",
        "OBJECT",
        "AGE",
    ]);
    for row in rows {
        let reason = row.level.map_or_else(
            || Cell::plain(""),
            |level| Cell::toned(&row.reason, words::level(level)),
        );
        let began = row.began.and_then(|began| Timestamp::from_second(began).ok());
        table.push([
            Cell::plain(&row.namespace),
            Cell::plain(&row.cluster),
            Cell::plain(&row.upgrade),
            Cell::plain(&row.target),
            Cell::toned(
                if row.paused && !row.phase.is_finished() {
                    "Paused"
                } else {
                    row.phase.as_str()
                },
                words::phase(row.phase),
            ),
            Cell::plain(&row.machines),
            reason,
            Cell::plain(&row.object),
            Cell::plain(began.map(|began| age(now.duration_since(began))).unwrap_or_default()),
        ]);
    }
    table.text(layout)
}
