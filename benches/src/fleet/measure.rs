//! What a program takes at its start and while nothing happens.

use std::time::{Duration, Instant};

use instar_benches::process::{self, cpu};
use instar_e2e::{Context, Result, components::Component, instar::Installed, mgmt::Mgmt};
use serde_json::Value;
use tokio::time::sleep;

/// A program is settled once it has used less than this in so long.
const QUIET: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// At most so long is waited for that.
const SETTLES: Duration = Duration::from_mins(3);

/// How long nothing happens.
const IDLE: Duration = Duration::from_mins(1);

#[derive(Clone, Copy)]
pub(crate) enum Program {
    Controller,
    Webhook,
}

impl Program {
    pub(crate) const ALL: [Self; 2] = [Self::Controller, Self::Webhook];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Webhook => "webhook",
        }
    }

    const fn component(self) -> Component {
        match self {
            Self::Controller => Component::InstarController,
            Self::Webhook => Component::InstarWebhook,
        }
    }

    fn installed(self, mgmt: &Mgmt) -> Installed<'_> {
        match self {
            Self::Controller => mgmt.controller(),
            Self::Webhook => mgmt.webhook(),
        }
    }

    /// Stops it, if it runs.
    pub(crate) async fn stop(self, mgmt: &Mgmt) -> Result<()> {
        if mgmt.pid(self.component()).await.is_some() {
            self.installed(mgmt).stop().await?;
        }
        Ok(())
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
    pub(crate) peak: f64,
    /// The part of a core.
    pub(crate) idle: f64,
    /// In that minute.
    pub(crate) idle_requests: usize,
}

pub(crate) async fn started(mgmt: &Mgmt, program: Program) -> Result<Started> {
    let began = Instant::now();
    program.installed(mgmt).start().await?;
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
        peak: memory.peak,
        idle: cpu(pid)?.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64(),
        idle_requests: self::requests(mgmt, requests)?.len(),
    })
}

/// The verbs of Instar's requests, but for the first ones.
pub(crate) fn requests(mgmt: &Mgmt, first: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(mgmt.audit_log())?;
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = events.filter(|event| {
        let user = event["user"]["username"].as_str().unwrap_or_default();
        let resource = event["objectRef"]["resource"].as_str();
        user.starts_with("system:serviceaccount:instar-system:") && resource != Some("leases")
    });
    let verbs = ours.map(|event| event["verb"].as_str().unwrap_or_default().to_owned());
    Ok(verbs.skip(first).collect())
}
