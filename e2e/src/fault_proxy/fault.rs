//! What can go wrong between a client and the API server.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusDetails};
use serde_json::json;

use super::{
    record::Record,
    request::{Asked, Verb},
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
    pub(super) const fn applied(&self) -> Applied {
        match self {
            Self::Answer(answer) => Applied::Answer(*answer),
            Self::DropReply => Applied::DropReply,
            Self::DropRequest => Applied::DropRequest,
            Self::Hang(_) => Applied::Hang,
            Self::CutWatch(_) => Applied::CutWatch,
            Self::Before(_) => Applied::Before,
            Self::After(_) => Applied::After,
        }
    }

    /// Whether it can be done to such a request at all.
    pub(super) fn suits(&self, asked: &Asked) -> bool {
        !matches!(self, Self::CutWatch(_)) || asked.verb == Verb::Watch
    }
}

/// Which fault a record had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// [`Fault::Answer`].
    Answer(Answer),
    /// [`Fault::DropReply`].
    DropReply,
    /// [`Fault::DropRequest`].
    DropRequest,
    /// [`Fault::Hang`].
    Hang,
    /// [`Fault::CutWatch`]; the watch may have ended before.
    CutWatch,
    /// [`Fault::Before`].
    Before,
    /// [`Fault::After`].
    After,
}

/// When a watch is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A time after its answer began.
    After(Duration),
    /// When this many events have passed.
    AfterEvents(usize),
}

/// An answer that kube-apiserver could have given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 409: somebody else was faster.
    Conflict,
    /// 410: what is asked for is too old. To a watch it comes as an event, as kube-apiserver does.
    Expired,
    /// 429: later, after this many seconds.
    TooManyRequests {
        /// Seconds.
        retry_after: u16,
    },
    /// 500.
    InternalError,
    /// 503.
    ServiceUnavailable,
    /// 504: it may have been carried out, says such an answer; here it was not.
    Timeout,
}

impl Answer {
    /// Its HTTP status, but to a watch that is [`Self::Expired`].
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Conflict => StatusCode::CONFLICT,
            Self::Expired => StatusCode::GONE,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The reason that a client's code looks at.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::Expired => "Expired",
            Self::TooManyRequests { .. } => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
        }
    }

    pub(super) fn response(self, asked: &Asked) -> Response<Body> {
        let retry_after = match self {
            Self::TooManyRequests { retry_after } => Some(retry_after),
            _ => None,
        };
        let status = Status {
            status: Some("Failure".to_owned()),
            code: Some(i32::from(self.status().as_u16())),
            reason: Some(self.reason().to_owned()),
            message: Some(format!(
                "the fault proxy answers {} to {:?} of {}",
                self.status(),
                asked.verb,
                asked.path
            )),
            details: Some(StatusDetails {
                group: Some(asked.group.clone()),
                kind: Some(asked.resource.clone()),
                name: asked.name.clone(),
                retry_after_seconds: retry_after.map(i32::from),
                ..StatusDetails::default()
            }),
            ..Status::default()
        };
        let is_event = self == Self::Expired && asked.verb == Verb::Watch;
        let text = if is_event {
            format!("{}\n", json!({ "type": "ERROR", "object": status }))
        } else {
            json!(status).to_string()
        };
        let mut response = Response::new(Body::from(text));
        if !is_event {
            *response.status_mut() = self.status();
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
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
