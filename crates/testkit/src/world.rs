//! What is on a cluster: real objects, by kind and name.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use instar_admission::cluster::{self, AnnotationChange, Requester};
use instar_api::{CatalogName, KubernetesRelease, RELEASES_ANNOTATION};
use instar_capi::{Cluster, ClusterClass, TemplateRef};
use instar_catalog::{Catalog, Catalogs};
use instar_webhooks::Caches;
use instar_wiring::Wiring;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

/// The namespace of a world that is on no cluster.
pub const NAMESPACE: &str = "ns";

/// Stands in a text for the namespace.
pub(crate) const NAMESPACE_PLACEHOLDER: &str = "{ns}";

/// The annotation of a ClusterClass or Cluster in a file that gets what Instar would write: the
/// wiring, the pins.
const AS_INSTAR_WRITES_IT: &str = "testkit.example.org/as-instar-writes-it";

/// Where the cases are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../webhooks/cases")
}

/// An object's kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: String,
    pub name: String,
}

impl FromStr for Key {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, name) = text.split_once('/').context("an object is named kind/name")?;
        Ok(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Key {
    fn of(object: &Value) -> Result<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let missing = || anyhow!("no kind or no name: {object}");
        Ok(Self {
            kind: text("/kind").ok_or_else(missing)?.to_owned(),
            name: text("/metadata/name").ok_or_else(missing)?.to_owned(),
        })
    }
}

/// The time in a world that is on no cluster.
fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 20_777)
}

/// The day of [`now`].
#[must_use]
pub fn today() -> Date {
    now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// What is on a cluster. Those of kinds that have a namespace are without one: it is where they are.
#[derive(Debug, Clone)]
pub struct World {
    objects: Vec<(Key, Value)>,
    namespace: String,
}

impl World {
    /// Reads a world with the catalog that all of them share, and changes it.
    pub(crate) fn read(directory: &Path, name: &str, given: &BTreeMap<Key, Value>) -> Result<Self> {
        let mut world = Self {
            objects: Vec::new(),
            namespace: NAMESPACE.to_owned(),
        };
        let mut given = given.clone();
        // Rows that come after the class was wired are the last.
        for name in ["catalog", name, "later"] {
            let path = directory.join(format!("{name}.yaml"));
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let documents: Vec<Value> =
                serde_saphyr::from_multiple(&text).with_context(|| path.display().to_string())?;
            for document in documents {
                world.add(document, &mut given)?;
            }
        }
        // What no file has is whole.
        for (key, object) in given {
            if object.get("kind").is_none() {
                bail!("no object {key} to be changed");
            }
            world.add(object, &mut BTreeMap::new())?;
        }
        Ok(world)
    }

    /// A world as its file has it.
    pub fn named(name: &str) -> Result<Self> {
        Self::read(&directory().join("worlds"), name, &BTreeMap::new())
    }

    fn add(&mut self, mut object: Value, given: &mut BTreeMap<Key, Value>) -> Result<()> {
        let key = Key::of(&object)?;
        let marked = object
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
            .and_then(|annotations| annotations.remove(AS_INSTAR_WRITES_IT));
        let change = given.remove(&key);
        if change.as_ref().is_some_and(Value::is_null) {
            return Ok(());
        }
        // The pins are those of the Cluster as it was written, the wiring that of the class as it is.
        match (marked, key.kind.as_str()) {
            (None, _) => merge(&mut object, change.as_ref()),
            (Some(_), "ClusterClass") => {
                object = self.wired(&object)?;
                merge(&mut object, change.as_ref());
            }
            (Some(_), "Cluster") => {
                self.pin(&mut object)?;
                merge(&mut object, change.as_ref());
            }
            (Some(_), kind) => bail!("Instar writes no {kind}"),
        }
        self.objects.push((key, object));
        Ok(())
    }

    fn wired(&self, class: &Value) -> Result<Value> {
        let mut class = class.clone();
        class["metadata"]["namespace"] = json!(self.namespace);
        let templates = self.objects.iter().filter(|(key, _)| key.kind.ends_with("Template"));
        let templates = templates.map(|(key, object)| {
            let reference = TemplateRef {
                api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
                kind: key.kind.clone(),
                name: key.name.clone(),
            };
            (reference, object.clone())
        });
        let mut wired = instar_wiring::wire(
            &class,
            &templates.collect(),
            &self.catalog(&CatalogName::of_class(&class)),
        )
        .map_err(|error| anyhow!("{error:?}"))?
        .class;
        if let Some(metadata) = wired["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        Ok(wired)
    }

    fn pin(&self, object: &mut Value) -> Result<()> {
        let mut cluster: Cluster = self.typed(object)?;
        // With a control plane it would be taken for one that runs already.
        cluster.spec.control_plane_ref = None;
        let class = cluster::class_of(&cluster)
            .map(|(_, name)| self.class(&name))
            .transpose()?;
        let labels = cluster.metadata.labels.as_ref();
        let catalog = CatalogName::of_cluster(labels, class.as_ref().map(|class| &class.metadata));
        let facts = cluster::Facts {
            catalog: &self.catalog(&catalog),
            class: class.as_ref(),
            control_plane: None,
            running: None,
            workers: &[],
            today: today(),
            requester: Requester::Other,
        };
        let admitted = cluster::admit(None, &cluster, facts).map_err(|finding| anyhow!("{finding}"))?;
        let is_unwired = class.is_some_and(|class| Wiring::read(&class.spec).is_none());
        let AnnotationChange::Set(pins) = admitted.pins else {
            ensure!(is_unwired, "a Cluster that gets no pins");
            return Ok(());
        };
        let annotations = object["metadata"]
            .as_object_mut()
            .map(|metadata| metadata.entry("annotations").or_insert_with(|| json!({})));
        annotations.context("a Cluster without metadata")?[RELEASES_ANNOTATION] = json!(pins);
        Ok(())
    }

    fn class(&self, name: &str) -> Result<ClusterClass> {
        let mut classes = self.of_kind("ClusterClass");
        let class = classes.find(|class| class["metadata"]["name"] == name);
        self.typed(class.with_context(|| format!("no ClusterClass {name}"))?)
    }

    /// The admission server's caches, filled with these objects.
    pub fn caches(&self) -> Result<Arc<Caches>> {
        let created = self.objects.iter().map(|(_, object)| {
            let mut object = self.placed(object);
            // An API server counts from one.
            let generation = &mut object["metadata"]["generation"];
            if generation.is_null() {
                *generation = json!(1);
            }
            object
        });
        Ok(Caches::of(&created.collect::<Vec<_>>(), now())?)
    }

    fn catalog(&self, name: &CatalogName) -> Arc<Catalog> {
        let rows: Vec<(String, KubernetesRelease)> = self
            .of_kind("KubernetesRelease")
            .filter_map(|object| {
                Some((
                    object["metadata"]["name"].as_str()?.to_owned(),
                    serde_json::from_value(object.clone()).ok()?,
                ))
            })
            .collect();
        Catalogs::new(rows.iter().map(|(name, row)| (name.as_str(), &row.spec))).of(name)
    }

    /// All objects, in the order in which they can be created.
    pub fn objects(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter().map(|(key, object)| (key, object))
    }

    /// An object as an API server would hand it out.
    pub fn object(&self, key: &Key) -> Result<Value> {
        let found = self.objects.iter().find(|(known, _)| known == key);
        let (_, object) = found.with_context(|| format!("no object {key}"))?;
        Ok(self.placed(object))
    }

    /// An object, in the namespace where it is.
    #[must_use]
    pub fn placed(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if object["kind"] != "KubernetesRelease" {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        object
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let of_kind = move |(key, _): &&(Key, Value)| key.kind == kind;
        self.objects.iter().filter(of_kind).map(|(_, object)| object)
    }

    fn typed<T: serde::de::DeserializeOwned>(&self, object: &Value) -> Result<T> {
        Ok(serde_json::from_value(self.placed(object))?)
    }
}

fn merge(object: &mut Value, change: Option<&Value>) {
    if let Some(change) = change {
        json_patch::merge(object, change);
    }
    // A merge patch that takes a whole map away leaves none.
    if object["metadata"]["annotations"] == Value::Object(Map::new())
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.remove("annotations");
    }
}
