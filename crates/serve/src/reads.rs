//! Sockets that are read as far as there is something.
//!
//! rustls asks for 4 KiB at a time, and each time would be a system call: six for a review of 21 KB. Here
//! it is one, into a buffer that a connection has only while there is something in it: most connections
//! are silent most of the time.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum_server::accept::{Accept, NoDelayAcceptor};
use futures::future::{BoxFuture, FutureExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What is read at once, in bytes: most reviews, and two of TLS's records.
const MOST: usize = 32 * 1024;

thread_local! {
    /// The buffer that was given back last: mostly one is enough for all connections of a thread.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Accepts connections that are read like this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadAhead;

impl<S: Send + 'static> Accept<TcpStream, S> for ReadAhead {
    type Stream = Ahead;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Ahead, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = NoDelayAcceptor.accept(stream, service);
        async {
            let (stream, service) = accepted.await?;
            Ok((Ahead { stream, read: None }, service))
        }
        .boxed()
    }
}

/// A socket, and what was read of it before somebody asked.
pub(crate) struct Ahead {
    stream: TcpStream,
    read: Option<Read>,
}

/// A part of a buffer.
struct Read {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Read {
    /// Hands over as much as there is room for. Whether that was all.
    fn hand_over(&mut self, to: &mut ReadBuf<'_>) -> bool {
        let rest = self.buffer.get(self.from..self.to).unwrap_or_default();
        let handed = rest.get(..to.remaining()).unwrap_or(rest);
        to.put_slice(handed);
        self.from += handed.len();
        self.from >= self.to
    }
}

impl AsyncRead for Ahead {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(mut read) = self.read.take() {
                if read.hand_over(buf) {
                    SPARE.set(Some(read.buffer));
                } else {
                    self.read = Some(read);
                }
                return Poll::Ready(Ok(()));
            }
            let mut buffer = SPARE.take().unwrap_or_else(|| vec![0; MOST].into_boxed_slice());
            let mut unread = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut self.stream).poll_read(cx, &mut unread);
            let to = unread.filled().len();
            if let Poll::Ready(Ok(())) = polled {
                // At the stream's end nothing is handed over, which says so.
                self.read = Some(Read { buffer, from: 0, to });
            } else {
                SPARE.set(Some(buffer));
                return polled;
            }
        }
    }
}

impl AsyncWrite for Ahead {
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
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A connection, and its peer.
    async fn connection() -> (Ahead, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (ahead, ()) = ReadAhead.accept(stream, ()).await.unwrap();
        (ahead, peer)
    }

    #[tokio::test]
    async fn all_comes_in_its_order_whatever_is_asked_for_at_once() {
        let (mut ahead, mut peer) = connection().await;
        let sent: Vec<u8> = (0..=250).cycle().take(3 * MOST + 7).collect();
        let text = sent.clone();
        let sends = tokio::spawn(async move { peer.write_all(&text).await });
        let mut got = Vec::new();
        for size in [1, 4096, MOST, 3].into_iter().cycle() {
            let mut buffer = vec![0; size];
            match ahead.read(&mut buffer).await.unwrap() {
                0 => break,
                read => got.extend_from_slice(&buffer[..read]),
            }
        }
        sends.await.unwrap().unwrap();
        assert_eq!(got, sent);
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_has_no_buffer() {
        let (mut ahead, mut peer) = connection().await;
        peer.write_all(b"four").await.unwrap();
        let mut half = [0; 2];
        ahead.read_exact(&mut half).await.unwrap();
        assert!(ahead.read.is_some());
        ahead.read_exact(&mut half).await.unwrap();
        assert!(ahead.read.is_none());
        assert!(futures::poll!(std::pin::pin!(ahead.read_u8())).is_pending());
        assert!(ahead.read.is_none());
        drop(peer);
        assert_eq!(ahead.read(&mut half).await.unwrap(), 0);
    }
}
