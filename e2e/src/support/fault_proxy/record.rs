//! The log: every request, what it request, and what became of it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::{sync::watch, time::timeout};

use super::{
    answer::Answer,
    request::{Class, DryRun, ObservedRequest},
};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number, from 1, in the order in which requests came in.
    pub number: u64,
    /// What was request.
    pub request: ObservedRequest,
    /// The fault that was chosen for it.
    pub fault: Option<FaultKind>,
    /// What kube-apiserver answered; none if it was not request, or not yet.
    pub server: Option<StatusCode>,
    /// What the client was answered; none if it was not, or not yet.
    pub client: Option<StatusCode>,
    /// When it came in.
    pub at: Timestamp,
    /// When it was over, its answer's body included; a watch stays open.
    pub ended: Option<Timestamp>,
}

impl Record {
    /// Whether it is a write that kube-apiserver carried out, whatever the client was told.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.request.verb.class() == Class::Write
            && self.request.dry_run == DryRun::No
            && self.server.is_some_and(|status| status.is_success())
    }
}

/// Which fault a record had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// [`super::Fault::Answer`].
    Answer(Answer),
    /// [`super::Fault::DropReply`].
    DropReply,
    /// [`super::Fault::DropRequest`].
    DropRequest,
    /// [`super::Fault::Hang`].
    Hang,
    /// [`super::Fault::CutWatch`]; the watch may have ended before.
    CutWatch,
    /// [`super::Fault::Before`].
    Before,
    /// [`super::Fault::After`].
    After,
}

/// All requests; a clone is the same log.
#[derive(Debug, Clone)]
pub(super) struct Log(Arc<watch::Sender<Vec<Record>>>);

impl Default for Log {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }
}

impl Log {
    /// Writes a request down, with the next number.
    pub(super) fn open(&self, request: ObservedRequest, fault: Option<FaultKind>) -> Open {
        let mut place = 0;
        self.0.send_modify(|records| {
            place = records.len();
            records.push(Record {
                number: u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1),
                request,
                fault,
                server: None,
                client: None,
                at: Timestamp::now(),
                ended: None,
            });
        });
        Open {
            log: self.clone(),
            place,
        }
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.0.borrow().clone()
    }

    pub(super) async fn wait_for(
        &self,
        what: &str,
        deadline: Duration,
        is_it: impl Fn(&Record) -> bool,
    ) -> Result<Record> {
        let mut log = self.0.subscribe();
        let found = log.wait_for(|records| records.iter().any(&is_it));
        let Ok(found) = timeout(deadline, found).await else {
            let records = self.0.borrow();
            bail!(
                "no {what} after {} s; {} requests, seen last: {:?}",
                deadline.as_secs(),
                records.len(),
                records.last()
            );
        };
        let found = found.context("the log is gone")?;
        found.iter().find(|record| is_it(record)).cloned().context("no record")
    }
}

/// A request that is not over; it is when this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    log: Log,
    place: usize,
}

impl Open {
    pub(super) fn record(&self) -> Result<Record> {
        self.log.0.borrow().get(self.place).cloned().context("no record")
    }

    pub(super) fn server_said(&self, status: StatusCode) {
        self.write(|record| record.server = Some(status));
    }

    pub(super) fn client_told(&self, status: StatusCode) {
        self.write(|record| record.client = Some(status));
    }

    fn write(&self, write: impl FnOnce(&mut Record)) {
        self.log.0.send_modify(|records| {
            if let Some(record) = records.get_mut(self.place) {
                write(record);
            }
        });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.write(|record| record.ended = Some(Timestamp::now()));
    }
}
