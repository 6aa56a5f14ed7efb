//! The harness itself: what journeys count on.

mod chart;
mod clusterctl;
mod pod_security;

use std::{process::ExitCode, time::Duration};

use instar_e2e::{
    Context, Result,
    binaries::Binary,
    clusterctl::{MoveTarget, move_namespace, moved},
    components::{Component, RuntimeSdk},
    failure::describe,
    instar::Setup,
    manifests::ServedVersions,
    mgmt,
    support::{
        catalog::SharedRows,
        fixtures::{CLUSTER_CLASS, COMES_UP, TopologyCluster, wait_running},
        journeys::{self, Journey, JourneyContext},
        ledger::{Ledger, Pool},
    },
    wait::wait_for,
};
use kube::{Api, ResourceExt, api::PostParams, core::DynamicObject};
use serde_json::json;

fn main() -> ExitCode {
    let journeys = vec![
        Journey::shared("topology-cluster", topology_cluster),
        Journey::shared("real-webhooks", real_webhooks),
        Journey::shared("moved-to-a-directory", moved_to_a_directory),
        Journey::shared("failures-leave-a-dump", failures_leave_a_dump),
        Journey::exclusive("clusterctl-installs", clusterctl::installs_upgrades_and_deletes),
        Journey::exclusive("restart-core", restart_core),
        Journey::shared("chart-renders", chart::renders_what_kustomize_renders),
        Journey::exclusive("chart-installs", chart::installs_upgrades_and_uninstalls),
        Journey::shared("restricted-pods", pod_security::admits_the_pods),
    ];
    journeys::run_beside(
        &[Binary::Helm],
        Setup::ClusterApi,
        ServedVersions::All,
        SharedRows::Own,
        journeys,
    )
}

/// A cluster comes up and is upgraded, and the ledger knows each machine that it ever had.
async fn topology_cluster(scene: JourneyContext) -> Result<()> {
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    scene.apply(CLUSTER_CLASS).await?;
    let mut cluster = TopologyCluster {
        name: "one",
        version: "v1.35.0",
        control_planes: 1,
        workers: &[("md-0", 1)],
    };
    scene.apply_object(cluster.object()).await?;
    wait_running(
        &scene.mgmt,
        &scene.namespace,
        cluster.name,
        "v1.35.0",
        &cluster.shape(),
        COMES_UP,
    )
    .await?;
    assert_eq!(ledger.machines_ever("one")?.len(), 2);

    cluster.version = "v1.36.0";
    scene.apply_object(cluster.object()).await?;
    wait_running(
        &scene.mgmt,
        &scene.namespace,
        cluster.name,
        "v1.36.0",
        &cluster.shape(),
        COMES_UP,
    )
    .await?;

    ledger.caught_up().await?;
    let groups = ledger.machines_by_version("one")?;
    let workers = Pool::Workers("md-0".to_owned());
    let counted: Vec<_> = groups
        .iter()
        .map(|((pool, version), machines)| (pool, version.as_str(), machines.len()))
        .collect();
    assert_eq!(
        counted,
        [
            (&Pool::ControlPlane, "v1.35.0", 1),
            (&Pool::ControlPlane, "v1.36.0", 1),
            (&workers, "v1.35.0", 1),
            (&workers, "v1.36.0", 1),
        ]
    );
    for machine in groups.values().flatten() {
        assert_eq!(machine.deleted, machine.version == "v1.35.0", "{machine:?}");
        let template = machine
            .template
            .as_ref()
            .with_context(|| format!("{} has no template", machine.name))?;
        assert_eq!(
            template.spec.pointer("/template/spec/backend"),
            Some(&json!({ "inMemory": {} }))
        );
    }
    // Neither version nor image is in these templates, so nothing was minted for the upgrade.
    assert_eq!(ledger.templates_ever("one")?.len(), 2);
    Ok(())
}

/// The webhooks of Cluster API answer over loopback: no stand-in would refuse this.
async fn real_webhooks(scene: JourneyContext) -> Result<()> {
    scene.apply(CLUSTER_CLASS).await?;
    let wrong = TopologyCluster {
        name: "wrong",
        version: "one",
        control_planes: 1,
        workers: &[("md-0", 1)],
    };
    let Err(error) = scene.apply_object(wrong.object()).await else {
        anyhow::bail!("a Cluster at the version `one` was accepted");
    };
    let error = describe(&error);
    assert!(error.contains("version must be a valid semantic version"), "{error}");
    Ok(())
}

/// `clusterctl move` finds what belongs to a cluster, by the labels that `clusterctl init` gives to
/// CRDs: it writes down every machine and template, and bringing them back changes nothing.
async fn moved_to_a_directory(scene: JourneyContext) -> Result<()> {
    scene.apply(CLUSTER_CLASS).await?;
    let cluster = TopologyCluster {
        name: "moved",
        version: "v1.35.0",
        control_planes: 1,
        workers: &[("md-0", 1)],
    };
    scene.apply_object(cluster.object()).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let shape = cluster.shape();
    let running = || wait_running(&scene.mgmt, &scene.namespace, "moved", "v1.35.0", &shape, COMES_UP);
    running().await?;
    let directory = tempfile::tempdir()?;
    move_namespace(&scene.mgmt, &scene.namespace, MoveTarget::ToDirectory, directory.path()).await?;
    let files: Vec<String> = moved(directory.path())?.iter().map(ResourceExt::name_any).collect();
    let machines = ledger.machines_ever("moved")?.into_iter().map(|machine| machine.name);
    let templates = ledger
        .templates_ever("moved")?
        .into_iter()
        .map(|template| template.name);
    for name in machines.chain(templates).chain(["moved".to_owned()]) {
        assert!(files.contains(&name), "no {name} in {files:?}");
    }
    move_namespace(
        &scene.mgmt,
        &scene.namespace,
        MoveTarget::FromDirectory,
        directory.path(),
    )
    .await?;
    running().await?;
    assert_eq!(ledger.machines_ever("moved")?.len(), 2, "a machine was replaced");
    Ok(())
}

async fn failures_leave_a_dump(scene: JourneyContext) -> Result<()> {
    scene.apply(CLUSTER_CLASS).await?;
    let namespaces = [scene.namespace.clone()];
    let dir = instar_e2e::support::dump::dump(&scene.mgmt, "harness-dump", &namespaces).await?;
    for file in ["logs/kube-apiserver.log", "logs/capi-core.log"] {
        assert!(dir.join(file).is_file(), "{file}");
    }
    let classes = std::fs::read_to_string(dir.join(&scene.namespace).join("clusterclasses.cluster.x-k8s.io.yaml"))?;
    assert!(classes.contains("name: fixture"), "{classes}");
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// The gate is off and on again: an `ExtensionConfig` is refused, and accepted.
async fn restart_core(scene: JourneyContext) -> Result<()> {
    let before = scene.mgmt.pid(Component::CapiCore).await;
    scene.mgmt.restart_core(RuntimeSdk::Off).await?;
    assert_ne!(scene.mgmt.pid(Component::CapiCore).await, before);
    mgmt::probe(scene.mgmt.http(), Component::CapiCore).await?;

    let config: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "runtime.cluster.x-k8s.io/v1beta2",
        "kind": "ExtensionConfig",
        "metadata": { "name": scene.namespace },
        "spec": { "clientConfig": { "url": "https://127.0.0.1:9999" } },
    }))?;
    let types = config.types.clone().unwrap_or_default();
    let (resource, _) = scene.mgmt.applier().kind(&types).await?;
    let api: Api<DynamicObject> = Api::all_with(scene.mgmt.client(), &resource);
    let try_out = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let Err(refused) = api.create(&try_out, &config).await else {
        anyhow::bail!("with RuntimeSDK off, an ExtensionConfig was accepted");
    };
    assert!(refused.to_string().contains("RuntimeSDK"), "{refused}");

    scene.mgmt.restart_core(RuntimeSdk::On).await?;
    wait_for("an ExtensionConfig to be accepted", Duration::from_secs(10), || async {
        api.create(&try_out, &config).await?;
        Ok(())
    })
    .await
}
