//! One watch, for good.

use std::{fmt::Debug, pin::pin};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use instar_serve::{Metrics, Readiness};
use kube::{
    Api, Client, Resource,
    runtime::{
        utils::Backoff,
        watcher::{self, DefaultBackoff, Event, watcher},
    },
};
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::metrics::watch_errors;

/// How long one watch lasts, in seconds. It is taken up again where it ended, and a connection that has
/// died in silence is noticed a bit later.
const TIMEOUT: u32 = 50;

/// What all watches share.
pub(super) struct Watch {
    client: Client,
    readiness: Readiness,
    errors: Counter,
    lists: Lists,
}

/// How many first lists are still to come.
pub(super) type Lists = tokio::sync::watch::Sender<usize>;

impl Watch {
    pub(super) fn new(client: &Client, readiness: &Readiness, metrics: &Metrics, lists: &Lists) -> Self {
        Self {
            client: client.clone(),
            readiness: readiness.clone(),
            errors: watch_errors(metrics),
            lists: lists.clone(),
        }
    }

    /// Hands every event over, and is a part of readiness until the first list is in.
    pub(super) fn follow<K>(
        &self,
        plural: &'static str,
        mut take: impl FnMut(Event<K>) + Send + 'static,
    ) -> BoxFuture<'static, ()>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let (part, errors, lists) = (self.readiness.part(plural), self.errors.clone(), self.lists.clone());
        lists.send_modify(|lists| *lists += 1);
        async move {
            let mut events = pin!(watcher(api, watcher::Config::default().timeout(TIMEOUT)));
            // kube's own back-off starts over at every attempt to list.
            let mut patience = DefaultBackoff::default();
            let mut listed = false;
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        let complete = matches!(event, Event::InitDone);
                        if !matches!(event, Event::Init) {
                            patience.reset();
                        }
                        take(event);
                        if complete && !listed {
                            listed = true;
                            lists.send_modify(|lists| *lists -= 1);
                            part.ready();
                        }
                    }
                    Err(error) => {
                        errors.inc();
                        tracing::warn!(kind = plural, %error, "watching again");
                        sleep(patience.next().unwrap_or_default()).await;
                    }
                }
            }
        }
        .boxed()
    }
}
