//! The verbs, each with its arguments and what it does.

pub(crate) mod approve;
pub(crate) mod completion;
pub(crate) mod create;
pub(crate) mod edit;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod follow;
pub(crate) mod history;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod releases;
pub(crate) mod rollback;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod ui;
pub(crate) mod upgrade;
pub(crate) mod write;
