//! Many Clusters, a line each.

use std::{collections::BTreeMap, fmt::Write as _};

use instar_api::{ClusterUpgrade, HealthLevel, HealthReason, UpgradePhase};
use jiff::Timestamp;
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Cell, Layout, Table, Tone, words};
use crate::{Unreadable, age, record};

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
    /// What it is at; absent where the ClusterUpgrade can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<UpgradePhase>,
    /// Whether `spec.paused` is set.
    pub paused: bool,
    /// Whether the status describes the spec as it is now.
    pub observed: bool,
    /// How many machines are where they go, of how many: 5/7.
    pub machines: String,
    /// The level of the first row of its health; absent where nothing is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<HealthLevel>,
    /// The reason of that row; `Unreadable` where the ClusterUpgrade can't be read.
    pub reason: String,
    /// The object of that row.
    pub object: String,
    /// Which field can't be read, and why; empty where all of it can.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unreadable: String,
    /// When it began, as a Unix time in seconds; absent where that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<i64>,
}

impl FleetRow {
    /// A row for each Cluster that has any, and one for each ClusterUpgrade that can't be read, by namespace and name.
    #[must_use]
    pub fn of_all(upgrades: Vec<ClusterUpgrade>, unreadable: &[Unreadable<'_>]) -> Vec<Self> {
        let mut clusters: BTreeMap<(String, String), Vec<ClusterUpgrade>> = BTreeMap::new();
        for upgrade in upgrades {
            let key = (
                upgrade.namespace().unwrap_or_default(),
                upgrade.spec.cluster_name.clone(),
            );
            clusters.entry(key).or_default().push(upgrade);
        }
        let rows = clusters.values().filter_map(|upgrades| Self::of(upgrades));
        let mut rows: Vec<Self> = rows.chain(unreadable.iter().map(Self::of_unreadable)).collect();
        rows.sort_by(|one, other| {
            let key = |row: &Self| (row.namespace.clone(), row.cluster.clone());
            key(one).cmp(&key(other))
        });
        rows
    }

    /// It may be the one that goes on, so it isn't left out.
    fn of_unreadable(unreadable: &Unreadable<'_>) -> Self {
        let upgrade = unreadable.text("/metadata/name").to_owned();
        Self {
            namespace: unreadable.text("/metadata/namespace").to_owned(),
            cluster: unreadable.text("/spec/clusterName").to_owned(),
            target: unreadable.text("/spec/target").to_owned(),
            phase: None,
            paused: false,
            observed: true,
            machines: String::new(),
            level: Some(HealthReason::Unreadable.level()),
            reason: HealthReason::Unreadable.as_str().to_owned(),
            object: format!("{}/{upgrade}", unreadable.kind),
            unreadable: format!("{}: {}", unreadable.field, unreadable.why),
            began: None,
            upgrade,
        }
    }

    /// Whether it is paused and not over.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused && self.phase.is_some_and(|phase| !phase.is_finished())
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
            phase: Some(status.phase),
            unreadable: String::new(),
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
            match row.phase {
                None => Cell::toned("Unreadable", Tone::Bad),
                Some(phase) if row.is_paused() => Cell::toned("Paused", words::phase(phase)),
                Some(phase) => Cell::toned(phase.as_str(), words::phase(phase)),
            },
            Cell::plain(&row.machines),
            reason,
            Cell::plain(&row.object),
            Cell::plain(began.map(|began| age(now.duration_since(began))).unwrap_or_default()),
        ]);
    }
    let mut text = table.text(layout);
    for row in rows.iter().filter(|row| !row.unreadable.is_empty()) {
        let _ = writeln!(
            text,
            "{} of {}: {}: it may be of a newer Instar than this plugin",
            row.object, row.namespace, row.unreadable
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::read_all_of_kind;

    #[test]
    fn what_cannot_be_read_has_a_row_with_the_field() {
        let upgrade = |name: &str, phase: &str| {
            json!({ "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "ClusterUpgrade",
                "metadata": { "name": name, "namespace": "team" },
                "spec": { "clusterName": name, "target": "v1.35.4" },
                "status": { "phase": phase, "health": [] } })
        };
        let objects = [upgrade("b", "Workers"), upgrade("a", "Dancing")];
        let objects: Vec<&serde_json::Value> = objects.iter().collect();
        let (upgrades, unreadable) = read_all_of_kind::<ClusterUpgrade>(&objects);
        let rows = FleetRow::of_all(upgrades, &unreadable);
        let phases: Vec<(&str, Option<UpgradePhase>)> = rows.iter().map(|row| (&*row.cluster, row.phase)).collect();
        assert_eq!(phases, [("a", None), ("b", Some(UpgradePhase::Workers))]);
        let row = &rows[0];
        assert_eq!(
            (&*row.reason, &*row.object, &*row.target),
            ("Unreadable", "ClusterUpgrade/a", "v1.35.4")
        );
        assert!(
            row.unreadable.starts_with("status.phase: unknown variant `Dancing`"),
            "{}",
            row.unreadable
        );
        let layout = Layout {
            width: 120,
            colour: super::super::Colour::Plain,
            details: super::super::Details::default(),
        };
        let text = of_fleet(&rows, &layout, Timestamp::UNIX_EPOCH);
        assert!(
            text.contains("Unreadable") && text.contains("of team: status.phase: "),
            "{text}"
        );
    }
}
