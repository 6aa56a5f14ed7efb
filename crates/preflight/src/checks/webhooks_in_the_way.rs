//! No webhook of the workload cluster refuses what new machines and the control plane write.

use instar_planner::{Problem, Snapshot};

use super::{read, unless_bounded};
use crate::{
    finding::Finding,
    workload::{Backend, Danger, Facts, Probe, WebhookEffect, Webhooks, Workload},
};

pub(super) fn look(snapshot: &Snapshot, workload: Workload<'_>) -> Finding {
    match read(workload, snapshot, Probe::Webhooks, Facts::webhooks) {
        Ok(webhooks) => unless_bounded(judged(webhooks), webhooks.extent, "webhook configurations of a kind"),
        Err(finding) => finding,
    }
}

fn judged(webhooks: &Webhooks) -> Finding {
    match (Finding::of_all(webhooks.found.iter().map(judge)), webhooks.more) {
        // One of those might refuse for good.
        (Finding::Warn(problem), more) if more > 0 => Finding::Unknown(Problem {
            message: format!(
                "{}; {more} further webhooks like these were not looked at",
                problem.message
            ),
            ..problem
        }),
        (found, _) => found,
    }
}

fn judge(effect: &WebhookEffect) -> Finding {
    let WebhookEffect {
        kind,
        configuration,
        webhook,
        resource,
        ..
    } = effect;
    let problem = |what: String| Problem {
        kind: (*kind).to_owned(),
        name: configuration.clone(),
        message: format!("webhook {webhook} of {kind} {configuration} {what}"),
    };
    let of = |service: &crate::workload::Service| format!("Service {}/{}", service.namespace, service.name);
    match (effect.danger, &effect.backend) {
        (Danger::Refuses, Backend::Dead(service)) => Finding::Fail(problem(format!(
            "refuses writes of {resource}, since {} has no ready endpoint",
            of(service)
        ))),
        (Danger::Refuses, Backend::Ready(service) | Backend::Unread(service)) => Finding::Warn(problem(format!(
            "refuses writes of {resource} while {} has no ready endpoint, as in the middle of a drain",
            of(service)
        ))),
        (Danger::Refuses, Backend::Url) => Finding::Warn(problem(format!(
            "refuses writes of {resource} while its URL doesn't answer"
        ))),
        (Danger::Delays { seconds }, _) => Finding::Warn(problem(format!(
            "delays writes of {resource} by {seconds} s while it doesn't answer"
        ))),
    }
}
