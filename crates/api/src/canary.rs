//! Pools that go first, and how long they run before the others follow.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Pools that go first, and how long they run before the others follow. Without the field, none do.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// How many MachineDeployments go first: the first of spec.order, then by name. MachinePools never do, and follow; of
    /// a topology Cluster they can't be held.
    #[serde(default = "Canary::one")]
    #[schemars(range(min = 1, max = 256))]
    pub pools: u16,

    /// How long they have to run at the new version before the others follow, counted from when the last of their
    /// machines was there: 30m, 24h. While one of them isn't available, none follows.
    #[serde(
        default = "Canary::half_an_hour",
        serialize_with = "jiff::fmt::serde::duration::friendly::compact::required"
    )]
    #[schemars(schema_with = "schema::duration")]
    pub bake: SignedDuration,
}

impl Canary {
    const fn one() -> u16 {
        1
    }

    const fn half_an_hour() -> SignedDuration {
        SignedDuration::from_mins(30)
    }

    /// What several ask for together: the most pools and the longest time.
    #[must_use]
    pub fn of_all(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|one, other| Self {
            pools: one.pools.max(other.pools),
            bake: one.bake.max(other.bake),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_pool_and_half_an_hour_unless_it_says_more() {
        let read = |canary| serde_json::from_value::<Canary>(canary).unwrap();
        let few = read(json!({}));
        assert_eq!(serde_json::to_value(few).unwrap(), json!({ "pools": 1, "bake": "30m" }));
        let long = read(json!({ "bake": "24h" }));
        let many = read(json!({ "pools": 3, "bake": "0s" }));
        assert_eq!(Canary::of_all([]), None);
        let together = Canary::of_all([few, long, many]).unwrap();
        assert_eq!(
            serde_json::to_value(together).unwrap(),
            json!({ "pools": 3, "bake": "24h" })
        );
    }
}
