//! One pass over one Cluster: gather, plan, check, report, execute.
//!
//! The decision is reported before it is executed: whoever is killed in between leaves a record of
//! what it was about to do, and what was done is found by looking.

mod annotated;
mod classic;
mod event_deduplicator;
mod events;
mod records;
mod templates;
mod topology;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use instar_api::{ClusterUpgrade, VERSION_ANNOTATION};
use instar_planner::Lifecycle;
use kube::{
    Client, ResourceExt,
    runtime::{controller::Action, events::Recorder, reflector::ObjectRef},
};

use crate::{
    api::{Class, Error},
    backoff::Backoffs,
    caches::Caches,
    gather::{ControlPlanes, begun, lifecycle_of},
    kinds::Kinds,
    lease::Leads,
    metrics::{Counters, Pass},
    pace::Paces,
    upgrade_spec::Upgrades,
    views::Cluster,
};

pub(crate) use event_deduplicator::EventDeduplicator;
pub(crate) use templates::TemplateGc;

/// What a pass needs.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Arc<Caches>,
    pub(crate) kinds: Kinds,
    pub(crate) leads: Leads,
    pub(crate) recorder: Recorder,
    pub(crate) counters: Counters,
    pub(crate) backoffs: Backoffs,
    pub(crate) paces: Paces,
    pub(crate) said: EventDeduplicator,
    pub(crate) template_gc: TemplateGc,
}

/// One pass.
pub(crate) async fn reconcile(cluster: Arc<Cluster>, context: Arc<Context>) -> Result<Action, Error> {
    let about = ObjectRef::from_obj(cluster.as_ref());
    if let Some(rest) = context.paces.rest(&about, Instant::now()) {
        return Ok(Action::requeue(rest));
    }
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let outcome = context.pass(&cluster, &namespace, &name).await;
    context.counters.pass(match &outcome {
        Ok(Done::Wrote) => Pass::Wrote,
        Ok(Done::Idle | Done::Until(_)) => Pass::Idle,
        Err(error) => match error.class() {
            Class::Conflict => Pass::Conflict,
            Class::Transient | Class::Terminal => Pass::Failed,
        },
    });
    let done = outcome?;
    context.backoffs.succeeded(&about);
    let next = match done {
        // The next look sees what was written.
        Done::Wrote => return Ok(Action::requeue(Duration::ZERO)),
        Done::Idle => Action::await_change(),
        Done::Until(delay) => Action::requeue(delay),
    };
    context.paces.ended(about, Instant::now());
    Ok(next)
}

/// What to do after a failure.
#[allow(clippy::needless_pass_by_value, reason = "as kube hands it over")]
pub(crate) fn failed(cluster: Arc<Cluster>, error: &Error, context: Arc<Context>) -> Action {
    let class = error.class();
    let delay = context.backoffs.failed(ObjectRef::from_obj(cluster.as_ref()), class);
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    match class {
        Class::Conflict => tracing::info!(namespace, cluster = name, ?delay, "reading again: {error}"),
        Class::Transient | Class::Terminal => {
            tracing::warn!(namespace, cluster = name, ?delay, "trying again: {error}");
        }
    }
    Action::requeue(delay)
}

/// How a pass ended.
enum Done {
    Idle,
    Wrote,
    Until(Duration),
}

impl Context {
    async fn pass(&self, cluster: &Cluster, namespace: &str, name: &str) -> Result<Done, Error> {
        if let Some(topology) = &cluster.spec.topology {
            self.template_gc.forget(cluster);
            return self.follow(cluster, &topology.version).await;
        }
        let known = self.caches.upgrades.of(namespace, name);
        if asks(cluster, &known) {
            self.control_planes().look(&self.caches, cluster).await?;
        }
        let upgrades = Upgrades::sort(known.clone(), begun(&self.caches, cluster).as_deref());
        match (lifecycle_of(cluster), &upgrades.active) {
            (Lifecycle::Active, _) => {}
            (Lifecycle::Deleting, Some(active)) => return self.report_deleting(cluster, active).await,
            (Lifecycle::Deleting | Lifecycle::Paused, _) => return Ok(Done::Idle),
        }
        self.write_finished_markers(&known).await?;
        if let Some(done) = self.annotated(cluster, &known, &upgrades).await? {
            return Ok(done);
        }
        if let Some(active) = &upgrades.active {
            self.template_gc.forget(cluster);
            self.refuse(cluster, &upgrades.refused, active).await?;
            return self.reconcile_classic(cluster, active).await;
        }
        self.collect_templates(cluster, upgrades.last.as_deref(), &known).await
    }

    fn control_planes(&self) -> ControlPlanes<'_> {
        ControlPlanes {
            client: &self.client,
            kinds: &self.kinds,
        }
    }

    fn may_write(&self) -> Result<(), Error> {
        if self.leads.now() {
            Ok(())
        } else {
            Err(Error::NotLeader)
        }
    }
}

/// Whether something is or was asked of a classic Cluster, so that it has to be known what it is.
fn asks(cluster: &Cluster, known: &[Arc<ClusterUpgrade>]) -> bool {
    let asked = cluster.annotations().contains_key(VERSION_ANNOTATION) || !known.is_empty();
    asked && lifecycle_of(cluster) == Lifecycle::Active
}
