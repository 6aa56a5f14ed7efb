//! Where to, and through what.

use instar_catalog::{Pool, Resolved, Role};
use instar_domain::{BuildOrder, KubeVersion, Minor};

use super::{
    pinned,
    stuck_step::{self, StuckStep},
    template,
    view::{ClassicView, ExternalChange},
};
use crate::{
    decision::{Field, Waiting},
    name::label_value,
    path::{NoPath, Start, StartEtcd, classic_path},
    pool_id::PoolId,
    step::Step,
    swap,
    swap_history::PoolState,
    upgrade_spec::Target,
};

/// Where everything goes.
pub(super) struct Goal<'a> {
    /// What the pools must come to, at the end.
    pub(super) demand: Demand<'a>,
    /// What the control plane goes through: of an upgrade that has begun, also what it has gone through. The last is
    /// the target's, also where the control plane has its values.
    pub(super) steps: Vec<Step<'a>>,
    /// What of it the control plane has still to go through.
    pub(super) path: Vec<Step<'a>>,
    /// Whether the Cluster carries it.
    pub(super) is_pinned: bool,
    /// Where the control plane goes first, since the step under way never came up and the path is another one.
    pub(super) goes_back: Option<&'a PoolState>,
}

/// What a pool must come to.
#[derive(Clone, Copy)]
pub(super) enum Demand<'a> {
    /// This release, with all its values.
    Values(Step<'a>),
    /// This version. Who runs it keeps what he has; who doesn't, takes the release.
    Version(&'a KubeVersion, Option<Step<'a>>),
}

impl<'a> Demand<'a> {
    pub(super) fn version(self) -> &'a KubeVersion {
        match self {
            Self::Values(release) => release.version(),
            Self::Version(version, _) => version,
        }
    }

    /// The release of it.
    pub(super) fn step(self) -> Option<Step<'a>> {
        match self {
            Self::Values(step) => Some(step),
            Self::Version(_, step) => step,
        }
    }
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
            ExternalChange::Reverted(written) => {
                return Err(Waiting::Reverted {
                    pool: PoolId::ControlPlane,
                    written: written.clone(),
                    found: control_plane.version.clone(),
                });
            }
        }
        let stuck = stuck_step::find(view);
        begins_there(view, stuck)?;
        // A version that another client set may lack what comes with its release: its etcd, say.
        let is_planned = external_change != ExternalChange::Advanced(Field::Version);
        match pinned::find(view).filter(|_| is_planned) {
            Some(steps) => Self::pinned(view, steps, external_change, stuck),
            None => match stuck.and_then(|stuck| Self::around(view, stuck)) {
                Some(goal) => Ok(goal),
                None => Self::from_catalog(view, external_change),
            },
        }
    }

    /// Where the control plane stands: its step under way ends, and the workers follow.
    pub(super) fn standing(view: &ClassicView<'a>) -> Self {
        Self {
            demand: at_present(view),
            steps: Vec::new(),
            path: Vec::new(),
            // What it stands at was pinned before it went there.
            is_pinned: true,
            goes_back: None,
        }
    }

    /// What the Cluster's pins say, whatever the catalog has got since.
    fn pinned(
        view: &ClassicView<'a>,
        steps: Vec<Step<'a>>,
        external_change: ExternalChange<'_>,
        stuck: Option<StuckStep<'a>>,
    ) -> Result<Self, Waiting> {
        let Some(target) = steps.last().copied() else {
            return Ok(Self {
                demand: at_present(view),
                steps,
                path: Vec::new(),
                is_pinned: true,
                goes_back: None,
            });
        };
        let path = view
            .snapshot
            .cluster
            .classic()
            .and_then(|classic| classic.path.as_ref());
        let begins_before = |stuck: &StuckStep<'_>| path.is_some_and(|path| path.from == stuck.before.version);
        if let Some(stuck) = stuck.filter(|stuck| begins_before(stuck) && !leads_through(&steps, *stuck)) {
            return Ok(Self {
                demand: Demand::Values(target),
                path: steps.clone(),
                steps,
                is_pinned: true,
                goes_back: Some(stuck.before),
            });
        }
        let present = &view.control_plane.version;
        let mut path = Vec::new();
        for step in &steps {
            if *step.version() > *present || (*step.version() == *present && !has(view, step, external_change)?) {
                path.push(*step);
            }
        }
        Ok(Self {
            demand: Demand::Values(target),
            steps,
            path,
            is_pinned: true,
            goes_back: None,
        })
    }

    /// From what was there before a step that never came up to another release, where the way there is another one.
    fn around(view: &ClassicView<'a>, stuck: StuckStep<'a>) -> Option<Self> {
        let before = &stuck.before.version;
        let Ok(Demand::Values(target)) = demand(view, before) else {
            return None;
        };
        let etcd = StartEtcd::of_state(&view.control_plane.flavor, stuck.before);
        let steps = path(view, &target, before, etcd, ExternalChange::Unchanged).ok()?;
        (!leads_through(&steps, stuck)).then(|| Self {
            demand: Demand::Values(target),
            path: steps.clone(),
            steps,
            is_pinned: false,
            goes_back: Some(stuck.before),
        })
    }

    fn from_catalog(view: &ClassicView<'a>, external_change: ExternalChange<'_>) -> Result<Self, Waiting> {
        let control_plane = view.control_plane;
        let demand = demand(view, &control_plane.version)?;
        let (steps, path) = match demand {
            Demand::Values(target) if has(view, &target, external_change)? => (vec![target], Vec::new()),
            Demand::Values(target) => {
                let etcd = StartEtcd::of(&control_plane.flavor);
                let path = path(view, &target, &control_plane.version, etcd, external_change)?;
                (path.clone(), path)
            }
            Demand::Version(..) => (Vec::new(), Vec::new()),
        };
        Ok(Self {
            demand,
            steps,
            path,
            is_pinned: false,
            goes_back: None,
        })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.path.iter().map(|step| step.name().to_owned()).collect()
    }
}

/// Whether a path goes through the release that doesn't come up.
fn leads_through(steps: &[Step<'_>], stuck: StuckStep<'_>) -> bool {
    steps.iter().any(|step| step.name() == stuck.release)
}

/// Holds `spec.source` against the control plane, until the first swap of this upgrade. A step of another upgrade that
/// never came up doesn't count.
fn begins_there(view: &ClassicView<'_>, stuck: Option<StuckStep<'_>>) -> Result<(), Waiting> {
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let Some(source) = &upgrade_spec.source else {
        return Ok(());
    };
    let control_plane = view.control_plane;
    let has_begun = view.swapped(&control_plane.object).is_some();
    let present = stuck.map_or(&control_plane.version, |stuck| &stuck.before.version);
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

/// What is asked of a control plane at a version.
fn demand<'a>(view: &ClassicView<'a>, present: &KubeVersion) -> Result<Demand<'a>, Waiting> {
    let catalog = &view.snapshot.catalog;
    match &view.snapshot.upgrade_spec.target {
        Target::Release(name) => match catalog.named(name) {
            Some(release) => Ok(Demand::Values(release.into())),
            None => Err(view.no_release(None, name)),
        },
        Target::Text(text) if is_older(text, present) => Err(Waiting::NoPath(Box::new(NoPath::Downgrade {
            present: present.clone(),
            wanted: text.clone(),
        }))),
        Target::Text(text) => match catalog.resolve(text, Some(present), None, view.today) {
            Ok(Resolved::Release(release)) => Ok(Demand::Values(release.into())),
            Ok(Resolved::Unchanged) => Ok(at_present(view)),
            Err(miss) => Err(Waiting::NoTarget(miss)),
        },
    }
}

/// What the workers go to where the control plane stays at its version. A template that we minted
/// for another version is known to be wrong: another client raised the version alone.
pub(super) fn at_present<'a>(view: &ClassicView<'a>) -> Demand<'a> {
    let version = &view.control_plane.version;
    let pinned = pinned::at(view, version);
    let rows = view.snapshot.catalog.rows_anywhere(version);
    let best = pinned.or_else(|| view.snapshot.catalog.best(version, view.today).map(Step::from));
    let reference = view.control_plane.infrastructure.as_ref();
    let template = reference.and_then(|reference| view.template(&PoolId::ControlPlane, reference).ok());
    match template.and_then(|template| view.minted_for(template)) {
        None => Demand::Version(version, best),
        // The row that the control plane took, also where the catalog has got a newer one.
        Some(label) => match pinned
            .into_iter()
            .chain(rows.map(Step::from))
            .find(|row| label_value(row.name()) == label)
        {
            Some(row) => Demand::Version(version, Some(row)),
            None => best.map_or(Demand::Version(version, None), Demand::Values),
        },
    }
}

/// Whether the control plane is as the release says, or as another client set it.
fn has(view: &ClassicView<'_>, release: &Step<'_>, external_change: ExternalChange<'_>) -> Result<bool, Waiting> {
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
    target: &Step<'a>,
    present: &KubeVersion,
    etcd: StartEtcd,
    external_change: ExternalChange<'_>,
) -> Result<Vec<Step<'a>>, Waiting> {
    let catalog = &view.snapshot.catalog;
    // What is pinned may be of the catalog that was the Cluster's before.
    let Some(release) = catalog.named_anywhere(target.name()) else {
        return Err(view.no_release(None, target.name()));
    };
    let control_plane = view.control_plane;
    let start = Start {
        version: present,
        etcd,
        pool: control_plane.infrastructure.as_ref().map(|reference| Pool {
            role: Role::ControlPlane,
            group: &reference.group,
            kind: &reference.kind,
            labels: view.labels(&control_plane.labels),
        }),
    };
    match classic_path(&start, release, catalog, view.today) {
        Ok(path) => Ok(path.into_iter().map(Step::from).collect()),
        // Another client raised the version alone, without the etcd of its release.
        Err(NoPath::Etcd(step)) if external_change == ExternalChange::Advanced(Field::Version) => {
            let mut rows = catalog.rows_of(present);
            let Some(row) = rows.find(|row| Some(row.name()) == step.first.as_deref()) else {
                return Err(Waiting::NoPath(Box::new(NoPath::Etcd(step))));
            };
            let after = Start {
                etcd: StartEtcd::Stacked(row.etcd_tag().map(str::to_owned)),
                ..start
            };
            let rest = classic_path(&after, release, catalog, view.today);
            let rest = rest.map_err(|reason| Waiting::NoPath(Box::new(reason)))?;
            Ok(std::iter::once(row).chain(rest).map(Step::from).collect())
        }
        Err(NoPath::NoImage { release }) => Err(Waiting::NoImage {
            pool: PoolId::ControlPlane,
            release,
        }),
        Err(reason) => Err(Waiting::NoPath(Box::new(reason))),
    }
}
