//! What to do about a reason.

use super::Waiting;
use crate::addon::AddonProblem;

impl Waiting {
    /// What to do next, as a sentence: what the reason's remedy says, where nothing more is known.
    #[must_use]
    pub fn next(&self) -> String {
        if let Self::GateClosed { until: Some(until), .. } = self {
            return format!("Nothing: it goes on at {until}.");
        }
        if let Self::AddonClosed(closed) = self
            && let (AddonProblem::NotReady | AddonProblem::Settling, Some(until)) = (closed.problem, closed.until)
        {
            return format!("Nothing before {until}. {}", self.reason().next());
        }
        if let Self::Refused(write) = self {
            return write.next();
        }
        if let Self::PreflightFailed { check, .. } = self {
            return format!(
                "{}. Or skip the check in spec.preflight.skip of the ClusterUpgrade.",
                capitalized(check.remedy())
            );
        }
        self.reason().next()
    }
}

fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next();
    first.map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}
