//! What must hold for the markup, whatever the objects say.

use std::sync::LazyLock;

use instar_report::{ClusterObjects, Invocation, Report, html, text::FleetRow};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use crate::{cluster, folders, now, objects, report};

/// Elements that have no end.
const VOID: [&str; 5] = ["!DOCTYPE", "meta", "link", "br", "wbr"];

/// An element as it stands in the text: its name, and its attributes without their values.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn shape(&self) -> (String, Vec<String>) {
        let names = self.attributes.iter().map(|(name, _)| name.clone());
        (self.name.clone(), names.collect())
    }
}

/// All tags in their order. Values stand between double quotes, as we write them; of styles and data only the ends are read.
fn tags(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest
            .find(|character: char| character.is_whitespace() || character == '>')
            .unwrap();
        let name = rest[..end].to_owned();
        rest = rest[end..].trim_start();
        let mut attributes = Vec::new();
        while !rest.starts_with('>') {
            let end = rest.find(['=', ' ', '>']).unwrap();
            let attribute = rest[..end].to_owned();
            rest = &rest[end..];
            let mut value = String::new();
            if let Some(quoted) = rest.strip_prefix("=\"") {
                let end = quoted.find('"').unwrap();
                quoted[..end].clone_into(&mut value);
                rest = &quoted[end + 1..];
            }
            attributes.push((attribute, value));
            rest = rest.trim_start();
        }
        rest = &rest[1..];
        if ["style", "script"].contains(&name.as_str()) {
            rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
        }
        tags.push(Tag { name, attributes });
    }
    tags
}

/// Each element that begins ends, the last that began first.
fn assert_balanced(tags: &[Tag], of: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in tags {
        match tag.name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{of}: {open:?}"),
            None if VOID.contains(&tag.name.as_str()) => {}
            None => open.push(&tag.name),
        }
    }
    assert!(open.is_empty(), "{of}: {open:?}");
}

#[test]
fn a_file_is_whole_and_asks_for_nothing() {
    for folder in folders() {
        let objects = objects(&folder);
        let html = html::export(&report(&objects), now(&objects)).unwrap();
        let name = folder.display().to_string();
        let tags = tags(&html);
        assert_balanced(&tags, &name);
        for tag in &tags {
            let mut names: Vec<&str> = tag.attributes.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(
                names.len(),
                tag.attributes.len(),
                "{name}: an attribute stands twice: {tag:?}"
            );
        }
        for (attribute, value) in tags.iter().flat_map(|tag| &tag.attributes) {
            let leads_away = ["src", "srcset", "href", "action", "data", "poster", "background"];
            assert!(!leads_away.contains(&attribute.as_str()), "{name}: {attribute}={value}");
            assert!(
                !attribute.starts_with("on") && attribute != "style",
                "{name}: {attribute}={value}"
            );
        }
        let mut ids: Vec<&str> = tags
            .iter()
            .flat_map(|tag| &tag.attributes)
            .filter(|(name, _)| name == "id")
            .map(|(_, id)| id.as_str())
            .collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "{name}: an id stands twice: {ids:?}");
        assert!(!html::STYLE.contains("url(") && !html::STYLE.contains("@import"));
        // A script of its own would have run here.
        assert!(
            tags.iter().all(|tag| tag.name != "script"
                || tag
                    .attributes
                    .contains(&("type".to_owned(), "application/json".to_owned()))),
            "{name}"
        );
        let data = html
            .split_once("<script id=\"report\" type=\"application/json\">")
            .unwrap()
            .1;
        let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
        assert_eq!(data, serde_json::to_value(report(&objects)).unwrap(), "{name}");
    }
}

/// Every text of every object, but for what the types take as one of a few words.
fn with_texts(value: &Value, text: &str, path: &str) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), with_texts(value, text, key)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(|item| with_texts(item, text, path)).collect()),
        Value::String(own) if FREE.contains(&path) => Value::String(format!("{own}{text}")),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Members that may have any text and go into a report.
const FREE: [&str; 12] = [
    "message",
    "next",
    "reason",
    "why",
    "what",
    "step",
    "path",
    "target",
    "kubeletVersion",
    "version",
    "releaseName",
    "rollbackOf",
];

fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("</script><img src=x onerror=alert(1)>".to_owned()),
        Just("\" onmouseover=\"alert(1)".to_owned()),
        Just("' x='".to_owned()),
        Just("<!--".to_owned()),
        Just("&lt;b&gt;".to_owned()),
        Just("]]>".to_owned()),
        Just("\u{2028}\r\0".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(pieces, 1..4).prop_map(|pieces| format!("x{}", pieces.concat()))
}

/// Of the same shape, whatever the texts: a text never becomes an element, an attribute, or the end of one.
fn shapes(html: &str) -> Vec<(String, Vec<String>)> {
    tags(html).iter().map(Tag::shape).collect()
}

/// Some that have every section between them, read once.
static SITUATIONS: LazyLock<Vec<(Vec<Value>, Timestamp)>> = LazyLock::new(|| {
    let named = ["add-ons-failed", "stalled-step", "topology-pool-held"];
    let folders = folders()
        .into_iter()
        .filter(|folder| named.iter().any(|name| folder.ends_with(name)));
    folders
        .map(|folder| {
            let objects = objects(&folder);
            let at = now(&objects);
            (objects, at)
        })
        .collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_text_never_becomes_markup(text in hostile()) {
        // Backticks and lines are markup that a message may have.
        let text = text.replace(['`', '\n', '\r'], " ");
        for (objects, at) in SITUATIONS.iter() {
            let of = |text: &str| {
                let objects: Vec<Value> = objects.iter().map(|object| with_texts(object, text, "")).collect();
                Report::of(&ClusterObjects::of(&cluster(&objects), &objects).unwrap())
            };
            // Not of no text: what is empty is left out.
            let plain = html::export(&of("x"), *at).unwrap();
            let html = html::export(&of(&text), *at).unwrap();
            prop_assert_eq!(shapes(&html), shapes(&plain));
        }
    }

    #[test]
    fn a_name_in_a_fleet_never_becomes_markup(text in hostile()) {
        // As above: what a record can't be read for is a message.
        let text = text.replace(['`', '\n', '\r'], " ");
        let row = |text: &str| FleetRow {
            namespace: text.to_owned(),
            cluster: text.to_owned(),
            upgrade: text.to_owned(),
            target: text.to_owned(),
            phase: None,
            unreadable: text.to_owned(),
            paused: false,
            observed: true,
            machines: text.to_owned(),
            level: Some(instar_api::HealthLevel::Error),
            reason: text.to_owned(),
            object: text.to_owned(),
            began: Some(0),
        };
        let page = |text: &str| {
            let fragment = html::of_fleet(&[row(text)], text, Timestamp::UNIX_EPOCH, Invocation::PLAIN);
            let live = html::Live { root: "", events: "events", links: &[], lost: text, now: Timestamp::UNIX_EPOCH, writes: html::Writes::Nothing };
            html::live(&fragment, &live)
        };
        let html = page(&text);
        prop_assert_eq!(shapes(&html), shapes(&page("x")));
        assert_balanced(&tags(&html), "fleet");
    }
}
