//! KubernetesReleases in files, each with where it stands.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use instar::yaml::{self, Located};
use instar_api::{FieldPath, GROUP, KubernetesRelease, Segment};
use kube::Resource;
use serde::Serialize;
use serde_json::Value;

use crate::Error;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Place {
    /// The file, or that it is standard input.
    pub(super) file: String,
    /// From 1.
    pub(super) document: usize,
    /// From 1.
    pub(super) line: u64,
}

/// An object of our group that is a KubernetesRelease, whatever else of it is wrong.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) located: Located,
}

impl Row {
    /// Its name; empty where it has none.
    pub(super) fn name(&self) -> String {
        let name = self
            .located
            .member("metadata")
            .and_then(|metadata| metadata.member("name"));
        let name = name.map(Located::value);
        name.and_then(|name| name.as_str().map(ToOwned::to_owned))
            .unwrap_or_default()
    }

    /// Where a field stands, or the nearest above it that is there.
    pub(super) fn place_of(&self, path: &FieldPath) -> Place {
        let mut present = &self.located;
        for segment in path.segments() {
            let below = match segment {
                Segment::Member(name) => present.member(name),
                Segment::Item(at) => present.items().get(*at),
            };
            let Some(below) = below else { break };
            present = below;
        }
        Place {
            line: present.line,
            ..self.place.clone()
        }
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// How many files.
    pub(super) count: usize,
    pub(super) rows: Vec<Row>,
}

/// Reads files, the YAML and JSON files of folders and what is below them, and `stdin` where a path is `-`. Objects of
/// other kinds are passed over.
pub(super) fn read(paths: &[PathBuf], mut stdin: impl Read) -> Result<Files, Error> {
    let mut files = Files::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        if path.as_path() == Path::new("-") {
            let mut text = String::new();
            let read = stdin.read_to_string(&mut text);
            read.map_err(|source| unreadable(path, source))?;
            files.add("standard input", Path::new("standard input"), &text)?;
            continue;
        }
        for file in files_of(path)? {
            // A file may be named, and be in a folder that is named too.
            let same = fs::canonicalize(&file).map_err(|source| unreadable(&file, source))?;
            if seen.insert(same) {
                let text = fs::read_to_string(&file).map_err(|source| unreadable(&file, source))?;
                files.add(&file.display().to_string(), &file, &text)?;
            }
        }
    }
    Ok(files)
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}

/// The file itself, or what of a folder may have objects, by name.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries: Vec<PathBuf> = entries.map_err(|source| unreadable(path, source))?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        // A link to a folder may lead back into this one.
        if entry.is_dir() && !entry.is_symlink() {
            files.extend(files_of(&entry)?);
        } else if entry.is_file() && entry.extension().is_some_and(is_of_objects) {
            files.push(entry);
        }
    }
    Ok(files)
}

fn is_of_objects(extension: &std::ffi::OsStr) -> bool {
    ["yaml", "yml", "json"].iter().any(|known| extension == *known)
}

impl Files {
    fn add(&mut self, file: &str, path: &Path, text: &str) -> Result<(), Error> {
        let documents = yaml::read_located(text).map_err(|source| Error::Yaml {
            path: path.to_owned(),
            source,
        })?;
        self.count += 1;
        for (at, document) in documents.into_iter().enumerate() {
            let place = Place {
                file: file.to_owned(),
                document: at + 1,
                line: document.line,
            };
            self.add_object(&place, document);
        }
        Ok(())
    }

    fn add_object(&mut self, place: &Place, object: Located) {
        let text = |name: &str| object.member(name).map(Located::value);
        let text = |name: &str| {
            text(name)
                .as_ref()
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (kind, version) = (text("kind"), text("apiVersion"));
        let own = KubernetesRelease::kind(&());
        let is_ours = version.split('/').next() == Some(GROUP);
        if kind == own && is_ours {
            self.rows.push(Row {
                place: place.clone(),
                located: object,
            });
        } else if kind == "List" || (is_ours && kind.strip_suffix("List") == Some(&own)) {
            for item in object.member("items").into_iter().flat_map(Located::items) {
                let place = Place {
                    line: item.line,
                    ..place.clone()
                };
                self.add_object(&place, item.clone());
            }
        }
    }
}
