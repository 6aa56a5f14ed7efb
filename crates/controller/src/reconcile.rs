//! One pass over one Cluster: gather, plan, check, report, execute.
//!
//! The decision is reported before it is executed: a process that is killed in between leaves a record of
//! what it was about to do, and what was done is found by looking.

mod annotated;
mod classic;
mod definitions;
mod events;
mod failure;
mod history;
mod machine_pools;
mod records;
mod templates;
mod topology;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use instar_api::{ClusterUpgrade, VERSION_ANNOTATION, WorkloadAccess};
use instar_capi::{Cluster, KubeadmControlPlane, MachineDeployment, MachinePool};
use instar_planner::{Lifecycle, Snapshot};
use instar_preflight::{deadlines, settled, workload::Probe};
use instar_watch::{Key, Lookup};
use kube::{Client, ResourceExt};

use crate::{
    api::{Class, Error},
    caches::{Caches, KeptPart, PlannedKind},
    cluster_api::ClusterApi,
    events::Events,
    gather::{
        AddonLook, CheckRules, Referred, begun, current_versions, lifecycle_of, pinned_path, wanted_images,
        wanted_probes, wanted_snapshots,
    },
    hooks::Hooks,
    kinds::{Kinds, UnusedKinds},
    lease::Leads,
    memory::Memory,
    metrics::{Counters, Pass},
    probe::{Prober, Wanted},
    queue::Next,
    scope::Scope,
    timing::Timing,
    upgrade_spec::{Upgrades, reopened, started},
};
pub(crate) use definitions::report_definitions;

/// How soon to look again while nothing is known of a kind. Its watch says in the log, in a metric and in readiness
/// what is wrong, and wakes the Clusters when it has listed.
const NOT_LISTED: Duration = Duration::from_secs(10);

/// How soon after a write to look again, whatever the watches tell.
const AFTER_WRITE: Duration = Duration::from_secs(1);

/// So many failures in a row are told though each of them might pass by itself: with the time between them, and that
/// of calls without an answer, this is less than a minute after the first one.
const TRIES: u32 = 3;

/// As many because the cache was a moment behind.
const MOMENTS: u32 = 9;

/// Whether a failure is told that comes after so many others in a row.
const fn is_told(class: Class, before: u32) -> bool {
    match class {
        Class::Terminal => true,
        Class::Transient => before + 1 >= TRIES,
        Class::Conflict => before + 1 >= MOMENTS,
    }
}

/// What a pass needs.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Arc<Caches>,
    pub(crate) kinds: Kinds,
    pub(crate) unused_kinds: UnusedKinds,
    pub(crate) leads: Leads,
    pub(crate) events: Events,
    pub(crate) counters: Counters,
    pub(crate) memory: Memory,
    pub(crate) prober: Prober,
    pub(crate) hooks: Hooks,
    pub(crate) cluster_api: ClusterApi,
    pub(crate) timing: Timing,
    pub(crate) scope: Scope,
}

/// One pass over a Cluster, be it there or not.
pub(crate) async fn reconcile(context: &Context, cluster: Key) -> Next {
    let memory = &context.memory;
    if let Some(rest) = memory.rest(&cluster, Instant::now()) {
        return Next::After(rest);
    }
    if context.caches.unlisted().is_some() || !context.leads.definitions_fit() {
        return Next::After(NOT_LISTED);
    }
    if !context.caches.is_taken(&context.scope.filter, &cluster) {
        context.leave(&cluster);
        return Next::OnChange;
    }
    context.prober.begin_pass(&cluster);
    let outcome = match context.caches.cluster(&cluster) {
        Lookup::Present(object) => Box::pin(context.pass(&object, &cluster)).await,
        Lookup::Absent => context.report_missing_cluster(&cluster).await,
        Lookup::Unreadable(error) => context.report_unreadable_cluster(&cluster, &error).await,
        Lookup::Pending | Lookup::Unavailable(_) | Lookup::Unwatched => Ok(Done::Until(NOT_LISTED)),
    };
    context.counters.pass(match &outcome {
        Ok(Done::Wrote) => Pass::Wrote,
        Ok(Done::Idle | Done::Gone | Done::Until(_)) => Pass::Idle,
        Err(error) => match error.class() {
            Class::Conflict => Pass::Conflict,
            Class::Transient | Class::Terminal => Pass::Failed,
        },
    });
    let done = match outcome {
        Ok(done) => done,
        Err(error) => return Next::After(context.failed(&cluster, &error)),
    };
    context.prober.end_pass(&cluster);
    memory.succeeded(&cluster);
    let next = match done {
        // The watch of what was written wakes the Cluster, and the next look then comes at once.
        Done::Wrote => return Next::After(AFTER_WRITE),
        Done::Gone => {
            memory.forget(&cluster);
            return Next::OnChange;
        }
        Done::Idle => Next::OnChange,
        Done::Until(delay) => Next::After(delay),
    };
    memory.ended(&cluster, Instant::now());
    next
}

/// How a pass ended.
enum Done {
    /// Nothing is to be done until something changes.
    Idle,
    /// Something was written.
    Wrote,
    /// Nothing is to be done for so long, unless something changes.
    Until(Duration),
    /// The Cluster isn't there.
    Gone,
}

impl Context {
    /// Another controller looks after a Cluster, maybe since a moment ago: nothing is known of it, as after a start.
    fn leave(&self, cluster: &Key) {
        self.prober.begin_pass(cluster);
        self.prober.end_pass(cluster);
        self.memory.forget(cluster);
    }

    /// What to do after a failure: how long to wait.
    fn failed(&self, cluster: &Key, error: &Error) -> Duration {
        let class = error.class();
        let delay = self.memory.failed(cluster, class, Instant::now());
        match class {
            Class::Conflict => tracing::info!(%cluster, ?delay, "Reading again: {error}"),
            Class::Transient | Class::Terminal => tracing::warn!(%cluster, ?delay, "Trying again: {error}"),
        }
        delay
    }

    async fn pass(&self, cluster: &Cluster, key: &Key) -> Result<Done, Error> {
        self.report_mistake(cluster);
        if let Some(topology) = &cluster.spec.topology {
            self.memory.forget_asked(key);
            return Box::pin(self.follow(cluster, &topology.version)).await;
        }
        let known = self.caches.of::<ClusterUpgrade>(key);
        match lifecycle_of(cluster) {
            Lifecycle::Paused => {
                self.memory.set_failure(key, None);
                return Ok(Done::Idle);
            }
            Lifecycle::Deleting => return self.report_deleting(cluster, known).await,
            Lifecycle::Active => {}
        }
        let control_plane = if self.is_asked(cluster, key, &known) {
            self.referred().control_plane(cluster).await?
        } else {
            self.memory.forget_asked(key);
            None
        };
        let path = pinned_path(cluster);
        let upgrades = Upgrades::sort(known.clone(), begun(control_plane.as_ref()), path.as_ref());
        if let Some(done) = self.write_finished_markers(cluster, &known, path.as_ref()).await? {
            return Ok(done);
        }
        self.report_taken_back(cluster, &upgrades).await?;
        let versions = || current_versions(&self.caches, cluster, control_plane.as_ref());
        if let Some(done) = self.annotated(cluster, &known, &upgrades, versions).await? {
            return Ok(done);
        }
        if let Some(active) = &upgrades.active {
            self.memory.set_collected(key, None);
            self.refuse(cluster, &upgrades.refused, active).await?;
            if started(active).is_none() && records::may_be_reported(active) {
                return self.write_started_marker(active).await;
            }
            let reopened = reopened(active, &known, path.as_ref());
            return Box::pin(self.reconcile_classic(cluster, control_plane, active, &reopened)).await;
        }
        let last = upgrades.last.as_deref();
        if let Some(done) = Box::pin(self.resume_pools(cluster)).await? {
            return Ok(done);
        }
        if let Some(done) = self.trim_history(cluster, &known, last, None).await? {
            return Ok(done);
        }
        Box::pin(self.collect_templates(cluster, control_plane, last, &known)).await
    }

    fn referred(&self) -> Referred<'_> {
        Referred {
            client: &self.client,
            caches: &self.caches,
            kinds: &self.kinds,
            unused_kinds: &self.unused_kinds,
            memory: &self.memory,
        }
    }

    /// Whether something is or was asked of a classic Cluster, so that it has to be known what it is. Where the
    /// records are gone, what a swap wrote into its objects says so.
    fn is_asked(&self, cluster: &Cluster, key: &Key, known: &[Arc<ClusterUpgrade>]) -> bool {
        cluster.annotations().contains_key(VERSION_ANNOTATION)
            || !known.is_empty()
            || self.was_swapped::<KubeadmControlPlane>(key)
            || self.was_swapped::<MachineDeployment>(key)
            || self.was_swapped::<MachinePool>(key)
    }

    fn was_swapped<K: PlannedKind>(&self, cluster: &Key) -> bool {
        self.caches.any::<K>(cluster, KeptPart::was_swapped)
    }

    /// Whether the record says that a pass failed, as this one did.
    fn is_told(&self, cluster: &Cluster, error: &Error) -> bool {
        is_told(error.class(), self.memory.failures(&Key::of(cluster)))
    }

    /// Has read what the checks of an upgrade that waits, and its add-ons and gates, want to know, for a pass to come.
    fn probe(&self, rules: &CheckRules, cluster: &Cluster, snapshot: &Snapshot, addons: AddonLook<'_>) {
        let mut probes = wanted_probes(rules, snapshot);
        let images = wanted_images(rules, snapshot);
        probes.extend((!images.is_empty()).then_some(Probe::Images));
        let snapshots = wanted_snapshots(rules, snapshot, &self.prober.snapshots(&Key::of(cluster)));
        if probes.is_empty() && addons.wanted.is_empty() && snapshots.is_empty() {
            return;
        }
        let secret = match &rules.access {
            WorkloadAccess::Enabled(secret) => Some(secret.of(&cluster.name_any())),
            WorkloadAccess::Disabled | WorkloadAccess::Unclear(_) => None,
        };
        let wanted = Wanted {
            secret,
            probes,
            settled: settled(&snapshot.preflight),
            deadlines: deadlines(&rules.settings),
            gates: addons.wanted,
            snapshots,
            images,
            vcenters: rules.vcenters.clone(),
        };
        self.prober.want(&Key::of(cluster), &wanted);
    }

    fn addons<'a>(&'a self, rules: &'a CheckRules, cluster: &Cluster) -> AddonLook<'a> {
        let readings = self.prober.gates(&Key::of(cluster));
        AddonLook::new(&self.caches, &rules.access, readings, cluster)
    }

    fn may_write(&self) -> Result<(), Error> {
        if self.leads.now() {
            Ok(())
        } else {
            Err(Error::NotLeader)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_by_itself_is_told_when_it_does_not() {
        for (class, first_told) in [(Class::Terminal, 0), (Class::Transient, 2), (Class::Conflict, 8)] {
            let told: Vec<u32> = (0..12).filter(|before| is_told(class, *before)).collect();
            assert_eq!(told, (first_told..12).collect::<Vec<_>>(), "{class:?}");
        }
    }
}
