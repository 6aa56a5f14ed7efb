//! Every call of the API server: its deadline, and what its failure means.

use std::{fmt, time::Duration};

use instar_api::{FailureReason, HealthReason};
use instar_capi::NoContract;
use instar_planner::{Waiting, WriteTurn};
use instar_watch::{ErrorText, rbac::role_for};
use kube::discovery::ApiResource;
use tokio::time::timeout;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// How many calls about one kind of a provider are made at once: a quarter of the passes that run at once.
pub(crate) const CALLS_OF_KIND: usize = 4;

/// Whose writes these are.
pub(crate) const FIELD_MANAGER: &str = "instar-controller";

/// Why a pass over a cluster failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{doing}: {}", ErrorText(source))]
    Call { doing: String, source: kube::Error },
    #[error("{doing}: no answer in {} s", DEADLINE.as_secs())]
    Silence { doing: String },
    #[error(
        "{doing}: the controller has no right to {resource}.{group}: {}",
        Grant(group, resource)
    )]
    NoRight {
        doing: String,
        group: String,
        resource: String,
    },
    #[error(
        "{CALLS_OF_KIND} calls about {kind}.{group} have no answer yet, so no other one is made: see whether the \
         conversion webhook of its CustomResourceDefinition answers"
    )]
    NoTurn { group: String, kind: String },
    #[error("the API server knows no kind {kind} in {group}: install its provider")]
    NoKind { group: String, kind: String },
    #[error("nothing is known of every {kind}: {why}")]
    Unlisted { kind: String, why: String },
    #[error("every {kind} is being listed: the API server has not answered yet")]
    NotListedYet { kind: String },
    #[error("{what} is not as the watch shows it: the cache is a moment behind")]
    CacheBehind { what: String },
    #[error(transparent)]
    NoContract(#[from] NoContract),
    #[error(
        "CustomResourceDefinition {definition} says by its label {label} that Cluster API reads {version}, which the \
         API server doesn't serve: install its provider again"
    )]
    NotServed {
        definition: String,
        label: &'static str,
        version: String,
    },
    #[error("{source}")]
    Tried {
        kind: String,
        name: String,
        turn: WriteTurn,
        source: Box<Self>,
    },
    #[error("{0}")]
    NotMinted(Box<Waiting>),
    #[error("nothing was written, since it would break an invariant of Instar: {0}; please report this")]
    Violation(String),
    #[error("this process doesn't hold the lease any more, or the CustomResourceDefinitions don't fit it")]
    NotLeader,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Another client wrote: read again.
    Conflict,
    /// It may work later.
    Transient,
    /// It fails until a person does something.
    Terminal,
}

impl Error {
    /// The reason of the condition `Healthy` and of the Event. `call` is the reason of a call that failed.
    pub(crate) fn reason(&self, call: FailureReason) -> FailureReason {
        match self {
            Self::Violation(_) => FailureReason::InvariantBroken,
            Self::NoKind { .. } => FailureReason::NoKind,
            Self::NoContract(_) => FailureReason::NoContract,
            Self::NotServed { .. } => FailureReason::NotServed,
            Self::NoRight { .. } => FailureReason::NoRight,
            Self::Tried { source, .. } => source.reason(call),
            Self::NotMinted(waiting) if waiting.reason() == HealthReason::NameTaken => FailureReason::NameTaken,
            Self::NotMinted(_)
            | Self::Call { .. }
            | Self::Silence { .. }
            | Self::NoTurn { .. }
            | Self::Unlisted { .. }
            | Self::NotListedYet { .. }
            | Self::CacheBehind { .. }
            | Self::NotLeader => call,
        }
    }

    /// What the API server, or a webhook that it asked, says against the write itself.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self {
            Self::Call {
                source: kube::Error::Api(status),
                ..
            } if matches!(status.code, 400 | 403 | 422) => Some(status.message.trim().to_owned()),
            Self::Tried { source, .. } => source.refusal(),
            Self::Call { .. }
            | Self::Silence { .. }
            | Self::NoTurn { .. }
            | Self::NoRight { .. }
            | Self::NoKind { .. }
            | Self::Unlisted { .. }
            | Self::NotListedYet { .. }
            | Self::CacheBehind { .. }
            | Self::NoContract(_)
            | Self::NotServed { .. }
            | Self::NotMinted(_)
            | Self::Violation(_)
            | Self::NotLeader => None,
        }
    }

    /// The kind and the name of the object of a write that was tried, and when that would come, where this is the answer to
    /// that.
    pub(crate) fn tried(&self) -> Option<(&str, &str, WriteTurn)> {
        if let Self::Tried { kind, name, turn, .. } = self {
            Some((kind, name, *turn))
        } else {
            None
        }
    }

    /// Another client made or changed the object in between.
    pub(crate) fn is_written_by_another(&self) -> bool {
        matches!(self, Self::Call { source: kube::Error::Api(status), .. } if status.code == 409)
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Call { source, .. } => class(source),
            Self::Tried { source, .. } => source.class(),
            Self::CacheBehind { .. } | Self::NotListedYet { .. } => Class::Conflict,
            Self::NotMinted(waiting) if waiting.reason() == HealthReason::TemplateDeleting => Class::Transient,
            Self::Silence { .. } | Self::NoTurn { .. } | Self::Unlisted { .. } | Self::NotLeader => Class::Transient,
            Self::NoRight { .. }
            | Self::NoKind { .. }
            | Self::NoContract(_)
            | Self::NotServed { .. }
            | Self::NotMinted(_)
            | Self::Violation(_) => Class::Terminal,
        }
    }
}

fn class(error: &kube::Error) -> Class {
    match error {
        kube::Error::Api(status) if status.is_conflict() => Class::Conflict,
        kube::Error::Api(status) if status.is_invalid() || status.is_forbidden() => Class::Terminal,
        // The list of kube's errors is open.
        _ => Class::Transient,
    }
}

/// A call with a deadline. `doing` begins the error's text.
pub(crate) async fn call<T>(
    doing: impl FnOnce() -> String,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(DEADLINE, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Call { doing: doing(), source }),
        Err(_) => Err(Error::Silence { doing: doing() }),
    }
}

/// What several calls come to, within the deadline of one.
pub(crate) async fn in_time<T>(
    doing: impl FnOnce() -> String,
    calls: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match timeout(DEADLINE, calls).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Silence { doing: doing() }),
    }
}

/// A call about a provider's kind. What may be done to it is granted for each provider, when it is installed.
pub(crate) async fn of_provider<T>(
    resource: &ApiResource,
    doing: impl FnOnce() -> String,
    asking: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match call(doing, asking).await {
        Err(Error::Call {
            doing,
            source: kube::Error::Api(status),
        }) if status.is_forbidden() && lacks_right(&status.message) => Err(Error::NoRight {
            doing,
            group: resource.group.clone(),
            resource: resource.plural.clone(),
        }),
        answer => answer,
    }
}

/// Policies and webhooks answer 403 too; who lacks a right is told as `User "..." cannot patch resource ...`.
fn lacks_right(message: &str) -> bool {
    message.contains("User \"") && message.contains("\" cannot ")
}

/// What gives the controller a right to a provider's kind.
struct Grant<'e>(&'e str, &'e str);

impl fmt::Display for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match role_for(self.0, self.1) {
            Some(provider) => write!(f, "kubectl apply -k config/providers/{}", provider.name),
            None => f.write_str("bind it a ClusterRole like those in config/providers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_right_names_the_role_that_gives_it() {
        let message = async |group: &str, plural: &str| {
            let resource = ApiResource {
                group: group.to_owned(),
                version: "v1beta2".to_owned(),
                api_version: format!("{group}/v1beta2"),
                kind: "K".to_owned(),
                plural: plural.to_owned(),
            };
            let status =
                kube::core::Status::failure("k is forbidden: User \"a\" cannot list resource \"k\"", "Forbidden")
                    .with_code(403);
            let forbidden = async { Err::<(), _>(kube::Error::Api(status.boxed())) };
            let error = of_provider(&resource, || "listing".to_owned(), forbidden)
                .await
                .unwrap_err();
            assert_eq!(error.class(), Class::Terminal);
            error.to_string()
        };
        assert_eq!(
            message("infrastructure.cluster.x-k8s.io", "vspheremachinetemplates").await,
            "listing: the controller has no right to vspheremachinetemplates.infrastructure.cluster.x-k8s.io: \
             kubectl apply -k config/providers/vsphere"
        );
        assert_eq!(
            message("controlplane.cluster.x-k8s.io", "rke2controlplanes").await,
            "listing: the controller has no right to rke2controlplanes.controlplane.cluster.x-k8s.io: \
             kubectl apply -k config/providers/rke2"
        );
        assert_eq!(
            message("example.org", "things").await,
            "listing: the controller has no right to things.example.org: \
             bind it a ClusterRole like those in config/providers"
        );
    }
}
