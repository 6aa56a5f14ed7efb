//! What comes of an object that is kept and tells nobody anything.

use std::sync::Mutex;

use kube::runtime::watcher::Event;

use super::*;

/// Its size, in one group with all others.
#[derive(Debug)]
struct Grouped(u32);

impl Entry for Grouped {
    type Group = &'static str;

    fn groups(&self, _: &Key) -> Vec<&'static str> {
        vec!["all"]
    }

    fn groups_of_unreadable(_: &Key, _: &Unreadable) -> Vec<&'static str> {
        vec!["all"]
    }
}

impl Kept for Grouped {
    type Object = Guarded<Thing>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |thing| Self(thing.spec.size))
    }
}

/// Only another number of tens is news.
#[derive(Default)]
struct Tens(Mutex<Vec<usize>>);

impl Hooks<Grouped> for Arc<Tens> {
    fn wants_groups(&self) -> bool {
        true
    }

    fn is_news(&self, before: &Grouped, now: &Grouped) -> bool {
        before.0 / 10 != now.0 / 10
    }

    fn changed(&self, groups: &[&'static str]) {
        self.0.lock().unwrap().push(groups.len());
    }
}

#[test]
fn what_is_no_news_is_kept_and_changes_no_group() {
    let (cache, tens) = (Arc::<Cache<Grouped>>::default(), Arc::<Tens>::default());
    let mut sink = KeptSink {
        cache: Arc::clone(&cache),
        kind: "things".to_owned(),
        hooks: Arc::clone(&tens),
    };
    let object = |size: &Value| serde_json::from_value::<Guarded<Thing>>(thing("a", size)).unwrap();
    for (size, groups) in [
        (json!(11), 1),
        (json!(12), 0),
        (json!(20), 1),
        (json!("none"), 1),
        (json!(21), 1),
    ] {
        sink.apply(Event::Apply(object(&size)));
        assert_eq!(tens.0.lock().unwrap().pop(), Some(groups), "{size}");
        let kept = cache.look_up(&Key::new("ns", "a"), |grouped| json!(grouped.0));
        if size.is_number() {
            assert_eq!(kept, Lookup::Present(size));
        }
    }
    sink.apply(Event::Delete(object(&json!(21))));
    assert_eq!(tens.0.lock().unwrap().pop(), Some(1));
}
