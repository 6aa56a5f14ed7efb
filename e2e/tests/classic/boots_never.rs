//! A control plane whose new machine never boots, of one machine and of three: taken back, and forward to another release
//! without a hand on any Machine.

use futures::future::try_join_all;
use instar_api::{SWAP_HISTORY_ANNOTATION, UpgradePhase};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        fixtures::Shape,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        upgrade::UPGRADE,
    },
    wait::wait_for,
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    by_hand::records,
    way_back::{ended, machines, never_boots, rollback, upgrade},
};

const ONE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1)],
};
const THREE: Shape<'_> = Shape {
    control_plane: 3,
    pools: &[("md-0", 1)],
};

/// The releases whose control plane never boots: one is taken back, the other makes way for a good one.
const TAKEN_BACK: u8 = 6;
const MAKES_WAY: u8 = 5;

pub(crate) async fn goes_back_and_then_forward(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let bad = [TAKEN_BACK, MAKES_WAY].map(|revision| never_boots(&rows, revision, "ControlPlane"));
    for row in rows.all().into_iter().chain(bad) {
        scene.apply_object(row).await?;
    }
    let another = scene.another_namespace([].into()).await?;
    let scenes = [(scene.clone(), ONE), (scene.within(&another), THREE)];
    try_join_all(scenes.map(|(scene, shape)| goes(scene, &rows, shape))).await?;
    Ok(())
}

async fn goes(scene: JourneyContext, rows: &Rows, shape: Shape<'static>) -> Result<()> {
    classic::create_with(&scene, rows, &shape).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let (old, new) = (rows.version(33), rows.version(34));
    let made = |version: &str| -> Result<usize> {
        let made = ledger.machines_by_version(NAME)?;
        Ok(made.get(&(Pool::ControlPlane, version.to_owned())).map_or(0, Vec::len))
    };
    let first_is_made = |count: usize| async move {
        wait_for("a new machine of the control plane", UPGRADE, || async {
            match made(&rows.version(34))? {
                seen if seen == count => Ok(()),
                seen => Err(format!("{seen} are made").into()),
            }
        })
        .await
    };
    let before = machines(&scene).await?;
    // One machine alone is taken back in the journey `classic-way-back`.
    let mut never_booted = 0;
    if shape.control_plane == THREE.control_plane {
        say("three machines, the first new one never boots, and it is taken back");
        upgrade(&scene, "taken-back", &rows.name(34, TAKEN_BACK)).await?;
        first_is_made(1).await?;
        rollback(&scene, "back", "Rollback", "taken-back").await?;
        ended(&scene, "back", UpgradePhase::Completed).await?;
        ended(&scene, "taken-back", UpgradePhase::RolledBack).await?;
        assert_eq!(machines(&scene).await?, before, "none that was there was replaced");
        never_booted = 1;
    }

    say(format!(
        "{} machines, stuck, and another release is named",
        shape.control_plane
    ));
    upgrade(&scene, "makes-way", &rows.name(34, MAKES_WAY)).await?;
    first_is_made(never_booted + 1).await?;
    wait_for("it to say that it is stuck", UPGRADE, || async {
        let status = records(&scene).get("makes-way").await?.status.unwrap_or_default();
        let says = format!("the control plane then goes back to {old}, and from there to that release");
        let mut rows = status.health.iter();
        if rows.any(|row| row.reason == "ControlPlaneStuck" && row.message.contains(&says)) {
            Ok(())
        } else {
            Err(format!("{status:?}").into())
        }
    })
    .await?;
    assert_eq!(made(&old)?, shape.control_plane, "nothing else is made meanwhile");
    let patch = json!({ "spec": { "target": rows.name(34, 1) } });
    records(&scene)
        .patch("makes-way", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    ended(&scene, "makes-way", UpgradePhase::Completed).await?;

    ledger.caught_up().await?;
    assert_eq!(made(&old)?, shape.control_plane, "none at {old} was made again");
    assert_eq!(made(&new)?, never_booted + 1 + shape.control_plane);
    let control_plane = classic::control_planes(&scene).get(NAME).await?;
    assert_eq!(control_plane.data["spec"]["version"], json!(new));
    let history = control_plane.annotations().get(SWAP_HISTORY_ANNOTATION);
    let history: Value = serde_json::from_str(history.context("no swap history")?)?;
    let swaps = history.as_array().context("the swap history is no list")?;
    let way: Vec<(&Value, &Value)> = swaps
        .iter()
        .filter(|swap| swap["upgrade"]["name"] == "makes-way")
        .map(|swap| (&swap["after"]["version"], &swap["direction"]))
        .collect();
    assert_eq!(
        way,
        [
            (&json!(new), &Value::Null),
            (&json!(old), &json!("Back")),
            (&json!(new), &Value::Null)
        ],
        "{history:#}"
    );
    Ok(())
}
