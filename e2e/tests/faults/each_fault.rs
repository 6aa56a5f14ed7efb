//! Each fault, as a client sees it.

use std::{
    collections::BTreeSet,
    pin::pin,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        fault_proxy::{Answer, Class, Cut, Fault, FaultKind, Hook, Matcher, Next, Record, Rule, Verb, Verbs, Which},
        journeys::JourneyContext,
    },
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use tokio::sync::mpsc;

use crate::clients::{Line, PATIENCE, map};

const SOON: Duration = Duration::from_mins(2);

fn rule(when: Matcher, what: Fault) -> Rule {
    Rule { when, what }
}

/// The last record; a fault is over when the client has seen it.
async fn last(line: &Line, name: &str) -> Result<Record> {
    let of_it = |record: &Record| record.request.name.as_deref() == Some(name) && record.ended.is_some();
    line.proxy.wait_for_record("record that is over", SOON, of_it).await
}

/// Answers in the name of the API server are such as it gives, and change nothing.
pub(crate) async fn answers(scene: JourneyContext) -> Result<()> {
    let line = Line::start(&scene).await?;
    let answers = [
        (Answer::Conflict, 409, "Conflict"),
        (Answer::Expired, 410, "Expired"),
        (Answer::TooManyRequests { retry_after: 7 }, 429, "TooManyRequests"),
        (Answer::InternalError, 500, "InternalError"),
        (Answer::ServiceUnavailable, 503, "ServiceUnavailable"),
        (Answer::Timeout, 504, "Timeout"),
    ];
    for (answer, code, reason) in answers {
        line.proxy.set([rule(Matcher::on(Class::Write), Fault::Answer(answer))]);
        let name = reason.to_lowercase();
        let answered = line.create(&name).await;
        let Err(kube::Error::Api(status)) = answered else {
            panic!("{answer:?}: {answered:?}");
        };
        assert_eq!((status.code, status.reason.as_str()), (code, reason));
        let retry_after = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        assert_eq!(retry_after, if code == 429 { 7 } else { 0 });
        let record = last(&line, &name).await?;
        assert_eq!((record.server, record.fault), (None, Some(FaultKind::Answer(answer))));
        assert_eq!(record.client.map(|status| status.as_u16()), Some(code));
        assert!(!line.exists(&name).await?, "{name} was made");
        // Only writes were meant.
        line.maps.list(&ListParams::default()).await?;
    }
    line.proxy.clear();
    line.create("at-last").await?;
    say(format!("faults: answers points={} violations=0", answers.len()));
    Ok(())
}

/// A reply that is lost, a request that is lost, and one that hangs.
pub(crate) async fn lost_requests_and_replies(scene: JourneyContext) -> Result<()> {
    let line = Line::start(&scene).await?;
    let nobody_knows = |result: kube::Result<ConfigMap>| match result {
        Err(error) if !matches!(error, kube::Error::Api(_)) => {}
        other => panic!("{other:?}"),
    };
    let of = |name: &'static str| Matcher::on(Verbs::Any).only(move |asked| asked.name.as_deref() == Some(name));
    line.proxy.set([
        rule(of("reply"), Fault::DropReply),
        rule(of("request"), Fault::DropRequest),
        rule(of("hangs"), Fault::Hang(PATIENCE * 20)),
        rule(of("slow"), Fault::Hang(PATIENCE / 3)),
    ]);
    nobody_knows(line.create("reply").await);
    let record = last(&line, "reply").await?;
    assert!(record.is_committed() && record.client.is_none(), "{record:?}");
    assert!(line.exists("reply").await?);

    nobody_knows(line.create("request").await);
    let record = last(&line, "request").await?;
    assert_eq!((record.server, record.client), (None, None));
    assert!(!line.exists("request").await?);

    let began = Instant::now();
    nobody_knows(line.create("hangs").await);
    assert!(
        (PATIENCE..PATIENCE * 4).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    // Nobody waits for it, so it is never carried out.
    let record = last(&line, "hangs").await?;
    assert_eq!((record.server, record.client), (None, None));
    assert!(!line.exists("hangs").await?);

    line.create("slow").await?;
    assert_eq!(last(&line, "slow").await?.fault, Some(FaultKind::Hang));
    say("faults: lost points=4 violations=0");
    Ok(())
}

/// A hook runs at its place, and decides what becomes of the request.
pub(crate) async fn hooks(scene: JourneyContext) -> Result<()> {
    let line = Line::start(&scene).await?;
    let (sender, mut called) = mpsc::unbounded_channel();
    let hook = |next: Next| {
        let sender = sender.clone();
        Hook::new(move |record| {
            let _ = sender.send(record);
            async move { next }
        })
    };
    let creations = |nth| Matcher::on(Verb::Create).of("configmaps").which(Which::Nth(nth));
    line.proxy.set([
        rule(creations(1), Fault::Before(hook(Next::GoOn))),
        rule(creations(2), Fault::Before(hook(Next::Close))),
        rule(creations(3), Fault::After(hook(Next::GoOn))),
        rule(creations(4), Fault::After(hook(Next::Close))),
    ]);
    let cases = [
        ("one", true, true, false),
        ("two", false, false, false),
        ("three", true, true, true),
        ("four", false, true, true),
        ("five", true, true, false),
    ];
    for (name, answered, made, was_committed) in cases {
        assert_eq!(line.create(name).await.is_ok(), answered, "{name}");
        assert_eq!(line.exists(name).await?, made, "{name}");
        if name == "five" {
            assert!(called.is_empty(), "a hook was called once too often");
        } else {
            let record = called.recv().await.context("no call")?;
            assert_eq!(record.request.name.as_deref(), Some(name));
            assert_eq!(record.is_committed(), was_committed, "{name}");
        }
    }
    say(format!("faults: hooks points={} violations=0", cases.len()));
    Ok(())
}

/// A watcher whose watches are cut sees every change; one that must list anew ends up the same.
pub(crate) async fn a_watcher_misses_nothing(scene: JourneyContext) -> Result<()> {
    const OBJECTS: usize = 12;
    let line = Line::start(&scene).await?;
    let names: Vec<String> = (0..OBJECTS).map(|number| format!("map-{number}")).collect();
    let cuts = [
        Cut::AfterEvents(1),
        Cut::AfterEvents(3),
        Cut::After(Duration::from_millis(150)),
    ];
    for cut in cuts {
        line.proxy.set([rule(Matcher::on(Class::Watch), Fault::CutWatch(cut))]);
        let mut seen = Seen::default();
        let mut events = pin!(watcher(line.maps.clone(), watcher::Config::default()));
        seen.until(&mut events, |seen| seen.listed == 1).await?;
        let earlier = line.proxy.records().len();
        let writes = async {
            for name in &names {
                line.direct.create(&PostParams::default(), &map(name)).await?;
            }
            let cut = |record: &Record| {
                usize::try_from(record.number).is_ok_and(|number| number >= earlier)
                    && record.request.verb == Verb::Watch
                    && record.ended.is_some()
            };
            line.proxy.wait_for_record("watch that was cut", SOON, cut).await?;
            for name in &names {
                line.direct.delete(name, &DeleteParams::default()).await?;
            }
            Ok(())
        };
        let watching = seen.until(&mut events, |seen| seen.deleted.len() == OBJECTS);
        let ((), ()) = futures::try_join!(writes, watching)?;
        assert_eq!(seen.applied.len(), OBJECTS, "{cut:?}");
        assert_eq!(seen.listed, 1, "{cut:?} made it list anew");
    }

    let each_third = Matcher::on(Class::Watch).which(Which::Every { first: 1, step: 3 });
    line.proxy.set([
        rule(each_third, Fault::Answer(Answer::Expired)),
        rule(Matcher::on(Class::Watch), Fault::CutWatch(Cut::AfterEvents(2))),
    ]);
    let mut seen = Seen::default();
    let mut events = pin!(watcher(line.maps.clone(), watcher::Config::default()));
    let writes = async {
        for name in &names {
            line.direct.create(&PostParams::default(), &map(name)).await?;
        }
        Ok(())
    };
    let watching = seen.until(&mut events, |seen| seen.applied.len() == OBJECTS && seen.listed > 1);
    let ((), ()) = futures::try_join!(writes, watching)?;

    let cut = |record: &&Record| record.fault == Some(FaultKind::CutWatch);
    let points = line.proxy.records().iter().filter(cut).count();
    assert!(points > cuts.len(), "only {points} watches were cut");
    say(format!("faults: watcher points={points} violations=0"));
    Ok(())
}

/// What a watcher has told.
#[derive(Debug, Default)]
struct Seen {
    applied: BTreeSet<String>,
    deleted: BTreeSet<String>,
    listed: usize,
}

impl Seen {
    async fn until(
        &mut self,
        events: &mut (impl Stream<Item = Result<Event<ConfigMap>, watcher::Error>> + Unpin),
        enough: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        let end = tokio::time::Instant::now() + SOON;
        while !enough(self) {
            let event = tokio::time::timeout_at(end, events.next()).await;
            match event
                .with_context(|| format!("{self:?}"))?
                .context("the watcher ended")?
            {
                Ok(Event::InitApply(map) | Event::Apply(map)) => {
                    self.applied.insert(map.name_any());
                }
                Ok(Event::Delete(map)) => {
                    self.deleted.insert(map.name_any());
                }
                Ok(Event::InitDone) => self.listed += 1,
                // A cut is no error to it, an answer of 410 is; it goes on after each.
                Ok(Event::Init) | Err(_) => {}
            }
        }
        Ok(())
    }
}
