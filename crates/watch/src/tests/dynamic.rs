//! Kinds that are watched while something refers to them.

use kube::core::DynamicObject;

use super::*;

/// The JSON of a thing's size.
#[derive(Debug)]
struct Any(Value);

impl Entry for Any {
    type Group = String;

    fn groups(&self, key: &Key) -> Vec<String> {
        vec![key.namespace().to_owned()]
    }

    fn groups_of_unreadable(key: &Key, _: &Unreadable) -> Vec<String> {
        vec![key.namespace().to_owned()]
    }
}

impl Kept for Any {
    type Object = DynamicObject;

    fn keep(object: Self::Object) -> Row<Self> {
        Row {
            key: Key::of(&object),
            read: Ok(Self(object.data["spec"]["size"].clone())),
        }
    }
}

const KIND: &str = "example.org Thing";
/// Longer than a kind stays watched that nothing refers to.
const AFTER_THE_GRACE: Duration = Duration::from_mins(12);

struct Dynamic {
    watches: Arc<DynamicWatches<Any>>,
    readiness: Readiness,
    metrics: Metrics,
    changed: Arc<Mutex<Vec<String>>>,
}

impl Dynamic {
    fn of(server: &Server) -> Self {
        let (readiness, metrics) = (Readiness::default(), Metrics::default());
        let watches = Arc::new(DynamicWatches::new("templates"));
        watches.await_in(&FirstAnswers::new(&readiness, "templates", vec!["clusters"]));
        let changed = Arc::<Mutex<Vec<String>>>::default();
        let hears = Arc::clone(&changed);
        watches.on_change(move |groups| hears.lock().unwrap().extend_from_slice(groups));
        let watch_metrics = WatchMetrics::register(&metrics, ["templates"]);
        tokio::spawn(Arc::clone(&watches).run(server.client(), watch_metrics, config()));
        Self {
            watches,
            readiness,
            metrics,
            changed,
        }
    }

    fn get(&self, name: &str) -> Lookup<Value> {
        self.watches
            .look_up(KIND, &Key::new("ns", name), |thing| thing.0.clone())
    }

    fn cached(&self) -> bool {
        let page = self.metrics.encode().unwrap();
        page.contains("instar_cached_objects{kind=\"templates\"} 1\n")
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_watched_while_something_refers_to_it() {
    let server = Server::with(|answers| answers.things = vec![thing("a", &json!("large"))]);
    let dynamic = Dynamic::of(&server);
    assert_eq!(dynamic.get("a"), Lookup::Unwatched);
    let first = dynamic.watches.lease(KIND).unwrap();
    assert_eq!(dynamic.get("a"), Lookup::Pending);
    assert_eq!(dynamic.readiness.awaited(), ["templates"]);
    let there = Lookup::Present(json!("large"));
    until("it is listed", || dynamic.get("a") == there).await;
    assert!(dynamic.readiness.awaited().is_empty());
    until("it is counted", || dynamic.cached()).await;
    assert!(dynamic.changed.lock().unwrap().contains(&"ns".to_owned()));

    let second = dynamic.watches.lease(KIND).unwrap();
    drop(first);
    sleep(AFTER_THE_GRACE).await;
    assert_eq!(dynamic.get("a"), there, "the second one refers to it");
    drop(second);
    sleep(Duration::from_mins(5)).await;
    let third = dynamic.watches.lease(KIND).unwrap();
    sleep(AFTER_THE_GRACE).await;
    assert_eq!(dynamic.get("a"), there, "it was referred to again in time");
    assert_eq!(server.now().lists.len(), 1);

    drop(third.clone());
    sleep(AFTER_THE_GRACE).await;
    assert_eq!(dynamic.get("a"), there);
    drop(third);
    sleep(AFTER_THE_GRACE).await;
    assert_eq!(dynamic.get("a"), Lookup::Unwatched);
    assert!(dynamic.watches.kinds().is_empty());
    until("it isn't counted", || !dynamic.cached()).await;
    let watches = server.now().watches.len();
    sleep(Duration::from_mins(10)).await;
    assert_eq!(server.now().watches.len(), watches, "it isn't watched any more");

    let _fourth = dynamic.watches.lease(KIND).unwrap();
    until("it is listed again", || dynamic.get("a") == there).await;
    assert_eq!(server.now().lists.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_said_and_tried_again() {
    let server = Server::with(|answers| answers.lists_fail = Some(403));
    let dynamic = Dynamic::of(&server);
    let _lease = dynamic.watches.lease(KIND).unwrap();
    let forbidden = Lookup::Unavailable(Unavailable::Forbidden {
        verb: "list",
        resource: "things".to_owned(),
    });
    until("it is forbidden", || dynamic.get("a") == forbidden).await;
    until("nothing waits for a right", || dynamic.readiness.awaited().is_empty()).await;
    sleep(Duration::from_mins(10)).await;
    let tries = server.now().lists.len();
    assert!((15..80).contains(&tries), "{tries} lists in ten minutes");
    server.now().lists_fail = None;
    until("it is listed", || dynamic.get("a") == Lookup::Absent).await;

    server.now().serves_the_kind = false;
    let unknown = Lookup::Unavailable(Unavailable::NotServed);
    until("its definition is gone", || dynamic.get("a") == unknown).await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_is_seen_before_it_is_kept() {
    let server = Server::with(|answers| answers.things = vec![thing("a", &json!("large"))]);
    let dynamic = Dynamic::of(&server);
    dynamic.watches.on_arrival(|row| {
        if let Ok(Any(size)) = &mut row.read {
            *size = json!([size.clone(), "seen"]);
        }
    });
    let _lease = dynamic.watches.lease(KIND).unwrap();
    let seen = Lookup::Present(json!(["large", "seen"]));
    until("it is listed", || dynamic.get("a") == seen).await;
    let tables = dynamic.watches.caches();
    let lengths: Vec<_> = tables
        .iter()
        .map(|(kind, cache)| (kind.as_str(), cache.read().len()))
        .collect();
    assert_eq!(lengths, [(KIND, 1)]);
}

#[test]
fn made_up_kinds_come_to_an_end() {
    let watches = DynamicWatches::<Any>::new("templates");
    let leases: Vec<_> = (0..128)
        .filter_map(|nth| watches.lease(&format!("example.org X{nth}")))
        .collect();
    assert_eq!((leases.len(), watches.kinds().len()), (64, 64));
}
