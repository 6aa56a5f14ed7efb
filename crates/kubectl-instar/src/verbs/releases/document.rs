//! A row as a file, with comments for what a person has to look at.

use std::collections::BTreeMap;

use instar::yaml::{self, Located};
use instar_api::{FieldPath, KubernetesRelease, KubernetesReleaseSpec, Segment};
use kube::Resource;
use serde::Serialize;

use crate::Error;

/// A row, and what is to be said of its fields.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) spec: KubernetesReleaseSpec,
    pub(super) notes: Vec<Note>,
}

/// A comment above a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) at: FieldPath,
    pub(super) text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'d> {
    api_version: String,
    kind: String,
    metadata: Metadata<'d>,
    spec: &'d KubernetesReleaseSpec,
}

#[derive(Serialize)]
struct Metadata<'d> {
    name: &'d str,
}

/// How long a line of a comment gets.
const WIDTH: usize = 100;

impl Document {
    pub(super) fn note(&mut self, at: FieldPath, text: impl Into<String>) {
        self.notes.push(Note { at, text: text.into() });
    }

    /// As YAML, in the order of the fields' reference.
    pub(super) fn yaml(&self) -> Result<String, Error> {
        let text = yaml::print(&Object {
            api_version: KubernetesRelease::api_version(&()).into_owned(),
            kind: KubernetesRelease::kind(&()).into_owned(),
            metadata: Metadata { name: &self.name },
            spec: &self.spec,
        })?;
        let documents = yaml::read_located(&text).map_err(|source| Error::Yaml {
            path: "the row".into(),
            source,
        })?;
        let mut comments: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for Note { at, text } in &self.notes {
            let line = documents.first().map_or(1, |document| line_of(document, at));
            comments.entry(line).or_default().push(text);
        }
        let lines = text.lines().zip(1..);
        Ok(lines
            .flat_map(|(line, number)| {
                let indent = &line[..line.len() - line.trim_start().len()];
                let comments = comments.get(&number).into_iter().flatten();
                let comments = comments.flat_map(move |text| comment(text, indent));
                comments.chain([format!("{line}\n")])
            })
            .collect())
    }
}

/// The line of a field's name; a value that is a list or a mapping begins below it.
fn line_of(document: &Located, at: &FieldPath) -> u64 {
    let mut present = document;
    let mut line = document.line;
    for segment in at.segments() {
        let below = match segment {
            Segment::Member(name) => present.member(name),
            Segment::Item(item) => present.items().get(*item),
        };
        let Some(below) = below else { break };
        let is_nested = below.member_count() > 0 || !below.items().is_empty();
        // Printed, a mapping or a list as a member is on the line below its name.
        line = match segment {
            Segment::Member(_) if is_nested => below.line.saturating_sub(1),
            Segment::Member(_) | Segment::Item(_) => below.line,
        };
        present = below;
    }
    line
}

fn comment(text: &str, indent: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full = |line: &String| !line.is_empty() && indent.len() + line.len() + word.len() + 3 > WIDTH;
        if lines.last().is_some_and(is_full) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|line| format!("{indent}# {line}\n")).collect()
}

/// `spec` and the names below it.
pub(super) fn spec(names: &[&str]) -> FieldPath {
    let spec = FieldPath::default().member("spec");
    names.iter().fold(spec, |path, name| path.member(name))
}
