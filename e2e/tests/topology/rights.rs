//! What Instar may do, and what it does.

use std::collections::BTreeSet;

use instar_e2e::{
    Context, Result, ports,
    support::{
        journeys::JourneyContext,
        metrics::metrics_at,
        topology::{namespaced, resource},
    },
    wait::wait_for,
};
use k8s_openapi::api::{events::v1::Event, rbac::v1::ClusterRole};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

/// What is written of metrics.
const METRICS: &str = include_str!("../../../docs/reference/metrics.md");

/// A verb on a resource of a group.
type Right = (String, String, String);

/// Whose templates nothing in the journeys uses.
const NOT_USED: [(&str, &str, &str); 2] = [
    ("list", "infrastructure.cluster.x-k8s.io", "dockermachinetemplates"),
    ("watch", "infrastructure.cluster.x-k8s.io", "dockermachinetemplates"),
];

/// Nothing is forbidden, and nothing is granted that isn't used, in all that ran before.
pub(crate) async fn granted_and_used(scene: JourneyContext) -> Result<()> {
    break_glass(&scene).await?;
    let roles = Api::<ClusterRole>::all(scene.mgmt.client());
    let mut granted = BTreeSet::new();
    for role in ["instar-webhook", "instar-webhook-docker"] {
        for rule in roles.get(role).await?.rules.unwrap_or_default() {
            for group in rule.api_groups.unwrap_or_default() {
                for resource in rule.resources.clone().unwrap_or_default() {
                    granted.extend(
                        rule.verbs
                            .iter()
                            .map(|verb| (verb.clone(), group.clone(), resource.clone())),
                    );
                }
            }
        }
    }
    let not_used: BTreeSet<Right> = NOT_USED
        .map(|(verb, group, resource)| (verb.into(), group.into(), resource.into()))
        .into();
    wait_for(
        "every granted verb to be used",
        std::time::Duration::from_secs(30),
        || async {
            let used = used(&scene)?;
            let unused: BTreeSet<Right> = granted.difference(&used).cloned().collect();
            if unused == not_used {
                Ok(())
            } else {
                Err(format!("never used: {unused:?}").into())
            }
        },
    )
    .await?;
    let beyond: Vec<Right> = used(&scene)?.difference(&granted).cloned().collect();
    assert!(beyond.is_empty(), "used without being granted by our roles: {beyond:?}");
    metrics_are_described(&scene).await?;
    Ok(())
}

/// All that a process tells is on the page, in its section.
async fn metrics_are_described(scene: &JourneyContext) -> Result<()> {
    for (command, port) in [
        ("instar webhook", ports::WEBHOOK_HEALTH),
        ("instar controller", ports::CONTROLLER_HEALTH),
    ] {
        let (_, section) = METRICS.split_once(&format!("## {command}\n")).context(command)?;
        let section = section.split("\n## ").next().unwrap_or_default();
        let text = metrics_at(scene, port).await?;
        let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(told.len() > 3, "{command} tells little: {text}");
        for family in told {
            let (name, kind) = family.split_once(' ').context("a type")?;
            let is_it = |row: &str| row.starts_with(&format!("| `{name}")) && row.contains(&format!("` | {kind} |"));
            assert!(
                section.lines().any(is_it),
                "{command} tells {family}, of which the page says nothing"
            );
        }
    }
    Ok(())
}

/// An edit for which a rule is switched off makes an Event, which tells of it.
async fn break_glass(scene: &JourneyContext) -> Result<()> {
    let deployments = resource("cluster.x-k8s.io", "v1beta2", "MachineDeployment", "machinedeployments");
    let deployments = namespaced(scene, &deployments);
    let deployment = serde_json::from_value(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "MachineDeployment",
        "metadata": {
            "name": "by-hand",
            "annotations": {
                "cluster.x-k8s.io/paused": "",
                "upgrade.cluster.x-k8s.io/break-glass": "template-kind: the journey of rights",
            },
        },
        "spec": {
            "clusterName": "none",
            "replicas": 0,
            "selector": { "matchLabels": { "pool": "by-hand" } },
            "template": {
                "metadata": { "labels": { "pool": "by-hand" } },
                "spec": {
                    "clusterName": "none",
                    "version": "v1.34.3",
                    "bootstrap": { "dataSecretName": "none" },
                    "infrastructureRef": {
                        "apiGroup": "infrastructure.cluster.x-k8s.io",
                        "kind": "DevMachine",
                        "name": "by-hand",
                    },
                },
            },
        },
    }))?;
    deployments.create(&PostParams::default(), &deployment).await?;
    let events = Api::<Event>::namespaced(scene.mgmt.client(), &scene.namespace);
    let event = wait_for(
        "an Event that tells of the rule",
        std::time::Duration::from_secs(30),
        || async {
            let there = events.list(&ListParams::default()).await?;
            let mut there = there.items.into_iter();
            let told = there.find(|event| event.reason.as_deref() == Some("RuleSwitchedOff"));
            told.ok_or_else(|| "there is none".into())
        },
    )
    .await?;
    let note = event.note.unwrap_or_default();
    assert!(
        note.contains(" switched off rule template-kind for this edit: MachineDeployment ")
            && note.ends_with("[rule template-kind]"),
        "{note}"
    );
    let regarding = event.regarding.unwrap_or_default();
    assert_eq!(regarding.name.as_deref(), Some("by-hand"));
    deployments.delete("by-hand", &DeleteParams::default()).await?;
    Ok(())
}

/// What the audit log says that Instar did. A request that was forbidden is an error.
fn used(scene: &JourneyContext) -> Result<BTreeSet<Right>> {
    let path = scene.mgmt.audit_log();
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut used = BTreeSet::new();
    for line in text.lines() {
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if event["user"]["username"] != "system:serviceaccount:instar-system:instar-webhook" {
            continue;
        }
        anyhow::ensure!(event["responseStatus"]["code"] != 403, "forbidden: {line}");
        let at = |field: &str| event["objectRef"][field].as_str().unwrap_or_default().to_owned();
        if event.get("objectRef").is_some() {
            used.insert((
                event["verb"].as_str().unwrap_or_default().to_owned(),
                at("apiGroup"),
                at("resource"),
            ));
        }
    }
    Ok(used)
}
