//! A management cluster in memory: objects, compare-and-swap, and Cluster API's controllers as far
//! as an upgrade sees them.

pub mod addons;
pub mod api;
pub mod capi;
pub mod catalog;
pub mod machine_pools;
pub mod random;
pub mod sampled;
pub mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use instar_api::{OnClose, PreflightCheck};
use instar_capi::ClusterConfiguration;
use instar_catalog::Catalog;
use instar_domain::KubeVersion;
use instar_planner::{
    Approvals, CanaryRule, CheckOutcome, Cluster, ClusterKind, ComponentImage, Contract, ControlPlane, Direction,
    DrainTimeout, FailureRule, Flavor, Gate, GateState, Initialization, JoinRule, Lifecycle, Machine,
    MachineDeployment, MachinePhase, MachineSet, ManagedBy, MinorRollback, Node, NodeReadiness, Object, Observed,
    PoolId, PoolState, PreflightOutcome, Problem, Replicas, ResourceVersion, Retention, Rollout, Snapshot, SwapEntry,
    SwapHistory, Target, Template, TemplateContent, TemplateRef, Unversioned, UpgradeId, UpgradeSpec,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub const GROUP: &str = "infrastructure.cluster.x-k8s.io";
/// How long nodes have to be Ready.
pub const NODES_READY_FOR: SignedDuration = SignedDuration::from_secs(60);
/// How long a new machine of a control plane may take.
pub const MACHINE_START: SignedDuration = SignedDuration::from_mins(10);

pub const KIND: &str = "TestMachineTemplate";

/// A machine that was ever made: its pool, its version, its image.
pub type Birth = (PoolId, KubeVersion, String);

/// What becomes of the spec of a template that is created.
pub type Webhook = fn(&mut Value);

/// Writes the image in another way.
pub fn normalises(spec: &mut Value) {
    let image = &mut spec["template"]["spec"]["image"];
    *image = json!(image.as_str().unwrap().to_lowercase());
}

/// Adds what nobody set.
pub fn defaults(spec: &mut Value) {
    spec["template"]["spec"]["disk"] = json!({ "size": 20 });
}

/// Both.
pub fn normalises_and_defaults(spec: &mut Value) {
    normalises(spec);
    defaults(spec);
}

#[derive(Clone)]
pub struct World {
    pub now: Timestamp,
    pub cluster: Cluster,
    pub upgrade_spec: UpgradeSpec,
    /// What the API server and its webhooks make of the spec of a template that is created.
    pub webhook: Webhook,
    pub catalog: Arc<Catalog>,
    pub gates: BTreeMap<Gate, GateState>,
    pub on_close: OnClose,
    pub preflight: Vec<CheckOutcome>,
    pub addon_gates: addons::WorldGates,
    pub approvals: Approvals,
    pub canary: Option<CanaryRule>,
    pub minor_rollback: MinorRollback,
    pub failure_rule: FailureRule,
    pub control_plane: ControlPlane,
    pub pools: Vec<Pool>,
    pub sets: Vec<MachineSet>,
    pub machines: Vec<Machine>,
    pub templates: Vec<Template>,
    pub used_elsewhere: BTreeSet<TemplateRef>,
    pub unversioned: Vec<Unversioned>,
    pub machine_pools: Vec<machine_pools::WorldPool>,
    pub births: Vec<Birth>,
    pub minted: Vec<String>,
    /// The paths that were pinned, one after the other.
    pub pinned: Vec<Vec<String>>,
    pub swaps: usize,
    /// How often values were set in a MachinePool's infrastructure, and the version in a MachinePool.
    pub values_set: usize,
    pub pool_swaps: usize,
    /// How often a rollout was stopped.
    pub rollouts_stopped: usize,
    /// Machines of these workers' versions never join.
    pub never_join: BTreeSet<KubeVersion>,
    /// Nodes become Ready late, and cease to be so by chance.
    pub nodes_flap: bool,
    /// The images of which no machine gets a node.
    pub never_boots: BTreeSet<String>,
    /// Which MachineSet made a machine.
    makers: BTreeMap<String, String>,
    counter: u64,
}

#[derive(Debug, Clone)]
pub struct Pool {
    pub object: MachineDeployment,
    pub replicas: u32,
}

/// A gate that is closed, and nobody knows for how long.
pub fn closed(reason: &str) -> GateState {
    GateState::Closed {
        reason: reason.to_owned(),
        until: None,
    }
}

/// A check before the upgrade that holds it.
pub fn held_by_check() -> CheckOutcome {
    CheckOutcome {
        check: PreflightCheck::ClusterAvailable,
        outcome: PreflightOutcome::Fail(Problem {
            kind: "Cluster".to_owned(),
            name: "blue".to_owned(),
            message: "condition Available of Cluster blue is False".to_owned(),
        }),
        snapshot: None,
    }
}

pub fn version(text: &str) -> KubeVersion {
    text.parse().unwrap()
}

pub fn reference(name: &str) -> TemplateRef {
    TemplateRef {
        group: GROUP.to_owned(),
        kind: KIND.to_owned(),
        name: name.to_owned(),
    }
}

impl World {
    /// A cluster that runs, with so many control plane machines and no pool.
    pub fn new(present: &str, replicas: u32, target: Target) -> Self {
        // What etcd's advice asks before v1.34.
        let etcd = if version(present).minor().minor < 33 {
            "3.5.24-0"
        } else {
            "3.5.26-0"
        };
        let mut world = Self {
            now: "2026-11-20T12:00:00Z".parse().unwrap(),
            cluster: Cluster {
                namespace: "default".to_owned(),
                name: "blue".to_owned(),
                uid: "0-1".to_owned(),
                created: None,
                generation: 1,
                lifecycle: Lifecycle::Active,
                kind: ClusterKind::Classic(Box::default()),
                conditions: Vec::new(),
                initialization: Initialization::Done,
                labels: BTreeMap::new(),
            },
            upgrade_spec: UpgradeSpec::new("up", target),
            webhook: |_| (),
            catalog: catalog::catalog(),
            gates: BTreeMap::new(),
            on_close: OnClose::FinishPool,
            preflight: Vec::new(),
            addon_gates: addons::WorldGates::default(),
            approvals: Approvals::default(),
            canary: None,
            minor_rollback: MinorRollback::Refuse,
            failure_rule: FailureRule {
                grace: SignedDuration::ZERO,
                ..FailureRule::default()
            },
            control_plane: ControlPlane {
                object: object("controlplane.cluster.x-k8s.io/v1beta2", "KubeadmControlPlane", "blue"),
                version: version(present),
                labels: BTreeMap::new(),
                observed: vec![version(present)],
                infrastructure: Some(reference("blue-cp")),
                contract: Contract::V1Beta2,
                flavor: Flavor::Kubeadm {
                    cluster_configuration: configuration(json!({
                        "etcd": {"local": {"imageTag": etcd}},
                        "dns": {"imageTag": "v1.11.3"},
                    })),
                    settings: Vec::new(),
                },
                replicas: Some(Replicas {
                    desired: replicas,
                    total: replicas,
                    ready: replicas,
                    up_to_date: replicas,
                }),
                drain_timeout: DrainTimeout::None,
                skipped_addons: BTreeSet::new(),
                rollout_after: None,
            },
            pools: Vec::new(),
            sets: Vec::new(),
            machines: Vec::new(),
            templates: Vec::new(),
            used_elsewhere: BTreeSet::new(),
            unversioned: Vec::new(),
            machine_pools: Vec::new(),
            births: Vec::new(),
            minted: Vec::new(),
            pinned: Vec::new(),
            swaps: 0,
            values_set: 0,
            pool_swaps: 0,
            rollouts_stopped: 0,
            never_join: BTreeSet::new(),
            nodes_flap: false,
            never_boots: BTreeSet::new(),
            makers: BTreeMap::new(),
            counter: 100,
        };
        world.add_template("blue-cp");
        for _ in 0..replicas {
            world.machine(PoolId::ControlPlane, version(present), "blue-cp");
        }
        world.settle();
        world
    }

    /// A pool that runs.
    pub fn add_pool(&mut self, name: &str, at: &KubeVersion, replicas: u32) {
        self.add_pool_new(name, at, replicas);
        self.settle();
    }

    /// A pool whose machines are still to come up.
    pub fn add_pool_new(&mut self, name: &str, at: &KubeVersion, replicas: u32) {
        let template = format!("blue-{name}");
        self.add_template(&template);
        let pool = MachineDeployment {
            object: object("cluster.x-k8s.io/v1beta2", "MachineDeployment", name),
            labels: BTreeMap::new(),
            version: at.clone(),
            infrastructure: reference(&template),
            bootstrap: None,
            rollout: Rollout::Rolling,
            replicas,
            joins: JoinRule::SameMinor,
            held: None,
            rollout_paused: None,
            drain_timeout: DrainTimeout::None,
            rollout_after: None,
        };
        let set = self.next_name(name);
        self.sets.push(MachineSet {
            name: set.clone(),
            pool: Some(name.to_owned()),
            version: at.clone(),
            infrastructure: reference(&template),
            bootstrap: None,
            replicas,
            lifecycle: Lifecycle::Active,
            created: Some(self.now),
            blocked: None,
        });
        for _ in 0..replicas {
            self.machine(PoolId::Workers(name.to_owned()), at.clone(), &template);
            self.made_by(&set);
        }
        self.pools.push(Pool { object: pool, replicas });
    }

    /// A template of the user's.
    pub fn add_template(&mut self, name: &str) {
        self.templates.push(Template {
            api_version: format!("{GROUP}/v1beta1"),
            kind: KIND.to_owned(),
            name: name.to_owned(),
            resource_version: ResourceVersion("1".to_owned()),
            labels: BTreeMap::new(),
            content: Some(Arc::new(TemplateContent {
                spec: json!({"template": {"spec": {"image": "old", "pool": name, "providerID": "test://1"}}}),
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
                owners: Vec::new(),
            })),
            kubelet_arguments: None,
            created: self.now,
            lifecycle: Lifecycle::Active,
        });
    }

    /// What is there runs, and was there before we looked.
    fn settle(&mut self) {
        for machine in &mut self.machines {
            machine.phase = MachinePhase::Running;
            machine.node = joined(&machine.name, &machine.version);
            machine.node_readiness = ready_since(self.now - SignedDuration::from_hours(1));
        }
        self.births.clear();
    }

    pub fn machine(&mut self, pool: PoolId, version: KubeVersion, template: &str) {
        let name = self.next_name("m");
        let source = self.templates.iter().find(|other| other.name == template);
        let image = image(source.unwrap());
        self.births.push((pool.clone(), version.clone(), image));
        self.machines.push(Machine {
            name,
            pool: Some(pool),
            version,
            template: Some(template.to_owned()),
            phase: MachinePhase::Pending,
            node: Node::Absent,
            node_readiness: NodeReadiness::Unknown { message: String::new() },
            lifecycle: Lifecycle::Active,
            created: Some(self.now),
            deletion_waits_for: None,
            up_to_date: instar_planner::UpToDate::Unknown,
            rollout_time: Some(self.now),
            maker: None,
        });
    }

    /// The last machine was made by a MachineSet, whose age is what counts for it.
    pub fn made_by(&mut self, set: &str) {
        let created = self
            .sets
            .iter()
            .find(|other| other.name == set)
            .and_then(|set| set.created);
        if let Some(machine) = self.machines.last_mut() {
            machine.rollout_time = created;
            self.makers.insert(machine.name.clone(), set.to_owned());
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            now: self.now,
            cluster: self.cluster.clone(),
            upgrade_spec: self.upgrade_spec.clone(),
            catalog: Arc::clone(&self.catalog),
            gates: self.gates.clone(),
            on_close: self.on_close,
            preflight: self.preflight.clone(),
            addons: self.addons(),
            approvals: self.approvals.clone(),
            canary: self.canary,
            retention: Retention::default(),
            minor_rollback: self.minor_rollback,
            failure_rule: self.failure_rule.clone(),
            nodes_ready_for: Some(NODES_READY_FOR),
            machine_start: MACHINE_START,
            control_plane: Some(Observed::Read(self.control_plane.clone())),
            pools: self
                .pools
                .iter()
                .map(|pool| {
                    Observed::Read(MachineDeployment {
                        replicas: pool.replicas,
                        ..pool.object.clone()
                    })
                })
                .collect(),
            machine_sets: self.sets.iter().cloned().map(Observed::Read).collect(),
            machine_pools: self.each_pool(|pool| pool.pool.clone()),
            infrastructure_pools: self.each_pool(|pool| pool.infrastructure.clone()),
            machines: self.machines.iter().cloned().map(Observed::Read).collect(),
            templates: self.templates.iter().cloned().map(Observed::Read).collect(),
            used_elsewhere: self.used_elsewhere.clone(),
            unversioned: self.unversioned.clone(),
            unreadable: Vec::new(),
        }
    }

    fn each_pool<T>(&self, part: fn(&machine_pools::WorldPool) -> T) -> Vec<Observed<T>> {
        self.machine_pools
            .iter()
            .map(|pool| Observed::Read(part(pool)))
            .collect()
    }

    pub fn next_name(&mut self, base: &str) -> String {
        self.counter += 1;
        format!("{base}-{}", self.counter)
    }

    /// An edit of an object's spec.
    pub fn edited(counter: &mut u64, object: &mut Object) {
        object.generation += 1;
        Self::touched(counter, object);
    }

    /// Any write to an object.
    pub fn touched(counter: &mut u64, object: &mut Object) {
        *counter += 1;
        object.resource_version = ResourceVersion(counter.to_string());
    }
}

/// What the machines of a template boot.
fn image(template: &Template) -> String {
    let spec = &template.content.as_ref().unwrap().spec;
    spec["template"]["spec"]["image"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// As one swap leaves it, made later than any path was pinned.
pub fn swap_history(upgrade: &str, to: &str, template: &str) -> SwapHistory {
    let state = PoolState {
        version: version(to),
        release: None,
        template: Some(template.to_owned()),
        bootstrap: None,
        etcd: ComponentImage::default(),
        core_dns: ComponentImage::default(),
    };
    SwapHistory::with(
        None,
        SwapEntry {
            upgrade: UpgradeId {
                name: upgrade.to_owned(),
                started: None,
            },
            since: Timestamp::MAX,
            before: state.clone(),
            after: state,
            converged: None,
            direction: Direction::Forward,
        },
    )
}

pub const fn ready_since(since: Timestamp) -> NodeReadiness {
    NodeReadiness::Ready { since }
}

pub fn not_ready() -> NodeReadiness {
    NodeReadiness::NotReady {
        message: "* Node.Ready: no CNI".to_owned(),
        since: None,
    }
}

pub fn joined(name: &str, version: &KubeVersion) -> Node {
    Node::Joined {
        name: format!("node-{name}"),
        version: Some(version.clone()),
    }
}

fn object(api_version: &str, kind: &str, name: &str) -> Object {
    Object {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        resource_version: ResourceVersion("1".to_owned()),
        generation: 1,
        observed_generation: 1,
        lifecycle: Lifecycle::Active,
        managed_by: ManagedBy::User,
        swap_history: None,
        conditions: Vec::new(),
    }
}

/// As an API server would give it to us.
pub fn configuration(object: Value) -> ClusterConfiguration {
    serde_json::from_value(object).unwrap()
}
