//! Which upgrade of a topology Cluster can be aborted, and where it ends: the second table of docs/way-back.md, which is what
//! the planner does in these worlds.

use std::{env, fmt::Write, fs, path::Path};

use instar_planner::{Origin, RuntimeHooks, Snapshot, Stage, Target, Waiting, under_way};

use super::{
    cluster, control_plane, control_plane_goes, decide,
    landing::{aborted, asks, at_the_middle, of_upgrade, settles, write},
    topology, workers_go,
};
use crate::world::version;

const BEGIN: &str = "<!-- table of topology Clusters: written by a test of the planner; see CONTRIBUTING.md -->\n";
const END: &str = "<!-- end of the table of topology Clusters -->";
const UPDATE: &str = "INSTAR_UPDATE_DOCS";

struct Situation {
    says: &'static str,
    snapshot: Snapshot,
}

fn situations() -> Vec<Situation> {
    let situation = |says, snapshot| Situation { says, snapshot };
    let mut not_begun = cluster("v1.33.5", "v1.33.5");
    not_begun.upgrade_spec.operation = instar_planner::Operation::Abort;
    not_begun.upgrade_spec.origin = Origin::Upgrade;
    not_begun.upgrade_spec.target = Target::Text("v1.35.5".to_owned());
    let mut rolling = of_upgrade(aborted());
    at_the_middle(&mut rolling);
    control_plane(&mut rolling).observed.push(version("v1.33.5"));
    let mut between = of_upgrade(aborted());
    at_the_middle(&mut between);
    let mut arrived = of_upgrade(aborted());
    control_plane_goes(&mut arrived, "v1.35.5");
    topology(&mut arrived).control_plane_plan.clear();
    let mut without = of_upgrade(between.clone());
    topology(&mut without).hooks = RuntimeHooks::Off("the namespace has not opted in".to_owned());
    let mut again = of_upgrade(between.clone());
    if let Some(set_by) = &mut topology(&mut again).version_set_by {
        set_by.landed = Some(version("v1.34.5"));
    }
    vec![
        situation("the version is not edited yet", not_begun),
        situation("edited over two minors, before the first step", of_upgrade(aborted())),
        situation("the first step is under way", rolling),
        situation("the first step is done, and the second is held", between),
        situation("the control plane is at the target, the workers still to go", arrived),
        situation("the first step is done, in a namespace without Runtime Hooks", without),
        situation(
            "aborted after its first step, and another client has set the target again",
            again,
        ),
    ]
}

/// What happens, to its end.
fn cell(mut snapshot: Snapshot) -> String {
    let mut said = Vec::new();
    for _ in 0..20 {
        let decision = decide(&snapshot);
        if decision.progress.stage == Stage::Complete {
            said.push("`Aborted`".to_owned());
            return format!("yes: {}", said.join(", then "));
        }
        let no = decision
            .waiting
            .iter()
            .find(|waiting| matches!(waiting, Waiting::NoLanding { .. } | Waiting::SetAgain { .. }));
        if let Some(no) = no {
            return format!("no: {no}");
        }
        let stands = control_plane(&mut snapshot).version.clone();
        let written = write(&mut snapshot, &decision);
        if written.starts_with("version ") {
            said.push(format!("`spec.topology.version` becomes {stands}"));
        }
        if !control_plane(&mut snapshot)
            .observed
            .iter()
            .all(|observed| *observed == stands)
        {
            said.push(format!("the control plane comes to {stands}"));
            control_plane(&mut snapshot)
                .observed
                .retain(|observed| *observed == stands);
        } else if topology(&mut snapshot).version != stands {
            asks(&mut snapshot);
        } else if under_way(&snapshot) {
            said.push(format!("the workers go to {stands}"));
            workers_go(&mut snapshot, &stands.to_string());
        } else {
            settles(&mut snapshot);
        }
    }
    panic!("it doesn't end: {said:?}");
}

#[test]
fn the_documentation_has_the_table() {
    let mut table = "| situation | `operation: Abort` |\n| --- | --- |\n".to_owned();
    for Situation { says, snapshot } in situations() {
        writeln!(table, "| {says} | {} |", cell(snapshot)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/way-back.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let current = format!("{head}{BEGIN}{table}{END}{tail}");
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, &current).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        current,
        "docs/way-back.md is stale: run this test with {UPDATE}=1"
    );
}
