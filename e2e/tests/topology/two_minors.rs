//! Two minors in one edit.

use std::{collections::BTreeMap, time::Duration};

use futures::future::try_join;
use instar_e2e::{
    Context, Result,
    components::RuntimeSdk,
    support::{
        catalog::{IMAGE, Rows, SPECIAL},
        classic::{FULL, SMALL},
        commands::{instar, kubectl},
        fixtures::{CLUSTER_CLASS, Shape, TopologyCluster},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        topology::{
            UPGRADE, apply_rows, apply_wired, assert_rolled, create, edit, image_of, namespaced, pinned, pins,
            reconciled, resource, running, version, with_etcd,
        },
    },
    wait::wait_for,
};
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::topology_record::appears_by_itself;

pub(crate) async fn with_the_runtime_sdk(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    two_minors(&scene, &rows, &FULL).await?;
    an_added_pool_gets_its_pins(&scene, &rows).await
}

/// Neither what is rendered nor what is told of it depends on the gate.
pub(crate) async fn without_the_runtime_sdk(scene: JourneyContext) -> Result<()> {
    let mut beside = scene.clone();
    beside.namespace = scene.another_namespace(BTreeMap::new()).await?;
    scene.mgmt.restart_core(RuntimeSdk::Off).await?;
    let (counted, told) = (scene.rows()?, scene.more_rows(1)?);
    let result = try_join(
        two_minors(&scene, &counted, &SMALL),
        appears_by_itself(&beside, &told, &SMALL),
    )
    .await;
    scene.mgmt.restart_core(RuntimeSdk::On).await?;
    result.map(drop)
}

/// The control plane goes through the minor between, the workers skip it, and each machine is made
/// once for each version that its pool goes through.
async fn two_minors(scene: &JourneyContext, rows: &Rows, shape: &Shape<'_>) -> Result<()> {
    apply_rows(scene, &rows.all()).await?;
    let class = apply_wired(scene, CLUSTER_CLASS, &rows.all()).await?;
    let listed: Vec<String> = [33, 34, 35, 36].into_iter().map(|minor| rows.version(minor)).collect();
    assert_eq!(class["spec"]["kubernetesVersions"], json!(listed));
    wiring_again_changes_nothing(scene, &rows.all()).await?;

    let (first, last) = (rows.version(33), rows.version(35));
    let mut cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: shape.control_plane,
        workers: shape.pools,
    };
    create(scene, &cluster).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    assert_eq!(pinned(&pins(scene, "c").await?), [format!("{first}={first}-1")]);

    edit(scene, "c", &version(&last)).await?;
    cluster.version = &last;
    running(scene, &cluster, UPGRADE).await?;
    ledger.caught_up().await?;

    let on_the_way: Vec<String> = [33, 34, 35]
        .into_iter()
        .map(|minor| format!("{}={}", rows.version(minor), rows.name(minor, 1)))
        .collect();
    assert_eq!(pinned(&pins(scene, "c").await?), on_the_way);
    assert_rolled(
        &ledger,
        "c",
        rows,
        &Pool::ControlPlane,
        shape.control_plane,
        &[(33, Some(1)), (34, Some(1)), (35, Some(1))],
    )?;
    for (pool, machines) in shape.pools {
        assert_rolled(
            &ledger,
            "c",
            rows,
            &Pool::Workers((*pool).to_owned()),
            *machines,
            &[(33, Some(1)), (35, Some(1))],
        )?;
    }
    // Three for the control plane, and two for each of the two pools: no more was ever minted.
    let templates = ledger.templates_ever("c")?;
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    assert_eq!(templates.len(), 7, "{names:?}");
    tags_follow(scene, "3.6.6-0", "v1.13.1").await
}

/// Also on the class as the API server and Cluster API's webhooks have stored it.
async fn wiring_again_changes_nothing(scene: &JourneyContext, rows: &[Value]) -> Result<()> {
    let kinds = "clusterclasses.cluster.x-k8s.io,kubeadmcontrolplanetemplates.controlplane.cluster.x-k8s.io,devmachinetemplates.infrastructure.cluster.x-k8s.io";
    let stored = kubectl(scene, &["get", kinds, "-o", "json"], "").await?;
    anyhow::ensure!(stored.succeeded, "{}", stored.stderr);
    let mut documents = vec![stored.stdout];
    documents.extend(rows.iter().map(Value::to_string));
    let checked = instar(scene, &["wire", "-f", "-", "--check"], &documents.join("\n---\n")).await?;
    anyhow::ensure!(checked.succeeded, "{}", checked.stderr);
    Ok(())
}

/// The KubeadmControlPlane carries the last row's etcd and CoreDNS.
async fn tags_follow(scene: &JourneyContext, etcd: &str, dns: &str) -> Result<()> {
    let control_planes = resource(
        "controlplane.cluster.x-k8s.io",
        "v1beta2",
        "KubeadmControlPlane",
        "kubeadmcontrolplanes",
    );
    let api = namespaced(scene, &control_planes);
    for control_plane in api.list(&ListParams::default()).await? {
        let at = |pointer: &str| {
            let pointer = format!("/spec/kubeadmConfigSpec/clusterConfiguration/{pointer}/imageTag");
            control_plane.data.pointer(&pointer).and_then(Value::as_str)
        };
        assert_eq!(
            (at("etcd/local"), at("dns")),
            (Some(etcd), Some(dns)),
            "{}",
            control_plane.name_any()
        );
    }
    Ok(())
}

/// A pool that is added to a running Cluster comes up from the row that the Cluster is pinned to, and
/// its labels choose the image. The other pools stay as they are.
async fn an_added_pool_gets_its_pins(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let last = rows.version(35);
    let cluster = TopologyCluster {
        name: "c",
        version: &last,
        control_planes: 3,
        workers: &[("md-0", 2), ("md-1", 2), ("added", 1), ("special", 1)],
    };
    // As a Git tool writes it: the whole Cluster, without the annotation.
    let mut object = cluster.object();
    object["spec"]["topology"]["workers"]["machineDeployments"][3]["metadata"] =
        json!({ "labels": { SPECIAL: "yes" } });
    scene.apply_object(object).await?;
    running(scene, &cluster, UPGRADE).await?;
    ledger.caught_up().await?;
    assert_rolled(
        &ledger,
        "c",
        rows,
        &Pool::Workers("added".to_owned()),
        1,
        &[(35, Some(1))],
    )?;
    assert_rolled(
        &ledger,
        "c",
        rows,
        &Pool::Workers("md-0".to_owned()),
        2,
        &[(35, Some(1))],
    )?;
    let pools = pins(scene, "c").await?["releases"][&last]["machineDeployments"].clone();
    assert_eq!(pools, json!({ "special": { IMAGE: rows.special_image(35, 1) } }));
    for machine in ledger
        .machines_ever("c")?
        .iter()
        .filter(|machine| machine.pool == Pool::Workers("special".to_owned()))
    {
        assert_eq!(image_of(machine), Some(rows.special_image(35, 1)), "{}", machine.name);
    }
    Ok(())
}

/// The in-memory backend has no machine pools, so their machines don't come; what Cluster API renders
/// for one does. A value that the row doesn't set stays the class' own.
pub(crate) async fn a_machine_pool_is_rendered(scene: JourneyContext) -> Result<()> {
    const POOL_IMAGE: &str = "/spec/template/spec/backend/docker/customImage";
    let rows = scene.rows()?;
    let mut row = rows.row(34, 1);
    let pool_image =
        json!({ "kind": "DevMachinePoolTemplate", "values": [{ "pointer": POOL_IMAGE, "value": "node:the-row" }] });
    row["spec"]["machineImages"]
        .as_array_mut()
        .context("images")?
        .push(pool_image);
    // It sets no etcd, and another row does: the class' own stays.
    row["spec"]["components"]
        .as_object_mut()
        .context("components")?
        .remove("etcd");
    let catalog = [row, rows.row(33, 1)];
    apply_rows(&scene, &catalog).await?;

    let template = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
        "kind": "DevMachinePoolTemplate",
        "metadata": { "name": "fixture-pool" },
        "spec": { "template": { "spec": { "backend": { "docker": {} } } } },
    });
    let pool_class = |indent: &str| {
        [
            "machinePools:",
            "  - class: default-pool",
            "    bootstrap:",
            "      templateRef: {apiVersion: bootstrap.cluster.x-k8s.io/v1beta2, kind: KubeadmConfigTemplate, name: fixture-default-worker}",
            "    infrastructure:",
            "      templateRef: {apiVersion: infrastructure.cluster.x-k8s.io/v1beta2, kind: DevMachinePoolTemplate, name: fixture-pool}",
        ]
        .map(|line| format!("{indent}{line}\n"))
        .concat()
    };
    let class = format!(
        "{template}\n---\n{}\n{}",
        with_etcd("3.6.5-0").trim_end(),
        pool_class("    ")
    );
    apply_wired(&scene, &class, &catalog).await?;

    let first = rows.version(34);
    let mut cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: 1,
        workers: &[("md-0", 1)],
    }
    .object();
    cluster["spec"]["topology"]["workers"]["machinePools"] =
        json!([{ "class": "default-pool", "name": "mp-0", "replicas": 1 }]);
    scene.apply_object(cluster).await?;
    reconciled(&scene, "c").await?;
    tags_follow(&scene, "3.6.5-0", "v1.12.1").await?;

    let pools = resource(
        "infrastructure.cluster.x-k8s.io",
        "v1beta2",
        "DevMachinePool",
        "devmachinepools",
    );
    let api = namespaced(&scene, &pools);
    wait_for(
        "the pool's infrastructure to carry the row's image",
        Duration::from_mins(2),
        || async {
            let pools = api.list(&ListParams::default()).await?;
            let images: Vec<_> = pools
                .iter()
                .map(|pool| {
                    pool.data
                        .pointer("/spec/backend/docker/customImage")
                        .cloned()
                        .unwrap_or_default()
                })
                .collect();
            if images == [json!("node:the-row")] {
                Ok(())
            } else {
                Err(format!("{images:?}").into())
            }
        },
    )
    .await
}
