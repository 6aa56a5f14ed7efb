//! The extra patches of a `ClusterUpgrade`, read: CPUs, memory, disk, bootstrap.

use std::collections::BTreeMap;

use instar_api::{ClusterUpgrade, ValueAt, Values};
use instar_catalog::read_values;
use instar_planner::{PoolId, Unreadable};
use kube::{Resource, ResourceExt};

/// What templates get beside the release's values, and what of it can't be read.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    pub(crate) machines: BTreeMap<PoolId, Values>,
    pub(crate) bootstrap: BTreeMap<String, Values>,
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Patches {
    /// The schema refuses most of what can't be read; the texts of JSON it can't look into.
    pub(crate) fn read(upgrade: &ClusterUpgrade) -> Self {
        let mut patches = Self::default();
        let spec = &upgrade.spec;
        let of_control_plane = patches.values(upgrade, "controlPlane.patches", &spec.control_plane.patches);
        let machines = of_control_plane.map(|values| (PoolId::ControlPlane, values));
        patches.machines.extend(machines);
        for rule in &spec.pools {
            let field = |field: &str| format!("pools[{}].{field}", rule.name);
            let machines = patches.values(upgrade, &field("patches"), &rule.patches);
            let machines = machines.map(|values| (PoolId::Workers(rule.name.clone()), values));
            patches.machines.extend(machines);
            let bootstrap = patches.values(upgrade, &field("bootstrapPatches"), &rule.bootstrap_patches);
            patches
                .bootstrap
                .extend(bootstrap.map(|values| (rule.name.clone(), values)));
        }
        patches
    }

    fn values(&mut self, upgrade: &ClusterUpgrade, field: &str, values: &[ValueAt]) -> Option<Values> {
        if values.is_empty() {
            return None;
        }
        match read_values(values) {
            Ok(values) => Some(values),
            Err(invalid) => {
                self.unreadable.push(Unreadable {
                    kind: ClusterUpgrade::kind(&()).into_owned(),
                    name: upgrade.name_any(),
                    reason: format!("spec.{field}[{}]: {}", invalid.index, invalid.why),
                });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: serde_json::Value) -> Patches {
        Patches::read(&ClusterUpgrade::new("up", serde_json::from_value(spec).unwrap()))
    }

    #[test]
    fn values_of_every_form_are_read() {
        let patches = read(json!({
            "clusterName": "c",
            "target": "v1.35",
            "controlPlane": { "patches": [{ "pointer": "/spec/template/spec/memoryMiB", "value": 8192 }] },
            "pools": [
                { "name": "gpu", "patches": [{ "pointer": "/spec/template/spec/secure", "json": "true" }] },
                { "name": "md-0", "bootstrapPatches": [{ "pointer": "/spec/template/spec/files", "json": "[]" }] },
                { "name": "held", "hold": true },
            ],
        }));
        let at = |pointer: &str, value: serde_json::Value| Values::from([(pointer.parse().unwrap(), value)]);
        let machines = BTreeMap::from([
            (PoolId::ControlPlane, at("/spec/template/spec/memoryMiB", json!(8192))),
            (
                PoolId::Workers("gpu".to_owned()),
                at("/spec/template/spec/secure", json!(true)),
            ),
        ]);
        assert_eq!(patches.machines, machines);
        let bootstrap = BTreeMap::from([("md-0".to_owned(), at("/spec/template/spec/files", json!([])))]);
        assert_eq!(patches.bootstrap, bootstrap);
        assert_eq!(patches.unreadable, []);
    }

    #[test]
    fn what_cant_be_read_is_named() {
        let patches = read(json!({
            "clusterName": "c",
            "target": "v1.35",
            "controlPlane": { "patches": [{ "pointer": "/spec/template/0", "value": 1 }] },
            "pools": [{ "name": "md-0", "bootstrapPatches": [
                { "pointer": "/spec/template/spec/a", "value": 1 },
                { "pointer": "/spec/template/spec/files", "json": "[" },
            ] }],
        }));
        let reasons: Vec<&str> = patches.unreadable.iter().map(|object| object.reason.as_str()).collect();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(
            reasons[0].starts_with("spec.controlPlane.patches[0]: ") && reasons[0].contains("goes through an array"),
            "{reasons:?}"
        );
        assert!(
            reasons[1].starts_with("spec.pools[md-0].bootstrapPatches[1]: json \"[\": "),
            "{reasons:?}"
        );
        assert!(patches.machines.is_empty() && patches.bootstrap.is_empty());
    }
}
