//! What the policies of a namespace come to for one Cluster.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{UpgradePolicy, UpgradePolicySpec};
use instar_planner::Retention;
use jiff::{SignedDuration, Timestamp};

/// Those that select a Cluster with these labels.
pub(crate) fn selecting<'p>(
    policies: &'p [Arc<UpgradePolicy>],
    labels: &BTreeMap<String, String>,
) -> impl Iterator<Item = &'p UpgradePolicySpec> {
    let specs = policies.iter().map(|policy| &policy.spec);
    specs.filter(|policy| policy.selects(labels))
}

/// How long a Cluster's old templates are kept: of the policies that select it, the longest counts,
/// so that their order doesn't matter.
pub(crate) fn retention(
    policies: &[Arc<UpgradePolicy>],
    labels: &BTreeMap<String, String>,
    ended: Option<Timestamp>,
) -> Retention {
    let default = Retention::default();
    let kept = selecting(policies, labels)
        .map(|policy| policy.templates.keep_previous.max(SignedDuration::ZERO))
        .max();
    let previous = kept.unwrap_or(default.previous);
    Retention {
        previous,
        // What no rollback needs is never kept longer than what one needs.
        other: default.other.min(previous),
        ended,
    }
}

/// How many finished records of a Cluster are kept where no policy says so.
const HISTORY_LIMIT: u16 = 10;

/// How many finished records of a Cluster are kept: of the policies that select it and say so, the highest limit
/// counts.
pub(crate) fn history_limit(policies: &[Arc<UpgradePolicy>], labels: &BTreeMap<String, String>) -> usize {
    let limits = selecting(policies, labels).filter_map(|policy| policy.upgrade_history_limit);
    limits.max().unwrap_or(HISTORY_LIMIT).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(selector: &serde_json::Value, keep: &str) -> Arc<UpgradePolicy> {
        let spec = json!({ "clusterSelector": selector, "templates": { "keepPrevious": keep } });
        Arc::new(UpgradePolicy::new("p", serde_json::from_value(spec).unwrap()))
    }

    #[test]
    fn the_longest_of_those_that_select_it_counts() {
        let labels = BTreeMap::from([("tier".to_owned(), "prod".to_owned())]);
        let (prod, dev) = (
            json!({ "matchLabels": { "tier": "prod" } }),
            json!({ "matchLabels": { "tier": "dev" } }),
        );
        let all = json!({});
        let expression = |operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": "tier", "operator": operator, "values": values }] });
        let table = [
            (vec![], 24),
            (vec![policy(&all, "48h")], 48),
            (vec![policy(&all, "0s")], 0),
            (vec![policy(&dev, "0s")], 24),
            (vec![policy(&dev, "96h"), policy(&prod, "2h")], 2),
            (vec![policy(&prod, "2h"), policy(&all, "72h")], 72),
            (vec![policy(&all, "72h"), policy(&prod, "2h")], 72),
            (vec![policy(&expression("In", &["prod", "test"]), "3h")], 3),
            (vec![policy(&expression("NotIn", &["prod"]), "3h")], 24),
            (vec![policy(&expression("Within", &["prod"]), "3h")], 24),
        ];
        for (policies, hours) in table {
            let kept = retention(&policies, &labels, None);
            assert_eq!(kept.previous, SignedDuration::from_hours(hours), "{policies:?}");
            assert_eq!(kept.other, SignedDuration::from_hours(hours.min(1)), "{policies:?}");
        }
    }

    #[test]
    fn the_highest_limit_of_those_that_have_one_counts() {
        let labels = BTreeMap::from([("tier".to_owned(), "prod".to_owned())]);
        let policy = |tier: &str, limit: Option<u16>| {
            let selector = json!({ "matchLabels": { "tier": tier } });
            let spec = json!({ "clusterSelector": selector, "upgradeHistoryLimit": limit });
            Arc::new(UpgradePolicy::new("p", serde_json::from_value(spec).unwrap()))
        };
        for (policies, limit) in [
            (vec![], 10),
            (vec![policy("prod", None)], 10),
            (vec![policy("prod", Some(0))], 0),
            (vec![policy("prod", Some(2)), policy("prod", None)], 2),
            (vec![policy("prod", Some(2)), policy("prod", Some(30))], 30),
            (vec![policy("dev", Some(30)), policy("prod", Some(2))], 2),
            (vec![policy("dev", Some(0))], 10),
        ] {
            assert_eq!(history_limit(&policies, &labels), limit, "{policies:?}");
        }
    }
}
