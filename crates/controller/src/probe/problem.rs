//! Why nothing was read, and what to do.

use instar_planner::Problem;
use instar_watch::{ErrorText, Key};
use instar_workload::{CallError, KubeconfigError};
use jiff::SignedDuration;

/// What Cluster API labels the Secrets of a Cluster with.
pub(super) const CLUSTER_LABEL: &str = "cluster.x-k8s.io/cluster-name";

/// Where Cluster API puts the kubeconfig into its Secret.
pub(super) const KEY: &str = "value";

/// Why the kubeconfig wasn't found.
#[derive(Debug)]
pub(super) enum SecretProblem {
    Forbidden { account_namespace: String },
    Missing,
    Silence { seconds: u64 },
    Call(kube::Error),
    NotOfCluster,
    NoKey,
    Invalid(KubeconfigError),
}

impl SecretProblem {
    pub(super) fn of(self, cluster: &Key, secret: &str) -> Problem {
        let (namespace, name) = (cluster.namespace(), cluster.name());
        let object = format!("Secret {namespace}/{secret}");
        let message = match self {
            Self::Forbidden { account_namespace } => format!(
                "the controller has no right to read {object}: kubectl apply -k config/workload && kubectl -n {namespace} \
                 create rolebinding instar-workload --clusterrole instar-workload \
                 --serviceaccount {account_namespace}:instar-controller"
            ),
            Self::Missing => format!(
                "{object} is not there: wait until Cluster API has created it, or name the Secret with the kubeconfig in \
                 spec.workload.kubeconfigSecret of the UpgradePolicy"
            ),
            Self::Silence { seconds } => format!("reading {object}: no answer in {seconds} s"),
            // The text of an object that can't be decoded may be a part of it.
            Self::Call(kube::Error::SerdeError(_)) => format!("{object} can't be decoded: create it again"),
            Self::Call(error) => format!("reading {object}: {}", ErrorText(&error)),
            Self::NotOfCluster => format!(
                "{object} may be another cluster's: its label {CLUSTER_LABEL} is not \"{name}\". If it is this one's: \
                 kubectl -n {namespace} label secret {secret} {CLUSTER_LABEL}={name}"
            ),
            Self::NoKey => format!("{object} has no key {KEY}: put the kubeconfig there"),
            Self::Invalid(error) => format!("{object}, key {KEY}: {error}"),
        };
        Problem {
            kind: "Secret".to_owned(),
            name: secret.to_owned(),
            message,
        }
    }
}

/// What a call to the workload cluster failed of.
pub(super) fn of_call(cluster: &Key, error: &CallError) -> Problem {
    let what_to_do = match error {
        CallError::Refused { code: 401, .. } => "; renew the credentials in the kubeconfig",
        CallError::Refused { code: 403, .. } => "; give the user of the kubeconfig the right to it",
        CallError::Unusable { .. }
        | CallError::Unreachable { .. }
        | CallError::Silence { .. }
        | CallError::Refused { .. }
        | CallError::Redirected { .. }
        | CallError::TooLong { .. }
        | CallError::Garbled { .. } => "",
    };
    let name = cluster.name();
    Problem {
        kind: "Cluster".to_owned(),
        name: name.to_owned(),
        message: format!("the workload cluster of Cluster {name} was not read: {error}{what_to_do}"),
    }
}

/// A look took longer than the policy lets it.
pub(super) fn of_look(cluster: &Key, deadline: SignedDuration) -> Problem {
    let name = cluster.name();
    Problem {
        kind: "Cluster".to_owned(),
        name: name.to_owned(),
        message: format!(
            "the workload cluster of Cluster {name} was not read within the check's deadline of {deadline:#}: see why it is \
             slow, or set a longer one"
        ),
    }
}

/// A round took too long.
pub(super) fn of_round(cluster: &Key, seconds: u64) -> Problem {
    let name = cluster.name();
    Problem {
        kind: "Cluster".to_owned(),
        name: name.to_owned(),
        message: format!("the workload cluster of Cluster {name} was not read in {seconds} s"),
    }
}
