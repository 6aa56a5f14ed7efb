//! What a Deployment says of the process that takes its pod's place.

use std::{ffi::OsString, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{components::Component, ports};

/// What names objects that no process here has: other arguments take their place.
const ONLY_IN_PODS: [&str; 2] = ["--extension-service", "--extension-ca-secret"];

/// Which program, as whom, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Deployment {
    pub(super) component: Component,
    pub(super) namespace: String,
    pub(super) service_account: String,
    arguments: Vec<String>,
    /// Its environment, as far as it is written there.
    pub(super) environment: Vec<(String, OsString)>,
}

impl Deployment {
    pub(super) fn read(object: &Value) -> Result<Self> {
        let text = |pointer: &str| {
            let found = object.pointer(pointer).and_then(Value::as_str);
            found
                .map(ToOwned::to_owned)
                .with_context(|| format!("the Deployment has no {pointer}"))
        };
        let list = |pointer: &str| {
            let found = object.pointer(pointer).and_then(Value::as_array);
            found
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(ToOwned::to_owned)
        };
        let namespace = text("/metadata/namespace")?;
        let service_account = text("/spec/template/spec/serviceAccountName")?;
        // The first word of `command` is the program in the image.
        let arguments = list("/spec/template/spec/containers/0/command")
            .skip(1)
            .chain(list("/spec/template/spec/containers/0/args"));
        let arguments: Vec<String> = arguments.collect();
        let variables = object
            .pointer("/spec/template/spec/containers/0/env")
            .and_then(Value::as_array);
        let environment = variables.into_iter().flatten().filter_map(|variable| {
            let (name, value) = (variable["name"].as_str()?, variable["value"].as_str()?);
            Some((name.to_owned(), value.into()))
        });
        let environment = environment.collect();
        let component = match arguments.first().map(String::as_str) {
            Some("webhook") => Component::InstarWebhook,
            Some("controller") => Component::InstarController,
            other => bail!(
                "the Deployment runs `{}`, which no process here does",
                other.unwrap_or_default()
            ),
        };
        Ok(Self {
            component,
            namespace,
            service_account,
            arguments,
            environment,
        })
    }

    /// Its arguments, with those for a pod replaced by those for a process.
    pub(super) fn arguments(&self, certificates: &Path, authority: &Path) -> Vec<String> {
        let mut overrides = vec![("--bind-address", "127.0.0.1".to_owned())];
        if self.component == Component::InstarController {
            overrides.extend([
                ("--health-port", ports::CONTROLLER_HEALTH.to_string()),
                // A pod finds its own namespace by itself.
                ("--lease-namespace", self.namespace.clone()),
                ("--node-ready-seconds", "0".to_owned()),
                ("--machine-start-seconds", "15".to_owned()),
                // Cluster API reaches no Service here.
                ("--extension-url", format!("https://127.0.0.1:{}", ports::WEBHOOK)),
                ("--extension-ca-file", authority.display().to_string()),
            ]);
        } else {
            overrides.extend([
                ("--port", ports::WEBHOOK.to_string()),
                ("--health-port", ports::WEBHOOK_HEALTH.to_string()),
                ("--cert-dir", certificates.display().to_string()),
            ]);
        }
        let mut kept = Vec::new();
        let mut words = self.arguments.iter();
        while let Some(word) = words.next() {
            let flag = word.split_once('=').map_or(word.as_str(), |(flag, _)| flag);
            let is_overridden = overrides.iter().any(|(name, _)| *name == flag);
            if !is_overridden && !ONLY_IN_PODS.contains(&flag) {
                kept.push(word.clone());
            } else if flag == word {
                // Its value is the next word.
                words.next();
            }
        }
        kept.extend(overrides.into_iter().map(|(name, value)| format!("{name}={value}")));
        kept
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(account: &str, container: &Value) -> Value {
        json!({ "metadata": { "namespace": "instar-system" }, "spec": { "template": { "spec": {
            "serviceAccountName": account,
            "containers": [container],
        }}}})
    }

    #[test]
    fn the_deployment_decides_what_is_run() {
        let object = deployment(
            "instar-webhook",
            &json!({ "command": ["/instar", "webhook"], "args": ["--cert-dir", "/certs", "--port=9443", "--rules=all"] }),
        );
        let webhook = Deployment::read(&object).unwrap();
        assert_eq!(webhook.component, Component::InstarWebhook);
        assert_eq!(webhook.service_account, "instar-webhook");
        assert_eq!(
            webhook.arguments(Path::new("/run/certs"), Path::new("/run/ca.crt")),
            [
                "webhook",
                "--rules=all",
                "--bind-address=127.0.0.1",
                "--port=9460",
                "--health-port=9461",
                "--cert-dir=/run/certs",
            ]
        );
        let object = deployment(
            "c",
            &json!({
                "args": ["controller", "--health-port=8081", "--extension-service=instar-webhook"], "env": [{ "name": "MALLOC_ARENA_MAX", "value": "1" }],
            }),
        );
        let controller = Deployment::read(&object).unwrap();
        assert_eq!(controller.component, Component::InstarController);
        assert_eq!(controller.environment, [("MALLOC_ARENA_MAX".to_owned(), "1".into())]);
        assert_eq!(
            controller.arguments(Path::new("/run/certs"), Path::new("/run/ca.crt")),
            [
                "controller",
                "--bind-address=127.0.0.1",
                "--health-port=9462",
                "--lease-namespace=instar-system",
                "--node-ready-seconds=0",
                "--machine-start-seconds=15",
                "--extension-url=https://127.0.0.1:9460",
                "--extension-ca-file=/run/ca.crt",
            ]
        );
    }

    #[test]
    fn what_can_not_be_run_is_refused() {
        let refused = |object: &Value| Deployment::read(object).unwrap_err().to_string();
        assert_eq!(
            refused(&json!({ "metadata": { "namespace": "a" } })),
            "the Deployment has no /spec/template/spec/serviceAccountName"
        );
        assert_eq!(
            refused(&deployment("a", &json!({ "args": ["wire"] }))),
            "the Deployment runs `wire`, which no process here does"
        );
    }
}
