//! What is waited for, in words for conditions and people.

use std::fmt;

use instar_api::{Approval, ApprovedPart, HealthReason};
use instar_domain::{JsonPointer, skew};

use super::{Field, RolloutPausedBy, SetBack, TemplateRefusal, Waiting, no_release::Elsewhere};
use crate::{
    addon::AddonProblem,
    pool_id::PoolId,
    snapshot::{MachinePhase, TemplateRef},
    upgrade_spec::Gate,
};

impl Waiting {
    /// The reason in `status.health[]`.
    #[must_use]
    pub const fn reason(&self) -> HealthReason {
        match self {
            Self::Paused { .. } => HealthReason::Paused,
            Self::Deleting { .. } => HealthReason::Deleting,
            Self::TopologyOwned { .. } => HealthReason::TopologyOwned,
            Self::Unreadable(_) => HealthReason::Unreadable,
            Self::NoControlPlane => HealthReason::NoControlPlane,
            Self::NotProvisioned => HealthReason::NotProvisioned,
            Self::SourceMismatch { .. } => HealthReason::SourceMismatch,
            Self::NoTarget(_) => HealthReason::NoTarget,
            Self::NoRelease { .. } => HealthReason::NoRelease,
            Self::NoRow { .. } => HealthReason::NoRow,
            Self::NoPath(_) => HealthReason::NoPath,
            Self::NoImage { .. } => HealthReason::NoImage,
            Self::GateClosed { .. } => HealthReason::GateClosed,
            Self::AddonClosed(closed) => match closed.problem {
                AddonProblem::NotReady | AddonProblem::Settling => HealthReason::AddonNotReady,
                AddonProblem::Failed => HealthReason::AddonFailed,
                AddonProblem::Unknown => HealthReason::AddonUnknown,
                AddonProblem::TimedOut | AddonProblem::Expired => HealthReason::AddonTimedOut,
            },
            Self::AddonsUnseen(_) => HealthReason::AddonUnknown,
            Self::ApprovalMissing { .. } => HealthReason::ApprovalMissing,
            Self::PreflightFailed { .. } => HealthReason::PreflightFailed,
            Self::PreflightUnknown { .. } => HealthReason::PreflightUnknown,
            Self::PoolHeld { .. } => HealthReason::PoolHeld,
            Self::Finishing => HealthReason::Finishing,
            Self::TemplateNotVisible { .. } => HealthReason::TemplateNotVisible,
            Self::NoBootstrapTemplate { .. } => HealthReason::NoBootstrapTemplate,
            Self::NameTaken { .. } => HealthReason::NameTaken,
            Self::TemplateDeleting { .. } => HealthReason::TemplateDeleting,
            Self::ValueMisfit { .. } | Self::ValueDropped { .. } => HealthReason::ValueMisfit,
            Self::ControlPlaneRollingOut { .. } => HealthReason::ControlPlaneRollingOut,
            Self::ControlPlaneNotReady { .. } => HealthReason::ControlPlaneNotReady,
            Self::PoolRollingOut { .. } => HealthReason::PoolRollingOut,
            Self::MachineNotReady { .. } | Self::NodeVersion { .. } => HealthReason::MachineNotReady,
            Self::NodeNotReady(node) => node.reason(),
            Self::NodesSettling { .. } => HealthReason::NodesSettling,
            Self::ControlPlaneStuck { .. } => HealthReason::ControlPlaneStuck,
            Self::NoVersion { .. } => HealthReason::NoVersion,
            Self::LeftToUser { .. } => HealthReason::LeftToUser,
            Self::OnDelete { .. } => HealthReason::OnDelete,
            Self::WorkersBehind { .. } => HealthReason::WorkersBehind,
            Self::PoolAhead { .. } => HealthReason::PoolAhead,
            Self::PinOutOfReach { .. } => HealthReason::PinOutOfReach,
            Self::NoWayBack(reason) if reason.refuses() => HealthReason::NoWayBack,
            Self::NoWayBack(_) => HealthReason::NotTakenBack,
            Self::NoRestart(reason) => reason.health_reason(),
            Self::Drifted { .. } => HealthReason::Drifted,
            Self::ForeignWriter { .. } | Self::Reverted { .. } | Self::VersionEdited { .. } => {
                HealthReason::ForeignWriter
            }
            Self::TopologyNotReconciled { .. } => HealthReason::TopologyNotReconciled,
            Self::HookBlocking { .. } => HealthReason::HookBlocking,
            Self::StartBlocked { .. } => HealthReason::StartBlocked,
            Self::UpgradeDeferred { .. } => HealthReason::UpgradeDeferred,
            Self::ClusterApi { .. } => HealthReason::ClusterApi,
            Self::PauseAwaited { .. } => HealthReason::PauseAwaited,
            Self::MachinePoolRollingOut { .. } => HealthReason::MachinePoolRollingOut,
            Self::Superseded { .. } => HealthReason::Superseded,
            Self::UpgradeUnderWay { .. } => HealthReason::UpgradeUnderWay,
            Self::TemplateRefused { .. } | Self::Refused(_) => HealthReason::Refused,
            Self::Retained { .. } => HealthReason::Retained,
            Self::RolloutPaused { .. } => HealthReason::RolloutPaused,
            Self::Landing { .. } => HealthReason::Landing,
            Self::NoLanding { .. } => HealthReason::NoLanding,
            Self::SetAgain { .. } => HealthReason::ForeignWriter,
            Self::Failed(failed) => failed.failure.reason(),
            Self::ReleaseAwaited { .. } => HealthReason::ReleaseAwaited,
            Self::PoolToFollow { .. } => HealthReason::PoolToFollow,
            Self::OtherVersion { .. } => HealthReason::OtherVersion,
        }
    }
}

impl fmt::Display for Waiting {
    #[allow(clippy::too_many_lines, reason = "a sentence for each reason")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { kind, name } => write!(f, "{kind} {name} is paused"),
            Self::Deleting { kind, name } => write!(f, "{kind} {name} is being deleted"),
            Self::TopologyOwned { kind, name } => {
                write!(
                    f,
                    "{kind} {name} belongs to the topology controller, which mints and swaps itself"
                )
            }
            Self::Unreadable(object) => write!(f, "{} {} can't be read: {}", object.kind, object.name, object.reason),
            Self::ReleaseAwaited { pool, release } => {
                write!(f, "Cluster API has still to give {pool} a template of release {release}")
            }
            Self::OtherVersion {
                release,
                version,
                present,
            } => write!(
                f,
                "spec.target: {release} is a release of {version}, and the Cluster runs {present}: the operation Refresh \
                 takes releases of the version that runs; set the operation Upgrade to go to another version"
            ),
            Self::PoolToFollow { pool, release } => {
                write!(f, "{pool} follows to release {release} when its turn comes")
            }
            Self::Finishing => f.write_str("all machines are there, and what was changed for the upgrade is put back"),
            Self::NoControlPlane => f.write_str("the Cluster has no control plane that can be seen"),
            Self::NotProvisioned => f.write_str(
                "the Cluster isn't provisioned yet: its control plane has not been initialized, and the upgrade begins when it is",
            ),
            Self::SourceMismatch { source, present } => write!(
                f,
                "the control plane is at {present}, and spec.source asks for {source}: correct spec.source or leave it out"
            ),
            Self::NoTarget(miss) => write!(f, "{miss}"),
            Self::NoRelease {
                pool: None,
                release,
                elsewhere,
            } => write!(f, "release {release} {}", Elsewhere(elsewhere.as_deref())),
            Self::NoRelease {
                pool: Some(pool),
                release,
                elsewhere,
            } => write!(
                f,
                "release {release}, to which {pool} is pinned, {}",
                Elsewhere(elsewhere.as_deref())
            ),
            Self::NoRow { version } => write!(f, "the catalog has no release of {version}: create one"),
            Self::NoPath(reason) => write!(f, "{reason}"),
            Self::NoWayBack(reason) => write!(f, "{reason}"),
            Self::NoRestart(reason) => write!(f, "{reason}"),
            Self::NoImage { pool, release } => write!(
                f,
                "release {release} has no image for {pool}: create a release of the same version that has one"
            ),
            Self::AddonClosed(closed) => write!(f, "{}: {}", closed.id, closed.message),
            Self::AddonsUnseen(point) => write!(
                f,
                "it is not known yet what add-ons and gates come to ({} {})",
                point.when, point.version
            ),
            Self::GateClosed { gate, reason, until } => match until {
                None => write!(f, "{gate}: {reason}"),
                Some(until) => write!(f, "{gate}: {reason}, until {until}"),
            },
            Self::ApprovalMissing { part, version, target } => {
                let (who, go) = match part {
                    ApprovedPart::ControlPlane => ("the control plane", "goes"),
                    ApprovedPart::Workers => ("the workers", "go"),
                };
                let entry = Approval {
                    before: *part,
                    version: version.to_string(),
                    target: target.to_string(),
                    set_by: None,
                }
                .entry();
                write!(
                    f,
                    "{who} {go} to {version} once that is approved: add {entry} to spec.approvals of the ClusterUpgrade"
                )
            }
            Self::PreflightFailed { check, problem } => {
                write!(f, "check {check} failed: {}; {}", problem.message, check.remedy())
            }
            Self::PreflightUnknown { check, problem } => {
                write!(f, "check {check} is not known yet: {}", problem.message)
            }
            Self::PoolHeld { pool, version, .. } => write!(
                f,
                "{pool} goes to {version} when its gates are open: until then it is paused, and Cluster API replaces none \
                 of its machines that fails once the control plane is a minor ahead"
            ),
            Self::TemplateNotVisible { pool, template } => {
                write!(
                    f,
                    "{} {}, referenced by {pool}, was not found",
                    template.kind, template.name
                )
            }
            Self::NoBootstrapTemplate { pool } => {
                write!(
                    f,
                    "{pool} has no bootstrap template, so what is asked for it can't be set"
                )
            }
            Self::NameTaken {
                pool,
                template,
                cluster,
            } => name_taken(f, pool, template, cluster.as_deref()),
            Self::TemplateDeleting { pool, template } => write!(
                f,
                "{} {}, whose name the next template of {pool} has, is being deleted: Instar creates it when that is gone",
                template.kind, template.name
            ),
            Self::TemplateRefused {
                pool,
                template,
                refusal,
            } => template_refused(f, pool, template, refusal),
            Self::ValueDropped {
                pool,
                template,
                pointer,
            } => write!(
                f,
                "{} {} was {} for {pool} with a value at {pointer} and has none: the API server or a webhook drops it, so \
                 name another release of the version, or a patch, that sets it where {} keeps it",
                template.kind,
                template.name,
                match pool {
                    PoolId::ControlPlane | PoolId::Workers(_) => "created",
                    PoolId::MachinePool(_) => "changed",
                },
                template.kind
            ),
            Self::ValueMisfit { pool, error } => {
                let what = match pool {
                    PoolId::ControlPlane | PoolId::Workers(_) => "template",
                    PoolId::MachinePool(_) => "infrastructure",
                };
                write!(f, "the {what} of {pool}: {error}")
            }
            Self::ControlPlaneNotReady { version } => {
                write!(f, "all machines of the control plane run {version}, and it isn't ready")
            }
            Self::ControlPlaneRollingOut {
                version,
                lowest,
                there,
                desired,
            } => {
                write!(f, "the control plane goes to {version}")?;
                // One that is hosted has no machines.
                if *desired > 0 {
                    write!(f, ": {there} of {desired} machines are there")?;
                }
                match lowest {
                    Some(lowest) if *desired > 0 => write!(f, ", the lowest runs {lowest}"),
                    Some(lowest) => write!(f, ", and runs {lowest}"),
                    None => Ok(()),
                }
            }
            Self::PoolRollingOut {
                pool,
                version,
                converged,
                machines,
            } => write!(
                f,
                "{pool} goes to {version}: {converged} of {machines} machines are there"
            ),
            Self::MachineNotReady { name, phase } => write!(f, "Machine {name} is {phase}, and its node isn't ready"),
            Self::ControlPlaneStuck {
                machine,
                since,
                version,
                next,
                remedy,
            } => {
                write!(
                    f,
                    "Machine {machine} of the control plane was created at {since} and has had no node since"
                )?;
                remedy.write(f, version, next.as_deref())
            }
            Self::NodeVersion { machine, version, node } => write!(
                f,
                "the node of Machine {machine} runs {node}, and the Machine says {version}"
            ),
            Self::NodeNotReady(node) => write!(f, "{node}"),
            Self::NodesSettling { ready_for, until } => write!(
                f,
                "all machines are there, and the upgrade is complete when each Node has been Ready for {ready_for:#}, at \
                 {until}"
            ),
            Self::NoVersion { kind, name } => write!(
                f,
                "{kind} {name} has no version, so it is left out: set one to have it upgraded"
            ),
            Self::LeftToUser {
                kind,
                name,
                version,
                target,
                because,
            } => {
                write!(f, "{kind} {name} runs {version}, and the upgrade leaves it there")?;
                if let Some(because) = because {
                    write!(f, " ({because})")?;
                }
                write!(f, ": upgrade it to {target} yourself")
            }
            Self::OnDelete { pool, machines } => write!(
                f,
                "{pool} replaces machines when they are deleted: delete {}",
                machines.join(", ")
            ),
            Self::WorkersBehind {
                kind,
                name,
                version,
                next,
            } => write!(
                f,
                "{kind} {name} runs {version} and blocks the control plane's next version {next} (a kubelet may be {} \
                 minors older)",
                skew::kubelet_lag(version.minor())
            ),
            Self::PoolAhead { pool, version } => {
                write!(f, "{pool} is at {version}, newer than it should be, and is not lowered")
            }
            Self::PinOutOfReach { pool, release } => write!(
                f,
                "{pool} is pinned to release {release}, and no machine of it can be made under the control plane's present version"
            ),
            Self::ForeignWriter { pool, field } => {
                let path = field_path(pool, *field);
                let then = match field {
                    Field::Version => "the upgrade continues from there",
                    Field::InfrastructureRef => "the upgrade keeps it",
                };
                write!(f, "{pool}: {path} was changed by another client after Instar set it, and {then}")
            }
            Self::Reverted { pool, written, found } => {
                let path = field_path(pool, Field::Version);
                write!(
                    f,
                    "{pool}: {path} was set back from {written} to {found} by another client after Instar set it: set it \
                     to {written} again, or edit the upgrade's target to continue from {found}"
                )
            }
            Self::Drifted { pool, what } => {
                let (field, written, found): (_, &dyn fmt::Display, &dyn fmt::Display) = match what {
                    SetBack::Version { written, found } => (Field::Version, written, found),
                    SetBack::Template { written, found } => (Field::InfrastructureRef, written, found),
                };
                write!(
                    f,
                    "{pool}: {} was set back to {found} by another client after the upgrade had set {written}: \
                     take the field out of what applies it, and set {written} again",
                    field_path(pool, field)
                )
            }
            Self::TopologyNotReconciled { message } => {
                write!(f, "Cluster API can't reconcile the topology: {message}")
            }
            Self::StartBlocked { message } => write!(
                f,
                "until the upgrade begins, Cluster API creates no machine of the Cluster, also not in place of one that \
                 failed: {message}"
            ),
            Self::HookBlocking { message } | Self::UpgradeDeferred { message } => f.write_str(message),
            Self::Refused(write) => write.fmt(f),
            Self::ClusterApi {
                kind,
                name,
                condition,
                message,
            } => write!(f, "{kind} {name}, {condition}: {message}"),
            Self::PauseAwaited { pool, kind, name } => write!(
                f,
                "MachinePool {pool} is changed while it and its infrastructure are paused, and {kind} {name} doesn't say \
                 yet that it is: its condition Paused has to be True within 5 minutes"
            ),
            Self::MachinePoolRollingOut { name, version } => write!(f, "MachinePool {name} goes to {version}"),
            Self::VersionEdited { version } => write!(
                f,
                "spec.topology.version was changed by another client to {version} after Instar set it"
            ),
            Self::Superseded { version } => {
                write!(f, "spec.topology.version is {version} by now, so this upgrade is over")
            }
            Self::UpgradeUnderWay { version } => write!(
                f,
                "the Cluster is on its way to {version}, and Cluster API takes no other version before it is there"
            ),
            Self::Failed(failed) => write!(f, "{failed}"),
            Self::Retained { template, until } => {
                write!(f, "{} {} is kept until {until}", template.kind, template.name)
            }
            Self::RolloutPaused { pool, version, by, .. } => {
                let until = match by {
                    RolloutPausedBy::Windows => "until the maintenance windows let it go on",
                    RolloutPausedBy::Rollback => "while a rollback is asked for that keeps its machines",
                };
                write!(
                    f,
                    "{pool} stops in the middle of its rollout to {version}: {until}, Cluster API neither replaces \
                     further machines of it nor scales it"
                )
            }
            Self::Landing { version } => write!(
                f,
                "the upgrade is aborted and ends at {version}, where the control plane stands"
            ),
            Self::NoLanding { version, why } => write!(
                f,
                "the upgrade can't end before the control plane is at {version}, since {why}: \
                 it is aborted when the workers have followed"
            ),
            Self::SetAgain { version, landed } => write!(
                f,
                "spec.topology.version was set to {version} again by another client after the upgrade had ended at {landed}: \
                 set {landed} in what applies it, or set operation: Upgrade in the ClusterUpgrade"
            ),
        }
    }
}

/// Never advises to delete what another Cluster may use.
fn name_taken(f: &mut fmt::Formatter<'_>, pool: &PoolId, template: &TemplateRef, cluster: Option<&str>) -> fmt::Result {
    let TemplateRef { kind, name, .. } = template;
    match cluster {
        None => write!(
            f,
            "{kind} {name} is there with another content than {pool} needs: if nothing refers to it, delete it, and \
             Instar creates it again"
        ),
        Some(cluster) => write!(
            f,
            "{kind} {name}, whose name the next template of {pool} has, belongs to Cluster {cluster}: leave it, and \
             point {pool} at a copy of its present template that has another name"
        ),
    }
}

fn template_refused(
    f: &mut fmt::Formatter<'_>,
    pool: &PoolId,
    template: &TemplateRef,
    TemplateRefusal { unknown, message }: &TemplateRefusal,
) -> fmt::Result {
    let TemplateRef { kind, name, .. } = template;
    if unknown.is_empty() {
        return write!(f, "{kind} {name} can't be created for {pool}: {message}");
    }
    let unknown: Vec<&str> = unknown.iter().map(JsonPointer::as_str).collect();
    write!(
        f,
        "{kind} has no field {}, which the release or a patch sets for {pool}: correct the patch, or name another \
         release of the version ({message})",
        unknown.join(", ")
    )
}

/// Where a pool's object has a field. A control plane of the contract v1beta1 has its reference one level higher.
const fn field_path(pool: &PoolId, field: Field) -> &'static str {
    match (pool, field) {
        (PoolId::ControlPlane, Field::Version) => "spec.version",
        (PoolId::ControlPlane, Field::InfrastructureRef) => "the infrastructureRef of spec.machineTemplate",
        (PoolId::Workers(_) | PoolId::MachinePool(_), Field::Version) => "spec.template.spec.version",
        (PoolId::Workers(_) | PoolId::MachinePool(_), Field::InfrastructureRef) => {
            "spec.template.spec.infrastructureRef"
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Window => "maintenance window",
            Self::Canary => "canary",
        })
    }
}

impl fmt::Display for MachinePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "Pending",
            Self::Provisioning => "Provisioning",
            Self::Provisioned => "Provisioned",
            Self::Running => "Running",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        })
    }
}
