//! The name of a pool in its cluster.

use std::fmt;

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolId {
    ControlPlane,
    /// The MachineDeployment of that name.
    Workers(String),
    /// The MachinePool of that name.
    MachinePool(String),
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlPlane => f.write_str("the control plane"),
            Self::Workers(name) => write!(f, "MachineDeployment {name}"),
            Self::MachinePool(name) => write!(f, "MachinePool {name}"),
        }
    }
}
