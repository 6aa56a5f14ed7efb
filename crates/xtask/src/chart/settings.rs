//! What a user can set: the one table of `values.yaml`, its schema, and the chart's README.

use std::fmt::Write;

use anyhow::Result;
use instar_watch::rbac::PROVIDERS;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Map, Value, json};

use crate::{CERTIFICATE_SECRET, monitoring::DASHBOARD, yaml};

/// A value, or several that belong together.
pub(super) struct Setting {
    name: &'static str,
    why: &'static str,
    content: Content,
}

enum Content {
    Section(Vec<Setting>),
    Value { default: Value, schema: Value },
}

fn section<const N: usize>(name: &'static str, why: &'static str, settings: [Setting; N]) -> Setting {
    Setting {
        name,
        why,
        content: Content::Section(settings.into()),
    }
}

fn value(name: &'static str, why: &'static str, default: Value, schema: Value) -> Setting {
    Setting {
        name,
        why,
        content: Content::Value { default, schema },
    }
}

fn switch(name: &'static str, why: &'static str, default: bool) -> Setting {
    value(name, why, json!(default), json!({ "type": "boolean" }))
}

fn text(name: &'static str, why: &'static str, default: &str) -> Setting {
    value(name, why, json!(default), json!({ "type": "string" }))
}

fn object(name: &'static str, why: &'static str, default: Value) -> Setting {
    value(name, why, default, json!({ "type": "object" }))
}

fn list(name: &'static str, why: &'static str, default: Value, item: &str) -> Setting {
    value(
        name,
        why,
        default,
        json!({ "type": "array", "items": { "type": item } }),
    )
}

/// All of them, in the order in which they are written.
pub(super) fn all(image: &str, deployments: &[Deployment; 2]) -> Result<Vec<Setting>> {
    let [webhook, controller] = deployments;
    let providers: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
    let pod = pod(webhook)?;
    Ok(vec![
        section(
            "image",
            "The image of both programs.",
            [
                text("repository", "Where it is, without a tag.", image),
                text("tag", "Its tag. Empty: the chart's appVersion.", ""),
                text("digest", "Its digest, such as sha256:0123. It wins over the tag.", ""),
                value(
                    "pullPolicy",
                    "When a node pulls it. Empty: as Kubernetes decides by the tag.",
                    json!(""),
                    json!({ "type": "string", "enum": ["", "Always", "IfNotPresent", "Never"] }),
                ),
            ],
        ),
        list(
            "imagePullSecrets",
            "Secrets to pull it with: a list of objects with a name.",
            json!([]),
            "object",
        ),
        value(
            "priorityClass",
            "The PriorityClass of both programs. While the admission server is away guarded edits are refused, so nodes make \
             room for it. Where a cluster lets only some namespaces use it (GKE: those with a ResourceQuota for it), name \
             another one; empty for none.",
            pod["priorityClassName"].clone(),
            json!({ "type": "string" }),
        ),
        section(
            "crds",
            "The CustomResourceDefinitions.",
            [
                switch(
                    "install",
                    "Whether the chart installs and upgrades them. Switched off in a release that had `crds.keep=false`, it \
                     deletes them with every object of theirs: set `crds.keep=true` in an upgrade of its own before.",
                    true,
                ),
                switch(
                    "keep",
                    "Whether `helm uninstall` leaves them. Without them every ClusterUpgrade, KubernetesRelease and \
                     UpgradePolicy is deleted.",
                    true,
                ),
            ],
        ),
        value(
            "providers",
            "The providers that your clusters use. For each, the controller gets its rights to machine templates, control \
             planes and bootstrap templates, and the admission server watches them.",
            json!([]),
            json!({ "type": "array", "uniqueItems": true, "items": { "type": "string", "enum": providers } }),
        ),
        section(
            "workload",
            "Checks of workload clusters.",
            [switch(
                "enabled",
                "Whether there is the ClusterRole instar-workload, to bind in each namespace whose kubeconfigs the controller \
                 may read.",
                false,
            )],
        ),
        vsphere(),
        section(
            "policies",
            "The rules that CEL can check alone, also while the server is away, as ValidatingAdmissionPolicies.",
            [switch("enabled", "Whether they are installed.", false)],
        ),
        certificates(),
        section(
            "networkPolicies",
            "What may connect to the Pods: to the webhook's port anybody, to the metrics namespaces with the label \
             `metrics: enabled`, and nothing else.",
            [switch("enabled", "Whether they are installed.", true)],
        ),
        metrics(),
        section(
            "dashboard",
            "The dashboard of Grafana, as a ConfigMap.",
            [
                switch("enabled", "Whether it is installed.", false),
                object(
                    "labels",
                    "By which Grafana's sidecar finds it.",
                    json!({ DASHBOARD.0: DASHBOARD.1 }),
                ),
            ],
        ),
        component("webhook", "The admission server.", webhook)?,
        component("controller", "The controller. One replica leads.", controller)?,
    ])
}

fn metrics() -> Setting {
    let of = |name, why| {
        section(
            name,
            why,
            [
                switch(
                    "enabled",
                    "Whether it is installed. It needs the kinds of the Prometheus operator.",
                    false,
                ),
                object("labels", "By which your Prometheus selects it.", json!({})),
            ],
        )
    };
    section(
        "metrics",
        "What Prometheus needs.",
        [
            of("podMonitor", "The PodMonitor of both programs."),
            of("rules", "The PrometheusRule with the alerts of docs/monitoring.md."),
        ],
    )
}

fn vsphere() -> Setting {
    section(
        "vsphere",
        "The check of VM templates in vCenters.",
        [switch(
            "enabled",
            "Whether the controller may see which vCenter a VSphereCluster has. The Secrets with credentials are none of it.",
            false,
        )],
    )
}

fn certificates() -> Setting {
    section(
        "certificates",
        "The serving certificate of the webhooks.",
        [
            value(
                "mode",
                "Who issues it: cert-manager, which has to be installed; `self-signed`, the controller itself; or `provided`, a Secret of yours.",
                json!("cert-manager"),
                json!({ "type": "string", "enum": ["cert-manager", "provided", "self-signed"] }),
            ),
            section(
                "provided",
                "Only with the mode `provided`.",
                [
                    value(
                        "secretName",
                        "The Secret of the type kubernetes.io/tls in the release's namespace. For Runtime Hooks its \
                         ca.crt has the authority.",
                        json!(CERTIFICATE_SECRET),
                        json!({ "type": "string", "minLength": 1 }),
                    ),
                    value(
                        "caBundle",
                        "The authority's certificates as PEM, encoded as base64.",
                        json!(""),
                        json!({ "type": "string", "pattern": "^[A-Za-z0-9+/=]*$" }),
                    ),
                ],
            ),
        ],
    )
}

fn pod(deployment: &Deployment) -> Result<Value> {
    let deployment = serde_json::to_value(deployment)?;
    Ok(deployment["spec"]["template"]["spec"].clone())
}

fn component(name: &'static str, why: &'static str, deployment: &Deployment) -> Result<Setting> {
    let pod = pod(deployment)?;
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    Ok(section(
        name,
        why,
        [
            value(
                "replicas",
                "How many Pods. With fewer than two, nothing answers while one is replaced.",
                json!(replicas),
                json!({ "type": "integer", "minimum": 0 }),
            ),
            object(
                "resources",
                "Measured with 3,000 Clusters; the limits are for 10,000.",
                pod["containers"][0]["resources"].clone(),
            ),
            list(
                "extraArgs",
                "Flags to add, as docs/reference/cli.md has them.",
                json!([]),
                "string",
            ),
            object("nodeSelector", "Which nodes it may run on.", json!({})),
            list(
                "tolerations",
                "Which taints it tolerates.",
                pod["tolerations"].clone(),
                "object",
            ),
            object("affinity", "Beside the spread over zones and nodes.", json!({})),
            list(
                "egress",
                "Rules of egress for its network policy: to the API server and, from the controller, to those of workload \
                 clusters whose kubeconfigs it may read and to vCenters that it may ask. One of its own lets the controller \
                 reach the admission server where it keeps the certificates. With rules all other egress is denied; without any it is open, \
                 since the address of an API server is outside the Pods' network and differs everywhere.",
                json!([]),
                "object",
            ),
        ],
    ))
}

/// `values.yaml`, with the comments that helm-docs reads.
pub(super) fn values(settings: &[Setting]) -> Result<String> {
    let mut text = yaml::HEADER.to_owned();
    for setting in settings {
        text.push('\n');
        write_value(setting, "", &mut text)?;
    }
    Ok(text)
}

fn write_value(setting: &Setting, indentation: &str, text: &mut String) -> Result<()> {
    writeln!(text, "{indentation}# -- {}", setting.why)?;
    match &setting.content {
        Content::Section(settings) => {
            writeln!(text, "{indentation}{}:", setting.name)?;
            for setting in settings {
                write_value(setting, &format!("{indentation}  "), text)?;
            }
        }
        Content::Value { default, .. } => {
            let mut member = Map::new();
            member.insert(setting.name.to_owned(), default.clone());
            for line in yaml::documents(&[member])?.lines() {
                writeln!(text, "{indentation}{line}")?;
            }
        }
    }
    Ok(())
}

/// `values.schema.json`: Helm refuses what it doesn't know, and a provided certificate without its authority.
pub(super) fn schema(settings: &[Setting]) -> Result<String> {
    let mut schema = schema_of(settings);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    // Helm adds it where the chart is part of another one.
    schema["properties"]["global"] = json!({ "type": "object" });
    schema["properties"]["certificates"]["if"] = json!({ "properties": { "mode": { "const": "provided" } } });
    schema["properties"]["certificates"]["then"] =
        json!({ "properties": { "provided": { "properties": { "caBundle": { "minLength": 1 } } } } });
    let text = serde_json::to_string_pretty(&yaml::sorted(&schema))?;
    // Where other files have a comment in their first line.
    let members = text.trim_start_matches('{');
    Ok(format!(
        "{{ \"$comment\": \"Generated by cargo xtask generate; do not edit.\",{members}\n"
    ))
}

fn schema_of(settings: &[Setting]) -> Value {
    let mut properties = Map::new();
    for setting in settings {
        let mut schema = match &setting.content {
            Content::Section(settings) => schema_of(settings),
            Content::Value { schema, .. } => schema.clone(),
        };
        schema["description"] = json!(setting.why);
        properties.insert(setting.name.to_owned(), schema);
    }
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// The table of the chart's README.
pub(super) fn table(settings: &[Setting]) -> Result<String> {
    let mut text = "| value | default | what |\n| --- | --- | --- |\n".to_owned();
    rows(settings, "", &mut text)?;
    Ok(text)
}

fn rows(settings: &[Setting], above: &str, text: &mut String) -> Result<()> {
    for setting in settings {
        let name = format!("{above}{}", setting.name);
        match &setting.content {
            Content::Section(settings) => rows(settings, &format!("{name}."), text)?,
            Content::Value { default, .. } => {
                writeln!(text, "| `{name}` | `{}` | {} |", yaml::sorted(default), setting.why)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_what_the_deployments_have() {
        let settings = all("instar", &crate::deployments()).unwrap();
        let values: Value = serde_saphyr::from_str(&values(&settings).unwrap()).unwrap();
        assert_eq!(values["webhook"]["resources"]["limits"]["memory"], "192Mi");
        assert_eq!(values["controller"]["replicas"], 2);
        assert_eq!(values["priorityClass"], "system-cluster-critical");
        assert_eq!(values["providers"], json!([]));
        assert_eq!(values["certificates"]["mode"], "cert-manager");
    }

    #[test]
    fn the_schema_knows_each_value_and_no_other() {
        let settings = all("instar", &crate::deployments()).unwrap();
        let schema: Value = serde_json::from_str(&schema(&settings).unwrap()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["image"]["additionalProperties"], false);
        let providers = schema["properties"]["providers"]["items"]["enum"].as_array().unwrap();
        assert_eq!(providers.len(), PROVIDERS.len());
        assert!(providers.contains(&json!("vsphere")));
    }
}
