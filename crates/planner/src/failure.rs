//! What counts as the failure of an upgrade, and what becomes of it.

use std::fmt;

use instar_api::{HealthReason, OnFailure};
use jiff::{SignedDuration, Timestamp};

use crate::{addon::AddonId, operation::RollbackScope, pool_id::PoolId, swap_history::UpgradeId};

/// Passes over an upgrade under way are closer than this; what was between two that are further apart, nobody has seen.
const SEEN_ANEW: SignedDuration = SignedDuration::from_mins(3);

/// What becomes of an upgrade where it fails, and when a step of it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRule {
    pub on_failure: OnFailure,
    pub progress_deadline: ProgressDeadline,
    /// How long a failure has to stand in every pass before anything becomes of it: where a drain, a pause or an outage
    /// has just ended, the last progress is long ago at once.
    pub grace: SignedDuration,
    /// What the pass before this one found.
    pub stood: Option<StandingFailure>,
    /// The rollback that was created for this upgrade and target already; while that has its turn, this upgrade has none.
    pub created: Option<ExistingRollback>,
}

/// How long a step may go without progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressDeadline {
    /// As a policy or the upgrade says.
    Fixed(SignedDuration),
    /// Where nothing says it, three times as long as the slowest machines of this upgrade have taken so far, between
    /// [`Self::SHORTEST`], which counts while none is ready yet, and [`Self::LONGEST`].
    Measured,
}

impl ProgressDeadline {
    /// Long for a virtual machine, and enough for most of metal.
    pub const SHORTEST: SignedDuration = SignedDuration::from_mins(30);
    /// What a drain or an outage has taken looks as if machines had.
    pub const LONGEST: SignedDuration = SignedDuration::from_hours(2);

    /// How long a failure that is found by it has to stand before anything becomes of it.
    #[must_use]
    pub fn grace(self) -> SignedDuration {
        match self {
            Self::Fixed(deadline) => FailureRule::GRACE.min(deadline),
            Self::Measured => FailureRule::GRACE,
        }
    }
}

/// A `ClusterUpgrade` that has the name of the rollback of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingRollback {
    pub name: String,
    pub state: ExistingState,
}

/// What it is to the upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingState {
    /// Its rollback.
    Open,
    /// Its rollback, which has come to its end.
    Completed,
    /// It takes back another one, or is another Cluster's.
    Foreign,
}

/// Why an upgrade, or a step of it, has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A pool goes to what its spec says, and makes no progress.
    StalledStep {
        pool: PoolId,
        /// When it made the last progress.
        since: Timestamp,
        deadline: SignedDuration,
        /// A new machine that isn't there, if there is one.
        machine: Option<String>,
    },
    /// An add-on or a gate has timed out that ends the upgrade then.
    AddonFailed { id: AddonId, message: String },
    /// All machines are there, and a Node isn't Ready for long.
    VerificationFailed {
        machine: String,
        since: Timestamp,
        deadline: SignedDuration,
    },
    /// A Node of a pool that went first isn't Ready for long.
    CanaryFailed {
        /// The MachineDeployment's name.
        pool: String,
        machine: String,
        since: Timestamp,
        deadline: SignedDuration,
    },
}

/// A failure, and since when each pass has found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingFailure {
    upgrade: UpgradeId,
    failure: Failure,
    since: Timestamp,
    /// The last pass.
    seen: Timestamp,
}

/// A failure, and what becomes of the upgrade for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub failure: Failure,
    pub response: FailureResponse,
}

/// What becomes of an upgrade that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureResponse {
    /// Nothing yet.
    Confirm {
        /// When it is to stand still.
        until: Timestamp,
    },
    /// It stands until the failure is mended.
    Hold,
    /// It should be taken back, and can't be, so it stands.
    NotTakenBack {
        /// Why.
        because: String,
    },
    /// It ends; where it should be taken back, with why it isn't.
    End { because: Option<String> },
    /// Another `ClusterUpgrade` is to take it back.
    TakeBack {
        scope: RollbackScope,
        /// Why not all of it, where that was asked for.
        because: Option<String>,
    },
}

impl FailureRule {
    /// The longest grace.
    const GRACE: SignedDuration = SignedDuration::from_mins(5);
}

impl FailureResponse {
    /// What the text of a failure has of which nothing has become yet.
    pub const TO_CONFIRM: &str = "this counts if it is still so at";
}

impl Default for FailureRule {
    fn default() -> Self {
        Self {
            on_failure: OnFailure::Hold,
            progress_deadline: ProgressDeadline::Measured,
            grace: Self::GRACE,
            stood: None,
            created: None,
        }
    }
}

impl Failure {
    /// The reason in `status.health[]`.
    #[must_use]
    pub const fn reason(&self) -> HealthReason {
        match self {
            Self::StalledStep { .. } => HealthReason::StalledStep,
            Self::AddonFailed { .. } => HealthReason::UpgradeFailed,
            Self::VerificationFailed { .. } => HealthReason::VerificationFailed,
            Self::CanaryFailed { .. } => HealthReason::CanaryFailed,
        }
    }

    /// Since when what is wrong has been so; of an add-on its own row says it.
    #[must_use]
    pub const fn since(&self) -> Option<Timestamp> {
        match self {
            Self::StalledStep { since, .. }
            | Self::VerificationFailed { since, .. }
            | Self::CanaryFailed { since, .. } => Some(*since),
            Self::AddonFailed { .. } => None,
        }
    }
}

impl Failure {
    /// Whether it is the same thing that isn't there; since when, and for want of which Machine of a pool, may change.
    fn is_same(&self, other: &Self) -> bool {
        match self {
            Self::StalledStep { pool: one, .. } => matches!(other, Self::StalledStep { pool, .. } if pool == one),
            Self::AddonFailed { id: one, .. } => matches!(other, Self::AddonFailed { id, .. } if id == one),
            Self::VerificationFailed { machine: one, .. } => {
                matches!(other, Self::VerificationFailed { machine, .. } if machine == one)
            }
            Self::CanaryFailed { machine: one, .. } => {
                matches!(other, Self::CanaryFailed { machine, .. } if machine == one)
            }
        }
    }
}

impl StandingFailure {
    /// A failure that a pass has found, with what the pass before it found.
    pub(crate) fn after(before: Option<&Self>, upgrade: UpgradeId, failure: &Failure, now: Timestamp) -> Self {
        let before = before.filter(|before| {
            let is_seen_on = now.duration_since(before.seen) <= SEEN_ANEW;
            is_seen_on && before.upgrade == upgrade && before.failure.is_same(failure)
        });
        Self {
            since: before.map_or(now, |before| before.since),
            upgrade,
            failure: failure.clone(),
            seen: now,
        }
    }

    /// When it will have stood for as long as it has to; absent where it has.
    pub(crate) fn to_stand_until(&self, grace: SignedDuration) -> Option<Timestamp> {
        self.since.checked_add(grace).ok().filter(|until| *until > self.seen)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StalledStep {
                pool,
                since,
                deadline,
                machine,
            } => {
                write!(
                    f,
                    "{pool} has made no progress since {since:.0}, for longer than {deadline:#}"
                )?;
                match machine {
                    Some(machine) => write!(f, ": Machine {machine} isn't ready"),
                    None => Ok(()),
                }
            }
            Self::AddonFailed { id, message } => write!(f, "{id}: {message}"),
            Self::VerificationFailed {
                machine,
                since,
                deadline,
            } => write!(
                f,
                "all machines are there, and the Node of Machine {machine} has not been Ready since {since:.0}, for longer than {deadline:#}"
            ),
            Self::CanaryFailed {
                pool,
                machine,
                since,
                deadline,
            } => write!(
                f,
                "MachineDeployment {pool} went first, and the Node of its Machine {machine} has not been Ready since {since:.0}, for longer than {deadline:#}"
            ),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failure, response } = self;
        write!(f, "{failure}; ")?;
        let not_taken_back = |f: &mut fmt::Formatter<'_>, because: &str| write!(f, "it isn't taken back: {because}");
        match response {
            FailureResponse::Confirm { until } => write!(f, "{} {until:.0}", FailureResponse::TO_CONFIRM),
            FailureResponse::Hold => f.write_str("it goes on when that is mended"),
            FailureResponse::NotTakenBack { because } => not_taken_back(f, because),
            FailureResponse::End { because: None } => f.write_str("the upgrade has failed"),
            FailureResponse::End { because: Some(because) } => {
                f.write_str("the upgrade has failed, and ")?;
                not_taken_back(f, because)
            }
            FailureResponse::TakeBack { scope, because } => {
                f.write_str(match scope {
                    RollbackScope::All => "the upgrade is taken back",
                    RollbackScope::Workers => "its workers are taken back",
                })?;
                match because {
                    Some(because) => write!(f, ", and the control plane is not: {because}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for ExistingRollback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, state } = self;
        match state {
            ExistingState::Open => write!(
                f,
                "ClusterUpgrade {name} was to take it back, and its status says why it did not"
            ),
            ExistingState::Completed => write!(
                f,
                "ClusterUpgrade {name} has taken it back once already; create a rollback, or name another target"
            ),
            ExistingState::Foreign => write!(
                f,
                "ClusterUpgrade {name} has the name of its rollback, and its spec.clusterName or spec.rollbackOf is another; delete it"
            ),
        }
    }
}
