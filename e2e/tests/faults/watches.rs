//! Instar's watches are cut again and again, its lists fail, and people go on editing.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use instar_e2e::{
    Context, Result,
    components::Component,
    failure::describe_api,
    mgmt::probe,
    progress::{say, spoken},
    support::{
        catalog::Rows,
        fault_proxy::{
            Answer, Class, Cut, Fault, FaultKind, FaultProxy, Hook, Matcher, Next, Record, Rule, Verb, Which,
        },
        fixtures::{CLUSTER_CLASS, TopologyCluster, core_kind},
        journeys::JourneyContext,
        topology::{PINS, pinned, releases, version, wire},
    },
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::caches::{KINDS, LEARNED, agree, behind};

/// How long what is applied may stay unknown: the longest back-off is 30 s, and it varies.
const STALE: Duration = Duration::from_secs(75);

/// Rounds, each with rows of its own.
const ROUNDS: u8 = 6;

/// Turns Cluster API's rules for an edit of the version off; Instar's stay.
const UNSAFE_VERSION: &str = "unsafe.topology.cluster.x-k8s.io/disable-update-version-check";

/// What may be refused because it is not known yet, or became known in the middle of the edit.
const NOT_YET: [&str; 3] = [
    "[rule class-known]",
    "[rule release-in-catalog]",
    "it has learned of the class or of a release since it wrote them",
];

pub(crate) async fn cut_every_second(scene: JourneyContext) -> Result<()> {
    let proxy = FaultProxy::start(&scene.mgmt, 0).await?;
    proxy.set(faults());
    let tally = Tally::default();
    let all = async {
        scene.mgmt.webhook().restart().await?;
        for number in 0..ROUNDS {
            round(&scene, &proxy, number, &tally)
                .await
                .with_context(|| format!("round {number}"))?;
        }
        proxy.clear();
        let began = Instant::now();
        agree(&scene, STALE).await?;
        only_looked(&proxy);
        tally.close(&proxy, began.elapsed());
        Ok(())
    };
    behind(&scene, &proxy, all).await
}

/// Every watch is cut after a second, some are too old, and of three lists one fails.
fn faults() -> Vec<Rule> {
    let rule = |when, what| Rule { when, what };
    let lists = |seed| Matcher::on(Verb::List).which(Which::Chance { percent: 18, seed });
    vec![
        rule(
            Matcher::on(Class::Watch).which(Which::Every { first: 5, step: 5 }),
            Fault::Answer(Answer::Expired),
        ),
        rule(
            Matcher::on(Class::Watch),
            Fault::CutWatch(Cut::After(Duration::from_secs(1))),
        ),
        rule(lists(1), Fault::Answer(Answer::TooManyRequests { retry_after: 1 })),
        rule(lists(2), Fault::Answer(Answer::InternalError)),
    ]
}

/// What was seen.
#[derive(Debug, Default)]
struct Tally {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    unpinned: AtomicUsize,
    /// The longest wait, in milliseconds.
    longest: AtomicU64,
}

impl Tally {
    fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn waited(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.longest.fetch_max(time, Ordering::Relaxed);
    }

    fn close(&self, proxy: &FaultProxy, caught_up: Duration) {
        let records = proxy.records();
        let count =
            |fault: &dyn Fn(FaultKind) -> bool| records.iter().filter(|record| record.fault.is_some_and(fault)).count();
        let cut = count(&|fault| fault == FaultKind::CutWatch);
        let expired = count(&|fault| fault == FaultKind::Answer(Answer::Expired));
        let failed = count(&|fault| matches!(fault, FaultKind::Answer(_))) - expired;
        let lists = records
            .iter()
            .filter(|record| record.request.verb == Verb::List)
            .count();
        assert!(
            cut > 20 && expired > 3 && failed > 1,
            "too little went wrong: {cut}, {expired}, {failed}"
        );
        // Each list has its cause: the start, a watch that was too old, a list that failed.
        let kinds = KINDS.len() + LEARNED.len();
        assert!(lists <= kinds + expired + failed, "{lists} lists");
        let [accepted, refused, unpinned] =
            [&self.accepted, &self.refused, &self.unpinned].map(|counter| counter.load(Ordering::Relaxed));
        say(format!(
            "faults: watches points={} violations=0 (edits accepted {accepted}, refused until known {refused}, \
             made while the wiring grew known {unpinned}; longest wait {}; watches cut {cut}, expired {expired}; \
             lists {lists}, of them failed {failed}; caches right {} after the last fault)",
            accepted + refused + cut + expired + failed,
            spoken(Duration::from_millis(self.longest.load(Ordering::Relaxed))),
            spoken(caught_up),
        ));
    }
}

/// Rows and a wired class appear, a Cluster is made and moved, a row goes. In each second round the
/// class is there before it is wired, and Instar learns of the wiring late.
async fn round(scene: &JourneyContext, proxy: &FaultProxy, number: u8, tally: &Tally) -> Result<()> {
    let rows = scene.more_rows(number)?;
    let namespace = scene.another_namespace(BTreeMap::new()).await?;
    let wired = wire(scene, CLUSTER_CLASS, &rows.all()).await?;
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(scene.mgmt.client(), &namespace, &core_kind("Cluster", "clusters"));
    let editor = Editor {
        scene,
        clusters,
        rows: &rows,
        tally,
    };
    let (templates, _) = CLUSTER_CLASS
        .split_once("---\napiVersion: cluster.x-k8s.io/v1beta2\nkind: ClusterClass")
        .context("the fixture has no class")?;
    let wired_at_once = number.is_multiple_of(2);
    let first = format!("{}={}", rows.version(34), rows.name(34, 1));
    if wired_at_once {
        scene.mgmt.apply(&namespace, templates).await?;
        scene.mgmt.apply(&namespace, &wired).await?;
    } else {
        scene.mgmt.apply(&namespace, CLUSTER_CLASS).await?;
        assert!(editor.create("plain").await?.is_empty(), "pins without wiring");
        let held = classes_grow_old(proxy).await?;
        scene.mgmt.apply(&namespace, &wired).await?;
        assert!(editor.create("early").await?.is_empty(), "it knew the wiring after all");
        drop(held);
    }
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    if !wired_at_once {
        editor.until_pinned(&first).await?;
    }
    // A wired class that was seen is not forgotten, and one that never had another form is pinned
    // or refused.
    assert_eq!(editor.create("c").await?, [first.as_str()]);
    let way = [34, 35, 36].map(|minor| format!("{}={}", rows.version(minor), rows.name(minor, 1)));
    assert_eq!(editor.move_to("c", 36).await?, way);
    let row = rows.name(33, 1);
    releases(scene).delete(&row, &DeleteParams::default()).await?;
    assert_eq!(
        editor.create("d").await?,
        [first.as_str()],
        "a wired class was forgotten"
    );
    Ok(())
}

/// Holds back the next watch of classes until what this returns is dropped.
async fn classes_grow_old(proxy: &FaultProxy) -> Result<watch::Sender<()>> {
    let (held, gate) = watch::channel(());
    let hook = Hook::new(move |_| {
        let mut gate = gate.clone();
        async move {
            while gate.changed().await.is_ok() {}
            Next::Close
        }
    });
    let late = Rule {
        when: Matcher::on(Verb::Watch).of("clusterclasses"),
        what: Fault::Before(hook),
    };
    proxy.set([late].into_iter().chain(faults()));
    let is_held = |record: &Record| record.fault == Some(FaultKind::Before) && record.ended.is_none();
    proxy.wait_for_record("watch that is held", STALE, is_held).await?;
    // It keeps its fault; the next one is as ever.
    proxy.set(faults());
    Ok(held)
}

struct Editor<'a> {
    scene: &'a JourneyContext,
    clusters: Api<DynamicObject>,
    rows: &'a Rows,
    tally: &'a Tally,
}

impl Editor<'_> {
    /// Creates a paused Cluster as soon as it is let; its pins.
    async fn create(&self, name: &str) -> Result<Vec<String>> {
        let version = self.rows.version(34);
        let mut object = TopologyCluster {
            name,
            version: &version,
            control_planes: 1,
            workers: &[("md-0", 1)],
        }
        .object();
        object["spec"]["paused"] = json!(true);
        let object: DynamicObject = serde_json::from_value(object)?;
        let parameters = PostParams::default();
        self.until_let(&format!("creating {name}"), || {
            self.clusters.create(&parameters, &object)
        })
        .await
    }

    async fn move_to(&self, name: &str, minor: u8) -> Result<Vec<String>> {
        let mut patch = version(&self.rows.version(minor));
        // Cluster API's own rule wants a control plane to look at, and a paused Cluster has none.
        patch["metadata"] = json!({ "annotations": { UNSAFE_VERSION: "" } });
        let patch = Patch::Merge(patch);
        let parameters = PatchParams::default();
        self.until_let(&format!("moving {name}"), || {
            self.clusters.patch(name, &parameters, &patch)
        })
        .await
    }

    /// Creates Clusters until one is pinned: until then the class was known without its wiring.
    async fn until_pinned(&self, pin: &str) -> Result<()> {
        let made = AtomicUsize::new(0);
        let began = Instant::now();
        wait_for("the wired form to be known", STALE, || async {
            let name = format!("early-{}", made.fetch_add(1, Ordering::Relaxed));
            let pins = self.create(&name).await.map_err(|error| format!("{error:#}"))?;
            if pins.is_empty() {
                Tally::count(&self.tally.unpinned);
                return Err(format!("{name} has no pins").into());
            }
            assert_eq!(pins, [pin]);
            Ok(())
        })
        .await?;
        self.tally.waited(began.elapsed());
        Ok(())
    }

    /// Tries until it is not refused. A refusal says that something is not known yet, and Instar
    /// is ready all the while.
    async fn until_let<Fut>(&self, what: &str, edit: impl Fn() -> Fut) -> Result<Vec<String>>
    where
        Fut: Future<Output = kube::Result<DynamicObject>>,
    {
        let began = Instant::now();
        let cluster = wait_for(what, STALE, || async {
            probe(self.scene.mgmt.http(), Component::InstarWebhook)
                .await
                .unwrap_or_else(|error| panic!("{what}: ready no more: {error:#}"));
            match edit().await {
                Ok(cluster) => Ok(cluster),
                Err(kube::Error::Api(status)) if NOT_YET.iter().any(|rule| status.message.contains(rule)) => {
                    Tally::count(&self.tally.refused);
                    Err(status.message.as_str().to_owned().into())
                }
                Err(error) => panic!("{what}: {}", describe_api(&error)),
            }
        })
        .await?;
        Tally::count(&self.tally.accepted);
        self.tally.waited(began.elapsed());
        let Some(pins) = cluster.annotations().get(PINS) else {
            return Ok(Vec::new());
        };
        let pins: Value = serde_json::from_str(pins)?;
        Ok(pinned(&pins))
    }
}

/// In the whole record there are lists and watches of its kinds, and nothing else; for those that it
/// learns it asks which kinds there are, and of its own kinds it reads the definitions now and then.
fn only_looked(proxy: &FaultProxy) {
    let records = proxy.records();
    for record in &records {
        let is_of_kinds = record.request.resource.is_empty() || record.request.resource == "customresourcedefinitions";
        if record.request.verb == Verb::Get && is_of_kinds {
            continue;
        }
        assert!(
            matches!(record.request.verb, Verb::List | Verb::Watch),
            "Instar asked for more than lists and watches: {record:?}"
        );
        let known = |(group, _, _, plural): &(&str, &str, &str, &str)| {
            record.request.group == *group && record.request.resource == *plural
        };
        assert!(KINDS.iter().chain(&LEARNED).any(known), "{record:?}");
    }
    assert!(proxy.writes().is_empty());
}
