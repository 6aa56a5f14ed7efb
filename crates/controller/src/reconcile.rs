//! One pass over one Cluster: gather, plan, check, report, execute.
//!
//! The decision is reported before it is executed: whoever is killed in between leaves a record of
//! what it was about to do, and what was done is found by looking.

use std::{sync::Arc, time::Duration};

use instar_api::{ClusterUpgrade, ClusterUpgradeStatus, TemplateUse};
use instar_planner::{Action as Write, Decision, Snapshot, Standing, Waiting, check, plan};
use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{
        controller::Action,
        events::{Event, EventType, Recorder},
        reflector::ObjectRef,
    },
};
use serde_json::json;

use crate::{
    api::{Class, Error, FIELD_MANAGER, call},
    backoff::Backoffs,
    caches::Caches,
    execute::{Executor, Told},
    gather::{Templates, gather},
    kinds::Kinds,
    lease::Leads,
    metrics::{Counters, Pass, Written as Counted},
    report::{self, Health},
    views::Cluster,
    wish::{Upgrades, asked_for},
    words::cut,
};

/// An upgrade under way is looked at this often, whatever no watch tells: templates are not watched.
const ANYWAY: Duration = Duration::from_mins(1);

/// What a pass needs.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Arc<Caches>,
    pub(crate) kinds: Kinds,
    pub(crate) leads: Leads,
    pub(crate) recorder: Recorder,
    pub(crate) counters: Counters,
    pub(crate) backoffs: Backoffs,
}

/// One pass.
pub(crate) async fn reconcile(cluster: Arc<Cluster>, context: Arc<Context>) -> Result<Action, Error> {
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
    context.backoffs.succeeded(&ObjectRef::from_obj(cluster.as_ref()));
    Ok(match done {
        Done::Idle => Action::await_change(),
        // The next look sees what was written.
        Done::Wrote => Action::requeue(Duration::ZERO),
        Done::Until(delay) => Action::requeue(delay),
    })
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
        // The record of a topology cluster isn't made yet, and all else of it is Cluster API's.
        if cluster.spec.topology.is_some() || cluster.metadata.deletion_timestamp.is_some() {
            return Ok(Done::Idle);
        }
        let known = self.caches.upgrades.of(namespace, name);
        let asked = asked_for(cluster);
        if let Some(asked) = asked.filter(|asked| known.iter().all(|known| known.name_any() != asked.name_any())) {
            return self.record(cluster, asked).await;
        }
        let upgrades = Upgrades::sort(known);
        if let Some(active) = &upgrades.active {
            let done = self.go_on(cluster, active).await?;
            for pending in &upgrades.pending {
                let status = report::pending(pending, &active.name_any());
                self.write_status(pending, &status).await?;
            }
            return Ok(done);
        }
        match upgrades.last {
            Some(last) if keeps_templates(&last) => self.sweep(cluster, &last).await,
            Some(_) | None => Ok(Done::Idle),
        }
    }

    /// Makes the record that an annotation asks for.
    async fn record(&self, cluster: &Cluster, upgrade: ClusterUpgrade) -> Result<Done, Error> {
        if gather(&self.caches, cluster, &upgrade, Timestamp::now())
            .cluster
            .standing
            != Standing::Live
        {
            return Ok(Done::Idle);
        }
        self.may_write()?;
        let api: Api<ClusterUpgrade> = Api::namespaced(self.client.clone(), &cluster.namespace().unwrap_or_default());
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let name = upgrade.name_any();
        match call(
            || format!("making ClusterUpgrade {name}"),
            api.create(&parameters, &upgrade),
        )
        .await
        {
            // A moment ago, by us: the cache is behind.
            Err(Error::Call {
                source: kube::Error::Api(status),
                ..
            }) if status.is_already_exists() => {}
            made => {
                made?;
                self.counters.wrote(Counted::Record);
            }
        }
        // Its watch wakes the Cluster.
        Ok(Done::Idle)
    }

    async fn go_on(&self, cluster: &Cluster, upgrade: &ClusterUpgrade) -> Result<Done, Error> {
        let mut snapshot = gather(&self.caches, cluster, upgrade, Timestamp::now());
        if is_paused(&snapshot) {
            return Ok(Done::Idle);
        }
        snapshot.templates = self.templates().of(&snapshot).await?;
        let decision = plan(&snapshot);
        let broken = check(&snapshot, &decision);
        if !broken.is_empty() {
            let error = Error::Violation(format!("{broken:?}"));
            self.complain(cluster, upgrade, &snapshot, &decision, &error).await?;
            return Err(error);
        }
        self.report(cluster, upgrade, &snapshot, &decision, Health::Fine)
            .await?;
        let outcome = self.execute(cluster, upgrade, &decision).await;
        if let Err(error) = &outcome
            && error.class() == Class::Terminal
        {
            self.complain(cluster, upgrade, &snapshot, &decision, error).await?;
        }
        Ok(match outcome? {
            Done::Idle if upgrade_is_open(&decision) => Done::Until(ANYWAY),
            Done::Idle => until_next_deletion(&decision, snapshot.now),
            done => done,
        })
    }

    /// After the end: templates whose time is over go.
    async fn sweep(&self, cluster: &Cluster, upgrade: &ClusterUpgrade) -> Result<Done, Error> {
        let mut snapshot = gather(&self.caches, cluster, upgrade, Timestamp::now());
        if is_paused(&snapshot) {
            return Ok(Done::Idle);
        }
        snapshot.templates = self.templates().of(&snapshot).await?;
        let decision = plan(&snapshot);
        if upgrade_is_open(&decision) || !check(&snapshot, &decision).is_empty() {
            return Ok(Done::Idle);
        }
        self.report(cluster, upgrade, &snapshot, &decision, Health::Fine)
            .await?;
        Ok(match self.execute(cluster, upgrade, &decision).await? {
            Done::Wrote => Done::Wrote,
            Done::Idle | Done::Until(_) => until_next_deletion(&decision, snapshot.now),
        })
    }

    async fn execute(&self, cluster: &Cluster, upgrade: &ClusterUpgrade, decision: &Decision) -> Result<Done, Error> {
        let (reason, counted) = match &decision.action {
            Write::Nothing => return Ok(Done::Idle),
            Write::MintTemplate(_) => ("MintedTemplate", Counted::Mint),
            Write::SwapControlPlane(_) => ("UpgradingControlPlane", Counted::Swap),
            Write::SwapWorkers(_) => ("UpgradingWorkers", Counted::Swap),
            Write::DeleteTemplate(_) => ("DeletedTemplate", Counted::Delete),
        };
        let namespace = cluster.namespace().unwrap_or_default();
        let step = Told(&decision.action).to_string();
        tracing::info!(
            namespace,
            cluster = cluster.name_any(),
            upgrade = upgrade.name_any(),
            "{step}"
        );
        self.may_write()?;
        let executor = Executor {
            client: &self.client,
            kinds: &self.kinds,
            namespace: &namespace,
        };
        executor.execute(&decision.action).await?;
        self.counters.wrote(counted);
        self.tell(cluster, upgrade, EventType::Normal, reason, &step).await;
        Ok(match &decision.action {
            // Templates are not watched, so nothing else would wake the Cluster.
            Write::MintTemplate(_) | Write::DeleteTemplate(_) => Done::Wrote,
            Write::Nothing | Write::SwapControlPlane(_) | Write::SwapWorkers(_) => Done::Until(ANYWAY),
        })
    }

    async fn report(
        &self,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        snapshot: &Snapshot,
        decision: &Decision,
        health: Health<'_>,
    ) -> Result<(), Error> {
        let status = report::status(upgrade, snapshot, decision, health);
        let before = upgrade.status.as_ref().map(|status| status.phase);
        self.write_status(upgrade, &status).await?;
        if before != Some(status.phase) {
            let first = status.waiting.first();
            let waiting = first.map_or_else(String::new, |first| format!(": {}", first.message));
            let note = format!("{} to {}{waiting}", status.phase.as_str(), upgrade.spec.target);
            self.tell(cluster, upgrade, EventType::Normal, status.phase.as_str(), &note)
                .await;
        }
        Ok(())
    }

    async fn complain(
        &self,
        cluster: &Cluster,
        upgrade: &ClusterUpgrade,
        snapshot: &Snapshot,
        decision: &Decision,
        error: &Error,
    ) -> Result<(), Error> {
        let reason = match error {
            Error::Violation(_) => "InvariantBroken",
            Error::NameTaken { .. } => "NameTaken",
            Error::NoKind { .. } => "NoKind",
            Error::NoRight { .. } => "NoRight",
            Error::Call { .. } | Error::Silence { .. } | Error::NotLeader => "WriteFailed",
        };
        let message = error.to_string();
        let health = Health::Ill {
            reason,
            message: &message,
        };
        let status = report::status(upgrade, snapshot, decision, health);
        self.write_status(upgrade, &status).await?;
        self.tell(cluster, upgrade, EventType::Warning, reason, &message).await;
        Ok(())
    }

    async fn write_status(&self, upgrade: &ClusterUpgrade, status: &ClusterUpgradeStatus) -> Result<(), Error> {
        if !report::differs(upgrade.status.as_ref(), status) {
            return Ok(());
        }
        self.may_write()?;
        let api: Api<ClusterUpgrade> = Api::namespaced(self.client.clone(), &upgrade.namespace().unwrap_or_default());
        let name = upgrade.name_any();
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({ "status": status }));
        let doing = || format!("writing the status of ClusterUpgrade {name}");
        call(doing, api.patch_status(&name, &parameters, &patch)).await?;
        self.counters.wrote(Counted::Status);
        Ok(())
    }

    /// An event that gets lost is no reason to stop.
    async fn tell(&self, cluster: &Cluster, upgrade: &ClusterUpgrade, kind: EventType, reason: &str, note: &str) {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(cut(note)),
            action: "Upgrade".to_owned(),
            secondary: None,
        };
        for about in [cluster.object_ref(&()), upgrade.object_ref(&())] {
            let published = call(
                || "publishing an event".to_owned(),
                self.recorder.publish(&event, &about),
            )
            .await;
            if let Err(error) = published {
                tracing::warn!("{error}");
            }
        }
    }

    fn templates(&self) -> Templates<'_> {
        Templates {
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

/// Whether nothing at all may be written, our own status included.
fn is_paused(snapshot: &Snapshot) -> bool {
    let progress = match snapshot.wish.progress {
        instar_planner::Progressing::Going => false,
        instar_planner::Progressing::Paused => true,
    };
    progress || snapshot.cluster.standing != Standing::Live
}

fn keeps_templates(upgrade: &ClusterUpgrade) -> bool {
    let templates = upgrade.status.iter().flat_map(|status| &status.templates);
    templates
        .into_iter()
        .any(|template| template.state == TemplateUse::Kept)
}

fn upgrade_is_open(decision: &Decision) -> bool {
    match decision.progress.stage {
        instar_planner::Stage::Held | instar_planner::Stage::ControlPlane | instar_planner::Stage::Workers => true,
        instar_planner::Stage::Complete => false,
    }
}

fn until_next_deletion(decision: &Decision, now: Timestamp) -> Done {
    let times = decision.waiting.iter().filter_map(|waiting| {
        if let Waiting::Retained { until, .. } = waiting {
            Some(*until)
        } else {
            None
        }
    });
    let Some(first) = times.min() else { return Done::Idle };
    let left = first.duration_since(now);
    Done::Until(Duration::try_from(left).unwrap_or_default().max(Duration::from_secs(1)))
}
