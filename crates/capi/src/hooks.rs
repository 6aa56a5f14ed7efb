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

/// Whether that answer is all that hooks hold the upgrade with: no other hook does, and no other extension.
#[must_use]
pub fn is_held_by_answer_alone(message: &str, answer: &str) -> bool {
    // As Cluster API's `HookResponseTracker` writes it: `... hooks are blocking upgrade: HOOK: ANSWER; HOOK: ANSWER`.
    let hooks = message.split_once(HOOKS).and_then(|(_, hooks)| hooks.split_once(": "));
    let said = hooks.and_then(|(_, hooks)| hooks.split_once(": "));
    let rest = said.and_then(|(_, said)| said.strip_prefix(answer));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('\n'))
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

    #[test]
    fn an_answer_that_is_not_alone_is_told_apart() {
        let message = |said: &str| format!("Cluster is upgrading\n  * Following hooks are blocking upgrade: {said}");
        for (said, alone) in [
            ("BeforeControlPlaneUpgrade: not yet", true),
            (
                "BeforeControlPlaneUpgrade: not yet\n  * KubeadmControlPlane pending upgrade",
                true,
            ),
            (
                "BeforeControlPlaneUpgrade: not yet; AfterControlPlaneUpgrade: wait",
                false,
            ),
            ("BeforeControlPlaneUpgrade: not yet, wait", false),
            ("BeforeControlPlaneUpgrade: wait", false),
            ("BeforeControlPlaneUpgrade", false),
        ] {
            assert_eq!(is_held_by_answer_alone(&message(said), "not yet"), alone, "{said}");
        }
        assert!(!is_held_by_answer_alone("not yet", "not yet"));
    }
}
