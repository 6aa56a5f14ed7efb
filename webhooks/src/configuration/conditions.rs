//! The conditions in CEL under which a webhook is called at all.
//!
//! A condition that fails to be evaluated refuses the request, so every field is taken as optional.

use instar_admission::{
    Change, GuardedKind,
    marks::{KEPT, PAUSE_MARK},
    upgrade::Right,
};
use instar_api::{CATALOG_LABEL, HELD_ANNOTATION, PATH_ANNOTATION, RELEASES_ANNOTATION, VERSION_ANNOTATION};
use instar_capi::{
    WorkerKind,
    labels::{DELETE_FOR_MOVE, PAUSED, TOPOLOGY_DRY_RUN, TOPOLOGY_OWNED},
};
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use super::entries::{Entry, Only};

/// The users that delete objects because another object is gone: the garbage collector and the
/// namespace controller, with their own service accounts or as the controller manager.
const KUBERNETES_OWN: &str = "['system:serviceaccount:kube-system:generic-garbage-collector', \
     'system:serviceaccount:kube-system:namespace-controller', 'system:kube-controller-manager']";

/// The ServiceAccount of Instar's controller. It checks the same rules on each of its writes, and knows its last write
/// before the server does.
const INSTAR_OWN: &str = "instar-controller";

/// What Cluster API reads as a version. Source: the expression that semver.org suggests.
const SEMVER: &str = r"^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$";

/// The name of the condition that a guarded field has changed.
pub(super) const TOUCHES: &str = "touches-guarded-fields";

impl Entry {
    /// When the mutating phase asks. Of a template it is asked in vain whether it may be deleted, and of a worker Cluster
    /// API refuses nothing there but a text that is no version.
    pub(super) fn mutating_conditions(&self) -> Vec<MatchCondition> {
        let mut conditions = self.conditions();
        if self.guard == GuardedKind::MachineTemplate {
            conditions.push(MatchCondition {
                name: "is-an-update".to_owned(),
                expression: "request.operation == 'UPDATE'".to_owned(),
            });
        }
        if self.guard == GuardedKind::Worker {
            conditions.push(MatchCondition {
                name: "has-no-readable-version".to_owned(),
                expression: format!(
                    "request.operation == 'UPDATE' && \
                     !object.?spec.?template.?spec.?version.or(object.?spec.?version).orValue('v0.0.0').matches(r'{SEMVER}')"
                ),
            });
        }
        conditions
    }

    pub(super) fn conditions(&self) -> Vec<MatchCondition> {
        let mut conditions = Vec::new();
        let mut add = |name: &str, expression: String| {
            conditions.push(MatchCondition {
                name: name.to_owned(),
                expression,
            });
        };
        match self.only {
            Only::Named => {}
            Only::Restored => add("is-restored-by-release-author", is_restored()),
            Only::NotRestored => add("is-not-restored-by-release-author", format!("!({})", is_restored())),
            Only::Without(right) => add("lacks-the-right", lacks(right)),
            Only::OtherControlPlanes => add(
                "is-another-control-plane",
                "request.kind.kind.endsWith('ControlPlane') && request.kind.kind != 'KubeadmControlPlane'".to_owned(),
            ),
            Only::MovedTemplates => {
                add("is-template", "request.kind.kind.endsWith('Template')".to_owned());
                add("is-moved-by-cluster-deleter", is_moved());
            }
            Only::MachineTemplates => add(
                "is-machine-template",
                "request.kind.kind.endsWith('MachineTemplate')".to_owned(),
            ),
            Only::OtherTemplates => add(
                "is-another-template",
                "request.kind.kind.endsWith('Template') && !request.kind.kind.endsWith('MachineTemplate') && \
                 request.kind.kind != 'KubeadmConfigTemplate'"
                    .to_owned(),
            ),
        }
        if let (
            Only::Named | Only::MachineTemplates | Only::OtherTemplates,
            GuardedKind::MachineTemplate | GuardedKind::BootstrapTemplate | GuardedKind::OtherTemplate,
        ) = (self.only, self.guard)
        {
            add("is-not-moved-by-cluster-deleter", format!("!({})", is_moved()));
        }
        match self.guard {
            GuardedKind::Cluster => {
                add(
                    "has-topology-pins-or-catalog",
                    format!(
                        "object.?spec.?topology.hasValue() ||\n(({} ||\n(request.operation == 'UPDATE' && ({})) ||\n{}) && {})",
                        has_pins("object"),
                        has_pins("oldObject"),
                        uses_catalog(),
                        is_not_instars()
                    ),
                );
                add("is-not-deleted", is_not_deleted());
            }
            GuardedKind::ControlPlane => {
                add("has-a-version", "object.?spec.?version.hasValue()".to_owned());
                add("is-not-deleted", is_not_deleted());
                add("is-not-topologys", format!("!({})", topology_owns()));
                add("is-not-instars", is_not_instars());
            }
            GuardedKind::Worker => {
                add("is-not-deleted", is_not_deleted());
                add("is-not-topologys", format!("!({})", topology_owns()));
                add("is-not-instars", is_not_instars());
                if let Some(kind) = self.made {
                    add("is-not-made-by-another", is_not_made_by_another(kind));
                }
            }
            GuardedKind::ClusterClass | GuardedKind::UpgradePolicy => add("is-not-deleted", is_not_deleted()),
            // One that is being deleted too: what lets an upgrade through counts until it is gone.
            GuardedKind::ClusterUpgrade => add("is-not-instars", is_not_instars()),
            GuardedKind::MachineTemplate | GuardedKind::BootstrapTemplate => {
                add("is-not-topology-dry-run", is_not_topology_dry_run());
                add("is-not-deleted-by-its-own", is_not_deleted_by_its_own());
            }
            GuardedKind::OtherTemplate => add("is-not-deleted-by-its-own", is_not_deleted_by_its_own()),
            GuardedKind::Marks => {
                add(
                    "is-not-deleted",
                    format!("request.kind.kind == 'ClusterUpgrade' || {}", is_not_deleted()),
                );
                add("is-not-instars", is_not_instars());
            }
            GuardedKind::KubernetesRelease => {}
        }
        match touches(self.guard) {
            None => {}
            // An API server evaluates every condition of a webhook, so that the authorizer stands behind what is rare.
            Some(changes) if self.guard == GuardedKind::Marks => add(
                "changes-marks-without-the-right",
                format!("({changes}) &&\n{}", has_not(Right::Override)),
            ),
            Some(changes) => add(TOUCHES, changes),
        }
        conditions
    }
}

fn annotation(object: &str, name: &str) -> String {
    format!("{object}.metadata.?annotations[?'{name}']")
}

fn label(object: &str, name: &str) -> String {
    format!("{object}.metadata.?labels[?'{name}']")
}

/// A classic Cluster that names its catalog, or did, or asks for a version of it.
fn uses_catalog() -> String {
    format!(
        "{}.hasValue() || {}.hasValue() || (request.operation == 'UPDATE' && {}.hasValue())",
        label("object", CATALOG_LABEL),
        annotation("object", VERSION_ANNOTATION),
        label("oldObject", CATALOG_LABEL),
    )
}

fn has_pins(object: &str) -> String {
    [RELEASES_ANNOTATION, PATH_ANNOTATION]
        .map(|name| annotation(object, name) + ".hasValue()")
        .join(" || ")
}

/// Only the API server knows what else the user may do, so the answer is which webhook it calls.
fn is_restored() -> String {
    format!(
        "request.operation == 'CREATE' && ({} || object.?spec.?controlPlaneRef.hasValue()) && \
         authorizer.group('{}').resource('kubernetesreleases').check('create').allowed()",
        annotation("object", RELEASES_ANNOTATION) + ".hasValue()",
        instar_api::GROUP
    )
}

/// An upgrade is let through, and its user may not do that.
fn lacks(right: Right) -> String {
    let field = match right {
        Right::Override => "(object.?spec.?preflight.?skip.hasValue() || object.?spec.?overrideWindow.hasValue())",
        Right::Approve => "object.?spec.?approvals.hasValue()",
    };
    format!("{field} && {}", has_not(right))
}

fn has_not(right: Right) -> String {
    format!(
        "!authorizer.group('{}').resource('clusterupgrades').namespace(request.namespace).check('{}').allowed()",
        instar_api::GROUP,
        right.verb()
    )
}

/// `clusterctl move` deletes the Cluster too, so its user may.
fn is_moved() -> String {
    format!(
        "request.operation == 'DELETE' && {}.hasValue() && \
         authorizer.group('cluster.x-k8s.io').resource('clusters').namespace(request.namespace).check('delete').allowed()",
        annotation("oldObject", DELETE_FOR_MOVE)
    )
}

fn is_not_deleted() -> String {
    "!object.metadata.?deletionTimestamp.hasValue()".to_owned()
}

/// What only an administrator can give: Cluster API's managers have it, and control plane providers.
const MAY_CREATE_MACHINES: &str = "request.userInfo.username.startsWith('system:serviceaccount:') && \
     authorizer.group('cluster.x-k8s.io').resource('machines').check('create').allowed()";

/// The topology controller restores the objects that it owns, so they need no guard. It is known by the ServiceAccount
/// of Cluster API's core, in whatever namespace, and by its rights. The label has to be there before the request.
fn topology_owns() -> String {
    let has = |object: &str| label(object, TOPOLOGY_OWNED) + ".hasValue()";
    let owned = format!(
        "(request.operation == 'CREATE' ? {} : {})",
        has("object"),
        has("oldObject")
    );
    format!("{owned} && request.userInfo.username.endsWith(':capi-manager') && {MAY_CREATE_MACHINES}")
}

/// What another object has made follows that one, which was judged. It has a label of it, and it among its owners as the
/// controller. A created one may claim both, so it is left out only if a controller creates it.
fn is_not_made_by_another(kind: WorkerKind) -> String {
    let makers = kind.makers().iter().map(|maker| {
        let of_group = format!("owner.apiVersion.startsWith('{}/')", maker.group);
        match maker.kind {
            Some(kind) => format!("({of_group} && owner.kind == '{kind}')"),
            None => of_group,
        }
    });
    let makers = makers.collect::<Vec<_>>().join(" || ");
    let made = |object: &str| {
        let labels = kind.made_labels().iter();
        let labels = labels.map(|name| label(object, name) + ".hasValue()");
        let labels = labels.collect::<Vec<_>>().join(" || ");
        format!(
            "({labels}) &&\n{object}.metadata.?ownerReferences.orValue([]).exists(owner,\n  owner.?controller.orValue(false) && ({makers}))"
        )
    };
    format!(
        "request.operation == 'CREATE' ?\n!(({}) &&\n{MAY_CREATE_MACHINES}) :\n!({})",
        made("object"),
        made("oldObject")
    )
}

/// As Cluster API defines it: the request is a dry run *and* the object has the annotation.
/// Source: `IsDryRunRequest` of cluster-api's util/topology.
fn is_not_topology_dry_run() -> String {
    format!(
        "request.operation == 'DELETE' || \
         !(request.?dryRun.orValue(false) && object.metadata.?annotations[?'{TOPOLOGY_DRY_RUN}'].hasValue())"
    )
}

/// Known by its name and by a right that it has in all namespaces, and not by its own namespace: installers choose that,
/// and put it into no expression. Whoever may create ServiceAccounts in a namespace can't give one that right.
fn is_instars() -> String {
    format!(
        "request.userInfo.username.startsWith('system:serviceaccount:') && \
         request.userInfo.username.endsWith(':{INSTAR_OWN}') && \
         authorizer.group('{}').resource('clusterupgrades').subresource('status').check('patch').allowed()",
        instar_api::GROUP
    )
}

fn is_not_instars() -> String {
    format!("!({})", is_instars())
}

fn is_not_deleted_by_its_own() -> String {
    format!(
        "request.operation != 'DELETE' || !(request.userInfo.username in {KUBERNETES_OWN} || ({}) || ({}))",
        is_instars(),
        topology_owns()
    )
}

/// The condition that a guarded field has changed; None if every request counts.
fn touches(guard: GuardedKind) -> Option<String> {
    let changes = guard.changes();
    let fields: Vec<String> = changes.iter().filter_map(|change| expression(guard, *change)).collect();
    let always = changes
        .iter()
        .filter_map(|change| match change {
            Change::Created => Some("request.operation == 'CREATE'"),
            Change::Deleted => Some("request.operation == 'DELETE'"),
            Change::Version
            | Change::Class
            | Change::Pools
            | Change::Pins
            | Change::Template
            | Change::Components
            | Change::Wiring
            | Change::MachinesSpec
            | Change::MachinesMetadata
            | Change::Spec
            | Change::Catalog
            | Change::VersionAnnotation
            | Change::Marks => None,
        })
        .map(ToOwned::to_owned);
    (!fields.is_empty()).then(|| always.chain(fields).collect::<Vec<_>>().join(" ||\n"))
}

fn differs(path: &str) -> String {
    format!("object{path} != oldObject{path}")
}

fn any_differs(paths: &[&str]) -> String {
    paths.iter().map(|path| differs(path)).collect::<Vec<_>>().join(" ||\n")
}

/// That a field of the object has not changed, for an update.
pub(super) fn unchanged(guard: GuardedKind, change: Change) -> Option<String> {
    expression(guard, change).map(|changed| format!("!({changed})"))
}

/// Whether a field of the object has changed, for an update.
fn expression(guard: GuardedKind, change: Change) -> Option<String> {
    Some(match change {
        Change::Created | Change::Deleted => return None,
        Change::Version => match guard {
            GuardedKind::Cluster => differs(".?spec.?topology.?version"),
            // A Machine has it in its spec, all others in that of their machines.
            GuardedKind::Worker => any_differs(&[".?spec.?version", ".?spec.?template.?spec.?version"]),
            GuardedKind::ControlPlane
            | GuardedKind::ClusterClass
            | GuardedKind::MachineTemplate
            | GuardedKind::BootstrapTemplate
            | GuardedKind::OtherTemplate
            | GuardedKind::KubernetesRelease
            | GuardedKind::ClusterUpgrade
            | GuardedKind::UpgradePolicy
            | GuardedKind::Marks => differs(".?spec.?version"),
        },
        Change::Class => differs(".?spec.?topology.?classRef"),
        Change::Pools => {
            // Neither a pool's size nor its variables nor its labels.
            let of = |object: &str, kind: &str| {
                format!("{object}.?spec.?topology.?workers.?{kind}.orValue([]).map(pool, [pool.?name, pool.?class])")
            };
            ["machineDeployments", "machinePools"]
                .map(|kind| format!("{} != {}", of("object", kind), of("oldObject", kind)))
                .join(" ||\n")
        }
        Change::Pins => {
            let differs = |name| format!("{} != {}", annotation("object", name), annotation("oldObject", name));
            [RELEASES_ANNOTATION, PATH_ANNOTATION].map(differs).join(" ||\n")
        }
        Change::Template => match guard {
            GuardedKind::ControlPlane => any_differs(&[
                ".?spec.?machineTemplate.?spec.?infrastructureRef",
                ".?spec.?machineTemplate.?infrastructureRef",
            ]),
            GuardedKind::Cluster
            | GuardedKind::Worker
            | GuardedKind::ClusterClass
            | GuardedKind::MachineTemplate
            | GuardedKind::BootstrapTemplate
            | GuardedKind::OtherTemplate
            | GuardedKind::KubernetesRelease
            | GuardedKind::ClusterUpgrade
            | GuardedKind::UpgradePolicy
            | GuardedKind::Marks => any_differs(&[
                ".?spec.?template.?spec.?infrastructureRef",
                ".?spec.?template.?spec.?bootstrap.?configRef",
            ]),
        },
        Change::Components => any_differs(&[
            ".?spec.?kubeadmConfigSpec.?clusterConfiguration.?etcd",
            ".?spec.?kubeadmConfigSpec.?clusterConfiguration.?dns",
        ]),
        Change::Wiring => any_differs(&[".?spec.?patches", ".?spec.?controlPlane", ".?spec.?workers"]),
        Change::MachinesSpec => differs(".?spec.?template.?spec"),
        Change::MachinesMetadata => differs(".?spec.?template.?metadata"),
        Change::Spec => differs(".?spec"),
        Change::Catalog => format!(
            "{} != {}",
            label("object", CATALOG_LABEL),
            label("oldObject", CATALOG_LABEL)
        ),
        Change::VersionAnnotation => format!(
            "{} != {}",
            annotation("object", VERSION_ANNOTATION),
            annotation("oldObject", VERSION_ANNOTATION)
        ),
        Change::Marks => marks(),
    })
}

/// Removed marks count for the hold alone: without the others nothing is let go.
fn marks() -> String {
    let mark_of = |object: &str| annotation(object, HELD_ANNOTATION);
    let paused = |object: &str| format!("{object}.?spec.?paused.orValue(false)");
    let written = |name: &str| {
        let (new, old) = (annotation("object", name), annotation("oldObject", name));
        format!("({new}.hasValue() && {new} != {old})")
    };
    let hold = [
        format!("{} != {}", mark_of("object"), mark_of("oldObject")),
        format!(
            "({}.hasValue() && {} && !{})",
            mark_of("oldObject"),
            paused("oldObject"),
            paused("object")
        ),
    ];
    let (changed, set) = {
        let pause = |object: &str| annotation(object, PAUSED);
        let is_ours = |object: &str| format!("{}.orValue('').startsWith('{PAUSE_MARK}')", pause(object));
        (
            format!(
                "({} && {} != {})",
                is_ours("oldObject"),
                pause("object"),
                pause("oldObject")
            ),
            format!(
                "({} && {} != {})",
                is_ours("object"),
                pause("object"),
                pause("oldObject")
            ),
        )
    };
    let all = hold.into_iter().chain([changed, set]).chain(KEPT.map(written));
    all.collect::<Vec<_>>().join(" ||\n")
}
