//! A running management cluster, as a test sees it.

pub(crate) mod accounts;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
    core::{DynamicObject, ObjectMeta},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    apply::Applier,
    certificates::{Certificates, replace},
    components::{Component, Memory, RuntimeSdk, Site},
    gobuild::Built,
    infrastructure::Infrastructure,
    kubeconfig::{self, Credentials},
    manifests::{self, Provider, ServedVersions},
    ports,
    process::{Launch, Process},
    procfs::Identity,
    progress::{say, spoken},
    rundir::RunDir,
    wait::wait_for,
};

/// How long a process has to become ready; a busy machine takes a third of it.
const READY: Duration = Duration::from_secs(90);

/// What is written down about a process, for [`crate::status`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Which one.
    pub component: Component,
    /// Its number inside.
    pub process: Identity,
    /// Its log.
    pub log: PathBuf,
}

/// A running management cluster.
pub struct Mgmt {
    run: RunDir,
    built: Built,
    certificates: Certificates,
    memory: Memory,
    client: Client,
    applier: Applier,
    http: reqwest::Client,
    processes: Mutex<BTreeMap<Component, Process>>,
    /// How Instar's programs are started, once they are installed.
    instar: Mutex<BTreeMap<Component, Launch>>,
}

impl std::fmt::Debug for Mgmt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mgmt").field("run", &self.run).finish_non_exhaustive()
    }
}

impl Mgmt {
    /// Starts a cluster in this place and waits until all of it is ready.
    pub async fn start(run: RunDir, built: Built, runtime_sdk: RuntimeSdk, served: ServedVersions) -> Result<Self> {
        let began = Instant::now();
        let mgmt = Self::start_kubernetes(run, built, Memory::Shared, began).await?;
        mgmt.install_providers(served, |_| true).await?;
        mgmt.introduce_managers().await?;
        say(format!(
            "the CRDs and webhooks of Cluster API are installed after {}",
            spoken(began.elapsed())
        ));

        let site = mgmt.site();
        mgmt.launch(Component::CapiCore, site.capi_core(runtime_sdk)?).await?;
        mgmt.launch(Component::Bootstrap, site.bootstrap()?).await?;
        mgmt.launch(Component::ControlPlane, site.control_plane()?).await?;
        for (component, launch) in site.infrastructure()? {
            mgmt.launch(component, launch).await?;
        }
        let managers = Component::managers(mgmt.built.infrastructure()).iter().copied();
        let rest = managers.chain([Component::ControllerManager]);
        try_join_all(rest.map(|component| mgmt.wait_ready(component))).await?;
        match mgmt.built.infrastructure() {
            Infrastructure::InMemory => {}
            Infrastructure::Vsphere => mgmt.start_vcenter().await?,
        }
        say(format!(
            "all of the management cluster is ready after {}",
            spoken(began.elapsed())
        ));
        Ok(mgmt)
    }

    /// Starts one that has Cluster API's kinds at the version that is stored, and nothing of it that acts or
    /// refuses: what is written there stays as it is written.
    pub async fn start_still(run: RunDir, built: Built) -> Result<Self> {
        let mgmt = Self::start_kubernetes(run, built, Memory::Alone, Instant::now()).await?;
        mgmt.install_providers(ServedVersions::Stored, is_crd).await?;
        mgmt.wait_ready(Component::ControllerManager).await?;
        Ok(mgmt)
    }

    /// Starts Cluster API's core on one that stands still: it watches what it always watches, and acts on nothing, since
    /// no object has the label that it is told to look for.
    pub async fn start_watching_core(&self) -> Result<()> {
        self.introduce_managers().await?;
        let mut launch = self.site().capi_core(RuntimeSdk::Off)?;
        launch.arguments.extend([
            "--watch-filter=none".to_owned(),
            "--skip-crd-migration-phases=StorageVersionMigration,CleanupManagedFields".to_owned(),
        ]);
        self.launch(Component::CapiCore, launch).await?;
        self.wait_ready(Component::CapiCore).await
    }

    async fn start_kubernetes(run: RunDir, built: Built, memory: Memory, began: Instant) -> Result<Self> {
        let certificates = Certificates::create(&run.certs())?;
        let admin = certificates.issue_client("admin", "system:masters")?;
        kubeconfig::write(
            &run.kubeconfig(),
            certificates.authority(),
            "admin",
            &Credentials::Certificate(&admin),
        )?;
        let client = kubeconfig::client(&run.kubeconfig()).await?;
        let mgmt = Self {
            applier: Applier::new(client.clone()),
            http: http_client(certificates.authority())?,
            processes: Mutex::default(),
            instar: Mutex::default(),
            run,
            built,
            certificates,
            memory,
            client,
        };
        let site = mgmt.site();
        mgmt.launch(Component::Etcd, site.etcd()?).await?;
        mgmt.launch(Component::ApiServer, site.api_server()?).await?;
        mgmt.wait_ready(Component::Etcd).await?;
        mgmt.wait_ready(Component::ApiServer).await?;
        say(format!(
            "etcd and kube-apiserver are ready after {}",
            spoken(began.elapsed())
        ));
        mgmt.introduce_controller_manager()?;
        mgmt.launch(Component::ControllerManager, site.controller_manager()?)
            .await?;
        Ok(mgmt)
    }

    fn site(&self) -> Site<'_> {
        Site {
            run: &self.run,
            built: &self.built,
            certificates: &self.certificates,
            memory: self.memory,
        }
    }

    /// A client with the administrator's rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The cluster's directory.
    #[must_use]
    pub const fn run(&self) -> &RunDir {
        &self.run
    }

    /// The programs that it runs.
    #[must_use]
    pub const fn built(&self) -> &Built {
        &self.built
    }

    /// The cluster's authority, for certificates of a test's own.
    #[must_use]
    pub const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Applies objects of any kind.
    #[must_use]
    pub const fn applier(&self) -> &Applier {
        &self.applier
    }

    /// An HTTP client that trusts the cluster's authority.
    #[must_use]
    pub const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Every request of Instar, one JSON object per line; written before each is answered.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.run.audit_log()
    }

    /// Makes a namespace whose name starts with a prefix and is new.
    pub async fn namespace(&self, prefix: &str, labels: BTreeMap<String, String>) -> Result<String> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{prefix}-")),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let api: Api<Namespace> = Api::all(self.client());
        let made = api.create(&PostParams::default(), &namespace).await;
        Ok(made
            .with_context(|| format!("making the namespace {prefix}-"))?
            .name_any())
    }

    /// Applies the documents of a YAML text, in their order, as the administrator.
    pub async fn apply(&self, namespace: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
        let mut applied = Vec::new();
        for document in manifests::documents(yaml)? {
            let object: DynamicObject = serde_json::from_value(document)?;
            applied.push(self.applier.one(object, Some(namespace)).await?);
        }
        Ok(applied)
    }

    /// Restarts Cluster API's core with the gate on or off, and waits until it is ready again.
    ///
    /// It belongs to all tests: only for exclusive journeys, which leave it [`RuntimeSdk::On`].
    pub async fn restart_core(&self, runtime_sdk: RuntimeSdk) -> Result<()> {
        self.restart(Component::CapiCore, self.site().capi_core(runtime_sdk)?)
            .await
    }

    /// Restarts Cluster API's managers so that their controllers look at nothing but what has a label,
    /// or at everything again. Their webhooks answer all the same.
    ///
    /// They belong to all tests: only for exclusive journeys, which leave them looking at everything.
    pub async fn look_at(&self, label: Option<&str>) -> Result<()> {
        let site = self.site();
        let launches = [
            (Component::CapiCore, site.capi_core(RuntimeSdk::On)?),
            (Component::Bootstrap, site.bootstrap()?),
            (Component::ControlPlane, site.control_plane()?),
        ];
        let launches = launches.into_iter().chain(site.infrastructure()?);
        let restarts = launches.map(|(component, mut launch)| {
            launch
                .arguments
                .extend(label.map(|label| format!("--watch-filter={label}")));
            self.restart(component, launch)
        });
        try_join_all(restarts).await.map(drop)
    }

    /// Restarts a process with another launch, and waits until it is ready again.
    pub async fn restart(&self, component: Component, launch: Launch) -> Result<()> {
        self.end(component).await?;
        self.launch(component, launch).await?;
        self.wait_ready(component).await
    }

    /// The process of a component, by its pid; none if it was not started.
    pub async fn pid(&self, component: Component) -> Option<u32> {
        self.processes
            .lock()
            .await
            .get(&component)
            .map(|process| process.identity().pid)
    }

    /// Ends a process.
    pub async fn end(&self, component: Component) -> Result<()> {
        let mut processes = self.processes.lock().await;
        if let Some(mut process) = processes.remove(&component) {
            process.stop().await?;
        }
        self.record(&processes)
    }

    /// Kills a process with no chance to say goodbye.
    pub async fn kill(&self, component: Component) -> Result<()> {
        let mut processes = self.processes.lock().await;
        if let Some(mut process) = processes.remove(&component) {
            process.kill().await?;
        }
        self.record(&processes)
    }

    /// Ends the whole cluster.
    pub async fn stop(&self) -> Result<()> {
        let mut processes = self.processes.lock().await;
        // Their data goes too, so nobody needs time for a goodbye.
        let killed = processes.values_mut().map(Process::kill);
        try_join_all(killed).await?;
        processes.clear();
        self.record(&processes)
    }

    pub(crate) async fn launch(&self, component: Component, launch: Launch) -> Result<()> {
        let process = Process::start(launch).await?;
        let mut processes = self.processes.lock().await;
        processes.insert(component, process);
        self.record(&processes)
    }

    pub(crate) async fn set_launch(&self, component: Component, launch: Launch) {
        self.instar.lock().await.insert(component, launch);
    }

    pub(crate) async fn launch_of(&self, component: Component) -> Result<Launch> {
        let installed = self.instar.lock().await.get(&component).cloned();
        installed.with_context(|| format!("{component} is not installed on this cluster"))
    }

    /// Fails if a process has ended, or was not started.
    pub async fn check_runs(&self, component: Component) -> Result<()> {
        let processes = self.processes.lock().await;
        let process = processes.get(&component);
        process
            .with_context(|| format!("{component} was not started"))?
            .check_runs()
    }

    fn record(&self, processes: &BTreeMap<Component, Process>) -> Result<()> {
        let record = |(component, process): (&Component, &Process)| Record {
            component: *component,
            process: process.identity(),
            log: process.log().to_owned(),
        };
        let records: Vec<_> = processes.iter().map(record).collect();
        replace(&self.run.processes(), &serde_json::to_string(&records)?)
    }

    /// Waits until a process says that it is ready and its webhooks answer.
    pub async fn wait_ready(&self, component: Component) -> Result<()> {
        let ended = async {
            loop {
                if let Some(process) = self.processes.lock().await.get(&component)
                    && let Err(error) = process.check_runs()
                {
                    return error;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let what = format!("{component} to be ready");
        let ready = wait_for(&what, READY, || async move { Ok(probe(&self.http, component).await?) });
        tokio::select! {
            ready = ready => ready.with_context(|| format!("its log: {}", self.run.log(component.name()).display())),
            error = ended => Err(error),
        }
    }

    async fn install_providers(&self, served: ServedVersions, wanted: fn(&DynamicObject) -> bool) -> Result<()> {
        let mut objects = Vec::new();
        for provider in Provider::of(self.built.infrastructure()).iter().copied() {
            objects.extend(manifests::load(
                self.built.manifests(provider)?,
                provider,
                self.certificates.authority(),
            )?);
        }
        objects.retain(wanted);
        let mut crds = Vec::new();
        for definition in objects.iter_mut().filter(|object| is_crd(object)) {
            served.apply(definition);
            crds.push(definition.name_any());
        }
        self.applier.all(objects, None).await?;
        self.wait_established(&crds).await
    }

    /// Waits until the API server serves the kinds of these CRDs.
    pub(crate) async fn wait_established(&self, names: &[String]) -> Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        wait_for("the CRDs to be established", READY, || async {
            let crds = api.list(&ListParams::default()).await?;
            let established = |name: &&String| crds.iter().any(|crd| crd.name_any() == **name && is_established(crd));
            match names.iter().find(|name| !established(name)) {
                Some(name) => Err(format!("{name} is not").into()),
                None => Ok(()),
            }
        })
        .await
    }
}

/// Whether a component is ready at this moment.
pub async fn probe(http: &reqwest::Client, component: Component) -> Result<()> {
    let url = component.ready_url();
    let response = http.get(&url).send().await?;
    let status = response.status();
    if !status.is_success() {
        let text = response.text().await.unwrap_or_default();
        anyhow::bail!("{url} answers {status}: {}", text.trim());
    }
    if let Some(port) = component.webhook_port() {
        ports::accepts(port).await?;
    }
    Ok(())
}

/// An HTTP client for readiness: one short answer, from loopback.
pub fn http_client(authority: &str) -> Result<reqwest::Client> {
    let authority = reqwest::Certificate::from_pem(authority.as_bytes())?;
    let client = reqwest::Client::builder()
        .tls_certs_only([authority])
        .timeout(Duration::from_secs(5))
        .no_proxy();
    Ok(client.build()?)
}

fn is_crd(object: &DynamicObject) -> bool {
    object
        .types
        .as_ref()
        .is_some_and(|types| types.kind == "CustomResourceDefinition")
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}
