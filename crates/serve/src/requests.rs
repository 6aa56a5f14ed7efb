//! What one request may take: bytes, time, and a share of the memory for bodies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tower_http::limit::RequestBodyLimitLayer;

use crate::{connections::Asked, options::Options};

/// The limits of the requests to one port.
#[derive(Clone)]
pub(crate) struct Limits {
    body: usize,
    deadline: Duration,
    /// One permit for each byte of a body that is held anywhere on this port.
    budget: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Limits {
    pub(crate) fn of(options: &Options, shutdown: CancellationToken) -> Self {
        // A body that may be sent must fit.
        let budget = options.body_budget.max(options.body_limit);
        Self {
            body: options.body_limit,
            deadline: options.request_deadline,
            budget: Arc::new(Semaphore::new(budget)),
            shutdown,
        }
    }

    /// Puts these limits around all of a router.
    pub(crate) fn around(self, app: Router) -> Router {
        app.layer(RequestBodyLimitLayer::new(self.body))
            // axum's own limit would be the smaller one, 2 MB.
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(self, limit))
    }
}

async fn limit(
    State(limits): State<Limits>,
    asked: Option<Extension<Asked>>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(Extension(asked)) = asked {
        asked.mark();
    }
    let http1 = request.version() < Version::HTTP_2;
    let held = Arc::new(Held::new(limits.budget));
    let request = request.map(|body| counted(body, held.clone()));

    let mut response = match timeout(limits.deadline, next.run(request)).await {
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

/// The same body, read no faster than there is memory for it.
fn counted(body: Body, held: Arc<Held>) -> Body {
    Body::from_stream(body.into_data_stream().then(move |chunk| {
        let held = held.clone();
        async move {
            if let Ok(chunk) = &chunk {
                held.take(chunk.len()).await;
            }
            chunk
        }
    }))
}

/// A request's part of the budget, given back when it has been answered.
struct Held {
    budget: Arc<Semaphore>,
    bytes: AtomicUsize,
}

impl Held {
    fn new(budget: Arc<Semaphore>) -> Self {
        let bytes = AtomicUsize::new(0);
        Self { budget, bytes }
    }

    async fn take(&self, bytes: usize) {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // It fails only once closed, and nobody closes it.
        if let Ok(permit) = self.budget.acquire_many(permits).await {
            self.bytes.fetch_add(permit.num_permits(), Ordering::Relaxed);
            permit.forget();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.add_permits(*self.bytes.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{body::Bytes, routing::post};
    use tokio::sync::mpsc;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_body_waits_until_there_is_memory_for_it() {
        let options = Options {
            body_limit: 8,
            body_budget: 0,
            ..Options::default()
        };
        let limits = Limits::of(&options, CancellationToken::new());
        let budget = limits.budget.clone();
        let app = limits.around(Router::new().route("/", post(async |body: Bytes| body)));
        let ask = |body| tokio::spawn(app.clone().oneshot(Request::post("/").body(body).unwrap()));

        let (sender, chunks) = mpsc::channel::<&str>(1);
        let slow = ask(Body::from_stream(futures::stream::unfold(
            chunks,
            async |mut chunks| Some((Ok::<_, Infallible>(chunks.recv().await?), chunks)),
        )));
        sender.send("six by").await.unwrap();
        while budget.available_permits() != 2 {
            tokio::task::yield_now().await;
        }

        // It takes the two bytes that are left, and waits for the other four.
        let waiting = ask(Body::from("six by"));
        while budget.available_permits() != 0 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());

        drop(sender);
        assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK);
        assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::OK);
        assert_eq!(budget.available_permits(), 8);
    }
}
