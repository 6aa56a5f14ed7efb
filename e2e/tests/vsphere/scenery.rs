//! The sample catalog, the templates that the provider ships, and what VMs were cloned from.

use std::{collections::BTreeMap, time::Duration};

use instar_api::UpgradePhase;
use instar_e2e::{
    Context, Result, clusterctl,
    infrastructure::Infrastructure,
    manifests::{self, Provider},
    support::{
        fixtures::Shape,
        journeys::JourneyContext,
        ledger::{Ledger, Pool, TemplateRecord},
        topology::{apply_rows, namespaced},
        upgrade::{UPGRADE, phase, upgrade},
    },
    vcenter::{CATALOG, TEMPLATE, inventory_name, simulator_kind},
    wait::wait_for,
};
use serde_json::{Value, json};

/// One machine of the control plane, and two workers.
pub(crate) const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 2)],
};

/// A VM template that no row names: a machine of it would be noticed.
pub(crate) const OF_NO_ROW: &str = "/DC0/vm/ubuntu-2404-kube-v1.36.0";

/// How long an endpoint for a simulated cluster takes.
const ENDPOINT: Duration = Duration::from_secs(30);

/// The rows of `config/samples/vsphere`.
pub(crate) struct Catalog {
    pub(crate) rows: Vec<Value>,
}

impl Catalog {
    /// Reads and applies it.
    pub(crate) async fn apply(scene: &JourneyContext) -> Result<Self> {
        let rows = manifests::documents(CATALOG)?;
        apply_rows(scene, &rows).await?;
        Ok(Self { rows })
    }

    /// The version of a minor.
    pub(crate) fn version(&self, minor: u8) -> Result<String> {
        let prefix = format!("v1.{minor}.");
        let mut versions = self.rows.iter().filter_map(|row| row["spec"]["version"].as_str());
        let version = versions.find(|version| version.starts_with(&prefix));
        Ok(version.with_context(|| format!("no row of v1.{minor}"))?.to_owned())
    }

    /// The tags of etcd and CoreDNS of a version.
    pub(crate) fn tags(&self, version: &str) -> Result<(&str, &str)> {
        let row = self.rows.iter().find(|row| row["spec"]["version"] == version);
        let components = row.map(|row| &row["spec"]["components"]);
        let tag = |component: &str| components?[component]["imageTag"].as_str();
        tag("etcd")
            .zip(tag("coreDNS"))
            .with_context(|| format!("no tags of {version}"))
    }

    /// The VM template that a row has for a pool without labels, by its path.
    pub(crate) fn vm_template(&self, version: &str, pool: &Pool) -> Result<String> {
        let role = match pool {
            Pool::ControlPlane => "ControlPlane",
            Pool::Workers(_) => "Worker",
        };
        let row = self.rows.iter().find(|row| row["spec"]["version"] == version);
        let images = row.and_then(|row| row["spec"]["machineImages"].as_array());
        let mut images = images.into_iter().flatten();
        let image = images.find(|image| image["role"] == role && image.get("labels").is_none());
        let template = image.and_then(|image| image["values"][0]["value"].as_str());
        Ok(template
            .with_context(|| format!("no VM template of {version} for {role}"))?
            .to_owned())
    }
}

/// What the provider's templates leave open, for a Cluster of [`SHAPE`] with an endpoint of its own.
pub(crate) async fn variables(
    scene: &JourneyContext,
    cluster: &str,
    version: &str,
) -> Result<BTreeMap<&'static str, String>> {
    let endpoint = json!({
        "apiVersion": "vcsim.infrastructure.cluster.x-k8s.io/v1alpha1",
        "kind": "ControlPlaneEndpoint",
        "metadata": { "name": cluster },
    });
    scene.apply_object(endpoint).await?;
    let endpoints = namespaced(scene, &simulator_kind("ControlPlaneEndpoint", "controlplaneendpoints"));
    let (host, port) = wait_for("an endpoint for a simulated cluster", ENDPOINT, || async {
        let status = endpoints.get(cluster).await?.data["status"].clone();
        match (status["host"].as_str(), status["port"].as_u64()) {
            (Some(host), Some(port)) => Ok((host.to_owned(), port)),
            _ => Err(status.to_string().into()),
        }
    })
    .await?;
    let vcenter = scene.mgmt.vcenter().await?;
    Ok(BTreeMap::from([
        ("CLUSTER_CLASS_NAME", "vsphere".to_owned()),
        ("CLUSTER_NAME", cluster.to_owned()),
        ("NAMESPACE", scene.namespace.clone()),
        ("KUBERNETES_VERSION", version.to_owned()),
        ("CONTROL_PLANE_MACHINE_COUNT", SHAPE.control_plane.to_string()),
        ("WORKER_MACHINE_COUNT", "2".to_owned()),
        ("CONTROL_PLANE_ENDPOINT_IP", host),
        ("CONTROL_PLANE_ENDPOINT_PORT", port.to_string()),
        ("VSPHERE_SERVER", vcenter.server),
        ("VSPHERE_TLS_THUMBPRINT", vcenter.thumbprint),
        ("VSPHERE_USERNAME", vcenter.user),
        ("VSPHERE_PASSWORD", vcenter.password),
        ("VSPHERE_DATACENTER", "DC0".to_owned()),
        ("VSPHERE_DATASTORE", "LocalDS_0".to_owned()),
        ("VSPHERE_FOLDER", "DC0/vm".to_owned()),
        ("VSPHERE_NETWORK", "/DC0/network/VM Network".to_owned()),
        ("VSPHERE_RESOURCE_POOL", "/DC0/host/DC0_C0/Resources".to_owned()),
        ("VSPHERE_STORAGE_POLICY", "vSAN Default Storage Policy".to_owned()),
        ("VSPHERE_TEMPLATE", OF_NO_ROW.to_owned()),
        ("VSPHERE_SSH_AUTHORIZED_KEY", "ssh-ed25519 AAAA journey".to_owned()),
        ("CPI_IMAGE_K8S_VERSION", version.to_owned()),
    ]))
}

/// The objects of a template that the provider ships.
pub(crate) async fn generated(
    scene: &JourneyContext,
    template: &str,
    variables: &BTreeMap<&'static str, String>,
) -> Result<Vec<Value>> {
    let file = scene.mgmt.built().template(Provider::Vsphere, template)?;
    manifests::documents(&clusterctl::generate(&scene.mgmt, &file, variables).await?)
}

/// Starts to count the machines.
pub(crate) async fn count(scene: &JourneyContext) -> Result<Ledger> {
    Ledger::start_on(Infrastructure::Vsphere, &scene.mgmt.client(), &scene.namespace).await
}

/// Waits until the record of the upgrade says that it is over.
pub(crate) async fn completed(scene: &JourneyContext) -> Result<()> {
    wait_for("the upgrade to be completed", UPGRADE, || async {
        scene.mgmt.controller().check_runs().await?;
        match upgrade(scene).await? {
            Some(upgrade) if phase(&upgrade) == UpgradePhase::Completed => Ok(()),
            Some(upgrade) => Err(serde_json::to_string(&upgrade.status)?.into()),
            None => Err("no ClusterUpgrade".into()),
        }
    })
    .await
}

/// Each machine was made once for each version that its pool goes through, and the vCenter says that its VM was cloned
/// from the VM template that the row has for it. Each minted template is like the first of its pool but for that.
pub(crate) async fn assert_two_minors(
    scene: &JourneyContext,
    ledger: &Ledger,
    catalog: &Catalog,
    cluster: &str,
    pool: &str,
) -> Result<()> {
    ledger.caught_up().await?;
    let [first, middle, last] = [33, 34, 35].map(|minor| catalog.version(minor));
    let (first, middle, last) = (first?, middle?, last?);
    let workers = Pool::Workers(pool.to_owned());
    let mut made: Vec<(Pool, String, usize)> = Vec::new();
    for ((pool, version), machines) in ledger.machines_by_version(cluster)? {
        made.push((pool, version, machines.len()));
    }
    let expected = [
        (Pool::ControlPlane, first.clone(), 1),
        (Pool::ControlPlane, middle, 1),
        (Pool::ControlPlane, last.clone(), 1),
        (workers.clone(), first, 2),
        (workers, last, 2),
    ];
    assert_eq!(made, expected);

    let clones = scene.mgmt.clones().await?;
    for machine in ledger.machines_ever(cluster)? {
        let expected = inventory_name(&catalog.vm_template(&machine.version, &machine.pool)?);
        let source = clones.get(&machine.name);
        assert_eq!(
            source,
            Some(&expected),
            "what the VM of {}, at {}, was cloned from",
            machine.name,
            machine.version
        );
    }
    Ok(())
}

/// Templates of one pool differ in the VM template alone, and none names a VM that exists.
pub(crate) fn assert_alike(templates: &[&TemplateRecord]) -> Result<()> {
    let mut rest = Vec::new();
    for template in templates {
        let mut spec = template.spec.clone();
        let machine = spec.pointer_mut("/template/spec").and_then(Value::as_object_mut);
        let machine = machine.with_context(|| format!("{} has no spec", template.name))?;
        assert_eq!(machine.get("providerID"), None, "{}", template.name);
        assert!(
            machine.remove("template").is_some(),
            "{} names no VM template",
            template.name
        );
        rest.push(spec);
    }
    rest.dedup();
    assert_eq!(rest.len(), 1, "{TEMPLATE} is all that differs: {rest:#?}");
    Ok(())
}
