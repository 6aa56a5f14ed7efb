//! The rules of a step: source, etcd, images, wiring.

use instar_api::{Pin, Values};
use instar_capi::{Rollout, labels::SKIP_CORE_DNS};
use instar_catalog::{
    Release,
    core_dns::{self, Refused},
    etcd::{Etcd, EtcdRefusal},
};
use instar_domain::KubeVersion;
use instar_wiring::{Fallback, Rendered, Wiring};

use super::{
    edits::ExistingPins,
    request::{Request, VERSION},
    shape::{Place, PoolShape, Shape},
};
use crate::{Finding, Rule};

/// A version that is to be pinned to a row.
#[derive(Clone)]
pub(super) struct Step<'a> {
    version: KubeVersion,
    pub(super) row: &'a Release,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// The Cluster is created with it.
    First,
    /// The version that runs, with another row.
    Again,
    /// On the control plane's path; the workers stop there, or not.
    OnPath(Who),
}

/// Which machines take a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    All,
    ControlPlane,
}

impl<'a> Step<'a> {
    pub(super) const fn first(version: KubeVersion, row: &'a Release) -> Self {
        Self {
            version,
            row,
            kind: Kind::First,
        }
    }

    pub(super) const fn again(version: KubeVersion, row: &'a Release) -> Self {
        Self {
            version,
            row,
            kind: Kind::Again,
        }
    }

    pub(super) const fn on_path(version: KubeVersion, row: &'a Release, workers_stop: bool) -> Self {
        let who = if workers_stop { Who::All } else { Who::ControlPlane };
        Self {
            version,
            row,
            kind: Kind::OnPath(who),
        }
    }

    pub(super) const fn version(&self) -> &KubeVersion {
        &self.version
    }

    /// Whether it is another row of a version that runs.
    pub(super) const fn is_again(&self) -> bool {
        match self.kind {
            Kind::Again => true,
            Kind::First | Kind::OnPath(_) => false,
        }
    }

    pub(super) const fn who(&self) -> Who {
        match self.kind {
            Kind::First | Kind::Again => Who::All,
            Kind::OnPath(who) => who,
        }
    }
}

/// Holds the rules of every step, in order. What a policy may switch off is handed back.
pub(super) fn check(
    request: &Request<'_>,
    shape: &Shape<'_>,
    wiring: &Wiring<'_>,
    present: Option<&KubeVersion>,
    base: &ExistingPins,
    steps: &[Step<'_>],
) -> Result<Vec<Finding>, Finding> {
    let mut findings = Vec::new();
    let mut before = present.cloned();
    let (mut etcd, own_tag) = running_etcd(request, shape, present, base);
    let mut core_dns = running_core_dns(request, shape, present, base);
    let mut first = true;
    for step in steps {
        let (version, row) = (&step.version, step.row);
        if let (Kind::OnPath(_), Some(before)) = (&step.kind, &before)
            && let Some(requirement) = row.refuses_source(before)
        {
            findings.push(request.deny(
                Rule::UpgradesFrom,
                VERSION,
                format!(
                    "release {} ({version}) upgrades from {requirement}, and {before} comes before it",
                    row.name()
                ),
                "go first to a version that it upgrades from, or to a release that accepts this one",
            ));
        }
        for pool in shape
            .pools
            .iter()
            .filter(|pool| step.who() == Who::All || pool.place == Place::ControlPlane)
        {
            if pool.image(row).is_none() {
                return Err(no_image(request, pool, row.name(), version, true));
            }
        }
        renders(request, shape, wiring, version, &shape.mint(row), step.who())?;
        let next = next_etcd(shape, row, own_tag.as_deref());
        if let (Some(etcd), Some(before)) = (&etcd, &before)
            && let Some(why) = etcd.refuses(&next)
        {
            findings.push(request.deny(
                Rule::EtcdStep,
                VERSION,
                format!(
                    "release {} ({version}) runs etcd {next} after etcd {etcd} of {before}, and {why}",
                    row.name()
                ),
                first_etcd(request, why, before),
            ));
        }
        if first
            && let (Some(etcd), Some(before)) = (&etcd, &before)
            && etcd.is_the_step_before()
            && next.is_past_the_step()
            && !runs(request, etcd)
        {
            findings.push(request.deny(
                Rule::EtcdStep,
                VERSION,
                format!("release {} ({version}) runs etcd {next} after etcd {etcd} of {before}, which not all machines of the control plane run yet", row.name()),
                "wait until all of its machines are up to date (kubectl get kubeadmcontrolplanes)",
            ));
        }
        first = false;
        etcd = Some(next);
        if let (Some(tag), Some(next)) = (core_dns, row.core_dns_tag()) {
            findings.extend(core_dns_step(request, step, tag, next));
        }
        core_dns = core_dns.map(|tag| row.core_dns_tag().unwrap_or(tag));
        before = Some(version.clone());
    }
    Ok(findings)
}

/// The etcd that runs, and the tag that the class itself sets where no pin sets one.
fn running_etcd(
    request: &Request<'_>,
    shape: &Shape<'_>,
    present: Option<&KubeVersion>,
    base: &ExistingPins,
) -> (Option<Etcd>, Option<String>) {
    let Some(present) = present else { return (None, None) };
    if shape.kubeadm.is_none() || shape.etcd_is_external {
        return (Some(Etcd::Elsewhere), None);
    }
    if let Some(tag) = base.pin_of(present).and_then(Pin::etcd_tag) {
        return (Some(Etcd::Tag(tag.to_owned())), None);
    }
    let Some(control_plane) = request.facts.control_plane else {
        return (Some(Etcd::Unknown), None);
    };
    let etcd = &control_plane.spec.kubeadm_config_spec.cluster_configuration.etcd;
    match (&etcd.external, &etcd.local.image_tag) {
        (Some(_), _) => (Some(Etcd::Elsewhere), None),
        (None, Some(tag)) => (Some(Etcd::Tag(tag.clone())), Some(tag.clone())),
        (None, None) => (Some(Etcd::Kubeadm(present.clone())), None),
    }
}

/// Whether all machines of the control plane run an etcd that was asked for. Between the edit that asks for it and the
/// rollout, the topology controller has to write it into the control plane.
fn runs(request: &Request<'_>, etcd: &Etcd) -> bool {
    let Some(control_plane) = request.facts.control_plane else {
        // Without a control plane nothing runs.
        return request.new.spec.control_plane_ref.is_none();
    };
    let asked = &control_plane
        .spec
        .kubeadm_config_spec
        .cluster_configuration
        .etcd
        .local
        .image_tag;
    let is_asked = asked.as_ref().is_some_and(|asked| Etcd::Tag(asked.clone()) == *etcd);
    is_asked && control_plane.rollout() == Rollout::Done
}

/// The tag of the CoreDNS that runs; nothing where Cluster API doesn't look at it.
fn running_core_dns<'r>(
    request: &'r Request<'_>,
    shape: &Shape<'_>,
    present: Option<&KubeVersion>,
    base: &'r ExistingPins,
) -> Option<&'r str> {
    let skips = request
        .topology
        .control_plane
        .metadata
        .annotations
        .contains_key(SKIP_CORE_DNS);
    shape.kubeadm.filter(|_| !skips)?;
    let pinned = base.pin_of(present?).and_then(Pin::core_dns_tag);
    pinned.or_else(|| {
        let configuration = &request
            .facts
            .control_plane?
            .spec
            .kubeadm_config_spec
            .cluster_configuration;
        configuration.dns.image_tag.as_deref()
    })
}

fn core_dns_step(request: &Request<'_>, step: &Step<'_>, present: &str, next: &str) -> Option<Finding> {
    let (release, version) = (step.row.name(), &step.version);
    let what = match core_dns::refuses(present, next)? {
        Refused::Lower => format!(
            "release {release} ({version}) sets CoreDNS {next} after {present}, and Cluster API migrates it only upwards"
        ),
        Refused::Unreadable => {
            format!("release {release} ({version}) sets CoreDNS {next}, in which Cluster API finds no version")
        }
    };
    Some(request.deny(
        Rule::CoreDnsStep,
        VERSION,
        what,
        format!("create a KubernetesRelease of {version} with a higher revision and CoreDNS {present} or later"),
    ))
}

fn next_etcd(shape: &Shape<'_>, row: &Release, own_tag: Option<&str>) -> Etcd {
    if shape.kubeadm.is_none() || shape.etcd_is_external {
        return Etcd::Elsewhere;
    }
    match row.etcd_tag().or(own_tag) {
        Some(tag) => Etcd::Tag(tag.to_owned()),
        None => Etcd::Kubeadm(row.version().clone()),
    }
}

fn first_etcd(request: &Request<'_>, why: EtcdRefusal, before: &KubeVersion) -> String {
    match why {
        EtcdRefusal::Unsafe => {}
        EtcdRefusal::SkipsMinor => {
            return format!(
                "first create a KubernetesRelease of {before} with an etcd of the minor between, and set spec.topology.version to its name"
            );
        }
    }
    let rows = request.facts.catalog.rows_of(before).rev();
    let safe = rows
        .filter_map(|row| row.etcd_tag().map(|tag| (row, tag)))
        .find(|(_, tag)| Etcd::Tag((*tag).to_owned()).is_the_step_before());
    match safe {
        Some((row, tag)) => format!(
            "first set spec.topology.version to {}, the release of {before} with etcd {tag}",
            row.name()
        ),
        None => format!(
            "first create a KubernetesRelease of {before} with etcd 3.5.26 or later, and set spec.topology.version to its name"
        ),
    }
}

/// The refusal of a pool that has no image.
pub(super) fn no_image(
    request: &Request<'_>,
    pool: &PoolShape<'_>,
    release: &str,
    version: &KubeVersion,
    row_exists: bool,
) -> Finding {
    let what = if row_exists {
        format!(
            "release {release} ({version}) has no image for {} ({}{})",
            pool.object_ref(),
            pool.template.kind,
            pool.labelled()
        )
    } else {
        format!(
            "release {release} ({version}) is not in the catalog, so the image of {} can't be found",
            pool.object_ref()
        )
    };
    let remediation = if row_exists {
        format!("create a KubernetesRelease of {version} with a higher revision and this image")
    } else {
        "create the release again as it was".to_owned()
    };
    request.deny(Rule::ImageForPool, VERSION, what, remediation)
}

/// Holds a pin against what the class' wiring renders.
pub(super) fn renders(
    request: &Request<'_>,
    shape: &Shape<'_>,
    wiring: &Wiring<'_>,
    version: &KubeVersion,
    pin: &Pin,
    who: Who,
) -> Result<(), Finding> {
    let class = request.class_name();
    match uncovered(&class, shape, wiring, version, pin, who) {
        None => Ok(()),
        Some(Uncovered { what, remediation }) => Err(request.deny(Rule::WiringRenders, VERSION, what, remediation)),
    }
}

/// Where a pin and what a class' wiring renders are not one.
pub(super) struct Uncovered {
    pub(super) what: String,
    remediation: &'static str,
}

/// Finds it.
pub(super) fn uncovered(
    class: &str,
    shape: &Shape<'_>,
    wiring: &Wiring<'_>,
    version: &KubeVersion,
    pin: &Pin,
    who: Who,
) -> Option<Uncovered> {
    let covers = |whose: &str, kind: &str, values: &Values, rendered: &Rendered| {
        covers(class, whose, kind, values, rendered, version, pin)
    };
    let kubeadm = shape.kubeadm.and_then(|template| {
        let rendered = wiring.kubeadm(template);
        covers("the control plane itself", &template.kind, &pin.kubeadm, &rendered)
    });
    kubeadm.or_else(|| {
        shape
            .pools
            .iter()
            .filter(|pool| who == Who::All || pool.place == Place::ControlPlane)
            .find_map(|pool| {
                let (values, rendered) = (pool.pinned(pin), pool.rendered(wiring));
                covers(&pool.object_ref(), &pool.template.kind, values, &rendered)
            })
    })
}

fn covers(
    class: &str,
    whose: &str,
    kind: &str,
    values: &Values,
    rendered: &Rendered,
    version: &KubeVersion,
    pin: &Pin,
) -> Option<Uncovered> {
    let release = &pin.release;
    if let Some(pointer) = values.keys().find(|pointer| !rendered.contains_key(*pointer)) {
        return Some(Uncovered {
            what: format!(
                "release {release} ({version}) sets {pointer} of {kind} for {whose}, and ClusterClass {class} does not render it"
            ),
            remediation: "wire the class again: instar wire prints it",
        });
    }
    let must = rendered
        .iter()
        .filter(|(_, fallback)| **fallback == Fallback::Stop)
        .map(|(pointer, _)| pointer);
    let pointer = must.into_iter().find(|pointer| !values.contains_key(*pointer))?;
    Some(Uncovered {
        what: format!(
            "ClusterClass {class} renders {pointer} of {kind} for {whose}, and release {release} ({version}) does not set it"
        ),
        remediation: "take a release that sets it, or put a value there into the class' template and wire the class again",
    })
}
