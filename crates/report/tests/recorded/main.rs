//! Clusters as they were recorded (`kubectl instar snapshot`), each with every output.
//!
//! `INSTAR_RENEW=1 cargo test --workspace --test recorded` writes the outputs again; read what has changed.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod browser;
mod many;
mod markup;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use instar_report::{
    ClusterObjects, Report, html,
    text::{self, Colour, Details, Layout},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Beside this file, a folder for each.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn objects(folder: &Path) -> Vec<Value> {
    if folder.ends_with(many::FOLDER) {
        many::objects()
    } else {
        read(folder)
    }
}

fn read(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("objects.yaml")).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

fn cluster(objects: &[Value]) -> String {
    let cluster = objects.iter().find(|object| object["kind"] == "Cluster").unwrap();
    cluster["metadata"]["name"].as_str().unwrap().to_owned()
}

/// Shortly after the last thing that happened.
fn now(objects: &[Value]) -> Timestamp {
    fn newest(value: &Value) -> Option<Timestamp> {
        match value {
            // A window opens later, a template is kept until later, and a certificate expires.
            Value::Object(members) => members
                .iter()
                .filter(|(key, _)| !["until", "keptUntil", "certificatesExpiryDate"].contains(&key.as_str()))
                .filter_map(|(_, value)| newest(value))
                .max(),
            Value::Array(items) => items.iter().filter_map(newest).max(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }
    objects.iter().filter_map(newest).max().unwrap() + SignedDuration::from_secs(2)
}

fn report(objects: &[Value]) -> Report {
    Report::of(&ClusterObjects::of(&cluster(objects), objects).unwrap())
}

fn outputs(folder: &Path) -> [(&'static str, String); 5] {
    let objects = &objects(folder);
    let report = report(objects);
    // Of so many a page has some, as a user sees it first.
    let listed = if folder.ends_with(many::FOLDER) {
        html::Listed::Some
    } else {
        html::Listed::All
    };
    let at = now(objects);
    let layout = |width, details| Layout {
        width,
        colour: Colour::Plain,
        details,
    };
    [
        (
            "status.txt",
            text::of_cluster(&report, &layout(100, Details::Health), at),
        ),
        (
            "status-narrow.txt",
            text::of_cluster(&report, &layout(60, Details::Machines), at),
        ),
        (
            "status-all.txt",
            text::of_cluster(&report, &layout(Layout::UNBOUNDED, Details::All), at),
        ),
        ("status.json", serde_json::to_string_pretty(&report).unwrap() + "\n"),
        ("report.html", fragment(&report, at, listed)),
    ]
}

/// A line for each element, so that a change of one reads as one. The styles around are the same for all.
fn fragment(report: &Report, now: Timestamp, listed: html::Listed) -> String {
    html::of_cluster(report, html::View::plain(now, listed))
        .html
        .replace("><", ">\n<")
        + "\n"
}

#[test]
fn each_output_is_what_was_read() {
    let renew = env::var_os("INSTAR_RENEW").is_some();
    let folders = folders();
    assert!(folders.len() >= 20, "{folders:?}");
    for folder in folders {
        for (name, text) in outputs(&folder) {
            let path = folder.join(name);
            if renew {
                fs::write(&path, &text).unwrap();
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(text, expected, "{}: INSTAR_RENEW=1 writes it again", path.display());
        }
    }
}

/// Columns are those of the terminal, whatever the names; paragraphs alone may hold a word that is longer.
#[test]
fn no_line_of_a_table_is_wider_than_the_terminal() {
    for folder in folders() {
        for (name, text) in outputs(&folder) {
            let width = match name {
                "status.txt" => 100,
                "status-narrow.txt" => 60,
                _ => continue,
            };
            for line in text.lines().filter(|line| line.split_whitespace().count() > 2) {
                assert!(line.chars().count() <= width, "{}: {line}", folder.display());
            }
        }
    }
}

/// More than ten machines are elided, those that need a look are not, and none is left out of all that is asked for.
#[test]
fn of_many_machines_those_are_shown_that_need_a_look() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/recorded")
        .join(many::FOLDER);
    let outputs = outputs(&folder);
    let rows = |output: &str, phase: &str| {
        let (_, text) = outputs.iter().find(|(name, _)| *name == output).unwrap();
        let machines = text.split("\nMachines\n").nth(1).unwrap().split("\n\n").next().unwrap();
        let is_row = |line: &&str| line.split_whitespace().rev().nth(1) == Some(phase);
        machines.lines().filter(is_row).count()
    };
    for (output, running, pending) in [
        ("status.txt", 1, 4),
        ("status-narrow.txt", 1, 4),
        ("status-all.txt", 161, 334),
    ] {
        let found = ["Failed", "Upgrading", "Pending", "Running"].map(|phase| rows(output, phase));
        assert_eq!(found, [2, 3, pending, running], "{output}");
    }
}
