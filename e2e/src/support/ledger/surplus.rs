//! Machines that Cluster API makes on its own: one more than their owner asks for.

use std::cmp::Ordering;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use super::{Book, Entry, Kind, revision, text};

/// What makes two machines alike. What is not seen of both is not alike.
#[derive(PartialEq)]
struct Likeness<'a> {
    owner: &'a str,
    version: &'a str,
    template: &'a str,
    bootstrap: Value,
}

impl Book {
    /// Whether a machine's owner had as many like it as it asks for when it was made.
    pub(super) fn is_surplus(&self, machine: &Entry) -> bool {
        let Some((likeness, born)) = self.likeness(&machine.last).zip(revision(&machine.first)) else {
            return false;
        };
        let is_beside = |other: &&Entry| {
            other.made_before(machine)
                && !other.left_before(machine)
                && self.likeness(&other.last).is_some_and(|other| other == likeness)
        };
        let beside = self.of(Kind::Machine).filter(is_beside).count();
        let owner = [Kind::MachineSet, Kind::KubeadmControlPlane]
            .into_iter()
            .find_map(|kind| self.entries.get(&(kind, likeness.owner.to_owned())));
        let asked = owner.and_then(|owner| {
            let before = owner.replicas.iter().rfind(|(since, _)| *since < born);
            // What a list showed was so before, for longer than its resourceVersion says.
            before.or_else(|| owner.replicas.first().filter(|_| owner.listed))
        });
        asked.is_some_and(|(_, asked)| beside >= *asked)
    }

    fn likeness<'a>(&'a self, machine: &'a DynamicObject) -> Option<Likeness<'a>> {
        let owner = machine
            .owner_references()
            .iter()
            .find(|owner| owner.controller == Some(true))?;
        let config = text(machine, "/spec/bootstrap/configRef/name")?;
        let config = self
            .of(Kind::KubeadmConfig)
            .find(|entry| entry.first.name_any() == config)?;
        Some(Likeness {
            owner: &owner.uid,
            version: text(machine, "/spec/version")?,
            template: self.source(machine)?,
            bootstrap: bootstrap(config.first.data.get("spec")?),
        })
    }
}

impl Entry {
    /// A listed object has a resourceVersion of long after it was made, so its time counts first.
    fn made_before(&self, other: &Self) -> bool {
        let created = |entry: &Self| entry.first.creation_timestamp();
        let by_time = match (created(self), created(other)) {
            (Some(Time(own)), Some(Time(other))) => own.cmp(&other),
            _ => Ordering::Equal,
        };
        by_time.then_with(|| revision(&self.first).cmp(&revision(&other.first))) == Ordering::Less
    }

    /// Whether its deletion was asked for when another was made.
    fn left_before(&self, other: &Self) -> bool {
        if other.listed {
            let left = self.last.metadata.deletion_timestamp.as_ref();
            let made = other.first.creation_timestamp();
            return left.zip(made.as_ref()).is_some_and(|(left, made)| left <= made);
        }
        self.leaving
            .zip(revision(&other.first))
            .is_some_and(|(left, made)| left <= made)
    }
}

/// What its owner asked for of a KubeadmConfig, whoever of the machines it is for: the first of a control
/// plane has an `initConfiguration`, those that join have a `joinConfiguration`, and into that one the
/// bootstrap provider writes how to find the cluster.
fn bootstrap(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let Some(fields) = spec.as_object_mut() else {
        return spec;
    };
    let configuration = ["initConfiguration", "joinConfiguration"].map(|field| fields.remove(field));
    let mut configuration = configuration
        .into_iter()
        .flatten()
        .find(|configuration| configuration.as_object().is_some_and(|fields| !fields.is_empty()))
        .unwrap_or_default();
    if let Some(fields) = configuration.as_object_mut() {
        for of_one_machine in ["discovery", "controlPlane", "bootstrapTokens", "localAPIEndpoint"] {
            fields.remove(of_one_machine);
        }
    }
    fields.insert("configuration".to_owned(), configuration);
    spec
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A namespace, written event by event.
    #[derive(Default)]
    struct Story {
        book: Book,
        now: u64,
    }

    impl Story {
        fn seen(&mut self, kind: Kind, mut object: Value) {
            self.now += 1;
            object["metadata"]["resourceVersion"] = self.now.to_string().into();
            self.book.seen(kind, serde_json::from_value(object).unwrap(), false);
        }

        /// What the ledger's first lists show: the same objects, with the resourceVersions of their last change.
        fn listed(&mut self, kind: Kind, object: &Value) {
            self.seen(kind, object.clone());
            let key = (kind, object["metadata"]["uid"].as_str().unwrap().to_owned());
            self.book.entries.get_mut(&key).unwrap().listed = true;
        }

        fn owner(&mut self, replicas: usize) {
            self.seen(
                Kind::KubeadmControlPlane,
                json!({ "metadata": { "name": "c", "uid": "c" }, "spec": { "replicas": replicas } }),
            );
        }

        fn machine(&mut self, name: &str, made: &Made) {
            let clone = json!({ "cluster.x-k8s.io/cloned-from-name": made.template });
            self.seen(
                Kind::InfrastructureMachine,
                json!({ "metadata": { "name": name, "uid": name, "annotations": clone } }),
            );
            self.seen(
                Kind::KubeadmConfig,
                json!({ "metadata": { "name": name, "uid": name }, "spec": { "files": made.files } }),
            );
            self.seen(Kind::Machine, Self::object(name, made));
        }

        fn leaves(&mut self, name: &str, made: &Made) {
            let mut object = Self::object(name, made);
            object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            self.seen(Kind::Machine, object);
        }

        fn object(name: &str, made: &Made) -> Value {
            let owner = json!({
                "apiVersion": "v1", "kind": "Owner", "name": made.owner, "uid": made.owner, "controller": true,
            });
            json!({
                "metadata": { "name": name, "uid": name, "ownerReferences": [owner] },
                "spec": {
                    "version": made.version,
                    "bootstrap": { "configRef": { "name": name } },
                    "infrastructureRef": { "name": name },
                },
            })
        }

        fn surplus(&self) -> Vec<String> {
            let machines = self.book.of(Kind::Machine);
            let surplus = machines.filter(|machine| self.book.is_surplus(machine));
            surplus.map(|machine| machine.first.name_any()).collect()
        }
    }

    #[derive(Clone)]
    struct Made {
        owner: &'static str,
        version: &'static str,
        template: &'static str,
        files: &'static [&'static str],
    }

    const ALIKE: Made = Made {
        owner: "c",
        version: "v1.34.0",
        template: "a",
        files: &[],
    };

    #[test]
    fn one_more_of_the_same_is_surplus() {
        let mut story = Story::default();
        story.owner(1);
        story.machine("a", &ALIKE);
        story.machine("b", &ALIKE);
        story.leaves("a", &ALIKE);
        assert_eq!(story.surplus(), ["b"]);
    }

    #[test]
    fn what_is_asked_for_is_not() {
        let mut story = Story::default();
        story.owner(1);
        story.machine("a", &ALIKE);
        story.owner(2);
        story.machine("b", &ALIKE);
        assert!(story.surplus().is_empty());
    }

    #[test]
    fn what_takes_the_place_of_another_is_not() {
        let mut story = Story::default();
        story.owner(1);
        story.machine("a", &ALIKE);
        story.leaves("a", &ALIKE);
        story.machine("b", &ALIKE);
        assert!(story.surplus().is_empty());
    }

    /// A second rollout is one write too many: that is what a journey is to see.
    #[test]
    fn what_another_write_makes_is_not() {
        let others = [
            Made { owner: "d", ..ALIKE },
            Made {
                version: "v1.35.0",
                ..ALIKE
            },
            Made { template: "b", ..ALIKE },
            Made {
                files: &["etcd"],
                ..ALIKE
            },
        ];
        for other in others {
            let mut story = Story::default();
            story.owner(1);
            story.machine("a", &ALIKE);
            story.machine("b", &other);
            assert!(story.surplus().is_empty());
        }
    }

    /// As a KubeadmControlPlane and the bootstrap provider write them: what one machine has more.
    fn control_plane_machine(name: &str, second: u8, configuration: &Value) -> [(Kind, Value); 3] {
        let clone = json!({ "cluster.x-k8s.io/cloned-from-name": ALIKE.template });
        let mut machine = Story::object(name, &ALIKE);
        machine["metadata"]["creationTimestamp"] = format!("2026-01-01T00:00:{second:02}Z").into();
        let mut spec = json!({ "clusterConfiguration": { "etcd": { "local": { "imageTag": "3.5.26-0" } } } });
        spec.as_object_mut()
            .unwrap()
            .extend(configuration.as_object().unwrap().clone());
        [
            (
                Kind::InfrastructureMachine,
                json!({ "metadata": { "name": name, "uid": name, "annotations": clone } }),
            ),
            (
                Kind::KubeadmConfig,
                json!({ "metadata": { "name": name, "uid": name }, "spec": spec }),
            ),
            (Kind::Machine, machine),
        ]
    }

    fn init() -> Value {
        json!({ "initConfiguration": { "nodeRegistration": registration() }, "joinConfiguration": {} })
    }

    fn join() -> Value {
        json!({ "joinConfiguration": { "controlPlane": {}, "nodeRegistration": registration() } })
    }

    /// After the bootstrap provider has seen it.
    fn joined(token: &str) -> Value {
        let mut joined = join();
        joined["joinConfiguration"]["discovery"] =
            json!({ "bootstrapToken": { "token": token, "apiServerEndpoint": "127.0.0.1:20000" } });
        joined
    }

    fn registration() -> Value {
        json!({ "criSocket": "unix:///var/run/containerd/containerd.sock" })
    }

    const KCP: &str = "c";

    fn kcp(replicas: usize) -> Value {
        json!({ "metadata": { "name": KCP, "uid": KCP }, "spec": { "replicas": replicas } })
    }

    /// The cluster runs when the ledger begins. Cluster API, with its cache behind, makes a fourth.
    #[test]
    fn one_more_beside_listed_machines_is_surplus() {
        let mut story = Story::default();
        let running = [("a", 1, init()), ("b", 20, joined("b")), ("d", 40, joined("d"))];
        for (name, second, configuration) in running {
            for (kind, object) in control_plane_machine(name, second, &configuration) {
                story.listed(kind, &object);
            }
        }
        story.listed(Kind::KubeadmControlPlane, &kcp(3));
        for (kind, object) in control_plane_machine("e", 50, &join()) {
            story.seen(kind, object);
        }
        assert_eq!(story.surplus(), ["e"]);
    }

    /// A cluster of one machine: the second one joins, so its KubeadmConfig is another.
    #[test]
    fn one_more_beside_the_first_is_surplus() {
        let mut story = Story::default();
        story.seen(Kind::KubeadmControlPlane, kcp(1));
        for (kind, object) in control_plane_machine("a", 1, &init()) {
            story.seen(kind, object);
        }
        for (kind, object) in control_plane_machine("b", 2, &join()) {
            story.seen(kind, object);
        }
        assert_eq!(story.surplus(), ["b"]);
    }

    /// The Machines are listed first, so the owner's list has a larger resourceVersion than one that is made
    /// meanwhile; and the others may have changed after it was made.
    #[test]
    fn one_more_while_the_ledger_begins_is_surplus() {
        let mut story = Story::default();
        for (kind, object) in control_plane_machine("late", 9, &join()) {
            story.listed(kind, &object);
        }
        for (kind, object) in control_plane_machine("a", 1, &init()) {
            story.listed(kind, &object);
        }
        story.listed(Kind::KubeadmControlPlane, &kcp(1));
        assert_eq!(story.surplus(), ["late"]);
    }

    /// What joins with other settings was asked for by a write to the owner.
    #[test]
    fn another_configuration_is_not() {
        for changed in [
            json!({ "joinConfiguration": { "controlPlane": {}, "nodeRegistration": { "criSocket": "another" } } }),
            json!({ "joinConfiguration": join()["joinConfiguration"], "clusterConfiguration": { "etcd": { "local": { "imageTag": "3.6.5-0" } } } }),
        ] {
            let mut story = Story::default();
            story.listed(Kind::KubeadmControlPlane, &kcp(1));
            for (kind, object) in control_plane_machine("a", 1, &init()) {
                story.listed(kind, &object);
            }
            for (kind, object) in control_plane_machine("b", 2, &changed) {
                story.seen(kind, object);
            }
            assert!(story.surplus().is_empty());
        }
    }

    /// One that was on its way out when the ledger began has left a place.
    #[test]
    fn what_takes_the_place_of_a_listed_one_is_not() {
        let mut story = Story::default();
        let [dev, config, mut machine] = control_plane_machine("a", 1, &init());
        machine.1["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:05Z".into();
        for (kind, object) in [dev, config, machine] {
            story.listed(kind, &object);
        }
        for (kind, object) in control_plane_machine("b", 6, &join()) {
            story.listed(kind, &object);
        }
        story.listed(Kind::KubeadmControlPlane, &kcp(1));
        assert!(story.surplus().is_empty());
    }

    #[test]
    fn of_an_owner_that_was_never_seen_nothing_is() {
        let mut story = Story::default();
        story.machine("a", &ALIKE);
        story.machine("b", &ALIKE);
        assert!(story.surplus().is_empty());
    }
}
