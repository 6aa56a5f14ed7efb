//! The controller as a process of a journey's own, and what the installed one is seen to do.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;

use super::journeys::JourneyContext;
use crate::{
    instar::program,
    ports,
    process::{Launch, Process},
    procfs::Identity,
    wait::wait_for,
};

/// Its ServiceAccount, and that of the installed one.
const USER: &str = "system:serviceaccount:instar-system:instar-controller";

/// A controller of a journey's own, as whom the installed one is: for journeys that kill it. It
/// takes no lease, so that it leads at once.
pub struct Controller<'a> {
    scene: &'a JourneyContext,
    launch: Launch,
    port: u16,
    process: Option<Process>,
}

impl<'a> Controller<'a> {
    /// Stops the installed one, starts this one, and waits until it is ready.
    pub async fn start(scene: &'a JourneyContext) -> Result<Self> {
        scene.mgmt.controller().stop().await?;
        Self::start_at(scene, ports::CONTROLLER_HEALTH, Vec::new()).await
    }

    /// The same, and it tells Cluster API where Runtime Hooks are answered, as the installed one does.
    pub async fn start_with_hooks(scene: &'a JourneyContext) -> Result<Self> {
        scene.mgmt.controller().stop().await?;
        let authority = scene.mgmt.certificates().authority_file();
        let hooks = vec![
            format!("--extension-url=https://127.0.0.1:{}", ports::WEBHOOK),
            format!("--extension-ca-file={}", authority.display()),
        ];
        Self::start_at(scene, ports::CONTROLLER_HEALTH, hooks).await
    }

    /// One more beside the first.
    pub async fn start_second(scene: &'a JourneyContext) -> Result<Self> {
        Self::start_at(scene, ports::SECOND_CONTROLLER_HEALTH, Vec::new()).await
    }

    async fn start_at(scene: &'a JourneyContext, port: u16, more: Vec<String>) -> Result<Self> {
        let mut arguments = vec![
            "controller".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--health-port={port}"),
            "--no-leader-election".to_owned(),
            // A minute at the end of each journey would tell nothing more.
            "--node-ready-seconds=0".to_owned(),
        ];
        arguments.extend(more);
        let mut controller = Self {
            scene,
            launch: Launch {
                name: "controller".to_owned(),
                program: program()?,
                arguments,
                environment: vec![("KUBECONFIG".to_owned(), scene.mgmt.controller().kubeconfig().into())],
                log: scene.mgmt.run().log("controller"),
            },
            port,
            process: None,
        };
        controller.go().await?;
        Ok(controller)
    }

    /// Starts its process, and waits until it is ready.
    pub async fn go(&mut self) -> Result<()> {
        self.spawn().await?;
        let process = self.process.as_ref().context("the controller was not started")?;
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        wait_for("the controller to be ready", Duration::from_secs(30), || async {
            process.check_runs()?;
            let answer = self.scene.mgmt.http().get(&url).send().await?;
            let (status, text) = (answer.status(), answer.text().await?);
            if status.is_success() { Ok(()) } else { Err(text.into()) }
        })
        .await
    }

    /// Starts its process and says which it is, also if it ends at once.
    pub async fn spawn(&mut self) -> Result<Identity> {
        Ok(self
            .process
            .insert(Process::start(self.launch.clone()).await?)
            .identity())
    }

    /// Kills it, and starts it again with another kubeconfig.
    pub async fn restart_with(&mut self, kubeconfig: &Path) -> Result<()> {
        self.kill().await?;
        self.launch.environment = vec![("KUBECONFIG".to_owned(), kubeconfig.into())];
        self.go().await
    }

    /// Kills it with no chance to say goodbye.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// Fails if it has ended.
    pub fn runs(&self) -> Result<()> {
        self.process
            .as_ref()
            .context("the controller was not started")?
            .check_runs()
    }
}

/// Whether what a request writes is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    Yes,
    /// A dry run.
    Tried,
}

/// A request of the controller, as the audit log has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    pub namespace: String,
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub name: String,
    pub code: u64,
    pub kept: Kept,
}

/// All requests that controllers ever made, in their order.
pub fn requests(scene: &JourneyContext) -> Result<Vec<Request>> {
    let path = scene.mgmt.audit_log();
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    // The last line may be half written.
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let requests = events.filter(|event| event["user"]["username"] == USER && event.get("objectRef").is_some());
    Ok(requests
        .map(|event| {
            let at = |field: &str| event["objectRef"][field].as_str().unwrap_or_default().to_owned();
            let (resource, sub) = (at("resource"), at("subresource"));
            Request {
                namespace: at("namespace"),
                verb: event["verb"].as_str().unwrap_or_default().to_owned(),
                group: at("apiGroup"),
                resource: if sub.is_empty() {
                    resource
                } else {
                    format!("{resource}/{sub}")
                },
                name: at("name"),
                code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
                kept: if event["requestURI"]
                    .as_str()
                    .is_some_and(|uri| uri.contains("dryRun=All"))
                {
                    Kept::Tried
                } else {
                    Kept::Yes
                },
            }
        })
        .collect())
}

/// How many writes were made in the journey's namespace to anything but one record, of which events
/// tell too.
pub fn writes_but_to(scene: &JourneyContext, record: &str) -> Result<usize> {
    let requests = requests(scene)?;
    let writes = requests.iter().filter(|request| request.writes_in(scene));
    Ok(writes
        .filter(|request| request.name != record && request.resource != "events")
        .count())
}

/// How many of them were about what an upgrade is made of: records, templates, swaps.
pub fn steps(scene: &JourneyContext) -> Result<usize> {
    let told: BTreeSet<&str> = ["events", "clusterupgrades/status"].into();
    let requests = requests(scene)?;
    let counted = requests
        .iter()
        .filter(|request| request.writes_in(scene) && request.code < 300);
    Ok(counted
        .filter(|request| !told.contains(request.resource.as_str()))
        .count())
}

impl Request {
    fn writes_in(&self, scene: &JourneyContext) -> bool {
        self.kept == Kept::Yes
            && self.namespace == scene.namespace
            && ["create", "patch", "update", "delete"].contains(&self.verb.as_str())
    }
}
