//! Three clusters at a time, and the same end for each, whatever goes wrong on the way.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use instar_e2e::{
    Result,
    procfs::Identity,
    progress::say,
    support::{
        catalog::Rows,
        classic::{SMALL, violations},
        fault_proxy::{Class, Fault, FaultProxy, Hook, Matcher, Next, Rule, Which},
        fixtures::Shape,
        journeys::JourneyContext,
        ledger::Ledger,
    },
};
use rustix::process::Signal;

use crate::{
    controller::{Controller, steps},
    upgrade::{self, UPGRADE, assert_record, begin_prepared, completed, is_marked, upgrade},
};

/// How many clusters.
const CLUSTERS: usize = 3;

/// One pool has two machines: the controller dies in the middle of a rollout too.
const UNEVEN: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 2), ("md-1", 1)],
};

/// What one upgrade takes: a record and its mark at the end, four templates, two swaps of the control
/// plane, one of each pool.
const FLOOR: usize = 10;

/// Three running clusters of one machine in each pool.
pub(crate) async fn prepare_small(scene: JourneyContext) -> Result<()> {
    prepare(&scene, &SMALL).await
}

/// Three running clusters with a pool of two machines.
pub(crate) async fn prepare_uneven(scene: JourneyContext) -> Result<()> {
    prepare(&scene, &UNEVEN).await
}

async fn prepare(scene: &JourneyContext, shape: &'static Shape<'static>) -> Result<()> {
    while scene.namespaces().len() < CLUSTERS {
        scene.another_namespace(BTreeMap::new()).await?;
    }
    let clusters = scene.namespaces().into_iter().map(|namespace| async move {
        let scene = scene.within(&namespace);
        upgrade::prepare(&scene, shape).await
    });
    try_join_all(clusters).await.map(drop)
}

/// Everything is written, and the controller hears of none of it.
pub(crate) async fn every_reply_of_a_write_is_dropped(scene: JourneyContext) -> Result<()> {
    let trial = Trial::begin(&scene, scene.rows()?, &SMALL).await?;
    trial.proxy.add(Rule {
        when: Matcher::on(Class::Write),
        what: Fault::DropReply,
    });
    trial.end(Kills::default()).await
}

/// Each write is about to be carried out when the controller dies; the next start may do it.
pub(crate) async fn killed_before_every_write(scene: JourneyContext) -> Result<()> {
    killed(
        &scene,
        scene.rows()?,
        &SMALL,
        Which::Every { first: 1, step: 2 },
        Fault::Before,
    )
    .await
}

/// Each write is carried out, and the controller dies before it hears of it.
pub(crate) async fn killed_after_every_write(scene: JourneyContext) -> Result<()> {
    killed(&scene, scene.rows()?, &UNEVEN, Which::All, Fault::After).await
}

async fn killed(
    scene: &JourneyContext,
    rows: Rows,
    shape: &'static Shape<'static>,
    which: Which,
    when: fn(Hook) -> Fault,
) -> Result<()> {
    let trial = Trial::begin(scene, rows, shape).await?;
    let kills = Kills::default();
    trial.proxy.add(Rule {
        when: Matcher::on(Class::Write).which(which),
        what: when(kills.hook()),
    });
    trial.end(kills).await
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

/// Three running clusters, all of them asked to move, and a controller that hasn't started yet.
struct Trial<'a> {
    rows: Rows,
    shape: &'static Shape<'static>,
    controller: Controller<'a>,
    proxy: FaultProxy,
    clusters: Vec<(JourneyContext, Ledger, usize)>,
}

impl<'a> Trial<'a> {
    async fn begin(scene: &'a JourneyContext, rows: Rows, shape: &'static Shape<'static>) -> Result<Self> {
        let mut controller = Controller::start(scene).await?;
        let proxy = FaultProxy::start(&scene.mgmt, 0).await?;
        let kubeconfig = proxy.kubeconfig(&scene.mgmt.controller().kubeconfig())?;
        restarted_and_stopped(&mut controller, &kubeconfig).await?;
        let rows_of = &rows;
        let begun = scene.namespaces().into_iter().map(|namespace| async move {
            let scene = scene.within(&namespace);
            let ledger = begin_prepared(&scene, rows_of).await?;
            let before = steps(&scene)?;
            Ok::<_, anyhow::Error>((scene, ledger, before))
        });
        let clusters = try_join_all(begun).await?;
        Ok(Self {
            rows,
            shape,
            controller,
            proxy,
            clusters,
        })
    }

    /// Starts the controller as often as it takes, until every upgrade is over; then holds
    /// against each other what happened and what should have.
    async fn end(mut self, kills: Kills) -> Result<()> {
        let began = Instant::now();
        while !self.all_over().await? {
            if self.controller.runs().is_err() {
                let identity = self.controller.spawn().await?;
                kills.aim(identity);
            }
            anyhow::ensure!(began.elapsed() < UPGRADE * 2, "the upgrades did not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let faulty = self.proxy.writes();
        let points = faulty.iter().filter(|write| write.fault.is_some()).count();
        self.proxy.clear();
        self.controller.kill().await?;
        self.controller.go().await?;
        let (mut broken, mut worst) = (Vec::new(), 0);
        for (scene, ledger, before) in &self.clusters {
            completed(scene, &self.rows, self.shape, &self.controller).await?;
            assert_record(scene, &self.rows, self.shape).await?;
            broken.extend(violations(ledger, &self.rows, self.shape).await?);
            worst = worst.max(steps(scene)? - before);
        }
        let ratio = f64::from(u32::try_from(worst)?) / f64::from(u32::try_from(FLOOR)?);
        say(format!(
            "points={points} kills={} violations={} worst writes/floor={ratio:.2}",
            kills.count(),
            broken.len()
        ));
        assert!(broken.is_empty(), "{broken:#?}");
        assert_eq!(worst, FLOOR, "what is written is written once");
        assert!(points >= FLOOR * CLUSTERS, "only {points} points");
        self.controller.kill().await?;
        self.proxy.stop().await
    }

    async fn all_over(&self) -> Result<bool> {
        for (scene, _, _) in &self.clusters {
            let upgrade = upgrade(scene).await?;
            if upgrade.is_none_or(|upgrade| !is_marked(&upgrade)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

async fn restarted_and_stopped(controller: &mut Controller<'_>, kubeconfig: &Path) -> Result<()> {
    controller.restart_with(kubeconfig).await?;
    controller.kill().await
}
