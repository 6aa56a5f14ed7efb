//! The checks, one file each.

mod capi_ready;
mod certificate_authorities;
mod cluster_available;
pub(crate) mod control_plane_flags;
mod control_plane_healthy;
pub(crate) mod disks;
pub(crate) mod etcd_snapshot;
mod kubelet_skew;
pub(crate) mod machine_image_present;
mod machines_ready;
mod no_rollout_under_way;
mod nodes_ready;
mod pod_disruption_budgets;
mod removed_apis;
mod templates_present;
mod webhooks_in_the_way;

use instar_api::{EtcdSnapshotStatus, PreflightCheck, PreflightSettings, WorkloadAccess};
use instar_capi::ComponentSetting;
use instar_planner::{
    Condition, Lifecycle, MachineDeployment, Object, Observed, PoolOverride, Problem, Snapshot, Template, TemplateRef,
    Unreadable,
};
use jiff::SignedDuration;

use crate::{
    finding::{Finding, names},
    workload::{Extent, Facts, Probe, Workload},
};

/// Asks one check.
pub(crate) fn look(
    check: PreflightCheck,
    snapshot: &Snapshot,
    settings: &PreflightSettings,
    workload: Workload<'_>,
) -> Finding {
    match check {
        PreflightCheck::ClusterAvailable => cluster_available::look(snapshot),
        PreflightCheck::ControlPlaneHealthy => control_plane_healthy::look(snapshot),
        PreflightCheck::MachinesReady => machines_ready::look(snapshot),
        PreflightCheck::NoRolloutUnderWay => no_rollout_under_way::look(snapshot),
        PreflightCheck::ControlPlaneFlags => control_plane_flags::look(snapshot),
        PreflightCheck::TemplatesPresent => templates_present::look(snapshot),
        PreflightCheck::Disks => disks::look(snapshot),
        PreflightCheck::CapiReady => capi_ready::look(snapshot, workload.cluster_api),
        PreflightCheck::EtcdSnapshot => etcd_snapshot::look(snapshot, &settings.etcd_snapshots, workload),
        PreflightCheck::MachineImagePresent => machine_image_present::look(snapshot, workload),
        PreflightCheck::NodesReady => nodes_ready::look(snapshot, workload),
        PreflightCheck::KubeletSkew => kubelet_skew::look(snapshot, workload),
        PreflightCheck::WebhooksInTheWay => webhooks_in_the_way::look(snapshot, workload),
        PreflightCheck::PodDisruptionBudgets => pod_disruption_budgets::look(snapshot, workload),
        PreflightCheck::RemovedApis => removed_apis::look(snapshot, &settings.removed_apis, workload),
        PreflightCheck::CertificateAuthorities => certificate_authorities::look(snapshot, workload),
    }
}

/// The newest snapshot of etcd, where the check is about them.
pub(crate) fn snapshot(
    check: PreflightCheck,
    settings: &PreflightSettings,
    workload: Workload<'_>,
) -> Option<EtcdSnapshotStatus> {
    let is_asked = check == PreflightCheck::EtcdSnapshot;
    is_asked
        .then(|| etcd_snapshot::newest(&settings.etcd_snapshots, workload))
        .flatten()
}

/// What has to be read outside of the management cluster for a check.
pub(crate) const fn probe(check: PreflightCheck) -> Option<Probe> {
    match check {
        PreflightCheck::ClusterAvailable
        | PreflightCheck::ControlPlaneHealthy
        | PreflightCheck::MachinesReady
        | PreflightCheck::NoRolloutUnderWay
        | PreflightCheck::ControlPlaneFlags
        | PreflightCheck::TemplatesPresent
        | PreflightCheck::Disks
        | PreflightCheck::CapiReady
        | PreflightCheck::EtcdSnapshot => None,
        PreflightCheck::MachineImagePresent => Some(Probe::Images),
        PreflightCheck::NodesReady | PreflightCheck::KubeletSkew => Some(Probe::Nodes),
        PreflightCheck::WebhooksInTheWay => Some(Probe::Webhooks),
        PreflightCheck::PodDisruptionBudgets => Some(Probe::Budgets),
        PreflightCheck::RemovedApis => Some(Probe::ApiRequests),
        PreflightCheck::CertificateAuthorities => Some(Probe::Authorities),
    }
}

/// How old a reading may be. The cluster is read again twice a minute, so an older one means that this doesn't happen.
const STALE: SignedDuration = SignedDuration::from_mins(3);

/// An error says why the workload cluster isn't read.
fn readable(access: &WorkloadAccess, cluster: &str) -> Result<(), String> {
    match access {
        WorkloadAccess::Enabled(_) => Ok(()),
        WorkloadAccess::Disabled => Err(format!(
            "the workload cluster of Cluster {cluster} isn't read: set spec.workload.access of an UpgradePolicy that \
             selects it to Enabled, and of none to Disabled"
        )),
        WorkloadAccess::Unclear(why) => Err(why.clone()),
    }
}

/// The same of what is read every 10 minutes.
const STALE_HEAVY: SignedDuration = SignedDuration::from_mins(13);

/// What was read of the workload cluster, or why nothing was.
fn read<'w, F>(
    workload: Workload<'w>,
    snapshot: &Snapshot,
    probe: Probe,
    pick: fn(&'w Facts) -> Option<&'w F>,
) -> Result<&'w F, Finding> {
    let cluster = &snapshot.cluster.name;
    let unknown = |message: String| {
        Finding::Unknown(Problem {
            kind: "Cluster".to_owned(),
            name: cluster.clone(),
            message,
        })
    };
    readable(workload.access, cluster).map_err(unknown)?;
    let not_yet = || {
        unknown(format!(
            "the workload cluster of Cluster {cluster} has not been read yet"
        ))
    };
    let reading = workload.readings.get(&probe).ok_or_else(not_yet)?;
    let stale = if probe.is_heavy() { STALE_HEAVY } else { STALE };
    match &reading.found {
        // One that doesn't answer is asked less and less often.
        Err(problem) => Err(Finding::Unknown(problem.clone())),
        Ok(_) if snapshot.now.duration_since(reading.at) > stale => Err(unknown(format!(
            "the workload cluster of Cluster {cluster} was read last at {}, which is too long ago",
            reading.at
        ))),
        Ok(facts) => pick(facts).ok_or_else(not_yet),
    }
}

/// What is found where only a part of a list was read: what is bad enough in it counts.
fn unless_bounded(found: Finding, extent: Extent, objects: &str) -> Finding {
    match (found, extent) {
        (Finding::Pass | Finding::Warn(_) | Finding::NotApplicable(_), Extent::First(most)) => {
            Finding::Unknown(Problem {
                kind: String::new(),
                name: String::new(),
                message: format!(
                    "the workload cluster has more than {most} {objects}, and no more are read: look at the others and \
                     skip this check"
                ),
            })
        }
        (found, Extent::Whole | Extent::First(_)) => found,
    }
}

/// Whether a check reads what a kubeadm configuration sets. The rest needn't be kept.
#[must_use]
pub fn is_judged(setting: &ComponentSetting) -> bool {
    control_plane_flags::is_judged(setting)
}

/// Whether a pool goes where the control plane goes: no user holds it, or pinned it to another release.
fn follows(snapshot: &Snapshot, pool: &MachineDeployment) -> bool {
    match snapshot.upgrade_spec.pools.get(&pool.object.name) {
        // What goes away isn't upgraded.
        None => pool.object.lifecycle != Lifecycle::Deleting,
        Some(PoolOverride::Hold | PoolOverride::Pin(_)) => false,
    }
}

/// An object whose machines are replaced, and a template that they are made from.
pub(crate) struct Rolled<'s> {
    object: &'s Object,
    pub(crate) reference: &'s TemplateRef,
}

/// The templates of all machines that the upgrade replaces, as they are now: those of machines first.
pub(crate) fn rolled(snapshot: &Snapshot) -> Vec<Rolled<'_>> {
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let of_control_plane = control_plane.filter_map(|control_plane| {
        let reference = control_plane.infrastructure.as_ref()?;
        Some(Rolled {
            object: &control_plane.object,
            reference,
        })
    });
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let of_pools = pools.filter(|pool| follows(snapshot, pool)).flat_map(|pool| {
        let object = &pool.object;
        pool.templates().map(move |reference| Rolled { object, reference })
    });
    of_control_plane.chain(of_pools).collect()
}

/// A template that something refers to, where it is known.
fn template<'s>(snapshot: &'s Snapshot, reference: &TemplateRef) -> Option<Result<&'s Template, &'s Unreadable>> {
    snapshot.templates.iter().find_map(|template| match template {
        Observed::Read(template) => template.is(reference).then_some(Ok(template)),
        Observed::Invalid(other) => {
            (other.kind == reference.kind && other.name == reference.name).then_some(Err(other))
        }
    })
}

/// Asks about each of several objects; of one that can't be read nothing can be said.
fn each<T>(objects: &[Observed<T>], ask: impl Fn(&T) -> Finding) -> impl Iterator<Item = Finding> {
    objects.iter().map(move |object| match object {
        Observed::Read(object) => ask(object),
        Observed::Invalid(unreadable) => Finding::Unknown(cannot_be_read(unreadable)),
    })
}

fn cannot_be_read(unreadable: &Unreadable) -> Problem {
    let Unreadable { kind, name, reason } = unreadable;
    Problem {
        kind: kind.clone(),
        name: name.clone(),
        message: format!("{kind} {name} can't be read: {reason}"),
    }
}

/// The condition of an object, if it is one that is kept: of those that tell of its health, one that isn't True.
fn condition<'o>(object: &'o Object, kind: &str) -> Option<&'o Condition> {
    object.conditions.iter().find(|condition| condition.kind == kind)
}

/// What a condition that ought to be True says of an object. Cluster API reports all of them at once, so one that isn't
/// kept is True.
fn ought_to_be_true(object: &Object, kind: &str) -> Finding {
    condition(object, kind).map_or(Finding::Pass, |condition| {
        Finding::of_condition(&object.kind, &object.name, object.generation, condition)
    })
}
