//! The kinds of the providers that upgrades touch: machine templates, control planes but for kubeadm's,
//! the bootstrap templates of their workers, and what makes the machines of MachinePools. Each provider has a role of its own.

use super::{Rule, rule};

const SWAP: &[&str] = &["list", "watch", "patch"];
/// Their metadata is watched; what they say is read where it decides.
const TEMPLATE: &[&str] = &["get", "list", "watch", "create", "delete"];

const GROUP: &str = "infrastructure.cluster.x-k8s.io";

/// A provider of infrastructure, of control planes, or of both, and what an upgrade does to its kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name, as `clusterctl init` takes it.
    pub name: &'static str,
    /// What the controller may do to its kinds.
    pub rules: &'static [Rule],
}

const fn template(resource: &'static str) -> Rule {
    rule(GROUP, resource, TEMPLATE)
}

const fn bootstrap(resource: &'static str) -> Rule {
    rule("bootstrap.cluster.x-k8s.io", resource, TEMPLATE)
}

const fn control_plane(resource: &'static str) -> Rule {
    rule("controlplane.cluster.x-k8s.io", resource, SWAP)
}

/// A control plane that its cloud runs, and that its infrastructure provider keeps in its own group.
const fn managed(resource: &'static str) -> Rule {
    rule(GROUP, resource, SWAP)
}

/// What makes the machines of a MachinePool.
const fn pool(resource: &'static str) -> Rule {
    rule(GROUP, resource, SWAP)
}

macro_rules! providers {
    ($($name:literal: $($rule:expr),+;)+) => {
        &[$(Provider { name: $name, rules: &[$($rule),+] }),+]
    };
}

/// Those that are known. Another one takes a role like theirs.
pub const PROVIDERS: &[Provider] = providers! {
    "aws":
        template("awsmachinetemplates"),
        pool("awsmachinepools"),
        pool("awsmanagedmachinepools"),
        pool("rosamachinepools"),
        control_plane("awsmanagedcontrolplanes"),
        bootstrap("eksconfigtemplates"),
        bootstrap("nodeadmconfigtemplates");
    "azure":
        template("azuremachinetemplates"),
        pool("azureasomanagedmachinepools"),
        pool("azuremachinepools"),
        pool("azuremanagedmachinepools"),
        managed("azureasomanagedcontrolplanes"),
        managed("azuremanagedcontrolplanes");
    "canonical-kubernetes": control_plane("ck8scontrolplanes"), bootstrap("ck8sconfigtemplates");
    "cloudstack": template("cloudstackmachinetemplates");
    "digitalocean": template("domachinetemplates");
    "docker":
        template("devmachinetemplates"),
        template("dockermachinetemplates"),
        pool("devmachinepools"),
        pool("dockermachinepools");
    "gcp":
        template("gcpmachinetemplates"),
        pool("gcpmachinepools"),
        pool("gcpmanagedmachinepools"),
        managed("gcpmanagedcontrolplanes"),
        bootstrap("gkeconfigtemplates");
    "harvester": template("harvestermachinetemplates");
    "hetzner": template("hcloudmachinetemplates"), template("hetznerbaremetalmachinetemplates");
    "ibmcloud": template("ibmpowervsmachinetemplates"), template("ibmvpcmachinetemplates");
    "k0sproject-k0smotron":
        template("remotemachinetemplates"),
        control_plane("k0scontrolplanes"),
        control_plane("k0smotroncontrolplanes"),
        bootstrap("k0sworkerconfigtemplates");
    "k3s": control_plane("kthreescontrolplanes"), bootstrap("kthreesconfigtemplates");
    "kamaji": control_plane("kamajicontrolplanes");
    "kubevirt": template("kubevirtmachinetemplates");
    "linode": template("linodemachinetemplates");
    "maas": template("maasmachinetemplates");
    "metal3": template("metal3machinetemplates");
    "microk8s": control_plane("microk8scontrolplanes"), bootstrap("microk8sconfigtemplates");
    "nutanix": template("nutanixmachinetemplates");
    "oci":
        template("ocimachinetemplates"),
        pool("ocimachinepools"),
        pool("ocimanagedmachinepools"),
        managed("ocimanagedcontrolplanes");
    "openstack": template("openstackmachinetemplates");
    "proxmox": template("proxmoxmachinetemplates");
    "rke2": control_plane("rke2controlplanes"), bootstrap("rke2configtemplates");
    "talos": control_plane("taloscontrolplanes"), bootstrap("talosconfigtemplates");
    "tinkerbell": template("tinkerbellmachinetemplates");
    "vcd": template("vcdmachinetemplates");
    "vsphere":
        template("vspheremachinetemplates"),
        rule("vmware.infrastructure.cluster.x-k8s.io", "vspheremachinetemplates", TEMPLATE);
};

/// The provider whose role covers a kind, if it is known.
#[must_use]
pub fn role_for(api_group: &str, resource: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| {
        let mut rules = provider.rules.iter();
        rules.any(|rule| rule.api_group == api_group && rule.resource == resource)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_leads_to_its_provider() {
        let name = |group, resource| role_for(group, resource).map(|provider| provider.name);
        assert_eq!(name(GROUP, "vspheremachinetemplates"), Some("vsphere"));
        assert_eq!(
            name("vmware.infrastructure.cluster.x-k8s.io", "vspheremachinetemplates"),
            Some("vsphere")
        );
        assert_eq!(name(GROUP, "hetznerbaremetalmachinetemplates"), Some("hetzner"));
        assert_eq!(
            name("controlplane.cluster.x-k8s.io", "taloscontrolplanes"),
            Some("talos")
        );
        assert_eq!(name("example.org", "vspheremachinetemplates"), None);
    }

    #[test]
    fn names_come_once_and_in_order() {
        assert!(PROVIDERS.is_sorted_by(|one, other| one.name < other.name));
    }
}
