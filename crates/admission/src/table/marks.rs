//! What Instar's controller keeps in objects of others.

use instar_api::Enforcement;

use super::{Change, EnforceableBy, GuardedKind, RuleInfo, Trigger};

pub(super) const MARKS_BY_HAND: RuleInfo = RuleInfo {
    guards: "A MachineDeployment that Instar holds (`spec.paused` with the annotation `upgrade.cluster.x-k8s.io/held`) is let go by Instar's controller, or by a user with the verb `override` on clusterupgrades. So it is with that annotation, with `cluster.x-k8s.io/paused` of a MachineDeployment or MachinePool where Instar has set it, and with what the annotations `swap-history`, `hook-answer` and `gate-history` say. These three may be left out, since Instar then holds what it held or begins again, and what is created may bring all of them along, as `clusterctl move` and a restore do.",
    source: "docs/admission.md",
    messages: &[
        "Instar holds it until the gates of its upgrade are open, and {} may not let it go",
        "the mark of Instar's hold may not be changed by {}",
        "the mark of Instar's hold may not be set by {}",
        "Instar's controller keeps it, and {} may not write it",
        "Instar has paused it, and {} may not resume it",
        "the mark of Instar's pause may not be set by {}",
        "the mark of Instar's pause may not be changed by {}",
    ],
    remediation: "leave the field out of what you apply, or ask for the right to override clusterupgrades.upgrade.cluster.x-k8s.io in the namespace",
    default: Enforcement::Enforce,
    on: &[Trigger {
        guard: GuardedKind::Marks,
        changes: &[Change::Marks],
    }],
    enforceable_by: EnforceableBy::Server,
};
