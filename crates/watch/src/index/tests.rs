use super::*;

/// Groups by name; the word `!` is a complaint.
#[derive(Clone, Debug)]
struct Groups(Vec<&'static str>);

impl Entry for Groups {
    type Group = String;

    fn groups(&self, _: &Key) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    fn groups_of_unreadable(_: &Key, unreadable: &Unreadable) -> Vec<String> {
        unreadable.cluster.iter().cloned().collect()
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
        read: Err(Box::new(Unreadable {
            cluster: Some("u".to_owned()),
            error: why.to_owned(),
            ..Unreadable::default()
        })),
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
            Applied::Complaint(Complaint { key, text, .. }) => Some(format!("{key}: {text}")),
            Applied::Quietly | Applied::Relisted(_) => None,
        })
        .collect()
}

fn names(index: &Index<Groups>) -> Vec<String> {
    let mut names: Vec<String> = index.entries().map(|(key, _)| key.to_string()).collect();
    names.sort();
    names
}

fn group(index: &Index<Groups>, group: &str) -> Vec<String> {
    index.group(&group.to_owned()).map(|(key, _)| key.to_string()).collect()
}

fn unreadable(index: &Index<Groups>, group: &str) -> Vec<String> {
    index
        .unreadable_in(&group.to_owned())
        .map(|(key, unreadable)| format!("{key}: {}", unreadable.error))
        .collect()
}

#[test]
fn a_list_that_is_given_up_is_dropped() {
    let mut index = fed([
        Event::Init,
        Event::InitApply(row("a", &[])),
        Event::InitDone,
        Event::Init,
    ]);
    feed(&mut index, [Event::InitApply(row("half", &[]))]);
    assert!(index.abandon_list().is_some());
    assert!(index.abandon_list().is_none());
    assert_eq!(names(&index), ["ns/a"]);
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
    assert_eq!(
        unreadable(&index, "u"),
        ["ns/a: is worse"],
        "it is known that it is there"
    );
    assert_eq!(index.unreadable_len(), 1);
    let said = feed(
        &mut index,
        [Event::Apply(row("a", &["x"])), Event::Apply(garbled("a", "is bad"))],
    );
    assert_eq!(said, ["ns/a: is bad"]);
    feed(&mut index, [Event::Delete(row("a", &[]))]);
    assert!(index.is_empty() && unreadable(&index, "u").is_empty());
    assert_eq!(index.unreadable_len(), 0);
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

/// One that is kept by what it says.
#[derive(Debug, PartialEq)]
struct Text(&'static str);

impl Entry for Text {
    type Group = &'static str;

    fn groups(&self, _: &Key) -> Vec<&'static str> {
        vec![self.0]
    }

    fn groups_of_unreadable(_: &Key, _: &Unreadable) -> Vec<&'static str> {
        Vec::new()
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn heap_bytes(&self) -> usize {
        self.0.len()
    }
}

fn text(name: &str, text: &'static str) -> Row<Text> {
    Row {
        key: Key::new("ns", name),
        read: Ok(Text(text)),
    }
}

fn listed(index: &mut Index<Text>, rows: impl IntoIterator<Item = Row<Text>>) -> Relisted<Text> {
    let _ = index.apply(Event::Init);
    for row in rows {
        let _ = index.apply(Event::InitApply(row));
    }
    match index.apply(Event::InitDone) {
        Applied::Relisted(relisted) => relisted,
        applied => panic!("{applied:?}"),
    }
}

#[test]
fn what_is_listed_as_it_was_is_held_once() {
    let mut index = Index::default();
    let mut first = listed(&mut index, [text("a", "same"), text("b", "old"), text("c", "gone")]).groups;
    first.sort_unstable();
    assert_eq!(first, ["gone", "old", "same"]);
    let name = |index: &Index<Text>| {
        index
            .entries()
            .find(|(key, _)| key.name() == "a")
            .map(|(key, _)| key.as_str().as_ptr())
    };
    let before = name(&index);

    let relisted = listed(&mut index, [text("a", "same"), text("b", "new"), text("d", "came")]);
    let sorted = |mut groups: Vec<&'static str>| {
        groups.sort_unstable();
        groups
    };
    assert_eq!(sorted(relisted.before.groups().copied().collect()), ["gone", "old"]);
    assert_eq!(sorted(relisted.groups), ["came", "new"]);
    assert_eq!(name(&index), before, "the row before stays where it was");
    let mut rows: Vec<_> = index
        .entries()
        .map(|(key, text)| (key.name().to_owned(), text.0))
        .collect();
    rows.sort();
    let expected = [("a", "same"), ("b", "new"), ("d", "came")].map(|(name, text)| (name.to_owned(), text));
    assert_eq!(rows, expected);
    for (group, name) in [
        ("same", Some("a")),
        ("new", Some("b")),
        ("came", Some("d")),
        ("old", None),
        ("gone", None),
    ] {
        let found = index.group(&group).map(|(key, _)| key.name()).next();
        assert_eq!(found, name, "{group}");
    }
}

#[test]
fn an_object_that_is_listed_twice_is_as_it_was_listed_last() {
    for (first, last) in [("same", "new"), ("new", "same")] {
        let mut index = Index::default();
        drop(listed(&mut index, [text("a", "same"), text("b", "same")]));
        drop(listed(
            &mut index,
            [text("a", first), text("a", last), text("b", "same")],
        ));
        assert_eq!(index.get(&Key::new("ns", "a")), Some(&Text(last)));
        assert_eq!(index.len(), 2);
    }
}

#[test]
fn an_empty_list_leaves_nothing() {
    let mut index = Index::default();
    drop(listed(&mut index, [text("a", "x")]));
    assert_eq!(
        listed(&mut index, []).before.groups().copied().collect::<Vec<_>>(),
        ["x"]
    );
    assert!(index.is_empty());
    assert_eq!(index.groups().count(), 0);
}

#[test]
fn bytes_grow_and_shrink_with_what_is_kept() {
    let mut index = Index::default();
    drop(listed(&mut index, [text("a", "x"), text("b", "y")]));
    let before = index.bytes();
    let _ = index.apply(Event::Apply(text("a", "longer")));
    assert_eq!(index.bytes(), before + "longer".len() - "x".len());
    let _ = index.apply(Event::Delete(text("a", "longer")));
    let gone = "ns/a".len() + size_of::<Key>() + "x".len();
    assert_eq!(index.bytes(), before - gone);
}
