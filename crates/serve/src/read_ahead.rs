//! Reads from a socket ahead of what rustls asks for.
//!
//! rustls asks for 4 KiB at a time, and each time would be a system call: six for a review of 21 KB. Here it
//! is one. A connection has a buffer only while there is something in it: most connections are idle most
//! of the time.

use std::{
    cell::RefCell,
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

/// How many bytes are read at once: enough for most reviews, and two TLS records.
const READ_SIZE: usize = 32 * 1024;

thread_local! {
    /// The buffers that were released last.
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// How many of them are kept: as many as connections that are read in turns, mostly. Making one costs as much as reading
/// a small request, since it is filled with zeros.
const SPARES: usize = 8;

fn take_spare() -> Box<[u8]> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| vec![0; READ_SIZE].into_boxed_slice())
}

fn keep_spare(buffer: Box<[u8]>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARES {
            spare.push(buffer);
        }
    });
}

/// Accepts connections as [`ReadAhead`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadAheadAcceptor;

impl<S: Send + 'static> Accept<TcpStream, S> for ReadAheadAcceptor {
    type Stream = ReadAhead;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(ReadAhead, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = NoDelayAcceptor.accept(stream, service);
        async {
            let (stream, service) = accepted.await?;
            Ok((ReadAhead { stream, unread: None }, service))
        }
        .boxed()
    }
}

/// A socket, and the bytes that were read but not asked for yet.
pub(crate) struct ReadAhead {
    stream: TcpStream,
    unread: Option<Unread>,
}

/// The part of a buffer that has not been read yet.
struct Unread {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Unread {
    /// Copies as much as there is room for, and returns whether that was all.
    fn copy_to(&mut self, to: &mut ReadBuf<'_>) -> bool {
        let rest = self.buffer.get(self.from..self.to).unwrap_or_default();
        let copied = rest.get(..to.remaining()).unwrap_or(rest);
        to.put_slice(copied);
        self.from += copied.len();
        self.from >= self.to
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(mut unread) = self.unread.take() {
                if unread.copy_to(buf) {
                    keep_spare(unread.buffer);
                } else {
                    self.unread = Some(unread);
                }
                return Poll::Ready(Ok(()));
            }
            let mut buffer = take_spare();
            let mut read = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut self.stream).poll_read(cx, &mut read);
            let to = read.filled().len();
            if let Poll::Ready(Ok(())) = polled {
                // At the end of the stream nothing is copied, which tells the caller.
                self.unread = Some(Unread { buffer, from: 0, to });
            } else {
                keep_spare(buffer);
                return polled;
            }
        }
    }
}

impl AsyncWrite for ReadAhead {
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
    async fn connection() -> (ReadAhead, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (ahead, ()) = ReadAheadAcceptor.accept(stream, ()).await.unwrap();
        (ahead, peer)
    }

    #[tokio::test]
    async fn all_bytes_arrive_in_order_however_many_are_asked_for_at_once() {
        let (mut ahead, mut peer) = connection().await;
        let sent: Vec<u8> = (0..=250).cycle().take(3 * READ_SIZE + 7).collect();
        let text = sent.clone();
        let sends = tokio::spawn(async move { peer.write_all(&text).await });
        let mut got = Vec::new();
        for size in [1, 4096, READ_SIZE, 3].into_iter().cycle() {
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
    async fn a_silent_connection_has_no_buffer() {
        let (mut ahead, mut peer) = connection().await;
        peer.write_all(b"four").await.unwrap();
        let mut half = [0; 2];
        ahead.read_exact(&mut half).await.unwrap();
        assert!(ahead.unread.is_some());
        ahead.read_exact(&mut half).await.unwrap();
        assert!(ahead.unread.is_none());
        assert!(futures::poll!(std::pin::pin!(ahead.read_u8())).is_pending());
        assert!(ahead.unread.is_none());
        drop(peer);
        assert_eq!(ahead.read(&mut half).await.unwrap(), 0);
    }
}
