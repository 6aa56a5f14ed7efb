//! The same end, whatever goes wrong on the way.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use instar_api::UpgradePhase;
use instar_e2e::{
    Result,
    fault_proxy::{Class, Fault, FaultProxy, Hook, Matcher, Next, Rule, Which},
    journeys::Scene,
    ports,
    procfs::Identity,
    progress::say,
};
use rustix::process::Signal;

use crate::{
    catalog::Rows,
    cluster::assert_two_minors,
    controller::{Controller, Election, steps},
    upgrade::{UPGRADE, assert_record, begin, completed, phase, upgrade},
};

/// A record, four templates, two swaps of the control plane, one of each pool.
const FLOOR: usize = 9;

/// Both write, and neither knows of the other.
pub(crate) async fn two_controllers_without_the_lease(scene: Scene) -> Result<()> {
    let rows = Rows::new(4);
    let mut first = Controller::start(&scene, Election::None).await?;
    let mut second = Controller::start_at(&scene, Election::None, ports::INSTAR).await?;
    let ledger = begin(&scene, &rows).await?;
    completed(&scene, &rows, &first).await?;
    second.runs()?;
    assert_two_minors(&ledger, &rows)?;
    assert_record(&scene, &rows).await?;
    first.kill().await?;
    second.kill().await
}

/// Everything is written, and the controller hears of none of it.
pub(crate) async fn every_reply_of_a_write_is_dropped(scene: Scene) -> Result<()> {
    let rows = Rows::new(5);
    let mut controller = Controller::start(&scene, Election::None).await?;
    let proxy = FaultProxy::start(&scene.mgmt, 0).await?;
    let kubeconfig = proxy.kubeconfig(&scene.mgmt.run().instar_kubeconfig())?;
    proxy.add(Rule {
        when: Matcher::on(Class::Write),
        what: Fault::DropReply,
    });
    controller.restart_with(&kubeconfig).await?;
    let ledger = begin(&scene, &rows).await?;
    completed(&scene, &rows, &controller).await?;
    say(format!("replies dropped={}", proxy.writes().len()));
    assert_two_minors(&ledger, &rows)?;
    assert_record(&scene, &rows).await?;
    controller.kill().await?;
    proxy.stop().await
}

/// Each write is about to be carried out when the controller dies; the next start may do it.
pub(crate) async fn killed_before_every_write(scene: Scene) -> Result<()> {
    killed(&scene, &Rows::new(6), Which::Every { first: 1, step: 2 }, Fault::Before).await
}

/// Each write is carried out, and the controller dies before it hears of it.
pub(crate) async fn killed_after_every_write(scene: Scene) -> Result<()> {
    killed(&scene, &Rows::new(7), Which::All, Fault::After).await
}

/// Whom the next write kills, and how many it were.
#[derive(Default)]
struct Victims {
    next: Option<Identity>,
    killed: usize,
}

async fn killed(scene: &Scene, rows: &Rows, which: Which, when: fn(Hook) -> Fault) -> Result<()> {
    let mut controller = Controller::start(scene, Election::None).await?;
    let proxy = FaultProxy::start(&scene.mgmt, 0).await?;
    let kubeconfig = proxy.kubeconfig(&scene.mgmt.run().instar_kubeconfig())?;
    let before = steps(scene)?;
    let ledger = begin_with(scene, rows, &mut controller, &kubeconfig).await?;
    let victims = Arc::<Mutex<Victims>>::default();
    let hook = {
        let victims = Arc::clone(&victims);
        Hook::new(move |_| {
            let mut victims = victims.lock().unwrap_or_else(PoisonError::into_inner);
            let killed = victims
                .next
                .take()
                .is_some_and(|victim| victim.signal(Signal::KILL).is_ok());
            victims.killed += usize::from(killed);
            std::future::ready(Next::Close)
        })
    };
    proxy.add(Rule {
        when: Matcher::on(Class::Write).which(which),
        what: when(hook),
    });
    let began = std::time::Instant::now();
    loop {
        if controller.runs().is_err() {
            let identity = controller.spawn().await?;
            victims.lock().unwrap_or_else(PoisonError::into_inner).next = Some(identity);
        }
        let upgrade = upgrade(scene).await?;
        if upgrade.is_some_and(|upgrade| phase(&upgrade) == UpgradePhase::Completed) {
            break;
        }
        anyhow::ensure!(began.elapsed() < UPGRADE * 3, "the upgrade did not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.clear();
    controller.kill().await?;
    controller.go().await?;
    completed(scene, rows, &controller).await?;
    assert_two_minors(&ledger, rows)?;
    assert_record(scene, rows).await?;
    let (points, writes) = (
        victims.lock().unwrap_or_else(PoisonError::into_inner).killed,
        steps(scene)? - before,
    );
    say(format!("points={points} violations=0 writes={writes} floor={FLOOR}"));
    assert!(points >= FLOOR, "only {points} kills");
    assert_eq!(writes, FLOOR, "what is written is written once");
    controller.kill().await?;
    proxy.stop().await
}

/// A running cluster and the annotation, and the controller stopped: it will start behind the proxy.
async fn begin_with(
    scene: &Scene,
    rows: &Rows,
    controller: &mut Controller<'_>,
    kubeconfig: &std::path::Path,
) -> Result<instar_e2e::ledger::Ledger> {
    controller.restart_with(kubeconfig).await?;
    controller.kill().await?;
    begin(scene, rows).await
}
