//! What a user may do about an upgrade, and the command that does it.

use instar_api::{Approval, HealthReason, HealthStatus, Operation, RollbackExtent, UpgradePhase};

use crate::{Invocation, Report, ShownUpgrade, UpgradeSection, quoted};

/// What the controller asks to be approved, in its own words.
#[must_use]
pub fn approvals_asked(health: &[HealthStatus]) -> Vec<Approval> {
    let missing = health
        .iter()
        .filter(|row| row.reason == HealthReason::ApprovalMissing.as_str());
    missing.filter_map(|row| Approval::in_message(&row.message)).collect()
}

/// Something that a user does about a Cluster's upgrade: a verb of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Approves what is asked for.
    Approve,
    /// Sets `spec.paused`.
    Pause,
    /// Takes it off.
    Resume,
    /// Begins an upgrade to a target that the user names.
    Upgrade,
    /// Begins what was taken back or aborted once more.
    Retry,
    /// Ends the upgrade where it stands.
    Abort,
    /// Takes the workers back.
    RollbackWorkers,
    /// Takes all of it back.
    Rollback,
}

impl Action {
    /// All of them, in the order in which a page has them.
    pub const ALL: [Self; 8] = [
        Self::Approve,
        Self::Pause,
        Self::Resume,
        Self::Upgrade,
        Self::Retry,
        Self::Abort,
        Self::RollbackWorkers,
        Self::Rollback,
    ];

    /// As an address names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Upgrade => "upgrade",
            Self::Retry => "retry",
            Self::Abort => "abort",
            Self::RollbackWorkers => "rollback-workers",
            Self::Rollback => "rollback",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }

    /// Whether it is of use for the Cluster as it is reported. Whether it is allowed is for the API server to say.
    #[must_use]
    pub fn is_offered(self, report: &Report) -> bool {
        if report.cluster.deleting {
            return false;
        }
        let Some(upgrade) = &report.upgrade else {
            // What couldn't be read may be an upgrade that goes on.
            return self == Self::Upgrade && report.unread.is_empty();
        };
        let is_over = upgrade.phase.is_finished();
        match self {
            Self::Approve => !is_over && !approvals_asked(&report.health).is_empty(),
            Self::Pause => !is_over && !upgrade.paused,
            Self::Resume => !is_over && upgrade.paused,
            Self::Upgrade => is_over,
            Self::Retry => can_be_retried(upgrade),
            Self::Abort => !is_over && !upgrade.operation.is_rollback() && upgrade.operation != Operation::Abort,
            Self::RollbackWorkers => extent(upgrade).is_some_and(|extent| extent != RollbackExtent::Nothing),
            Self::Rollback => extent(upgrade) == Some(RollbackExtent::All),
        }
    }

    /// What it is about: a page that was read before sends it back, so that nothing else is approved or begun than was shown.
    #[must_use]
    pub fn subject(self, report: &Report) -> String {
        let target = || report.upgrade.as_ref().map(|upgrade| upgrade.target.clone());
        match self {
            Self::Approve => entries(&approvals_asked(&report.health)),
            Self::Retry => target().unwrap_or_default(),
            Self::Pause | Self::Resume | Self::Upgrade | Self::Abort | Self::RollbackWorkers | Self::Rollback => {
                String::new()
            }
        }
    }

    /// Which state of the upgrade it is about: where that is another one than a page showed, nothing is done. An upgrade that
    /// goes on has another status with each machine, and it must be possible to stop it all the same. So what stops it,
    /// resumes it or approves a step is about its spec; what begins something is about all that the page said.
    #[must_use]
    pub fn state(self, upgrade: &ShownUpgrade) -> String {
        let ShownUpgrade {
            uid,
            generation,
            resource_version,
        } = upgrade;
        match self {
            Self::Approve | Self::Pause | Self::Resume | Self::Abort => format!("{uid} generation {generation}"),
            Self::Upgrade | Self::Retry | Self::RollbackWorkers | Self::Rollback => {
                format!("{uid} resourceVersion {resource_version}")
            }
        }
    }

    /// The command that does the same. `target` is that of [`Self::Upgrade`], and what stands for it where none is given.
    #[must_use]
    pub fn command(self, cluster: &str, target: &str, invocation: &Invocation) -> String {
        let about = |verb: &str| format!("{verb} {cluster}");
        match self {
            Self::Approve | Self::Pause | Self::Resume | Self::Abort | Self::Rollback => {
                invocation.command(&about(self.as_str()), "")
            }
            Self::Upgrade => invocation.command(&about("upgrade"), &format!("--to {}", quoted(target))),
            Self::Retry => invocation.command(&about("upgrade"), &format!("--to {} --retry", quoted(target))),
            Self::RollbackWorkers => invocation.command(&about("rollback"), "--workers"),
        }
    }
}

/// Approvals, as [`Action::subject`] writes them.
#[must_use]
pub fn entries(approvals: &[Approval]) -> String {
    let entries: Vec<String> = approvals.iter().map(Approval::entry).collect();
    entries.join(", ")
}

fn can_be_retried(upgrade: &UpgradeSection) -> bool {
    let was_stopped = match upgrade.phase {
        UpgradePhase::RollingBack | UpgradePhase::RolledBack | UpgradePhase::Aborted => true,
        UpgradePhase::Pending
        | UpgradePhase::Held
        | UpgradePhase::ControlPlane
        | UpgradePhase::Workers
        | UpgradePhase::Verifying
        | UpgradePhase::Completed
        | UpgradePhase::Refused
        | UpgradePhase::Failed => false,
    };
    let to_target = match upgrade.operation {
        Operation::Upgrade | Operation::Abort => true,
        Operation::Refresh | Operation::Restart | Operation::Rollback | Operation::RollbackWorkers => false,
    };
    was_stopped && to_target
}

/// How much of it can be taken back; absent of a rollback, and where that isn't known.
fn extent(upgrade: &UpgradeSection) -> Option<RollbackExtent> {
    let rollback = upgrade.rollback.as_ref()?;
    (!upgrade.operation.is_rollback()).then_some(rollback.possible)
}
