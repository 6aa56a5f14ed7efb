//! A Cluster that ran before its class was wired.

use instar_e2e::{
    Result,
    support::{
        commands::kubectl_patch,
        fixtures::TopologyCluster,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        topology::{
            UPGRADE, apply_rows, assert_rolled, create, edit, pinned, pins, reconciled, running, version, wire,
            with_etcd,
        },
    },
};

/// Wiring the class rolls nothing; the first edit upgrades the Cluster, each machine once.
pub(crate) async fn a_running_cluster_is_adopted(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    // Its class sets an etcd of its own, from which 3.6 may be gone to.
    let class = with_etcd("3.5.26-0");
    scene.apply(&class).await?;
    let (first, last) = (rows.version(33), rows.version(35));
    let mut cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: 3,
        workers: &[("md-0", 2), ("md-1", 2)],
    };
    create(&scene, &cluster).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    assert!(
        pins(&scene, "c").await.is_err(),
        "a Cluster of a class without wiring has no pins"
    );

    ledger.caught_up().await?;
    let before = ledger.templates_ever("c")?.len();
    let wired = wire(&scene, &class, &rows.all()).await?;
    scene.apply(&wired).await?;
    // A label makes the topology controller render the Cluster with the class as it is now.
    edit(&scene, "c", &serde_json::json!({ "spec": { "topology": { "controlPlane": { "metadata": { "labels": { "journey.example.org/wired": "yes" } } } } } })).await?;
    reconciled(&scene, "c").await?;
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

    let printed = kubectl_patch(&scene, "c", &version(&last)).await?;
    assert!(printed.succeeded, "{}", printed.stderr);
    let said = format!(
        "Warning: Cluster {}/c is adopted: {first} stays as its class renders it",
        scene.namespace
    );
    assert!(printed.stderr.contains(&said), "{}", printed.stderr);
    cluster.version = &last;
    running(&scene, &cluster, UPGRADE).await?;
    ledger.caught_up().await?;

    let pins = pins(&scene, "c").await?;
    assert_eq!(pins["adopted"], first.as_str());
    assert_eq!(
        pinned(&pins),
        [34, 35].map(|minor| format!("{}={}", rows.version(minor), rows.name(minor, 1)))
    );
    assert_rolled(
        &ledger,
        "c",
        &rows,
        &Pool::ControlPlane,
        3,
        &[(33, None), (34, Some(1)), (35, Some(1))],
    )?;
    for pool in ["md-0", "md-1"] {
        assert_rolled(
            &ledger,
            "c",
            &rows,
            &Pool::Workers(pool.to_owned()),
            2,
            &[(33, None), (35, Some(1))],
        )?;
    }
    Ok(())
}
