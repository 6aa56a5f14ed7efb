//! What a rollback would do, for people to read before they ask for one.

use instar_api::{RollbackExtent, RollbackStatus};
use instar_planner::{Operation, Returning, Snapshot, Waiting, way_back};

use crate::text::cut;

/// What the schema takes.
const LISTED: usize = 32;
const WHAT: usize = 512;

/// Of a classic Cluster's upgrade that goes on, or ends now.
pub(super) fn rollback(snapshot: &Snapshot) -> Option<RollbackStatus> {
    match snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Abort | Operation::Refresh => {}
        Operation::Rollback(_) => return None,
    }
    let way_back = way_back(snapshot, &snapshot.upgrade_spec.id())?;
    let possible = if way_back.refused.is_empty() {
        RollbackExtent::All
    } else if way_back.workers_refused.is_empty() {
        RollbackExtent::Workers
    } else {
        RollbackExtent::Nothing
    };
    let why: Vec<String> = way_back.refused.iter().map(Waiting::to_string).collect();
    let what = way_back.returning.iter().map(described);
    Some(RollbackStatus {
        possible,
        why: cut(&why.join("; ")),
        what: what.take(LISTED).collect(),
    })
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
