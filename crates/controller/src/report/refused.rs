//! A write that the API server refuses is a row of its own, with the object.

use instar_planner::{Action, Decision, RefusedWrite, Stage, TemplateRef, Waiting, WriteTurn};

use crate::api::Error;

/// What the upgrade waits for where its write was refused; absent where it failed otherwise.
pub(crate) fn refused_write(action: &Action, error: &Error) -> Option<Waiting> {
    if let Error::NotMinted(waiting) = error {
        return Some((**waiting).clone());
    }
    error.refusal()?;
    let (kind, name, turn) = match error.tried() {
        Some(tried) => tried,
        None => written(action).map(|(kind, name)| (kind, name, WriteTurn::Now))?,
    };
    Some(Waiting::Refused(Box::new(RefusedWrite {
        kind: kind.to_owned(),
        name: name.to_owned(),
        message: error.to_string(),
        turn,
    })))
}

/// Puts what a write was refused for first. Where nothing has gone back yet, the rollback is held.
pub(crate) fn put_refused(decision: &mut Decision, refused: Waiting) {
    if let Waiting::Refused(write) = &refused {
        match write.turn {
            WriteTurn::Now => {}
            WriteTurn::AfterWorkersAreBack => decision.progress.stage = Stage::Held,
        }
    }
    decision.waiting.insert(0, refused);
}

/// The kind and the name of the object that is written.
fn written(action: &Action) -> Option<(&str, &str)> {
    Some(match action {
        Action::Nothing => return None,
        Action::MintTemplate(mint) => named(&mint.template),
        Action::DeleteTemplate(delete) => named(&delete.template),
        Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => (&swap.kind, &swap.name),
        Action::PatchMachinePool(patch) => (&patch.kind, &patch.name),
        Action::RecordConvergence(convergence) => (&convergence.kind, &convergence.name),
        Action::HoldPool(hold) => (&hold.kind, &hold.name),
        Action::DeleteMachine(delete) => ("Machine", &delete.name),
        Action::BeginGates(begin) => ("ClusterUpgrade", &begin.name),
        Action::PinPath(pin) => ("Cluster", &pin.name),
        Action::EditVersion(edit) => ("Cluster", &edit.name),
        Action::CompletePins(complete) => ("Cluster", &complete.name),
        Action::SetConcurrency(set) => ("Cluster", &set.name),
        Action::AnswerHook(answer) => ("Cluster", &answer.name),
        Action::RestoreVersionCheck(restore) => ("Cluster", &restore.name),
        Action::FollowRelease(follow) => ("Cluster", &follow.name),
    })
}

fn named(template: &TemplateRef) -> (&str, &str) {
    (&template.kind, &template.name)
}

#[cfg(test)]
mod tests {
    use instar_api::{ClusterUpgrade, FailureReason, HealthImpact, HealthLevel, UpgradePhase};
    use instar_planner::{DeleteMachine, PinPath, PoolId, Progress, ResourceVersion, StepBack, Swap, SwapTemplate};
    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::report::{Attempt, progress::tests::snapshot, status};

    const DEFINITION: &str = "KubeadmControlPlane.controlplane.cluster.x-k8s.io \"c\" is invalid: \
                              spec.kubeadmConfigSpec.clusterConfiguration.etcd.local: must have at least 1 properties";

    fn swap() -> Swap {
        Swap {
            pool: PoolId::ControlPlane,
            api_version: "controlplane.cluster.x-k8s.io/v1beta2".to_owned(),
            kind: "KubeadmControlPlane".to_owned(),
            name: "c".to_owned(),
            resource_version: ResourceVersion("7".to_owned()),
            version: "v1.34.5".parse().unwrap(),
            release: None,
            template: None,
            bootstrap: None,
            rollout_after: None,
            patch: Value::Null,
        }
    }

    fn answered(doing: &str, code: u16, message: &str) -> Error {
        let status = kube::core::Status::failure(message, "Invalid").with_code(code);
        Error::Call {
            doing: doing.to_owned(),
            source: kube::Error::Api(status.boxed()),
        }
    }

    /// A rollback whose workers are back, and whose control plane is to go.
    fn decision(action: Action) -> Decision {
        Decision {
            action,
            waiting: Vec::new(),
            progress: Progress {
                stage: Stage::ControlPlane,
                path: Vec::new(),
                pools: Vec::new(),
                templates: Vec::new(),
            },
            unread: Vec::new(),
        }
    }

    #[test]
    fn a_swap_that_is_refused_in_the_middle_is_a_row_of_its_object() {
        let mut decision = decision(Action::SwapControlPlane(swap()));
        let error = answered("pointing KubeadmControlPlane c at v1.34.5", 422, DEFINITION);
        decision.waiting.extend(refused_write(&decision.action, &error));
        let message = error.to_string();
        let attempt = Attempt::Failed {
            reason: FailureReason::WriteFailed,
            message: &message,
        };
        let upgrade = ClusterUpgrade::new("back", instar_api::ClusterUpgradeSpec::default());
        let told = status(&upgrade, &snapshot(), &decision, attempt).health;
        let [row] = &told[..] else { panic!("{told:?}") };
        assert_eq!(
            (row.level, row.impact, row.reason.as_str()),
            (HealthLevel::Error, HealthImpact::Stalled, "Refused")
        );
        assert_eq!((row.kind.as_str(), row.name.as_str()), ("KubeadmControlPlane", "c"));
        assert!(
            row.message.starts_with("pointing KubeadmControlPlane c at v1.34.5: ") && row.message.contains(DEFINITION),
            "{}",
            row.message
        );
        assert!(
            row.next
                .starts_with("Solve what the message says; the controller tries again"),
            "{}",
            row.next
        );
    }

    #[test]
    fn what_is_only_tried_names_what_it_was_tried_on() {
        let action = Action::DeleteMachine(DeleteMachine {
            name: "m-0".to_owned(),
            created: Timestamp::UNIX_EPOCH,
            version: "v1.34.5".parse().unwrap(),
        });
        let error = Error::Tried {
            kind: "KubeadmControlPlane".to_owned(),
            name: "c".to_owned(),
            turn: WriteTurn::Now,
            source: Box::new(answered(
                "trying to point KubeadmControlPlane c at v1.34.5",
                403,
                "not before Monday",
            )),
        };
        let about = |error: &Error| match refused_write(&action, error) {
            Some(Waiting::Refused(write)) => Some(format!("{} {}", write.kind, write.name)),
            other => other.map(|other| other.to_string()),
        };
        assert_eq!(about(&error).as_deref(), Some("KubeadmControlPlane c"));
        assert_eq!(
            about(&answered("deleting m-0", 403, "no")).as_deref(),
            Some("Machine m-0")
        );
    }

    #[test]
    fn a_rollback_whose_control_plane_would_be_refused_is_held_before_anything_goes() {
        let pin = PinPath {
            name: "c".to_owned(),
            resource_version: ResourceVersion("3".to_owned()),
            releases: Vec::new(),
            takes_back: Some("up".to_owned()),
            before: None,
            way_back: Some(Box::new(StepBack {
                swap: swap(),
                template: SwapTemplate::Exists,
            })),
            patch: Value::Null,
        };
        let mut decision = decision(Action::PinPath(pin));
        decision.progress.stage = Stage::Workers;
        let error = Error::Tried {
            kind: "KubeadmControlPlane".to_owned(),
            name: "c".to_owned(),
            turn: WriteTurn::AfterWorkersAreBack,
            source: Box::new(answered(
                "trying to point KubeadmControlPlane c at v1.34.5",
                422,
                DEFINITION,
            )),
        };
        let refused = refused_write(&decision.action, &error).unwrap();
        put_refused(&mut decision, refused);
        let upgrade = ClusterUpgrade::new("back", instar_api::ClusterUpgradeSpec::default());
        let told = status(&upgrade, &snapshot(), &decision, Attempt::Untried);
        assert_eq!(told.phase, UpgradePhase::Held);
        let [row] = &told.health[..] else { panic!("{told:?}") };
        assert_eq!(
            (row.reason.as_str(), row.kind.as_str(), row.name.as_str()),
            ("Refused", "KubeadmControlPlane", "c")
        );
        assert!(
            row.message
                .starts_with("nothing is taken back yet, since the control plane's way back would be refused: ")
                && row.message.contains(DEFINITION),
            "{}",
            row.message
        );
        assert!(row.next.contains("the operation RollbackWorkers"), "{}", row.next);
    }

    #[test]
    fn what_may_pass_by_itself_is_no_refusal() {
        let action = Action::SwapControlPlane(swap());
        for error in [
            answered("pointing c", 409, "the object has been modified"),
            answered(
                "pointing c",
                503,
                "the server is currently unable to handle the request",
            ),
            Error::Silence {
                doing: "pointing c".to_owned(),
            },
        ] {
            assert_eq!(refused_write(&action, &error), None, "{error}");
        }
    }
}
