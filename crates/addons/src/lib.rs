//! Whether what runs beside Kubernetes is ready, from a spec, the objects that were observed, and the time.
//!
//! [`refusals_of_addons`] and [`refusals_of_gates`] say what a spec may not ask for, [`Gate`] is one that was read,
//! [`Gate::judge`] what its objects come to, [`Gate::over_time`] what that means with `settle` and `timeout`, and
//! [`order`] what comes after what. [`look`] does all of it for a point of an upgrade, [`look_back`] for one of the way back, and [`Target`] is what is set.
//! [`SnapshotQuery`] is what a policy asks of snapshots of etcd before an upgrade begins. [`Expression`] is CEL with bounds: it is refused or unknown before it takes long.
//!
//! Invariants: no client, no IO, no clock (now is an input); every function is total, whatever the text and the objects.

mod etcd_snapshot;
mod expression;
mod hand;
mod look;
mod order;
mod refusal;
mod rollout;
mod subject;
mod timing;
mod verdict;
mod verified;

pub use etcd_snapshot::{SnapshotQuery, SnapshotReading, SnapshotsSeen, refusals_of_etcd_snapshot};
pub use expression::{
    Evaluation, Expression, ExpressionError, Inputs, MOST_BYTES, MOST_STEPS, TimeEvaluation, Variable,
};
pub use hand::{FIELD_MANAGER, Target, Wanted};
pub use look::{Asked, Found, GateReading, GateReadings, WantedGate, look, look_back};
pub use order::{OrderError, order};
pub use refusal::{Refusal, refusals_of_addons, refusals_of_gates};
pub use subject::{ReleaseView, Subject, Written};
pub use timing::{Outcome, Since};
pub use verdict::{Applies, Gate, Verdict};
pub use verified::{VerifiedWorkload, named_workloads, system_workloads};
