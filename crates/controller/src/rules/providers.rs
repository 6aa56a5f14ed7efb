//! The machine templates of the infrastructure providers: each provider has kinds of its own, and a
//! role of its own that lets the controller mint them.

use super::{Rule, TEMPLATE, rule};

const GROUP: &str = "infrastructure.cluster.x-k8s.io";

/// An infrastructure provider and its kinds of machine templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfrastructureProvider {
    /// Its name, as `clusterctl init --infrastructure` takes it.
    pub name: &'static str,
    /// What the controller may do to its machine templates.
    pub rules: &'static [Rule],
}

const fn template(resource: &'static str) -> Rule {
    rule(GROUP, resource, TEMPLATE)
}

macro_rules! providers {
    ($($name:literal: $($rule:expr),+;)+) => {
        &[$(InfrastructureProvider { name: $name, rules: &[$($rule),+] }),+]
    };
}

/// Those that are known. Another one takes a role like theirs.
pub const PROVIDERS: &[InfrastructureProvider] = providers! {
    "aws": template("awsmachinetemplates");
    "azure": template("azuremachinetemplates");
    "cloudstack": template("cloudstackmachinetemplates");
    "digitalocean": template("domachinetemplates");
    "docker": template("devmachinetemplates"), template("dockermachinetemplates");
    "gcp": template("gcpmachinetemplates");
    "harvester": template("harvestermachinetemplates");
    "hetzner": template("hcloudmachinetemplates"), template("hetznerbaremetalmachinetemplates");
    "ibmcloud": template("ibmpowervsmachinetemplates"), template("ibmvpcmachinetemplates");
    "kubevirt": template("kubevirtmachinetemplates");
    "linode": template("linodemachinetemplates");
    "maas": template("maasmachinetemplates");
    "metal3": template("metal3machinetemplates");
    "nutanix": template("nutanixmachinetemplates");
    "oci": template("ocimachinetemplates");
    "openstack": template("openstackmachinetemplates");
    "proxmox": template("proxmoxmachinetemplates");
    "tinkerbell": template("tinkerbellmachinetemplates");
    "vcd": template("vcdmachinetemplates");
    "vsphere":
        template("vspheremachinetemplates"),
        rule("vmware.infrastructure.cluster.x-k8s.io", "vspheremachinetemplates", TEMPLATE);
};

/// The provider whose role covers a kind of machine templates, if it is known.
pub(crate) fn role_for(api_group: &str, resource: &str) -> Option<&'static InfrastructureProvider> {
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
        assert_eq!(name("example.org", "vspheremachinetemplates"), None);
    }

    #[test]
    fn names_come_once_and_in_order() {
        assert!(PROVIDERS.is_sorted_by(|one, other| one.name < other.name));
    }
}
