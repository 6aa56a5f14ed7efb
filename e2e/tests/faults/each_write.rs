//! Clusters that are upgraded beside each other, behind gates, and the same end for each, whatever goes wrong on the way.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use instar_api::{
    CONCURRENCY_ANNOTATION, HELD_ANNOTATION, HOOK_ANSWER_ANNOTATION, HOOKS_ENABLED, UpgradePhase, VERSION_ANNOTATION,
};
use instar_e2e::{
    Result,
    procfs::Identity,
    progress::say,
    support::{
        catalog::Rows,
        classic::{self, NAME, SMALL, machine_templates, violations},
        controller::{Controller, steps},
        fault_proxy::{
            Answer, Class, DryRun, Fault, FaultProxy, Hook, Matcher, Next, ObservedRequest, Record, Rule, Verb, Which,
        },
        fixtures::{CLUSTER_CLASS, Shape, TopologyCluster, core_kind, wait_running},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        machine_pools::PoolController,
        runtime_hooks,
        topology::{self, apply_rows, apply_wired, assert_rolled, wire},
        upgrade::{self, UPGRADE, annotate, assert_record, completed, is_marked, upgrade, upgrades},
    },
    wait::{PATIENCE, wait_for},
};
use kube::{ResourceExt, api::ListParams, core::DynamicObject};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    closing::{self, Windows},
    gated::{self, AskedBy},
    pools, rolled_back,
};

/// One pool has two machines: the controller dies in the middle of a rollout too.
const UNEVEN: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 2), ("md-1", 1)],
};

/// What is upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// By two minors, with a MachinePool, and with windows that close while a pool replaces its machines.
    Classic,
    /// By one minor, with its pools held, and with Runtime Hooks.
    Topology,
    /// Back from another release of its version, with a MachinePool.
    Rollback,
}

impl Sort {
    /// A fate has a Cluster of each.
    const ALL: [Self; 3] = [Self::Classic, Self::Topology, Self::Rollback];

    /// What one upgrade takes: a mark at the end, that the add-on's turn has come, and what it sets. Of a classic cluster
    /// the record, the pins, four templates, two swaps of the control plane, one of each pool, and of each of the three
    /// that it has converged; and that its first pool stops when the windows close, and goes on. Of the other the edit, each
    /// pool held and let go, that the first of them has converged, more of them allowed at a time, and not any more, and
    /// what Cluster API is answered: that the step may not go before it is approved, that it may, and nothing any more. Of a rollback when it was
    /// seen first, the path, that the upgrade isn't over any more, a swap back and the end of each of the three, and two
    /// marks at the end.
    const fn floor(self) -> usize {
        match self {
            Self::Classic => 16 + MACHINE_POOL + 2,
            Self::Topology => 11 + 3,
            Self::Rollback => 11 + MACHINE_POOL,
        }
    }

    const fn asks(self) -> AskedBy {
        match self {
            Self::Classic | Self::Rollback => AskedBy::ClusterUpgrade,
            Self::Topology => AskedBy::Hook,
        }
    }

    const fn target(self) -> u8 {
        match self {
            Self::Classic => 35,
            Self::Topology => 34,
            Self::Rollback => 33,
        }
    }
}

/// What a MachinePool takes, there or back: both objects are paused, then values, then the version, then both go on, and that
/// it has converged.
const MACHINE_POOL: usize = 7;

/// How long it may take until a failure is told: a minute, on a machine with nothing else to do.
const TOLD: Duration = Duration::from_mins(3);

/// Cluster API's annotation that says how many pools it gives their version at a time.
const UPGRADE_CONCURRENCY: &str = "topology.cluster.x-k8s.io/upgrade-concurrency";

/// How often the records are read.
const LOOKS: Duration = Duration::from_secs(1);

/// What goes wrong with the writes about a Cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Everything is written, and the controller hears of none of it.
    RepliesDropped,
    /// Each write is about to be carried out when the controller dies; the next start may do it.
    KilledBefore,
    /// Each write is carried out, and the controller dies before it hears of it.
    KilledAfter,
}

impl Fate {
    const ALL: [Self; 3] = [Self::RepliesDropped, Self::KilledBefore, Self::KilledAfter];

    const fn shape(self) -> &'static Shape<'static> {
        match self {
            Self::RepliesDropped | Self::KilledBefore => &SMALL,
            Self::KilledAfter => &UNEVEN,
        }
    }

    fn rule(self, namespaces: &[String], kills: &Kills) -> Rule {
        let (namespaces, told) = (namespaces.to_owned(), gated::Told::default());
        let is_hit = move |request: &ObservedRequest| match self {
            Self::RepliesDropped => true,
            Self::KilledBefore | Self::KilledAfter => told.is_news(request),
        };
        let writes = Matcher::on(Class::Write).only(move |request| {
            // What is only tried changes nothing, so a failure there is one before the write that comes next.
            let namespace = request.namespace.as_ref().filter(|_| request.dry_run == DryRun::No);
            namespace.is_some_and(|namespace| namespaces.contains(namespace)) && is_hit(request)
        });
        let (which, what) = match self {
            Self::RepliesDropped => (Which::All, Fault::DropReply),
            Self::KilledBefore => (Which::Every { first: 1, step: 2 }, Fault::Before(kills.hook())),
            Self::KilledAfter => (Which::All, Fault::After(kills.hook())),
        };
        Rule {
            when: writes.which(which),
            what,
        }
    }
}

/// What the upgrades of a fate take in all.
const FLOORS: usize = Sort::Classic.floor() + Sort::Topology.floor() + Sort::Rollback.floor();

/// The namespaces of a journey, by what their Clusters have before them.
fn fates(scene: &JourneyContext) -> Vec<(Fate, Vec<(Sort, String)>)> {
    let namespaces = scene.namespaces();
    let groups = namespaces.chunks(Sort::ALL.len());
    let groups = groups.map(|group| Sort::ALL.into_iter().zip(group.iter().cloned()).collect());
    Fate::ALL.into_iter().zip(groups).collect()
}

/// The Clusters, running.
pub(crate) async fn prepare(scene: JourneyContext) -> Result<()> {
    while scene.namespaces().len() < Fate::ALL.len() * Sort::ALL.len() {
        scene.another_namespace(BTreeMap::new()).await?;
    }
    let rows = scene.rows()?;
    for (fate, namespaces) in fates(&scene) {
        let clusters = namespaces.into_iter().map(|(sort, namespace)| {
            let (scene, rows) = (scene.within(&namespace), &rows);
            async move {
                match sort {
                    Sort::Classic => prepare_slow(&scene, rows, fate.shape()).await,
                    Sort::Rollback => upgrade::prepare(&scene, fate.shape()).await,
                    Sort::Topology => prepare_topology(&scene, rows, fate.shape()).await,
                }
            }
        });
        try_join_all(clusters).await?;
    }
    Ok(())
}

/// Its first pool takes its time, so that windows close in the middle.
async fn prepare_slow(scene: &JourneyContext, rows: &Rows, shape: &Shape<'_>) -> Result<()> {
    scene.apply_object(rows.row(33, 1)).await?;
    classic::create_slow(scene, rows, shape, closing::POOL, closing::TAKES).await
}

/// Its class knows no other version yet: before this journey's turn, others' clusters would go by these.
async fn prepare_topology(scene: &JourneyContext, rows: &Rows, shape: &Shape<'_>) -> Result<()> {
    let (version, first) = (rows.version(33), [rows.row(33, 1)]);
    apply_rows(scene, &first).await?;
    apply_wired(scene, CLUSTER_CLASS, &first).await?;
    let cluster = TopologyCluster {
        name: NAME,
        version: &version,
        control_planes: shape.control_plane,
        workers: shape.pools,
    };
    topology::create(scene, &cluster).await
}

/// Whom the next write kills, and how many it were.
#[derive(Clone, Default)]
struct Kills(Arc<Mutex<Victims>>);

#[derive(Default)]
struct Victims {
    next: Option<Identity>,
    killed: usize,
}

impl Kills {
    fn hook(&self) -> Hook {
        let kills = self.clone();
        Hook::new(move |_| {
            let mut victims = kills.0.lock().unwrap_or_else(PoisonError::into_inner);
            let killed = victims
                .next
                .take()
                .is_some_and(|victim| victim.signal(Signal::KILL).is_ok());
            victims.killed += usize::from(killed);
            std::future::ready(Next::Close)
        })
    }

    fn aim(&self, victim: Identity) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next = Some(victim);
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).killed
    }
}

/// A Cluster that is upgraded.
struct Upgrading {
    scene: JourneyContext,
    sort: Sort,
    ledger: Ledger,
    /// What its user wrote into its topology, but for the version.
    topology: Value,
    /// What was written about it before.
    before: usize,
    windows: Windows,
}

/// Running Clusters of each fate are asked to move, and a controller is started as often as it takes, until every
/// upgrade is over. Then what happened and what should have are held against each other.
pub(crate) async fn goes_wrong(scene: JourneyContext) -> Result<()> {
    let (rows, kills) = (scene.rows()?, Kills::default());
    let hooked = scenes_of(&scene, &[Sort::Topology]);
    // The controller looks when it starts.
    for scene in &hooked {
        runtime_hooks::label(scene, Some(HOOKS_ENABLED)).await?;
    }
    let machine_pools = pools::added(&scenes_of(&scene, &[Sort::Classic, Sort::Rollback]), &rows).await?;
    let mut controller = Controller::start_with_hooks(&scene).await?;
    try_join_all(hooked.iter().map(|scene| runtime_hooks::opt_in(scene, true))).await?;
    let to_be_taken_back = scenes_of(&scene, &[Sort::Rollback]).into_iter();
    let upgraded = to_be_taken_back.map(|scene| rolled_back::upgraded(scene, &rows));
    try_join_all(upgraded).await?;
    let proxy = FaultProxy::start(&scene.mgmt, 0).await?;
    let kubeconfig = proxy.kubeconfig(&scene.mgmt.controller().kubeconfig())?;
    restarted_and_stopped(&mut controller, &kubeconfig).await?;
    let releases = [
        rows.row(33, 1),
        gated::row(&rows, 34),
        pools::row(gated::row(&rows, 35), &rows, 35, 1)?,
        rows.row(36, 1),
    ];
    apply_rows(&scene, &releases).await?;
    let mut groups = Vec::new();
    for (fate, namespaces) in fates(&scene) {
        let of_fate: Vec<String> = namespaces.iter().map(|(_, namespace)| namespace.clone()).collect();
        proxy.add(fate.rule(&of_fate, &kills));
        let clusters = namespaces.iter();
        let clusters = clusters.map(|(sort, namespace)| asked(scene.within(namespace), *sort, &rows));
        groups.push((fate, try_join_all(clusters).await?));
    }
    until_all_over(&mut groups, &mut controller, &kills, &rows).await?;
    let writes = proxy.writes();
    proxy.clear();
    controller.kill().await?;
    controller.go().await?;

    for (fate, clusters) in &groups {
        let (mut broken, mut points) = (Vec::new(), 0);
        for cluster in clusters {
            broken.extend(cluster.ended(&rows, fate.shape(), &controller, &machine_pools).await?);
            let (steps, floor) = (steps(&cluster.scene)? - cluster.before, cluster.sort.floor());
            let ratio = f64::from(u32::try_from(steps)?) / f64::from(u32::try_from(floor)?);
            say(format!("{fate:?} {:?}: writes/floor={ratio:.2}", cluster.sort));
            let namespace = Some(&cluster.scene.namespace);
            let of_cluster = || {
                writes
                    .iter()
                    .filter(|write| write.request.namespace.as_ref() == namespace)
            };
            if steps != floor {
                let written: Vec<String> = of_cluster().filter_map(described).collect();
                broken.push(format!(
                    "{:?}: {steps} writes, and not {floor}: {written:#?}",
                    cluster.sort
                ));
            }
            points += of_cluster().filter(|write| write.fault.is_some()).count();
        }
        say(format!("{fate:?}: points={points} violations={}", broken.len()));
        assert!(broken.is_empty(), "{fate:?}: {broken:#?}");
        assert!(points >= FLOORS, "{fate:?}: only {points} points");
    }
    say(format!("kills={}", kills.count()));
    assert!(kills.count() >= FLOORS, "only {} kills", kills.count());
    let mut clusters = groups.iter().flat_map(|(_, clusters)| clusters);
    let cluster = clusters.find(|cluster| cluster.sort == Sort::Classic);
    let cluster = cluster.context("no Cluster was upgraded")?;
    gated::no_more(&cluster.scene).await?;
    a_write_that_fails_is_told(&cluster.scene, &rows, &proxy).await?;
    controller.kill().await?;
    proxy.stop().await
}

/// The namespaces of some sorts of upgrades.
fn scenes_of(scene: &JourneyContext, sorts: &[Sort]) -> Vec<JourneyContext> {
    let namespaces = fates(scene).into_iter().flat_map(|(_, namespaces)| namespaces);
    let of_these = namespaces.filter(|(sort, _)| sorts.contains(sort));
    of_these.map(|(_, namespace)| scene.within(&namespace)).collect()
}

/// Starts a controller as often as one was killed, and does what the upgrades wait for.
async fn until_all_over(
    groups: &mut [(Fate, Vec<Upgrading>)],
    controller: &mut Controller<'_>,
    kills: &Kills,
    rows: &Rows,
) -> Result<()> {
    let (began, mut looked) = (Instant::now(), Instant::now());
    loop {
        if controller.runs().is_err() {
            let identity = controller.spawn().await?;
            kills.aim(identity);
        }
        if looked.elapsed() > LOOKS {
            if all_over(groups).await? {
                return Ok(());
            }
            for cluster in groups.iter_mut().flat_map(|(_, clusters)| clusters) {
                if cluster.sort != Sort::Rollback {
                    gated::approve_what_is_asked(&cluster.scene, cluster.sort.asks()).await?;
                }
                if cluster.sort == Sort::Classic {
                    let target = rows.version(cluster.sort.target());
                    cluster.windows = cluster.windows.next(&cluster.scene, &target).await?;
                }
            }
            looked = Instant::now();
        }
        ensure!(began.elapsed() < PATIENCE * UPGRADE, "the upgrades did not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A write that was carried out, if it is one that counts.
fn described(write: &Record) -> Option<String> {
    let request = &write.request;
    let is_step = request.resource != "events" && request.subresource.is_none();
    (write.is_committed() && is_step).then(|| {
        let name = request.name.as_deref().unwrap_or_default();
        let body = String::from_utf8_lossy(&request.body);
        let body: String = body.chars().take(240).collect();
        format!("{:?} {} {name}: {body}", request.verb, request.resource)
    })
}

/// A write that fails again and again is told: what it was, of which object, and what the API server answered. Once it
/// succeeds, the record is well, and the upgrade goes on.
async fn a_write_that_fails_is_told(scene: &JourneyContext, rows: &Rows, proxy: &FaultProxy) -> Result<()> {
    let namespace = scene.namespace.clone();
    proxy.add(Rule {
        when: Matcher::on(Verb::Create)
            .of("devmachinetemplates")
            .only(move |request| request.namespace.as_ref() == Some(&namespace)),
        what: Fault::Answer(Answer::ServiceUnavailable),
    });
    let name = "after-a-failure";
    scene.apply_object(record(name, &rows.version(36))).await?;
    let records = upgrades(scene);
    let healthy = || async {
        let status = records.get(name).await?.status.unwrap_or_default();
        let mut conditions = status.conditions.into_iter();
        let healthy = conditions.find(|condition| condition.type_ == "Healthy");
        healthy.context("it has no condition Healthy")
    };
    wait_for("the failure to be told", TOLD, || async {
        let seen = healthy().await?;
        let told = ["making DevMachineTemplate cp-", "503"];
        if seen.status == "False" && seen.reason == "WriteFailed" && told.iter().all(|part| seen.message.contains(part))
        {
            Ok(())
        } else {
            Err(format!("{seen:?}").into())
        }
    })
    .await?;
    proxy.clear();
    wait_for("the record to be well again", TOLD, || async {
        let seen = healthy().await?;
        if seen.status == "True" {
            Ok(())
        } else {
            Err(format!("{seen:?}").into())
        }
    })
    .await?;
    let minted = |template: &DynamicObject| {
        let label = template.labels().get("upgrade.cluster.x-k8s.io/release").cloned();
        label.is_some_and(|release| release.starts_with(&rows.version(36)))
    };
    wait_for("the template", TOLD, || async {
        let templates = machine_templates(scene).list(&ListParams::default()).await?;
        if templates.iter().any(minted) {
            Ok(())
        } else {
            Err("there is none of the new version".into())
        }
    })
    .await
}

/// A running cluster, asked to move.
async fn asked(scene: JourneyContext, sort: Sort, rows: &Rows) -> Result<Upgrading> {
    let before = steps(&scene)?;
    gated::by_policy(&scene, sort.asks()).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let target = rows.version(sort.target());
    match sort {
        Sort::Classic => annotate(&scene, VERSION_ANNOTATION, &target).await?,
        Sort::Topology => {
            let listed = [rows.row(33, 1), gated::row(rows, 34)];
            scene.apply(&wire(&scene, CLUSTER_CLASS, &listed).await?).await?;
            topology::reconciled(&scene, NAME).await?;
            scene.apply_object(record("up", &target)).await?;
        }
        Sort::Rollback => rolled_back::asked(&scene).await?,
    }
    let topology = topology_of(&scene).await?;
    Ok(Upgrading {
        scene,
        sort,
        ledger,
        topology,
        before,
        windows: Windows::Open,
    })
}

/// What somebody asks for who doesn't use the annotation.
pub(crate) fn record(name: &str, target: &str) -> Value {
    json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": name },
        "spec": { "clusterName": NAME, "target": target },
    })
}

/// What its user wrote, without the version; nothing of a classic cluster.
async fn topology_of(scene: &JourneyContext) -> Result<Value> {
    let cluster = topology::clusters(scene).get(NAME).await?;
    let mut topology = cluster.data["spec"]["topology"].clone();
    if let Some(fields) = topology.as_object_mut() {
        fields.remove("version");
    }
    Ok(topology)
}

impl Upgrading {
    /// Waits for the end, and says what is wrong with it and with the way there.
    async fn ended(
        &self,
        rows: &Rows,
        shape: &Shape<'_>,
        controller: &Controller<'_>,
        machine_pools: &PoolController,
    ) -> Result<Vec<String>> {
        let (scene, target) = (&self.scene, rows.version(self.sort.target()));
        let mut broken = match self.sort {
            Sort::Classic => {
                completed(scene, rows, shape, controller).await?;
                assert_record(scene, rows, shape).await?;
                let mut broken = violations(&self.ledger, rows, shape).await?;
                let rollouts = [pools::at(rows, 33, 1), pools::at(rows, 35, 1)];
                broken.extend(pools::violations(scene, machine_pools, &rollouts).await?);
                if self.windows != Windows::OpenAgain {
                    broken.push(format!("the windows are {:?}", self.windows));
                }
                broken
            }
            Sort::Topology => self.let_go(rows, shape, &target).await?,
            // It asks for no approval, has no canary and no add-on.
            Sort::Rollback => {
                let mut broken = rolled_back::violations(scene, &self.ledger, rows, shape).await?;
                let (there, back) = (pools::at(rows, 33, rolled_back::REVISION), pools::at(rows, 33, 1));
                let rollouts = [back.clone(), there, back];
                broken.extend(pools::violations(scene, machine_pools, &rollouts).await?);
                return Ok(broken);
            }
        };
        let way = [&*rows.version(33), &*target];
        broken.extend(gated::passed_early(scene, &self.ledger, shape, way).await?);
        Ok(broken)
    }

    /// Every machine was replaced once, and nothing is left that held or raised anything.
    async fn let_go(&self, rows: &Rows, shape: &Shape<'_>, target: &str) -> Result<Vec<String>> {
        let scene = &self.scene;
        let deadline = Duration::from_secs(1);
        wait_running(&scene.mgmt, &scene.namespace, NAME, target, shape, deadline).await?;
        self.ledger.caught_up().await?;
        let rolled = [(33, Some(1)), (34, Some(1))];
        let mut broken = Vec::new();
        assert_rolled(
            &self.ledger,
            NAME,
            rows,
            &Pool::ControlPlane,
            shape.control_plane,
            &rolled,
        )?;
        for (pool, machines) in shape.pools {
            let pool = Pool::Workers((*pool).to_owned());
            assert_rolled(&self.ledger, NAME, rows, &pool, *machines, &rolled)?;
        }
        let status = upgrade(scene)
            .await?
            .and_then(|record| record.status)
            .context("no status")?;
        if status.phase != UpgradePhase::Completed || !status.health.is_empty() {
            broken.push(format!("its record says {status:?}"));
        }
        let pools = topology::namespaced(scene, &core_kind("MachineDeployment", "machinedeployments"));
        for pool in pools.list(&ListParams::default()).await? {
            if pool.annotations().contains_key(HELD_ANNOTATION) || !pool.data["spec"]["paused"].is_null() {
                broken.push(format!("{} is still held", pool.name_any()));
            }
        }
        let cluster = topology::clusters(scene).get(NAME).await?;
        for annotation in [UPGRADE_CONCURRENCY, CONCURRENCY_ANNOTATION, HOOK_ANSWER_ANNOTATION] {
            if let Some(value) = cluster.annotations().get(annotation) {
                broken.push(format!("{annotation} is {value}"));
            }
        }
        let topology = topology_of(scene).await?;
        if topology != self.topology {
            broken.push(format!("the topology is {topology}, and was {}", self.topology));
        }
        Ok(broken)
    }
}

async fn all_over(groups: &[(Fate, Vec<Upgrading>)]) -> Result<bool> {
    for cluster in groups.iter().flat_map(|(_, clusters)| clusters) {
        let is_over = match cluster.sort {
            Sort::Classic | Sort::Topology => {
                let upgrade = upgrade(&cluster.scene).await?;
                upgrade.is_some_and(|upgrade| is_marked(&upgrade))
            }
            Sort::Rollback => rolled_back::is_over(&cluster.scene).await?,
        };
        if !is_over {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn restarted_and_stopped(controller: &mut Controller<'_>, kubeconfig: &Path) -> Result<()> {
    controller.restart_with(kubeconfig).await?;
    controller.kill().await
}
