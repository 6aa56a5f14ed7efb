//! What the controller remembers of each Cluster from one pass to the next: none of it decides what is written, but for
//! how long a failure has stood, which only delays; and all of it goes with the Cluster.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use instar_planner::{ResourceVersion, Retention, StandingFailure, Swap, TemplateContent, TemplateRef, Waiting};
use instar_watch::{Key, KindLease};
use jiff::Timestamp;
use serde_json::Value;

use crate::api::Class;

/// The least time between two passes over a Cluster, unless the first one wants the next at once. While
/// machines roll there is something new many times a second; Cluster API's own controllers keep the same
/// time (<https://github.com/kubernetes-sigs/cluster-api/issues/13005>).
const GAP: Duration = Duration::from_secs(1);

/// A template that an object of another Cluster refers to is looked at again after this time: nothing tells the
/// Cluster when it is free.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_hours(1);

/// By Cluster.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Of those of which something is or was asked, or whose passes fail: few of a fleet.
    clusters: Mutex<HashMap<Key, ClusterMemory>>,
    /// When the last pass over each ended, where the next one has to wait.
    ended: Mutex<HashMap<Key, Instant>>,
}

/// What is remembered of one Cluster.
#[derive(Debug, Default)]
struct ClusterMemory {
    /// How often its passes failed in a row.
    failures: u32,
    /// The annotation without effect that was told last.
    mistake: Option<String>,
    /// The note of the last event that is published once and not at every pass.
    note: Option<String>,
    /// What it looked like when no template was left to collect.
    collected: Option<CollectedTemplates>,
    /// The kinds of its control plane and its templates, which are watched while something is asked of it.
    leases: Vec<KindLease>,
    /// What its templates say, as of a version of each.
    contents: HashMap<TemplateRef, (ResourceVersion, Arc<TemplateContent>)>,
    /// What templates set on the kubelet's command line, as of a version of each: where nothing else is asked of one, it
    /// is a small part of it.
    kubelet_arguments: HashMap<TemplateRef, (ResourceVersion, Arc<Value>)>,
    /// The write that was refused last, and why.
    refused: Option<(String, Waiting)>,
    /// The swap that would have been taken when it was tried last.
    tried: Option<TriedSwap>,
    /// The templates that objects of other Clusters referred to, and when that was found.
    used_elsewhere: HashMap<TemplateRef, Instant>,
    /// What its upgrade has failed by, as the last pass found it.
    failure: Option<StandingFailure>,
}

/// A swap that would have been taken, of an object as it was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TriedSwap {
    kind: String,
    name: String,
    resource_version: ResourceVersion,
    release: Option<String>,
}

impl From<&Swap> for TriedSwap {
    fn from(swap: &Swap) -> Self {
        Self {
            kind: swap.kind.clone(),
            name: swap.name.clone(),
            resource_version: swap.resource_version.clone(),
            release: swap.release.clone(),
        }
    }
}

/// What a Cluster looked like when no template was left to collect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CollectedTemplates {
    /// What its objects referred to.
    pub(crate) referred: BTreeSet<TemplateRef>,
    /// How long templates were to be kept.
    pub(crate) retention: Retention,
    /// The name of the record that listed them.
    pub(crate) record: Option<String>,
    /// When the next one is to be deleted.
    pub(crate) next: Option<Timestamp>,
}

/// Whether a text is another than the last, which it becomes.
fn is_news(last: &mut Option<String>, text: &str) -> bool {
    let is_news = last.as_deref() != Some(text);
    *last = Some(text.to_owned());
    is_news
}

impl Memory {
    /// How long the next pass has to wait; none if it may begin.
    pub(crate) fn rest(&self, cluster: &Key, now: Instant) -> Option<Duration> {
        let ended = *lock(&self.ended).get(cluster)?;
        let rest = GAP.checked_sub(now.saturating_duration_since(ended))?;
        (!rest.is_zero()).then_some(rest)
    }

    /// A pass ended that needs no other one at once.
    pub(crate) fn ended(&self, cluster: &Key, now: Instant) {
        lock(&self.ended).insert(cluster.clone(), now);
    }

    /// A pass failed once more: how long to wait. What wakes the Cluster before that is paced as after any other pass,
    /// but for a conflict, where it is what the cache was behind.
    pub(crate) fn failed(&self, cluster: &Key, class: Class, now: Instant) -> Duration {
        match class {
            Class::Conflict => {}
            Class::Transient | Class::Terminal => self.ended(cluster, now),
        }
        self.of(cluster, |memory| {
            let delay = delay(class, memory.failures);
            memory.failures = memory.failures.saturating_add(1);
            delay
        })
    }

    /// How often the passes failed in a row.
    pub(crate) fn failures(&self, cluster: &Key) -> u32 {
        self.lock().get(cluster).map_or(0, |memory| memory.failures)
    }

    /// A pass went well.
    pub(crate) fn succeeded(&self, cluster: &Key) {
        self.known(cluster, |memory| memory.failures = 0);
    }

    /// Whether an annotation without effect is another than the last, or none any more.
    pub(crate) fn is_new_mistake(&self, cluster: &Key, mistake: Option<&str>) -> bool {
        let Some(mistake) = mistake else {
            self.known(cluster, |memory| memory.mistake = None);
            return false;
        };
        self.of(cluster, |memory| is_news(&mut memory.mistake, mistake))
    }

    /// Whether a note is another than the last.
    pub(crate) fn is_news(&self, cluster: &Key, note: &str) -> bool {
        self.of(cluster, |memory| is_news(&mut memory.note, note))
    }

    /// What the last note said doesn't hold any more.
    pub(crate) fn forget_note(&self, cluster: &Key) {
        self.known(cluster, |memory| memory.note = None);
    }

    /// What the Cluster looked like when no template was left to collect.
    pub(crate) fn collected(&self, cluster: &Key) -> Option<CollectedTemplates> {
        self.lock().get(cluster)?.collected.clone()
    }

    /// No template is left to collect, or, where there is nothing, that is to be found out again.
    pub(crate) fn set_collected(&self, cluster: &Key, collected: Option<CollectedTemplates>) {
        match collected {
            Some(collected) => self.of(cluster, |memory| memory.collected = Some(collected)),
            None => drop(self.known(cluster, |memory| memory.collected = None)),
        }
    }

    /// A kind stays watched for as long as something is asked of the Cluster.
    pub(crate) fn keep_lease(&self, cluster: &Key, lease: KindLease) {
        self.of(cluster, |memory| {
            if memory.leases.iter().all(|kept| kept.kind() != lease.kind()) {
                memory.leases.push(lease);
            }
        });
    }

    /// What a template says, if that was read of this version of it.
    pub(crate) fn content(
        &self,
        cluster: &Key,
        template: &TemplateRef,
        version: &ResourceVersion,
    ) -> Option<Arc<TemplateContent>> {
        let clusters = self.lock();
        let (read, content) = clusters.get(cluster)?.contents.get(template)?;
        (read == version).then(|| Arc::clone(content))
    }

    /// What a template says was read.
    pub(crate) fn keep_content(
        &self,
        cluster: &Key,
        template: TemplateRef,
        version: ResourceVersion,
        content: Arc<TemplateContent>,
    ) {
        self.of(cluster, |memory| memory.contents.insert(template, (version, content)));
    }

    /// What a template sets on the kubelet's command line, if that was read of this version of it.
    pub(crate) fn kubelet_arguments(
        &self,
        cluster: &Key,
        template: &TemplateRef,
        version: &ResourceVersion,
    ) -> Option<Arc<Value>> {
        let clusters = self.lock();
        let (read, arguments) = clusters.get(cluster)?.kubelet_arguments.get(template)?;
        (read == version).then(|| Arc::clone(arguments))
    }

    /// What a template sets on the kubelet's command line was read.
    pub(crate) fn keep_kubelet_arguments(
        &self,
        cluster: &Key,
        template: TemplateRef,
        version: ResourceVersion,
        arguments: Arc<Value>,
    ) {
        self.of(cluster, |memory| {
            memory.kubelet_arguments.insert(template, (version, arguments))
        });
    }

    /// Why a write, by its description, was refused when it was tried last.
    pub(crate) fn refused(&self, cluster: &Key, write: &str) -> Option<Waiting> {
        let clusters = self.lock();
        let (refused, waiting) = clusters.get(cluster)?.refused.as_ref()?;
        (refused == write).then(|| waiting.clone())
    }

    /// A write was refused.
    pub(crate) fn keep_refused(&self, cluster: &Key, write: String, waiting: Waiting) {
        self.of(cluster, |memory| memory.refused = Some((write, waiting)));
    }

    /// A write went well.
    pub(crate) fn forget_refused(&self, cluster: &Key) {
        self.known(cluster, |memory| memory.refused = None);
    }

    /// Whether this swap, to the object as it is, was tried last and would have been taken.
    pub(crate) fn was_tried(&self, cluster: &Key, swap: &TriedSwap) -> bool {
        let clusters = self.lock();
        clusters
            .get(cluster)
            .is_some_and(|memory| memory.tried.as_ref() == Some(swap))
    }

    pub(crate) fn keep_tried(&self, cluster: &Key, swap: TriedSwap) {
        self.of(cluster, |memory| memory.tried = Some(swap));
    }

    /// An object of another Cluster refers to a template.
    pub(crate) fn keep_used_elsewhere(&self, cluster: &Key, template: TemplateRef, now: Instant) {
        self.of(cluster, |memory| memory.used_elsewhere.insert(template, now));
    }

    /// The templates that objects of other Clusters refer to, as far as that was found lately.
    pub(crate) fn used_elsewhere(&self, cluster: &Key, now: Instant) -> BTreeSet<TemplateRef> {
        let found = self.known(cluster, |memory| {
            let found = &mut memory.used_elsewhere;
            found.retain(|_, at| now.saturating_duration_since(*at) < LOOK_AGAIN);
            found.keys().cloned().collect()
        });
        found.unwrap_or_default()
    }

    /// What the upgrade has failed by, as the last pass found it.
    pub(crate) fn failure(&self, cluster: &Key) -> Option<StandingFailure> {
        self.lock().get(cluster)?.failure.clone()
    }

    /// What a pass has found that the upgrade has failed by; none where it has looked for nothing.
    pub(crate) fn set_failure(&self, cluster: &Key, failure: Option<StandingFailure>) {
        match failure {
            Some(failure) => self.of(cluster, |memory| memory.failure = Some(failure)),
            None => drop(self.known(cluster, |memory| memory.failure = None)),
        }
    }

    /// No upgrade is under way, so what templates say decides nothing.
    pub(crate) fn forget_contents(&self, cluster: &Key) {
        self.known(cluster, |memory| {
            memory.contents = HashMap::new();
            memory.kubelet_arguments = HashMap::new();
            memory.refused = None;
            memory.tried = None;
        });
    }

    /// Nothing is asked of the Cluster.
    pub(crate) fn forget_asked(&self, cluster: &Key) {
        self.known(cluster, |memory| {
            memory.collected = None;
            memory.leases = Vec::new();
            memory.contents = HashMap::new();
            memory.kubelet_arguments = HashMap::new();
            memory.refused = None;
            memory.tried = None;
            memory.used_elsewhere = HashMap::new();
        });
    }

    /// The Cluster is gone.
    pub(crate) fn forget(&self, cluster: &Key) {
        self.lock().remove(cluster);
        lock(&self.ended).remove(cluster);
    }

    fn of<T>(&self, cluster: &Key, change: impl FnOnce(&mut ClusterMemory) -> T) -> T {
        let mut clusters = self.lock();
        match clusters.get_mut(cluster) {
            Some(memory) => change(memory),
            None => change(clusters.entry(cluster.clone()).or_default()),
        }
    }

    /// Changes what is remembered of a Cluster, if anything is.
    fn known<T>(&self, cluster: &Key, change: impl FnOnce(&mut ClusterMemory) -> T) -> Option<T> {
        self.lock().get_mut(cluster).map(change)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, ClusterMemory>> {
        lock(&self.clusters)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longer with each failure, by what failed.
fn delay(class: Class, failures: u32) -> Duration {
    let (first, most) = match class {
        // The cache is a moment behind.
        Class::Conflict => (Duration::from_millis(100), Duration::from_secs(5)),
        // It passes by itself, and an upgrade should go on soon after. What was written although the reply
        // was lost counts as a failure too, and nothing tells of a template that is there already.
        Class::Transient => (Duration::from_secs(1), Duration::from_mins(1)),
        Class::Terminal => (Duration::from_secs(15), Duration::from_mins(5)),
    };
    first.saturating_mul(1 << failures.min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Key {
        Key::new("n", name)
    }

    #[test]
    fn one_pass_a_second_for_each_cluster() {
        let memory = Memory::default();
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        assert_eq!(memory.rest(&named("a"), began), None, "the first one waits for nothing");
        memory.ended(&named("a"), began);
        assert_eq!(memory.rest(&named("a"), after(300)), Some(Duration::from_millis(700)));
        assert_eq!(memory.rest(&named("b"), after(300)), None, "another Cluster's");
        assert_eq!(memory.rest(&named("a"), after(1000)), None);
    }

    #[test]
    fn a_pass_that_failed_is_paced_unless_it_was_a_moment_behind() {
        let began = Instant::now();
        for (class, rest) in [
            (Class::Transient, Some(GAP)),
            (Class::Terminal, Some(GAP)),
            (Class::Conflict, None),
        ] {
            let memory = Memory::default();
            let _ = memory.failed(&named("a"), class, began);
            assert_eq!(memory.rest(&named("a"), began), rest, "{class:?}");
        }
    }

    #[test]
    fn each_failure_waits_longer_until_one_success() {
        let memory = Memory::default();
        let wait = || memory.failed(&named("c"), Class::Transient, Instant::now());
        assert_eq!(
            (wait(), wait(), wait()),
            (Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4))
        );
        for _ in 0..40 {
            let _ = wait();
        }
        assert_eq!(wait(), Duration::from_mins(1));
        memory.succeeded(&named("c"));
        assert_eq!(wait(), Duration::from_secs(1));
    }

    #[test]
    fn a_template_in_use_elsewhere_is_looked_at_again() {
        let memory = Memory::default();
        let template = |name: &str| TemplateRef {
            group: "g".to_owned(),
            kind: "K".to_owned(),
            name: name.to_owned(),
        };
        let began = Instant::now();
        memory.keep_used_elsewhere(&named("c"), template("a"), began);
        memory.keep_used_elsewhere(&named("c"), template("b"), began + LOOK_AGAIN / 2);
        let found = |after| memory.used_elsewhere(&named("c"), began + after);
        assert_eq!(found(LOOK_AGAIN / 2), BTreeSet::from([template("a"), template("b")]));
        assert_eq!(found(LOOK_AGAIN), BTreeSet::from([template("b")]));
        assert!(
            memory.used_elsewhere(&named("d"), began).is_empty(),
            "another Cluster's"
        );
    }

    #[test]
    fn a_note_is_news_once() {
        let memory = Memory::default();
        assert!(memory.is_news(&named("c"), "a"));
        assert!(!memory.is_news(&named("c"), "a"));
        assert!(memory.is_news(&named("c"), "b"));
        assert!(memory.is_news(&named("d"), "b"));
        memory.forget_note(&named("c"));
        assert!(memory.is_news(&named("c"), "b"));
    }

    /// Most of a fleet are looked at once, and nothing is asked of them.
    #[test]
    fn of_a_cluster_of_which_nothing_is_asked_only_the_time_is_kept() {
        let memory = Memory::default();
        memory.forget_asked(&named("c"));
        memory.forget_note(&named("c"));
        memory.forget_contents(&named("c"));
        memory.succeeded(&named("c"));
        memory.ended(&named("c"), Instant::now());
        assert_eq!(memory.collected(&named("c")), None);
        assert!(memory.used_elsewhere(&named("c"), Instant::now()).is_empty());
        assert!(memory.lock().is_empty());
    }

    #[test]
    fn a_cluster_that_is_gone_leaves_nothing() {
        let memory = Memory::default();
        memory.ended(&named("c"), Instant::now());
        let _ = memory.failed(&named("c"), Class::Terminal, Instant::now());
        assert!(memory.is_news(&named("c"), "a"));
        memory.forget(&named("c"));
        assert!(memory.lock().is_empty());
        assert!(lock(&memory.ended).is_empty());
    }
}
