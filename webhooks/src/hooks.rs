//! Cluster API's Runtime Hooks: which there are, and their answers. `instar_admission::hook` decides.
//!
//! A hook that can't be read is answered as a failure, which Cluster API tells in the Cluster's conditions and asks again.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    body::Bytes,
    routing::{MethodRouter, post},
};
use instar_admission::hook::{Hook, HookDecision, HookedCluster, MachinePools, UpgradedBy, decide};
use instar_api::{HOOK_ANSWER_ANNOTATION, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The group and version of Cluster API's hooks.
const GROUP_VERSION: &str = "hooks.runtime.cluster.x-k8s.io/v1alpha1";

/// How long Cluster API waits for an answer, which comes from memory.
const TIMEOUT_SECONDS: u32 = 10;

/// How much of a message is answered: it stands in a condition of the Cluster, and has parts of what was asked.
const MESSAGE: usize = 1024;

/// What Cluster API asks, one path each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookRoute {
    /// Which hooks are answered.
    Discovery,
    /// One of them.
    Hook(Hook),
}

impl HookRoute {
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Discovery).chain(Hook::ALL.into_iter().map(Self::Hook))
    }

    /// Where Cluster API asks: the group and version, the hook and the handler.
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Discovery => format!("/{GROUP_VERSION}/discovery"),
            Self::Hook(hook) => format!("/{GROUP_VERSION}/{}/{}", hook.name().to_lowercase(), hook.handler()),
        }
    }

    fn handler(self) -> MethodRouter {
        match self {
            Self::Discovery => post(|| async { Json(discovery()) }),
            Self::Hook(hook) => post(async move |body: Bytes| Json(answer(hook, &body))),
        }
    }
}

/// The routes of all hooks.
pub fn router() -> Router {
    HookRoute::all().fold(Router::new(), |router, route| {
        router.route(&route.path(), route.handler())
    })
}

fn discovery() -> Value {
    let handlers = Hook::ALL.map(|hook| {
        json!({
            "name": hook.handler(),
            "requestHook": { "apiVersion": GROUP_VERSION, "hook": hook.name() },
            "timeoutSeconds": TIMEOUT_SECONDS,
            // A hook that isn't answered holds the step.
            "failurePolicy": "Fail",
        })
    });
    json!({
        "apiVersion": GROUP_VERSION,
        "kind": "DiscoveryResponse",
        "status": "Success",
        "message": "",
        "handlers": handlers,
    })
}

/// What a hook is asked, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    cluster: Cluster,
    to_kubernetes_version: String,
}

#[derive(Deserialize)]
struct Cluster {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    namespace: String,
    name: String,
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    topology: Option<Topology>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Topology {
    version: String,
    workers: Workers,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Workers {
    machine_pools: Vec<serde::de::IgnoredAny>,
}

impl Cluster {
    fn hooked(&self) -> HookedCluster<'_> {
        let annotation = |name: &str| self.metadata.annotations.get(name).map(String::as_str);
        let topology = self.spec.topology.as_ref();
        let is_ours = annotation(RELEASES_ANNOTATION).is_some() || annotation(SWAP_HISTORY_ANNOTATION).is_some();
        let has_machine_pools = topology.is_some_and(|topology| !topology.workers.machine_pools.is_empty());
        HookedCluster {
            version: topology.map(|topology| topology.version.as_str()),
            upgraded_by: if is_ours {
                UpgradedBy::Instar
            } else {
                UpgradedBy::Others
            },
            machine_pools: if has_machine_pools {
                MachinePools::Some
            } else {
                MachinePools::None
            },
            answer: annotation(HOOK_ANSWER_ANNOTATION),
        }
    }
}

/// The answer to a hook.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    api_version: &'static str,
    kind: String,
    status: &'static str,
    message: String,
    retry_after_seconds: u32,
}

fn answer(hook: Hook, body: &[u8]) -> Response {
    let respond = |status: &'static str, message: String, retry_after_seconds: u32| Response {
        api_version: GROUP_VERSION,
        kind: format!("{}Response", hook.name()),
        status,
        message: message.chars().take(MESSAGE).collect(),
        retry_after_seconds,
    };
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => {
            let message = format!("the body is not a request of the hook {}: {error}", hook.name());
            tracing::warn!(hook = hook.name(), "Cannot read request of a Runtime Hook: {error}");
            return respond("Failure", message, 0);
        }
    };
    let Metadata { namespace, name, .. } = &request.cluster.metadata;
    let step = &request.to_kubernetes_version;
    match decide(hook, step, &request.cluster.hooked(), Timestamp::now()) {
        HookDecision::Go => {
            tracing::info!(hook = hook.name(), %namespace, cluster = %name, %step, "Let a step begin");
            respond("Success", String::new(), 0)
        }
        HookDecision::Hold { message, retry_after } => {
            tracing::debug!(hook = hook.name(), %namespace, cluster = %name, %step, "Held a step: {message}");
            respond("Success", message, retry_after)
        }
    }
}
