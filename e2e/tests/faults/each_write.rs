//! Clusters that are upgraded beside each other, and the same end for each, whatever goes wrong on the way.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use instar_e2e::{
    Result,
    procfs::Identity,
    progress::say,
    support::{
        catalog::Rows,
        classic::{NAME, SMALL, machine_templates, violations},
        controller::{Controller, steps},
        fault_proxy::{Answer, Class, DryRun, Fault, FaultProxy, Hook, Matcher, Next, Rule, Verb, Which},
        fixtures::Shape,
        journeys::JourneyContext,
        ledger::Ledger,
        upgrade::{self, UPGRADE, assert_record, begin_prepared, completed, is_marked, upgrade, upgrades},
    },
    wait::{PATIENCE, wait_for},
};
use kube::{ResourceExt, api::ListParams, core::DynamicObject};
use rustix::process::Signal;
use serde_json::json;

/// One pool has two machines: the controller dies in the middle of a rollout too.
const UNEVEN: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 2), ("md-1", 1)],
};

/// What one upgrade takes: a record and its mark at the end, the pins, four templates, two swaps of the control
/// plane, one of each pool, and of each of the three that it has converged.
const FLOOR: usize = 14;

/// How long it may take until a failure is told: a minute, on a machine with nothing else to do.
const TOLD: Duration = Duration::from_mins(3);

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
        let namespaces = namespaces.to_owned();
        let writes = Matcher::on(Class::Write).only(move |request| {
            // What is only tried changes nothing, so a failure there is one before the write that comes next.
            let namespace = request.namespace.as_ref().filter(|_| request.dry_run == DryRun::No);
            namespace.is_some_and(|namespace| namespaces.contains(namespace))
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

/// How many Clusters share a fate.
const OF_EACH: usize = 2;

/// The namespaces of a journey, by what their Clusters have before them.
fn fates(scene: &JourneyContext) -> Vec<(Fate, Vec<String>)> {
    let namespaces = scene.namespaces();
    let groups = namespaces.chunks(OF_EACH).map(<[String]>::to_vec);
    Fate::ALL.into_iter().zip(groups).collect()
}

/// The Clusters, running.
pub(crate) async fn prepare(scene: JourneyContext) -> Result<()> {
    while scene.namespaces().len() < Fate::ALL.len() * OF_EACH {
        scene.another_namespace(BTreeMap::new()).await?;
    }
    for (fate, namespaces) in fates(&scene) {
        let clusters = namespaces.into_iter().map(|namespace| {
            let scene = scene.within(&namespace);
            async move { upgrade::prepare(&scene, fate.shape()).await }
        });
        try_join_all(clusters).await?;
    }
    Ok(())
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
    ledger: Ledger,
    /// What was written about it before.
    before: usize,
}

/// Running Clusters of each fate are asked to move, and a controller is started as often as it takes, until every
/// upgrade is over. Then what happened and what should have are held against each other.
pub(crate) async fn goes_wrong(scene: JourneyContext) -> Result<()> {
    let (rows, kills) = (scene.rows()?, Kills::default());
    let mut controller = Controller::start(&scene).await?;
    let proxy = FaultProxy::start(&scene.mgmt, 0).await?;
    let kubeconfig = proxy.kubeconfig(&scene.mgmt.controller().kubeconfig())?;
    restarted_and_stopped(&mut controller, &kubeconfig).await?;
    let mut groups = Vec::new();
    for (fate, namespaces) in fates(&scene) {
        proxy.add(fate.rule(&namespaces, &kills));
        let clusters = namespaces.iter().map(|namespace| asked(scene.within(namespace), &rows));
        groups.push((fate, try_join_all(clusters).await?));
    }

    let (began, mut looked) = (Instant::now(), Instant::now());
    loop {
        if controller.runs().is_err() {
            let identity = controller.spawn().await?;
            kills.aim(identity);
        }
        if looked.elapsed() > LOOKS {
            if all_over(&groups).await? {
                break;
            }
            looked = Instant::now();
        }
        ensure!(began.elapsed() < PATIENCE * UPGRADE, "the upgrades did not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let writes = proxy.writes();
    proxy.clear();
    controller.kill().await?;
    controller.go().await?;

    for (fate, clusters) in &groups {
        let (mut broken, mut worst, mut points) = (Vec::new(), 0, 0);
        for cluster in clusters {
            completed(&cluster.scene, &rows, fate.shape(), &controller).await?;
            assert_record(&cluster.scene, &rows, fate.shape()).await?;
            broken.extend(violations(&cluster.ledger, &rows, fate.shape()).await?);
            worst = worst.max(steps(&cluster.scene)? - cluster.before);
            let namespace = Some(&cluster.scene.namespace);
            let faulty = writes.iter().filter(|write| write.fault.is_some());
            points += faulty
                .filter(|write| write.request.namespace.as_ref() == namespace)
                .count();
        }
        let ratio = f64::from(u32::try_from(worst)?) / f64::from(u32::try_from(FLOOR)?);
        say(format!(
            "{fate:?}: points={points} violations={} worst writes/floor={ratio:.2}",
            broken.len()
        ));
        assert!(broken.is_empty(), "{fate:?}: {broken:#?}");
        assert_eq!(worst, FLOOR, "{fate:?}: what is written is written once");
        assert!(points >= FLOOR * OF_EACH, "{fate:?}: only {points} points");
    }
    say(format!("kills={}", kills.count()));
    assert!(kills.count() >= FLOOR * OF_EACH, "only {} kills", kills.count());
    let cluster = groups.iter().find_map(|(_, clusters)| clusters.first());
    let cluster = cluster.context("no Cluster was upgraded")?;
    a_write_that_fails_is_told(&cluster.scene, &rows, &proxy).await?;
    controller.kill().await?;
    proxy.stop().await
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
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": name },
            "spec": { "clusterName": NAME, "target": rows.version(36) },
        }))
        .await?;
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
async fn asked(scene: JourneyContext, rows: &Rows) -> Result<Upgrading> {
    let ledger = begin_prepared(&scene, rows).await?;
    let before = steps(&scene)?;
    Ok(Upgrading { scene, ledger, before })
}

async fn all_over(groups: &[(Fate, Vec<Upgrading>)]) -> Result<bool> {
    for cluster in groups.iter().flat_map(|(_, clusters)| clusters) {
        let upgrade = upgrade(&cluster.scene).await?;
        if upgrade.is_none_or(|upgrade| !is_marked(&upgrade)) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn restarted_and_stopped(controller: &mut Controller<'_>, kubeconfig: &Path) -> Result<()> {
    controller.restart_with(kubeconfig).await?;
    controller.kill().await
}
