//! The controller as a process, with the rights that its rules give and no others.

use std::{collections::BTreeSet, path::Path, time::Duration};

use instar_api::{ClusterUpgrade, KubernetesRelease};
use instar_controller::{LEASE_RULES, PROVIDERS, RULES, Rule};
use instar_e2e::{
    Context, Result,
    instar::program,
    journeys::Scene,
    kubeconfig::{self, Credentials},
    ports,
    process::{Launch, Process},
    procfs::Identity,
    wait::wait_for,
};
use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::ServiceAccount,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, CustomResourceExt, api::PostParams};
use serde_json::{Value, json};

/// Its namespace: the audit log has what this namespace's accounts do.
pub(crate) const SYSTEM: &str = "instar-system";
/// Its ServiceAccount.
pub(crate) const ACCOUNT: &str = "instar-controller";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Whether it takes the lease first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Election {
    /// It does.
    Lease,
    /// It is alone.
    None,
}

/// The controller, installed; and its process, while it runs.
pub(crate) struct Controller<'a> {
    scene: &'a Scene,
    launch: Launch,
    port: u16,
    process: Option<Process>,
}

impl<'a> Controller<'a> {
    /// Installs what it needs, starts it, and waits until it is ready.
    pub(crate) async fn start(scene: &'a Scene, election: Election) -> Result<Self> {
        Self::start_at(scene, election, ports::INSTAR_HEALTH).await
    }

    /// The same, with its health at another port: one more beside the first.
    pub(crate) async fn start_at(scene: &'a Scene, election: Election, port: u16) -> Result<Self> {
        install(scene).await?;
        let account: Api<ServiceAccount> = Api::namespaced(scene.mgmt.client(), SYSTEM);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(24 * 3600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let issued = account
            .create_token_request(ACCOUNT, &PostParams::default(), &request)
            .await?;
        let token = issued.status.context("the API server issued no token")?.token;
        let path = scene.mgmt.run().instar_kubeconfig();
        let authority = scene.mgmt.certificates().authority();
        kubeconfig::write(&path, authority, ACCOUNT, &Credentials::Token(&token))?;
        let mut arguments = vec![
            "controller".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--health-port={port}"),
        ];
        arguments.push(match election {
            Election::Lease => format!("--lease-namespace={SYSTEM}"),
            Election::None => "--no-leader-election".to_owned(),
        });
        let mut controller = Self {
            scene,
            launch: Launch {
                name: "instar-controller".to_owned(),
                program: program()?,
                arguments,
                environment: vec![("KUBECONFIG".to_owned(), path.into())],
                log: scene.mgmt.run().log("instar-controller"),
            },
            port,
            process: None,
        };
        controller.go().await?;
        Ok(controller)
    }

    /// Starts its process, and waits until it is ready.
    pub(crate) async fn go(&mut self) -> Result<()> {
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
    pub(crate) async fn spawn(&mut self) -> Result<Identity> {
        Ok(self
            .process
            .insert(Process::start(self.launch.clone()).await?)
            .identity())
    }

    /// Kills it, and starts it again with another kubeconfig.
    pub(crate) async fn restart_with(&mut self, kubeconfig: &Path) -> Result<()> {
        self.kill().await?;
        self.launch.environment = vec![("KUBECONFIG".to_owned(), kubeconfig.into())];
        self.go().await
    }

    /// Kills it with no chance to say goodbye.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// Fails if it has ended.
    pub(crate) fn runs(&self) -> Result<()> {
        self.process
            .as_ref()
            .context("the controller was not started")?
            .check_runs()
    }

    /// How many passes it has made that wrote nothing.
    pub(crate) async fn idle_passes(&self) -> Result<u64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        let text = self.scene.mgmt.http().get(url).send().await?.text().await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("instar_reconcile_total{outcome=\"Idle\"}"));
        Ok(line.map_or(Ok(0), |line| line.trim().parse())?)
    }
}

/// The definitions, the account and its roles, from the code.
async fn install(scene: &Scene) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(scene.mgmt.client());
    let mut definitions_made = Vec::new();
    for definition in [KubernetesRelease::crd(), ClusterUpgrade::crd()] {
        definitions_made.extend(definition.metadata.name.clone());
        scene.apply_object(serde_json::to_value(definition)?).await?;
    }
    wait_for("the CRDs to be established", Duration::from_secs(30), || async {
        for name in &definitions_made {
            let status = definitions.get(name).await?.status.unwrap_or_default();
            let conditions = status.conditions.unwrap_or_default();
            if !conditions
                .iter()
                .any(|condition| condition.type_ == "Established" && condition.status == "True")
            {
                return Err(format!("{name}: {conditions:?}").into());
            }
        }
        Ok(())
    })
    .await?;
    let named = json!({ "name": ACCOUNT, "namespace": SYSTEM });
    let subjects = json!([{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM }]);
    let reference = |kind: &str| json!({ "apiGroup": RBAC, "kind": kind, "name": ACCOUNT });
    let api_version = format!("{RBAC}/v1");
    let provider = PROVIDERS.iter().find(|provider| provider.name == "in-memory");
    let provider = provider.context("no rules for the in-memory provider")?;
    let granted = [rules(RULES), rules(provider.rules)].concat();
    for object in [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SYSTEM } }),
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": named }),
        json!({ "apiVersion": api_version, "kind": "ClusterRole", "metadata": { "name": ACCOUNT }, "rules": granted }),
        json!({ "apiVersion": api_version, "kind": "ClusterRoleBinding", "metadata": { "name": ACCOUNT },
            "roleRef": reference("ClusterRole"), "subjects": subjects }),
        json!({ "apiVersion": api_version, "kind": "Role", "metadata": named, "rules": rules(LEASE_RULES) }),
        json!({ "apiVersion": api_version, "kind": "RoleBinding", "metadata": named,
            "roleRef": reference("Role"), "subjects": subjects }),
    ] {
        scene.apply_object(object).await?;
    }
    Ok(())
}

fn rules(rules: &[Rule]) -> Vec<Value> {
    let rule =
        |rule: &Rule| json!({ "apiGroups": [rule.api_group], "resources": [rule.resource], "verbs": rule.verbs });
    rules.iter().map(rule).collect()
}

/// A request of the controller, as the audit log has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) namespace: String,
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) code: u64,
}

/// All requests that the controller ever made, in their order.
pub(crate) fn requests(scene: &Scene) -> Result<Vec<Request>> {
    let path = scene.mgmt.audit_log();
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    // The last line may be half written.
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = format!("system:serviceaccount:{SYSTEM}:{ACCOUNT}");
    let requests =
        events.filter(|event| event["user"]["username"] == ours.as_str() && event.get("objectRef").is_some());
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
                code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
            }
        })
        .collect())
}

/// How many writes it made, but for the lease.
pub(crate) fn writes(scene: &Scene) -> Result<usize> {
    let writes = ["create", "patch", "update", "delete"];
    let requests = requests(scene)?;
    let counted = requests
        .iter()
        .filter(|request| writes.contains(&request.verb.as_str()));
    Ok(counted.filter(|request| request.resource != "leases").count())
}

/// How many of those in the scene's namespace were carried out and are what an upgrade is made of:
/// records, templates, swaps.
pub(crate) fn steps(scene: &Scene) -> Result<usize> {
    let told: BTreeSet<&str> = ["events", "clusterupgrades/status", "leases"].into();
    let writes = ["create", "patch", "delete"];
    let requests = requests(scene)?;
    let counted = requests
        .iter()
        .filter(|request| request.namespace == scene.namespace)
        .filter(|request| writes.contains(&request.verb.as_str()) && request.code < 300);
    Ok(counted
        .filter(|request| !told.contains(request.resource.as_str()))
        .count())
}
