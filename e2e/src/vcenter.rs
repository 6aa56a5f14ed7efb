//! The simulated vCenter of a management cluster.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use kube::{
    Api,
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{binaries::Binary, manifests, mgmt::Mgmt, progress::say, wait::wait_for};

/// Where the simulator's objects are, and what the one vCenter is called.
const NAMESPACE: &str = "default";
const NAME: &str = "vcenter";

/// How long the simulator takes to create its inventory, on a busy machine.
const STARTS: Duration = Duration::from_mins(2);

/// Where a row of the catalog has the VM template.
pub const TEMPLATE: &str = "/spec/template/spec/template";

/// The catalog that people start from. Its VM templates are in the simulated vCenter.
pub const CATALOG: &str = include_str!("../../config/samples/vsphere/catalog.yaml");

/// A vCenter, and who may use it.
#[derive(Debug, Clone)]
pub struct VCenter {
    /// Its address, as Cluster API Provider vSphere takes it.
    pub server: String,
    /// The fingerprint of its certificate.
    pub thumbprint: String,
    /// A user with all rights.
    pub user: String,
    /// The user's password.
    pub password: String,
}

/// How often a client logged in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Sessions {
    /// How often it logged in.
    pub logins: usize,
    /// How often it logged out.
    pub logouts: usize,
}

#[derive(Deserialize)]
struct Clone {
    vm: String,
    source: String,
}

impl Mgmt {
    /// Starts the simulated vCenter, with the VM templates of the sample catalog.
    pub(crate) async fn start_vcenter(&self) -> Result<()> {
        let simulator = json!({
            "apiVersion": "vcsim.infrastructure.cluster.x-k8s.io/v1alpha1",
            "kind": "VCenterSimulator",
            "metadata": { "name": NAME },
        });
        self.applier()
            .one(serde_json::from_value(simulator)?, Some(NAMESPACE))
            .await?;
        let vcenter = wait_for("the simulated vCenter to answer", STARTS, || async {
            Ok(self.vcenter().await?)
        })
        .await?;
        let templates = vm_templates(&manifests::documents(CATALOG)?);
        self.create_vm_templates(&templates).await?;
        say(format!(
            "the simulated vCenter answers at {} and has the VM templates of config/samples/vsphere",
            vcenter.server
        ));
        Ok(())
    }

    /// The simulated vCenter, once it has its inventory.
    pub async fn vcenter(&self) -> Result<VCenter> {
        let kind = simulator_kind("VCenterSimulator", "vcentersimulators");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client(), NAMESPACE, &kind);
        let simulator = api.get(NAME).await?;
        let status = |field: &str| {
            let value = simulator.data.pointer(&format!("/status/{field}"));
            let value = value.and_then(Value::as_str);
            value
                .map(ToOwned::to_owned)
                .with_context(|| format!("VCenterSimulator {NAME} has no status.{field}"))
        };
        let host = status("host")?;
        let port = host.rsplit(':').next().unwrap_or_default();
        Ok(VCenter {
            // It says `[::]`, where nobody can connect to.
            server: format!("https://127.0.0.1:{port}"),
            thumbprint: status("thumbprint")?,
            user: status("username")?,
            password: status("password")?,
        })
    }

    /// Creates the VM templates that it lacks, by their paths in the inventory.
    pub async fn create_vm_templates(&self, paths: &[String]) -> Result<()> {
        let mut arguments = vec!["templates"];
        arguments.extend(paths.iter().map(String::as_str));
        self.ask_vcenter(&arguments).await.map(drop)
    }

    /// From which VM template each VM was cloned that ever was there, by the names of both.
    pub async fn clones(&self) -> Result<BTreeMap<String, String>> {
        let clones: Vec<Clone> = serde_json::from_str(&self.ask_vcenter(&["clones"]).await?)?;
        Ok(clones.into_iter().map(|clone| (clone.vm, clone.source)).collect())
    }

    /// How often clients logged in and out whose name begins so.
    pub async fn vcenter_sessions(&self, agent: &str) -> Result<Sessions> {
        Ok(serde_json::from_str(&self.ask_vcenter(&["sessions", agent]).await?)?)
    }

    async fn ask_vcenter(&self, arguments: &[&str]) -> Result<String> {
        let vcenter = self.vcenter().await?;
        let address = vcenter.server.replacen(
            "https://",
            &format!("https://{}:{}@", vcenter.user, vcenter.password),
            1,
        );
        let output = Command::new(self.built().program(Binary::Vcenter)?)
            .args(arguments)
            .env("VCENTER_URL", format!("{address}/sdk"))
            .kill_on_drop(true)
            .output()
            .await
            .context("starting vcenter")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A kind of the simulator's.
#[must_use]
pub fn simulator_kind(kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("vcsim.infrastructure.cluster.x-k8s.io", "v1alpha1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

/// The VM templates that rows of a catalog name.
#[must_use]
pub fn vm_templates(rows: &[Value]) -> Vec<String> {
    let list = |value: &Value, field: &str| value[field].as_array().cloned().unwrap_or_default();
    let images = rows.iter().flat_map(|row| list(&row["spec"], "machineImages"));
    let values = images.flat_map(|image| list(&image, "values"));
    let templates = values.filter(|value| value["pointer"] == TEMPLATE);
    let paths = templates.filter_map(|value| value["value"].as_str().map(ToOwned::to_owned));
    let mut paths: Vec<String> = paths.collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The last part of a path in the inventory, by which a vCenter tells of it.
#[must_use]
pub fn inventory_name(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
