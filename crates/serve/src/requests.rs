//! Limits of one request: the size of its body, its deadline, and its part of the memory for bodies.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{DefaultBodyLimit, Request},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use futures::future::{BoxFuture, FutureExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    body_budget::{BodyBudget, Reservation},
    connection_limiter::ConnectionRequests,
    options::Options,
};

/// Limits of the requests to one port.
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
}

/// A router whose requests, all of one connection, are within the limits.
///
/// It is around the router: axum makes a copy of a layer for each route, and boxes each part of it for every request.
#[derive(Clone)]
pub(crate) struct LimitedRouter(Arc<Shared>);

struct Shared {
    app: Router,
    limits: Arc<Limits>,
    requests: ConnectionRequests,
}

impl LimitedRouter {
    pub(crate) fn new(app: Router, limits: Arc<Limits>, requests: ConnectionRequests) -> Self {
        Self(Arc::new(Shared { app, limits, requests }))
    }
}

impl<B> Service<Request<B>> for LimitedRouter
where
    B: HttpBody<Data = Bytes> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        async move { shared.answer(request).await }.boxed()
    }
}

impl Shared {
    async fn answer<B: HttpBody<Data = Bytes>>(&self, request: Request<B>) -> Result<Response, Infallible> {
        let Self { app, limits, requests } = self;
        let _request = requests.begin();
        let http1 = request.version() < Version::HTTP_2;
        let answered = async {
            match with_body(request, requests.peer(), limits).await {
                // The memory is reserved until the response exists.
                Ok((request, _reservation)) => app.clone().call(request).await,
                Err(error) => Ok(error.into_response()),
            }
        };
        let mut response = match timeout(limits.deadline, answered).await {
            Ok(response) => response?,
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
        Ok(response)
    }
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
async fn with_body<B: HttpBody<Data = Bytes>>(
    request: Request<B>,
    peer: IpAddr,
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
        () = cancelled.given() => return Err(BodyError::Slow),
    };
    reservation.complete();
    // Each value takes at least a byte, so most bodies need not be counted.
    if body.len() > limits.values && values(&body) > limits.values {
        return Err(BodyError::TooManyValues { limit: limits.values });
    }
    let mut request = Request::from_parts(head, Body::from(body));
    // axum's default of 2 MB is smaller than ours.
    DefaultBodyLimit::disable().apply(&mut request);
    Ok((request, reservation))
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

async fn read<B: HttpBody<Data = Bytes>>(
    body: B,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, BodyError> {
    let too_large = || BodyError::TooLarge { limit };
    let mut body = pin!(body);
    let size = body.size_hint();
    let announced = usize::try_from(size.lower()).map_err(|_| too_large())?;
    if announced > limit {
        return Err(too_large());
    }
    let most = if size.exact().is_some() { announced } else { limit };

    let mut read = Vec::new();
    while let Some(chunk) = next_chunk(body.as_mut()).await.transpose()? {
        let length = read.len() + chunk.len();
        if length > limit {
            return Err(too_large());
        }
        if length > read.capacity() {
            // Not the announced length, which costs a client nothing, but twice what it has sent.
            let capacity = length.max(2 * read.capacity()).max(MIN_CAPACITY).min(most).max(length);
            reservation.grow(capacity - read.capacity()).await;
            if read.is_empty() && body.is_end_stream() {
                // Most bodies come in one chunk, and need not be moved.
                return Ok(chunk);
            }
            read.reserve_exact(capacity - read.len());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.into())
}

/// None after the last one.
async fn next_chunk<B: HttpBody<Data = Bytes>>(mut body: Pin<&mut B>) -> Option<Result<Bytes, BodyError>> {
    loop {
        match poll_fn(|cx| body.as_mut().poll_frame(cx)).await? {
            Ok(frame) => {
                // What is no data is a trailer.
                if let Ok(chunk) = frame.into_data() {
                    return Some(Ok(chunk));
                }
            }
            Err(_) => return Some(Err(BodyError::Broken)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::routing::post;
    use futures::stream;
    use tokio::sync::mpsc;
    use tower::ServiceExt;

    use super::*;
    use crate::{
        body_budget::MIN_READ_TIME,
        connection_limiter::{ConnectionLimiter, ConnectionMetrics},
    };

    const LIMIT: usize = 8;

    /// A router that echoes bodies, with memory for one body of the largest size.
    fn app() -> LimitedRouter {
        let options = Options {
            body_limit: LIMIT,
            body_budget: 0,
            ..Options::default()
        };
        let limits = Limits::of(&options, CancellationToken::new());
        let app = Router::new().route("/", post(async |body: Bytes| body));
        let slot = ConnectionLimiter::new(1, ConnectionMetrics::default()).acquire(Ipv4Addr::LOCALHOST.into());
        LimitedRouter::new(app, Arc::new(limits), slot.unwrap().requests())
    }

    async fn post_to(app: LimitedRouter, body: Body) -> (StatusCode, Bytes) {
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
