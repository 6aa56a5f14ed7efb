//! What `kubectl instar plan` tells beforehand is what the upgrade then does.

use std::collections::BTreeMap;

use instar_api::{SWAP_HISTORY_ANNOTATION, UpgradePhase};
use instar_e2e::{
    Context, Result,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        commands::{plugin, plugin_exits},
        fixtures::{Shape, core_kind, of_cluster},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        upgrade::{UPGRADE, phase, upgrade},
    },
    wait::wait_for,
};
use kube::{Api, ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::plugin::approval;

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 2), ("md-1", 1)],
};

/// A pool, the version that it gets, and its template.
type Went = (String, String, String);

/// Told first, from the cluster and from a folder; then done, and compared with what the objects say of it.
pub(crate) async fn told_beforehand(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    classic::create_with(&scene, &rows, &SHAPE).await?;
    scene.apply_object(approval()).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let target = rows.version(35);

    // A check may hold it until all of a new cluster is well.
    let plan = wait_for("the plan to wait for the approval alone", UPGRADE, || async {
        let printed = plugin(&scene, &["plan", NAME, "--to", &target, "-o", "json"]).await?;
        let plan: Value =
            serde_json::from_str(&printed.stdout).map_err(|error| format!("{error}: {}", printed.stderr))?;
        match (plan["outcome"].as_str(), printed.code) {
            (Some("Waits"), Some(0)) => Ok(plan),
            seen => Err(format!("{seen:?}: {}", printed.stdout).into()),
        }
    })
    .await?;
    assert!(upgrade(&scene).await?.is_none(), "a plan has begun an upgrade");
    holds(&plan);
    in_words(&scene, &target).await?;
    offline(&scene, &plan, &target).await?;
    blocked(&scene).await?;

    plugin_exits(&scene, &["upgrade", NAME, "--to", &target], 0).await?;
    plugin_exits(
        &scene,
        &["status", NAME, "--wait", "--for", "Held", "--timeout", "5m"],
        0,
    )
    .await?;
    plugin_exits(&scene, &["approve", NAME], 0).await?;
    wait_for("the upgrade to be completed", UPGRADE, || async {
        match upgrade(&scene).await? {
            Some(upgrade) if phase(&upgrade) == UpgradePhase::Completed => Ok(()),
            seen => Err(format!("{:?}", seen.and_then(|upgrade| upgrade.status)).into()),
        }
    })
    .await?;
    ledger.caught_up().await?;
    assert_eq!(predicted(&plan)?, happened(&scene).await?, "{plan:#}");
    machines(&ledger, &rows, &plan)?;
    let templates = ledger.templates_ever(NAME)?;
    let steps = plan["steps"].as_array().context("no steps")?;
    for step in steps.iter().filter(|step| step["type"] == "CreateTemplate") {
        let made = templates.iter().find(|made| step["template"] == *made.name);
        let made = made.with_context(|| format!("{step:#} was not made"))?;
        for change in step["changes"].as_array().context("no values")? {
            let pointer = change["pointer"].as_str().context("no pointer")?;
            assert_eq!(made.spec.pointer(pointer), change.get("after"), "{step:#}");
        }
    }

    let nothing = told(&scene, &["plan", NAME, "--to", &target, "-o", "json"], 0).await?;
    assert_eq!(nothing["outcome"], "NothingToDo", "{nothing:#}");
    Ok(())
}

/// The approval stands at the first step, and nowhere else.
fn holds(plan: &Value) {
    assert_eq!(plan["outcome"], "Waits", "{plan:#}");
    let steps = plan["steps"].as_array();
    let held: Vec<(usize, &Value)> = steps
        .into_iter()
        .flatten()
        .enumerate()
        .flat_map(|(at, step)| {
            step["holds"]
                .as_array()
                .into_iter()
                .flatten()
                .map(move |hold| (at, hold))
        })
        .collect();
    let held: Vec<(usize, &str)> = held
        .into_iter()
        .map(|(at, hold)| (at, hold["reason"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(held, [(0, "ApprovalMissing")], "{plan:#}");
}

async fn in_words(scene: &JourneyContext, target: &str) -> Result<()> {
    let text = plugin_exits(scene, &["plan", NAME, "--to", target], 0).await?.stdout;
    let next = format!(
        "Next: kubectl instar upgrade {NAME} -n {} --to {target}",
        scene.namespace
    );
    assert!(text.contains(&next), "{text}");
    for part in ["Path ", "Steps", "Waits: ", "new template ", "Pools"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    Ok(())
}

/// A folder has all that decides.
async fn offline(scene: &JourneyContext, plan: &Value, target: &str) -> Result<()> {
    let dir = scene.mgmt.run().root().join(format!("{}-plan", scene.namespace));
    let dir = dir.to_str().context("a folder's name")?;
    plugin_exits(scene, &["snapshot", NAME, dir], 0).await?;
    let arguments = ["plan", NAME, "--to", target, "--from-snapshot", dir, "-o", "json"];
    assert_eq!(
        told(scene, &arguments, 0).await?,
        *plan,
        "what a folder says is another plan"
    );
    Ok(())
}

/// What has no release is not gone to, and the reason is told.
async fn blocked(scene: &JourneyContext) -> Result<()> {
    let plan = told(scene, &["plan", NAME, "--to", "v1.99.9", "-o", "json"], 1).await?;
    assert_eq!(plan["outcome"], "Blocked", "{plan:#}");
    assert_eq!(plan["blockedBy"][0]["reason"], "NoTarget", "{plan:#}");
    let nobody = plugin_exits(scene, &["plan", "nobody", "--to", "v1.99.9"], 2).await?;
    assert!(
        nobody.stderr.contains("Cluster nobody was not found"),
        "{}",
        nobody.stderr
    );
    Ok(())
}

/// The swaps of a plan, in their order.
fn predicted(plan: &Value) -> Result<Vec<Went>> {
    let steps = plan["steps"].as_array().context("no steps")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
    steps
        .iter()
        .filter(|step| step["type"] == "Upgrade")
        .map(|step| {
            Ok((
                text(&step["pool"]["name"])?,
                text(&step["to"])?,
                text(&step["template"])?,
            ))
        })
        .collect()
}

/// The swaps that the objects tell of, in their order.
async fn happened(scene: &JourneyContext) -> Result<Vec<Went>> {
    let deployments: Api<DynamicObject> = Api::namespaced_with(
        scene.mgmt.client(),
        &scene.namespace,
        &core_kind("MachineDeployment", "machinedeployments"),
    );
    let mut objects = deployments.list(&of_cluster(NAME)).await?.items;
    objects.push(classic::control_planes(scene).get(NAME).await?);
    let mut swaps = Vec::new();
    for object in objects {
        let history = object.annotations().get(SWAP_HISTORY_ANNOTATION);
        let history: Vec<Value> = serde_json::from_str(history.context("no swap history")?)?;
        for entry in history {
            let text = |pointer: &str| {
                let text = entry.pointer(pointer).and_then(Value::as_str);
                text.map(str::to_owned).context("no text in a swap history")
            };
            let since: jiff::Timestamp = text("/since")?.parse()?;
            swaps.push((
                since,
                (object.name_any(), text("/after/version")?, text("/after/template")?),
            ));
        }
    }
    swaps.sort();
    Ok(swaps.into_iter().map(|(_, went)| went).collect())
}

/// As many machines were made as the plan has.
fn machines(ledger: &Ledger, rows: &Rows, plan: &Value) -> Result<()> {
    let mut expected: BTreeMap<(Pool, String), u64> = BTreeMap::new();
    for step in plan["steps"].as_array().context("no steps")? {
        let machines = step["machines"].as_u64().context("no machines")?;
        if machines == 0 {
            continue;
        }
        let name = step["pool"]["name"].as_str().context("no pool")?;
        let pool = if step["pool"]["kind"] == "KubeadmControlPlane" {
            Pool::ControlPlane
        } else {
            Pool::Workers(name.to_owned())
        };
        let to = step["to"].as_str().context("no version")?;
        *expected.entry((pool, to.to_owned())).or_default() += machines;
    }
    let mut made: BTreeMap<(Pool, String), u64> = BTreeMap::new();
    for ((pool, version), machines) in ledger.machines_by_version(NAME)? {
        if version != rows.version(33) {
            made.insert((pool, version), u64::try_from(machines.len())?);
        }
    }
    assert_eq!(made, expected, "{plan:#}");
    Ok(())
}

async fn told(scene: &JourneyContext, arguments: &[&str], code: i32) -> Result<Value> {
    Ok(serde_json::from_str(
        &plugin_exits(scene, arguments, code).await?.stdout,
    )?)
}
