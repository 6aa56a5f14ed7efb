//! Answers that the proxy gives in kube-apiserver's place.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusDetails};
use serde_json::json;

use super::request::{ObservedRequest, Verb};

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

    pub(super) fn response(self, request: &ObservedRequest) -> Response<Body> {
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
                request.verb,
                request.path
            )),
            details: Some(StatusDetails {
                group: Some(request.group.clone()),
                kind: Some(request.resource.clone()),
                name: request.name.clone(),
                retry_after_seconds: retry_after.map(i32::from),
                ..StatusDetails::default()
            }),
            ..Status::default()
        };
        let is_event = self == Self::Expired && request.verb == Verb::Watch;
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
