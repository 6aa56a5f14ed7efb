//! Instar on the cluster: installed from what we ship, and run with the rights that we ship.
//!
//! A process takes the place of the Deployment's pod: it gets the Deployment's arguments, a
//! token of the Deployment's ServiceAccount, and a certificate in place of cert-manager's.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use serde_json::Value;

use crate::{
    components::Component,
    kubeconfig::{self, Credentials},
    manifests::{self, RENDERER, kind},
    mgmt::Mgmt,
    ports,
    process::Launch,
    progress::say,
};

/// Names the program where it is not beside the running one.
pub const PROGRAM: &str = "INSTAR_BIN";

/// Where Instar is told which cluster is its own.
const KUBECONFIG: &str = "KUBECONFIG";

/// How long the token lasts: longer than any cluster here.
const TOKEN_SECONDS: i64 = 7 * 24 * 3600;

/// Where what we install is written down.
#[must_use]
pub fn default_config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/default")
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

/// What the Deployment says of the process.
#[derive(Debug, PartialEq, Eq)]
struct Deployment {
    namespace: String,
    service_account: String,
    arguments: Vec<String>,
}

impl Deployment {
    fn read(object: &Value) -> Result<Self> {
        let text = |pointer: &str| {
            let found = object.pointer(pointer).and_then(Value::as_str);
            found
                .map(ToOwned::to_owned)
                .with_context(|| format!("the Deployment has no {pointer}"))
        };
        let list = |pointer: &str| {
            let found = object.pointer(pointer).and_then(Value::as_array);
            found
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(ToOwned::to_owned)
        };
        // The first word of `command` is the program in the image.
        let arguments = list("/spec/template/spec/containers/0/command")
            .skip(1)
            .chain(list("/spec/template/spec/containers/0/args"));
        Ok(Self {
            namespace: text("/metadata/namespace")?,
            service_account: text("/spec/template/spec/serviceAccountName")?,
            arguments: arguments.collect(),
        })
    }
}

impl Mgmt {
    /// Installs Instar from a kustomization, starts it, and waits until it is ready.
    ///
    /// The webhook configurations come last: until Instar answers, they would refuse every edit.
    pub async fn install_instar(&self, config: &Path) -> Result<()> {
        if !config.join("kustomization.yaml").is_file() {
            bail!(
                "{} has no kustomization.yaml: Instar is installed from there",
                config.display()
            );
        }
        let program = program()?;
        let rendered = manifests::kustomize(self.built().program(RENDERER)?, config).await?;
        let deployment = rendered
            .iter()
            .find(|object| kind(object) == "Deployment" && object["metadata"]["name"] == "instar-webhook");
        let deployment = deployment.with_context(|| format!("{} has no Deployment", config.display()))?;
        let deployment = Deployment::read(deployment)?;

        for step in [Step::Namespace, Step::Definition, Step::Rule] {
            self.install(&rendered, step).await?;
        }
        let token = token(self.client(), &deployment).await?;
        let kubeconfig = self.run().instar_kubeconfig();
        let user = deployment.service_account.as_str();
        kubeconfig::write(
            &kubeconfig,
            self.certificates().authority(),
            user,
            &Credentials::Token(&token),
        )?;
        self.certificates()
            .issue_server("instar")?
            .write(&self.run().instar_certs())?;
        self.set_instar(Launch {
            name: Component::Instar.name().to_owned(),
            program,
            arguments: arguments(&deployment.arguments, &self.run().instar_certs()),
            environment: vec![(KUBECONFIG.to_owned(), kubeconfig.into())],
            log: self.run().log(Component::Instar.name()),
        })
        .await;
        self.instar_start().await?;
        self.install(&rendered, Step::Webhook).await?;
        say("Instar is installed and ready");
        Ok(())
    }

    async fn install(&self, rendered: &[Value], step: Step) -> Result<()> {
        let mut objects: Vec<_> = rendered
            .iter()
            .filter(|object| Step::of(kind(object)) == Some(step))
            .cloned()
            .collect();
        for object in &mut objects {
            manifests::transform(object, ports::INSTAR);
        }
        let objects = manifests::trusting(&objects, self.certificates().authority())?;
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

    /// Starts Instar as it was installed, and waits until it is ready.
    pub async fn instar_start(&self) -> Result<()> {
        let launch = self
            .instar_launch()
            .await
            .context("Instar is not installed on this cluster")?;
        self.launch(Component::Instar, launch).await?;
        self.wait_ready(Component::Instar).await
    }

    /// Lets Instar use another kubeconfig, from its next start on.
    pub async fn instar_use(&self, kubeconfig: &Path) -> Result<()> {
        let mut launch = self
            .instar_launch()
            .await
            .context("Instar is not installed on this cluster")?;
        for (name, value) in &mut launch.environment {
            if name == KUBECONFIG {
                *value = kubeconfig.into();
            }
        }
        self.set_instar(launch).await;
        Ok(())
    }

    /// Asks Instar to end; everything that it installed stays.
    pub async fn instar_stop(&self) -> Result<()> {
        self.end(Component::Instar).await
    }

    /// Stops Instar and starts it again.
    pub async fn instar_restart(&self) -> Result<()> {
        self.instar_stop().await?;
        self.instar_start().await
    }

    /// A client with Instar's own rights, to try what they allow.
    pub async fn instar_client(&self) -> Result<Client> {
        kubeconfig::client(&self.run().instar_kubeconfig()).await
    }
}

/// The Deployment's arguments, with those for a pod replaced by those for a process.
fn arguments(deployed: &[String], certificates: &Path) -> Vec<String> {
    let overrides = [
        ("--bind-address", "127.0.0.1".to_owned()),
        ("--port", ports::INSTAR.to_string()),
        ("--health-port", ports::INSTAR_HEALTH.to_string()),
        ("--cert-dir", certificates.display().to_string()),
    ];
    let mut kept = Vec::new();
    let mut words = deployed.iter();
    while let Some(word) = words.next() {
        let flag = word.split_once('=').map_or(word.as_str(), |(flag, _)| flag);
        if !overrides.iter().any(|(name, _)| *name == flag) {
            kept.push(word.clone());
        } else if flag == word {
            // Its value is the next word.
            words.next();
        }
    }
    kept.extend(overrides.map(|(name, value)| format!("{name}={value}")));
    kept
}

async fn token(client: Client, deployment: &Deployment) -> Result<String> {
    let Deployment {
        namespace,
        service_account,
        ..
    } = deployment;
    let api: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let spec = TokenRequestSpec {
        expiration_seconds: Some(TOKEN_SECONDS),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest {
        spec,
        ..TokenRequest::default()
    };
    let issued = api
        .create_token_request(service_account, &PostParams::default(), &request)
        .await;
    let issued = issued.with_context(|| format!("asking for a token of {namespace}/{service_account}"))?;
    Ok(issued.status.context("the API server issued no token")?.token)
}

/// `INSTAR_BIN`, else `instar` beside the running program or beside the directory of tests.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(PROGRAM).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("{PROGRAM} names {}, which is no file", path.display());
        }
        return Ok(path);
    }
    let running = std::env::current_exe()?;
    let mut dir = running.parent().context("the running program has no directory")?;
    if dir.ends_with("deps") {
        dir = dir.parent().context("the directory of tests has no parent")?;
    }
    let path = dir.join("instar");
    if !path.is_file() {
        bail!(
            "no {}: `cargo build -p instar` makes it, or {PROGRAM} names another one",
            path.display()
        );
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_deployment_decides_what_is_run() {
        let object = json!({ "metadata": { "namespace": "instar-system" }, "spec": { "template": { "spec": {
            "serviceAccountName": "instar-webhook",
            "containers": [{ "command": ["/instar", "webhook"], "args": ["--cert-dir", "/certs", "--port=9443", "--rules=all"] }],
        }}}});
        let deployment = Deployment::read(&object).unwrap();
        assert_eq!(deployment.service_account, "instar-webhook");
        assert_eq!(
            arguments(&deployment.arguments, Path::new("/run/certs")),
            [
                "webhook",
                "--rules=all",
                "--bind-address=127.0.0.1",
                "--port=9460",
                "--health-port=9461",
                "--cert-dir=/run/certs",
            ]
        );
    }

    #[test]
    fn a_deployment_without_an_account_is_refused() {
        let error = Deployment::read(&json!({ "metadata": { "namespace": "a" } }))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the Deployment has no /spec/template/spec/serviceAccountName");
    }
}
