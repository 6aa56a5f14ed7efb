//! A classic cluster: every object of it written by hand, as people do.

use std::time::Duration;

use crate::{
    Result,
    support::catalog::{IMAGE, Rows},
    support::{
        fixtures::{COMES_UP, Shape, core_kind, wait_counted, wait_running},
        journeys::JourneyContext,
        ledger::{Ledger, MachineRecord, Pool},
    },
};
use kube::{
    Api,
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};

/// The Cluster's name.
pub const NAME: &str = "c";

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io";
const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io";

/// Three machines, and two pools of two.
pub const FULL: Shape<'_> = Shape {
    control_plane: 3,
    pools: &[("md-0", 2), ("md-1", 2)],
};

/// One machine in each: it takes as many writes as a bigger one, in less time.
pub const SMALL: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1), ("md-1", 1)],
};

/// Makes it at the first row of v1.33, and waits until it runs.
pub async fn create_with(scene: &JourneyContext, rows: &Rows, shape: &Shape<'_>) -> Result<()> {
    create_of(scene, rows, shape, |_, template| template).await
}

/// The same, and the nodes of one pool take so long to come up, also after an upgrade.
pub async fn create_slow(
    scene: &JourneyContext,
    rows: &Rows,
    shape: &Shape<'_>,
    pool: &str,
    takes: Duration,
) -> Result<()> {
    let slowed = |name: &str, mut template: Value| {
        if name == pool {
            let takes = format!("{}s", takes.as_secs());
            template["spec"]["template"]["spec"]["backend"]["inMemory"]["node"] =
                json!({ "provisioning": { "startupDuration": takes } });
        }
        template
    };
    create_of(scene, rows, shape, slowed).await
}

async fn create_of(
    scene: &JourneyContext,
    rows: &Rows,
    shape: &Shape<'_>,
    changed: impl Fn(&str, Value) -> Value,
) -> Result<()> {
    let version = rows.version(33);
    let pools = shape.pools.iter().map(|(name, _)| *name);
    for name in ["cp"].into_iter().chain(pools.clone()) {
        let template = machine_template(name, &rows.image(33, 1));
        scene.apply_object(changed(name, template)).await?;
    }
    for name in pools {
        scene.apply_object(bootstrap_template(name)).await?;
    }
    let pools: Vec<_> = shape.pools.iter().map(|(name, count)| (*name, *name, *count)).collect();
    apply_cluster(scene, NAME, &version, shape.control_plane, &pools).await?;
    comes_up(scene, NAME, &version, shape).await
}

/// A second Cluster of one machine and one worker, made of the first one's templates; waits until it runs. Its pool
/// has the Cluster's name with `-md` behind it.
pub async fn create_sharing(scene: &JourneyContext, rows: &Rows, name: &str) -> Result<()> {
    let (version, pool) = (rows.version(33), format!("{name}-md"));
    apply_cluster(scene, name, &version, 1, &[(&pool, "md-0", 1)]).await?;
    let shape = Shape {
        control_plane: 1,
        pools: &[(&pool, 1)],
    };
    comes_up(scene, name, &version, &shape).await
}

/// A Cluster and what belongs to it but its templates. A pool is its name, its templates' and its count.
async fn apply_cluster(
    scene: &JourneyContext,
    name: &str,
    version: &str,
    machines: usize,
    pools: &[(&str, &str, usize)],
) -> Result<()> {
    scene
        .apply_object(json!({
            "apiVersion": format!("{INFRASTRUCTURE}/v1beta2"),
            "kind": "DevCluster",
            // Its controller writes into the annotations without looking whether there are any.
            "metadata": { "name": name, "annotations": { "journey.example.org/classic": "yes" } },
            "spec": { "backend": { "inMemory": {} } },
        }))
        .await?;
    scene.apply_object(control_plane(name, version, machines)).await?;
    scene
        .apply_object(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "metadata": { "name": name },
            "spec": {
                "clusterNetwork": {
                    "services": { "cidrBlocks": ["10.128.0.0/12"] },
                    "pods": { "cidrBlocks": ["192.168.0.0/16"] },
                    "serviceDomain": "cluster.local",
                },
                "controlPlaneRef": { "apiGroup": CONTROL_PLANE, "kind": "KubeadmControlPlane", "name": name },
                "infrastructureRef": { "apiGroup": INFRASTRUCTURE, "kind": "DevCluster", "name": name },
            },
        }))
        .await?;
    for (pool, templates, replicas) in pools {
        scene
            .apply_object(deployment(name, pool, templates, version, *replicas))
            .await?;
    }
    Ok(())
}

async fn comes_up(scene: &JourneyContext, name: &str, version: &str, shape: &Shape<'_>) -> Result<()> {
    wait_running(&scene.mgmt, &scene.namespace, name, version, shape, COMES_UP).await?;
    wait_counted(&scene.mgmt, &scene.namespace, name, COMES_UP).await
}

/// Adds a pool at that version, with templates of its own.
pub async fn add_pool(scene: &JourneyContext, name: &str, version: &str, replicas: usize) -> Result<()> {
    scene.apply_object(machine_template(name, "0.1s")).await?;
    scene.apply_object(bootstrap_template(name)).await?;
    scene
        .apply_object(deployment(NAME, name, name, version, replicas))
        .await?;
    Ok(())
}

/// Adds a pool of no machines and without a version, made of the templates of another one.
pub async fn add_pool_without_version(scene: &JourneyContext, name: &str, templates: &str) -> Result<()> {
    let mut pool = deployment(NAME, name, templates, "", 0);
    if let Some(machines) = pool.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        machines.remove("version");
    }
    scene.apply_object(pool).await?;
    Ok(())
}

/// A machine template, with a release's value in it.
#[must_use]
pub fn machine_template(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": format!("{INFRASTRUCTURE}/v1beta2"),
        "kind": "DevMachineTemplate",
        "metadata": { "name": name },
        "spec": { "template": { "spec": { "backend": { "inMemory": {
            "vm": { "provisioning": { "startupDuration": image } },
        } } } } },
    })
}

/// A bootstrap template.
#[must_use]
pub fn bootstrap_template(name: &str) -> Value {
    json!({
        "apiVersion": format!("{BOOTSTRAP}/v1beta2"),
        "kind": "KubeadmConfigTemplate",
        "metadata": { "name": name },
        "spec": { "template": { "spec": { "joinConfiguration": registration() } } },
    })
}

fn registration() -> Value {
    json!({ "nodeRegistration": { "criSocket": "unix:///var/run/containerd/containerd.sock" } })
}

/// A control plane of the template `cp`.
#[must_use]
pub fn control_plane(name: &str, version: &str, replicas: usize) -> Value {
    json!({
        "apiVersion": format!("{CONTROL_PLANE}/v1beta2"),
        "kind": "KubeadmControlPlane",
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "version": version,
            "machineTemplate": { "spec": { "infrastructureRef": template("cp") } },
            "kubeadmConfigSpec": {
                "clusterConfiguration": {
                    "etcd": { "local": { "imageTag": "3.5.26-0" } },
                    "dns": { "imageTag": "v1.12.0" },
                },
                "initConfiguration": registration(),
                "joinConfiguration": registration(),
            },
        },
    })
}

fn template(name: &str) -> Value {
    json!({ "apiGroup": INFRASTRUCTURE, "kind": "DevMachineTemplate", "name": name })
}

/// A MachineDeployment.
#[must_use]
pub fn deployment(cluster: &str, name: &str, templates: &str, version: &str, replicas: usize) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "MachineDeployment",
        "metadata": { "name": name },
        "spec": {
            "clusterName": cluster,
            "replicas": replicas,
            "selector": { "matchLabels": {} },
            "template": { "spec": {
                "clusterName": cluster,
                "version": version,
                "bootstrap": { "configRef": { "apiGroup": BOOTSTRAP, "kind": "KubeadmConfigTemplate", "name": templates } },
                "infrastructureRef": template(templates),
            } },
        },
    })
}

/// The Clusters of the journey.
#[must_use]
pub fn clusters(scene: &JourneyContext) -> Api<DynamicObject> {
    of(scene, &core_kind("Cluster", "clusters"))
}

/// The control planes of the journey.
#[must_use]
pub fn control_planes(scene: &JourneyContext) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(CONTROL_PLANE, "v1beta2", "KubeadmControlPlane");
    of(scene, &ApiResource::from_gvk_with_plural(&kind, "kubeadmcontrolplanes"))
}

/// The machine templates of the journey.
#[must_use]
pub fn machine_templates(scene: &JourneyContext) -> Api<DynamicObject> {
    of(scene, &machine_template_kind())
}

/// The kind of its machine templates.
#[must_use]
pub fn machine_template_kind() -> ApiResource {
    let kind = GroupVersionKind::gvk(INFRASTRUCTURE, "v1beta2", "DevMachineTemplate");
    ApiResource::from_gvk_with_plural(&kind, "devmachinetemplates")
}

fn of(scene: &JourneyContext, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(scene.mgmt.client(), &scene.namespace, resource)
}

/// Each machine was made once for each version of its pool, from a template that carries the row's
/// value, and the templates are those that this takes.
///
/// # Panics
/// Says what is wrong, by a failed assertion.
pub async fn assert_two_minors(ledger: &Ledger, rows: &Rows) -> Result<()> {
    let broken = violations(ledger, rows, &FULL).await?;
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

/// What two minors by one edit did that they should not have: a machine too many or too few, a
/// version that a pool should not have had, a machine of another row's template, a template too
/// many or too few.
pub async fn violations(ledger: &Ledger, rows: &Rows, shape: &Shape<'_>) -> Result<Vec<String>> {
    ledger.caught_up().await?;
    let mut broken = rolled(ledger, rows, &Pool::ControlPlane, shape.control_plane, &[33, 34, 35])?;
    for (pool, machines) in shape.pools {
        let pool = Pool::Workers((*pool).to_owned());
        broken.extend(rolled(ledger, rows, &pool, *machines, &[33, 35])?);
    }
    let templates = ledger.templates_ever(NAME)?;
    let mut names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    names.sort_unstable();
    // Each version's name, without the hash at its end: three of ours, two more for the control
    // plane, one more for each pool.
    let (middle, last) = (slug(&rows.version(34)), slug(&rows.version(35)));
    let of_control_plane = ["cp".to_owned(), format!("cp-{middle}-"), format!("cp-{last}-")];
    let of_pools = shape
        .pools
        .iter()
        .flat_map(|(pool, _)| [(*pool).to_owned(), format!("{pool}-{last}-")]);
    let expected: Vec<String> = of_control_plane.into_iter().chain(of_pools).collect();
    let as_expected = names.len() == expected.len()
        && names
            .iter()
            .zip(&expected)
            .all(|(name, expected)| name.starts_with(expected.as_str()));
    if !as_expected {
        broken.push(format!("templates {names:?}, and not {expected:?}"));
    }
    let deleted = templates.iter().filter(|template| template.deleted);
    broken.extend(deleted.map(|template| format!("{}, which is kept, was deleted", template.name)));
    Ok(broken)
}

fn slug(version: &str) -> String {
    version.replace('.', "-")
}

/// A pool's machines were made once for each version, and in no other.
///
/// # Panics
/// Says what is wrong, by a failed assertion.
pub fn assert_rolled(ledger: &Ledger, rows: &Rows, pool: &Pool, replicas: usize, minors: &[u8]) -> Result<()> {
    let broken = rolled(ledger, rows, pool, replicas, minors)?;
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

fn rolled(ledger: &Ledger, rows: &Rows, pool: &Pool, replicas: usize, minors: &[u8]) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut groups = ledger.machines_by_version(NAME)?;
    for minor in minors {
        let version = rows.version(*minor);
        let machines = groups.remove(&(pool.clone(), version.clone())).unwrap_or_default();
        if machines.len() != replicas {
            let names: Vec<&str> = machines.iter().map(|machine| machine.name.as_str()).collect();
            broken.push(format!(
                "{pool:?} had {names:?} at {version}, and not {replicas} machines"
            ));
        }
        let others = machines
            .iter()
            .filter(|machine| image(machine) != Some(rows.image(*minor, 1)));
        broken.extend(others.map(|machine| format!("{} of {version} came from {:?}", machine.name, machine.template)));
    }
    let others = groups.keys().filter(|(found, _)| found == pool);
    broken.extend(others.map(|(pool, version)| format!("{pool:?} had machines at {version}")));
    Ok(broken)
}

/// The value that a machine's template carried.
#[must_use]
pub fn image(machine: &MachineRecord) -> Option<String> {
    let spec = &machine.template.as_ref()?.spec;
    Some(spec.pointer(IMAGE.trim_start_matches("/spec"))?.as_str()?.to_owned())
}
