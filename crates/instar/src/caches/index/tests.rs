use super::*;

/// Groups by name; the word `!` is a complaint.
#[derive(Clone, Debug)]
struct Groups(Vec<&'static str>);

impl Entry for Groups {
    fn groups(&self, _: &Key) -> Vec<Group> {
        self.0.iter().map(|name| Group::Release((*name).into())).collect()
    }

    fn complaint(&self) -> Option<&str> {
        self.0.contains(&"!").then_some("is odd")
    }
}

fn row(name: &str, groups: &[&'static str]) -> Row<Groups> {
    Row {
        key: Key::new("ns", name),
        read: Ok(Groups(groups.to_vec())),
    }
}

fn garbled(name: &str, why: &str) -> Row<Groups> {
    Row {
        key: Key::new("ns", name),
        read: Err(why.to_owned()),
    }
}

fn fed(events: impl IntoIterator<Item = Event<Row<Groups>>>) -> Index<Groups> {
    let mut index = Index::default();
    feed(&mut index, events);
    index
}

fn feed(index: &mut Index<Groups>, events: impl IntoIterator<Item = Event<Row<Groups>>>) -> Vec<String> {
    events
        .into_iter()
        .filter_map(|event| match index.apply(event) {
            News::Wrong(key, why) => Some(format!("{key}: {why}")),
            News::Nothing | News::Listed(_) => None,
        })
        .collect()
}

fn names(index: &Index<Groups>) -> Vec<String> {
    let mut names: Vec<String> = index.entries().map(|(key, _)| key.to_string()).collect();
    names.sort();
    names
}

fn group(index: &Index<Groups>, group: &str) -> Vec<String> {
    index
        .group(&Group::Release(group.into()))
        .map(|(key, _)| key.to_string())
        .collect()
}

#[test]
fn a_list_counts_when_it_is_complete() {
    let mut index = fed([Event::Init, Event::InitApply(row("a", &["x"]))]);
    assert!(names(&index).is_empty());
    feed(&mut index, [Event::InitApply(row("b", &["x"])), Event::InitDone]);
    assert_eq!(names(&index), ["ns/a", "ns/b"]);
    assert_eq!(group(&index, "x"), ["ns/a", "ns/b"]);
}

#[test]
fn what_is_gone_is_dropped_at_the_end_of_a_list_only() {
    let mut index = fed([
        Event::Init,
        Event::InitApply(row("gone", &["x"])),
        Event::InitApply(row("stays", &["x"])),
        Event::InitDone,
    ]);
    feed(&mut index, [Event::Init, Event::InitApply(row("stays", &["y"]))]);
    assert_eq!(group(&index, "x"), ["ns/gone", "ns/stays"]);
    feed(&mut index, [Event::InitDone]);
    assert_eq!(names(&index), ["ns/stays"]);
    assert!(group(&index, "x").is_empty());
    assert_eq!(group(&index, "y"), ["ns/stays"]);
}

#[test]
fn a_list_that_breaks_off_changes_nothing() {
    let mut index = fed([
        Event::Init,
        Event::InitApply(row("a", &[])),
        Event::InitDone,
        Event::Init,
        Event::InitApply(row("half", &[])),
        // An error came here, and the list starts again.
        Event::Init,
        Event::InitApply(row("b", &[])),
    ]);
    assert_eq!(names(&index), ["ns/a"]);
    feed(&mut index, [Event::InitDone]);
    assert_eq!(names(&index), ["ns/b"]);
}

#[test]
fn changes_move_an_object_between_groups() {
    let mut index = fed([Event::Init, Event::InitDone, Event::Apply(row("a", &["x", "y"]))]);
    feed(&mut index, [Event::Apply(row("a", &["y", "z"]))]);
    assert!(group(&index, "x").is_empty());
    assert_eq!(group(&index, "y"), ["ns/a"]);
    assert_eq!(group(&index, "z"), ["ns/a"]);
    feed(
        &mut index,
        [Event::Delete(row("a", &[])), Event::Delete(row("never", &[]))],
    );
    assert_eq!(index.len(), 0);
    assert!(index.live.groups.is_empty());
}

#[test]
fn what_cannot_be_read_is_said_once_and_answers_nothing() {
    let mut index = fed([Event::Init, Event::InitApply(row("a", &["x"])), Event::InitDone]);
    let said = feed(
        &mut index,
        [
            Event::Apply(garbled("a", "is bad")),
            Event::Apply(garbled("a", "is bad")),
            Event::Init,
            Event::InitApply(garbled("a", "is bad")),
            Event::InitDone,
            Event::Apply(garbled("a", "is worse")),
        ],
    );
    assert_eq!(said, ["ns/a: is bad", "ns/a: is worse"]);
    assert!(index.get(&Key::new("ns", "a")).is_none());
    assert!(group(&index, "x").is_empty());
    assert_eq!(index.len(), 1);
    let said = feed(
        &mut index,
        [Event::Apply(row("a", &["x"])), Event::Apply(garbled("a", "is bad"))],
    );
    assert_eq!(said, ["ns/a: is bad"]);
}

#[test]
fn keys_read_as_kubernetes_writes_them() {
    assert_eq!(Key::new("ns", "a").as_str(), "ns/a");
    assert_eq!(Key::new("", "a").as_str(), "a");
}

#[test]
fn what_is_odd_is_said_once_and_answers_all_the_same() {
    let mut index = fed([]);
    let odd = || row("a", &["x", "!"]);
    let said = feed(&mut index, [Event::Apply(odd()), Event::Apply(odd())]);
    assert_eq!(said, ["ns/a: is odd"]);
    assert_eq!(group(&index, "x"), ["ns/a"]);
}

#[test]
fn groups_are_sorted_whatever_comes_first() {
    let index = fed(["c", "a", "d", "b"].map(|name| Event::Apply(row(name, &["x"]))));
    assert_eq!(group(&index, "x"), ["ns/a", "ns/b", "ns/c", "ns/d"]);
}

#[test]
fn keys_fall_into_namespace_and_name() {
    let parts = |key: &Key| (key.namespace().to_owned(), key.name().to_owned());
    assert_eq!(parts(&Key::new("ns", "a")), ("ns".to_owned(), "a".to_owned()));
    assert_eq!(parts(&Key::new("", "a")), (String::new(), "a".to_owned()));
}

#[test]
fn a_templates_id_names_its_kind() {
    let key = TemplateKey {
        group: "infrastructure.cluster.x-k8s.io",
        kind: "DevMachineTemplate",
        namespace: "ns",
        name: "t",
    };
    assert_eq!(TemplateId::of(&key).kind_key(), kind_key(key.group, key.kind));
    assert_ne!(TemplateId::of(&key), TemplateId::of(&TemplateKey { name: "u", ..key }));
}
