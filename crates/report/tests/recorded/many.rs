//! A Cluster of 500 machines, made of a recorded one: what a recording of so many would say, its Machines told apart by their
//! names and times alone.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::read;

/// Its folder has outputs alone.
pub(crate) const FOLDER: &str = "five-hundred-machines";

/// What it is made of: the workers go, one is on its way, one is old still.
const RECORDED: &str = "workers-go";
const DONE: &str = "md-0-fx5wp-qnhgg";
const ON_ITS_WAY: &str = "md-0-fx5wp-ll8mr";
const OLD: &str = "md-0-qxchv-92j4z";

/// As long as teams name theirs.
const POOL: &str = "a-pool-of-a-team-with-a-long-name-in-a-far-away-region-md";

/// So many machines a record lists of a pool, and of all.
const OF_POOL: usize = 32;
const OF_ALL: usize = 256;

/// What a machine is at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    /// Its node was Ready, and isn't.
    NotReady,
    OnItsWay,
    Failed,
    Old,
}

impl State {
    const fn phase(self) -> &'static str {
        match self {
            Self::Done | Self::NotReady => "Running",
            Self::OnItsWay => "Upgrading",
            Self::Failed => "Failed",
            Self::Old => "Pending",
        }
    }

    const fn recorded(self) -> &'static str {
        match self {
            Self::Done | Self::NotReady => DONE,
            Self::OnItsWay | Self::Failed => ON_ITS_WAY,
            Self::Old => OLD,
        }
    }
}

/// The machines of each of five pools: the first is done, the second goes, the others are to come.
fn states(pool: usize) -> Vec<State> {
    let repeated = |state, count| std::iter::repeat_n(state, count);
    match pool {
        0 => repeated(State::Done, 99).chain([State::NotReady]).collect(),
        1 => repeated(State::Done, 60)
            .chain(repeated(State::OnItsWay, 3))
            .chain(repeated(State::Failed, 2))
            .chain(repeated(State::Old, 35))
            .collect(),
        4 => vec![State::Old; 99],
        _ => vec![State::Old; 100],
    }
}

struct Pool {
    name: String,
    /// With their names.
    machines: Vec<(String, State)>,
}

impl Pool {
    fn count(&self, phase: &str) -> usize {
        self.machines.iter().filter(|(_, state)| state.phase() == phase).count()
    }

    /// Whether it was pointed at the new release.
    fn is_swapped(&self) -> bool {
        self.machines.len() != self.count("Pending")
    }
}

/// The Cluster and all that belongs to it.
pub(crate) fn objects() -> Vec<Value> {
    let recorded = read(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/recorded")
            .join(RECORDED),
    );
    let named = |name: &str| {
        let mut all = recorded.iter();
        all.find(|object| object["metadata"]["name"] == name && object["kind"] == "Machine")
            .unwrap()
    };
    let pools: Vec<Pool> = (0..5)
        .map(|at| {
            let name = format!("{POOL}-{at}");
            let machines = states(at).into_iter().enumerate();
            let machines = machines.map(|(number, state)| (format!("{name}-x7k2p-{number:05}"), state));
            Pool {
                machines: machines.collect(),
                name,
            }
        })
        .collect();
    let is_worker = |object: &Value| {
        let labels = &object["metadata"]["labels"];
        object["kind"] == "Machine" && labels["cluster.x-k8s.io/control-plane"].is_null()
    };
    let mut objects: Vec<Value> = recorded
        .iter()
        .filter(|object| !is_worker(object) && object["kind"] != "MachineDeployment" && object["kind"] != "MachineSet")
        .cloned()
        .collect();
    let deployment = recorded
        .iter()
        .find(|object| object["kind"] == "MachineDeployment")
        .unwrap();
    let mut made = 0;
    for pool in &pools {
        let mut own = deployment.clone();
        own["metadata"]["name"] = json!(pool.name);
        own["spec"]["replicas"] = json!(pool.machines.len());
        if !pool.is_swapped() {
            own["spec"]["template"]["spec"]["version"] = named(OLD)["spec"]["version"].clone();
        }
        objects.push(own);
        for (name, state) in &pool.machines {
            let turn = if *state == State::Old {
                0
            } else {
                made += 1;
                made
            };
            objects.push(machine(named(state.recorded()), pool, name, *state, turn));
        }
    }
    let upgrade = objects.iter_mut().find(|object| object["kind"] == "ClusterUpgrade");
    record(upgrade.unwrap(), &pools);
    objects
}

/// One as the recorded one is, the `turn`th that the upgrade has made.
fn machine(recorded: &Value, pool: &Pool, name: &str, state: State, turn: i64) -> Value {
    let mut machine = later(recorded, SignedDuration::from_secs(20 * turn));
    machine["metadata"]["name"] = json!(name);
    machine["metadata"]["labels"]["cluster.x-k8s.io/deployment-name"] = json!(pool.name);
    let status = &mut machine["status"];
    if status["nodeRef"].is_object() {
        status["nodeRef"]["name"] = json!(format!("{name}.example.test"));
    }
    let conditions = status["conditions"].as_array_mut().unwrap();
    for condition in conditions {
        let kind = condition["type"].as_str().unwrap().to_owned();
        match (state, kind.as_str()) {
            (State::NotReady, "NodeReady") => {
                condition["status"] = json!("Unknown");
                condition["message"] = json!("Node.Ready: Kubelet stopped posting node status.");
            }
            (State::Failed, "NodeReady") => {
                condition["message"] = json!("Waiting for DevMachine to report spec.providerID");
            }
            // Its pool's spec is still that of before.
            (State::Old, "UpToDate") if !pool.is_swapped() => condition["status"] = json!("True"),
            _ => {}
        }
    }
    if state == State::Failed {
        status["phase"] = json!("Failed");
    }
    machine
}

/// Each time in it, later by this.
fn later(value: &Value, by: SignedDuration) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), later(value, by)))
                .collect(),
        ),
        Value::Array(items) => items.iter().map(|item| later(item, by)).collect(),
        Value::String(text) => text
            .parse::<Timestamp>()
            .map_or_else(|_| value.clone(), |time| json!((time + by).to_string())),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// What the controller says of it: all counts, and some of the machines.
fn record(upgrade: &mut Value, pools: &[Pool]) {
    let status = &mut upgrade["status"];
    let (mut recorded, mut left) = (vec![status["pools"][0].clone()], OF_ALL - 1);
    for pool in pools {
        recorded.push(json!({
            "name": pool.name,
            "version": if pool.is_swapped() { "v1.34.1" } else { "v1.33.1" },
            "machines": pool.machines.len(),
            "converged": pool.count("Running"),
            "upgrading": pool.count("Upgrading"),
            "failed": pool.count("Failed"),
        }));
    }
    // What isn't there yet, of any pool, comes first: as the controller writes it.
    let mut listed: Vec<Vec<Value>> = vec![Vec::new(); pools.len()];
    for is_there in [false, true] {
        for (pool, listed) in pools.iter().zip(&mut listed) {
            let mut machines: Vec<&(String, State)> = pool.machines.iter().collect();
            machines.sort_by_key(|(name, state)| (*state != State::Failed, *state != State::OnItsWay, name.clone()));
            let wanted = machines
                .into_iter()
                .filter(|(_, state)| (state.phase() == "Running") == is_there);
            let room = (OF_POOL - listed.len()).min(left);
            let before = listed.len();
            listed.extend(
                wanted
                    .take(room)
                    .map(|(name, state)| json!({ "name": name, "phase": state.phase() })),
            );
            left -= listed.len() - before;
        }
    }
    for ((pool, listed), recorded) in pools.iter().zip(listed).zip(&mut recorded[1..]) {
        recorded["unlisted"] = json!(pool.machines.len() - listed.len());
        recorded["machineDetails"] = Value::Array(listed);
    }
    let of = |phase| pools.iter().map(|pool| pool.count(phase)).sum::<usize>();
    let all: usize = pools.iter().map(|pool| pool.machines.len()).sum();
    status["pools"] = Value::Array(recorded);
    status["poolCount"] = json!(pools.len() + 1);
    status["machines"] = json!(format!("{}/{}", of("Running") + 1, all + 1));
    let going = &pools[1];
    let own = format!("MachineDeployment {}", going.name);
    let renamed = status.to_string().replace("MachineDeployment md-0", &own);
    *status = serde_json::from_str(&renamed).unwrap();
    let message = format!(
        "MachineDeployment {} goes to v1.34.1: {} of {} machines are there",
        going.name,
        going.count("Running"),
        going.machines.len()
    );
    let rows = status["health"].as_array_mut().unwrap();
    rows.truncate(2);
    rows[0]["name"] = json!(going.name);
    rows[0]["message"] = json!(message);
    let failed = going.machines.iter().find(|(_, state)| *state == State::Failed);
    let (name, _) = failed.unwrap();
    rows[1]["name"] = json!(name);
    rows[1]["count"] = json!(of("Failed") + of("Upgrading"));
    rows[1]["message"] = json!(format!(
        "Machine {name} is Failed, and its node isn't ready (and {} more)",
        of("Failed") + of("Upgrading") - 1
    ));
}
