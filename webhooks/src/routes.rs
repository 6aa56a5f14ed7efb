//! The routes: each reads a request, gets the verdict and writes the answer.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use instar_admission::{
    ClusterState, GuardedKind, Verdict,
    cluster::Requester,
    template::{Deleter, Phase, TemplateType},
};
use instar_domain::json::Object;
use json_patch::Patch;
use serde::Deserialize;

use crate::{
    AdmissionMetrics, AuditSink, OverriddenRule, Route, hooks, judge,
    metrics::RouteMetrics,
    reader,
    review::{Answer, Answered, Asked, Request, ReviewedObject, Unread},
};

/// The routes, answering from `state`, and those of the Runtime Hooks, which answer from what is asked alone. An edit for which a rule was switched off is recorded in `audit`.
pub fn router<O: ClusterState, B: AuditSink>(state: &Arc<O>, audit: &Arc<B>, metrics: &AdmissionMetrics) -> Router {
    let state: Arc<dyn ClusterState> = Arc::<O>::clone(state);
    let audit: Arc<dyn AuditSink> = Arc::<B>::clone(audit);
    Route::all().fold(hooks::router(), |router, route| {
        let handler = Arc::new(Handler {
            judge: Judge {
                route,
                state: Arc::clone(&state),
                audit: Arc::clone(&audit),
            },
            metrics: metrics.of(route),
        });
        router.route(route.path(), post(handle).with_state(handler))
    })
}

struct Handler {
    judge: Judge,
    metrics: RouteMetrics,
}

/// What gives the answers of a route.
struct Judge {
    route: Route,
    state: Arc<dyn ClusterState>,
    audit: Arc<dyn AuditSink>,
}

/// What the server says to a request.
#[derive(Debug, Clone)]
pub struct Opinion {
    pub verdict: Verdict,
    /// What it writes into the object; absent where it changes nothing.
    pub patch: Option<Patch>,
}

/// Nothing is recorded of what is only asked.
struct NoAudit;

impl AuditSink for NoAudit {
    fn record(&self, _: OverriddenRule) {}
}

/// What the server would answer to an AdmissionReview on a route, with no API server in between: for tools.
///
/// # Errors
/// Why the review can't be read.
pub fn opinion<O: ClusterState>(route: Route, review: &[u8], state: &Arc<O>) -> Result<Opinion, String> {
    let state: Arc<dyn ClusterState> = Arc::<O>::clone(state);
    let judge = Judge {
        route,
        state,
        audit: Arc::new(NoAudit),
    };
    match judge.answer(review).1 {
        Answer::Judged { verdict, patch } => Ok(Opinion { verdict, patch }),
        Answer::Malformed(why) => Err(why),
    }
}

async fn handle(State(handler): State<Arc<Handler>>, body: Bytes) -> Response {
    let began = Instant::now();
    let (uid, answer) = handler.judge.answer(&body);
    handler.metrics.observe(&answer, began.elapsed());
    log(handler.judge.route, &answer);
    let answered = match (uid, answer) {
        (None, Answer::Malformed(why)) => return (StatusCode::BAD_REQUEST, why).into_response(),
        (None, Answer::Judged { .. }) => return StatusCode::BAD_REQUEST.into_response(),
        (Some(uid), answer) => Answered::new(uid, answer),
    };
    match serde_json::to_vec(&answered) {
        Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn log(route: Route, answer: &Answer) {
    let route = route.path();
    match answer {
        Answer::Judged { verdict, .. } if verdict.is_refusal() => {
            tracing::info!(route, "Refused edit: {}", verdict.message());
        }
        Answer::Judged { verdict, patch } => {
            for finding in &verdict.broken {
                tracing::warn!(
                    route,
                    rule = finding.rule.id(),
                    "Allowed edit with a rule switched off: {finding}"
                );
            }
            match patch {
                None => tracing::debug!(route, "Allowed edit"),
                Some(patch) => {
                    let fields: Vec<String> = patch.iter().map(|operation| operation.path().to_string()).collect();
                    tracing::info!(route, ?fields, "Allowed edit and changed fields");
                }
            }
        }
        Answer::Malformed(why) => tracing::warn!(route, "Cannot read request: {why}"),
    }
}

/// An object of our own that can't be read goes on: its schema comes after the mutating phase, and names the field.
fn left_to_schema((uid, answer): (Option<String>, Answer)) -> (Option<String>, Answer) {
    let answer = match (&uid, answer) {
        (Some(_), Answer::Malformed(_)) => judge::allowed(),
        (_, answer) => answer,
    };
    (uid, answer)
}

impl Judge {
    /// The request's uid, if it can be read, and the answer.
    fn answer(&self, body: &[u8]) -> (Option<String>, Answer) {
        let state = &*self.state;
        match self.route {
            Route::MutateCluster => self.read(body, |request| {
                Ok(judge::mutate_cluster(request, Requester::Other, state))
            }),
            Route::MutateRestoredCluster => self.read(body, |request| {
                Ok(judge::mutate_cluster(request, Requester::ReleaseAuthor, state))
            }),
            Route::ValidateRestoredCluster => self.read(body, |request| {
                Ok(judge::validate_cluster(request, Requester::ReleaseAuthor, state))
            }),
            Route::ValidateMovedTemplate => self.read(body, |request| {
                judge::deleted_template(Deleter::OfClusters, request, state)
            }),
            Route::MutateControlPlane => self.read(body, |request| {
                Ok(judge::before_validation(judge::control_plane(request, state)))
            }),
            Route::MutateWorker => self.read(body, |request| {
                Ok(judge::before_validation(judge::worker(request, state)))
            }),
            Route::MutateMachineTemplate => self.read(body, |request| {
                judge::template(TemplateType::Machine, Phase::BeforeOthers, request, state)
                    .map(judge::before_validation)
            }),
            Route::MutateKubernetesRelease => left_to_schema(self.read(body, |request| {
                Ok(judge::before_validation(judge::kubernetes_release(request, state)))
            })),
            Route::MutateClusterUpgrade => left_to_schema(self.read(body, |request| {
                Ok(judge::before_validation(judge::mutate_cluster_upgrade(request, state)))
            })),
            Route::ValidateUpgradeWithout(right) => self.read(body, |request| {
                Ok(judge::cluster_upgrade_without(right, request, state))
            }),
            Route::Validate(guard) => match guard {
                GuardedKind::Cluster => self.read(body, |request| {
                    Ok(judge::validate_cluster(request, Requester::Other, state))
                }),
                GuardedKind::ControlPlane => self.read(body, |request| Ok(judge::control_plane(request, state))),
                GuardedKind::Worker => self.read(body, |request| Ok(judge::worker(request, state))),
                GuardedKind::ClusterClass => self.read(body, |request| Ok(judge::cluster_class(request, state))),
                GuardedKind::MachineTemplate => self.read(body, |request| {
                    judge::template(TemplateType::Machine, Phase::AfterOthers, request, state)
                }),
                GuardedKind::BootstrapTemplate => self.read(body, |request| {
                    judge::template(TemplateType::Bootstrap, Phase::AfterOthers, request, state)
                }),
                GuardedKind::OtherTemplate => {
                    self.read(body, |request| judge::deleted_template(Deleter::Other, request, state))
                }
                GuardedKind::KubernetesRelease => {
                    self.read(body, |request| Ok(judge::kubernetes_release(request, state)))
                }
                GuardedKind::ClusterUpgrade => {
                    self.read(body, |request| Ok(judge::validate_cluster_upgrade(request, state)))
                }
                GuardedKind::UpgradePolicy => self.read(body, |request| judge::upgrade_policy(request, state)),
                GuardedKind::Marks => self.read(body, |request| Ok(judge::marks(request, state))),
            },
        }
    }

    fn read<'b, T: Deserialize<'b>>(
        &self,
        body: &'b [u8],
        judge: impl FnOnce(&mut Request<'b, T>) -> judge::Judged,
    ) -> (Option<String>, Answer) {
        let read = reader::read::<Object<Asked<'b, T>>>(body);
        let judged = read.and_then(
            |Object(Asked {
                 request: Object(mut request),
             })| {
                let answer = judge(&mut request)?;
                Ok((request, answer))
            },
        );
        match judged {
            Ok((request, answer)) => {
                self.record_overridden(body, &request, &answer);
                (Some(request.uid), answer)
            }
            Err(error) => {
                let uid = reader::read::<Object<Unread>>(body).ok();
                let why = match &uid {
                    Some(_) => format!("cannot read the object of the request: {error}"),
                    None => format!("the body is not an AdmissionReview with a request: {error}"),
                };
                (uid.map(|Object(unread)| unread.request.0.uid), Answer::Malformed(why))
            }
        }
    }

    /// Records the rules that were switched off, unless the request is a dry run.
    fn record_overridden<T>(&self, body: &[u8], request: &Request<'_, T>, answer: &Answer) {
        let Answer::Judged { verdict, .. } = answer else { return };
        if verdict.broken.is_empty() || verdict.is_refusal() || request.dry_run.unwrap_or_default() {
            return;
        }
        // Only the Event needs the UID, so it is read only here. Without a UID the Event is posted anyway.
        let about = reader::read::<Object<ReviewedObject>>(body);
        let uid = about.map(|Object(about)| about.uid()).unwrap_or_default();
        for finding in &verdict.broken {
            let kind = &request.kind;
            self.audit.record(OverriddenRule {
                api_version: match kind.group.as_ref() {
                    "" => kind.version.clone().into_owned(),
                    group => format!("{group}/{}", kind.version),
                },
                kind: kind.kind.clone().into_owned(),
                namespace: request.namespace.clone(),
                name: request.name.clone(),
                uid: uid.clone(),
                user: request.user_info.username.clone().into_owned(),
                finding: finding.clone(),
            });
        }
    }
}
