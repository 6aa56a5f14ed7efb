//! The class' versions change while a Cluster is on its way.

use instar_e2e::{
    Result,
    support::{
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        record::{follow, record_of, upgrades},
        topology::{UPGRADE, apply_rows, apply_wired, create, edit, namespaced, pinned, pins, resource, version},
    },
    wait::wait_for,
};
use kube::api::ListParams;
use serde_json::{Value, json};

/// While the control plane is on its way to v1.34, the class gets another newest v1.35, of which the
/// Cluster has no pin: it is named then, no other pin changes, and every machine is replaced once for
/// each version of its pool.
pub(crate) async fn changes_on_the_way(scene: JourneyContext) -> Result<()> {
    let (rows, newer) = (scene.rows()?, scene.more_rows(1)?);
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    let first = rows.version(33);
    let cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: 3,
        workers: &[("md-0", 2)],
    };
    create(&scene, &cluster).await?;
    // In the catalog, and not yet in the class: what is pinned now is the class' newest.
    apply_rows(&scene, &[newer.row(35, 1)]).await?;
    let last = rows.version(36);
    edit(&scene, "c", &version(&last)).await?;
    let before = pins(&scene, "c").await?;
    let at_first: Vec<String> = [33, 34, 35, 36]
        .map(|minor| format!("{}={}", rows.version(minor), rows.name(minor, 1)))
        .into();
    assert_eq!(pinned(&before), at_first);

    // Its three machines are replaced one after the other: until the last is there, Cluster API
    // doesn't choose the next version.
    control_plane_at(&scene, &rows.version(34)).await?;
    let listed: Vec<String> = [
        rows.version(33),
        rows.version(34),
        rows.version(35),
        newer.version(35),
        last.clone(),
    ]
    .into();
    let patch = json!({ "spec": { "kubernetesVersions": listed } });
    let classes = resource("cluster.x-k8s.io", "v1beta2", "ClusterClass", "clusterclasses");
    namespaced(&scene, &classes)
        .patch(
            "fixture",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&patch),
        )
        .await?;

    let record = record_of(&scene, &last).await?;
    let samples = follow(&scene, &record, &last.parse()?).await?;
    let after = pins(&scene, "c").await?;
    let mut expected = at_first;
    expected.insert(3, format!("{}={}", newer.version(35), newer.name(35, 1)));
    assert_eq!(pinned(&after), expected);
    let releases = |pins: &Value| pins["releases"].as_object().cloned().unwrap_or_default();
    for (version, pin) in releases(&before) {
        assert_eq!(releases(&after)[&version], pin, "the pin of {version} was rewritten");
    }
    let told = samples.last().map(|sample| sample.path.clone()).unwrap_or_default();
    assert_eq!(told, [rows.name(34, 1), newer.name(35, 1), rows.name(36, 1)]);

    ledger.caught_up().await?;
    // How a cluster comes up is Cluster API's: with a cache that lags, it makes a machine too many.
    let groups = ledger.machines_by_version("c")?;
    let of = |pool: &Pool| -> Vec<(String, usize)> {
        groups
            .iter()
            .filter(|((found, version), _)| found == pool && *version != first)
            .map(|((_, version), machines)| (version.clone(), machines.len()))
            .collect()
    };
    let went = [rows.version(34), newer.version(35), last.clone()].map(|version| (version, 3));
    assert_eq!(of(&Pool::ControlPlane), went);
    assert_eq!(of(&Pool::Workers("md-0".to_owned())), [(last.clone(), 2)]);
    let records = upgrades(&scene).list(&ListParams::default()).await?.items;
    assert_eq!(records.len(), 1, "{records:?}");
    Ok(())
}

async fn control_plane_at(scene: &JourneyContext, version: &str) -> Result<()> {
    let kind = resource(
        "controlplane.cluster.x-k8s.io",
        "v1beta2",
        "KubeadmControlPlane",
        "kubeadmcontrolplanes",
    );
    let api = namespaced(scene, &kind);
    wait_for(&format!("the control plane to go to {version}"), UPGRADE, || async {
        let found = api.list(&ListParams::default()).await?.items;
        let versions: Vec<&str> = found
            .iter()
            .filter_map(|control_plane| control_plane.data.pointer("/spec/version")?.as_str())
            .collect();
        if versions == [version] {
            Ok(())
        } else {
            Err(format!("{versions:?}").into())
        }
    })
    .await
}
