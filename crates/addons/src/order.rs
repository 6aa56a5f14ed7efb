//! What comes after what.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::Gate;

/// Why gates have no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It names one that isn't there.
    #[error("{name} depends on {missing}, which is not in the list")]
    Missing { name: String, missing: String },
    /// It would wait for one that comes later.
    #[error("{name} depends on {later}, which comes later (when)")]
    Later { name: String, later: String },
    /// They wait for each other.
    #[error("the dependsOn of {} form a circle", names.join(", "))]
    Circle { names: Vec<String> },
}

/// The gates in the order in which they are taken: by what they depend on, and else as they are listed.
pub fn order<'a>(gates: &[&'a Gate]) -> Result<Vec<&'a Gate>, OrderError> {
    let by_name: BTreeMap<&str, &Gate> = gates.iter().map(|gate| (gate.name.as_str(), *gate)).collect();
    for gate in gates {
        for dependency in &gate.depends_on {
            let name = gate.name.clone();
            match by_name.get(dependency.as_str()) {
                None => {
                    let missing = dependency.clone();
                    return Err(OrderError::Missing { name, missing });
                }
                Some(other) if other.when > gate.when => {
                    let later = dependency.clone();
                    return Err(OrderError::Later { name, later });
                }
                Some(_) => {}
            }
        }
    }
    let mut waiting: Vec<&'a Gate> = gates.to_vec();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut order = Vec::with_capacity(gates.len());
    while !waiting.is_empty() {
        let free = |gate: &&Gate| gate.depends_on.iter().all(|name| taken.contains(name.as_str()));
        let Some(next) = waiting.iter().position(free) else {
            return Err(OrderError::Circle {
                names: waiting.iter().map(|gate| gate.name.clone()).collect(),
            });
        };
        let gate = waiting.remove(next);
        taken.insert(&gate.name);
        order.push(gate);
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gates(gates: &[(&str, &str, &[&str])]) -> Vec<Gate> {
        let gate = |(name, when, depends_on): &(&str, &str, &[&str])| {
            serde_json::from_value(json!({
                "name": name,
                "when": when,
                "observe": { "cluster": "Workload", "apiVersion": "v1", "kind": "Node", "name": "a" },
                "readyWhen": "status.ready",
                "dependsOn": depends_on,
            }))
            .unwrap()
        };
        gates.iter().map(gate).collect()
    }

    fn ordered(list: &[(&str, &str, &[&str])]) -> Result<String, String> {
        let gates = gates(list);
        let gates: Vec<&Gate> = gates.iter().collect();
        let order = order(&gates).map_err(|error| error.to_string())?;
        Ok(order
            .iter()
            .map(|gate| gate.name.as_str())
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn what_others_need_comes_first() {
        const AFTER: &str = "AfterControlPlane";
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(ordered(&[("a", AFTER, &[]), ("b", AFTER, &[])]), ok("a b"));
        assert_eq!(
            ordered(&[
                ("vespa", AFTER, &["operator"]),
                ("operator", AFTER, &["crds"]),
                ("crds", AFTER, &[])
            ]),
            ok("crds operator vespa")
        );
        assert_eq!(
            ordered(&[("a", AFTER, &["b"]), ("b", AFTER, &["a"]), ("c", AFTER, &[])]),
            Err("the dependsOn of a, b form a circle".to_owned())
        );
        assert_eq!(
            ordered(&[("a", AFTER, &["a"])]),
            Err("the dependsOn of a form a circle".to_owned())
        );
        assert_eq!(
            ordered(&[("a", AFTER, &["b"])]),
            Err("a depends on b, which is not in the list".to_owned())
        );
        assert_eq!(
            ordered(&[("a", "BeforeControlPlane", &["b"]), ("b", AFTER, &[])]),
            Err("a depends on b, which comes later (when)".to_owned())
        );
        assert_eq!(ordered(&[("a", "BeforeWorkers", &["b"]), ("b", AFTER, &[])]), ok("b a"));
    }
}
