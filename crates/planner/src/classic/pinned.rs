//! What a classic Cluster's pins say of an upgrade that has begun.

use instar_domain::KubeVersion;

use super::view::ClassicView;
use crate::{
    snapshot::{ClassicCluster, ClusterKind},
    step::Step,
};

/// The releases that were pinned for this very upgrade and target, from where the control plane was then. After an edit
/// of the target, or where the annotation is garbled, there are none: the path is found again.
pub(super) fn find<'a>(view: &ClassicView<'a>) -> Option<Vec<Step<'a>>> {
    let classic = classic(view)?;
    let path = classic.path.as_ref()?;
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let control_plane = view.control_plane;
    let id = upgrade_spec.id();
    let swap_history = control_plane.object.swap_history.as_ref();
    let has_begun = swap_history.is_some_and(|history| history.last_of(&id).is_some());
    let holds = path.upgrade == id
        && path.target == upgrade_spec.target.as_str()
        && (has_begun || path.from == control_plane.version);
    let steps = path.releases.iter().filter(|_| holds).map(|name| named(view, name));
    let steps: Vec<Step<'_>> = steps.collect::<Option<_>>()?;
    holds.then_some(steps)
}

/// The release that is pinned for a version.
pub(super) fn at<'a>(view: &ClassicView<'a>, version: &KubeVersion) -> Option<Step<'a>> {
    let pins = classic(view)?.pins.as_ref()?;
    let (version, pin) = pins.releases.get_key_value(version)?;
    Some(Step::pinned(version, pin, &view.snapshot.catalog))
}

pub(super) fn classic<'a>(view: &ClassicView<'a>) -> Option<&'a ClassicCluster> {
    match &view.snapshot.cluster.kind {
        ClusterKind::Classic(classic) => Some(classic),
        ClusterKind::Topology(_) => None,
    }
}

fn named<'a>(view: &ClassicView<'a>, name: &str) -> Option<Step<'a>> {
    let pins = classic(view)?.pins.as_ref()?;
    let (version, pin) = pins.releases.iter().find(|(_, pin)| pin.release == name)?;
    Some(Step::pinned(version, pin, &view.snapshot.catalog))
}
