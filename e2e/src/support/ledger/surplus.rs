//! Machines that Cluster API makes on its own: one more than their owner asks for.

use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use super::{Book, Entry, Kind, revision, text};

/// What makes two machines alike. What is not seen of both is not alike.
#[derive(PartialEq)]
struct Likeness<'a> {
    owner: &'a str,
    version: &'a str,
    template: &'a str,
    /// As it was made; its controller writes into it later.
    bootstrap: &'a Value,
}

impl Book {
    /// Whether a machine's owner had as many like it as it asks for when it was made.
    pub(super) fn is_surplus(&self, machine: &Entry) -> bool {
        let Some((likeness, born)) = self.likeness(&machine.last).zip(revision(&machine.first)) else {
            return false;
        };
        let is_beside = |other: &&Entry| {
            revision(&other.first).is_some_and(|earlier| earlier < born)
                && other.leaving.is_none_or(|left| left > born)
                && self.likeness(&other.last).is_some_and(|other| other == likeness)
        };
        let beside = self.of(Kind::Machine).filter(is_beside).count();
        let owner = [Kind::MachineSet, Kind::KubeadmControlPlane]
            .into_iter()
            .find_map(|kind| self.entries.get(&(kind, likeness.owner.to_owned())));
        let asked = owner.and_then(|owner| owner.replicas.iter().rfind(|(since, _)| *since < born));
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
            bootstrap: config.first.data.get("spec")?,
        })
    }
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

        fn owner(&mut self, replicas: usize) {
            self.seen(
                Kind::KubeadmControlPlane,
                json!({ "metadata": { "name": "c", "uid": "c" }, "spec": { "replicas": replicas } }),
            );
        }

        fn machine(&mut self, name: &str, made: &Made) {
            let clone = json!({ "cluster.x-k8s.io/cloned-from-name": made.template });
            self.seen(
                Kind::DevMachine,
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

    #[test]
    fn of_an_owner_that_was_never_seen_nothing_is() {
        let mut story = Story::default();
        story.machine("a", &ALIKE);
        story.machine("b", &ALIKE);
        assert!(story.surplus().is_empty());
    }
}
