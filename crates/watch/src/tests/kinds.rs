//! One kind that is known from the start.

use super::*;

const INSTALL: Presence = Presence::Required("install it first");

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_decoded_stops_nothing_else() {
    let server = Server::with(|answers| {
        answers.things = vec![thing("good", &json!(1)), thing("bad", &json!(5_000_000_000_u64))];
    });
    let watched = Fixture::of(INSTALL, &server);
    let unreadable = |text: &str| Lookup::Unreadable(text.to_owned());
    let too_large = unreadable("spec.size: invalid value: integer `5000000000`, expected u32");
    until("the list is in", || watched.get("bad") == too_large).await;
    assert_eq!(watched.get("good"), Lookup::Present(1));
    assert!(watched.readiness.awaited().is_empty());
    let of_cluster = |cache: &Cache<Size>| cache.read().unreadable_in(&"c".to_owned()).count();
    assert_eq!(of_cluster(&watched.cache), 1);
    until("it is counted", || watched.metric("watch_unreadable_objects") == "1").await;
    assert_eq!(watched.metric("cached_objects"), "2");

    let say = |kind: &str, object: Value| server.now().events.push_back(json!({"type": kind, "object": object}));
    say("MODIFIED", thing("good", &json!("large")));
    let no_number = unreadable("spec.size: invalid type: string \"large\", expected u32");
    until("it turns so", || watched.get("good") == no_number).await;
    say("MODIFIED", thing("bad", &json!(2)));
    until("it is mended", || watched.get("bad") == Lookup::Present(2)).await;
    say("DELETED", thing("good", &json!("large")));
    until("it is deleted", || watched.get("good") == Lookup::Absent).await;
    until("none is left", || watched.metric("watch_unreadable_objects") == "0").await;
    assert_eq!(of_cluster(&watched.cache), 0);
    assert_eq!(server.now().lists.len(), 1);
}

/// `serde_json` reads 128 levels.
#[tokio::test(start_paused = true)]
async fn an_object_that_is_too_deep_stops_nothing_else() {
    let deep = (0..200).fold(json!(1), |inner, _| json!({"f:a": inner}));
    let written = |name: &str| {
        let mut object = thing(name, &json!(1));
        object["metadata"]["managedFields"] = json!([{"manager": "m", "operation": "Apply", "fieldsV1": deep.clone()}]);
        object
    };
    let owner = json!({"apiVersion": "example.org/v1", "kind": "Thing", "name": "owner", "uid": "u"});
    let too_deep = |name: &str| {
        let mut object = written(name);
        object["metadata"]["ownerReferences"] = json!([owner]);
        object["spec"]["any"] = deep.clone();
        object
    };
    let server = Server::with(|answers| {
        answers.things = vec![too_deep("listed-spec"), written("listed"), thing("good", &json!(1))];
    });
    let watched = Fixture::of(INSTALL, &server);
    let assert_unreadable = |name: &str| {
        let index = watched.cache.read();
        let unreadable = index.unreadable(&Key::new("ns", name)).unwrap();
        assert!(unreadable.error.starts_with("spec.any.f:a."), "{}", unreadable.error);
        assert!(
            unreadable.error.ends_with(": recursion limit exceeded"),
            "{}",
            unreadable.error
        );
        assert_eq!(unreadable.cluster.as_deref(), Some("c"));
        let metadata = &unreadable.metadata;
        assert_eq!(metadata.name.as_deref(), Some(name));
        assert_eq!(json!(metadata.labels), json!({"cluster.x-k8s.io/cluster-name": "c"}));
        assert_eq!(json!(metadata.owner_references), json!([owner]));
    };
    until("the list is in", || watched.get("good") == Lookup::Present(1)).await;
    assert_eq!(watched.get("listed"), Lookup::Present(1));
    assert_unreadable("listed-spec");

    for object in [too_deep("event-spec"), written("event"), thing("good", &json!(2))] {
        let event = json!({"type": "MODIFIED", "object": object});
        server.now().events.push_back(event);
    }
    until("the events are in", || watched.get("good") == Lookup::Present(2)).await;
    assert_eq!(watched.get("event"), Lookup::Present(1));
    assert_unreadable("event-spec");
    assert_eq!(server.now().lists.len(), 1);
    assert_eq!(watched.metric("watch_errors_total"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_list_with_an_object_that_has_no_name_is_no_list() {
    let nameless = json!({"metadata": {}, "spec": 1});
    let server = Server::with(|answers| answers.things = vec![thing("good", &json!(1)), nameless.clone()]);
    let watched = Fixture::of(INSTALL, &server);
    until("it is tried", || watched.metric("watch_errors_total") != "0").await;
    assert!(!watched.readiness.awaited().is_empty());
    assert_ne!(watched.get("good"), Lookup::Present(1));
    sleep(Duration::from_mins(10)).await;
    let tries = server.now().lists.len();
    assert!((5..80).contains(&tries), "{tries} lists in ten minutes");

    server.now().things.pop();
    until("it is listed", || watched.get("good") == Lookup::Present(1)).await;
    // And what comes later changes nothing that was listed.
    server
        .now()
        .events
        .push_back(json!({"type": "ADDED", "object": {"metadata": {"resourceVersion": "9"}, "spec": 1}}));
    let errors = watched.metric("watch_errors_total");
    until("it fails", || watched.metric("watch_errors_total") != errors).await;
    assert_eq!(watched.get("good"), Lookup::Present(1));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_empty_until_it_comes() {
    let server = Server::with(|answers| {
        answers.serves_the_kind = false;
        answers.things = vec![thing("a", &json!(1))];
    });
    let watched = Fixture::of(Presence::Optional, &server);
    until("nothing waits for it", || watched.readiness.awaited().is_empty()).await;
    assert_eq!(watched.cache.state(), WatchState::NotServed);
    assert_eq!(watched.get("a"), Lookup::Absent);
    assert_eq!(watched.metric("watch_errors_total"), "0");
    sleep(Duration::from_hours(1)).await;
    assert_eq!(watched.metric("watch_stale"), "0", "it is as it should be");

    server.now().serves_the_kind = true;
    let came = Instant::now();
    until("it is found", || watched.get("a") == Lookup::Present(1)).await;
    assert!(came.elapsed() <= Duration::from_mins(1), "{:?}", came.elapsed());

    // Its definition is deleted.
    server.now().serves_the_kind = false;
    until("it is gone", || watched.cache.state() == WatchState::NotServed).await;
    assert_eq!(watched.get("a"), Lookup::Absent);
    until("its objects too", || watched.metric("cached_objects") == "0").await;
}

#[tokio::test(start_paused = true)]
async fn only_discovery_makes_a_kind_empty() {
    for (lists_fail, discovery_fails) in [
        (403, None),
        (404, None),
        (404, Some(403)),
        (404, Some(503)),
        (429, None),
        (500, None),
        (503, None),
    ] {
        let server = Server::with(|answers| {
            answers.lists_fail = Some(lists_fail);
            answers.discovery_fails = discovery_fails;
        });
        let watched = Fixture::of(Presence::Optional, &server);
        until("it fails", || watched.metric("watch_errors_total") != "0").await;
        let unavailable = |state: WatchState| matches!(state, WatchState::Unavailable(_));
        assert!(unavailable(watched.cache.state()), "{lists_fail} {discovery_fails:?}");
        assert!(matches!(watched.get("a"), Lookup::Unavailable(_)));
        sleep(Duration::from_mins(3)).await;
        assert_eq!(
            watched.readiness.awaited(),
            ["things"],
            "{lists_fail} {discovery_fails:?}"
        );

        server.now().lists_fail = None;
        server.now().discovery_fails = None;
        until("it is listed", || watched.get("a") == Lookup::Absent).await;
        until("it is ready", || watched.readiness.awaited().is_empty()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_must_exist_is_waited_for() {
    let server = Server::with(|answers| answers.serves_the_kind = false);
    let watched = Fixture::of(INSTALL, &server);
    until("it fails", || watched.metric("watch_errors_total") != "0").await;
    sleep(Duration::from_mins(2)).await;
    assert_eq!(watched.readiness.awaited(), ["things"]);
    assert_eq!(watched.cache.state(), WatchState::Unavailable(Unavailable::NotServed));
    sleep(STALE_AFTER).await;
    let lines = watched.readiness.lines();
    assert!(
        lines[0].ends_with("the API server doesn't know the kind: install it first"),
        "{lines:?}"
    );
    server.now().serves_the_kind = true;
    until("it is ready", || watched.readiness.awaited().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn the_back_off_grows_until_a_list_is_complete() {
    let server = Server::with(|answers| {
        answers.things = vec![thing("a", &json!(1))];
        answers.next_pages_fail = Some(500);
    });
    let watched = Fixture::of(INSTALL, &server);
    sleep(Duration::from_mins(10)).await;
    let tries = server.now().lists.len() / 2;
    // Two pages each: every half minute to a minute in the end, and not every second.
    assert!((12..40).contains(&tries), "{tries} tries in ten minutes");
    assert_eq!(
        watched.get("a"),
        Lookup::Unavailable(Unavailable::Failing),
        "the list isn't complete"
    );
    server.now().next_pages_fail = None;
    until("it is listed", || watched.get("a") == Lookup::Present(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_asks_for_time_gets_it() {
    let server = Server::with(|answers| {
        answers.lists_fail = Some(429);
        answers.retry_after = 20;
    });
    let _watched = Fixture::of(INSTALL, &server);
    until("it tries again", || server.now().lists.len() == 4).await;
    for pair in server.now().lists.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_secs(20), "{:?}", pair[1] - pair[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_without_its_watch_says_so() {
    let server = Server::with(|answers| answers.things = vec![thing("a", &json!(1))]);
    let watched = Fixture::of(INSTALL, &server);
    until("it is ready", || watched.readiness.awaited().is_empty()).await;
    sleep(Duration::from_hours(1)).await;
    assert!(watched.readiness.awaited().is_empty(), "silence is no failure");

    server.now().watches_fail = Some(503);
    sleep(Duration::from_mins(4)).await;
    assert!(watched.readiness.awaited().is_empty(), "it may pass");
    assert_eq!(watched.metric("watch_stale"), "0");
    sleep(Duration::from_mins(3)).await;
    assert_eq!(watched.metric("watch_stale"), "1");
    let lines = watched.readiness.lines();
    assert!(lines[0].starts_with("things: without its watch for 3"), "{lines:?}");
    assert!(lines[0].ends_with("no (HTTP 503)"), "{lines:?}");
    assert_eq!(watched.get("a"), Lookup::Present(1), "what is known stays");

    server.now().watches_fail = None;
    let mended = Instant::now();
    until("it is ready again", || watched.readiness.awaited().is_empty()).await;
    assert!(mended.elapsed() <= Duration::from_mins(3), "{:?}", mended.elapsed());
    assert_eq!(watched.metric("watch_stale"), "0");
    assert_eq!(server.now().lists.len(), 1, "it goes on from where it was");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_lists_again() {
    let expired = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "too old", "reason": "Expired", "code": 410,
    }});
    let server = Server::with(|answers| answers.events = [expired].into());
    let watched = Fixture::of(INSTALL, &server);
    until("it lists again", || server.now().lists.len() == 2).await;
    let lists = server.now().lists.clone();
    assert!(
        lists[1] - lists[0] < Duration::from_secs(2),
        "{:?}",
        lists[1] - lists[0]
    );
    assert_eq!(watched.metric("watch_errors_total"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_silent_is_taken_up_again_within_a_minute() {
    let server = Server::with(|_| ());
    let _watched = Fixture::of(INSTALL, &server);
    sleep(Duration::from_mins(5)).await;
    let asked = server.now().watches.clone();
    assert!(asked.len() >= 5, "{asked:?}");
    for pair in asked.windows(2) {
        let silence = pair[1].0 - pair[0].0;
        assert!(silence <= Duration::from_mins(1), "{silence:?}");
        // The API server is asked to end it sooner, and it goes on from where it was.
        assert!(pair[1].1.contains("timeoutSeconds=50"), "{}", pair[1].1);
        assert!(pair[1].1.contains("resourceVersion=7"), "{}", pair[1].1);
    }
    assert_eq!(server.now().lists.len(), 1);
}
