//! Where to, and through what.

use std::collections::BTreeMap;

use instar_catalog::{Pool, Release, Resolved, Role};
use instar_domain::{BuildOrder, KubeVersion, Minor};
use serde_json::Value;

use super::{
    scene::{Foreign, Scene},
    template,
};
use crate::{
    decision::{Field, Waiting},
    mint::label_value,
    path::{NoPath, Start, StartEtcd, classic_path},
    snapshot::{Flavor, PoolId},
    swap,
    wish::Target,
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
    pub(super) fn find(scene: &Scene<'a>, waiting: &mut Vec<Waiting>) -> Result<Self, Waiting> {
        let control_plane = scene.control_plane;
        let foreign = scene.foreign(
            &control_plane.object,
            &control_plane.version,
            control_plane.infrastructure.as_ref(),
        );
        match foreign {
            Foreign::No => {}
            Foreign::Onward(field) => waiting.push(Waiting::ForeignWriter {
                pool: PoolId::ControlPlane,
                field,
            }),
            Foreign::Back => {
                return Err(Waiting::ForeignWriter {
                    pool: PoolId::ControlPlane,
                    field: Field::Version,
                });
            }
        }
        begins_there(scene)?;
        let demand = demand(scene)?;
        let path = match demand {
            Demand::Values(release) if !has(scene, release, foreign)? => path(scene, release, foreign)?,
            Demand::Values(_) | Demand::Version(..) => Vec::new(),
        };
        Ok(Self { demand, path })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.path.iter().map(|release| release.name().to_owned()).collect()
    }
}

/// Holds `spec.source` against the control plane, until the first swap of this upgrade.
fn begins_there(scene: &Scene<'_>) -> Result<(), Waiting> {
    let wish = &scene.snapshot.wish;
    let Some(source) = &wish.source else { return Ok(()) };
    let control_plane = scene.control_plane;
    let ledger = control_plane.object.ledger.as_ref();
    let has_begun = ledger.is_some_and(|ledger| ledger.upgrade == wish.upgrade);
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

fn demand<'a>(scene: &Scene<'a>) -> Result<Demand<'a>, Waiting> {
    let present = &scene.control_plane.version;
    let catalog = &scene.snapshot.catalog;
    match &scene.snapshot.wish.target {
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
        Target::Text(text) => match catalog.resolve(text, Some(present), None, scene.today) {
            Ok(Resolved::Release(release)) => Ok(Demand::Values(release)),
            Ok(Resolved::Unchanged) => Ok(at_present(scene)),
            Err(miss) => Err(Waiting::NoTarget(miss)),
        },
    }
}

/// What the workers go to where the control plane stays at its version. A template that we minted
/// for another version is known to be wrong: somebody raised the version alone.
pub(super) fn at_present<'a>(scene: &Scene<'a>) -> Demand<'a> {
    let version = &scene.control_plane.version;
    let rows = scene.snapshot.catalog.rows_of(version);
    let best = scene.snapshot.catalog.best(version, scene.today);
    let reference = scene.control_plane.infrastructure.as_ref();
    let template = reference.and_then(|reference| scene.template(&PoolId::ControlPlane, reference).ok());
    match template.and_then(|template| scene.minted_for(template)) {
        None => Demand::Version(version, best),
        // The row that the control plane took, also where the catalog has got a newer one.
        Some(label) => match rows.iter().find(|row| label_value(row.name()) == label) {
            Some(row) => Demand::Version(version, Some(row)),
            None => best.map_or(Demand::Version(version, None), Demand::Values),
        },
    }
}

/// Whether the control plane is what the release says, or what somebody else made of it.
fn has(scene: &Scene<'_>, release: &Release, foreign: Foreign) -> Result<bool, Waiting> {
    let control_plane = scene.control_plane;
    if control_plane.version != *release.version() {
        return Ok(false);
    }
    if foreign == Foreign::Onward(Field::InfrastructureRef) {
        return Ok(true);
    }
    let carries = match &control_plane.infrastructure {
        None => true,
        Some(reference) => template::carries(
            scene,
            &PoolId::ControlPlane,
            &template::Wanted::control_plane(scene, release, reference)?,
        )?,
    };
    Ok(carries && swap::has_components(control_plane, release))
}

fn path<'a>(scene: &Scene<'a>, release: &'a Release, foreign: Foreign) -> Result<Vec<&'a Release>, Waiting> {
    let control_plane = scene.control_plane;
    let labels = BTreeMap::new();
    let start = Start {
        version: &control_plane.version,
        etcd: etcd(&control_plane.flavor),
        pool: control_plane.infrastructure.as_ref().map(|reference| Pool {
            role: Role::ControlPlane,
            group: &reference.group,
            kind: &reference.kind,
            labels: &labels,
        }),
    };
    let catalog = &scene.snapshot.catalog;
    match classic_path(&start, release, catalog, scene.today) {
        Ok(path) => Ok(path),
        // Somebody raised the version alone, and left behind the etcd that comes with it.
        Err(NoPath::Etcd(step)) if foreign == Foreign::Onward(Field::Version) => {
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
            if cluster_configuration.pointer("/etcd/external").is_some() {
                return StartEtcd::Elsewhere;
            }
            let tag = cluster_configuration.pointer("/etcd/local/imageTag");
            StartEtcd::Stacked(tag.and_then(Value::as_str).map(str::to_owned))
        }
    }
}
