//! Events on their way to the API server. No pass waits until one is posted: an upgrade that begins has eight of them, and
//! each would delay its first swap by a round trip.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use futures::future::join_all;
use instar_api::{EventReason, EventSeverity};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel, error::TrySendError},
    task::JoinHandle,
    time::timeout,
};

use crate::{api::call, text::cut};

/// How many are posted at once.
const LANES: u64 = 4;

/// The most that wait in a lane: a thousand Clusters that begin at once have two thousand in each. A note has 1 KiB at most,
/// and most have a tenth of that.
const QUEUE: usize = 2048;

/// How long a process that ends may take to post what waits.
const LAST: Duration = Duration::from_secs(5);

/// What the action of an Event is where nothing else tells Events of one reason apart.
pub(crate) const UPGRADE: &str = "Upgrade";

/// Takes Events, and waits for nothing. They are posted in their order for each object; one that doesn't fit any more is
/// dropped, counted and logged.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    lanes: Vec<Sender<Box<Queued>>>,
    dropped: Counter,
}

/// Posts what [`Events`] take, until there are none any more that could take one.
#[derive(Debug)]
pub(crate) struct EventPublisher(JoinHandle<()>);

struct Queued {
    event: Event,
    about: ObjectReference,
}

impl Events {
    pub(crate) fn new(recorder: &Recorder, dropped: Counter) -> (Self, EventPublisher) {
        let (lanes, queues): (Vec<_>, Vec<_>) = (0..LANES).map(|_| channel(QUEUE)).unzip();
        let posting = queues
            .into_iter()
            .map(|queue| post_all(recorder.clone(), queue))
            .collect::<Vec<_>>();
        let posting = tokio::spawn(async { drop(join_all(posting).await) });
        (Self { lanes, dropped }, EventPublisher(posting))
    }

    pub(crate) fn publish(&self, about: &[ObjectReference], reason: EventReason, note: &str, action: &str) {
        for about in about {
            let queued = Box::new(Queued {
                event: event(reason, note, action),
                about: about.clone(),
            });
            let lane = lane(about).and_then(|lane| self.lanes.get(lane));
            let Some(Err(error)) = lane.map(|lane| lane.try_send(queued)) else {
                continue;
            };
            self.dropped.inc();
            let why = match error {
                TrySendError::Full(_) => "too many wait for the API server",
                TrySendError::Closed(_) => "the process ends",
            };
            let name = about.name.as_deref().unwrap_or_default();
            tracing::warn!("Cannot post the Event {reason} about {name}: {why}");
        }
    }
}

impl EventPublisher {
    /// Waits until what is left is posted, for some seconds at most.
    pub(crate) async fn finish(self) {
        if timeout(LAST, self.0).await.is_err() {
            tracing::warn!("Some Events were not posted in the {} s before the end", LAST.as_secs());
        }
    }
}

/// Where the Events about an object wait for each other.
fn lane(about: &ObjectReference) -> Option<usize> {
    let mut hasher = DefaultHasher::new();
    (&about.kind, &about.namespace, &about.name).hash(&mut hasher);
    usize::try_from(hasher.finish() % LANES).ok()
}

async fn post_all(recorder: Recorder, mut queue: Receiver<Box<Queued>>) {
    while let Some(queued) = queue.recv().await {
        post(&recorder, &queued.event, &queued.about).await;
    }
}

/// An Event of the controller. A note that is too long is cut.
pub(crate) fn event(reason: EventReason, note: &str, action: &str) -> Event {
    Event {
        type_: match reason.severity() {
            EventSeverity::Normal => EventType::Normal,
            EventSeverity::Warning => EventType::Warning,
        },
        reason: reason.to_string(),
        note: Some(cut(note)),
        action: action.to_owned(),
        secondary: None,
    }
}

/// Posts one, and waits for it. One that gets lost is no reason to stop.
pub(crate) async fn post(recorder: &Recorder, event: &Event, about: &ObjectReference) {
    if let Err(error) = call(|| "publishing an event".to_owned(), recorder.publish(event, about)).await {
        tracing::warn!("{error}");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use http::{Request, Response};
    use kube::{Client, client::Body, runtime::events::Reporter};
    use serde_json::Value;
    use tokio::sync::Semaphore;
    use tower::service_fn;

    use super::*;

    /// An API server that answers for one Event each time that it is let.
    struct Posts {
        notes: Arc<Mutex<Vec<String>>>,
        answers: Arc<Semaphore>,
    }

    impl Posts {
        fn new() -> (Self, Recorder) {
            let (notes, answers) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Semaphore::new(0)));
            let (kept, lets) = (Arc::clone(&notes), Arc::clone(&answers));
            let service = service_fn(move |request: Request<Body>| {
                let (kept, lets) = (Arc::clone(&kept), Arc::clone(&lets));
                async move {
                    lets.acquire().await.unwrap().forget();
                    let body = request.into_body().collect_bytes().await.unwrap();
                    let event: Value = serde_json::from_slice(&body).unwrap();
                    kept.lock().unwrap().push(event["note"].as_str().unwrap().to_owned());
                    Ok::<_, Infallible>(Response::new(Body::from(body.to_vec())))
                }
            });
            let client = Client::new(service, "default");
            (
                Self { notes, answers },
                Recorder::new(client, Reporter::from("controller")),
            )
        }

        fn notes(&self) -> Vec<String> {
            self.notes.lock().unwrap().clone()
        }
    }

    fn cluster(name: &str) -> [ObjectReference; 1] {
        [ObjectReference {
            kind: Some("Cluster".to_owned()),
            namespace: Some("n".to_owned()),
            name: Some(name.to_owned()),
            ..ObjectReference::default()
        }]
    }

    #[tokio::test]
    async fn who_publishes_waits_for_nothing_and_the_order_is_kept() {
        let (server, recorder) = Posts::new();
        let (events, publisher) = Events::new(&recorder, Counter::default());
        // Each of another action: those of one become one Event.
        for number in 0..20 {
            let (note, action) = (number.to_string(), format!("Upgrade-{number}"));
            events.publish(&cluster("c"), EventReason::StepFailed, &note, &action);
        }
        assert!(server.notes().is_empty());
        server.answers.add_permits(20);
        drop(events);
        publisher.finish().await;
        let expected: Vec<String> = (0..20).map(|number: u8| number.to_string()).collect();
        assert_eq!(server.notes(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_counted_and_an_end_does_not_wait_for_ever() {
        let (server, recorder) = Posts::new();
        let dropped = Counter::default();
        let (events, publisher) = Events::new(&recorder, dropped.clone());
        for _ in 0..QUEUE + 3 {
            events.publish(&cluster("c"), EventReason::StepFailed, "note", UPGRADE);
        }
        assert_eq!(dropped.get(), 3);
        // Another object's lane has room.
        let other = ["a", "b", "d", "e", "f", "g", "h"]
            .map(cluster)
            .into_iter()
            .find(|[other]| lane(other) != lane(&cluster("c")[0]))
            .unwrap();
        events.publish(&other, EventReason::StepFailed, "note", UPGRADE);
        assert_eq!(dropped.get(), 3);
        drop(events);
        publisher.finish().await;
        assert!(server.notes().is_empty());
    }
}
