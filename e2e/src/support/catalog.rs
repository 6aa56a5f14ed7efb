//! Rows for a journey.

use serde_json::{Value, json};

/// Where a row's value goes in a machine template. Machines in memory have no image: the time that
/// one takes to start stands for it.
pub const IMAGE: &str = "/spec/template/spec/backend/inMemory/vm/provisioning/startupDuration";

/// The label of pools that get an image of their own.
pub const SPECIAL: &str = "journey.example.org/special";

/// The rows of one journey: one for each minor from v1.33 to v1.36, all with the same patch number.
pub struct Rows {
    patch: u8,
}

impl Rows {
    /// `patch` is between 1 and 99, and no other journey's; a revision has one digit.
    pub const fn new(patch: u8) -> Self {
        Self { patch }
    }

    /// `v1.34.3` for 34 and a patch of 3.
    pub fn version(&self, minor: u8) -> String {
        format!("v1.{minor}.{}", self.patch)
    }

    /// The name of a row.
    pub fn name(&self, minor: u8, revision: u8) -> String {
        format!("{}-{revision}", self.version(minor))
    }

    /// What the row's templates carry.
    pub fn image(&self, minor: u8, revision: u8) -> String {
        format!("0.{minor}{}{revision}s", self.patch)
    }

    /// What the templates of pools with the label [`SPECIAL`] carry.
    pub fn special_image(&self, minor: u8, revision: u8) -> String {
        self.image(minor, revision).replacen("0.", "0.0", 1)
    }

    /// A row, with the tags that kubeadm uses.
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
    pub fn all(&self) -> Vec<Value> {
        [33, 34, 35, 36].into_iter().map(|minor| self.row(minor, 1)).collect()
    }
}
