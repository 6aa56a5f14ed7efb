//! Instar on the cluster: installed from what we ship, and run with the rights that we ship.
//!
//! A process takes the place of each Deployment's pods: it gets the Deployment's arguments, a
//! token of the Deployment's ServiceAccount, and a certificate in place of cert-manager's.

mod deployment;
mod installed;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::{
    components::Component,
    infrastructure::Infrastructure,
    kubeconfig::Credentials,
    manifests::{self, RENDERER, kind},
    mgmt::{Mgmt, accounts},
    ports,
    process::Launch,
    progress::say,
    workspace,
};
use deployment::Deployment;

pub use installed::Installed;

/// Names the program where it is not beside the running one.
pub const PROGRAM: &str = "INSTAR_BIN";

/// Where Instar is told which cluster is its own.
const KUBECONFIG: &str = "KUBECONFIG";

/// What is installed here of what we ship: all of it, and the role for the templates of machines in memory.
#[must_use]
pub fn shipped() -> Vec<PathBuf> {
    shipped_for(Infrastructure::InMemory)
}

fn shipped_for(infrastructure: Infrastructure) -> Vec<PathBuf> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let provider = match infrastructure {
        Infrastructure::InMemory => "providers/docker",
        Infrastructure::Vsphere => "providers/vsphere",
    };
    vec![config.join("default"), config.join(provider)]
}

/// In which step an object is installed, if a process needs it at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Namespace,
    Definition,
    Rule,
    Webhook,
}

impl Step {
    /// None for what only a pod needs: Deployment, Service, certificates, budgets, policies.
    fn of(kind: &str) -> Option<Self> {
        match kind {
            "Namespace" => Some(Self::Namespace),
            "CustomResourceDefinition" => Some(Self::Definition),
            "ServiceAccount"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "Role"
            | "RoleBinding"
            | "ConfigMap"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding" => Some(Self::Rule),
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => Some(Self::Webhook),
            _ => None,
        }
    }
}

/// What is installed on a cluster beside Cluster API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// Nothing.
    ClusterApi,
    /// Instar, from `config/default` and the role for the infrastructure in `config/providers`.
    Instar,
}

impl Setup {
    /// Installs it.
    pub async fn install(self, mgmt: &Mgmt) -> Result<()> {
        match self {
            Self::ClusterApi => Ok(()),
            Self::Instar => {
                let config = shipped_for(mgmt.built().infrastructure());
                mgmt.install_instar(&config).await.context("installing Instar")
            }
        }
    }
}

impl Mgmt {
    /// Installs Instar from kustomizations, starts its programs, and waits until they are ready.
    ///
    /// The webhook configurations come last: until Instar answers, they would refuse every edit.
    pub async fn install_instar(&self, config: &[PathBuf]) -> Result<()> {
        let program = program()?;
        let rendered = self.rendered(config).await?;
        let deployments = rendered.iter().filter(|object| kind(object) == "Deployment");
        let deployments: Vec<Deployment> = deployments.map(Deployment::read).collect::<Result<_>>()?;
        if deployments.is_empty() {
            bail!("{config:?} have no Deployment");
        }

        for step in [Step::Namespace, Step::Definition, Step::Rule] {
            self.install(&rendered, step).await?;
        }
        self.certificates()
            .issue_server("instar")?
            .write(&self.run().instar_certs())?;
        for deployment in &deployments {
            self.run_as_deployed(&program, deployment).await?;
        }
        self.install(&rendered, Step::Webhook).await?;
        say("Instar is installed and ready");
        Ok(())
    }

    /// Applies all that is installed once more, as an upgrade of Instar does: nothing is started, and
    /// nothing is waited for but the API server.
    pub async fn apply_instar(&self, config: &[PathBuf]) -> Result<()> {
        let rendered = self.rendered(config).await?;
        for step in [Step::Namespace, Step::Definition, Step::Rule, Step::Webhook] {
            self.install(&rendered, step).await?;
        }
        Ok(())
    }

    /// Starts the program of a Deployment that something else has installed, with a token of its ServiceAccount as it is
    /// now, and waits until it is ready.
    pub async fn run_deployed(&self, deployment: &Value) -> Result<Component> {
        let deployment = Deployment::read(deployment)?;
        self.run_as_deployed(&program()?, &deployment).await?;
        Ok(deployment.component)
    }

    async fn rendered(&self, config: &[PathBuf]) -> Result<Vec<Value>> {
        let mut rendered = Vec::new();
        for directory in config {
            if !directory.join("kustomization.yaml").is_file() {
                bail!(
                    "{} has no kustomization.yaml: Instar is installed from there",
                    directory.display()
                );
            }
            rendered.extend(manifests::kustomize(self.built().program(RENDERER)?, directory).await?);
        }
        Ok(rendered)
    }

    async fn run_as_deployed(&self, program: &Path, deployment: &Deployment) -> Result<()> {
        let component = deployment.component;
        let (namespace, account) = (&deployment.namespace, &deployment.service_account);
        let token = accounts::token(self.client(), namespace, account).await?;
        self.write_kubeconfig(component, account, &Credentials::Token(&token))?;
        let kubeconfig = self.run().kubeconfig_of(component.name());
        let launch = Launch {
            name: component.name().to_owned(),
            program: program.to_owned(),
            arguments: deployment.arguments(&self.run().instar_certs(), &self.certificates().authority_file()),
            environment: {
                let mut environment = deployment.environment.clone();
                environment.push((KUBECONFIG.to_owned(), kubeconfig.into()));
                environment
            },
            log: self.run().log(component.name()),
        };
        self.set_launch(component, launch.clone()).await;
        self.launch(component, launch).await?;
        self.wait_ready(component).await
    }

    /// The configurations of the webhooks, for a server of Instar at a port on loopback.
    pub async fn instar_webhooks(&self, port: u16) -> Result<Vec<DynamicObject>> {
        let rendered = self.rendered(&shipped_for(self.built().infrastructure())).await?;
        self.of_step(&rendered, Step::Webhook, port)
    }

    fn of_step(&self, rendered: &[Value], step: Step, port: u16) -> Result<Vec<DynamicObject>> {
        let mut objects: Vec<_> = rendered
            .iter()
            .filter(|object| Step::of(kind(object)) == Some(step))
            .cloned()
            .collect();
        for object in &mut objects {
            manifests::transform(object, port);
        }
        manifests::trusting(&objects, self.certificates().authority())
    }

    async fn install(&self, rendered: &[Value], step: Step) -> Result<()> {
        let objects = self.of_step(rendered, step, ports::WEBHOOK)?;
        let names: Vec<_> = objects
            .iter()
            .filter_map(|object| object.metadata.name.clone())
            .collect();
        self.applier().all(objects, None).await?;
        if step == Step::Definition {
            self.wait_established(&names).await?;
        }
        Ok(())
    }
}

/// `INSTAR_BIN`, else `instar` beside the running program.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(PROGRAM).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("{PROGRAM} names {}, which is no file", path.display());
        }
        return Ok(path);
    }
    workspace::program("instar", "instar")
}
