use instar_addons::SnapshotsSeen;
use instar_planner::Problem;
use instar_preflight::workload::{Deadlines, Facts, Nodes, Probe};
use jiff::Timestamp;
use serde_json::json;

use super::*;

fn key(name: &str) -> Key {
    Key::new("n", name)
}

fn wanted(secret: &str, probes: &[Probe]) -> Wanted {
    Wanted {
        secret: Some(secret.to_owned()),
        probes: probes.iter().copied().collect(),
        settled: BTreeSet::new(),
        deadlines: Deadlines::default(),
        gates: Vec::new(),
        snapshots: Vec::new(),
        images: BTreeSet::new(),
        vcenters: instar_api::VcenterAccess::Any,
    }
}

fn nodes() -> Wanted {
    wanted("s", &[Probe::Nodes])
}

/// A round that was answered: so many Nodes, read at a second.
fn answered(total: usize, at: i64) -> Finished {
    let nodes = Nodes { total, ..Nodes::none() };
    finished(Ok(Facts::Nodes(nodes)), at, Answer::After(Duration::from_secs(1)))
}

fn failed(answer: Answer) -> Finished {
    let problem = Problem {
        kind: "Cluster".to_owned(),
        name: "c".to_owned(),
        message: "no answer".to_owned(),
    };
    finished(Err(problem), 0, answer)
}

fn finished(found: Result<Facts, Problem>, at: i64, answer: Answer) -> Finished {
    let at = Timestamp::from_second(at).unwrap();
    Finished {
        readings: Readings::from([(Probe::Nodes, Arc::new(Reading { at, found }))]),
        gates: BTreeMap::new(),
        snapshots: Vec::new(),
        at,
        answer,
    }
}

/// The Clusters whose rounds begin at this time, and when the next one is due.
fn due(schedule: &mut Schedule, now: Instant) -> (Vec<String>, Option<Instant>) {
    let (jobs, next) = schedule.take_due(now);
    (
        jobs.into_iter().map(|job| job.cluster.name().to_owned()).collect(),
        next,
    )
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn what_is_wanted_is_read_at_once_and_then_by_age() {
    let (mut schedule, began) = (Schedule::default(), Instant::now());
    let after = |seconds| began + Duration::from_secs(seconds);
    assert_eq!(due(&mut schedule, began), (none(), None));
    schedule.want(&key("a"), nodes(), began);
    schedule.want(&key("a"), nodes(), began);
    assert_eq!(due(&mut schedule, began), (vec!["a".to_owned()], None));
    assert_eq!(due(&mut schedule, after(90)), (none(), None), "its round runs still");
    assert!(schedule.readings(&key("a")).is_empty());

    assert_eq!(schedule.finished(&key("a"), answered(3, 1), after(90)), News::Changed);
    assert_eq!(schedule.readings(&key("a")).len(), 1);
    assert_eq!(due(&mut schedule, after(119)), (none(), Some(after(120))));
    assert_eq!(due(&mut schedule, after(120)).0, ["a"]);
    assert_eq!(schedule.finished(&key("a"), answered(3, 2), after(121)), News::Same);
    let at = schedule.readings(&key("a"))[&Probe::Nodes].at;
    assert_eq!(at, Timestamp::from_second(2).unwrap(), "its age counts all the same");
    assert_eq!(due(&mut schedule, after(151)).0, ["a"]);
    assert_eq!(schedule.finished(&key("a"), answered(4, 3), after(151)), News::Changed);
}

#[test]
fn something_else_is_read_after_the_round_that_runs() {
    let (mut schedule, began) = (Schedule::default(), Instant::now());
    schedule.want(&key("a"), nodes(), began);
    assert_eq!(due(&mut schedule, began).0, ["a"]);
    schedule.want(&key("a"), wanted("other", &[Probe::Nodes]), began);
    assert_eq!(due(&mut schedule, began).0, none(), "one at a time");
    assert_eq!(schedule.finished(&key("a"), answered(3, 1), began), News::Same);
    assert!(schedule.readings(&key("a")).is_empty(), "of another Secret");
    let (jobs, _) = schedule.take_due(began);
    assert_eq!(jobs[0].wanted.secret.as_deref(), Some("other"));
    assert_eq!(schedule.finished(&key("a"), answered(3, 2), began), News::Changed);

    schedule.want(&key("a"), wanted("other", &[Probe::Nodes, Probe::Webhooks]), began);
    assert_eq!(schedule.readings(&key("a")).len(), 1, "what is known of it stays");
    assert_eq!(due(&mut schedule, began).0, ["a"], "and the rest is read at once");
    schedule.finished(&key("a"), answered(3, 3), began);
    schedule.want(&key("a"), wanted("other", &[Probe::Webhooks]), began);
    assert!(schedule.readings(&key("a")).is_empty());
}

#[test]
fn what_a_pass_does_not_want_is_forgotten() {
    let (mut schedule, began) = (Schedule::default(), Instant::now());
    let later = began + Duration::from_hours(1);
    let pass = |schedule: &mut Schedule, wants: &[Wanted]| {
        schedule.begin_pass(&key("a"));
        for wanted in wants {
            schedule.want(&key("a"), wanted.clone(), began);
        }
        schedule.end_pass(&key("a"));
    };
    pass(&mut schedule, &[]);
    pass(&mut schedule, &[nodes()]);
    assert_eq!(due(&mut schedule, began).0, ["a"]);
    schedule.finished(&key("a"), answered(3, 1), began);
    schedule.begin_pass(&key("a"));
    assert_eq!(
        schedule.readings(&key("a")).len(),
        1,
        "a pass that fails forgets nothing"
    );
    pass(&mut schedule, &[nodes()]);
    assert_eq!(schedule.readings(&key("a")).len(), 1);
    pass(&mut schedule, &[]);
    assert!(schedule.readings(&key("a")).is_empty());
    assert_eq!(due(&mut schedule, later), (none(), None));
    assert!(schedule.clusters.is_empty());

    pass(&mut schedule, &[nodes()]);
    assert_eq!(due(&mut schedule, began).0, ["a"]);
    pass(&mut schedule, &[]);
    assert_eq!(schedule.finished(&key("a"), answered(3, 1), began), News::Same);
    assert!(schedule.clusters.is_empty(), "forgotten while its round ran");
    assert_eq!(due(&mut schedule, later), (none(), None));

    pass(&mut schedule, &[nodes()]);
    assert_eq!(due(&mut schedule, began).0, ["a"]);
    pass(&mut schedule, &[]);
    pass(&mut schedule, &[nodes()]);
    assert_eq!(
        due(&mut schedule, later).0,
        none(),
        "the round that runs is the only one"
    );
    schedule.finished(&key("a"), answered(3, 1), began);
    assert!(schedule.readings(&key("a")).is_empty());
    assert_eq!(due(&mut schedule, began).0, ["a"]);
}

#[test]
fn what_does_not_answer_is_asked_less_and_less_often() {
    let (mut schedule, mut now) = (Schedule::default(), Instant::now());
    schedule.want(&key("a"), nodes(), now);
    let mut seconds = |schedule: &mut Schedule, finished: Finished| {
        assert_eq!(due(schedule, now).0, ["a"]);
        schedule.finished(&key("a"), finished, now);
        let (_, next) = due(schedule, now);
        let delay = next.unwrap() - now;
        now += delay;
        delay.as_secs()
    };
    let dead = || failed(Answer::None);
    let delays: Vec<u64> = (0..7).map(|_| seconds(&mut schedule, dead())).collect();
    assert_eq!(delays, [30, 60, 120, 240, 300, 300, 300]);
    assert_eq!(seconds(&mut schedule, answered(3, 1)), 30);
    assert_eq!(seconds(&mut schedule, dead()), 30);
    assert_eq!(
        seconds(&mut schedule, failed(Answer::NotAsked)),
        30,
        "a user mends a Secret"
    );
    assert_eq!(seconds(&mut schedule, dead()), 30);
}

#[test]
fn those_that_answer_take_turns_among_themselves() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let mut lane = |finished: Option<Finished>| {
        if let Some(finished) = finished {
            schedule.finished(&key("a"), finished, now);
        }
        schedule.want(&key("a"), nodes(), now);
        let (jobs, _) = schedule.take_due(now + Duration::from_hours(1));
        jobs[0].lane
    };
    assert_eq!(lane(None), Lane::New);
    assert_eq!(lane(Some(failed(Answer::NotAsked))), Lane::New);
    assert_eq!(lane(Some(answered(3, 1))), Lane::Prompt);
    assert_eq!(lane(Some(failed(Answer::NotAsked))), Lane::Prompt);
    let too_long = Answer::After(PROMPT + Duration::from_secs(1));
    assert_eq!(lane(Some(failed(too_long))), Lane::Slow);
    assert_eq!(lane(Some(answered(3, 1))), Lane::Prompt);
    assert_eq!(lane(Some(failed(Answer::None))), Lane::Slow);
}

#[test]
fn a_fleet_is_read_at_one_pace() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    for cluster in 0..10_000 {
        schedule.want(&key(&cluster.to_string()), nodes(), now);
    }
    let (jobs, next) = schedule.take_due(now);
    assert_eq!((jobs.len(), next), (10_000, None));
    schedule.finished(&jobs[0].cluster, answered(3, 1), now);
    assert_eq!(due(&mut schedule, now), (none(), Some(now + Duration::from_secs(150))));
}

/// A gate of a policy that is asked for, as the looks of a pass make it.
fn gate(ready_when: &str) -> WantedGate {
    let gates: Vec<instar_api::Gate> = serde_json::from_value(json!([{
        "name": "cni",
        "when": "BeforeWorkers",
        "observe": { "cluster": "Management", "apiVersion": "v1", "kind": "ConfigMap", "name": "cni" },
        "readyWhen": ready_when,
    }]))
    .unwrap();
    let point = instar_planner::AskedPoint {
        when: instar_api::GatePoint::BeforeWorkers,
        version: "v1.35.2".parse().unwrap(),
        release: None,
    };
    let mut found = instar_addons::look(instar_addons::Asked {
        point: &point,
        cluster: ("n", "a"),
        release: None,
        policies: &[("p", &gates)],
        workloads: &[],
        access: &instar_api::WorkloadAccess::Disabled,
        target: "v1.35",
        history: &instar_planner::GateHistory::default(),
        readings: &GateReadings::new(),
        now: Timestamp::UNIX_EPOCH,
    });
    found.wanted.remove(0)
}

fn gates(gate: &WantedGate) -> Wanted {
    Wanted {
        secret: None,
        probes: BTreeSet::new(),
        settled: BTreeSet::new(),
        deadlines: Deadlines::default(),
        gates: vec![gate.clone()],
        snapshots: Vec::new(),
        images: BTreeSet::new(),
        vcenters: instar_api::VcenterAccess::Any,
    }
}

fn looked(gate: &WantedGate, look: Look, at: i64) -> Finished {
    Finished {
        readings: Readings::new(),
        gates: BTreeMap::from([(gate.id.clone(), look)]),
        snapshots: Vec::new(),
        at: Timestamp::from_second(at).unwrap(),
        answer: Answer::After(Duration::from_secs(1)),
    }
}

#[test]
fn a_gate_is_ready_since_the_first_of_the_looks_that_found_it_so() {
    let (mut schedule, began) = (Schedule::default(), Instant::now());
    let gate = gate("status.ready");
    let mut now = began;
    schedule.want(&key("a"), gates(&gate), now);
    let ready = || Look::Judged(Verdict::Ready);
    let in_progress = || Look::Judged(Verdict::InProgress("not ready".to_owned()));
    let mut since = |look: Look, at: i64| {
        now += EVERY_GATE;
        assert_eq!(due(&mut schedule, now).0, ["a"]);
        let news = schedule.finished(&key("a"), looked(&gate, look, at), now);
        let ready = schedule.gates(&key("a"))[&gate.id].ready;
        (news, ready.map(Timestamp::as_second))
    };
    assert_eq!(since(in_progress(), 1), (News::Changed, None));
    assert_eq!(since(ready(), 2), (News::Changed, Some(2)));
    assert_eq!(since(ready(), 3), (News::Same, Some(2)));
    assert_eq!(since(in_progress(), 4), (News::Changed, None));
    assert_eq!(since(ready(), 5), (News::Changed, Some(5)));
}

#[test]
fn another_gate_of_the_name_begins_anew() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let (first, other) = (gate("status.ready"), gate("status.done"));
    assert_eq!(first.id, other.id);
    schedule.want(&key("a"), gates(&first), now);
    assert_eq!(due(&mut schedule, now).0, ["a"]);
    schedule.finished(&key("a"), looked(&first, Look::Judged(Verdict::Ready), 1), now);
    let later = now + EVERY_GATE;
    schedule.want(&key("a"), gates(&other), later);
    assert!(schedule.gates(&key("a")).is_empty());
    assert_eq!(due(&mut schedule, later).0, ["a"], "it is asked at once");
}

#[test]
fn what_was_set_is_looked_at_soon() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let gate = gate("status.ready");
    schedule.want(&key("a"), gates(&gate), now);
    assert_eq!(due(&mut schedule, now).0, ["a"]);
    let set = Look::Set(Verdict::InProgress("it was set just now".to_owned()));
    schedule.finished(&key("a"), looked(&gate, set, 1), now);
    assert_eq!(due(&mut schedule, now).1, Some(now + AFTER_SET));
}

fn query(cluster: &str, max_age: &str) -> SnapshotQuery {
    let parameters = serde_json::from_value(json!({
        "observe": { "cluster": cluster, "apiVersion": "velero.io/v1", "kind": "Backup", "labelSelector": {} },
        "readyWhen": "status.phase == 'Completed'",
        "timestampExpression": "status.startTimestamp",
        "maxAge": max_age,
    }));
    SnapshotQuery::read(&parameters.unwrap(), "n").unwrap()
}

#[test]
fn what_is_known_of_snapshots_lasts_as_long_as_the_question_and_the_secret() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let asked = |secret: &str, snapshots: &[SnapshotQuery]| Wanted {
        snapshots: snapshots.to_vec(),
        ..wanted(secret, &[])
    };
    let (here, there) = (query("Management", "24h"), query("Workload", "24h"));
    let both = [here.clone(), there.clone()];
    schedule.want(&key("a"), asked("s", &both), now);
    assert_eq!(due(&mut schedule, now).0, ["a"]);
    let looked = |found: Result<SnapshotsSeen, String>| Finished {
        readings: Readings::new(),
        gates: BTreeMap::new(),
        snapshots: both
            .iter()
            .map(|query| SnapshotReading {
                of: query.clone(),
                at: Timestamp::UNIX_EPOCH,
                found: found.clone(),
            })
            .collect(),
        at: Timestamp::UNIX_EPOCH,
        answer: Answer::After(Duration::from_secs(1)),
    };
    assert_eq!(
        schedule.finished(&key("a"), looked(Err("403".to_owned())), now),
        News::Changed
    );
    assert_eq!(schedule.snapshots(&key("a")).len(), 2);
    let (_, next) = due(&mut schedule, now);
    let next = next.unwrap();
    assert_eq!(due(&mut schedule, next).0, ["a"]);
    assert_eq!(
        schedule.finished(&key("a"), looked(Err("403".to_owned())), next),
        News::Same
    );
    let (_, next) = due(&mut schedule, next);
    let next = next.unwrap();
    assert_eq!(due(&mut schedule, next).0, ["a"]);
    let none = looked(Ok(SnapshotsSeen::default()));
    assert_eq!(schedule.finished(&key("a"), none, next), News::Changed);
    let known = |schedule: &Schedule| -> Vec<SnapshotQuery> {
        let known = schedule.snapshots(&key("a")).into_iter();
        known.map(|reading| reading.of).collect()
    };
    // Another Secret may lead to another cluster.
    schedule.want(&key("a"), asked("t", &both), next);
    assert_eq!(known(&schedule), [here]);
    schedule.want(&key("a"), asked("t", &[query("Management", "12h"), there]), next);
    assert_eq!(known(&schedule), []);
}

#[test]
fn what_is_settled_is_read_seldom() {
    let (mut schedule, mut now) = (Schedule::default(), Instant::now());
    let settled = |probes: &[Probe]| Wanted {
        settled: probes.iter().copied().collect(),
        ..wanted("s", &[Probe::Nodes, Probe::ApiRequests])
    };
    // Both are read at first, and what a round reads is found.
    let round = |schedule: &mut Schedule, now: Instant| -> Vec<Probe> {
        let (jobs, _) = schedule.take_due(now);
        let read: Vec<Probe> = jobs.iter().flat_map(|job| job.wanted.probes.iter().copied()).collect();
        let readings = read.iter().map(|probe| {
            let found = Ok(Facts::Nodes(Nodes::none()));
            let at = Timestamp::UNIX_EPOCH;
            (*probe, Arc::new(Reading { at, found }))
        });
        let finished = Finished {
            readings: readings.collect(),
            gates: BTreeMap::new(),
            snapshots: Vec::new(),
            at: Timestamp::UNIX_EPOCH,
            answer: Answer::After(Duration::from_secs(1)),
        };
        schedule.finished(&key("a"), finished, now);
        read
    };
    let both = [Probe::Nodes, Probe::ApiRequests];
    schedule.want(&key("a"), settled(&[]), now);
    assert_eq!(round(&mut schedule, now), both);
    now += EVERY;
    assert_eq!(round(&mut schedule, now), both);
    let began = now;
    // That it is settled is no other question: nothing is read at once.
    schedule.want(&key("a"), settled(&[Probe::ApiRequests]), now);
    assert_eq!(due(&mut schedule, now).0, none());
    now += EVERY;
    while now < began + SELDOM {
        assert_eq!(round(&mut schedule, now), [Probe::Nodes]);
        assert_eq!(schedule.readings(&key("a")).len(), 2);
        now += EVERY;
    }
    assert_eq!(round(&mut schedule, now), both);
    now += EVERY;
    assert_eq!(round(&mut schedule, now), [Probe::Nodes]);
    schedule.want(&key("a"), settled(&[]), now);
    now += EVERY;
    assert_eq!(round(&mut schedule, now), both);
}

#[test]
fn a_first_look_is_awaited_for_a_minute() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    let after = |seconds: u64| start + Duration::from_secs(seconds);
    assert!(!schedule.awaits_first_look(&key("a"), start), "nothing is wanted");
    schedule.want(&key("a"), nodes(), start);
    assert!(schedule.awaits_first_look(&key("a"), after(59)));
    assert!(!schedule.awaits_first_look(&key("a"), after(60)), "that is told");
    due(&mut schedule, start);
    schedule.finished(&key("a"), failed(Answer::None), after(1));
    assert!(
        !schedule.awaits_first_look(&key("a"), after(1)),
        "that it can't be read is known"
    );
}

#[test]
fn what_is_in_a_field_is_known_and_nothing_is_ready_yet() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let gate = gate("status.ready");
    schedule.want(&key("a"), gates(&gate), now);
    assert_eq!(due(&mut schedule, now).0, ["a"]);
    let found = ValueBefore::Value("v1".into());
    let news = schedule.finished(&key("a"), looked(&gate, Look::Found(found.clone()), 1), now);
    assert_eq!(news, News::Changed);
    let reading = &schedule.gates(&key("a"))[&gate.id];
    assert_eq!((reading.before.as_ref(), reading.ready), (Some(&found), None));
}
