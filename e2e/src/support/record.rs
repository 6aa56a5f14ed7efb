//! The record of a cluster's upgrade, followed to its end beside what it tells of.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result};
use instar_api::{ClusterUpgrade, RECORD_ANNOTATION, UpgradePhase};
use instar_domain::KubeVersion;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

use super::{
    journeys::JourneyContext,
    topology::{UPGRADE, namespaced, resource},
};
use crate::{
    progress::say,
    wait::{PATIENCE, wait_for},
};

/// The ClusterUpgrades of the journey.
#[must_use]
pub fn upgrades(scene: &JourneyContext) -> Api<ClusterUpgrade> {
    Api::namespaced(scene.mgmt.client(), &scene.namespace)
}

/// What was seen at one moment: the record first, so that the objects are never older than it.
pub struct Sample {
    pub phase: UpgradePhase,
    pub path: Vec<String>,
    pub reasons: Vec<String>,
    /// The control plane's version, as the record tells it and as it is.
    pub told: Option<KubeVersion>,
    pub control_plane: KubeVersion,
    /// Each machine: its pool, its version, and what its node runs.
    pub machines: Vec<(String, KubeVersion, Option<KubeVersion>)>,
}

impl Sample {
    /// Looks at a record, and then at what it tells of.
    pub async fn take(scene: &JourneyContext, record: &str) -> Result<Option<Self>> {
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
    #[must_use]
    pub fn all_at(&self, version: &KubeVersion) -> bool {
        self.control_plane == *version
            && self
                .machines
                .iter()
                .all(|(_, machine, node)| machine == version && node.as_ref() == Some(version))
    }

    /// The line that is printed when it changes.
    #[must_use]
    pub fn line(&self) -> String {
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
///
/// # Panics
/// If a sample isn't true.
pub async fn follow(scene: &JourneyContext, record: &str, target: &KubeVersion) -> Result<Vec<Sample>> {
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
pub async fn record_of(scene: &JourneyContext, target: &str) -> Result<String> {
    wait_for("the record", UPGRADE, || async {
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
