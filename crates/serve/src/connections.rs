//! What one connection may take: a place, and time to say something.
//!
//! hyper's own deadline for a request's head cannot do this: it does not run while the protocol
//! is still unknown (a peer that stays silent after the handshake), and between two requests it
//! would close a connection that is merely idle, just as the client may be using it again.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Extension, middleware::AddExtension};
use axum_server::accept::Accept;
use futures::future::BoxFuture;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tower::Layer;

/// How long a connection may be silent between requests. Go's clients, the API server among
/// them, leave after 90 s: the client is to close first, or its next request may be lost.
pub(crate) const IDLE: Duration = Duration::from_mins(2);

/// Accepts a connection if there is a place left, and watches how long it is silent.
#[derive(Clone)]
pub(crate) struct Guard<A> {
    inner: A,
    places: Arc<Semaphore>,
    first_request: Duration,
    refused: Counter,
}

impl<A> Guard<A> {
    pub(crate) fn new(inner: A, places: usize, first_request: Duration, refused: Counter) -> Self {
        Self {
            inner,
            places: Arc::new(Semaphore::new(places)),
            first_request,
            refused,
        }
    }
}

impl<A, S> Accept<TcpStream, S> for Guard<A>
where
    A: Accept<TcpStream, S, Future: Send + 'static>,
{
    type Stream = Connection<A::Stream>;
    type Service = AddExtension<A::Service, Asked>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.refused.inc();
            return Box::pin(async { Err(io::Error::other("no place for the connection")) });
        };
        let deadline = Box::pin(sleep(self.first_request));
        let accepted = self.inner.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            let asked = Asked::default();
            let connection = Connection {
                stream,
                deadline,
                asked: asked.clone(),
                proven: false,
                _place: place,
            };
            Ok((connection, Extension(asked).layer(service)))
        })
    }
}

/// Whether the head of a connection's first request has been read. Part of every request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<AtomicBool>);

impl Asked {
    pub(crate) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream whose reads fail once the peer's time is up: the time for its first request, from
/// then on [`IDLE`] since its last byte.
pub(crate) struct Connection<S> {
    stream: S,
    deadline: Pin<Box<Sleep>>,
    asked: Asked,
    proven: bool,
    _place: OwnedSemaphorePermit,
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);

        let just_asked = !self.proven && self.asked.0.load(Ordering::Relaxed);
        self.proven |= just_asked;
        if just_asked || self.proven && read.is_ready() {
            self.deadline.as_mut().reset(Instant::now() + IDLE);
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_its_first_request_a_connection_may_be_silent_longer_than_go_waits() {
        const GO: Duration = Duration::from_secs(90);
        const FIRST_REQUEST: Duration = Duration::from_secs(10);

        let places = Arc::new(Semaphore::new(1));
        let asked = Asked::default();
        let (mut client, stream) = duplex(64);
        let mut server = Connection {
            stream,
            deadline: Box::pin(sleep(FIRST_REQUEST)),
            asked: asked.clone(),
            proven: false,
            _place: places.clone().try_acquire_owned().unwrap(),
        };
        client.write_u8(1).await.unwrap();
        server.read_u8().await.unwrap();
        asked.mark();

        // Read to the end of the request, then silence, twice.
        for _ in 0..2 {
            assert!(timeout(GO, server.read_u8()).await.is_err(), "cut too early");
            client.write_u8(1).await.unwrap();
            server.read_u8().await.unwrap();
        }
        let start = Instant::now();
        let cut = server.read_u8().await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), IDLE);

        assert_eq!(places.available_permits(), 0);
        drop(server);
        assert_eq!(places.available_permits(), 1);
    }
}
