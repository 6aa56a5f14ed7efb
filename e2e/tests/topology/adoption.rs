//! Clusters that ran before their class was wired, and that are lost and restored.

use std::collections::BTreeMap;

use instar_e2e::{
    Context, Result,
    clusterctl::{MoveTarget, move_namespace},
    support::{
        catalog::Rows,
        commands::kubectl_patch,
        fixtures::{TopologyCluster, core_kind, of_cluster},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        lost::{keep_releases, lose},
        topology::{
            UPGRADE, apply_rows, assert_rolled, clusters, create, edit, namespaced, pinned, pins, reconciled, releases,
            resource, running, version, wire, with_etcd,
        },
    },
    wait::{Seen, wait_for},
};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

/// Machines of a Cluster by their names, each with its version.
type Machines = BTreeMap<String, String>;

/// The patch that moves a Cluster to a version, but for its pool md-1, which stays behind until it is told otherwise.
fn version_but_md_1(wanted: &str) -> Value {
    let mut patch = version(wanted);
    patch["spec"]["topology"]["workers"] = json!({ "machineDeployments": [
        { "class": "default-worker", "name": "md-0", "replicas": 2 },
        {
            "class": "default-worker", "name": "md-1", "replicas": 2,
            "metadata": { "annotations": { "topology.cluster.x-k8s.io/defer-upgrade": "" } },
        },
    ] });
    patch
}

/// Wiring the class rolls nothing; the first edit upgrades the Cluster, each machine once. In the middle of it the
/// management cluster is lost, and another takes the files before it has any release: nothing rolls but what was to come.
pub(crate) async fn a_running_cluster_is_adopted(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    // Its class sets an etcd of its own, from which 3.6 may be gone to.
    let class = with_etcd("3.5.26-0");
    scene.apply(&class).await?;
    let (first, last) = (rows.version(33), rows.version(35));
    let small = |name| TopologyCluster {
        name,
        version: &first,
        control_planes: 1,
        workers: &[("md-0", 1)],
    };
    let mut cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: 3,
        workers: &[("md-0", 2), ("md-1", 2)],
    };
    let (never_pinned, created_pinned) = (small("never"), small("pinned"));
    tokio::try_join!(create(&scene, &cluster), create(&scene, &never_pinned))?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    assert!(
        pins(&scene, "c").await.is_err(),
        "a Cluster of a class without wiring has no pins"
    );

    wiring_rolls_nothing(&scene, &ledger, &class, &rows).await?;
    let printed = kubectl_patch(&scene, "c", &version_but_md_1(&last)).await?;
    assert!(printed.succeeded, "{}", printed.stderr);
    let said = format!(
        "Warning: Cluster {}/c is adopted: {first} stays as its class renders it",
        scene.namespace
    );
    assert!(printed.stderr.contains(&said), "{}", printed.stderr);
    create(&scene, &created_pinned).await?;
    stands_at(&scene, "c", &[(&first, 2), (&last, 5)]).await?;
    nothing_is_left_over(&scene, "c").await?;
    ledger.caught_up().await?;
    let written = pins(&scene, "c").await?;
    assert_eq!(written["adopted"], first.as_str());
    let steps = [34, 35].map(|minor| format!("{}={}", rows.version(minor), rows.name(minor, 1)));
    assert_eq!(pinned(&written), steps);
    let in_steps: &[_] = &[(33, None), (34, Some(1)), (35, Some(1))];
    assert_rolled(&ledger, "c", &rows, &Pool::ControlPlane, 3, in_steps)?;
    let pool = |name: &str| Pool::Workers(name.to_owned());
    assert_rolled(&ledger, "c", &rows, &pool("md-0"), 2, &[(33, None), (35, Some(1))])?;
    assert_rolled(&ledger, "c", &rows, &pool("md-1"), 2, &[(33, None)])?;
    drop(ledger);

    let names = ["c", "never", "pinned"];
    let mut before = Vec::new();
    for name in names {
        before.push((machines(&scene, name).await?, pins(&scene, name).await.ok()));
    }
    let ledger = restore(&scene, &names, &rows).await?;
    // What held the pool back goes, and with it the rest of the upgrade.
    edit(
        &scene,
        "c",
        &json!({ "spec": { "topology": { "workers": { "machineDeployments": [
        { "class": "default-worker", "name": "md-0", "replicas": 2 },
        { "class": "default-worker", "name": "md-1", "replicas": 2 },
    ] } } } }),
    )
    .await?;
    cluster.version = &last;
    running(&scene, &cluster, UPGRADE).await?;
    for (name, (machines_before, pins_before)) in names.into_iter().zip(before) {
        reconciled(&scene, name).await?;
        assert_eq!(pins(&scene, name).await.ok(), pins_before, "the pins of {name}");
        if name != "c" {
            assert_eq!(machines(&scene, name).await?, machines_before, "the machines of {name}");
        }
    }
    ledger.caught_up().await?;
    assert_rolled(&ledger, "c", &rows, &Pool::ControlPlane, 3, &[(35, Some(1))])?;
    assert_rolled(&ledger, "c", &rows, &pool("md-0"), 2, &[(35, Some(1))])?;
    assert_rolled(&ledger, "c", &rows, &pool("md-1"), 2, &[(33, None), (35, Some(1))])?;
    for name in ["never", "pinned"] {
        assert_eq!(
            ledger.machines_ever(name)?.len(),
            2,
            "the machines that {name} ever had"
        );
    }

    adopted_after_the_restore(&scene, &ledger, &rows, never_pinned).await
}

/// A label makes the topology controller render the Cluster with the class as it is then.
async fn wiring_rolls_nothing(scene: &JourneyContext, ledger: &Ledger, class: &str, rows: &Rows) -> Result<()> {
    ledger.caught_up().await?;
    let before = ledger.templates_ever("c")?.len();
    let wired = wire(scene, class, &rows.all()).await?;
    scene.apply(&wired).await?;
    edit(scene, "c", &json!({ "spec": { "topology": { "controlPlane": { "metadata": { "labels": { "journey.example.org/wired": "yes" } } } } } })).await?;
    reconciled(scene, "c").await?;
    ledger.caught_up().await?;
    assert_eq!(
        ledger.templates_ever("c")?.len(),
        before,
        "wiring the class minted a template"
    );
    assert_eq!(
        ledger.machines_ever("c")?.len(),
        7,
        "wiring the class replaced a machine"
    );
    Ok(())
}

/// The one that never had pins is adopted at its next edit, as if it had always been here.
async fn adopted_after_the_restore(
    scene: &JourneyContext,
    ledger: &Ledger,
    rows: &Rows,
    cluster: TopologyCluster<'_>,
) -> Result<()> {
    let (name, next) = (cluster.name, rows.version(34));
    edit(scene, name, &version(&next)).await?;
    let moved = TopologyCluster {
        version: &next,
        ..cluster
    };
    running(scene, &moved, UPGRADE).await?;
    assert_eq!(pins(scene, name).await?["adopted"], rows.version(33));
    ledger.caught_up().await?;
    for pool in [Pool::ControlPlane, Pool::Workers("md-0".to_owned())] {
        assert_rolled(ledger, name, rows, &pool, 1, &[(33, None), (34, Some(1))])?;
    }
    Ok(())
}

/// Everything goes into files and is lost, the releases too, and comes back from there. A release that differs on the
/// other side stays as it is there, and the Cluster that is pinned to it is refused until it is as it was.
async fn restore(scene: &JourneyContext, names: &[&str], rows: &Rows) -> Result<Ledger> {
    let directory = tempfile::tempdir()?;
    let to = MoveTarget::ToDirectory;
    move_namespace(&scene.mgmt, &scene.namespace, to, directory.path()).await?;
    let uid = clusters(scene).get("c").await?.uid();
    lose(scene, directory.path(), names).await?;
    let listed = [33, 34, 35, 36].map(|minor| rows.name(minor, 1));
    keep_releases(directory.path(), &listed)?;
    for name in &listed {
        releases(scene).delete(name, &DeleteParams::default()).await?;
    }
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let from = || {
        move_namespace(
            &scene.mgmt,
            &scene.namespace,
            MoveTarget::FromDirectory,
            directory.path(),
        )
    };

    let name = &rows.name(35, 1);
    let mut differs = rows.row(35, 1);
    differs["spec"]["components"]["etcd"]["imageTag"] = json!("3.6.99-0");
    apply_rows(scene, &[differs]).await?;
    let refused = from().await.err().context("a Cluster came back with another release")?;
    let what = format!("is pinned to release {name}, and ");
    assert!(refused.to_string().contains(&what), "{refused:#}");
    let stays = releases(scene).get(name).await?;
    assert_eq!(
        stays.data["spec"]["components"]["etcd"]["imageTag"], "3.6.99-0",
        "it was updated"
    );

    releases(scene).delete(name, &DeleteParams::default()).await?;
    from().await.context("after the release that differed was deleted")?;
    assert_ne!(clusters(scene).get("c").await?.uid(), uid, "the Cluster was not lost");
    for (name, row) in listed.iter().zip(rows.all()) {
        let found = releases(scene).get(name).await.context("clusterctl didn't bring it")?;
        // The API server fills in defaults elsewhere.
        for part in ["version", "revision", "components"] {
            assert_eq!(found.data["spec"][part], row["spec"][part], "{part} of {name}");
        }
    }
    Ok(ledger)
}

/// The machines of a Cluster that are there.
async fn machines(scene: &JourneyContext, cluster: &str) -> Result<Machines> {
    let selector = of_cluster(cluster);
    let found = namespaced(scene, &core_kind("Machine", "machines"))
        .list(&selector)
        .await?;
    let version = |machine: &Value| machine["version"].as_str().unwrap_or_default().to_owned();
    let machines = found.iter();
    Ok(machines
        .map(|machine| (machine.name_any(), version(&machine.data["spec"])))
        .collect())
}

/// Waits until a Cluster has so many machines of each version and no others, each with its node.
async fn stands_at(scene: &JourneyContext, cluster: &str, expected: &[(&str, usize)]) -> Result<()> {
    let selector = of_cluster(cluster);
    let api = namespaced(scene, &core_kind("Machine", "machines"));
    wait_for(&format!("{cluster} to be at {expected:?}"), UPGRADE, || async {
        let found = api.list(&selector).await?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for machine in &found {
            let is_up = machine.data["status"]["phase"] == "Running" && machine.metadata.deletion_timestamp.is_none();
            let version = machine.data["spec"]["version"].as_str().filter(|_| is_up);
            *counts.entry(version.unwrap_or("not running")).or_default() += 1;
        }
        if counts
            .iter()
            .map(|(version, count)| (*version, *count))
            .eq(expected.iter().copied())
        {
            Ok(())
        } else {
            Err(Seen::from(format!("{counts:?}")))
        }
    })
    .await
}

/// Waits until what the machines before were made of is gone: what goes while `clusterctl` looks at everything, it waits for.
async fn nothing_is_left_over(scene: &JourneyContext, cluster: &str) -> Result<()> {
    let selector = of_cluster(cluster);
    let template = |group: &str, kind: &str, plural: &str| resource(group, "v1beta2", kind, plural);
    let expected = [
        (core_kind("MachineSet", "machinesets"), 2),
        (
            template(
                "bootstrap.cluster.x-k8s.io",
                "KubeadmConfigTemplate",
                "kubeadmconfigtemplates",
            ),
            2,
        ),
        (
            template(
                "infrastructure.cluster.x-k8s.io",
                "DevMachineTemplate",
                "devmachinetemplates",
            ),
            3,
        ),
    ];
    wait_for("what the machines before were made of to be gone", UPGRADE, || async {
        for (kind, count) in &expected {
            let found = namespaced(scene, kind).list(&selector).await?.items.len();
            if found != *count {
                return Err(Seen::from(format!("{found} of {}", kind.kind)));
            }
        }
        Ok(())
    })
    .await
}
