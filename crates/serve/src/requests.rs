//! Limits of one request: the size of its body, its deadline, and its part of the memory for bodies.

use std::{net::IpAddr, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, Bytes, HttpBody},
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    body_budget::{BodyBudget, Reservation},
    connection_limiter::ConnectionRequests,
    options::Options,
};

/// Limits of the requests to one port.
#[derive(Clone)]
pub(crate) struct Limits {
    body: usize,
    values: usize,
    deadline: Duration,
    budget: BodyBudget,
    shutdown: CancellationToken,
}

impl Limits {
    pub(crate) fn of(options: &Options, shutdown: CancellationToken) -> Self {
        // The largest accepted body must fit.
        let budget = options.body_budget.max(options.body_limit);
        Self {
            body: options.body_limit,
            values: options.values_limit,
            deadline: options.request_deadline,
            budget: BodyBudget::new(budget),
            shutdown,
        }
    }

    /// Adds these limits to every route of `app`.
    pub(crate) fn around(self, app: Router) -> Router {
        // axum's default of 2 MB is smaller than ours.
        app.layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(self, limit))
    }
}

async fn limit(
    State(limits): State<Limits>,
    requests: Option<Extension<ConnectionRequests>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = requests.as_ref().map(|requests| requests.peer());
    let _request = requests.map(|Extension(requests)| requests.begin());
    let http1 = request.version() < Version::HTTP_2;
    let answered = async {
        match with_body(request, peer, &limits).await {
            // The memory is reserved until the response exists.
            Ok((request, _reservation)) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    let mut response = match timeout(limits.deadline, answered).await {
        Ok(response) => response,
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            format!("request was not read and answered within {:?}\n", limits.deadline),
        )
            .into_response(),
    };
    // In HTTP/1.1 only this header tells the client not to use the connection again. Without it the
    // client may send its next request just as the connection is closed.
    if http1 && limits.shutdown.is_cancelled() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Why a request's body was not accepted.
#[derive(Debug)]
enum BodyError {
    Encoded,
    TooLarge { limit: usize },
    TooManyValues { limit: usize },
    Slow,
    Broken,
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        match self {
            // A few encoded bytes can decode to any number of bytes.
            Self::Encoded => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "request body is encoded: send it without Content-Encoding\n".to_owned(),
            ),
            Self::TooLarge { limit } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("request body exceeds the limit of {limit} bytes: send a smaller one\n"),
            ),
            Self::TooManyValues { limit } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("request body exceeds the limit of {limit} JSON values: send a smaller one\n"),
            ),
            Self::Slow => (
                StatusCode::SERVICE_UNAVAILABLE,
                "request body arrived too slowly while others waited for its memory: send it again\n".to_owned(),
            ),
            Self::Broken => (StatusCode::BAD_REQUEST, "request body ended unexpectedly\n".to_owned()),
        }
        .into_response()
    }
}

/// Reads the body into one buffer, and reserves memory for it.
///
/// A body that is passed on in chunks of one byte would take far more memory than it has bytes.
async fn with_body(
    request: Request,
    peer: Option<IpAddr>,
    limits: &Limits,
) -> Result<(Request, Reservation), BodyError> {
    if is_encoded(request.headers()) {
        return Err(BodyError::Encoded);
    }
    let (head, body) = request.into_parts();
    let mut reservation = limits.budget.reserve(peer);
    let cancelled = reservation.cancelled();
    let body = tokio::select! {
        // A complete body is never cancelled.
        biased;
        body = read(body, limits.body, &mut reservation) => body?,
        () = cancelled => return Err(BodyError::Slow),
    };
    reservation.complete();
    // Each value takes at least a byte, so most bodies need not be counted.
    if body.len() > limits.values && values(&body) > limits.values {
        return Err(BodyError::TooManyValues { limit: limits.values });
    }
    Ok((Request::from_parts(head, Body::from(body)), reservation))
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| encoding != "identity")
}

/// An upper bound of the JSON values in a body: each but the first follows one of these characters.
fn values(body: &[u8]) -> usize {
    let (mut values, mut quoted, mut escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => values += 1,
            _ => {}
        }
    }
    values
}

/// The least capacity that is reserved for a body, in bytes. Most bodies fit and are never moved.
const MIN_CAPACITY: usize = 24 * 1024;

async fn read(body: Body, limit: usize, reservation: &mut Reservation) -> Result<Bytes, BodyError> {
    let too_large = || BodyError::TooLarge { limit };
    let size = body.size_hint();
    let announced = usize::try_from(size.lower()).map_err(|_| too_large())?;
    if announced > limit {
        return Err(too_large());
    }
    let most = if size.exact().is_some() { announced } else { limit };

    let mut read = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        let length = read.len() + chunk.len();
        if length > limit {
            return Err(too_large());
        }
        if length > read.capacity() {
            // Not the announced length, which costs a client nothing, but twice what it has sent.
            let capacity = length.max(2 * read.capacity()).max(MIN_CAPACITY).min(most).max(length);
            reservation.grow(capacity - read.capacity()).await;
            read.reserve_exact(capacity - read.len());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.into())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::routing::post;
    use futures::stream;
    use tokio::sync::mpsc;
    use tower::ServiceExt;

    use super::*;
    use crate::body_budget::MIN_READ_TIME;

    const LIMIT: usize = 8;

    /// A router that echoes bodies, with memory for one body of the largest size.
    fn app() -> Router {
        let options = Options {
            body_limit: LIMIT,
            body_budget: 0,
            ..Options::default()
        };
        let limits = Limits::of(&options, CancellationToken::new());
        limits.around(Router::new().route("/", post(async |body: Bytes| body)))
    }

    async fn post_to(app: Router, body: Body) -> (StatusCode, Bytes) {
        let response = app.oneshot(Request::post("/").body(body).unwrap()).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, body)
    }

    /// A body of unknown length, and the sender of its chunks.
    fn streamed() -> (mpsc::Sender<&'static str>, Body) {
        let (sender, chunks) = mpsc::channel(1);
        let chunks = stream::unfold(chunks, async |mut chunks: mpsc::Receiver<&'static str>| {
            Some((Ok::<_, Infallible>(chunks.recv().await?), chunks))
        });
        (sender, Body::from_stream(chunks))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_memory_waits_and_cancels_a_slow_one() {
        let app = app();
        let (sender, body) = streamed();
        let slow = tokio::spawn(post_to(app.clone(), body));
        sender.send("six by").await.unwrap();
        tokio::task::yield_now().await;

        // It waits until the slow one has had its minimum time and is cancelled.
        let start = tokio::time::Instant::now();
        let (status, echo) = post_to(app, Body::from("six by")).await;
        assert_eq!((status, &*echo), (StatusCode::OK, &b"six by"[..]));
        assert_eq!(start.elapsed(), MIN_READ_TIME);
        let (status, why) = slow.await.unwrap();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            why,
            "request body arrived too slowly while others waited for its memory: send it again\n"
        );
    }

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (body, expected) in [
            ("", 1),
            ("1", 1),
            ("[1,2]", 3),
            (r#"{"a":[{},{}]}"#, 6),
            (r#"{"a,[{":",[{\\"}"#, 2),
            (r#"["\",",1]"#, 3),
            (r"\[1", 2),
        ] {
            assert_eq!(values(body.as_bytes()), expected, "{body}");
        }
    }

    #[tokio::test]
    async fn pieces_are_put_together() {
        let (sender, body) = streamed();
        let echoed = tokio::spawn(post_to(app(), body));
        for piece in ["s", "ix", "", " by"] {
            sender.send(piece).await.unwrap();
        }
        drop(sender);
        assert_eq!(echoed.await.unwrap(), (StatusCode::OK, "six by".into()));
    }
}
