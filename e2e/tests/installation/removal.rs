//! Instar is removed in the middle of an upgrade: what it held is let go, and Cluster API goes on alone.

use std::{fmt::Debug, time::Duration};

use instar_api::{HELD_ANNOTATION, UpgradePhase};
use instar_e2e::{
    Context, Result,
    instar::program,
    progress::say,
    support::{
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        record::upgrades,
        topology::{UPGRADE, apply_rows, apply_wired, clusters, create, deployments, edit, lose_machine, running},
    },
    wait::wait_for,
};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::process::Command;

const POOLS: [&str; 3] = ["md-0", "md-1", "md-2"];

/// The pools, and with how many machines at the end.
const TWICE: [(&str, usize); 3] = [("md-0", 2), ("md-1", 2), ("md-2", 2)];

const CONCURRENCY: &str = "topology.cluster.x-k8s.io/upgrade-concurrency";

/// The workers of an upgrade wait for their approval, and Instar goes. What is held is let go by `instar release-holds`; then
/// the Cluster ends its upgrade, scales and heals by Cluster API alone.
pub(crate) async fn in_the_middle_of_an_upgrade(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let listed = [rows.row(34, 1), rows.row(35, 1)];
    apply_rows(&scene, &listed).await?;
    apply_wired(&scene, CLUSTER_CLASS, &listed).await?;
    let (first, target) = (rows.version(34), rows.version(35));
    let workers = POOLS.map(|pool| (pool, 1));
    let mut cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: 1,
        workers: &workers,
    };
    create(&scene, &cluster).await?;
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "UpgradePolicy",
            "metadata": { "name": "approval" },
            "spec": { "approval": { "before": ["Workers"] } },
        }))
        .await?;
    scene
        .apply_object(json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "up" },
            "spec": { "clusterName": "c", "target": target },
        }))
        .await?;
    held(&scene, &target).await?;

    let refused = release_holds(&scene, &[]).await?;
    assert!(
        !refused.0
            && refused
                .1
                .contains("would hold the objects again, so nothing is taken off"),
        "{}",
        refused.1
    );
    scene.mgmt.controller().stop().await?;
    scene.mgmt.webhook().stop().await?;
    let removed = remove_webhooks(&scene).await?;
    let result = goes_on_alone(&scene, &mut cluster, &target).await;
    scene.mgmt.webhook().start().await?;
    restore_webhooks(&scene, &removed).await?;
    scene.mgmt.controller().start().await?;
    result
}

/// Lets go what is held, ends the upgrade, scales and heals.
async fn goes_on_alone<'c>(scene: &JourneyContext, cluster: &mut TopologyCluster<'c>, target: &'c str) -> Result<()> {
    let (done, said) = release_holds(scene, &["--dry-run"]).await?;
    assert!(
        done && said.contains(&format!("MachineDeployment {}/", scene.namespace)),
        "{said}"
    );
    // The Lease that the controller had may have to expire.
    wait_for("the holds to be released", Duration::from_mins(2), || async {
        let (done, said) = release_holds(scene, &["-n", &scene.namespace]).await?;
        if done { Ok(()) } else { Err(said.into()) }
    })
    .await?;
    for (name, pool) in deployments(scene).await? {
        assert_eq!(pool.annotations().get(HELD_ANNOTATION), None, "{name}");
        assert_eq!(pool.data["spec"].get("paused"), None, "{name}");
    }
    let object = clusters(scene).get("c").await?;
    assert_eq!(object.annotations().get(CONCURRENCY), None, "there was none before");

    cluster.version = target;
    running(scene, cluster, UPGRADE).await?;
    say(format!("{}: Cluster API has ended the upgrade alone", scene.namespace));

    let pools: Vec<_> = POOLS
        .map(|pool| json!({ "class": "default-worker", "name": pool, "replicas": 2 }))
        .to_vec();
    edit(
        scene,
        "c",
        &json!({ "spec": { "topology": { "workers": { "machineDeployments": pools } } } }),
    )
    .await
    .context("scaling without Instar")?;
    cluster.workers = &TWICE;
    running(scene, cluster, UPGRADE).await?;
    lose_machine(scene, "md-1").await?;
    running(scene, cluster, UPGRADE).await
}

/// Every pool has its version, and waits.
async fn held(scene: &JourneyContext, target: &str) -> Result<()> {
    wait_for("every pool to be held at its new version", UPGRADE, || async {
        let pools = deployments(scene).await?;
        let held = pools.values().filter(|pool| {
            pool.data["spec"]["paused"] == true
                && pool.annotations().contains_key(HELD_ANNOTATION)
                && pool.data["spec"]["template"]["spec"]["version"] == target
        });
        let held = held.count();
        let status = upgrades(scene).get("up").await?.status.unwrap_or_default();
        if held == POOLS.len() && status.phase == UpgradePhase::Held {
            return Ok(());
        }
        Err(format!("{held} held; {:?}", status.phase).into())
    })
    .await
}

async fn release_holds(scene: &JourneyContext, arguments: &[&str]) -> Result<(bool, String)> {
    instar(scene, &[&["release-holds"], arguments].concat()).await
}

/// Runs a command of the program on the management cluster: whether it was done, and what it says.
pub(crate) async fn instar(scene: &JourneyContext, arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(program()?)
        .args(arguments)
        .arg("--kubeconfig")
        .arg(scene.mgmt.run().kubeconfig())
        .output()
        .await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// The webhook configurations that were taken away, as the removal of the installation does.
struct Removed {
    mutating: Vec<MutatingWebhookConfiguration>,
    validating: Vec<ValidatingWebhookConfiguration>,
}

async fn remove_webhooks(scene: &JourneyContext) -> Result<Removed> {
    let client = scene.mgmt.client();
    Ok(Removed {
        mutating: take_away(&Api::all(client.clone())).await?,
        validating: take_away(&Api::all(client)).await?,
    })
}

/// The journeys after this one have them again.
async fn restore_webhooks(scene: &JourneyContext, removed: &Removed) -> Result<()> {
    let client = scene.mgmt.client();
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone());
    for configuration in &removed.mutating {
        mutating.create(&PostParams::default(), configuration).await?;
    }
    let validating = Api::<ValidatingWebhookConfiguration>::all(client);
    for configuration in &removed.validating {
        validating.create(&PostParams::default(), configuration).await?;
    }
    Ok(())
}

async fn take_away<K>(api: &Api<K>) -> Result<Vec<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let found = api.list(&ListParams::default()).await?.items.into_iter();
    let mut ours: Vec<K> = found.filter(|found| found.name_any().contains("instar")).collect();
    for configuration in &mut ours {
        api.delete(&configuration.name_any(), &DeleteParams::default()).await?;
        let metadata = configuration.meta_mut();
        (metadata.resource_version, metadata.uid, metadata.managed_fields) = (None, None, None);
    }
    Ok(ours)
}
