//! Instar is killed before each list of its start, and started again.

use std::{sync::Arc, time::Duration};

use instar_e2e::{
    Context, Result,
    components::Component,
    mgmt::{Mgmt, probe},
    progress::say,
    support::{
        fault_proxy::{Fault, FaultProxy, Hook, Matcher, Next, Record, Rule, Verb, Which},
        journeys::JourneyContext,
    },
    wait::wait_for,
};
use tokio::sync::mpsc;

use crate::caches::{KINDS, LEARNED, TEMPLATES, agree, behind};

const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn before_each_list(scene: JourneyContext) -> Result<()> {
    let proxy = FaultProxy::start(&scene.mgmt, 0).await?;
    behind(&scene, &proxy, async {
        for (nth, _) in (1..).zip(KINDS) {
            before(&scene, &proxy, nth).await?;
        }
        Ok(())
    })
    .await?;
    assert!(proxy.writes().is_empty(), "Instar wrote: {:?}", proxy.writes());
    say(format!("faults: kills points={} violations=0", KINDS.len()));
    Ok(())
}

/// Kills Instar while a list is held back, and starts it again; the list, and the killed process.
async fn kill_and_start(mgmt: &Mgmt, list: Record) -> Result<(u64, Option<u32>)> {
    let url = Component::InstarWebhook.ready_url();
    let held = match LEARNED.iter().find(|kind| kind.3 == list.request.resource) {
        Some(_) => TEMPLATES,
        None => &list.request.resource,
    };
    wait_for("Instar to say what it waits for", SOON, || async {
        let response = mgmt.http().get(&url).send().await?;
        let (status, awaited) = (response.status().as_u16(), response.text().await?);
        if status == 503 && awaited.lines().any(|kind| kind == held) {
            return Ok(());
        }
        Err(format!("{status} {awaited} while {held} were not listed").into())
    })
    .await?;
    let killed = mgmt.pid(Component::InstarWebhook).await;
    mgmt.kill(Component::InstarWebhook).await?;
    mgmt.webhook().start().await?;
    Ok((list.number, killed))
}

async fn before(scene: &JourneyContext, proxy: &FaultProxy, nth: u64) -> Result<()> {
    scene.mgmt.webhook().stop().await?;
    let (sender, mut restarted) = mpsc::unbounded_channel();
    let mgmt = Arc::clone(&scene.mgmt);
    let hook = Hook::new(move |record| {
        let (mgmt, sender) = (Arc::clone(&mgmt), sender.clone());
        async move {
            let _ = sender.send(kill_and_start(&mgmt, record).await);
            Next::Close
        }
    });
    proxy.set([Rule {
        when: Matcher::on(Verb::List).which(Which::Nth(nth)),
        what: Fault::Before(hook),
    }]);
    scene.mgmt.webhook().start().await?;
    let (number, killed) = restarted.recv().await.context("the hook was never called")??;
    let runs = scene.mgmt.pid(Component::InstarWebhook).await;
    assert!(
        killed.is_some() && runs.is_some() && killed != runs,
        "{killed:?}, then {runs:?}"
    );
    let struck = proxy.records().into_iter().find(|record| record.number == number);
    let struck = struck.context("no record of the list")?;
    assert_eq!((struck.request.verb, struck.server), (Verb::List, None));
    probe(scene.mgmt.http(), Component::InstarWebhook).await?;
    agree(scene, Duration::from_secs(30)).await
}
