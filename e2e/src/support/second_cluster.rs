//! Another management cluster, as far as `clusterctl move` needs one: an API server with the same
//! kinds, and no controller. Neither has an inventory of providers, so clusterctl finds both alike.

use std::{fmt, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionCondition,
        CustomResourceDefinitionSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PostParams},
};
use tempfile::TempDir;

use crate::{
    binaries::Binary,
    components::{api_server_arguments, etcd_arguments},
    kubeconfig,
    mgmt::Mgmt,
    ports,
    process::{Launch, Process},
    wait::{Seen, wait_for},
};

/// It has what all of Cluster API's kinds end with.
const GROUP: &str = "cluster.x-k8s.io";

/// The cluster. It ends with the program that started it, if not before.
pub struct SecondCluster {
    directory: TempDir,
    client: Client,
    processes: Vec<Process>,
}

impl fmt::Debug for SecondCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondCluster")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl SecondCluster {
    /// Starts it beside a cluster, with that one's certificates and kinds.
    pub async fn start(mgmt: &Mgmt) -> Result<Self> {
        Self::start_with(mgmt, |_| true).await
    }

    /// The same, with those of the kinds whose plural is wanted.
    pub async fn start_with(mgmt: &Mgmt, wants: impl Fn(&str) -> bool) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("kubeconfig");
        let own = fs::read_to_string(mgmt.run().kubeconfig())?;
        let server = |port: u16| format!("https://127.0.0.1:{port}");
        let text = own.replace(&server(ports::API_SERVER), &server(ports::SECOND_API_SERVER));
        fs::write(&path, text)?;
        let mut second = Self {
            client: kubeconfig::client(&path).await?,
            directory,
            processes: Vec::new(),
        };
        let data = second.directory.path().join("data");
        let etcd = etcd_arguments(&data, ports::SECOND_ETCD, ports::SECOND_ETCD_PEERS);
        second.run(mgmt, Binary::Etcd, "etcd", etcd).await?;
        let api_server = api_server_arguments(mgmt.certificates(), ports::SECOND_ETCD, ports::SECOND_API_SERVER);
        second
            .run(mgmt, Binary::KubeApiserver, "kube-apiserver", api_server)
            .await?;
        wait_for("the second API server to answer", Duration::from_mins(1), || async {
            match second.client.apiserver_version().await {
                Ok(_) => Ok(()),
                Err(error) => Err(Seen::from(error.to_string())),
            }
        })
        .await?;
        second.add_kinds(&mgmt.client(), wants).await?;
        Ok(second)
    }

    /// A client of it, as its administrator.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Its administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<()> {
        while let Some(mut process) = self.processes.pop() {
            process.kill().await?;
        }
        Ok(())
    }

    async fn run(&mut self, mgmt: &Mgmt, program: Binary, name: &str, arguments: Vec<String>) -> Result<()> {
        let launch = Launch {
            name: format!("second {name}"),
            program: mgmt.built().program(program)?.to_owned(),
            arguments,
            environment: Vec::new(),
            log: mgmt.run().log(&format!("second-{name}")),
        };
        self.processes.push(Process::start(launch).await?);
        Ok(())
    }

    /// Defines the kinds whose plural is wanted, without the webhooks that convert: one version is stored on both
    /// sides.
    pub async fn add_kinds(&self, from: &Client, wants: impl Fn(&str) -> bool) -> Result<()> {
        let here: Api<CustomResourceDefinition> = Api::all(from.clone());
        let there: Api<CustomResourceDefinition> = Api::all(self.client());
        let definitions = here.list(&ListParams::default()).await?;
        let wanted: Vec<CustomResourceDefinition> = definitions
            .into_iter()
            .filter(|definition| definition.spec.group.ends_with(GROUP) && wants(&definition.spec.names.plural))
            .collect();
        for definition in &wanted {
            let copy = CustomResourceDefinition {
                metadata: bare(definition),
                spec: CustomResourceDefinitionSpec {
                    conversion: Some(CustomResourceConversion {
                        strategy: "None".to_owned(),
                        webhook: None,
                    }),
                    ..definition.spec.clone()
                },
                status: None,
            };
            let created = there.create(&PostParams::default(), &copy).await;
            created.with_context(|| format!("creating {} on the second cluster", definition.name_any()))?;
        }
        for definition in &wanted {
            let name = definition.name_any();
            wait_for(
                &format!("{name} to be served by the second cluster"),
                Duration::from_secs(30),
                || async {
                    let found = there.get(&name).await?;
                    let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
                    let is_served = |condition: &CustomResourceDefinitionCondition| {
                        condition.type_ == "Established" && condition.status == "True"
                    };
                    if conditions.iter().any(is_served) {
                        Ok(())
                    } else {
                        Err(Seen::from(format!("{conditions:?}")))
                    }
                },
            )
            .await?;
        }
        Ok(())
    }
}

fn bare(object: &impl Resource) -> ObjectMeta {
    let metadata = object.meta();
    ObjectMeta {
        name: metadata.name.clone(),
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        ..ObjectMeta::default()
    }
}
