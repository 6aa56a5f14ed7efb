//! Limits of one connection: its slot, and its deadlines for reading and writing.
//!
//! hyper's own deadline for a request's head is not enough. It does not run while the protocol is still
//! unknown (a peer that is silent after the handshake). Between two requests it closes a connection
//! that is only idle, just as the client may use it again. And hyper has no deadline for a peer that
//! does not read its response.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use crate::{
    connection_limiter::{ConnectionLimiter, ConnectionRequests, SlotGuard},
    requests::{LimitedRouter, Limits},
    signal::Signal,
};

/// How long a connection may be idle between requests. Go's clients, the API server among them, close
/// an idle connection after 90 s. The client must close first, or its next request may be lost.
pub(crate) const IDLE: Duration = Duration::from_mins(2);

/// Deadlines of a connection, other than between requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// From accept to the end of the first request's head.
    pub(crate) first_request: Duration,
    /// From the first byte that the peer does not read at once to the end of the response.
    pub(crate) answer: Duration,
}

/// Accepts a connection if it gets a slot, and enforces its deadlines and the limits of its requests.
#[derive(Clone)]
pub(crate) struct LimitedAcceptor<A> {
    inner: A,
    limiter: ConnectionLimiter,
    deadlines: Deadlines,
    limits: Arc<Limits>,
}

impl<A> LimitedAcceptor<A> {
    pub(crate) fn new(inner: A, limiter: ConnectionLimiter, deadlines: Deadlines, limits: Limits) -> Self {
        Self {
            inner,
            limiter,
            deadlines,
            limits: Arc::new(limits),
        }
    }
}

impl<A> Accept<TcpStream, Router> for LimitedAcceptor<A>
where
    A: Accept<TcpStream, Router, Service = Router, Future: Send + 'static>,
    A::Stream: Send,
{
    type Stream = Connection<A::Stream>;
    type Service = LimitedRouter;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, app: Router) -> Self::Future {
        let slot = stream
            .peer_addr()
            .and_then(|peer| self.limiter.acquire(peer.ip()).ok_or_else(no_slot));
        let slot = match slot {
            Ok(slot) => slot,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        let deadlines = self.deadlines;
        let first_request = Box::pin(sleep(deadlines.first_request));
        let accepted = self.inner.accept(stream, app);
        let limits = Arc::clone(&self.limits);
        Box::pin(async move {
            let displaced = slot.displaced();
            let (stream, app) = tokio::select! {
                accepted = accepted => accepted?,
                () = displaced.given() => return Err(no_slot()),
            };
            let requests = slot.requests();
            let connection = Connection {
                stream,
                read_deadline: first_request,
                write_deadline: None,
                write_within: deadlines.answer,
                requests: requests.clone(),
                has_requested: false,
                displaced,
                _slot: slot,
            };
            Ok((connection, LimitedRouter::new(app, limits, requests)))
        })
    }
}

fn no_slot() -> io::Error {
    io::Error::other("connection limit reached")
}

/// A stream that fails at the peer's deadline: the one for its first request, from then on [`IDLE`] since
/// its last byte, and the one for reading a response.
pub(crate) struct Connection<S> {
    stream: S,
    read_deadline: Pin<Box<Sleep>>,
    /// Set while the peer does not read what was written.
    write_deadline: Option<Pin<Box<Sleep>>>,
    write_within: Duration,
    requests: ConnectionRequests,
    /// Whether the idle deadline has replaced that for the first request.
    has_requested: bool,
    displaced: Signal,
    _slot: SlotGuard,
}

impl<S> Connection<S> {
    fn check_slot(&self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.displaced.poll(cx) {
            Poll::Ready(()) => Err(no_slot()),
            Poll::Pending => Ok(()),
        }
    }

    /// The result of a write, or an error if the peer's deadline for it has passed.
    fn written<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            return write;
        }
        if let Err(error) = self.check_slot(cx) {
            return Poll::Ready(Err(error));
        }
        let within = self.write_within;
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(sleep(within)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);

        let first_request = !self.has_requested && self.requests.has_requested();
        self.has_requested |= first_request;
        if first_request || self.has_requested && read.is_ready() {
            self.read_deadline.as_mut().reset(Instant::now() + IDLE);
        }
        if self.read_deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.check_slot(cx)?;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flush, Poll::Ready(Ok(()))) {
            self.write_deadline = None;
        }
        self.written(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, shutdown)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::timeout,
    };

    use super::*;
    use crate::connection_limiter::ConnectionMetrics;

    const FIRST_REQUEST: Duration = Duration::from_secs(10);
    const ANSWER: Duration = Duration::from_secs(7);

    fn connection(limiter: &ConnectionLimiter) -> (DuplexStream, Connection<DuplexStream>) {
        let (client, stream) = duplex(64);
        let slot = limiter.acquire(Ipv4Addr::LOCALHOST.into()).unwrap();
        let server = Connection {
            stream,
            read_deadline: Box::pin(sleep(FIRST_REQUEST)),
            write_deadline: None,
            write_within: ANSWER,
            requests: slot.requests(),
            has_requested: false,
            displaced: slot.displaced(),
            _slot: slot,
        };
        (client, server)
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_first_request_a_connection_may_be_idle_longer_than_go_waits() {
        const GO: Duration = Duration::from_secs(90);

        let (mut client, mut server) = connection(&ConnectionLimiter::new(1, ConnectionMetrics::default()));
        client.write_u8(1).await.unwrap();
        server.read_u8().await.unwrap();
        drop(server.requests.begin());

        // A request, then silence, twice.
        for _ in 0..2 {
            assert!(timeout(GO, server.read_u8()).await.is_err(), "cut too early");
            client.write_u8(1).await.unwrap();
            server.read_u8().await.unwrap();
        }
        let start = Instant::now();
        let cut = server.read_u8().await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_is_read_in_time_or_the_connection_ends() {
        let (mut client, mut server) = connection(&ConnectionLimiter::new(1, ConnectionMetrics::default()));
        // A peer that reads in time, as often as it likes.
        for _ in 0..3 {
            let (written, _) = tokio::join!(server.write_all(&[0; 100]), async {
                sleep(ANSWER / 2).await;
                client.read_exact(&mut [0; 100]).await
            });
            written.unwrap();
            server.flush().await.unwrap();
        }
        // A peer that reads a byte now and then.
        let start = Instant::now();
        let slowly = async {
            for _ in 0..20 {
                sleep(ANSWER / 10).await;
                client.read_u8().await.unwrap();
            }
        };
        let cut = async {
            let cut = server.write_all(&[0; 100]).await.unwrap_err();
            (cut.kind(), start.elapsed())
        };
        let (cut, ()) = tokio::join!(cut, slowly);
        assert_eq!(cut, (io::ErrorKind::TimedOut, ANSWER));
    }

    #[tokio::test(start_paused = true)]
    async fn a_displaced_connection_is_closed_also_while_its_peer_does_not_read() {
        let limiter = ConnectionLimiter::new(1, ConnectionMetrics::default());
        let (_client, mut server) = connection(&limiter);
        let (read, _other) = tokio::join!(server.read_u8(), async { connection(&limiter) });
        assert_eq!(read.unwrap_err().to_string(), "connection limit reached");

        let limiter = ConnectionLimiter::new(1, ConnectionMetrics::default());
        let (_client, mut server) = connection(&limiter);
        let (written, _other) = tokio::join!(server.write_all(&[0; 100]), async { connection(&limiter) });
        assert_eq!(written.unwrap_err().to_string(), "connection limit reached");
    }
}
