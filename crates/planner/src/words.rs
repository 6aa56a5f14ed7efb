//! What Cluster API says of what is waited for.

use crate::{
    decision::Waiting,
    observed::Observed,
    settled::stuck_since,
    snapshot::{Node, NodeReadiness, Snapshot},
};

impl Waiting {
    /// Why a Machine that has had no node for long has none, in its provider's words; absent where it says nothing. Before
    /// that the words are of each step on the way, and a status that has them would change with each. The snapshot is the
    /// one that the reason was found in.
    #[must_use]
    pub fn words<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a str> {
        let (Self::MachineNotReady { name, .. } | Self::ControlPlaneStuck { machine: name, .. }) = self else {
            return None;
        };
        let mut machines = snapshot.machines.iter().filter_map(Observed::read);
        let machine = machines.find(|machine| machine.name == *name)?;
        stuck_since(snapshot, machine)?;
        match (&machine.node, &machine.node_readiness) {
            (Node::Absent, NodeReadiness::Unknown { message }) => {
                Some(message.as_str()).filter(|words| !words.is_empty())
            }
            (Node::Absent, NodeReadiness::Ready { .. } | NodeReadiness::NotReady { .. }) | (Node::Joined { .. }, _) => {
                None
            }
        }
    }
}
