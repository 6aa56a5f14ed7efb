//! What admission says to an upgrade, by the server's own code over caches of these objects.

use std::sync::Arc;

use instar_admission::{Finding, GuardedKind};
use instar_api::{ClusterUpgrade, Pins, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION};
use instar_controller::OfflineCluster;
use instar_forecast::TopologyEdit;
use instar_report::{FindingEffect, PlanFinding};
use instar_webhooks::{Caches, Opinion, Route, opinion};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::Error;

/// The admission server's caches.
pub(super) struct Admission(Arc<Caches>);

/// What it says to an upgrade.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) findings: Vec<PlanFinding>,
    /// Of a topology Cluster, what comes of the edit; absent where it is refused.
    pub(super) edit: Option<TopologyEdit>,
}

impl Admission {
    /// Of the kinds that it watches; those of others it takes for templates and control planes, and looks at none here.
    pub(super) fn of(objects: &[Value], now: Timestamp) -> Result<Self, Error> {
        let caches = Caches::of(objects, now).map_err(|error| Error::Unread(error.to_string()))?;
        Ok(Self(caches))
    }

    /// Asks for the ClusterUpgrade, and on a topology Cluster for the edit that it makes.
    pub(super) fn ask(
        &self,
        offline: &OfflineCluster,
        known: &[ClusterUpgrade],
        upgrade: &ClusterUpgrade,
    ) -> Result<Answers, String> {
        let old = known.iter().find(|known| known.name_any() == upgrade.name_any());
        let of_upgrade = self.judge(
            Route::mutating(GuardedKind::ClusterUpgrade),
            old.map(|old| json!(old)).as_ref(),
            &json!(upgrade),
        )?;
        let mut answers = Answers {
            findings: findings(&of_upgrade),
            edit: None,
        };
        let Some(topology) = &offline.cluster().spec.topology else {
            return Ok(answers);
        };
        let name = offline.cluster().name_any();
        let is = |object: &&Value| {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
            text("/kind") == Some("Cluster") && text("/metadata/name") == Some(&name)
        };
        let old = offline.objects().iter().find(is);
        let old = old.ok_or("the Cluster is not among the objects")?;
        let mut new = old.clone();
        new["spec"]["topology"]["version"] = json!(upgrade.spec.target);
        // As the controller makes it, so that it isn't taken for one by hand.
        new["metadata"]["annotations"][SWAP_HISTORY_ANNOTATION] = json!(upgrade.name_any());
        let of_edit = self.judge(Route::mutating(GuardedKind::Cluster), Some(old), &new)?;
        answers.findings.extend(findings(&of_edit));
        if of_edit.verdict.is_refusal() {
            return Ok(answers);
        }
        if let Some(patch) = &of_edit.patch {
            json_patch::patch(&mut new, patch).map_err(|error| error.to_string())?;
        }
        let text = |pointer: &str| new.pointer(pointer).and_then(Value::as_str);
        let version = text("/spec/topology/version").unwrap_or(&topology.version);
        let pins = new["metadata"]["annotations"][RELEASES_ANNOTATION].as_str();
        let listed = new.pointer("/spec/topology/workers/machineDeployments");
        let listed = listed.and_then(Value::as_array).into_iter().flatten();
        answers.edit = Some(TopologyEdit {
            version: version.parse().map_err(|error| format!("{version}: {error}"))?,
            pins: pins.and_then(|text| Pins::from_annotation(text).ok()),
            order: listed
                .filter_map(|pool| Some(pool.get("name")?.as_str()?.to_owned()))
                .collect(),
        });
        Ok(answers)
    }

    /// What the mutating half says, which judges what the validating half does and writes too.
    fn judge(&self, route: Option<Route>, old: Option<&Value>, new: &Value) -> Result<Opinion, String> {
        let route = route.ok_or("it isn't asked in the mutating phase")?;
        let text = |pointer: &str| new.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("/apiVersion").split_once('/').unwrap_or_default();
        let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "plan",
                "kind": { "group": group, "version": version, "kind": text("/kind") },
                "operation": operation,
                "name": text("/metadata/name"),
                "namespace": text("/metadata/namespace"),
                "userInfo": {},
                "dryRun": true,
                "object": new,
                "oldObject": old,
            },
        });
        opinion(route, review.to_string().as_bytes(), &self.0)
    }
}

fn findings(opinion: &Opinion) -> Vec<PlanFinding> {
    let of = |effect| {
        move |finding: &Finding| PlanFinding {
            effect,
            message: finding.to_string(),
        }
    };
    let refused = opinion.verdict.refused.iter().map(of(FindingEffect::Refused));
    let warned = opinion.verdict.warned.iter().map(of(FindingEffect::Warned));
    refused.chain(warned).collect()
}
