//! What a classic Cluster's pins say of an upgrade that has begun.

use instar_domain::KubeVersion;

use super::view::ClassicView;
use crate::step::Step;

/// The releases that were pinned for this very upgrade and target, from where the control plane was then. After an edit
/// of the target, or where the annotation is garbled, there are none: the path is found again.
pub(super) fn find<'a>(view: &ClassicView<'a>) -> Option<Vec<Step<'a>>> {
    let path = view.snapshot.cluster.classic()?.path.as_ref()?;
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let control_plane = view.control_plane;
    let has_begun = view.swapped(&control_plane.object).is_some();
    let holds = path.upgrade == upgrade_spec.id()
        && path.target == upgrade_spec.target.as_str()
        && (has_begun || path.from == control_plane.version);
    let steps = path.releases.iter().filter(|_| holds).map(|name| named(view, name));
    let steps: Vec<Step<'_>> = steps.collect::<Option<_>>()?;
    holds.then_some(steps)
}

/// The release that is pinned for a version.
pub(super) fn at<'a>(view: &ClassicView<'a>, version: &KubeVersion) -> Option<Step<'a>> {
    let pins = view.snapshot.cluster.classic()?.pins.as_ref()?;
    let (version, pin) = pins.releases.get_key_value(version)?;
    Some(Step::pinned(version, pin, &view.snapshot.catalog))
}

fn named<'a>(view: &ClassicView<'a>, name: &str) -> Option<Step<'a>> {
    let pins = view.snapshot.cluster.classic()?.pins.as_ref()?;
    let (version, pin) = pins.releases.iter().find(|(_, pin)| pin.release == name)?;
    Some(Step::pinned(version, pin, &view.snapshot.catalog))
}
