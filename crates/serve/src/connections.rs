//! What one connection may take: a place, and time to say something or to listen.
//!
//! hyper's own deadline for a request's head cannot do this: it does not run while the protocol
//! is still unknown (a peer that stays silent after the handshake), and between two requests it
//! would close a connection that is merely idle, just as the client may be using it again. For a
//! peer that doesn't read what it asked for it has none.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Extension, middleware::AddExtension};
use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tower::Layer;

use crate::places::{Asked, Place, Places};

/// How long a connection may be silent between requests. Go's clients, the API server among
/// them, leave after 90 s: the client is to close first, or its next request may be lost.
pub(crate) const IDLE: Duration = Duration::from_mins(2);

/// How long a connection may take, other than between requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// From accept to the head of its first request.
    pub(crate) first_request: Duration,
    /// From an answer that the peer doesn't take at once to its last byte.
    pub(crate) answer: Duration,
}

/// Accepts a connection if there is a place for it, and watches how long it is silent.
#[derive(Clone)]
pub(crate) struct Guard<A> {
    inner: A,
    places: Places,
    deadlines: Deadlines,
}

impl<A> Guard<A> {
    pub(crate) const fn new(inner: A, places: Places, deadlines: Deadlines) -> Self {
        Self {
            inner,
            places,
            deadlines,
        }
    }
}

impl<A, S> Accept<TcpStream, S> for Guard<A>
where
    A: Accept<TcpStream, S, Future: Send + 'static>,
    A::Stream: Send,
    A::Service: Send,
{
    type Stream = Connection<A::Stream>;
    type Service = AddExtension<A::Service, Asked>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = stream
            .peer_addr()
            .and_then(|peer| self.places.take(peer.ip()).ok_or_else(no_place));
        let place = match place {
            Ok(place) => place,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        let deadlines = self.deadlines;
        let first_request = Box::pin(sleep(deadlines.first_request));
        let accepted = self.inner.accept(stream, service);
        Box::pin(async move {
            let mut lost = Box::pin(place.lost());
            let (stream, service) = tokio::select! {
                accepted = accepted => accepted?,
                () = &mut lost => return Err(no_place()),
            };
            let asked = place.asked();
            let connection = Connection {
                stream,
                silence: first_request,
                answer: None,
                answer_within: deadlines.answer,
                asked: asked.clone(),
                proven: false,
                lost,
                _place: place,
            };
            Ok((connection, Extension(asked).layer(service)))
        })
    }
}

fn no_place() -> io::Error {
    io::Error::other("no place for the connection")
}

/// A stream that fails once the peer's time is up: the time for its first request, from then on
/// [`IDLE`] since its last byte, and the time for taking what it asked for.
pub(crate) struct Connection<S> {
    stream: S,
    silence: Pin<Box<Sleep>>,
    /// Runs while the peer doesn't take what was written.
    answer: Option<Pin<Box<Sleep>>>,
    answer_within: Duration,
    asked: Asked,
    proven: bool,
    lost: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl<S> Connection<S> {
    fn keep_place(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.lost.as_mut().poll(cx) {
            Poll::Ready(()) => Err(no_place()),
            Poll::Pending => Ok(()),
        }
    }

    /// What became of a write, unless it is too late for that.
    fn written<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            return write;
        }
        if let Err(error) = self.keep_place(cx) {
            return Poll::Ready(Err(error));
        }
        let within = self.answer_within;
        let deadline = self.answer.get_or_insert_with(|| Box::pin(sleep(within)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);

        let just_asked = !self.proven && self.asked.once();
        self.proven |= just_asked;
        if just_asked || self.proven && read.is_ready() {
            self.silence.as_mut().reset(Instant::now() + IDLE);
        }
        if self.silence.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.keep_place(cx)?;
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
            self.answer = None;
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
    use crate::places::Turned;

    const FIRST_REQUEST: Duration = Duration::from_secs(10);
    const ANSWER: Duration = Duration::from_secs(7);

    fn connection(places: &Places) -> (DuplexStream, Connection<DuplexStream>) {
        let (client, stream) = duplex(64);
        let place = places.take(Ipv4Addr::LOCALHOST.into()).unwrap();
        let server = Connection {
            stream,
            silence: Box::pin(sleep(FIRST_REQUEST)),
            answer: None,
            answer_within: ANSWER,
            asked: place.asked(),
            proven: false,
            lost: Box::pin(place.lost()),
            _place: place,
        };
        (client, server)
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_first_request_a_connection_may_be_silent_longer_than_go_waits() {
        const GO: Duration = Duration::from_secs(90);

        let (mut client, mut server) = connection(&Places::new(1, Turned::default()));
        client.write_u8(1).await.unwrap();
        server.read_u8().await.unwrap();
        drop(server.asked.begin());

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
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_taken_in_time_or_not_at_all() {
        let (mut client, mut server) = connection(&Places::new(1, Turned::default()));
        // A reader that takes it in time, as often as it likes.
        for _ in 0..3 {
            let (written, _) = tokio::join!(server.write_all(&[0; 100]), async {
                sleep(ANSWER / 2).await;
                client.read_exact(&mut [0; 100]).await
            });
            written.unwrap();
            server.flush().await.unwrap();
        }
        // One that takes a byte now and then.
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
    async fn who_loses_its_place_is_cut_off_also_while_it_does_not_read() {
        let places = Places::new(1, Turned::default());
        let (_client, mut server) = connection(&places);
        let (read, _other) = tokio::join!(server.read_u8(), async { connection(&places) });
        assert_eq!(read.unwrap_err().to_string(), "no place for the connection");

        let places = Places::new(1, Turned::default());
        let (_client, mut server) = connection(&places);
        let (written, _other) = tokio::join!(server.write_all(&[0; 100]), async { connection(&places) });
        assert_eq!(written.unwrap_err().to_string(), "no place for the connection");
    }
}
