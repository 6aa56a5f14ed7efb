//! Where a pool of workers is, seen from where it should be.

use instar_domain::{BuildOrder, KubeVersion};

use super::{goal::Demand, view::ClassicView};
use crate::{
    decision::{Action, Waiting},
    pool_id::PoolId,
    swap::Course,
};

/// Where a pool is.
pub(super) enum Place<'a> {
    /// It is not to move.
    There,
    /// All its machines are as its spec says, which is what it should be.
    Arrived,
    /// It is on its way.
    Moving,
    /// It is on its way, and this write takes it further.
    Continues(Box<Action>),
    /// It doesn't move before a user acts. The others needn't wait for it.
    Stuck,
    /// It is to go there.
    Due(Course<'a>),
}

/// What a pool at that version must come to that is pinned to a release.
pub(super) fn pinned<'a>(
    view: &ClassicView<'a>,
    id: PoolId,
    version: &KubeVersion,
    name: &str,
) -> Result<Demand<'a>, Waiting> {
    let Some(release) = view.snapshot.catalog.named(name) else {
        return Err(view.no_release(Some(id), name));
    };
    let (present, wanted) = (&view.control_plane.version, release.version());
    let newer = wanted.compare(present) == BuildOrder::Greater;
    let older_minor = wanted.minor() < present.minor();
    if newer || (older_minor && version.compare(wanted) == BuildOrder::Less) {
        return Err(Waiting::PinOutOfReach {
            pool: id,
            release: name.to_owned(),
        });
    }
    Ok(if older_minor {
        Demand::Version(wanted, Some(release.into()))
    } else {
        Demand::Values(release.into())
    })
}
