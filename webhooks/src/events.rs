//! An Event for each rule that was overridden for an edit.

use std::{fmt::Display, time::Duration};

use instar_api::EventReason;
use instar_serve::Metrics;
use instar_watch::ErrorText;
use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    select,
    sync::mpsc::{Receiver, Sender, channel},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{AuditSink, OverriddenRule};

/// The most Events in the queue. Each has the name of an object and a message.
const QUEUE: usize = 256;

/// The longest note. Source: `noteLengthLimit` of Kubernetes' pkg/apis/core/validation/events.go.
const NOTE: usize = 1024;

/// How long the API server may take to answer for one Event.
const DEADLINE: Duration = Duration::from_secs(5);

const REPORTER: &str = "instar-webhook";

/// Queues an Event for each overridden rule. It never blocks: if the queue is full, the Event is dropped, counted and
/// logged.
#[derive(Debug)]
pub struct Events {
    queue: Sender<OverriddenRule>,
    dropped: Counter,
}

/// Posts the Events that are queued.
#[derive(Debug)]
pub struct EventPublisher {
    queued: Receiver<OverriddenRule>,
    dropped: Counter,
}

impl Events {
    /// Both ends of the queue.
    #[must_use]
    pub fn new(metrics: &Metrics) -> (Self, EventPublisher) {
        let (queue, queued) = channel(QUEUE);
        let dropped = metrics.register(
            "override_events_dropped",
            "Overridden rules for which no Event could be posted",
            Counter::default(),
        );
        let publisher = EventPublisher {
            queued,
            dropped: dropped.clone(),
        };
        (Self { queue, dropped }, publisher)
    }
}

impl AuditSink for Events {
    fn record(&self, overridden: OverriddenRule) {
        if let Err(error) = self.queue.try_send(overridden) {
            dropped_events(&self.dropped, error);
        }
    }
}

fn dropped_events(dropped: &Counter, why: impl Display) {
    dropped.inc();
    tracing::warn!("Cannot post an Event about an overridden rule: {why}");
}

impl EventPublisher {
    /// Posts the Events. After `stop` it posts those in the queue, and returns.
    pub async fn publish(mut self, client: Client, stop: CancellationToken) {
        loop {
            let next = select! {
                biased;
                overridden = self.queued.recv() => overridden,
                () = stop.cancelled() => {
                    self.queued.close();
                    self.queued.recv().await
                }
            };
            let Some(overridden) = next else { return };
            let event = event(&overridden, Timestamp::now());
            let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
            let events = Api::<Event>::namespaced(client.clone(), namespace);
            match timeout(DEADLINE, events.create(&PostParams::default(), &event)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => dropped_events(&self.dropped, ErrorText(&error)),
                Err(_) => dropped_events(&self.dropped, "the API server doesn't answer"),
            }
        }
    }
}

/// The Event. Like all Events about cluster-scoped objects, it is in the namespace `default`.
fn event(overridden: &OverriddenRule, now: Timestamp) -> Event {
    let OverriddenRule {
        api_version,
        kind,
        namespace,
        name,
        uid,
        user,
        finding,
    } = overridden;
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let note = format!("{user} switched off rule {} for this edit: {finding}", finding.rule);
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{REPORTER}-")),
            namespace: given(namespace).or_else(|| Some("default".to_owned())),
            ..ObjectMeta::default()
        },
        action: Some("Admit".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(cut(note)),
        reason: Some(EventReason::RuleSwitchedOff.to_string()),
        regarding: Some(ObjectReference {
            api_version: given(api_version),
            kind: given(kind),
            name: given(name),
            namespace: given(namespace),
            uid: given(uid),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(REPORTER.to_owned()),
        type_: Some(EventReason::RuleSwitchedOff.severity().as_str().to_owned()),
        ..Event::default()
    }
}

fn cut(mut note: String) -> String {
    const MORE: &str = "...";
    if note.len() > NOTE {
        note.truncate(note.floor_char_boundary(NOTE - MORE.len()));
        note.push_str(MORE);
    }
    note
}

#[cfg(test)]
mod tests;
