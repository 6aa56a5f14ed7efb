//! The body of an answer: passed on as it comes, until it is cut.

use std::fmt;

use axum::body::{Body, BodyDataStream, Bytes};
use futures::{StreamExt, stream};
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{fault::Cut, record::Open};

/// The connection is to be closed without a word: a server does that when its service fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fault proxy closes the connection")
    }
}

impl std::error::Error for Closed {}

/// What is left until the cut.
#[derive(Debug, Clone, Copy)]
enum Left {
    Forever,
    Until(Instant),
    Events(usize),
}

struct Passing {
    body: BodyDataStream,
    left: Left,
    /// The request is over when the body is.
    _open: Open,
}

/// Passes a body on, and cuts it if it is to be cut.
pub(super) fn pass(body: Body, open: Open, cut: Option<Cut>) -> Body {
    let passing = Passing {
        body: body.into_data_stream(),
        left: match cut {
            None => Left::Forever,
            Some(Cut::After(time)) => Left::Until(Instant::now() + time),
            Some(Cut::AfterEvents(count)) => Left::Events(count),
        },
        _open: open,
    };
    Body::from_stream(stream::try_unfold(passing, |mut passing| async move {
        let chunk = passing.next().await?;
        Ok::<_, Closed>(chunk.map(|chunk| (chunk, passing)))
    }))
}

impl Passing {
    async fn next(&mut self) -> Result<Option<Bytes>, Closed> {
        let chunk = match self.left {
            Left::Events(0) => {
                // What was passed is on its way only when the server gets its turn.
                yield_now().await;
                return Err(Closed);
            }
            Left::Until(end) => timeout_at(end, self.body.next()).await.map_err(|_| Closed)?,
            Left::Forever | Left::Events(_) => self.body.next().await,
        };
        let Some(chunk) = chunk else { return Ok(None) };
        let mut chunk = chunk.map_err(|_| Closed)?;
        if let Left::Events(left) = &mut self.left {
            chunk.truncate(until_events(&chunk, left));
        }
        Ok(Some(chunk))
    }
}

/// How many bytes there are until this many events are complete; an event is a line.
fn until_events(chunk: &[u8], left: &mut usize) -> usize {
    for (place, _) in chunk.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        *left -= 1;
        if *left == 0 {
            return place + 1;
        }
    }
    chunk.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_over_chunks() {
        let mut left = 3;
        assert_eq!(until_events(b"one\ntw", &mut left), 6);
        assert_eq!(until_events(b"o\nthree\nfour\n", &mut left), 8);
        assert_eq!(left, 0);
    }
}
