//! What makes the machines of the Clusters on a management cluster.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A provider of infrastructure, and what it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
pub enum Infrastructure {
    /// Cluster API's own provider, with machines in memory.
    #[default]
    InMemory,
    /// Cluster API Provider vSphere, with a simulated vCenter. Both this and the other one would listen where their
    /// simulated clusters are, so a management cluster has one of them.
    Vsphere,
}
