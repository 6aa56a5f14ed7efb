//! The record of a topology cluster's upgrade appears by itself, and tells the truth.

use std::{collections::BTreeMap, time::Instant};

use instar_api::{ClusterUpgrade, RECORD_ANNOTATION, UpgradePhase};
use instar_domain::KubeVersion;
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        catalog::Rows,
        classic::FULL,
        fixtures::{CLUSTER_CLASS, Shape, TopologyCluster},
        journeys::JourneyContext,
        topology::{UPGRADE, apply_rows, apply_wired, create, edit, namespaced, reconciled, resource, version},
    },
    wait::PATIENCE,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

/// The ClusterUpgrades of the journey.
pub(crate) fn upgrades(scene: &JourneyContext) -> Api<ClusterUpgrade> {
    Api::namespaced(scene.mgmt.client(), &scene.namespace)
}

/// What was seen at one moment: the record first, so that the objects are never older than it.
pub(crate) struct Sample {
    pub(crate) phase: UpgradePhase,
    pub(crate) path: Vec<String>,
    pub(crate) reasons: Vec<String>,
    /// The control plane's version, as the record tells it and as it is.
    pub(crate) told: Option<KubeVersion>,
    pub(crate) control_plane: KubeVersion,
    /// Each machine: its pool, its version, and what its node runs.
    pub(crate) machines: Vec<(String, KubeVersion, Option<KubeVersion>)>,
}

impl Sample {
    /// Looks at a record, and then at what it tells of.
    pub(crate) async fn take(scene: &JourneyContext, record: &str) -> Result<Option<Self>> {
        let Some(record) = upgrades(scene).get_opt(record).await? else {
            return Ok(None);
        };
        let status = record.status.unwrap_or_default();
        let told = status.pools.iter().find(|pool| pool.name.is_empty());
        let kind = resource(
            "controlplane.cluster.x-k8s.io",
            "v1beta2",
            "KubeadmControlPlane",
            "kubeadmcontrolplanes",
        );
        let control_planes = namespaced(scene, &kind).list(&ListParams::default()).await?.items;
        let control_plane = control_planes.first().context("there is no control plane")?;
        let machines = resource("cluster.x-k8s.io", "v1beta2", "Machine", "machines");
        let machines = namespaced(scene, &machines).list(&ListParams::default()).await?.items;
        let text = |data: &Value, pointer: &str| data.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Ok(Some(Self {
            phase: status.phase,
            path: status.path,
            reasons: status
                .health
                .iter()
                .map(|row| format!("{}: {}", row.reason, row.message))
                .collect(),
            told: told.map(|pool| pool.version.parse()).transpose()?,
            control_plane: text(&control_plane.data, "/spec/version")
                .context("no version")?
                .parse()?,
            machines: machines
                .iter()
                .map(|machine| {
                    let pool = machine.labels().get("cluster.x-k8s.io/deployment-name").cloned();
                    let node = text(&machine.data, "/status/nodeInfo/kubeletVersion");
                    Ok((
                        pool.unwrap_or_default(),
                        text(&machine.data, "/spec/version").context("no version")?.parse()?,
                        node.and_then(|node| node.parse().ok()),
                    ))
                })
                .collect::<Result<_>>()?,
        }))
    }

    /// Whether everything is at a version.
    pub(crate) fn all_at(&self, version: &KubeVersion) -> bool {
        self.control_plane == *version
            && self
                .machines
                .iter()
                .all(|(_, machine, node)| machine == version && node.as_ref() == Some(version))
    }

    /// The line that is printed when it changes.
    pub(crate) fn line(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (pool, version, node) in &self.machines {
            let role = if pool.is_empty() { "control plane" } else { "workers" };
            let joined = if node.is_some() { "" } else { " (no node)" };
            *counts.entry(format!("{role} {version}{joined}")).or_default() += 1;
        }
        format!(
            "{:?} path {:?} control plane {:?}; {counts:?}; waiting: {:#?}",
            self.phase,
            self.path,
            self.told.as_ref().map(ToString::to_string),
            self.reasons
        )
    }
}

/// Follows a record until it is completed, and holds each sample against what must be true however
/// late the record is: it never runs ahead of the objects, and never goes back.
pub(crate) async fn follow(scene: &JourneyContext, record: &str, target: &KubeVersion) -> Result<Vec<Sample>> {
    let began = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    let rank = |phase: UpgradePhase| match phase {
        UpgradePhase::Pending
        | UpgradePhase::Held
        | UpgradePhase::Refused
        | UpgradePhase::RollingBack
        | UpgradePhase::RolledBack
        | UpgradePhase::Aborted
        | UpgradePhase::Failed => 0,
        UpgradePhase::ControlPlane => 1,
        UpgradePhase::Workers => 2,
        UpgradePhase::Verifying => 3,
        UpgradePhase::Completed => 4,
    };
    let mut last = String::new();
    loop {
        if let Some(sample) = Sample::take(scene, record).await? {
            let line = sample.line();
            if line != last {
                say(format!("{}: {line}", scene.namespace));
                last = line;
            }
            let before = samples.last();
            if let Some(told) = &sample.told {
                assert!(
                    *told <= sample.control_plane,
                    "the record runs ahead: {}",
                    sample.line()
                );
                let earlier = before.and_then(|before| before.told.as_ref());
                assert!(
                    earlier.is_none_or(|earlier| earlier <= told),
                    "it went back: {}",
                    sample.line()
                );
            }
            let earlier = samples
                .iter()
                .map(|sample| rank(sample.phase))
                .max()
                .unwrap_or_default();
            let now = rank(sample.phase);
            assert!(now == 0 || now >= earlier, "it went back: {}", sample.line());
            if matches!(
                sample.phase,
                UpgradePhase::Workers | UpgradePhase::Verifying | UpgradePhase::Completed
            ) {
                let workers_only = sample.machines.iter().filter(|(pool, _, _)| pool.is_empty());
                let arrived = workers_only
                    .clone()
                    .all(|(_, version, node)| version == target && node.as_ref() == Some(target));
                assert!(arrived, "the control plane wasn't there: {}", sample.line());
            }
            if sample.phase == UpgradePhase::Completed {
                assert!(sample.all_at(target), "it was not completed: {}", sample.line());
                samples.push(sample);
                return Ok(samples);
            }
            // Nothing is waited for while the edit itself is being written.
            assert!(
                !sample.reasons.is_empty() || sample.path.is_empty(),
                "it waits for nothing: {}",
                sample.line()
            );
            samples.push(sample);
        }
        anyhow::ensure!(
            began.elapsed() < PATIENCE * UPGRADE,
            "{record} was not completed; seen last: {last}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

/// Waits until there is exactly one record more than those that are known, and gives its name.
pub(crate) async fn record_of(scene: &JourneyContext, target: &str) -> Result<String> {
    instar_e2e::wait::wait_for("the record", UPGRADE, || async {
        let found = upgrades(scene).list(&ListParams::default()).await?.items;
        let of_target = found.iter().filter(|record| record.spec.target == target);
        let names: Vec<String> = of_target
            .filter(|record| record.annotations().contains_key(RECORD_ANNOTATION))
            .map(ResourceExt::name_any)
            .collect();
        match names.as_slice() {
            [one] => Ok(one.clone()),
            names => Err(format!("{names:?}").into()),
        }
    })
    .await
}

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
