//! What a program takes at its start and while nothing happens.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use instar_benches::process::{self, cpu};
use instar_e2e::{Context, Result, components::Component, mgmt::Mgmt};
use serde_json::Value;
use tokio::time::sleep;

/// A program is settled once it has used less than this in so long.
const QUIET: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// At most so long is waited for that.
const SETTLES: Duration = Duration::from_mins(3);

/// How long nothing happens.
const IDLE: Duration = Duration::from_mins(1);

/// What is measured.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    Controller,
    Webhook,
    /// Cluster API's core, which holds the same objects and acts on none of them: what it takes at least.
    Core,
}

impl Program {
    pub(crate) const ALL: [Self; 3] = [Self::Controller, Self::Webhook, Self::Core];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Webhook => "webhook",
            Self::Core => "CAPI core",
        }
    }

    const fn component(self) -> Component {
        match self {
            Self::Controller => Component::InstarController,
            Self::Webhook => Component::InstarWebhook,
            Self::Core => Component::CapiCore,
        }
    }

    /// The most that it may take settled, in MiB; between the sizes for which it was set, what lies between.
    pub(crate) fn goal(self, clusters: usize) -> Option<f64> {
        let clusters = clusters as f64;
        match self {
            Self::Controller => Some(25.0 + (clusters - 1000.0) * 75.0 / 9000.0),
            Self::Webhook => Some(100.0),
            Self::Core => None,
        }
    }

    async fn start(self, mgmt: &Mgmt) -> Result<()> {
        match self {
            Self::Controller => mgmt.controller().start().await,
            Self::Webhook => mgmt.webhook().start().await,
            Self::Core => mgmt.start_watching_core().await,
        }
    }

    /// Stops it, if it runs.
    pub(crate) async fn stop(self, mgmt: &Mgmt) -> Result<()> {
        if mgmt.pid(self.component()).await.is_none() {
            return Ok(());
        }
        match self {
            Self::Controller => mgmt.controller().stop().await,
            Self::Webhook => mgmt.webhook().stop().await,
            Self::Core => mgmt.end(Component::CapiCore).await,
        }
    }

    pub(crate) async fn pid(self, mgmt: &Mgmt) -> Result<u32> {
        let pid = mgmt.pid(self.component()).await;
        pid.with_context(|| format!("{} doesn't run", self.name()))
    }
}

/// Sizes are in MiB.
pub(crate) struct Started {
    /// From the start to readiness.
    pub(crate) ready: Duration,
    /// CPU time until then.
    pub(crate) cpu: Duration,
    pub(crate) settled: f64,
    /// The part of it that is no page of the program's file, which all processes of the program share.
    pub(crate) own: f64,
    pub(crate) peak: f64,
    /// The part of a core.
    pub(crate) idle: f64,
    /// In that minute.
    pub(crate) idle_requests: usize,
    /// What it says that its caches take, by kind: objects and bytes.
    pub(crate) cached: BTreeMap<String, (f64, f64)>,
}

pub(crate) async fn started(mgmt: &Mgmt, program: Program) -> Result<Started> {
    let began = Instant::now();
    program.start(mgmt).await?;
    let ready = began.elapsed();
    let pid = program.pid(mgmt).await?;
    let used = cpu(pid)?;
    let settling = Instant::now();
    loop {
        let before = cpu(pid)?;
        sleep(QUIET.1).await;
        if cpu(pid)?.saturating_sub(before) < QUIET.0 || settling.elapsed() > SETTLES {
            break;
        }
    }
    let (memory, before, requests) = (process::memory(pid)?, cpu(pid)?, requests(mgmt, 0)?.len());
    sleep(IDLE).await;
    Ok(Started {
        ready,
        cpu: used,
        settled: memory.now,
        own: memory.own,
        peak: memory.peak,
        idle: cpu(pid)?.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64(),
        idle_requests: self::requests(mgmt, requests)?.len(),
        cached: cached(mgmt, program).await?,
    })
}

async fn cached(mgmt: &Mgmt, program: Program) -> Result<BTreeMap<String, (f64, f64)>> {
    let installed = match program {
        Program::Controller => mgmt.controller(),
        Program::Webhook => mgmt.webhook(),
        Program::Core => return Ok(BTreeMap::new()),
    };
    let page = installed.metrics().await?;
    let mut kinds = BTreeMap::<String, (f64, f64)>::new();
    for line in page.lines() {
        let series = |name: &str| {
            let rest = line.strip_prefix(name)?.strip_prefix("{kind=\"")?;
            let (kind, value) = rest.split_once("\"} ")?;
            Some((kind.to_owned(), value.parse::<f64>().ok()?))
        };
        if let Some((kind, objects)) = series("instar_cached_objects") {
            kinds.entry(kind).or_default().0 = objects;
        } else if let Some((kind, bytes)) = series("instar_cached_bytes") {
            kinds.entry(kind).or_default().1 = bytes;
        }
    }
    Ok(kinds)
}

/// Said of a write that is only tried.
const TRIED: &str = " (dry run)";

/// What a program asks for itself, however many Clusters there are: the definitions of its kinds, and whether Cluster API
/// would take Runtime Hooks.
const HOUSEKEEPING: [&str; 3] = ["customresourcedefinitions", "extensionconfigs", "namespaces"];

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    /// Also what is only tried: it changes nothing.
    Reads,
    Writes,
    /// A status or an Event.
    Reports,
    /// Watches end by themselves, and are taken up again.
    Watches,
    Programs,
}

impl Sort {
    pub(crate) fn of(verb: &str, resource: &str) -> Self {
        let kind = resource.strip_suffix(TRIED).unwrap_or(resource);
        if verb == "watch" {
            Self::Watches
        } else if HOUSEKEEPING.contains(&kind) {
            Self::Programs
        } else if matches!(verb, "get" | "list") || kind != resource {
            Self::Reads
        } else if kind == "events" || kind.ends_with("/status") {
            Self::Reports
        } else {
            Self::Writes
        }
    }

    pub(crate) const fn is_about_a_cluster(self) -> bool {
        match self {
            Self::Reads | Self::Writes | Self::Reports => true,
            Self::Watches | Self::Programs => false,
        }
    }
}

/// Instar's requests, verb and resource, but for the first ones.
pub(crate) fn requests(mgmt: &Mgmt, first: usize) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(mgmt.audit_log())?;
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = events.filter(|event| {
        let user = event["user"]["username"].as_str().unwrap_or_default();
        let resource = event["objectRef"]["resource"].as_str();
        user.starts_with("system:serviceaccount:instar-system:") && resource != Some("leases")
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let requests = ours.map(|event| {
        let (resource, part) = (
            text(&event["objectRef"]["resource"]),
            text(&event["objectRef"]["subresource"]),
        );
        let resource = if part.is_empty() {
            resource
        } else {
            format!("{resource}/{part}")
        };
        let is_tried = text(&event["requestURI"]).contains("dryRun=All");
        let resource = if is_tried {
            format!("{resource}{TRIED}")
        } else {
            resource
        };
        (text(&event["verb"]), resource)
    });
    Ok(requests.skip(first).collect())
}
