//! What a user has to approve before it happens, and what was approved.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{SetBy, schema};

/// What a user has to approve before it happens.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalPolicy {
    /// Before what. If several policies select a Cluster, what any of them names has to be approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub before: Vec<ApprovalPoint>,
}

impl ApprovalPolicy {
    /// Whether it asks for nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.before.is_empty()
    }
}

/// When an approval is asked for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApprovalPoint {
    /// Before the first step of the control plane.
    ControlPlane,
    /// Before each step of the control plane.
    EachStep,
    /// Before workers go to a version. Of a topology Cluster, before its version is edited.
    Workers,
}

/// What was approved: one step of one part of the cluster, on the way to one target.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Before what.
    pub before: ApprovedPart,

    /// The version that this part goes to, as status.health names it.
    #[schemars(schema_with = "schema::kube_version")]
    pub version: String,

    /// The target of the ClusterUpgrade, as spec.target has it: with another one the approval doesn't count.
    #[schemars(length(min = 1, max = 253))]
    pub target: String,

    /// Who approved it. Admission writes it, whatever the request says, and without it the approval doesn't count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<SetBy>,
}

impl Approval {
    /// What a user adds to spec.approvals, as messages write it.
    #[must_use]
    pub fn entry(&self) -> String {
        let Self {
            before,
            version,
            target,
            set_by: _,
        } = self;
        format!(
            "{{\"before\": \"{}\", \"version\": \"{version}\", \"target\": \"{target}\"}}",
            before.as_str()
        )
    }
}

impl Approval {
    /// The entry that a message asks for, as [`Approval::entry`] wrote it into it.
    #[must_use]
    pub fn in_message(message: &str) -> Option<Self> {
        let from = message.find("{\"before\"")?;
        let mut entries = serde_json::Deserializer::from_str(message.get(from..)?).into_iter();
        entries.next()?.ok()
    }
}

/// A part of the cluster that goes to a version.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApprovedPart {
    /// The control plane.
    ControlPlane,
    /// The workers.
    Workers,
}

impl ApprovedPart {
    /// The part as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "ControlPlane",
            Self::Workers => "Workers",
        }
    }

    /// The part as a sentence names it.
    #[must_use]
    pub const fn as_words(self) -> &'static str {
        match self {
            Self::ControlPlane => "the control plane",
            Self::Workers => "the workers",
        }
    }
}
