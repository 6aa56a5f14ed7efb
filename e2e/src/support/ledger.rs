//! Every machine and every machine template that ever was in a namespace.
//!
//! A test of an upgrade asks what happened on the way, not only what is there in the end: was
//! a machine made twice, from which template, with which content, is a template left over.

mod surplus;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    core::DynamicObject,
    discovery::ApiResource,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use tokio::{sync::oneshot, task::JoinSet, time::timeout};

use crate::{infrastructure::Infrastructure, progress::say, wait::wait_for};

/// How long the first lists may take.
const SYNC: Duration = Duration::from_secs(30);

/// What a machine belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pool {
    /// The control plane.
    ControlPlane,
    /// A MachineDeployment, by its name in the topology, or by its own where there is none.
    Workers(String),
}

impl Pool {
    /// What a Machine belongs to, by its labels.
    pub fn of(machine: &DynamicObject) -> Result<Self> {
        let label = |label: &str| machine.labels().get(label).cloned();
        if label("cluster.x-k8s.io/control-plane").is_some() {
            return Ok(Self::ControlPlane);
        }
        let pool =
            label("topology.cluster.x-k8s.io/deployment-name").or_else(|| label("cluster.x-k8s.io/deployment-name"));
        let pool = pool.with_context(|| format!("Machine {} has no label that names its pool", machine.name_any()))?;
        Ok(Self::Workers(pool))
    }
}

/// A machine template that is or was there.
#[derive(Debug, Clone)]
pub struct TemplateRecord {
    /// Its name.
    pub name: String,
    /// The cluster that it belongs to; none for those of a ClusterClass.
    pub cluster: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is gone.
    pub deleted: bool,
    /// Its spec, as it was first seen.
    pub spec: Value,
}

/// A machine that is or was there.
#[derive(Debug, Clone)]
pub struct MachineRecord {
    /// Its name.
    pub name: String,
    /// What it belongs to.
    pub pool: Pool,
    /// Its version.
    pub version: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is gone.
    pub deleted: bool,
    /// Whether it was one more than its owner asks for: see [`Ledger::machines_by_version`].
    pub surplus: bool,
    /// What its infrastructure was cloned from; none if that was never seen.
    pub template: Option<TemplateRecord>,
}

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Machine,
    InfrastructureMachine,
    MachineTemplate,
    KubeadmConfig,
    MachineSet,
    KubeadmControlPlane,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Machine,
        Self::InfrastructureMachine,
        Self::MachineTemplate,
        Self::KubeadmConfig,
        Self::MachineSet,
        Self::KubeadmControlPlane,
    ];

    fn resource(self, infrastructure: Infrastructure) -> ApiResource {
        const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
        let (group, kind, plural) = match self {
            Self::Machine => ("cluster.x-k8s.io", "Machine", "machines"),
            Self::InfrastructureMachine => match infrastructure {
                Infrastructure::InMemory => (INFRASTRUCTURE, "DevMachine", "devmachines"),
                Infrastructure::Vsphere => (INFRASTRUCTURE, "VSphereMachine", "vspheremachines"),
            },
            Self::MachineTemplate => match infrastructure {
                Infrastructure::InMemory => (INFRASTRUCTURE, "DevMachineTemplate", "devmachinetemplates"),
                Infrastructure::Vsphere => (INFRASTRUCTURE, "VSphereMachineTemplate", "vspheremachinetemplates"),
            },
            Self::KubeadmConfig => ("bootstrap.cluster.x-k8s.io", "KubeadmConfig", "kubeadmconfigs"),
            Self::MachineSet => ("cluster.x-k8s.io", "MachineSet", "machinesets"),
            Self::KubeadmControlPlane => (
                "controlplane.cluster.x-k8s.io",
                "KubeadmControlPlane",
                "kubeadmcontrolplanes",
            ),
        };
        ApiResource {
            group: group.to_owned(),
            version: "v1beta2".to_owned(),
            api_version: format!("{group}/v1beta2"),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }
}

#[derive(Debug)]
struct Entry {
    first: DynamicObject,
    last: DynamicObject,
    deleted: bool,
    /// Whether it was there when the ledger began: its first resourceVersion isn't that of its creation.
    listed: bool,
    /// When its deletion was asked for.
    leaving: Option<Revision>,
    /// What it asked for, and since when.
    replicas: Vec<(Revision, usize)>,
}

/// A resourceVersion. They are one order for all kinds, since one etcd holds them.
type Revision = u64;

#[derive(Debug, Default)]
struct Book {
    /// By kind and UID: a name can come again.
    entries: BTreeMap<(Kind, String), Entry>,
    /// The surplus machines that were told of.
    told: BTreeSet<String>,
    /// Why something may be missing.
    gaps: Vec<String>,
}

impl Book {
    fn seen(&mut self, kind: Kind, object: DynamicObject, deleted: bool) {
        let key = (kind, object.uid().unwrap_or_default());
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            first: object.clone(),
            last: object.clone(),
            deleted,
            listed: false,
            leaving: None,
            replicas: Vec::new(),
        });
        let now = revision(&object);
        if deleted || object.metadata.deletion_timestamp.is_some() {
            entry.leaving = entry.leaving.or(now);
        }
        let asked = object.data.pointer("/spec/replicas").and_then(Value::as_u64);
        if let Some((now, asked)) = now.zip(asked.and_then(|asked| usize::try_from(asked).ok())) {
            entry.replicas.push((now, asked));
            entry.replicas.dedup_by_key(|(_, asked)| *asked);
        }
        entry.last = object;
        entry.deleted |= deleted;
    }

    /// The UIDs of what is not gone.
    fn there(&self, kind: Kind) -> BTreeSet<String> {
        let live = self.of(kind).filter(|entry| !entry.deleted);
        live.filter_map(|entry| entry.last.uid()).collect()
    }

    /// The name of the template that a machine's infrastructure was cloned from.
    fn source(&self, machine: &DynamicObject) -> Option<&str> {
        let infrastructure = text(machine, "/spec/infrastructureRef/name")?;
        let clone = self
            .of(Kind::InfrastructureMachine)
            .find(|entry| entry.last.name_any() == infrastructure)?;
        let source = clone.last.annotations().get("cluster.x-k8s.io/cloned-from-name")?;
        Some(source)
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |((found, _), _)| *found == kind)
            .map(|(_, entry)| entry)
    }
}

/// Watches a namespace for as long as it lives.
pub struct Ledger {
    client: Client,
    namespace: String,
    infrastructure: Infrastructure,
    book: Arc<Mutex<Book>>,
    _watches: JoinSet<()>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// Starts to watch; what happens after this has returned is not missed.
    pub async fn start(client: &Client, namespace: &str) -> Result<Self> {
        Self::start_on(Infrastructure::InMemory, client, namespace).await
    }

    /// The same, for the machines of another infrastructure.
    pub async fn start_on(infrastructure: Infrastructure, client: &Client, namespace: &str) -> Result<Self> {
        let book = Arc::<Mutex<Book>>::default();
        let mut watches = JoinSet::new();
        for kind in Kind::ALL {
            let (sender, synced) = oneshot::channel();
            let api = Api::namespaced_with(client.clone(), namespace, &kind.resource(infrastructure));
            watches.spawn(watch(kind, api, Arc::clone(&book), sender));
            let synced = timeout(SYNC, synced).await;
            let synced = synced.map_err(|_| {
                anyhow!(
                    "listing every {kind:?} in {namespace}: no answer in {} s",
                    SYNC.as_secs()
                )
            })?;
            synced.with_context(|| format!("listing every {kind:?} in {namespace}"))?;
        }
        Ok(Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            infrastructure,
            book,
            _watches: watches,
        })
    }

    /// Waits until the ledger has seen what is there now: its watches come after a list's answer.
    pub async fn caught_up(&self) -> Result<()> {
        wait_for("the ledger to have seen what is there", SYNC, || async {
            for kind in Kind::ALL {
                let kind_of = kind.resource(self.infrastructure);
                let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &kind_of);
                let there = api.list(&ListParams::default()).await?;
                let there: BTreeSet<_> = there.iter().filter_map(ResourceExt::uid).collect();
                let seen = self.read()?.there(kind);
                if seen != there {
                    return Err(format!("{kind:?}: {} seen, {} there", seen.len(), there.len()).into());
                }
            }
            Ok(())
        })
        .await
    }

    /// Every machine that a cluster ever had, in the order in which they were made.
    pub fn machines_ever(&self, cluster: &str) -> Result<Vec<MachineRecord>> {
        let book = self.read()?;
        let mut machines = Vec::new();
        for entry in book
            .of(Kind::Machine)
            .filter(|entry| text(&entry.last, "/spec/clusterName") == Some(cluster))
        {
            machines.push(machine(&book, entry)?);
        }
        machines.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(machines)
    }

    /// The same by pool and version, without those of surplus: an upgrade step is one machine per replica in each.
    ///
    /// Surplus is a machine that its owner made although it had as many like it as it asks for: of the same
    /// version, template and KubeadmConfig, and none of them leaving. Cluster API does that by itself where its
    /// cache lags, and no write to the owner can ask for it; what one write too many makes is like no other.
    pub fn machines_by_version(&self, cluster: &str) -> Result<BTreeMap<(Pool, String), Vec<MachineRecord>>> {
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for machine in self.machines_ever(cluster)? {
            if machine.surplus {
                self.tell(&machine)?;
                continue;
            }
            groups
                .entry((machine.pool.clone(), machine.version.clone()))
                .or_default()
                .push(machine);
        }
        Ok(groups)
    }

    /// Every machine template that a cluster ever had, in the order in which they were made.
    pub fn templates_ever(&self, cluster: &str) -> Result<Vec<TemplateRecord>> {
        let book = self.read()?;
        let records: Result<Vec<_>> = book.of(Kind::MachineTemplate).map(template).collect();
        let mut templates: Vec<_> = records?
            .into_iter()
            .filter(|template| template.cluster.as_deref() == Some(cluster))
            .collect();
        templates.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(templates)
    }

    /// Tells of a surplus machine, once.
    fn tell(&self, machine: &MachineRecord) -> Result<()> {
        if self.read()?.told.insert(machine.name.clone()) {
            say(format!(
                "ledger: Machine {}/{} is one more than its owner asks for: not counted",
                self.namespace, machine.name
            ));
        }
        Ok(())
    }

    fn read(&self) -> Result<std::sync::MutexGuard<'_, Book>> {
        // What a panicking watch wrote is whole: each entry is written at once.
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if !book.gaps.is_empty() {
            bail!(
                "the ledger of {} may have missed something: {}",
                self.namespace,
                book.gaps.join("; ")
            );
        }
        Ok(book)
    }
}

async fn watch(kind: Kind, api: Api<DynamicObject>, book: Arc<Mutex<Book>>, synced: oneshot::Sender<()>) {
    let mut synced = Some(synced);
    // In one request with the watch: a list that is answered before a new kind's watch cache is filled has a resource
    // version from which no watch can go on, and the second list would count as a gap.
    let config = watcher::Config::default().streaming_lists();
    let mut events = watcher(api, config).default_backoff().boxed();
    loop {
        let event = events.try_next().await;
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Some(watcher::Event::Apply(object))) => book.seen(kind, object, false),
            Ok(Some(watcher::Event::InitApply(object))) => {
                let key = (kind, object.uid().unwrap_or_default());
                let is_new = !book.entries.contains_key(&key);
                book.seen(kind, object, false);
                if let Some(entry) = book.entries.get_mut(&key) {
                    entry.listed |= is_new;
                }
            }
            Ok(Some(watcher::Event::Delete(object))) => book.seen(kind, object, true),
            // A second list may skip what came and went since the watch broke.
            Ok(Some(watcher::Event::Init)) if synced.is_none() => {
                book.gaps.push(format!("the watch on every {kind:?} began anew"));
            }
            Ok(Some(watcher::Event::Init)) => {}
            Ok(Some(watcher::Event::InitDone)) => {
                // The receiver is only gone if nobody waits any more.
                let _ = synced.take().map(|sender| sender.send(()));
            }
            // Most errors are followed by a watch that goes on where this one broke.
            Err(error) => tracing::warn!(%error, ?kind, "Watching again"),
            Ok(None) => return book.gaps.push(format!("the watch on every {kind:?} ended")),
        }
    }
}

fn machine(book: &Book, entry: &Entry) -> Result<MachineRecord> {
    let object = &entry.last;
    let name = object.name_any();
    let source = book.source(object).and_then(|source| {
        book.of(Kind::MachineTemplate)
            .find(|entry| entry.first.name_any() == source)
    });
    Ok(MachineRecord {
        version: text(object, "/spec/version")
            .with_context(|| format!("Machine {name} has no version"))?
            .to_owned(),
        created: created(object)?,
        deleted: entry.deleted,
        surplus: book.is_surplus(entry),
        template: source.map(template).transpose()?,
        pool: Pool::of(object)?,
        name,
    })
}

fn template(entry: &Entry) -> Result<TemplateRecord> {
    let object = &entry.first;
    let labelled = entry.last.labels().get("cluster.x-k8s.io/cluster-name").cloned();
    let owner = || {
        let mut owners = entry.last.owner_references().iter();
        owners
            .find(|owner| owner.kind == "Cluster")
            .map(|owner| owner.name.clone())
    };
    Ok(TemplateRecord {
        name: object.name_any(),
        cluster: labelled.or_else(owner),
        created: created(object)?,
        deleted: entry.deleted,
        spec: object.data.get("spec").cloned().unwrap_or_default(),
    })
}

fn revision(object: &DynamicObject) -> Option<Revision> {
    object.resource_version()?.parse().ok()
}

fn created(object: &DynamicObject) -> Result<Timestamp> {
    let created = object
        .creation_timestamp()
        .with_context(|| format!("{} has no creationTimestamp", object.name_any()))?;
    Ok(created.0)
}

fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer).and_then(Value::as_str)
}
