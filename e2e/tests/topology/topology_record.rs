//! The record of a topology cluster's upgrade appears by itself, and tells the truth.

use instar_api::UpgradePhase;
use instar_e2e::{
    Context, Result,
    support::{
        catalog::Rows,
        classic::FULL,
        fixtures::{CLUSTER_CLASS, Shape, TopologyCluster},
        journeys::JourneyContext,
        record::{Sample, follow, record_of, upgrades},
        topology::{apply_rows, apply_wired, create, edit, reconciled, version},
    },
};
use kube::{ResourceExt, api::ListParams};

pub(crate) async fn with_the_runtime_sdk(scene: JourneyContext) -> Result<()> {
    appears_by_itself(&scene, &scene.rows()?, &FULL).await
}

/// Two minors by one edit; a record that nobody made, and every sample of it held against the truth.
pub(crate) async fn appears_by_itself(scene: &JourneyContext, rows: &Rows, shape: &Shape<'_>) -> Result<()> {
    apply_rows(scene, &rows.all()).await?;
    apply_wired(scene, CLUSTER_CLASS, &rows.all()).await?;
    let first = rows.version(33);
    let cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: shape.control_plane,
        workers: shape.pools,
    };
    create(scene, &cluster).await?;
    // To be created is not to be upgraded.
    let records = upgrades(scene).list(&ListParams::default()).await?.items;
    assert!(records.is_empty(), "{records:?}");

    let last = rows.version(35);
    edit(scene, "c", &version(&last)).await?;
    let record = record_of(scene, &last).await?;
    let samples = follow(scene, &record, &last.parse()?).await?;
    let seen = |phase| samples.iter().any(|sample| sample.phase == phase);
    assert!(seen(UpgradePhase::ControlPlane) && seen(UpgradePhase::Workers));
    let says = |sample: &Sample, word: &str| sample.reasons.iter().any(|reason| reason.contains(word));
    assert!(
        samples
            .iter()
            .any(|sample| says(sample, "TopologyReconciled: Cluster is upgrading to")),
        "Cluster API's own words were never passed on"
    );
    let path = [rows.name(34, 1), rows.name(35, 1)];
    for sample in samples.iter().filter(|sample| !sample.path.is_empty()) {
        assert_eq!(sample.path, path, "{}", sample.line());
    }

    let record = upgrades(scene).get(&record).await?;
    let owners = record.owner_references();
    assert_eq!((owners[0].kind.as_str(), owners[0].name.as_str()), ("Cluster", "c"));
    let status = record.status.context("it has no status")?;
    let pools: Vec<(&str, usize, usize)> = status
        .pools
        .iter()
        .map(|pool| {
            Ok((
                pool.version.as_str(),
                usize::try_from(pool.machines)?,
                usize::try_from(pool.converged)?,
            ))
        })
        .collect::<Result<_>>()?;
    let machines = [shape.control_plane]
        .into_iter()
        .chain(shape.pools.iter().map(|(_, machines)| *machines));
    let expected: Vec<_> = machines.map(|machines| (last.as_str(), machines, machines)).collect();
    assert_eq!(pools, expected);
    assert_eq!(status.health, []);
    reconciled(scene, "c").await?;
    // It is made once.
    let records = upgrades(scene).list(&ListParams::default()).await?.items;
    assert_eq!(records.len(), 1, "{records:?}");
    Ok(())
}
