//! Running journeys: tests that share one management cluster and keep apart by namespace.

use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::{OnceCell, Semaphore, watch},
    task::JoinError,
    time::timeout,
};

use super::{
    catalog::{PatchRange, Rows, SharedRows, patch_ranges},
    dump::dump,
    results::Results,
};
use crate::{
    binaries::Binary,
    cache::Cache,
    choose_tls,
    components::RuntimeSdk,
    failure::describe,
    gobuild::Built,
    infrastructure::Infrastructure,
    isolation::{self, Place},
    mgmt::Mgmt,
    progress::{say, spoken},
    rundir::RunDir,
};

pub use crate::{instar::Setup, manifests::ServedVersions};

/// How long a journey may take unless it says otherwise: longer than any condition in it, which says what it saw.
const DEADLINE: Duration = Duration::from_mins(30);

/// How many shared journeys run at the same time. Two cores are busy with that many clusters that come up; with more,
/// each takes longer and all take as long.
const MAX_CONCURRENT: usize = 6;

/// What a journey may do to the cluster that it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It keeps to its namespace: runs beside others.
    Shared,
    /// It restarts processes or changes what is cluster-wide: runs alone.
    Exclusive,
}

type Body = Box<dyn FnOnce(JourneyContext) -> BoxFuture<'static, Result<()>> + Send>;

fn body<Fut>(body: impl FnOnce(JourneyContext) -> Fut + Send + 'static) -> Body
where
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    Box::new(|journey| Box::pin(body(journey)))
}

/// A test on the shared cluster.
pub struct Journey {
    name: &'static str,
    kind: Kind,
    deadline: Duration,
    prepare: Option<Body>,
    body: Body,
}

impl std::fmt::Debug for Journey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journey")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Journey {
    /// A journey that keeps to its namespace. Its name is also the prefix of its namespaces' names.
    pub fn shared<Fut>(name: &'static str, steps: impl FnOnce(JourneyContext) -> Fut + Send + 'static) -> Self
    where
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            name,
            kind: Kind::Shared,
            deadline: DEADLINE,
            prepare: None,
            body: body(steps),
        }
    }

    /// A journey that needs the cluster for itself.
    pub fn exclusive<Fut>(name: &'static str, steps: impl FnOnce(JourneyContext) -> Fut + Send + 'static) -> Self
    where
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            kind: Kind::Exclusive,
            ..Self::shared(name, steps)
        }
    }

    /// With steps that come before the first exclusive journey, beside the shared ones: what they create
    /// comes up while others run. They keep to the journey's namespaces, and to rows that no other
    /// journey's path takes.
    #[must_use]
    pub fn prepared_by<Fut>(mut self, steps: impl FnOnce(JourneyContext) -> Fut + Send + 'static) -> Self
    where
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.prepare = Some(body(steps));
        self
    }

    /// With another deadline.
    #[must_use]
    pub const fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// What a journey acts on.
#[derive(Debug, Clone)]
pub struct JourneyContext {
    /// The cluster.
    pub mgmt: Arc<Mgmt>,
    /// A namespace of its own.
    pub namespace: String,
    name: &'static str,
    patches: PatchRange,
    namespaces: Arc<Mutex<Vec<String>>>,
}

impl JourneyContext {
    async fn new(mgmt: Arc<Mgmt>, name: &'static str, patches: PatchRange) -> Result<Self> {
        let mut journey = Self {
            mgmt,
            namespace: String::new(),
            name,
            patches,
            namespaces: Arc::default(),
        };
        journey.namespace = journey.another_namespace(BTreeMap::new()).await?;
        Ok(journey)
    }

    /// The journey's rows: see [`patch_ranges`].
    pub fn rows(&self) -> Result<Rows> {
        self.patches.rows(0)
    }

    /// Another set of rows, from 1, with newer versions than those before it.
    pub fn more_rows(&self, set: u8) -> Result<Rows> {
        self.patches.rows(set)
    }

    /// All of its namespaces so far, the first one first.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same journey in another of its namespaces.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    /// One more namespace of its own, with labels; a dump covers it too.
    pub async fn another_namespace(&self, labels: BTreeMap<String, String>) -> Result<String> {
        let namespace = self.mgmt.namespace(self.name, labels).await?;
        self.namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(namespace.clone());
        Ok(namespace)
    }

    /// Applies the documents of a YAML text in its namespace, as the administrator.
    pub async fn apply(&self, yaml: &str) -> Result<Vec<kube::core::DynamicObject>> {
        self.mgmt.apply(&self.namespace, yaml).await
    }

    /// Applies one object in its namespace, as the administrator.
    pub async fn apply_object(&self, object: Value) -> Result<kube::core::DynamicObject> {
        let object = serde_json::from_value(object)?;
        self.mgmt.applier().one(object, Some(&self.namespace)).await
    }
}

/// The management cluster of a test program: started by the first journey, for all of them.
struct SharedCluster {
    run: RunDir,
    built: Built,
    setup: Setup,
    served: ServedVersions,
    cluster: OnceCell<Result<Arc<Mgmt>, String>>,
    results: Results,
    /// How many shared journeys and preparations are not done: the exclusive journeys come after all of them.
    shared: watch::Sender<usize>,
    /// How many exclusive journeys are done: they come one by one, in the order of the list.
    alone: watch::Sender<usize>,
    /// Taken by the shared journeys that run.
    slots: Semaphore,
}

/// Counts a journey as done when it is dropped, however the journey ends.
enum CompletionGuard<'a> {
    Shared(&'a watch::Sender<usize>),
    Alone(&'a watch::Sender<usize>),
}

impl Drop for CompletionGuard<'_> {
    fn drop(&mut self) {
        match self {
            Self::Shared(left) => left.send_modify(|left| *left -= 1),
            Self::Alone(done) => done.send_modify(|done| *done += 1),
        }
    }
}

impl SharedCluster {
    async fn cluster(&self) -> Result<Arc<Mgmt>> {
        let started = self
            .cluster
            .get_or_init(|| async { self.start().await.map_err(|error| describe(&error)) })
            .await;
        started
            .clone()
            .map_err(|error| anyhow!("the management cluster did not start: {error}"))
    }

    async fn start(&self) -> Result<Arc<Mgmt>> {
        let mgmt = Mgmt::start(self.run.clone(), self.built.clone(), RuntimeSdk::On, self.served).await?;
        if let Err(error) = self.setup.install(&mgmt).await {
            let dir = dump(&mgmt, "installing-instar", &[]).await?;
            bail!("{}\ndump: {}", describe(&error), dir.display());
        }
        Ok(Arc::new(mgmt))
    }

    /// `place` is the journey's among the exclusive ones that run.
    async fn run_journey(
        &self,
        journey: Journey,
        patches: PatchRange,
        place: usize,
        took: &mut Duration,
    ) -> Result<()> {
        let Journey {
            name,
            kind,
            deadline,
            prepare,
            body,
        } = journey;
        let counts_as_shared = kind == Kind::Shared || prepare.is_some();
        let shared = counts_as_shared.then(|| CompletionGuard::Shared(&self.shared));
        let mgmt = self.cluster().await?;
        let context = JourneyContext::new(Arc::clone(&mgmt), name, patches).await;
        let mut prepared = Ok(());
        if let (Some(prepare), Ok(context)) = (prepare, &context) {
            let _slot = self.slots.acquire().await?;
            prepared = timed(name, "is prepared", deadline, prepare(context.clone()), took).await;
        }
        let _slot;
        let _completion = if kind == Kind::Shared {
            _slot = self.slots.acquire().await?;
            shared
        } else {
            drop(shared);
            self.shared.subscribe().wait_for(|left| *left == 0).await?;
            self.alone.subscribe().wait_for(|done| *done == place).await?;
            Some(CompletionGuard::Alone(&self.alone))
        };
        let context = context?;
        let result = match prepared {
            Ok(()) => timed(name, "begins", deadline, body(context.clone()), took).await,
            Err(error) => Err(error.context("preparing")),
        };
        let Err(error) = result else {
            say(format!("{name}: passed after {}", spoken(*took)));
            return Ok(());
        };
        say(format!("{name}: FAILED after {}: {}", spoken(*took), describe(&error)));
        let dir = dump(&mgmt, name, &context.namespaces())
            .await
            .context("writing the dump")?;
        say(format!("{name}: dump: {}", dir.display()));
        bail!("{}\ndump: {}", describe(&error), dir.display());
    }

    async fn stop(&self) -> Result<()> {
        if let Some(Ok(mgmt)) = self.cluster.get() {
            mgmt.stop().await?;
        }
        Ok(())
    }
}

/// Runs a part of a journey within its deadline, and adds to the time that the journey took.
async fn timed(
    name: &str,
    what: &str,
    deadline: Duration,
    steps: BoxFuture<'static, Result<()>>,
    took: &mut Duration,
) -> Result<()> {
    say(format!("{name}: {what}"));
    let began = Instant::now();
    // As a task of its own, so that a panic is a failure with a dump too.
    let mut task = tokio::spawn(steps);
    let result = match timeout(deadline, &mut task).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(anyhow!("{}", panicked(panic))),
        Err(_) => {
            task.abort();
            Err(anyhow!("not done after {}", spoken(deadline)))
        }
    };
    *took += began.elapsed();
    result
}

fn panicked(error: JoinError) -> String {
    let payload = match error.try_into_panic() {
        Ok(payload) => payload,
        Err(error) => return error.to_string(),
    };
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref().copied());
    format!("panicked: {}", text.unwrap_or("with something that is no text"))
}

/// The whole `main` of a test program with `harness = false`.
///
/// Outside it goes inside; inside it starts one cluster when the first journey needs it.
#[must_use]
pub fn run(setup: Setup, served: ServedVersions, shared_rows: SharedRows, journeys: Vec<Journey>) -> ExitCode {
    run_beside(&[], setup, served, shared_rows, journeys)
}

/// The same on vSphere. The simulator reads Cluster API's kinds at v1beta1.
#[must_use]
pub fn run_on_vsphere(setup: Setup, shared_rows: SharedRows, journeys: Vec<Journey>) -> ExitCode {
    let served = ServedVersions::All;
    described(try_run(
        Infrastructure::Vsphere,
        &[],
        setup,
        served,
        shared_rows,
        journeys,
    ))
}

/// The same, with programs that only these journeys need.
#[must_use]
pub fn run_beside(
    programs: &[Binary],
    setup: Setup,
    served: ServedVersions,
    shared_rows: SharedRows,
    journeys: Vec<Journey>,
) -> ExitCode {
    described(try_run(
        Infrastructure::InMemory,
        programs,
        setup,
        served,
        shared_rows,
        journeys,
    ))
}

fn described(ran: Result<ExitCode>) -> ExitCode {
    match ran {
        Ok(code) => code,
        Err(error) => {
            say(describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn try_run(
    infrastructure: Infrastructure,
    programs: &[Binary],
    setup: Setup,
    served: ServedVersions,
    shared_rows: SharedRows,
    journeys: Vec<Journey>,
) -> Result<ExitCode> {
    choose_tls();
    let mut arguments = Arguments::from_args();
    // Each waits for its turn by itself: whatever the machine, all have a thread to wait in.
    arguments.test_threads.get_or_insert_with(|| journeys.len().max(1));
    let named = |journey: &Journey| Trial::test(journey.name, || Ok(()));
    let nothing_to_do = journeys
        .iter()
        .map(named)
        .all(|trial| arguments.is_filtered_out(&trial));
    if arguments.list || nothing_to_do {
        let listed = journeys.iter().map(named).collect();
        return Ok(libtest_mimic::run(&arguments, listed).exit_code());
    }
    let (run, built) = match isolation::enter(&format!("test-{}", program_name()), infrastructure, programs)? {
        Place::Outside(code) => return Ok(code),
        Place::Inside(run, built) => (run, built),
    };
    let runtime = Arc::new(tokio::runtime::Builder::new_multi_thread().enable_all().build()?);
    let runs = |journey: &&Journey| {
        let trial = named(journey);
        !arguments.is_filtered_out(&trial) && !arguments.is_ignored(&trial)
    };
    let shared = journeys
        .iter()
        .filter(|journey| journey.kind == Kind::Shared || journey.prepare.is_some())
        .filter(runs)
        .count();
    let program = Arc::new(SharedCluster {
        run,
        built,
        setup,
        served,
        cluster: OnceCell::new(),
        results: Results::begin(&Cache::locate()?, &program_name())?,
        shared: watch::Sender::new(shared),
        alone: watch::Sender::new(0),
        slots: Semaphore::new(MAX_CONCURRENT),
    });
    end_on_signals(&runtime);

    let exclusive: Vec<bool> = journeys.iter().map(|journey| journey.kind == Kind::Exclusive).collect();
    let patches = patch_ranges(shared_rows, &exclusive)?;
    let mut exclusive = 0;
    let trials = journeys.into_iter().zip(patches).map(|(journey, patches)| {
        let (runtime, program) = (Arc::clone(&runtime), Arc::clone(&program));
        let place = exclusive;
        exclusive += usize::from(journey.kind == Kind::Exclusive && runs(&&journey));
        Trial::test(journey.name, move || {
            let mut took = Duration::ZERO;
            let name = journey.name;
            let result = runtime.block_on(program.run_journey(journey, patches, place, &mut took));
            let result = program.results.add(name, result.is_ok(), took).and(result);
            result.map_err(|error| Failed::from(describe(&error)))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    program.results.end()?;
    runtime.block_on(program.stop())?;
    Ok(conclusion.exit_code())
}

/// `harness` of `/target/debug/deps/harness-0123456789abcdef`.
fn program_name() -> String {
    let name = std::env::args().next().unwrap_or_default();
    let name = Path::new(&name)
        .file_name()
        .map_or_else(String::new, |name| name.display().to_string());
    let name = name.rsplit_once('-').map_or(name.as_str(), |(name, _)| name);
    name.replace('_', "-")
}

/// Ends the whole place: the kernel ends the cluster's processes with this one, and the process
/// outside removes their directory.
fn end_on_signals(runtime: &Runtime) {
    runtime.spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        say("interrupted: taking the cluster down");
        std::process::exit(130);
    });
}
