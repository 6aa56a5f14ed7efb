//! The Nodes.

use instar_preflight::workload::{Extent as Known, NodeView, Nodes};
use jiff::Timestamp;

use crate::client::{CallError, Extent, WorkloadClient};

/// As many as Kubernetes is made for.
const MOST: usize = 5000;

pub(super) async fn read(client: &WorkloadClient, now: Timestamp) -> Result<Nodes, CallError> {
    let mut nodes = Nodes::none();
    let add = |node: NodeView| nodes.add(node, now);
    let extent = client.each("/api/v1/nodes", MOST, add).await?;
    nodes.extent = match extent {
        Extent::Whole => Known::Whole,
        Extent::Bounded => Known::First(MOST),
    };
    Ok(nodes)
}
