//! What a page is told while it is open: the fragment when it has changed, and what can't be read, and since when.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::sse::Event;
use futures::{Stream, stream};
use instar_report::html::Fragment;
use jiff::Timestamp;
use serde::Serialize;
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use super::{served::Served, subject::Subject};
use crate::connection::Connection;

/// How soon a browser asks again once the connection is gone.
const RETRY: Duration = Duration::from_secs(2);

/// What has been told.
#[derive(Default)]
struct Told {
    html: Option<String>,
    lost_since: Option<Timestamp>,
}

/// What is told next. Each is one line of JSON, since a message may have any character.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum News {
    /// It was read.
    #[serde(rename_all = "camelCase")]
    Fragment {
        /// Absent where it is as it was.
        #[serde(skip_serializing_if = "Option::is_none")]
        html: Option<String>,
        title: String,
        spoken: String,
        at: String,
        at_text: String,
    },
    /// It couldn't be.
    Lost {
        /// Why, and since when.
        text: String,
    },
}

impl Told {
    fn next(&mut self, read: Result<Fragment, String>, now: Timestamp) -> News {
        match read {
            Ok(Fragment { title, html, spoken }) => {
                self.lost_since = None;
                let is_new = self.html.as_ref() != Some(&html);
                if is_new {
                    self.html = Some(html.clone());
                }
                News::Fragment {
                    html: is_new.then_some(html),
                    title,
                    spoken,
                    at: now.to_string(),
                    at_text: clock(now),
                }
            }
            Err(why) => {
                let since = *self.lost_since.get_or_insert(now);
                News::Lost {
                    text: lost(&why, since),
                }
            }
        }
    }
}

/// Said on the page.
pub(super) fn lost(why: &str, since: Timestamp) -> String {
    format!(
        "Not readable since {}: {why}. What stands below is what was read before. It is tried again every few seconds.",
        clock(since)
    )
}

fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

impl News {
    fn event(&self) -> Event {
        let name = match self {
            Self::Fragment { .. } => "fragment",
            Self::Lost { .. } => "lost",
        };
        match Event::default().event(name).retry(RETRY).json_data(self) {
            Ok(event) => event,
            Err(error) => Event::default().comment(format!("not written: {}", error.to_string().replace('\n', " "))),
        }
    }
}

/// Reads and tells for as long as the browser listens. The permit is given back then.
pub(super) fn events(
    served: Arc<Served>,
    subject: Subject,
    connection: Connection,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let state = (served, subject, connection, permit, None::<Told>);
    stream::unfold(state, |(served, subject, connection, permit, told)| async move {
        // The page is new when it begins to listen, but what it shows may be of before a sleep of this machine.
        if told.is_some() {
            sleep(subject.every()).await;
        }
        let mut told = told.unwrap_or_default();
        let read = subject.fragment(&connection, served.forms()).await;
        let news = told.next(read, Timestamp::now());
        Some((Ok(news.event()), (served, subject, connection, permit, Some(told))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(html: &str) -> Fragment {
        Fragment {
            title: "c".to_owned(),
            html: html.to_owned(),
            spoken: "c goes".to_owned(),
        }
    }

    fn html_of(news: &News) -> Option<&str> {
        match news {
            News::Fragment { html, .. } => html.as_deref(),
            News::Lost { text } => panic!("{text}"),
        }
    }

    #[test]
    fn what_is_lost_is_said_since_when_and_comes_back() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut told = Told::default();
        assert_eq!(html_of(&told.next(Ok(fragment("<p>1</p>")), at(0))), Some("<p>1</p>"));
        assert_eq!(
            html_of(&told.next(Ok(fragment("<p>1</p>")), at(2))),
            None,
            "nothing has changed"
        );
        let lost = told.next(Err("connection refused".to_owned()), at(4));
        let News::Lost { text } = &lost else { panic!("{lost:?}") };
        assert!(
            text.contains("since 1970-01-01 00:00:04 UTC: connection refused"),
            "{text}"
        );
        let later = told.next(Err("connection refused".to_owned()), at(60));
        assert_eq!(later, lost, "since when stays");
        assert_eq!(html_of(&told.next(Ok(fragment("<p>1</p>")), at(62))), None);
        assert_eq!(html_of(&told.next(Ok(fragment("<p>2</p>")), at(64))), Some("<p>2</p>"));
    }
}
