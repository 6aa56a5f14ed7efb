//! Rows for a journey.
//!
//! The catalog belongs to the whole management cluster, so a journey's versions are no other journey's:
//! [`patch_ranges`] gives each its patch numbers, by its place in the program's list.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Which rows the shared journeys of a program have: those that run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedRows {
    /// All have the same. For classic clusters, whose path takes the newest row of each minor, whichever
    /// journey applied it.
    Same,
    /// Each has its own. For clusters of a ClusterClass, whose path takes what their class lists.
    Own,
}

/// The patch numbers of one journey's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchRange {
    first: u8,
    sets: u8,
}

impl PatchRange {
    /// How many sets of rows a journey with rows of its own may have.
    const SETS: u8 = 6;

    /// The largest patch number.
    const LAST: u8 = 199;

    fn nth(index: usize, sets: u8) -> Result<Self> {
        let first = 1 + index * usize::from(Self::SETS);
        ensure!(
            first + usize::from(Self::SETS) <= usize::from(Self::LAST) + 1,
            "too many journeys in one program: their versions have patch numbers up to {}",
            Self::LAST
        );
        Ok(Self {
            first: u8::try_from(first)?,
            sets,
        })
    }

    /// A set of rows, from 0. Sets with a larger number are newer.
    pub fn rows(&self, set: u8) -> Result<Rows> {
        ensure!(set < self.sets, "set {set} of rows: this journey has {}", self.sets);
        Ok(Rows::new(self.first + set))
    }
}

/// The patch numbers of each journey in a program's list; `exclusive` says of each whether it runs alone.
///
/// Exclusive journeys run after the shared ones, in the order of the list, so each gets larger numbers
/// than all before it: the newest row of a minor is its own.
pub fn patch_ranges(shared_rows: SharedRows, exclusive: &[bool]) -> Result<Vec<PatchRange>> {
    let shared = exclusive.iter().filter(|exclusive| !**exclusive).count();
    let (mut next_shared, mut next_exclusive) = match shared_rows {
        SharedRows::Same => (0, 1),
        SharedRows::Own => (0, shared),
    };
    let mut ranges = Vec::new();
    for exclusive in exclusive {
        ranges.push(match (exclusive, shared_rows) {
            (true, _) => {
                next_exclusive += 1;
                PatchRange::nth(next_exclusive - 1, PatchRange::SETS)?
            }
            (false, SharedRows::Own) => {
                next_shared += 1;
                PatchRange::nth(next_shared - 1, PatchRange::SETS)?
            }
            (false, SharedRows::Same) => PatchRange::nth(0, 1)?,
        });
    }
    Ok(ranges)
}

/// Where a row's value goes in a machine template. Machines in memory have no image: the time that
/// one takes to start stands for it.
pub const IMAGE: &str = "/spec/template/spec/backend/inMemory/vm/provisioning/startupDuration";

/// The label of pools that get an image of their own.
pub const SPECIAL: &str = "journey.example.org/special";

/// A set of rows: one for each minor from v1.33 to v1.36, all with the same patch number.
#[derive(Debug, Clone)]
pub struct Rows {
    patch: u8,
}

impl Rows {
    const fn new(patch: u8) -> Self {
        Self { patch }
    }

    /// `v1.34.3` for 34 and a patch of 3.
    #[must_use]
    pub fn version(&self, minor: u8) -> String {
        format!("v1.{minor}.{}", self.patch)
    }

    /// The name of a row. A revision has one digit.
    #[must_use]
    pub fn name(&self, minor: u8, revision: u8) -> String {
        format!("{}-{revision}", self.version(minor))
    }

    /// What the row's templates carry.
    #[must_use]
    pub fn image(&self, minor: u8, revision: u8) -> String {
        format!("0.{minor}{}{revision}s", self.patch)
    }

    /// What the templates of pools with the label [`SPECIAL`] carry.
    #[must_use]
    pub fn special_image(&self, minor: u8, revision: u8) -> String {
        self.image(minor, revision).replacen("0.", "0.0", 1)
    }

    /// A row, with the tags that kubeadm uses.
    #[must_use]
    pub fn row(&self, minor: u8, revision: u8) -> Value {
        let (etcd, dns) = match minor {
            33 => ("3.5.26-0", "v1.12.0"),
            34 => ("3.6.5-0", "v1.12.1"),
            35 => ("3.6.6-0", "v1.13.1"),
            _ => ("3.6.8-0", "v1.14.2"),
        };
        json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "KubernetesRelease",
            "metadata": { "name": self.name(minor, revision) },
            "spec": {
                "version": self.version(minor),
                "revision": revision,
                "machineImages": [
                    {
                        "kind": "DevMachineTemplate",
                        "role": "Worker",
                        "labels": { SPECIAL: "yes" },
                        "values": [{ "pointer": IMAGE, "value": self.special_image(minor, revision) }],
                    },
                    {
                        "kind": "DevMachineTemplate",
                        "values": [{ "pointer": IMAGE, "value": self.image(minor, revision) }],
                    },
                ],
                "components": { "etcd": { "imageTag": etcd }, "coreDNS": { "imageTag": dns } },
            },
        })
    }

    /// The first row of each minor.
    #[must_use]
    pub fn all(&self) -> Vec<Value> {
        [33, 34, 35, 36].into_iter().map(|minor| self.row(minor, 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [bool; 5] = [false, true, false, true, false];

    fn first(shared_rows: SharedRows) -> Vec<String> {
        let ranges = patch_ranges(shared_rows, &LIST).unwrap();
        ranges.iter().map(|range| range.rows(0).unwrap().version(34)).collect()
    }

    #[test]
    fn exclusive_journeys_have_newer_rows_than_all_before() {
        let own = ["v1.34.1", "v1.34.19", "v1.34.7", "v1.34.25", "v1.34.13"];
        assert_eq!(first(SharedRows::Own), own);
        let same = ["v1.34.1", "v1.34.7", "v1.34.1", "v1.34.13", "v1.34.1"];
        assert_eq!(first(SharedRows::Same), same);
    }

    #[test]
    fn no_set_is_another_journeys() {
        let ranges = patch_ranges(SharedRows::Own, &LIST).unwrap();
        let mut versions = Vec::new();
        for range in ranges {
            for set in 0..PatchRange::SETS {
                versions.push(range.rows(set).unwrap().version(34));
            }
            assert!(range.rows(PatchRange::SETS).is_err());
        }
        let all = versions.len();
        versions.sort();
        versions.dedup();
        assert_eq!(versions.len(), all);
    }

    #[test]
    fn rows_that_all_have_are_one_set() {
        let ranges = patch_ranges(SharedRows::Same, &LIST).unwrap();
        assert!(ranges[0].rows(1).is_err() && ranges[1].rows(1).is_ok());
    }

    #[test]
    fn too_many_journeys_are_refused() {
        assert!(patch_ranges(SharedRows::Own, &[false; 33]).is_ok());
        assert!(patch_ranges(SharedRows::Own, &[false; 34]).is_err());
    }
}
