//! What is on the machines' own disks and goes with them. It is something to know before the start, and not a fault.

use instar_planner::{ClusterKind, Problem, Snapshot, Template, TemplateRef};
use serde_json::Value;

use super::{Rolled, cannot_be_read, rolled, template};
use crate::finding::Finding;

const GROUP: &str = "infrastructure.cluster.x-k8s.io";

/// Of vSphere's Supervisor.
const SUPERVISOR: &str = "vmware.infrastructure.cluster.x-k8s.io";

/// What a kind of machine templates says of disks.
enum Disks {
    /// Machines have none that this field doesn't add, and what it adds is deleted with the machine.
    Added(&'static [&'static str]),
    /// The machines are hosts that stay; `automatedCleaningMode` says what becomes of their disks.
    OfHosts,
    /// A machine is a process, or a container.
    None,
}

/// Of each kind, where new disks are asked for, and the source that says that they go with the machine.
const KINDS: [(&str, &str, Disks); 9] = [
    // `volumeToBlockDeviceMapping` in pkg/cloud/services/ec2/instances.go: DeleteOnTermination.
    (GROUP, "AWSMachineTemplate", Disks::Added(&["nonRootVolumes"])),
    // `DiskSpecs` in azure/scope/machine.go: all are deleted with the AzureMachine.
    (GROUP, "AzureMachineTemplate", Disks::Added(&["dataDisks"])),
    // `instanceAdditionalDiskSpec` in cloud/scope/machine.go: AutoDelete.
    (GROUP, "GCPMachineTemplate", Disks::Added(&["additionalDisks"])),
    // pkg/cloud/services/compute/instance.go: DeleteOnTermination for each.
    (
        GROUP,
        "OpenStackMachineTemplate",
        Disks::Added(&["additionalBlockDevices"]),
    ),
    // `VirtualMachineCloneSpec` in api/govmomi/v1beta2/types.go; `DestroyVM` in pkg/services/govmomi/service.go, and
    // vSphere's own documentation of Destroy: with its virtual disks. Volumes of the CSI driver are detached before.
    (
        GROUP,
        "VSphereMachineTemplate",
        Disks::Added(&["dataDisks", "additionalDisksGiB"]),
    ),
    // `addVolumes` in pkg/services/vmoperator/vmopmachine.go: the VSphereMachine owns their claims.
    (SUPERVISOR, "VSphereMachineTemplate", Disks::Added(&["volumes"])),
    // api/v1beta1/metal3machine_types.go, and BareMetalHost for the default.
    (GROUP, "Metal3MachineTemplate", Disks::OfHosts),
    // Of Cluster API itself.
    (GROUP, "DevMachineTemplate", Disks::None),
    (GROUP, "DockerMachineTemplate", Disks::None),
];

pub(super) fn look(snapshot: &Snapshot) -> Finding {
    match snapshot.cluster.kind {
        ClusterKind::Topology(_) => Finding::NotApplicable(
            "Cluster API makes the templates of a topology cluster, and Instar doesn't read them".to_owned(),
        ),
        ClusterKind::Classic(_) => Finding::of_all(
            rolled(snapshot)
                .into_iter()
                .filter(|rolled| is_of_infrastructure(rolled.reference))
                .map(|rolled| of(snapshot, &rolled)),
        ),
    }
}

/// Whether the content of a template says something about disks.
pub(crate) fn is_judged(reference: &TemplateRef) -> bool {
    match disks(reference) {
        Some(Disks::Added(_) | Disks::OfHosts) => true,
        Some(Disks::None) | None => false,
    }
}

fn disks(reference: &TemplateRef) -> Option<&'static Disks> {
    let mut kinds = KINDS
        .iter()
        .filter(|(group, kind, _)| reference.group == *group && reference.kind == *kind);
    kinds.next().map(|(_, _, disks)| disks)
}

/// Whether it is a template of machines, and not of what starts them.
fn is_of_infrastructure(reference: &TemplateRef) -> bool {
    let of_provider = reference.group.strip_suffix(GROUP);
    of_provider.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn of(snapshot: &Snapshot, rolled: &Rolled<'_>) -> Finding {
    let Rolled { object, reference } = rolled;
    let problem = |what: String| Problem {
        kind: object.kind.clone(),
        name: object.name.clone(),
        message: format!("{} {}: {what}", object.kind, object.name),
    };
    let called = format!("{} {}", reference.kind, reference.name);
    let Some(disks) = disks(reference) else {
        return Finding::Warn(problem(format!(
            "whether machines of {called} have disks beside the first isn't known, nor what becomes of them"
        )));
    };
    let template = match (disks, template(snapshot, reference)) {
        // Another check tells of one that isn't there.
        (Disks::None, _) | (_, None) => return Finding::Pass,
        (_, Some(Err(unreadable))) => return Finding::Unknown(cannot_be_read(unreadable)),
        (_, Some(Ok(template))) => template,
    };
    if template.content.is_none() {
        return Finding::Unknown(problem(format!("what {called} says was not read yet")));
    }
    match disks {
        Disks::None => Finding::Pass,
        Disks::Added(fields) => {
            let added = fields.iter().filter_map(|field| {
                let count = field_of(template, field)?.as_array()?.len();
                // The disks themselves are the VM template's: `getDiskSpec` in pkg/services/govmomi/vcenter/clone.go.
                let does = match *field {
                    "additionalDisksGiB" => "sets the sizes of",
                    _ => "adds",
                };
                (count > 0).then(|| format!("spec.template.spec.{field} of {called} {does} {count}"))
            });
            let added: Vec<String> = added.collect();
            if added.is_empty() {
                return Finding::Pass;
            }
            Finding::Fail(problem(format!(
                "the disks that a machine has beside the first are deleted with it ({}); persistent volumes of the workload cluster stay",
                added.join(", ")
            )))
        }
        Disks::OfHosts => {
            let field = format!("spec.template.spec.automatedCleaningMode of {called}");
            match field_of(template, "automatedCleaningMode").and_then(Value::as_str) {
                Some("metadata") => Finding::Fail(problem(format!(
                    "the partition tables on all disks of a host are erased between two machines ({field} is metadata)"
                ))),
                Some("disabled") => Finding::Warn(problem(format!(
                    "what is on the disks of a host stays, but for the disk that gets the image ({field} is disabled)"
                ))),
                Some(_) | None => Finding::Warn(problem(format!(
                    "each BareMetalHost says itself whether the partition tables on its disks are erased, by default they \
                     are ({field} isn't set)"
                ))),
            }
        }
    }
}

fn field_of<'t>(template: &'t Template, field: &str) -> Option<&'t Value> {
    template.content.as_ref()?.spec.pointer("/template/spec")?.get(field)
}
