//! The routes: read a request, ask for the verdict, write the answer.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use instar_admission::{Denial, Rule, cluster, release, template};
use instar_api::{KubernetesReleaseSpec, RELEASES_ANNOTATION};
use instar_capi::Cluster;
use json_patch::{AddOperation, Patch, PatchOperation, jsonptr::PointerBuf};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    AdmissionMetrics, Observed,
    review::{Answer, Answered, Asked, Operation, Request, Unreadable},
};

/// What is asked, one path each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Writes a Cluster's version and pins.
    MutateCluster,
    /// Sees that nothing is left to write into a Cluster.
    ValidateCluster,
    /// Keeps machine templates as they are.
    ValidateMachineTemplate,
    /// Keeps the catalog readable, and rows that are in use.
    ValidateKubernetesRelease,
}

impl Route {
    /// All routes.
    pub const ALL: [Self; 4] = [
        Self::MutateCluster,
        Self::ValidateCluster,
        Self::ValidateMachineTemplate,
        Self::ValidateKubernetesRelease,
    ];

    /// Its path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::MutateCluster => "/mutate/cluster",
            Self::ValidateCluster => "/validate/cluster",
            Self::ValidateMachineTemplate => "/validate/machine-template",
            Self::ValidateKubernetesRelease => "/validate/kubernetes-release",
        }
    }
}

/// The routes, answering from what is observed.
pub fn router<O: Observed>(observed: &Arc<O>, metrics: &AdmissionMetrics) -> Router {
    let observed: Arc<dyn Observed> = Arc::<O>::clone(observed);
    Route::ALL.into_iter().fold(Router::new(), |router, route| {
        let state = Handler {
            route,
            observed: Arc::clone(&observed),
            metrics: metrics.clone(),
        };
        router.route(route.path(), post(handle).with_state(state))
    })
}

#[derive(Clone)]
struct Handler {
    route: Route,
    observed: Arc<dyn Observed>,
    metrics: AdmissionMetrics,
}

async fn handle(State(handler): State<Handler>, body: Bytes) -> Response {
    let began = Instant::now();
    let request = match serde_json::from_slice::<Asked<'_>>(&body) {
        Ok(asked) => asked.request,
        Err(error) => {
            let answer = Answer::Malformed(format!("the body is no AdmissionReview with a request: {error}"));
            handler.metrics.observe(handler.route, &answer, began.elapsed());
            let Answer::Malformed(message) = answer else {
                return StatusCode::BAD_REQUEST.into_response();
            };
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
    };
    let answer = handler
        .answer(&request)
        .unwrap_or_else(|Unreadable(why)| Answer::Malformed(why));
    handler.metrics.observe(handler.route, &answer, began.elapsed());
    log(handler.route, &answer);
    match serde_json::to_vec(&Answered::new(request.uid, answer)) {
        Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn log(route: Route, answer: &Answer) {
    let route = route.path();
    match answer {
        Answer::Allowed { patch: None, .. } => tracing::debug!(route, "Allowed"),
        Answer::Allowed { patch: Some(patch), .. } => {
            let fields: Vec<String> = patch.iter().map(|operation| operation.path().to_string()).collect();
            tracing::info!(route, ?fields, "Allowed with changes");
        }
        Answer::Denied(denial) => tracing::info!(
            route,
            rule = denial.rule.id(),
            object = denial.object,
            "Denied: {denial}"
        ),
        Answer::Malformed(why) => tracing::warn!(route, "Malformed: {why}"),
    }
}

/// A Cluster and the verdict on it.
type Judged = (Cluster, Result<cluster::Admitted, Denial>);

impl Handler {
    fn answer(&self, request: &Request<'_>) -> Result<Answer, Unreadable> {
        match self.route {
            Route::MutateCluster => self.mutate_cluster(request),
            Route::ValidateCluster => self.validate_cluster(request),
            Route::ValidateMachineTemplate => machine_template(request),
            Route::ValidateKubernetesRelease => self.kubernetes_release(request),
        }
    }

    /// The Cluster as it would be, with the verdict; nothing where there is none.
    fn admit(&self, request: &Request<'_>) -> Result<Option<Judged>, Unreadable> {
        let Some(new) = request.object::<Cluster>()? else {
            return Ok(None);
        };
        let old = request.old_object::<Cluster>()?;
        let metadata = &new.metadata;
        let (namespace, name) = (
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        );
        let class = cluster::class_of(&new).and_then(|(namespace, name)| self.observed.class(&namespace, &name));
        let control_plane = self.observed.control_plane(namespace, name);
        let known = cluster::Known {
            catalog: &self.observed.catalog(),
            class: class.as_deref(),
            control_plane: control_plane.as_deref().map(|control_plane| &control_plane.spec),
            today: self.observed.today(),
        };
        let verdict = cluster::admit(old.as_ref(), &new, known);
        Ok(Some((new, verdict)))
    }

    fn mutate_cluster(&self, request: &Request<'_>) -> Result<Answer, Unreadable> {
        Ok(match self.admit(request)? {
            None => allowed(),
            Some((_, Err(denial))) => Answer::Denied(denial),
            Some((new, Ok(admitted))) => {
                let patch = admitted.changes().then(|| patch(&new, &admitted));
                Answer::Allowed {
                    warnings: admitted.warnings,
                    patch,
                }
            }
        })
    }

    /// The warnings were given when the Cluster was changed; here only the verdict counts.
    fn validate_cluster(&self, request: &Request<'_>) -> Result<Answer, Unreadable> {
        Ok(match self.admit(request)? {
            Some((_, Err(denial))) => Answer::Denied(denial),
            Some((new, Ok(admitted))) if admitted.changes() => Answer::Denied(Denial {
                rule: Rule::PinsByHand,
                object: format!(
                    "Cluster {}/{}",
                    new.metadata.namespace.unwrap_or_default(),
                    new.metadata.name.or(new.metadata.generate_name).unwrap_or_default()
                ),
                field: "spec.topology",
                what: "another mutating webhook has changed the version or the pins after Instar wrote them".to_owned(),
                way_out:
                    "let that webhook run before instar-mutating-webhook-configuration, or leave these fields alone"
                        .to_owned(),
            }),
            None | Some((_, Ok(_))) => allowed(),
        })
    }

    fn kubernetes_release(&self, request: &Request<'_>) -> Result<Answer, Unreadable> {
        #[derive(Deserialize)]
        struct Row {
            spec: KubernetesReleaseSpec,
        }
        let verdict = match request.operation {
            Operation::Delete => release::delete(&request.name, self.observed.pinned_to(&request.name)),
            Operation::Create => match request.object::<Row>()? {
                Some(row) => release::readable(&request.name, &row.spec),
                None => Ok(()),
            },
            Operation::Update | Operation::Connect => Ok(()),
        };
        Ok(verdict.map_or_else(Answer::Denied, |()| allowed()))
    }
}

fn machine_template(request: &Request<'_>) -> Result<Answer, Unreadable> {
    let (Some(old), Some(new)) = (request.old_object::<Value>()?, request.object::<Value>()?) else {
        return Ok(allowed());
    };
    let verdict = template::update(&old, &new, request.dry_run.unwrap_or_default());
    Ok(verdict.map_or_else(Answer::Denied, |()| allowed()))
}

const fn allowed() -> Answer {
    Answer::Allowed {
        warnings: Vec::new(),
        patch: None,
    }
}

fn patch(cluster: &Cluster, admitted: &cluster::Admitted) -> Patch {
    let add = |path: &[&str], value: Value| {
        PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(path.iter().copied()),
            value,
        })
    };
    let mut operations = Vec::new();
    if let Some(version) = &admitted.version {
        operations.push(add(&["spec", "topology", "version"], json!(version)));
    }
    if let Some(pins) = &admitted.pins {
        if cluster.metadata.annotations.is_none() {
            operations.push(add(&["metadata", "annotations"], json!({})));
        }
        operations.push(add(&["metadata", "annotations", RELEASES_ANNOTATION], json!(pins)));
    }
    Patch(operations)
}
