//! One request through the proxy, from the client to kube-apiserver and back.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::Result;
use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody, to_bytes},
    http::{HeaderMap, HeaderName, Request, Response, Version, header, request::Parts},
};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    body::{Closed, pass},
    fault::{Fault, Next},
    record::{Log, Open},
    request::ObservedRequest,
    rule::Rules,
};
use crate::{mgmt::Mgmt, ports};

/// More than kube-apiserver takes.
const LARGEST: usize = 16 << 20;

/// What concerns one connection only.
const OF_A_CONNECTION: [HeaderName; 4] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
];

/// What all requests share.
#[derive(Debug)]
pub(super) struct Exchange {
    upstream: reqwest::Client,
    pub(super) log: Log,
    pub(super) rules: Rules,
}

impl Exchange {
    pub(super) fn new(mgmt: &Mgmt) -> Result<Self> {
        let authority = reqwest::Certificate::from_pem(mgmt.certificates().authority().as_bytes())?;
        let upstream = reqwest::Client::builder()
            .tls_certs_only([authority])
            // A connection for each request, as the client has it: none holds up another.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy();
        Ok(Self {
            upstream: upstream.build()?,
            log: Log::default(),
            rules: Rules::default(),
        })
    }

    async fn carry(&self, request: Request<Body>, gone: CancellationToken) -> Result<Response<Body>, Closed> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, LARGEST).await.map_err(|_| Closed)?;
        let request = ObservedRequest::read(&parts, &body);
        let (fault, open) = self
            .rules
            .choose(&request, |fault| self.log.open(request.clone(), fault.map(Fault::kind)));

        let cut = match &fault {
            Some(Fault::Answer(answer)) => {
                let response = answer.response(&request);
                open.client_told(response.status());
                return Ok(response);
            }
            Some(Fault::DropRequest) => return Err(Closed),
            Some(Fault::Hang(time)) => {
                tokio::select! {
                    () = tokio::time::sleep(*time) => {}
                    () = gone.cancelled() => return Err(Closed),
                }
                None
            }
            Some(Fault::Before(hook)) => {
                proceed(hook.call(open.record().map_err(|_| Closed)?).await)?;
                None
            }
            Some(Fault::CutWatch(cut)) => Some(*cut),
            Some(Fault::DropReply | Fault::After(_)) | None => None,
        };
        let response = self.forward(parts, body, &open).await?;
        match &fault {
            Some(Fault::DropReply) => return Err(Closed),
            Some(Fault::After(hook)) => proceed(hook.call(open.record().map_err(|_| Closed)?).await)?,
            _ => {}
        }
        open.client_told(response.status());
        Ok(response.map(|body| pass(body, open, cut)))
    }

    async fn forward(&self, mut parts: Parts, body: Bytes, open: &Open) -> Result<Response<Body>, Closed> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("https://127.0.0.1:{}{path}", ports::API_SERVER);
        parts.uri = uri.parse().map_err(|_| Closed)?;
        parts.version = Version::HTTP_11;
        strip(&mut parts.headers);
        // They are this side's to say.
        parts.headers.remove(header::HOST);
        parts.headers.remove(header::CONTENT_LENGTH);
        let request = Request::from_parts(parts, body).try_into().map_err(|_| Closed)?;
        // Where kube-apiserver does not answer, its clients see just this.
        let response = self.upstream.execute(request).await.map_err(|_| Closed)?;
        let mut response = Response::<reqwest::Body>::from(response).map(Body::new);
        strip(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        open.server_said(response.status());
        Ok(response)
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in OF_A_CONNECTION {
        headers.remove(name);
    }
}

const fn proceed(next: Next) -> Result<(), Closed> {
    match next {
        Next::GoOn => Ok(()),
        Next::Close => Err(Closed),
    }
}

/// Takes the requests of every connection.
#[derive(Debug, Clone)]
pub(super) struct Front(pub(super) Arc<Exchange>);

impl<B> Service<Request<B>> for Front
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Closed;
    type Future = BoxFuture<'static, Result<Response<Body>, Closed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (exchange, request) = (Arc::clone(&self.0), request.map(Body::new));
        Box::pin(async move {
            // A client that goes away drops this future, and a hook that killed it must not die
            // of that, nor a write that is under way.
            let gone = CancellationToken::new();
            let _told = gone.clone().drop_guard();
            let carried = tokio::spawn(async move { exchange.carry(request, gone).await });
            carried.await.map_err(|_| Closed)?
        })
    }
}

/// Gives each connection its service.
#[derive(Debug, Clone)]
pub(super) struct Fronts(pub(super) Front);

impl<A> Service<A> for Fronts {
    type Response = Front;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Front, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: A) -> Self::Future {
        std::future::ready(Ok(self.0.clone()))
    }
}
