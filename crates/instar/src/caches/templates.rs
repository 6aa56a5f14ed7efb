//! Templates: of kinds that nobody knows before something refers to them.
//!
//! The first reference to a kind starts its watch. Until the first list is in, and for as long as the
//! kind can't be listed, [`Lookup::Unavailable`] says why, and the rule `template-unseen` warns: it is
//! tried again, but nothing waits for it. Readiness waits for the first answer about each kind that
//! something referred to at the start, whatever it is. A kind that nothing refers to any more stays
//! watched until the process ends.

mod look;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use instar_admission::{
    cluster_state::{CachedTemplate, Lookup, TemplateKey},
    template::TemplateType,
};
use instar_serve::{Part, Readiness};
use kube::Client;
use tokio::{
    select,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::{
    WatchMetrics,
    index::{Entry, Group, Index, Key, kind_key},
    kept::Use,
    metrics::Kind,
    read, write,
};
use crate::rbac::Watched;

/// More kinds than there are providers. Whoever may write a reference may make one up, and each is a
/// watch.
const MOST: usize = 64;

/// What readiness calls them.
const PART: &str = "templates";

/// The kinds of templates that something has referred to.
#[derive(Debug)]
pub(super) struct Templates {
    kinds: RwLock<Kinds>,
    newcomers: UnboundedSender<Arc<Learned>>,
    /// Taken by the task that starts the watches.
    to_watch: Mutex<Option<UnboundedReceiver<Arc<Learned>>>>,
    awaited: OnceLock<(Readiness, Part)>,
}

/// By API group and kind. What is referred to as a machine's template is watched with its spec, also
/// if something else takes it for a bootstrap template, of which the names are enough.
#[derive(Debug, Default)]
struct Kinds {
    machine: HashMap<Box<str>, Arc<Learned>>,
    bootstrap: HashMap<Box<str>, Arc<Learned>>,
}

impl Kinds {
    const fn of(&self, sort: TemplateType) -> &HashMap<Box<str>, Arc<Learned>> {
        match sort {
            TemplateType::Machine => &self.machine,
            TemplateType::Bootstrap => &self.bootstrap,
        }
    }

    const fn of_mut(&mut self, sort: TemplateType) -> &mut HashMap<Box<str>, Arc<Learned>> {
        match sort {
            TemplateType::Machine => &mut self.machine,
            TemplateType::Bootstrap => &mut self.bootstrap,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Learned>> {
        self.machine.values().chain(self.bootstrap.values())
    }
}

/// A kind of templates, and what is known of them.
#[derive(Debug)]
struct Learned {
    sort: TemplateType,
    group: Box<str>,
    kind: Box<str>,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    sight: Sight,
    templates: Index<Template>,
}

/// Whether a kind can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Sight {
    /// Nobody has answered yet.
    #[default]
    Awaited,
    /// No, as this says.
    Blind(Blind),
    /// It is watched.
    Clear,
}

/// Why a kind can't be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Blind {
    /// The API server doesn't know it.
    Unknown,
    /// The account may not look at it: the verb and the resource.
    Forbidden(&'static str, String),
    /// The API server has answered with an error.
    Unanswered,
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the API server doesn't know its kind"),
            Self::Forbidden(verb, resource) => write!(f, "no right to {verb} {resource}"),
            Self::Unanswered => f.write_str("its kind can't be listed at the moment"),
        }
    }
}

/// Of a template: whose it is, what it was minted for, and its spec.
#[derive(Debug)]
struct Template(Arc<CachedTemplate>);

impl Entry for Template {
    fn groups(&self, _: &Key) -> Vec<Group> {
        Vec::new()
    }
}

impl Default for Templates {
    fn default() -> Self {
        let (newcomers, to_watch) = unbounded_channel();
        Self {
            kinds: RwLock::default(),
            newcomers,
            to_watch: Mutex::new(Some(to_watch)),
            awaited: OnceLock::new(),
        }
    }
}

impl Templates {
    /// Adds a part to `readiness`: until all that may refer to a template is there, and every kind
    /// that it refers to has had an answer.
    pub(super) fn await_in(&self, readiness: &Readiness) {
        self.awaited.get_or_init(|| (readiness.clone(), readiness.part(PART)));
    }

    /// Takes note of a reference: the first one to a kind starts its watch.
    pub(super) fn learn(&self, used: &Use) {
        let name = used.template.kind_key();
        if read(&self.kinds).of(used.sort).contains_key(name) {
            return;
        }
        // What is no template is refused by a rule of its own.
        let Some((group, kind)) = name.split_once(' ').filter(|(_, kind)| kind.ends_with("Template")) else {
            return;
        };
        let mut kinds = write(&self.kinds);
        let known = kinds.all().count();
        if known >= MOST || kinds.of(used.sort).contains_key(name) {
            return;
        }
        if known + 1 == MOST {
            tracing::warn!("{MOST} kinds of templates are referred to: no other one is watched");
        }
        let learned = Arc::new(Learned {
            sort: used.sort,
            group: group.into(),
            kind: kind.into(),
            state: RwLock::default(),
        });
        kinds.of_mut(used.sort).insert(name.into(), Arc::clone(&learned));
        drop(kinds);
        // The receiver goes with the process alone.
        let _ = self.newcomers.send(learned);
    }

    /// Whether everything that was referred to at the start has had its answer.
    pub(super) fn settle(&self) {
        let Some((readiness, part)) = self.awaited.get() else {
            return;
        };
        // The server's own port is another matter: it may be awaited for longer than any list.
        let lists = Watched::ALL.map(|watched| watched.rule().resource);
        let others_are_there = !readiness.awaited().iter().any(|name| lists.contains(name));
        let is_awaited = |kind: &Arc<Learned>| read(&kind.state).sight == Sight::Awaited;
        if others_are_there && !read(&self.kinds).all().any(is_awaited) {
            part.ready();
        }
    }

    /// A template.
    pub(super) fn get(&self, key: &TemplateKey<'_>) -> Lookup<Arc<CachedTemplate>> {
        let name = kind_key(key.group, key.kind);
        let kinds = read(&self.kinds);
        let mut learned = [TemplateType::Machine, TemplateType::Bootstrap]
            .into_iter()
            .filter_map(|sort| kinds.of(sort).get(&*name));
        let Some(kind) = learned.next() else {
            return Lookup::Unavailable("nothing has referred to its kind before".to_owned());
        };
        let state = read(&kind.state);
        match &state.sight {
            Sight::Awaited => Lookup::Unavailable("its kind is not listed yet".to_owned()),
            Sight::Blind(why) => Lookup::Unavailable(why.to_string()),
            Sight::Clear => match state.templates.get(&Key::new(key.namespace, key.name)) {
                Some(template) => Lookup::Found(Arc::clone(&template.0)),
                None => Lookup::NotFound,
            },
        }
    }

    /// Watches every kind that is learned. It ends where one of the watches panics.
    pub(super) async fn watch(self: Arc<Self>, client: Client, metrics: WatchMetrics) {
        let to_watch = self.to_watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut to_watch) = to_watch else { return };
        let mut watches = JoinSet::new();
        loop {
            select! {
                Some(kind) = to_watch.recv() => {
                    let templates = Arc::clone(&self);
                    watches.spawn(look::look(kind, templates, client.clone(), metrics.clone()));
                }
                Some(_) = watches.join_next() => return,
                else => return,
            }
        }
    }

    fn count(&self, metrics: &WatchMetrics) {
        let kinds = read(&self.kinds);
        metrics.cached(
            Kind::Templates,
            kinds.all().map(|kind| read(&kind.state).templates.len()).sum(),
        );
    }
}

#[cfg(test)]
pub(super) mod tests;
