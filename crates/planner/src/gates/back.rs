//! What holds the way back for add-ons: each that goes back does so before what it was set after.

use super::addons::closed;
use crate::{
    addon::AskedPoint,
    addons_back::{BackUntil, addons_to_restore},
    decision::Waiting,
    snapshot::Snapshot,
};

/// The add-ons that have to be back before the next part of the way back.
pub(crate) fn restoring(snapshot: &Snapshot, until: &BackUntil<'_>) -> Vec<Waiting> {
    let mut points: Vec<AskedPoint> = addons_to_restore(snapshot)
        .into_iter()
        .take_while(|set| until.includes(&set.id))
        .map(|set| set.id.point())
        .collect();
    points.dedup();
    for point in points {
        let Some(found) = snapshot.addons.found.get(&point) else {
            return vec![Waiting::AddonsUnseen(Box::new(point))];
        };
        let held: Vec<Waiting> = found.iter().filter_map(closed).collect();
        if !held.is_empty() {
            return held;
        }
    }
    Vec::new()
}
