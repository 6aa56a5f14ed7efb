//! Which Machines of many are listed.

use instar_api::MachineUpgradePhase;

use crate::MachineRow;

/// So many Machines are listed where not all are.
pub(crate) const LISTED: usize = 10;

impl MachineRow {
    /// Whether it has failed, is on its way, or says what it waits for. One whose turn has not come is as it should be.
    pub(crate) const fn needs_a_look(&self) -> bool {
        match self.phase {
            MachineUpgradePhase::Failed | MachineUpgradePhase::Upgrading => true,
            MachineUpgradePhase::Pending | MachineUpgradePhase::Running => !self.message.is_empty(),
        }
    }
}

/// Those that are listed, and the others: all that need a look, and of the others that may be listed as many as make `most`
/// with them.
pub(crate) fn divide(
    machines: &[MachineRow],
    most: usize,
    may_be_listed: impl Fn(&MachineRow) -> bool,
) -> (Vec<&MachineRow>, Vec<&MachineRow>) {
    let needed = machines.iter().filter(|machine| machine.needs_a_look()).count();
    let mut room = most.saturating_sub(needed);
    machines.iter().partition(|machine| {
        if machine.needs_a_look() {
            return true;
        }
        let fits = room > 0 && may_be_listed(machine);
        room -= usize::from(fits);
        fits
    })
}
