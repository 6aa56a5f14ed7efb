//! A pin held against the release that it names.

use instar_api::{Pin, Values};
use instar_domain::KubeVersion;

use crate::Release;

impl Release {
    /// What a pin for a version says that this release doesn't: another version, or values that it gives to no machine.
    /// An image counts for any pool, since the labels by which it was chosen may have changed after.
    #[must_use]
    pub fn contradicts(&self, version: &KubeVersion, pin: &Pin) -> Option<String> {
        let name = self.name();
        if self.version() != version {
            return Some(format!("release {name} is of {}", self.version()));
        }
        let mut kubeadm = pin.kubeadm.iter();
        if let Some((pointer, value)) = kubeadm.find(|(pointer, value)| self.kubeadm().get(*pointer) != Some(*value)) {
            return Some(format!("release {name} does not set {pointer} to {value}"));
        }
        let is_own = |values: &&Values| values.is_empty() || self.images().any(|image| image == *values);
        let pools = [
            ("MachineDeployment", &pin.machine_deployments),
            ("MachinePool", &pin.machine_pools),
        ];
        let named = pools.into_iter().flat_map(|(kind, pools)| {
            pools
                .iter()
                .map(move |(name, values)| (format!("{kind} {name}"), values))
        });
        let mut sections = [
            ("the control plane".to_owned(), &pin.control_plane),
            ("workers".to_owned(), &pin.workers),
        ]
        .into_iter()
        .chain(named);
        sections
            .find(|(_, values)| !is_own(values))
            .map(|(whose, _)| format!("release {name} has no such values as are pinned for {whose}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const IMAGE: &str = "/spec/template/spec/image";
    const ETCD: &str = "/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/etcd/local/imageTag";

    fn release() -> Release {
        let image = |value: &str| json!([{"pointer": IMAGE, "value": value}]);
        let spec = json!({
            "version": "v1.34.3",
            "machineImages": [
                {"kind": "DevMachineTemplate", "labels": {"arch": "arm64"}, "values": image("arm")},
                {"kind": "DevMachineTemplate", "values": image("amd")},
            ],
            "components": {"etcd": {"imageTag": "3.6.5-0"}},
        });
        Release::read("r34", &serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn contradiction(version: &str, mut pin: Value) -> Option<String> {
        pin["release"] = json!("r34");
        release().contradicts(&version.parse().unwrap(), &serde_json::from_value(pin).unwrap())
    }

    #[test]
    fn a_pin_says_what_its_release_says() {
        for pin in [
            json!({}),
            json!({"kubeadm": {ETCD: "3.6.5-0"}, "controlPlane": {IMAGE: "amd"}, "workers": {IMAGE: "arm"}}),
            json!({"machineDeployments": {"md-0": {}, "md-1": {IMAGE: "arm"}}, "machinePools": {"mp": {IMAGE: "amd"}}}),
        ] {
            assert_eq!(contradiction("v1.34.3", pin.clone()), None, "{pin}");
        }
        for (version, pin, what) in [
            ("v1.34.4", json!({}), "release r34 is of v1.34.3"),
            (
                "v1.34.3",
                json!({"kubeadm": {ETCD: "3.5.0"}}),
                "release r34 does not set /spec/template/spec/kubeadmConfigSpec/clusterConfiguration/etcd/local/imageTag to \"3.5.0\"",
            ),
            (
                "v1.34.3",
                json!({"controlPlane": {IMAGE: "mine"}}),
                "release r34 has no such values as are pinned for the control plane",
            ),
            (
                "v1.34.3",
                json!({"machinePools": {"mp": {IMAGE: "amd", "/spec/template/spec/user": "root"}}}),
                "release r34 has no such values as are pinned for MachinePool mp",
            ),
        ] {
            assert_eq!(contradiction(version, pin).as_deref(), Some(what));
        }
    }
}
