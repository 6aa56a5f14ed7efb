//! Where to, and through what.

use instar_capi::ExternalEtcd;
use instar_catalog::{Pool, Release, Resolved, Role};
use instar_domain::{BuildOrder, KubeVersion, Minor};

use super::{
    template,
    view::{ClassicView, ExternalChange},
};
use crate::{
    decision::{Field, Waiting},
    name::label_value,
    path::{NoPath, Start, StartEtcd, classic_path},
    pool_id::PoolId,
    snapshot::Flavor,
    swap,
    upgrade_spec::Target,
};

/// Where everything goes.
pub(super) struct Goal<'a> {
    /// What the pools must come to, at the end.
    pub(super) demand: Demand<'a>,
    /// What the control plane has still to go through.
    pub(super) path: Vec<&'a Release>,
}

/// What a pool must come to.
#[derive(Clone, Copy)]
pub(super) enum Demand<'a> {
    /// This release, with all its values.
    Values(&'a Release),
    /// This version. Who runs it keeps what he has; who doesn't, takes the release.
    Version(&'a KubeVersion, Option<&'a Release>),
}

impl<'a> Goal<'a> {
    pub(super) fn find(view: &ClassicView<'a>, waiting: &mut Vec<Waiting>) -> Result<Self, Waiting> {
        let control_plane = view.control_plane;
        let external_change = view.external_change(
            &control_plane.object,
            &control_plane.version,
            control_plane.infrastructure.as_ref(),
        );
        match external_change {
            ExternalChange::Unchanged => {}
            ExternalChange::Advanced(field) => waiting.push(Waiting::ForeignWriter {
                pool: PoolId::ControlPlane,
                field,
            }),
            ExternalChange::Reverted => {
                return Err(Waiting::ForeignWriter {
                    pool: PoolId::ControlPlane,
                    field: Field::Version,
                });
            }
        }
        begins_there(view)?;
        let demand = demand(view)?;
        let path = match demand {
            Demand::Values(release) if !has(view, release, external_change)? => path(view, release, external_change)?,
            Demand::Values(_) | Demand::Version(..) => Vec::new(),
        };
        Ok(Self { demand, path })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.path.iter().map(|release| release.name().to_owned()).collect()
    }
}

/// Holds `spec.source` against the control plane, until the first swap of this upgrade.
fn begins_there(view: &ClassicView<'_>) -> Result<(), Waiting> {
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let Some(source) = &upgrade_spec.source else {
        return Ok(());
    };
    let control_plane = view.control_plane;
    let swap_history = control_plane.object.swap_history.as_ref();
    let has_begun = swap_history.is_some_and(|swap_history| swap_history.upgrade == upgrade_spec.upgrade);
    let present = &control_plane.version;
    let same = source.parse().is_ok_and(|version: KubeVersion| version == *present)
        || source.parse().is_ok_and(|minor: Minor| minor == present.minor());
    if has_begun || same {
        return Ok(());
    }
    Err(Waiting::SourceMismatch {
        source: source.clone(),
        present: present.clone(),
    })
}

/// Whether a version or a prefix is older than what the control plane's spec says, be it in the
/// catalog or not: the version that an upgrade came from needn't be. With a dash it may be the name
/// of a release, which the catalog knows best.
pub(crate) fn is_older(text: &str, present: &KubeVersion) -> bool {
    if text.contains('-') {
        return false;
    }
    let full = text.parse().map(|version: KubeVersion| {
        version.minor().major == present.minor().major && version.compare(present) == BuildOrder::Less
    });
    let minor = text
        .parse()
        .map(|minor: Minor| minor.major == present.minor().major && minor < present.minor());
    full.unwrap_or(false) || minor.unwrap_or(false)
}

fn demand<'a>(view: &ClassicView<'a>) -> Result<Demand<'a>, Waiting> {
    let present = &view.control_plane.version;
    let catalog = &view.snapshot.catalog;
    match &view.snapshot.upgrade_spec.target {
        Target::Release(name) => match catalog.named(name) {
            Some(release) => Ok(Demand::Values(release)),
            None => Err(Waiting::NoRelease {
                pool: None,
                release: name.clone(),
            }),
        },
        Target::Text(text) if is_older(text, present) => Err(Waiting::NoPath(Box::new(NoPath::Downgrade {
            present: present.clone(),
            wanted: text.clone(),
        }))),
        Target::Text(text) => match catalog.resolve(text, Some(present), None, view.today) {
            Ok(Resolved::Release(release)) => Ok(Demand::Values(release)),
            Ok(Resolved::Unchanged) => Ok(at_present(view)),
            Err(miss) => Err(Waiting::NoTarget(miss)),
        },
    }
}

/// What the workers go to where the control plane stays at its version. A template that we minted
/// for another version is known to be wrong: another client raised the version alone.
pub(super) fn at_present<'a>(view: &ClassicView<'a>) -> Demand<'a> {
    let version = &view.control_plane.version;
    let rows = view.snapshot.catalog.rows_of(version);
    let best = view.snapshot.catalog.best(version, view.today);
    let reference = view.control_plane.infrastructure.as_ref();
    let template = reference.and_then(|reference| view.template(&PoolId::ControlPlane, reference).ok());
    match template.and_then(|template| view.minted_for(template)) {
        None => Demand::Version(version, best),
        // The row that the control plane took, also where the catalog has got a newer one.
        Some(label) => match rows.iter().find(|row| label_value(row.name()) == label) {
            Some(row) => Demand::Version(version, Some(row)),
            None => best.map_or(Demand::Version(version, None), Demand::Values),
        },
    }
}

/// Whether the control plane is as the release says, or as another client set it.
fn has(view: &ClassicView<'_>, release: &Release, external_change: ExternalChange) -> Result<bool, Waiting> {
    let control_plane = view.control_plane;
    if control_plane.version != *release.version() {
        return Ok(false);
    }
    if external_change == ExternalChange::Advanced(Field::InfrastructureRef) {
        return Ok(true);
    }
    let carries = match &control_plane.infrastructure {
        None => true,
        Some(reference) => template::carries(
            view,
            &PoolId::ControlPlane,
            &template::Wanted::control_plane(view, release, reference)?,
        )?,
    };
    Ok(carries && swap::has_components(control_plane, release))
}

fn path<'a>(
    view: &ClassicView<'a>,
    release: &'a Release,
    external_change: ExternalChange,
) -> Result<Vec<&'a Release>, Waiting> {
    let control_plane = view.control_plane;
    let start = Start {
        version: &control_plane.version,
        etcd: etcd(&control_plane.flavor),
        pool: control_plane.infrastructure.as_ref().map(|reference| Pool {
            role: Role::ControlPlane,
            group: &reference.group,
            kind: &reference.kind,
            labels: &control_plane.labels,
        }),
    };
    let catalog = &view.snapshot.catalog;
    match classic_path(&start, release, catalog, view.today) {
        Ok(path) => Ok(path),
        // Another client raised the version alone, without the etcd of its release.
        Err(NoPath::Etcd(step)) if external_change == ExternalChange::Advanced(Field::Version) => {
            let rows = catalog.rows_of(&control_plane.version);
            match rows.iter().find(|row| Some(row.name()) == step.first.as_deref()) {
                Some(row) => Ok(vec![row]),
                None => Err(Waiting::NoPath(Box::new(NoPath::Etcd(step)))),
            }
        }
        Err(NoPath::NoImage { release }) => Err(Waiting::NoImage {
            pool: PoolId::ControlPlane,
            release,
        }),
        Err(reason) => Err(Waiting::NoPath(Box::new(reason))),
    }
}

fn etcd(flavor: &Flavor) -> StartEtcd {
    match flavor {
        Flavor::Other => StartEtcd::Elsewhere,
        Flavor::Kubeadm { cluster_configuration } => {
            let etcd = &cluster_configuration.etcd;
            match &etcd.external {
                Some(ExternalEtcd {}) => StartEtcd::Elsewhere,
                None => StartEtcd::Stacked(etcd.local.image_tag.clone()),
            }
        }
    }
}
