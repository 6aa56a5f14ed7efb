//! What becomes of an upgrade that fails.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What becomes of an upgrade that fails, and when it has.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FailurePolicy {
    /// Hold: it stands until what the failure names is mended, and no further pool begins. `RollbackWorkers`, Rollback: the
    /// controller creates a ClusterUpgrade of that operation, which takes it back; where not all of it can be taken back,
    /// the workers alone, and where they can't either, it stands. Hold where nothing says it. Of the UpgradePolicies that
    /// select a Cluster and of the ClusterUpgrade, the one that takes the least back counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,

    /// How long the control plane or a pool may go without progress before its step has failed: 30m, 1h. It counts from the
    /// swap, and again from each new machine that is ready. The same for a Node that isn't ready at the end, or in a pool
    /// that went first. Where nothing says it, three times as long as the slowest machines of the upgrade have taken, and
    /// between 30m and 2h; of several, the longest counts.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "jiff::fmt::serde::duration::friendly::compact::optional"
    )]
    #[schemars(schema_with = "schema::duration")]
    pub progress_deadline: Option<SignedDuration>,
}

/// What becomes of an upgrade that fails, from the most careful to the least.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnFailure {
    /// It stands until what the failure names is mended.
    #[default]
    Hold,
    /// Its workers are taken back.
    RollbackWorkers,
    /// All of it is taken back: first the workers, then the control plane.
    Rollback,
}

impl FailurePolicy {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What several say together: the one that takes the least back, and the longest deadline.
    #[must_use]
    pub fn of_all(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |one, other| Self {
            on_failure: one.on_failure.into_iter().chain(other.on_failure).min(),
            progress_deadline: one.progress_deadline.into_iter().chain(other.progress_deadline).max(),
        })
    }
}

impl OnFailure {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "Hold",
            Self::RollbackWorkers => "RollbackWorkers",
            Self::Rollback => "Rollback",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_most_careful_of_those_that_say_something_counts() {
        let read = |text| serde_json::from_value::<FailurePolicy>(text).unwrap();
        for (said, together) in [
            (vec![], json!({})),
            (vec![json!({})], json!({})),
            (
                vec![json!({}), json!({ "onFailure": "Rollback" })],
                json!({ "onFailure": "Rollback" }),
            ),
            (
                vec![
                    json!({ "onFailure": "Rollback", "progressDeadline": "1h" }),
                    json!({ "onFailure": "RollbackWorkers", "progressDeadline": "5m" }),
                ],
                json!({ "onFailure": "RollbackWorkers", "progressDeadline": "1h" }),
            ),
            (
                vec![json!({ "onFailure": "Hold" }), json!({ "onFailure": "Rollback" })],
                json!({ "onFailure": "Hold" }),
            ),
        ] {
            let found = FailurePolicy::of_all(said.iter().cloned().map(read));
            assert_eq!(serde_json::to_value(found).unwrap(), together, "{said:?}");
        }
    }
}
