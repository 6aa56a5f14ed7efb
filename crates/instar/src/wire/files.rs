//! Objects from files, in any order.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use instar_api::{GROUP, KubernetesRelease};
use instar_capi::{ClusterClass, TemplateRef};
use kube::Resource;
use serde_json::Value;

use super::releases::Releases;
use crate::yaml;

/// Why the files don't serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("can't read {file}")]
    Read { file: String, source: io::Error },
    #[error("{file} is no YAML")]
    Parse { file: String, source: yaml::ReadError },
    #[error("{origin} is no Kubernetes object: {missing} is missing")]
    NoObject { origin: String, missing: &'static str },
    #[error("{object} is given twice and differs, in {one} and in {other}: give it once")]
    Twice { object: String, one: String, other: String },
    #[error("standard input can be read once only: give -f - once")]
    StandardInputTwice,
    #[error("no ClusterClass{} in {files}: add its file, or name one that is in the cluster", in_namespace(namespace.as_deref()))]
    NoClass { files: String, namespace: Option<String> },
    #[error("which ClusterClass is meant? {found} are given: name one, and its namespace with -n if need be")]
    SeveralClasses { found: String },
    #[error("which {template} is meant? {origins} hold one each: give the one in the class' namespace only")]
    SeveralTemplates { template: String, origins: String },
    #[error(
        "{template} in {origin} has apiVersion {found}, and the class refers to it in {expected}: give it in that version (kubectl get KIND.VERSION.GROUP NAME prints it so), or change the class' reference"
    )]
    OtherVersion {
        template: String,
        origin: String,
        found: String,
        expected: String,
    },
}

fn in_namespace(namespace: Option<&str>) -> String {
    namespace
        .map(|namespace| format!(" of namespace {namespace}"))
        .unwrap_or_default()
}

/// The objects of all files.
#[derive(Debug, Default)]
pub(crate) struct Files {
    names: Vec<String>,
    objects: Vec<Object>,
}

#[derive(Debug)]
struct Object {
    value: Value,
    origin: String,
}

impl Object {
    fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer).and_then(Value::as_str)
    }

    fn kind(&self) -> &str {
        self.text("/kind").unwrap_or_default()
    }

    fn api_version(&self) -> &str {
        self.text("/apiVersion").unwrap_or_default()
    }

    fn group(&self) -> &str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    fn name(&self) -> Option<&str> {
        self.text("/metadata/name")
    }

    fn namespace(&self) -> Option<&str> {
        self.text("/metadata/namespace")
    }

    /// `Kind namespace/name`, or without the namespace.
    fn described(&self) -> String {
        let name = self.name().unwrap_or("without a name");
        match self.namespace() {
            Some(namespace) => format!("{} {namespace}/{name}", self.kind()),
            None => format!("{} {name}", self.kind()),
        }
    }

    /// A manifest without a namespace goes where it is applied, so it fits any.
    fn fits(&self, namespace: Option<&str>) -> bool {
        self.namespace().is_none() || namespace.is_none() || self.namespace() == namespace
    }

    fn is_same_as(&self, other: &Self) -> bool {
        self.api_version() == other.api_version()
            && self.kind() == other.kind()
            && self.name() == other.name()
            && self.namespace() == other.namespace()
    }
}

impl Files {
    /// Reads the files; `-` is `stdin`.
    pub(crate) fn read(paths: &[PathBuf], mut stdin: impl Read) -> Result<Self, Error> {
        let is_stdin = |path: &PathBuf| path.as_path() == Path::new("-");
        if paths.iter().filter(|path| is_stdin(path)).count() > 1 {
            return Err(Error::StandardInputTwice);
        }
        let mut files = Self::default();
        for path in paths {
            let (name, text) = if is_stdin(path) {
                let mut text = String::new();
                let read = stdin.read_to_string(&mut text);
                ("standard input".to_owned(), read.map(|_| text))
            } else {
                (path.display().to_string(), fs::read_to_string(path))
            };
            let text = text.map_err(|source| Error::Read {
                file: name.clone(),
                source,
            })?;
            files.add(name, &text)?;
        }
        Ok(files)
    }

    /// Adds the objects of one file.
    pub(crate) fn add(&mut self, name: String, text: &str) -> Result<(), Error> {
        let documents = yaml::read(text).map_err(|source| Error::Parse {
            file: name.clone(),
            source,
        })?;
        for (at, document) in documents.into_iter().enumerate() {
            self.add_object(document, format!("{name} (document {})", at + 1))?;
        }
        self.names.push(name);
        Ok(())
    }

    fn add_object(&mut self, value: Value, origin: String) -> Result<(), Error> {
        let object = Object { value, origin };
        for (pointer, missing) in [("/apiVersion", "apiVersion"), ("/kind", "kind")] {
            if object.text(pointer).is_none() {
                let origin = object.origin;
                return Err(Error::NoObject { origin, missing });
            }
        }
        if let (Some(kind), Some(items)) = (
            object.kind().strip_suffix("List"),
            object.value.get("items").and_then(Value::as_array),
        ) {
            for item in items {
                self.add_object(of_list(item, kind, object.api_version()), object.origin.clone())?;
            }
            return Ok(());
        }
        let known = self.objects.iter().find(|known| known.is_same_as(&object));
        match known {
            Some(known) if known.value == object.value => Ok(()),
            // Releases without a name are left out one by one, with the reason.
            Some(known) if object.name().is_some() => Err(Error::Twice {
                object: object.described(),
                one: known.origin.clone(),
                other: object.origin,
            }),
            _ => {
                self.objects.push(object);
                Ok(())
            }
        }
    }

    fn classes(&self, name: Option<&str>, namespace: Option<&str>) -> impl Iterator<Item = &Object> {
        let group = ClusterClass::group(&());
        self.objects.iter().filter(move |object| {
            object.kind() == "ClusterClass"
                && object.group() == group
                && (name.is_none() || object.name() == name)
                && object.fits(namespace)
        })
    }

    /// Whether a class of that name is here.
    pub(crate) fn has_class(&self, name: &str, namespace: Option<&str>) -> bool {
        self.classes(Some(name), namespace).next().is_some()
    }

    /// The one class that fits, in whatever version: the wiring says which one it reads.
    pub(crate) fn class(&self, name: Option<&str>, namespace: Option<&str>) -> Result<&Value, Error> {
        let mut classes = self.classes(name, namespace);
        match (classes.next(), classes.next()) {
            (Some(class), None) => Ok(&class.value),
            (None, _) => Err(Error::NoClass {
                files: self.names.join(", "),
                namespace: namespace.map(ToOwned::to_owned),
            }),
            (Some(_), Some(_)) => Err(Error::SeveralClasses {
                found: listed(self.classes(name, namespace).map(Object::described)),
            }),
        }
    }

    /// The template that a class in that namespace refers to, if it is here.
    pub(crate) fn template(&self, reference: &TemplateRef, namespace: Option<&str>) -> Result<Option<&Value>, Error> {
        let named = self.objects.iter().filter(|object| {
            object.kind() == reference.kind
                && object.group() == reference.group()
                && object.name() == Some(&reference.name)
                && object.fits(namespace)
        });
        let (fit, other): (Vec<&Object>, Vec<&Object>) =
            named.partition(|object| object.api_version() == reference.api_version);
        match (fit.as_slice(), other.first()) {
            ([], None) => Ok(None),
            ([template], _) => Ok(Some(&template.value)),
            ([], Some(other)) => Err(Error::OtherVersion {
                template: other.described(),
                origin: other.origin.clone(),
                found: other.api_version().to_owned(),
                expected: reference.api_version.clone(),
            }),
            (several, _) => Err(Error::SeveralTemplates {
                template: format!("{} {}", reference.kind, reference.name),
                origins: listed(several.iter().map(|object| object.origin.clone())),
            }),
        }
    }

    /// Puts the releases there.
    pub(crate) fn put_releases(&self, releases: &mut Releases) {
        let kind = KubernetesRelease::kind(&());
        for object in &self.objects {
            if object.kind() == kind && object.group() == GROUP {
                releases.put(&object.value, &object.origin);
            }
        }
    }
}

/// An item of a list as it would stand alone: the API server leaves kind and version to the list.
fn of_list(item: &Value, kind: &str, api_version: &str) -> Value {
    let mut item = item.clone();
    if let (Some(map), false) = (item.as_object_mut(), kind.is_empty()) {
        map.entry("kind").or_insert_with(|| kind.into());
        map.entry("apiVersion").or_insert_with(|| api_version.into());
    }
    item
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.join(", ")
}
