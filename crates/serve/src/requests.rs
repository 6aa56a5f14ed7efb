//! What one request may take: bytes, time, and a share of the memory for bodies.

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
    budget::{Budget, Share},
    options::Options,
    places::Asked,
};

/// The limits of the requests to one port.
#[derive(Clone)]
pub(crate) struct Limits {
    body: usize,
    values: usize,
    deadline: Duration,
    budget: Budget,
    shutdown: CancellationToken,
}

impl Limits {
    pub(crate) fn of(options: &Options, shutdown: CancellationToken) -> Self {
        // A body that may be sent must fit.
        let budget = options.body_budget.max(options.body_limit);
        Self {
            body: options.body_limit,
            values: options.values_limit,
            deadline: options.request_deadline,
            budget: Budget::new(budget),
            shutdown,
        }
    }

    /// Puts these limits around all of a router.
    pub(crate) fn around(self, app: Router) -> Router {
        // Ours comes first; axum's own would be the smaller one, 2 MB.
        app.layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(self, limit))
    }
}

async fn limit(
    State(limits): State<Limits>,
    asked: Option<Extension<Asked>>,
    request: Request,
    next: Next,
) -> Response {
    let from = asked.as_ref().map(|asked| asked.from());
    let _under_way = asked.map(|Extension(asked)| asked.begin());
    let http1 = request.version() < Version::HTTP_2;
    let answered = async {
        match whole(request, from, &limits).await {
            // The share is held until the answer is there.
            Ok((request, _share)) => next.run(request).await,
            Err(unread) => unread.into_response(),
        }
    };
    let mut response = match timeout(limits.deadline, answered).await {
        Ok(response) => response,
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            format!("not read and answered within {:?}\n", limits.deadline),
        )
            .into_response(),
    };
    // HTTP/1.1 has no other way to say "not on this connection again" ahead of the close; a
    // client that is not told may send its next request just as the connection goes away.
    if http1 && limits.shutdown.is_cancelled() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Why a body was not read to its end.
#[derive(Debug)]
enum Unread {
    Encoded,
    TooLarge { limit: usize },
    TooMany { limit: usize },
    Slow,
    Broken,
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        match self {
            // A few bytes would become any number of them.
            Self::Encoded => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "bodies are not decoded: send it without a Content-Encoding\n".to_owned(),
            ),
            Self::TooLarge { limit } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a body may have {limit} bytes\n"),
            ),
            Self::TooMany { limit } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a body may have {limit} values\n"),
            ),
            Self::Slow => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the memory for bodies is taken, and this one came too slowly to wait for\n".to_owned(),
            ),
            Self::Broken => (StatusCode::BAD_REQUEST, "the body has no end\n".to_owned()),
        }
        .into_response()
    }
}

/// The request with its body in one piece, and that body's share of the memory.
///
/// Handed on piece by piece, pieces of a byte would take far more memory than they have bytes.
async fn whole(request: Request, from: Option<IpAddr>, limits: &Limits) -> Result<(Request, Share), Unread> {
    if is_encoded(request.headers()) {
        return Err(Unread::Encoded);
    }
    let (head, body) = request.into_parts();
    let mut share = limits.budget.share(from);
    let cut = share.cut();
    let body = tokio::select! {
        // A body that is there is never cut.
        biased;
        body = read(body, limits.body, &mut share) => body?,
        () = cut => return Err(Unread::Slow),
    };
    share.whole();
    // Those of most bodies need not be counted: each takes a byte.
    if body.len() > limits.values && values(&body) > limits.values {
        return Err(Unread::TooMany { limit: limits.values });
    }
    Ok((Request::from_parts(head, Body::from(body)), share))
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| encoding != "identity")
}

/// How many values a body has at most, if it is JSON: each but the first follows one of these marks.
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

/// Bytes for which there is room as soon as a body begins: most bodies then grow no further.
const ROOM: usize = 24 * 1024;

async fn read(body: Body, limit: usize, share: &mut Share) -> Result<Bytes, Unread> {
    let too_large = || Unread::TooLarge { limit };
    let size = body.size_hint();
    let announced = usize::try_from(size.lower()).map_err(|_| too_large())?;
    if announced > limit {
        return Err(too_large());
    }
    let most = if size.exact().is_some() { announced } else { limit };

    let mut read = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        let length = read.len() + chunk.len();
        if length > limit {
            return Err(too_large());
        }
        if length > read.capacity() {
            // Not what was announced, which costs a client nothing, but twice what it has sent; of the
            // first bytes a bit more, which is room for most bodies.
            let capacity = length.max(2 * read.capacity()).max(ROOM).min(most).max(length);
            share.take(capacity - read.capacity()).await;
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
    use crate::budget::PATIENCE;

    const LIMIT: usize = 8;

    /// A router that echoes bodies, with the memory for one of the largest.
    fn app() -> Router {
        let options = Options {
            body_limit: LIMIT,
            body_budget: 0,
            ..Options::default()
        };
        let limits = Limits::of(&options, CancellationToken::new());
        limits.around(Router::new().route("/", post(async |body: Bytes| body)))
    }

    async fn ask(app: Router, body: Body) -> (StatusCode, Bytes) {
        let answer = app.oneshot(Request::post("/").body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, body)
    }

    /// A body whose length nobody knows, and what sends it.
    fn streamed() -> (mpsc::Sender<&'static str>, Body) {
        let (sender, chunks) = mpsc::channel(1);
        let chunks = stream::unfold(chunks, async |mut chunks: mpsc::Receiver<&'static str>| {
            Some((Ok::<_, Infallible>(chunks.recv().await?), chunks))
        });
        (sender, Body::from_stream(chunks))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_memory_waits_and_ends_one_that_dawdles() {
        let app = app();
        let (sender, body) = streamed();
        let slow = tokio::spawn(ask(app.clone(), body));
        sender.send("six by").await.unwrap();
        tokio::task::yield_now().await;

        // It gets no byte until the other one has had its time, and is cut.
        let start = tokio::time::Instant::now();
        let (status, echo) = ask(app, Body::from("six by")).await;
        assert_eq!((status, &*echo), (StatusCode::OK, &b"six by"[..]));
        assert_eq!(start.elapsed(), PATIENCE);
        let (status, why) = slow.await.unwrap();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            why,
            "the memory for bodies is taken, and this one came too slowly to wait for\n"
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
        let asked = tokio::spawn(ask(app(), body));
        for piece in ["s", "ix", "", " by"] {
            sender.send(piece).await.unwrap();
        }
        drop(sender);
        assert_eq!(asked.await.unwrap(), (StatusCode::OK, "six by".into()));
    }
}
