//! One of Instar's programs on a cluster, to stop it and start it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use kube::Client;

use super::KUBECONFIG;
use crate::{components::Component, kubeconfig, mgmt::Mgmt};

/// A program of Instar, as it is installed.
#[derive(Debug, Clone, Copy)]
pub struct Installed<'a> {
    mgmt: &'a Mgmt,
    component: Component,
}

impl Mgmt {
    /// Instar's admission server.
    #[must_use]
    pub const fn webhook(&self) -> Installed<'_> {
        Installed {
            mgmt: self,
            component: Component::InstarWebhook,
        }
    }

    /// Instar's controller.
    #[must_use]
    pub const fn controller(&self) -> Installed<'_> {
        Installed {
            mgmt: self,
            component: Component::InstarController,
        }
    }
}

impl Installed<'_> {
    /// Starts it as it was installed, and waits until it is ready.
    pub async fn start(&self) -> Result<()> {
        let launch = self.mgmt.launch_of(self.component).await?;
        self.mgmt.launch(self.component, launch).await?;
        self.mgmt.wait_ready(self.component).await
    }

    /// Asks it to end; everything that belongs to it stays.
    pub async fn stop(&self) -> Result<()> {
        self.mgmt.end(self.component).await
    }

    /// Stops it and starts it again.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Lets it use another kubeconfig, from its next start on.
    pub async fn with_kubeconfig(&self, kubeconfig: &Path) -> Result<()> {
        let mut launch = self.mgmt.launch_of(self.component).await?;
        for (name, value) in &mut launch.environment {
            if name == KUBECONFIG {
                *value = kubeconfig.into();
            }
        }
        self.mgmt.set_launch(self.component, launch).await;
        Ok(())
    }

    /// Lets it answer only clients with a certificate of this authority, from its next start on; or all.
    pub async fn with_client_ca(&self, authority: Option<&Path>) -> Result<()> {
        const FLAG: &str = "--client-ca-file=";
        let mut launch = self.mgmt.launch_of(self.component).await?;
        launch.arguments.retain(|argument| !argument.starts_with(FLAG));
        launch
            .arguments
            .extend(authority.map(|file| format!("{FLAG}{}", file.display())));
        self.mgmt.set_launch(self.component, launch).await;
        Ok(())
    }

    /// What it is started with.
    pub async fn arguments(&self) -> Result<Vec<String>> {
        Ok(self.mgmt.launch_of(self.component).await?.arguments)
    }

    /// Lets it be started with other arguments, from its next start on.
    pub async fn with_arguments(&self, arguments: Vec<String>) -> Result<()> {
        let mut launch = self.mgmt.launch_of(self.component).await?;
        launch.arguments = arguments;
        self.mgmt.set_launch(self.component, launch).await;
        Ok(())
    }

    /// Fails if it has ended.
    pub async fn check_runs(&self) -> Result<()> {
        self.mgmt.check_runs(self.component).await
    }

    /// All its metrics, as text.
    pub async fn metrics(&self) -> Result<String> {
        let url = self.component.ready_url().replace("/readyz", "/metrics");
        let answer = self.mgmt.http().get(url).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    /// Its kubeconfig, with its own rights.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.mgmt.run().kubeconfig_of(self.component.name())
    }

    /// A client with its own rights, to try what they allow.
    pub async fn client(&self) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig()).await
    }
}
