//! What is kept of a Machine. A fleet has more of them than of all other objects, so it is the few fields that a
//! decision reads, and nothing of the object itself.

use std::sync::Arc;

use instar_capi::{Machine, NodeReadyCondition};
use instar_planner::{Lifecycle, MachinePhase, NodeReadiness, PoolId, UpToDate};
use instar_watch::{Cache, Entry, Guarded, Kept, Key, Row, SharedTexts, Unreadable};
use jiff::Timestamp;

use super::{
    Caches,
    kept::{Cached, Group, lifecycle, of_cluster},
};
use crate::rbac::Watched;

const CONTROL_PLANE_LABEL: &str = "cluster.x-k8s.io/control-plane";
pub(crate) const DEPLOYMENT_LABEL: &str = "cluster.x-k8s.io/deployment-name";
const SET_LABEL: &str = "cluster.x-k8s.io/set-name";
/// Of a MachinePool.
const POOL_LABEL: &str = "cluster.x-k8s.io/pool-name";

/// A Machine; its key has its name.
#[derive(Debug)]
pub(crate) struct KeptMachine {
    /// What it has in common with others of its pool: those have the same text in the same place.
    shared: Arc<str>,
    /// What it has alone.
    own: Box<str>,
    pub(crate) phase: MachinePhase,
    pub(crate) lifecycle: Lifecycle,
    node_is: NodeIs,
    /// Of a Machine of a control plane that has no node yet; of any other it isn't kept.
    pub(crate) up_to_date: UpToDate,
    /// Since when its node is ready, or isn't, in seconds of Unix time; 0 where that isn't known.
    node_since: u32,
}

/// What Cluster API says of a node. It stands beside the phase, where a [`KeptMachine`] has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeIs {
    Ready,
    NotReady,
    Unknown,
}

/// What a Machine says as text; where it says nothing, an empty one. They stand one after the other, [`Text::END`]
/// behind each: one allocation and no pointers between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Cluster,
    Pool,
    Maker,
    Version,
    Node,
    Kubelet,
    Deletion,
    Created,
    /// Why its node isn't ready; of one without a node, why its infrastructure isn't.
    Unready,
}

impl Text {
    /// What Machines of a pool have in common.
    const SHARED: [Self; 5] = [Self::Cluster, Self::Pool, Self::Maker, Self::Version, Self::Kubelet];

    /// What each has alone.
    const OWN: [Self; 4] = [Self::Node, Self::Deletion, Self::Created, Self::Unready];

    /// How much is kept of what Cluster API says. What a deletion waits for names Pods, and a drain may wait for many.
    const LONGEST: usize = 512;

    /// No name has it, and no version either that can be read.
    const END: char = '\n';

    /// In the place of a MachineDeployment's name, which begins with a letter or a digit.
    const CONTROL_PLANE: &str = "/";
}

impl KeptMachine {
    fn text(&self, which: Text) -> &str {
        let (texts, places) = match which {
            Text::Cluster | Text::Pool | Text::Maker | Text::Version | Text::Kubelet => {
                (&*self.shared, &Text::SHARED[..])
            }
            Text::Node | Text::Deletion | Text::Created | Text::Unready => (&*self.own, &Text::OWN[..]),
        };
        let mut texts = places.iter().zip(texts.split(Text::END));
        texts.find(|(place, _)| **place == which).map_or("", |(_, text)| text)
    }

    /// Nothing is empty: where it says nothing there is none.
    fn some(&self, which: Text) -> Option<&str> {
        Some(self.text(which)).filter(|text| !text.is_empty())
    }

    /// None of a pool is one that its user made alone, or in a MachinePool or MachineSet.
    pub(crate) fn pool(&self) -> Option<PoolId> {
        let name = self.some(Text::Pool)?;
        Some(if name == Text::CONTROL_PLANE {
            PoolId::ControlPlane
        } else {
            PoolId::Workers(name.to_owned())
        })
    }

    /// The MachineSet or the MachinePool that makes it.
    pub(crate) fn maker(&self) -> Option<&str> {
        self.some(Text::Maker)
    }

    /// As it is written; where nothing is, what its kubelet says, since the skew to that one counts all the same.
    pub(crate) fn version(&self) -> Option<&str> {
        self.some(Text::Version).or_else(|| self.some(Text::Kubelet))
    }

    /// What its deletion waits for, in Cluster API's words.
    pub(crate) fn deletion_waits_for(&self) -> Option<&str> {
        self.some(Text::Deletion)
    }

    /// When it was made; of a worker it is kept until its node has joined.
    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.some(Text::Created)?.parse().ok()
    }

    /// Whether its node is ready.
    pub(crate) fn node_readiness(&self) -> NodeReadiness {
        let message = || self.text(Text::Unready).to_owned();
        // Seconds of 32 bits are times.
        let at = |seconds: u32| Timestamp::from_second(seconds.into()).ok();
        match self.node_is {
            NodeIs::Ready => NodeReadiness::Ready {
                since: at(self.node_since).unwrap_or(Timestamp::MAX),
            },
            NodeIs::NotReady => NodeReadiness::NotReady {
                message: message(),
                since: Some(self.node_since).filter(|since| *since > 0).and_then(at),
            },
            NodeIs::Unknown => NodeReadiness::Unknown { message: message() },
        }
    }

    /// Its node's name, and the version as the kubelet says it.
    pub(crate) fn node(&self) -> Option<(&str, &str)> {
        Some((self.some(Text::Node)?, self.text(Text::Kubelet)))
    }
}

impl From<Machine> for KeptMachine {
    fn from(machine: Machine) -> Self {
        let lifecycle = lifecycle(&machine, false);
        let labels = machine.metadata.labels.unwrap_or_default();
        let status = machine.status.unwrap_or_default();
        let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
        let deletion = status.deletion_waits_for().filter(|_| lifecycle == Lifecycle::Deleting);
        let node = status.node_ref.as_ref().map(|node| &*node.name).unwrap_or_default();
        let is_kept = node.is_empty() || labels.contains_key(CONTROL_PLANE_LABEL);
        let created = machine.metadata.creation_timestamp.filter(|_| is_kept);
        let created = created.map(|time| time.0.to_string()).unwrap_or_default();
        let (node_is, node_since) = node_is(status.conditions.node_ready.as_ref());
        let unready = match status.conditions.node_ready.as_ref() {
            // Before it has a node, Cluster API waits for its infrastructure alone.
            _ if node.is_empty() => &*status.conditions.infrastructure,
            Some(condition) if node_is != NodeIs::Ready => &*condition.message,
            Some(_) | None => "",
        };
        let never_joined = node.is_empty() && labels.contains_key(CONTROL_PLANE_LABEL);
        let up_to_date = match status.conditions.up_to_date.as_str() {
            "True" if never_joined => UpToDate::Yes,
            "False" if never_joined => UpToDate::No,
            _ => UpToDate::Unknown,
        };
        let texts = |which: &[Text]| {
            let mut texts = String::new();
            for which in which {
                let text = match which {
                    Text::Cluster => &machine.spec.cluster_name,
                    Text::Pool if labels.contains_key(CONTROL_PLANE_LABEL) => Text::CONTROL_PLANE,
                    Text::Pool => label(DEPLOYMENT_LABEL),
                    Text::Maker if labels.contains_key(POOL_LABEL) => label(POOL_LABEL),
                    Text::Maker => label(SET_LABEL),
                    Text::Version => &machine.spec.version,
                    Text::Node => node,
                    Text::Kubelet => &status.node_info.kubelet_version,
                    Text::Deletion => deletion.unwrap_or_default(),
                    Text::Created => &created,
                    Text::Unready => unready,
                };
                texts.extend(
                    text.chars()
                        .take(Text::LONGEST)
                        .map(|character| if character == Text::END { ' ' } else { character }),
                );
                texts.push(Text::END);
            }
            texts
        };
        Self {
            shared: texts(&Text::SHARED).into(),
            own: texts(&Text::OWN).into(),
            phase: phase(&status.phase),
            lifecycle,
            node_is,
            up_to_date,
            node_since,
        }
    }
}

/// A time is there wherever Cluster API writes the condition; without one it isn't known since when the node is ready.
fn node_is(condition: Option<&NodeReadyCondition>) -> (NodeIs, u32) {
    let Some(condition) = condition else {
        return (NodeIs::Unknown, 0);
    };
    let since = condition.last_transition_time.as_ref();
    let since = since.and_then(|time| u32::try_from(time.0.as_second()).ok());
    match (condition.status.as_str(), since) {
        ("True", Some(since)) => (NodeIs::Ready, since),
        ("False", since) => (NodeIs::NotReady, since.unwrap_or_default()),
        (_, _) => (NodeIs::Unknown, 0),
    }
}

impl Cached for Machine {
    const WATCHED: Watched = Watched::Machines;

    type Kept = KeptMachine;

    fn cache(caches: &Caches) -> &Arc<Cache<KeptMachine>> {
        &caches.machines
    }
}

impl Entry for KeptMachine {
    type Group = Group;

    fn groups(&self, key: &Key) -> Vec<Group> {
        vec![of_cluster(key, self.text(Text::Cluster))]
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        <Machine as Cached>::groups_of_unreadable(key, unreadable)
    }

    fn is_same(&self, other: &Self) -> bool {
        let states = |of: &Self| (of.phase, of.lifecycle, of.node_is, of.up_to_date, of.node_since);
        (&self.shared, &self.own) == (&other.shared, &other.own) && states(self) == states(other)
    }

    /// Most Machines of a pool are alike but for their nodes.
    fn share(&mut self, texts: &SharedTexts) {
        texts.share(&mut self.shared);
    }

    fn heap_bytes(&self) -> usize {
        self.own.len()
    }
}

impl Kept for KeptMachine {
    type Object = Guarded<Machine>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, Self::from)
    }
}

fn phase(text: &str) -> MachinePhase {
    match text {
        "Pending" => MachinePhase::Pending,
        "Provisioning" => MachinePhase::Provisioning,
        "Provisioned" => MachinePhase::Provisioned,
        "Running" => MachinePhase::Running,
        "Updating" => MachinePhase::Updating,
        "Deleting" | "Deleted" => MachinePhase::Deleting,
        "Failed" => MachinePhase::Failed,
        _ => MachinePhase::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kept(labels: &Value, version: &str, status: &Value) -> KeptMachine {
        let object = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
            "metadata": { "name": "m", "namespace": "n", "labels": labels },
            "spec": { "clusterName": "c", "version": version },
            "status": status,
        });
        KeptMachine::from(serde_json::from_value::<Machine>(object).unwrap())
    }

    #[test]
    fn each_text_is_found_again() {
        let labels = json!({ DEPLOYMENT_LABEL: "md-0", SET_LABEL: "md-0-x" });
        let status = json!({
            "phase": "Running", "nodeRef": { "name": "node-1" }, "nodeInfo": { "kubeletVersion": "v1.33.5+k0s" },
        });
        let machine = kept(&labels, "v1.33.5", &status);
        assert_eq!(
            machine.groups(&Key::new("n", "m")),
            [Group::Cluster(Key::new("n", "c"))]
        );
        assert_eq!(machine.pool(), Some(PoolId::Workers("md-0".to_owned())));
        assert_eq!(machine.maker(), Some("md-0-x"));
        assert_eq!(machine.version(), Some("v1.33.5"));
        assert_eq!(machine.node(), Some(("node-1", "v1.33.5+k0s")));
        assert_eq!(
            (machine.phase, machine.lifecycle),
            (MachinePhase::Running, Lifecycle::Active)
        );
    }

    /// A fleet has many Machines, and few of them go at any moment.
    #[test]
    fn what_a_deletion_waits_for_is_kept_while_it_goes_on() {
        let message = "Drain not completed yet (started at 2026-11-20T12:00:00Z):\n* Pod default/web-0: cannot evict pod as it would violate the pod's disruption budget. The disruption budget web needs 1 healthy pods and has 1 currently";
        let condition = json!({ "type": "Deleting", "status": "True", "reason": "DrainingNode", "message": message });
        let object = |deleted: bool| {
            let mut object = json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
                "metadata": { "name": "m", "namespace": "n" },
                "spec": { "clusterName": "c" }, "status": { "conditions": [condition] },
            });
            if deleted {
                object["metadata"]["deletionTimestamp"] = json!("2026-11-20T12:00:00Z");
            }
            KeptMachine::from(serde_json::from_value::<Machine>(object).unwrap())
        };
        assert_eq!(
            object(true).deletion_waits_for().map(str::to_owned),
            Some(message.replace('\n', " "))
        );
        assert_eq!(object(false).deletion_waits_for(), None);
    }

    #[test]
    fn what_a_machine_pool_makes_was_not_made_alone() {
        let machine = kept(&json!({ POOL_LABEL: "mp" }), "v1.33.5", &json!({}));
        assert_eq!((machine.pool(), machine.maker()), (None, Some("mp")));
    }

    #[test]
    fn when_a_worker_was_made_is_kept_until_its_node_has_joined() {
        let of = |labels: &Value, status: &Value| {
            let object = json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
                "metadata": { "name": "m", "namespace": "n", "creationTimestamp": "2026-11-20T12:00:00Z", "labels": labels },
                "spec": { "clusterName": "c" }, "status": status,
            });
            KeptMachine::from(serde_json::from_value::<Machine>(object).unwrap())
        };
        let object = |status: &Value| of(&json!({}), status);
        let made = "2026-11-20T12:00:00Z".parse().unwrap();
        assert_eq!(object(&json!({ "phase": "Provisioned" })).created(), Some(made));
        assert_eq!(object(&json!({ "nodeRef": { "name": "n" } })).created(), None);
        // What a restart of a control plane compares.
        let control_plane = of(
            &json!({ CONTROL_PLANE_LABEL: "" }),
            &json!({ "nodeRef": { "name": "n" } }),
        );
        assert_eq!(control_plane.created(), Some(made));
    }

    #[test]
    fn of_its_node_it_is_kept_whether_it_is_ready_and_why_not() {
        let of = |status: &str, node: &str, time: Option<&str>| {
            let mut condition = json!({ "type": "NodeReady", "status": status, "message": "* Node.Ready: no CNI" });
            if let Some(time) = time {
                condition["lastTransitionTime"] = json!(time);
            }
            let status = json!({ "nodeRef": { "name": node }, "conditions": [condition] });
            kept(&json!({}), "v1.33.5", &status).node_readiness()
        };
        let time = "2026-11-20T12:00:00Z";
        let message = || "* Node.Ready: no CNI".to_owned();
        let since = time.parse().unwrap();
        assert_eq!(of("True", "n", Some(time)), NodeReadiness::Ready { since });
        assert_eq!(of("True", "n", None), NodeReadiness::Unknown { message: message() });
        assert_eq!(
            of("False", "n", Some(time)),
            NodeReadiness::NotReady {
                message: message(),
                since: Some(since)
            }
        );
        assert_eq!(
            of("False", "n", None),
            NodeReadiness::NotReady {
                message: message(),
                since: None
            }
        );
        assert_eq!(
            of("Unknown", "n", Some(time)),
            NodeReadiness::Unknown { message: message() }
        );
        let nothing = NodeReadiness::Unknown { message: String::new() };
        assert_eq!(of("Unknown", "", Some(time)), nothing);
        let infrastructure =
            json!({ "type": "InfrastructureReady", "status": "False", "message": "* VM: no template" });
        assert_eq!(
            kept(&json!({}), "v1.33.5", &json!({ "conditions": [infrastructure] })).node_readiness(),
            NodeReadiness::Unknown {
                message: "* VM: no template".to_owned()
            }
        );
        assert_eq!(kept(&json!({}), "v1.33.5", &json!({})).node_readiness(), nothing);
        assert!(size_of::<KeptMachine>() <= 40, "{}", size_of::<KeptMachine>());
    }

    #[test]
    fn whether_a_control_planes_machine_is_up_to_date_is_kept_until_it_has_joined() {
        let of = |labels: &Value, node: &str, said: &str| {
            let conditions = json!([{ "type": "UpToDate", "status": said }]);
            let status = json!({ "nodeRef": { "name": node }, "conditions": conditions });
            kept(labels, "v1.33.5", &status).up_to_date
        };
        let control_plane = json!({ CONTROL_PLANE_LABEL: "" });
        assert_eq!(of(&control_plane, "", "False"), UpToDate::No);
        assert_eq!(of(&control_plane, "", "True"), UpToDate::Yes);
        assert_eq!(of(&control_plane, "", "Unknown"), UpToDate::Unknown);
        assert_eq!(of(&control_plane, "n", "False"), UpToDate::Unknown);
        assert_eq!(of(&json!({}), "", "False"), UpToDate::Unknown);
    }

    #[test]
    fn what_is_not_said_is_absent() {
        let machine = kept(&json!({}), "", &json!({}));
        assert_eq!(
            (machine.pool(), machine.maker(), machine.version(), machine.node()),
            (None, None, None, None)
        );
        assert_eq!(machine.phase, MachinePhase::Unknown);
    }

    #[test]
    fn without_a_version_it_has_its_kubelets() {
        let status = json!({ "nodeRef": { "name": "n" }, "nodeInfo": { "kubeletVersion": "v1.33.5" } });
        assert_eq!(kept(&json!({}), "", &status).version(), Some("v1.33.5"));
    }

    #[test]
    fn a_control_planes_has_no_name_to_mistake() {
        let of_control_plane = kept(
            &json!({ CONTROL_PLANE_LABEL: "", DEPLOYMENT_LABEL: "x" }),
            "v1.33.5",
            &json!({}),
        );
        assert_eq!(of_control_plane.pool(), Some(PoolId::ControlPlane));
        // Whatever a kubelet says, it is in its own place.
        let status = json!({ "nodeRef": { "name": "n" }, "nodeInfo": { "kubeletVersion": "v1\n33" } });
        assert_eq!(kept(&json!({}), "v1\nx", &status).node(), Some(("n", "v1 33")));
    }
}
