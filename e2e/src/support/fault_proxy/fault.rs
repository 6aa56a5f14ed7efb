//! What can go wrong between a client and the API server.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use super::{
    answer::Answer,
    record::{FaultKind, Record},
    request::{ObservedRequest, Verb},
};

/// What is done to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered here; kube-apiserver never hears of it.
    Answer(Answer),
    /// It is carried out, and the connection is closed without an answer.
    DropReply,
    /// The connection is closed, and it is not carried out.
    DropRequest,
    /// It is held back; it is not carried out if the client goes away meanwhile.
    Hang(Duration),
    /// The connection of a watch is closed in the middle of its answer.
    CutWatch(Cut),
    /// Something is done before it is carried out.
    Before(Hook),
    /// Something is done when it is carried out and not answered yet.
    After(Hook),
}

impl Fault {
    pub(super) const fn kind(&self) -> FaultKind {
        match self {
            Self::Answer(answer) => FaultKind::Answer(*answer),
            Self::DropReply => FaultKind::DropReply,
            Self::DropRequest => FaultKind::DropRequest,
            Self::Hang(_) => FaultKind::Hang,
            Self::CutWatch(_) => FaultKind::CutWatch,
            Self::Before(_) => FaultKind::Before,
            Self::After(_) => FaultKind::After,
        }
    }

    /// Whether it can be done to such a request at all.
    pub(super) fn suits(&self, request: &ObservedRequest) -> bool {
        !matches!(self, Self::CutWatch(_)) || request.verb == Verb::Watch
    }
}

/// When a watch is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A time after its answer began.
    After(Duration),
    /// When this many events have passed.
    AfterEvents(usize),
}

/// What becomes of a request after a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    GoOn,
    /// The connection is closed.
    Close,
}

type Call = dyn Fn(Record) -> BoxFuture<'static, Next> + Send + Sync;

/// Something that a test does in the middle of a request.
///
/// It runs to its end also when it ends the client; other requests go on meanwhile. A client that
/// it killed wants nothing any more: [`Next::Close`].
#[derive(Clone)]
pub struct Hook(Arc<Call>);

impl Hook {
    /// A hook that calls this.
    pub fn new<Fut>(call: impl Fn(Record) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Next> + Send + 'static,
    {
        Self(Arc::new(move |record| Box::pin(call(record))))
    }

    pub(super) async fn call(&self, record: Record) -> Next {
        (self.0)(record).await
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
