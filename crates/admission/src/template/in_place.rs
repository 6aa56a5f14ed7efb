//! Fields of machine templates that their provider means to be edited in place.

use instar_api::UpgradePolicySpec;
use instar_domain::JsonPointer;

/// A field that the provider's validation lets change, and that its controllers then change on the machines of the
/// template too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MutableField {
    pub group: &'static str,
    pub kind: &'static str,
    /// The member of `spec.template.spec`.
    pub member: &'static str,
    /// The controller that does so.
    pub source: &'static str,
}

/// Where the spec of the machines is in a template.
pub(super) const SPEC_POINTER: &str = "/spec/template/spec";

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const METAL3: &str =
    "https://github.com/metal3-io/cluster-api-provider-metal3/blob/main/baremetal/metal3machinetemplate_manager.go";
const LINODE: &str = "https://github.com/linode/cluster-api-provider-linode/blob/main/internal/controller/linodemachinetemplate_controller.go";

/// Of providers in `config/providers`. That the validation lets a field change is not enough: of a
/// `GCPMachineTemplate` it lets `additionalNetworkTags` change, and no machine hears of it.
pub const MUTABLE_FIELDS: [MutableField; 3] = [
    MutableField {
        group: INFRASTRUCTURE,
        kind: "LinodeMachineTemplate",
        member: "firewallID",
        source: LINODE,
    },
    MutableField {
        group: INFRASTRUCTURE,
        kind: "LinodeMachineTemplate",
        member: "tags",
        source: LINODE,
    },
    MutableField {
        group: INFRASTRUCTURE,
        kind: "Metal3MachineTemplate",
        member: "automatedCleaningMode",
        source: METAL3,
    },
];

/// The pointers of the fields of a kind that may change. Those of a policy that can't be read are left out.
pub(super) fn mutable_pointers<'p>(
    group: &str,
    kind: &str,
    policies: impl IntoIterator<Item = &'p UpgradePolicySpec>,
) -> Vec<JsonPointer> {
    let known = MUTABLE_FIELDS.iter();
    let known = known.filter(|field| field.group == group && field.kind == kind);
    let known = known.filter_map(|field| format!("{}/{}", SPEC_POINTER, field.member).parse().ok());
    let listed = policies.into_iter().flat_map(|policy| &policy.mutable_template_fields);
    let listed = listed.filter(|fields| fields.api_group == group && fields.kind == kind);
    let listed = listed.flat_map(|fields| fields.pointers.iter().filter_map(|pointer| pointer.parse().ok()));
    known.chain(listed).collect()
}
