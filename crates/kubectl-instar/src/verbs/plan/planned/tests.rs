//! Plans of recorded clusters (`kubectl instar snapshot`), each with every output, beside those of `status`.
//!
//! `INSTAR_RENEW=1 cargo test --workspace --lib plan::planned` writes the outputs again; read what has changed.
//! `cargo test --workspace --lib plan::planned -- --ignored --nocapture` prints how long the plan of a large Cluster takes.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use instar_controller::ClusterApiVersion;
use instar_report::{
    Plan, PlanOutcome,
    text::{self, Colour, Details, Layout},
};
use serde_json::Value;

use super::Planned;
use crate::verbs::snapshot;

/// Later than all of them.
const NOW: &str = "2026-12-01T12:00:00Z";

/// A folder, where its Cluster is to go, and what comes of it.
const RECORDED: [(&str, &str, PlanOutcome); 5] = [
    ("before-an-upgrade", "v1.35.1", PlanOutcome::Waits),
    ("topology-before-an-upgrade", "v1.35.61", PlanOutcome::CanGo),
    // What was recorded before a snapshot had templates.
    ("waits-for-approval", "v1.34.1", PlanOutcome::Blocked),
    ("taken-back", "v1.33.1-6-restored", PlanOutcome::Blocked),
    // What was recorded before a snapshot had the ClusterClass.
    ("topology-completed", "v1.36.1", PlanOutcome::Unknown),
];

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../report/tests/recorded");
    root.join(name)
}

fn planned(name: &str) -> Planned {
    let objects = snapshot::read(&folder(name)).unwrap();
    let cluster = objects.iter().find(|object| object["kind"] == "Cluster").unwrap();
    let text = |member: &str| cluster["metadata"][member].as_str().unwrap().to_owned();
    let (namespace, cluster) = (text("namespace"), text("name"));
    let now = NOW.parse().unwrap();
    let api = ClusterApiVersion::NotListed;
    Planned::read(objects, (&namespace, &cluster), api, Vec::new(), now).unwrap()
}

fn layout(width: usize, details: Details) -> Layout {
    Layout {
        width,
        colour: Colour::Plain,
        details,
    }
}

/// Writes it where that is asked for, and holds it against what was written.
fn hold(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    if env::var_os("INSTAR_RENEW").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}: INSTAR_RENEW=1 writes it again", path.display());
}

fn json(value: &impl serde::Serialize) -> String {
    // As it is printed: with sorted keys.
    let value: Value = serde_json::to_value(value).unwrap();
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

#[test]
fn each_output_is_what_was_read() {
    for (name, target, outcome) in RECORDED {
        let plan: Plan = planned(name).to(target);
        assert_eq!(plan.outcome, outcome, "{name}: {plan:#?}");
        let folder = folder(name);
        let wide = text::of_plan(&plan, &layout(100, Details::Health));
        let narrow = text::of_plan(&plan, &layout(60, Details::None));
        for line in narrow
            .lines()
            .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
        {
            assert!(line.chars().count() <= 60, "{name}: {line}");
        }
        hold(&folder, "plan.txt", &wide);
        hold(&folder, "plan-narrow.txt", &narrow);
        hold(&folder, "plan.json", &json(&plan));
    }
}

#[test]
fn where_it_could_go_is_told_the_nearest_first() {
    let targets = planned("before-an-upgrade").targets();
    let versions: Vec<&str> = targets.iter().map(|target| &*target.version).collect();
    assert_eq!(versions, ["v1.34.1", "v1.35.1", "v1.36.1"]);
    let folder = folder("before-an-upgrade");
    hold(
        &folder,
        "plan-targets.txt",
        &text::of_targets(&targets, &layout(100, Details::Health)),
    );
    hold(&folder, "plan-targets.json", &json(&targets));
}

#[test]
fn a_topology_cluster_that_is_there_has_nothing_to_do() {
    let plan = planned("topology-before-an-upgrade").to("v1.33.61");
    assert_eq!(plan.outcome, PlanOutcome::NothingToDo, "{plan:#?}");
    assert!(plan.steps.is_empty() && plan.next.is_empty(), "{plan:#?}");
}

#[test]
fn a_topology_cluster_that_goes_there_already_is_under_way() {
    let mut objects = snapshot::read(&folder("topology-before-an-upgrade")).unwrap();
    let mut place = (String::new(), String::new());
    for object in objects.iter_mut().filter(|object| object["kind"] == "Cluster") {
        object["spec"]["topology"]["version"] = "v1.34.61".into();
        let text = |member: &str| object["metadata"][member].as_str().unwrap().to_owned();
        place = (text("namespace"), text("name"));
    }
    let api = ClusterApiVersion::NotListed;
    let now = NOW.parse().unwrap();
    let planned = Planned::read(objects, (&place.0, &place.1), api, Vec::new(), now).unwrap();
    let plan = planned.to("v1.34.61");
    assert_eq!(plan.outcome, PlanOutcome::UnderWay, "{plan:#?}");
    assert!(plan.steps.is_empty() && plan.next.contains("status"), "{plan:#?}");
}

/// A classic Cluster with so many pools of five machines each, and a catalog of thirty versions that it could go to.
fn large(pools: usize) -> Planned {
    let mut objects = snapshot::read(&folder("before-an-upgrade")).unwrap();
    let of = |objects: &[Value], kind: &str| -> Vec<Value> {
        objects
            .iter()
            .filter(|object| object["kind"] == kind)
            .cloned()
            .collect()
    };
    let release = of(&objects, "KubernetesRelease").pop().unwrap();
    let releases = (0..30).map(|at| {
        let text = release.to_string();
        let old = release["spec"]["version"].as_str().unwrap();
        let version = format!("v1.{}.{}", 34 + at / 10, 10 + at % 10);
        let mut row: Value = serde_json::from_str(&text.replace(old, &version)).unwrap();
        row["metadata"]["name"] = version.into();
        row["spec"]["revision"] = 1.into();
        row["spec"]["upgradesFrom"] = Value::Null;
        row
    });
    let more: Vec<Value> = releases.collect();
    let deployment = of(&objects, "MachineDeployment").pop().unwrap();
    let is_own = |object: &Value| {
        object["metadata"]["labels"]["cluster.x-k8s.io/deployment-name"] == deployment["metadata"]["name"]
    };
    let name = deployment["metadata"]["name"].as_str().unwrap().to_owned();
    let machine = of(&objects, "Machine").into_iter().find(is_own).unwrap();
    let set = of(&objects, "MachineSet").into_iter().find(is_own).unwrap();
    objects.retain(|object| !is_own(object) && *object != deployment);
    for at in 0..pools {
        // Its name and all that has it, but for the templates: it shares them.
        let renamed = |object: &Value| {
            let text = object.to_string().replace(&name, &format!("{name}-{at}"));
            let mut renamed: Value = serde_json::from_str(&text).unwrap();
            for member in ["infrastructureRef", "bootstrap"] {
                if let Some(old) = object.pointer(&format!("/spec/template/spec/{member}")) {
                    renamed["spec"]["template"]["spec"][member] = old.clone();
                }
            }
            renamed
        };
        for object in [&deployment, &set] {
            let mut object = renamed(object);
            object["spec"]["replicas"] = MACHINES.into();
            objects.push(object);
        }
        for number in 0..MACHINES {
            let mut machine = renamed(&machine);
            let name = format!("{name}-{at}-{number}");
            machine["status"]["nodeRef"]["name"] = name.clone().into();
            machine["metadata"]["name"] = name.into();
            objects.push(machine);
        }
    }
    objects.extend(more);
    let cluster = of(&objects, "Cluster").pop().unwrap();
    let text = |member: &str| cluster["metadata"][member].as_str().unwrap().to_owned();
    let now = NOW.parse().unwrap();
    let place = (text("namespace"), text("name"));
    Planned::read(
        objects,
        (&place.0, &place.1),
        ClusterApiVersion::NotListed,
        Vec::new(),
        now,
    )
    .unwrap()
}

const MACHINES: u32 = 5;

/// What docs/benchmarks.md has: the last of them.
#[test]
#[ignore = "a measurement"]
fn a_hundred_pools_and_thirty_versions() {
    for pools in [1, 10, 100] {
        let planned = large(pools);
        let began = std::time::Instant::now();
        let one = planned.to("v1.36.19");
        let took = began.elapsed();
        // What is blocked would be planned in no time.
        assert_eq!(one.outcome, PlanOutcome::Waits, "{one:#?}");
        println!("{pools} pools: one plan {took:?}, {} steps", one.steps.len());
        let began = std::time::Instant::now();
        let targets = planned.targets();
        println!("{pools} pools: {} targets {:?}", targets.len(), began.elapsed());
        let machines = targets.iter().map(|target| target.machines).max();
        assert!(
            machines > Some(MACHINES * u32::try_from(pools).unwrap()),
            "{targets:#?}"
        );
    }
}
