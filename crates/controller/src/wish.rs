//! Which upgrade of a Cluster goes on, and what it asks.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{ClusterUpgrade, ClusterUpgradeSpec, ClusterUpgradeStatus, StrategyType, VERSION_ANNOTATION};
use instar_capi::labels::CLUSTER_NAME;
use instar_planner::{PoolWish, Progressing, Strategy, Target, Wish, label_value};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt, core::ObjectMeta};
use sha2::{Digest, Sha256};

use crate::views::Cluster;

/// How many pools at a time for Parallel without a limit.
const PARALLEL: usize = 2;

/// How much of a target's hash a name carries: enough for the targets of one Cluster.
const HASH: usize = 4;

/// The upgrades of one Cluster.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    /// The one that goes on.
    pub(crate) active: Option<Arc<ClusterUpgrade>>,
    /// Those that wait for it.
    pub(crate) pending: Vec<Arc<ClusterUpgrade>>,
    /// The last that is over, where none goes on.
    pub(crate) last: Option<Arc<ClusterUpgrade>>,
}

impl Upgrades {
    /// The oldest that isn't over goes on. Its status is asked for that alone: where it is lost,
    /// an upgrade that is over is found to be so once more.
    pub(crate) fn sort(mut upgrades: Vec<Arc<ClusterUpgrade>>) -> Self {
        upgrades.retain(|upgrade| upgrade.metadata.deletion_timestamp.is_none());
        upgrades.sort_by_key(|upgrade| {
            let created = upgrade.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created, upgrade.name_any())
        });
        let (over, open): (Vec<_>, Vec<_>) = upgrades.into_iter().partition(is_over);
        let mut open = open.into_iter();
        let active = open.next();
        Self {
            last: over.into_iter().next_back().filter(|_| active.is_none()),
            pending: open.collect(),
            active,
        }
    }
}

fn is_over(upgrade: &Arc<ClusterUpgrade>) -> bool {
    let generation = upgrade.metadata.generation.unwrap_or_default();
    let status = upgrade.status.as_ref();
    status.is_some_and(|status: &ClusterUpgradeStatus| status.is_over(generation))
}

/// The upgrade that a Cluster's annotation asks for.
pub(crate) fn asked_for(cluster: &Cluster) -> Option<ClusterUpgrade> {
    let target = cluster.annotations().get(VERSION_ANNOTATION)?.trim();
    if target.is_empty() {
        return None;
    }
    let name = cluster.name_any();
    let owner = OwnerReference {
        api_version: Cluster::api_version(&()).into_owned(),
        kind: Cluster::kind(&()).into_owned(),
        name: name.clone(),
        uid: cluster.uid().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let spec = ClusterUpgradeSpec {
        cluster_name: name.clone(),
        target: target.to_owned(),
        source: None,
        strategy: instar_api::UpgradeStrategy::default(),
        order: Vec::new(),
        pools: Vec::new(),
        paused: false,
    };
    let mut upgrade = ClusterUpgrade::new(&record_name(&name, target), spec);
    upgrade.metadata = ObjectMeta {
        namespace: cluster.namespace(),
        labels: Some(BTreeMap::from([(CLUSTER_NAME.to_owned(), label_value(&name))])),
        owner_references: Some(vec![owner]),
        ..upgrade.metadata
    };
    Some(upgrade)
}

/// The same Cluster and target have the same name, so that a second try makes no second record.
fn record_name(cluster: &str, target: &str) -> String {
    let digest = Sha256::digest(format!("{cluster}\n{target}").as_bytes());
    let hash = digest
        .iter()
        .take(HASH)
        .fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    let slug: String = target
        .chars()
        .map(|character| character.to_ascii_lowercase())
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '-'
            }
        })
        .take(32)
        .collect();
    format!("{cluster}-{}-{hash:08x}", slug.trim_matches('-'))
}

/// What an upgrade asks, as the planner reads it.
pub(crate) fn wish(upgrade: &ClusterUpgrade) -> Wish {
    let spec = &upgrade.spec;
    let limit = spec.strategy.limit.map_or(PARALLEL, usize::from);
    let pools = spec.pools.iter().map(|rule| {
        let wish = match &rule.release {
            Some(release) => PoolWish::Pin(release.clone()),
            None => PoolWish::Hold,
        };
        (rule.name.clone(), wish)
    });
    Wish {
        source: spec.source.clone(),
        strategy: match spec.strategy.kind {
            StrategyType::Ordered => Strategy::Ordered,
            StrategyType::Parallel => Strategy::Parallel { limit },
            StrategyType::All => Strategy::All,
        },
        order: spec.order.clone(),
        pools: pools.collect(),
        progress: if spec.paused {
            Progressing::Paused
        } else {
            Progressing::Going
        },
        ..Wish::new(upgrade.name_any(), Target::Text(spec.target.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use instar_api::{PoolRule, UpgradePhase, UpgradeStrategy};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn upgrade(name: &str, seconds: i64, phase: UpgradePhase) -> Arc<ClusterUpgrade> {
        let spec = ClusterUpgradeSpec {
            cluster_name: "c".to_owned(),
            target: "v1.35".to_owned(),
            source: None,
            strategy: UpgradeStrategy::default(),
            order: Vec::new(),
            pools: Vec::new(),
            paused: false,
        };
        let mut upgrade = ClusterUpgrade::new(name, spec);
        upgrade.metadata.generation = Some(1);
        upgrade.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(seconds).unwrap()));
        upgrade.status = Some(ClusterUpgradeStatus {
            phase,
            observed_generation: 1,
            ..ClusterUpgradeStatus::default()
        });
        Arc::new(upgrade)
    }

    fn names(upgrades: &Upgrades) -> (Option<String>, Vec<String>, Option<String>) {
        let name = |upgrade: &Arc<ClusterUpgrade>| upgrade.name_any();
        (
            upgrades.active.as_ref().map(name),
            upgrades.pending.iter().map(name).collect(),
            upgrades.last.as_ref().map(name),
        )
    }

    #[test]
    fn the_oldest_that_is_not_over_goes_on() {
        let some = |name: &str| Some(name.to_owned());
        let all = vec![
            upgrade("d", 4, UpgradePhase::Pending),
            upgrade("a", 1, UpgradePhase::Completed),
            upgrade("c", 3, UpgradePhase::Held),
            upgrade("b", 2, UpgradePhase::Workers),
        ];
        let sorted = names(&Upgrades::sort(all));
        assert_eq!(sorted, (some("b"), vec!["c".to_owned(), "d".to_owned()], None));
        let over = vec![
            upgrade("b", 2, UpgradePhase::Refused),
            upgrade("a", 1, UpgradePhase::Completed),
        ];
        assert_eq!(names(&Upgrades::sort(over)), (None, Vec::new(), some("b")));
        assert_eq!(names(&Upgrades::sort(Vec::new())), (None, Vec::new(), None));
    }

    #[test]
    fn an_edit_of_the_spec_begins_anew() {
        let mut edited = upgrade("a", 1, UpgradePhase::Completed).as_ref().clone();
        edited.metadata.generation = Some(2);
        assert!(Upgrades::sort(vec![Arc::new(edited)]).active.is_some());
    }

    #[test]
    fn the_annotation_asks_for_one_record_by_one_name() {
        let mut cluster = Cluster::new("c", crate::views::ClusterSpec::default());
        assert!(asked_for(&cluster).is_none());
        let annotate = |cluster: &mut Cluster, target: &str| {
            let annotation = (VERSION_ANNOTATION.to_owned(), target.to_owned());
            cluster.metadata.annotations = Some(BTreeMap::from([annotation]));
        };
        annotate(&mut cluster, " v1.35.4+vmware.1 ");
        let asked = asked_for(&cluster).unwrap();
        assert_eq!(asked.spec.target, "v1.35.4+vmware.1");
        assert!(
            asked.name_any().starts_with("c-v1-35-4-vmware-1-"),
            "{}",
            asked.name_any()
        );
        assert_eq!(asked.metadata.owner_references.as_ref().unwrap()[0].name, "c");
        assert_eq!(asked_for(&cluster).unwrap().name_any(), asked.name_any());
        annotate(&mut cluster, "v1.35.4-vmware.1");
        assert_ne!(
            asked_for(&cluster).unwrap().name_any(),
            asked.name_any(),
            "another target is another record"
        );
        annotate(&mut cluster, " ");
        assert!(asked_for(&cluster).is_none());
    }

    #[test]
    fn the_spec_is_read_as_the_planner_reads_it() {
        let mut asked = upgrade("a", 1, UpgradePhase::Pending).as_ref().clone();
        asked.spec.strategy.kind = StrategyType::Parallel;
        asked.spec.paused = true;
        asked.spec.pools = vec![
            PoolRule {
                name: "held".to_owned(),
                hold: Some(true),
                release: None,
            },
            PoolRule {
                name: "pinned".to_owned(),
                hold: None,
                release: Some("r".to_owned()),
            },
        ];
        let wish = wish(&asked);
        assert_eq!(wish.strategy, Strategy::Parallel { limit: 2 });
        assert_eq!(wish.progress, Progressing::Paused);
        assert_eq!(wish.pools["held"], PoolWish::Hold);
        assert_eq!(wish.pools["pinned"], PoolWish::Pin("r".to_owned()));
        assert_eq!(wish.target, Target::Text("v1.35".to_owned()));
    }
}
