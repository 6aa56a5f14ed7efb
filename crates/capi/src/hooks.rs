//! What Cluster API says of Runtime Hooks in the Cluster's condition `TopologyReconciled`. There is no reason for it that
//! programs could read, so its words are.
//! Source: `AggregateMessage` of cluster-api's exp/topology/scope/hookresponsetracker.go.

/// What a message about hooks has in it.
const HOOKS: &str = "hooks are blocking";

/// The first hook of an upgrade.
const BEFORE_START: &str = "BeforeClusterUpgrade";

/// The hook before each step of the control plane.
const BEFORE_STEP: &str = "BeforeControlPlaneUpgrade";

/// Whether a message says that hooks hold the upgrade.
#[must_use]
pub fn is_held_by_hook(message: &str) -> bool {
    message.contains(HOOKS)
}

/// Whether one of them holds it before its first step. Cluster API writes down which step it is at when that hook has let
/// go, and its preflight checks let no machine be made at another version than the step's or the topology's.
#[must_use]
pub fn is_held_before_start(message: &str) -> bool {
    let hooks = message.split_once(HOOKS).map(|(_, hooks)| hooks);
    hooks.is_some_and(|hooks| hooks.contains(BEFORE_START))
}

/// Whether the hook before the next step of the control plane holds it with this very answer.
#[must_use]
pub fn is_held_before_step(message: &str, answer: &str) -> bool {
    let hooks = message.split_once(HOOKS).map(|(_, hooks)| hooks);
    hooks.is_some_and(|hooks| hooks.contains(&format!("{BEFORE_STEP}: {answer}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_known_by_its_words() {
        let start = "Cluster is upgrading to v1.35.4\n  * Following hooks are blocking upgrade: BeforeClusterUpgrade: annotation x is set";
        let step = "Cluster is upgrading to v1.35.4\n  * Following hooks are blocking upgrade: BeforeControlPlaneUpgrade: not yet\n  * KubeadmControlPlane pending upgrade to version v1.35.4";
        for (message, held, before_start, before_step) in [
            (start, true, true, false),
            (step, true, false, true),
            ("Cluster is upgrading to v1.35.4", false, false, false),
            ("BeforeControlPlaneUpgrade: not yet", false, false, false),
        ] {
            assert_eq!(is_held_by_hook(message), held, "{message}");
            assert_eq!(is_held_before_start(message), before_start, "{message}");
            assert_eq!(is_held_before_step(message, "not yet"), before_step, "{message}");
        }
        assert!(!is_held_before_step(step, "the window is closed"));
    }
}
