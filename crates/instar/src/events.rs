//! The bell: an Event for each rule that was switched off for an edit.

use std::{fmt::Display, time::Duration};

use instar_serve::Metrics;
use instar_webhooks::{AuditSink, OverriddenRule};
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

use crate::api::Why;

/// How many wait to be told. Each holds an object's name and a message.
const WAITING: usize = 256;

/// The longest note. Source: `noteLengthLimit` of Kubernetes' pkg/apis/core/validation/events.go.
const NOTE: usize = 1024;

/// How long one may take to be told.
const PATIENCE: Duration = Duration::from_secs(5);

const REPORTER: &str = "instar-webhook";

/// Takes note of what was broken, and waits for nothing.
#[derive(Debug)]
pub(crate) struct Events {
    to_tell: Sender<OverriddenRule>,
    dropped: Counter,
}

/// What is still to be told.
#[derive(Debug)]
pub(crate) struct EventPublisher {
    broken: Receiver<OverriddenRule>,
    dropped: Counter,
}

impl Events {
    /// The bell, and what it rings for.
    pub(crate) fn new(metrics: &Metrics) -> (Self, EventPublisher) {
        let (to_tell, broken) = channel(WAITING);
        let dropped = metrics.register(
            "break_glass_untold",
            "Rules that were switched off for an edit, of which no Event tells",
            Counter::default(),
        );
        let telling = EventPublisher {
            broken,
            dropped: dropped.clone(),
        };
        (Self { to_tell, dropped }, telling)
    }
}

impl AuditSink for Events {
    fn record(&self, broken: OverriddenRule) {
        if let Err(error) = self.to_tell.try_send(broken) {
            dropped_events(&self.dropped, error);
        }
    }
}

fn dropped_events(dropped: &Counter, why: impl Display) {
    dropped.inc();
    tracing::warn!("no Event tells of a rule that was switched off for an edit: {why}");
}

impl EventPublisher {
    /// Posts the Events. When it is asked to stop, it posts those that wait, and ends.
    pub(crate) async fn tell(mut self, client: Client, stop: CancellationToken) {
        loop {
            let next = select! {
                biased;
                broken = self.broken.recv() => broken,
                () = stop.cancelled() => {
                    self.broken.close();
                    self.broken.recv().await
                }
            };
            let Some(broken) = next else { return };
            let event = event(&broken, Timestamp::now());
            let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
            let events = Api::<Event>::namespaced(client.clone(), namespace);
            match timeout(PATIENCE, events.create(&PostParams::default(), &event)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => dropped_events(&self.dropped, Why(&error)),
                Err(_) => dropped_events(&self.dropped, "the API server doesn't answer"),
            }
        }
    }
}

/// The Event. Those of objects without a namespace are kept in `default`, as everywhere.
fn event(broken: &OverriddenRule, now: Timestamp) -> Event {
    let OverriddenRule {
        api_version,
        kind,
        namespace,
        name,
        uid,
        user,
        finding,
    } = broken;
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
        reason: Some("RuleSwitchedOff".to_owned()),
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
        type_: Some("Warning".to_owned()),
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
