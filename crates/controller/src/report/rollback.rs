//! What a rollback would do, for people to read before they ask for one.

use instar_api::{ClusterUpgrade, FinishedMarker, RollbackExtent, RollbackStatus};
use instar_planner::{
    NoWayBack, Operation, Returning, ReturningAddon, Snapshot, UpgradeId, ValueBefore, WayBack, way_back,
};

use crate::text::cut;

/// What the schema takes.
const LISTED: usize = 32;
const WHAT: usize = 512;

/// Of an upgrade that goes on, or ends now.
pub(super) fn rollback(upgrade: &ClusterUpgrade, snapshot: &Snapshot) -> Option<RollbackStatus> {
    match snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Abort | Operation::Refresh | Operation::Restart => {}
        Operation::Rollback(_) => return None,
    }
    if snapshot.cluster.topology().is_some() {
        return Some(RollbackStatus {
            possible: RollbackExtent::Nothing,
            why: cut(&NoWayBack::Topology.to_string()),
            what: Vec::new(),
        });
    }
    let way_back = way_back(snapshot, &taken_back(upgrade, snapshot))?;
    Some(RollbackStatus {
        possible: way_back.possible(),
        why: cut(&way_back.why()),
        what: what(&way_back),
    })
}

/// Which upgrade a rollback would take back: the one that was completed, where nothing is changed yet for its new target.
fn taken_back(upgrade: &ClusterUpgrade, snapshot: &Snapshot) -> UpgradeId {
    let path = snapshot.cluster.classic().and_then(|classic| classic.path.as_ref());
    let completed = path.filter(|_| FinishedMarker::of(upgrade) == Some(FinishedMarker::CompletedBefore));
    completed.map_or_else(|| snapshot.upgrade_spec.id(), |path| path.upgrade.clone())
}

/// The pools with the add-ons that go back before each of them, then the add-ons that stay.
fn what(way_back: &WayBack) -> Vec<String> {
    let WayBack { returning, addons, .. } = way_back;
    let of_step = |step: Option<usize>| {
        let addons = addons.iter().filter(move |addon| addon.step == step);
        addons.map(described_addon)
    };
    let mut what = Vec::new();
    for (step, pool) in returning.iter().enumerate() {
        what.extend(of_step(Some(step)));
        what.push(described(pool));
    }
    what.extend(of_step(Some(returning.len())));
    what.extend(of_step(None));
    what.truncate(LISTED);
    what
}

fn described_addon(addon: &ReturningAddon) -> String {
    let ReturningAddon { id, before, step: _ } = addon;
    let text = match before {
        ValueBefore::Value(value) => format!("{id} goes back to {value}"),
        ValueBefore::Absent => format!("what was set for {id} is taken away"),
        ValueBefore::NoObject => format!("{id} stays, since its object was not there before"),
        ValueBefore::TooLarge => format!("{id} stays, since what was there before is larger than is kept"),
        ValueBefore::NotKept => format!("{id} stays"),
    };
    text.chars().take(WHAT).collect()
}

fn described(returning: &Returning) -> String {
    let Returning {
        pool,
        from,
        to,
        template,
    } = returning;
    let template = template
        .as_ref()
        .map_or_else(String::new, |name| format!(" and template {name}"));
    let text = format!("{pool} goes from {from} to {to}{template}");
    text.chars().take(WHAT).collect()
}
