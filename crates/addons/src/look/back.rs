//! What add-ons come to at a point of the way back: what was there before is set, and its objects are waited for.

use instar_api::ClusterSide;
use instar_planner::{AddonGate, AddonState, SetAddon, ValueBefore};

use super::{Asked, Found, WantedGate, being_looked_at, closed_to, recent, state, unknown};
use crate::{hand::Target, refusal::refusals_of_addons, subject::ReleaseView, verdict::Gate};

/// What the add-ons of a point come to that are to go back yet, given in this order: each waits for the one before it.
/// `release` is what the cluster goes back to, as expressions see it.
#[must_use]
pub fn look_back(asked: Asked<'_>, to_restore: &[&SetAddon], release: &ReleaseView) -> Found {
    let mut found = Found::default();
    for (place, set) in to_restore.iter().enumerate() {
        if set.id.point() != *asked.point {
            continue;
        }
        let same = to_restore.iter().skip(place + 1).filter(|other| is_same(set, other));
        let earlier = same.map(|other| other.before.clone()).collect();
        let gate = one(asked, set, earlier, release, &mut found);
        let is_open = gate.state == AddonState::Open;
        found.gates.push(gate);
        if !is_open {
            break;
        }
    }
    found
}

/// Whether both set the same: the add-on of another release.
fn is_same(set: &SetAddon, other: &SetAddon) -> bool {
    (&set.id.name, set.id.when) == (&other.id.name, other.id.when)
}

fn one(
    asked: Asked<'_>,
    set: &SetAddon,
    earlier: Vec<ValueBefore>,
    release: &ReleaseView,
    found: &mut Found,
) -> AddonGate {
    let id = set.id.clone();
    let owner = &id.owner;
    let of_release = |why: &str| AddonGate {
        id: id.clone(),
        kind: "KubernetesRelease".to_owned(),
        object: asked.point.release.clone().unwrap_or_default(),
        state: unknown(format!(
            "{owner} {why}, so what was set for the add-on isn't known: create it again as it was, or name the add-on in \
             spec.keepAddons of the rollback"
        )),
    };
    let Some(spec) = asked.release else {
        return of_release("is gone");
    };
    let addon = spec.addons.iter().find(|addon| addon.gate.name == id.name);
    let Some(addon) = addon.filter(|_| refusals_of_addons(&spec.addons).is_empty()) else {
        return of_release("is another one by now");
    };
    let target = Target::of(addon, asked.cluster).and_then(|target| target.back_to(&set.before, earlier));
    let (Ok(gate), Some(target)) = (Gate::of_addon(addon), target) else {
        return of_release("is another one by now");
    };
    let (kind, object) = (gate.observe().kind.clone(), gate.observe().name.clone());
    let reaches_workload = [gate.observe().cluster, target.cluster].contains(&ClusterSide::Workload);
    let begun = asked.history.begun(asked.target, &id);
    let state = if let Some(why) = closed_to(asked.access).filter(|_| reaches_workload) {
        unknown(why)
    } else if begun.is_none() {
        AddonState::Due(None)
    } else {
        let wish = WantedGate {
            id: id.clone(),
            gate,
            release: release.clone(),
            write: Some(target),
            find: None,
            begun,
        };
        let reading = recent(asked, &wish);
        let state = reading.map_or_else(being_looked_at, |reading| state(&wish.gate, reading, begun, asked.now));
        found.wanted.push(wish);
        state
    };
    AddonGate {
        id,
        kind,
        object: object.unwrap_or_default(),
        state,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use instar_api::{GatePoint, KubernetesReleaseSpec, SecretNameTemplate, WorkloadAccess};
    use instar_planner::{AddonId, AddonOwner, AskedPoint, GateBegun, GateHistory};
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        look::{GateReading, GateReadings},
        verdict::{Applies, Verdict},
    };

    fn spec() -> KubernetesReleaseSpec {
        let addon = |name: &str| {
            json!({
                "name": name,
                "when": "AfterControlPlane",
                "observe": { "cluster": "Management", "apiVersion": "v1", "kind": "ConfigMap", "name": name },
                "readyWhen": "self.data.version == written.value",
                "onlyIf": "'cni' in cluster.metadata.labels",
                "generation": "Ignore",
                "settle": "1s",
                "write": { "annotation": { "key": format!("example.org/{name}"), "value": "v2" }, "onRollback": "Restore" },
            })
        };
        serde_json::from_value(json!({ "version": "v1.35.2", "addons": [addon("a"), addon("b")] })).unwrap()
    }

    fn set(name: &str, version: &str, before: ValueBefore) -> SetAddon {
        SetAddon {
            id: AddonId {
                owner: AddonOwner::Release(format!("{version}-1")),
                name: name.to_owned(),
                when: GatePoint::AfterControlPlane,
                version: version.parse().unwrap(),
            },
            before,
        }
    }

    fn value(text: &str) -> ValueBefore {
        ValueBefore::Value(text.into())
    }

    struct Known {
        release: Option<KubernetesReleaseSpec>,
        history: GateHistory,
        readings: GateReadings,
    }

    impl Known {
        fn look(&self, to_restore: &[SetAddon]) -> Found {
            let to_restore: Vec<&SetAddon> = to_restore.iter().collect();
            let asked = Asked {
                point: &AskedPoint {
                    when: GatePoint::AfterControlPlane,
                    version: "v1.35.2".parse().unwrap(),
                    release: Some("v1.35.2-1".to_owned()),
                },
                cluster: ("prod", "blue"),
                release: self.release.as_ref(),
                policies: &[],
                workloads: &[],
                access: &WorkloadAccess::Enabled(SecretNameTemplate::default()),
                target: "",
                history: &self.history,
                readings: &self.readings,
                now: Timestamp::from_second(10).unwrap(),
            };
            let release = ReleaseView {
                name: None,
                version: "v1.34.5".parse().unwrap(),
                revision: None,
            };
            look_back(asked, &to_restore, &release)
        }

        fn begin(&mut self, set: &SetAddon) {
            let begun = GateBegun {
                id: set.id.clone(),
                begun: Timestamp::UNIX_EPOCH,
            };
            self.history.gates.push(begun);
        }
    }

    fn states(found: &Found) -> Vec<(String, AddonState)> {
        let gates = found.gates.iter();
        gates.map(|gate| (gate.id.name.clone(), gate.state.clone())).collect()
    }

    #[test]
    fn each_waits_for_the_one_before_it_and_begins_before_anything_is_set() {
        let mut known = Known {
            release: Some(spec()),
            history: GateHistory::default(),
            readings: GateReadings::new(),
        };
        let to_restore = [
            set("b", "v1.35.2", value("v1")),
            set("a", "v1.35.2", ValueBefore::Absent),
            set("b", "v1.34.5", value("v0")),
        ];
        let found = known.look(&to_restore);
        assert_eq!(states(&found), [("b".to_owned(), AddonState::Due(None))]);
        assert_eq!(found.wanted, []);

        known.begin(&to_restore[0]);
        let mut found = known.look(&to_restore);
        assert!(matches!(found.gates[0].state, AddonState::Closed { .. }));
        let wanted = found.wanted.remove(0);
        let target = wanted.write.as_ref().unwrap();
        assert_eq!(target.wanted().to_string(), "set it to \"v1\"");
        let is_set = |value: &str| target.is_set(&json!({ "metadata": { "annotations": { "example.org/b": value } } }));
        assert!(
            is_set("v1") && is_set("v0") && !is_set("v2"),
            "what is further back fits too"
        );
        let unlabelled = json!({ "metadata": { "name": "blue" } });
        assert_eq!(wanted.applies(&unlabelled, Timestamp::UNIX_EPOCH), Applies::Yes);
        let says = |version: &str| {
            let object = json!({ "metadata": { "name": "b" }, "data": { "version": version } });
            wanted.judge(&[object], &unlabelled, Timestamp::UNIX_EPOCH)
        };
        assert_eq!(says("v1"), Verdict::Ready);
        assert!(matches!(says("v2"), Verdict::InProgress(_)));

        let reading = GateReading {
            of: wanted.clone(),
            at: Timestamp::UNIX_EPOCH,
            verdict: Verdict::Ready,
            ready: Some(Timestamp::UNIX_EPOCH),
            before: None,
        };
        known.readings.insert(wanted.id.clone(), Arc::new(reading));
        let found = known.look(&to_restore);
        let (open, due) = (AddonState::Open, AddonState::Due(None));
        assert_eq!(states(&found), [("b".to_owned(), open), ("a".to_owned(), due)]);

        // What is taken away has no value that anything could tell of.
        known.begin(&to_restore[1]);
        let found = known.look(&to_restore);
        let of_nothing = found.wanted[1].judge(&[], &unlabelled, Timestamp::UNIX_EPOCH);
        assert_eq!(of_nothing, Verdict::Ready);
    }

    #[test]
    fn a_release_that_is_gone_or_another_one_holds_it() {
        let other: KubernetesReleaseSpec = serde_json::from_value(json!({ "version": "v1.35.2" })).unwrap();
        for (release, why) in [(None, "is gone"), (Some(other), "is another one by now")] {
            let known = Known {
                release,
                history: GateHistory::default(),
                readings: GateReadings::new(),
            };
            let found = known.look(&[set("b", "v1.35.2", value("v1"))]);
            let AddonState::Closed { message, .. } = &found.gates[0].state else {
                panic!("{found:?}");
            };
            assert!(
                message.starts_with(&format!("KubernetesRelease v1.35.2-1 {why}, so")),
                "{message}"
            );
        }
    }
}
