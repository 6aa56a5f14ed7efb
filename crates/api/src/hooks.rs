//! Runtime Hooks: what Instar answers Cluster API before each step of a topology Cluster.

use std::fmt;

use instar_domain::KubeVersion;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ApprovedPart;

/// The answer to the hook that comes next, in the annotation [`crate::HOOK_ANSWER_ANNOTATION`] of a topology Cluster.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HookAnswer {
    /// `spec.topology.version` when it was given: with another one it doesn't count.
    pub target: KubeVersion,
    /// What goes.
    pub part: ApprovedPart,
    /// The version that this part goes to: of another step it says nothing.
    pub step: KubeVersion,
    /// Whether it may.
    #[serde(flatten)]
    pub verdict: HookVerdict,
}

/// Whether a step may begin.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(tag = "answer")]
pub enum HookVerdict {
    /// It may.
    Go {
        /// Until then, also where nothing has looked at the gates since: the end of the maintenance window. Absent where
        /// nothing ends it by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// It may not yet.
    Hold {
        /// What it waits for.
        reason: String,
        /// When the step was held again, where it had been let go before: it tells this answer from an earlier one with
        /// the same reason, in what Cluster API says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<Timestamp>,
    },
}

impl HookAnswer {
    /// Reads the annotation; nothing where it is garbled.
    #[must_use]
    pub fn from_annotation(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The annotation's text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        // Texts and times always have a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl HookVerdict {
    /// What Cluster API is told where the step is held, and repeats in the Cluster's conditions.
    #[must_use]
    pub fn hold_message(&self) -> Option<String> {
        match self {
            Self::Go { .. } => None,
            Self::Hold { reason, again: None } => Some(reason.clone()),
            Self::Hold {
                reason,
                again: Some(again),
            } => Some(format!("{reason} (held again since {again})")),
        }
    }
}

impl fmt::Display for HookAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (part, step) = (self.part.as_words(), &self.step);
        match &self.verdict {
            HookVerdict::Go { until: None } => write!(f, "{part} may go to {step}"),
            HookVerdict::Go { until: Some(until) } => write!(f, "{part} may go to {step} until {until}"),
            HookVerdict::Hold { .. } => write!(f, "{part} may not go to {step} yet"),
        }
    }
}

/// Whether Cluster API asks Instar before each step of a topology Cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeHooksStatus {
    /// Whether it does.
    pub state: RuntimeHooksAre,

    // Each member is always written: the status is a merge patch, which would keep what it leaves out.
    /// Which gates the upgrade has by that, and why.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Whether Cluster API asks Instar before each step.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeHooksAre {
    /// It does.
    On,
    /// It does not.
    Off,
    /// That isn't known, or Cluster API doesn't reach the admission server.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It stands on Clusters, and two versions of Instar read it.
    #[test]
    fn the_format_is_what_clusters_carry() {
        let answer = |verdict| HookAnswer {
            target: "v1.35.4".parse().unwrap(),
            part: ApprovedPart::ControlPlane,
            step: "v1.34.3".parse().unwrap(),
            verdict,
        };
        let until = Some("2026-11-20T11:00:00Z".parse().unwrap());
        let reason = || "no maintenance window is open".to_owned();
        let held = |again| HookVerdict::Hold {
            reason: reason(),
            again,
        };
        for (verdict, text) in [
            (
                HookVerdict::Go { until: None },
                r#"{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3","answer":"Go"}"#,
            ),
            (
                HookVerdict::Go { until },
                r#"{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3","answer":"Go","until":"2026-11-20T11:00:00Z"}"#,
            ),
            (
                held(None),
                r#"{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3","answer":"Hold","reason":"no maintenance window is open"}"#,
            ),
            (
                held(until),
                r#"{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3","answer":"Hold","reason":"no maintenance window is open","again":"2026-11-20T11:00:00Z"}"#,
            ),
        ] {
            let answer = answer(verdict);
            assert_eq!(answer.to_annotation(), text);
            assert_eq!(HookAnswer::from_annotation(text), Some(answer));
        }
        for garbled in [
            "",
            "{}",
            "Go",
            r#"{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3","answer":"Maybe"}"#,
            r#"{"target":"v1.35.4","part":"ControlPlane","step":"v1.34.3","answer":"Go","until":"tonight"}"#,
        ] {
            assert_eq!(HookAnswer::from_annotation(garbled), None, "{garbled}");
        }
    }
}
