//! New machines of the same templates and the same version.

use std::{collections::BTreeSet, time::Duration};

use instar_api::UpgradePhase;
use instar_e2e::{
    Result,
    support::{
        classic::{self, NAME},
        fixtures::Shape,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
    },
};
use serde_json::{Value, json};

use crate::{
    by_hand::record,
    way_back::{ended, machines, rollback, versions},
};

/// Time enough for a control loop that would do something.
const STILL: Duration = Duration::from_secs(20);

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 2)],
};

/// Each machine is replaced once, and by one of the same version and template. Applied again, nothing moves; a rollback of
/// it is refused with its reason.
pub(crate) async fn each_machine_once(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let (before, at) = (machines(&scene).await?, versions(&scene).await?);
    let restart = record("again", &spec(&rows.version(33)));
    scene.apply_object(restart.clone()).await?;
    ended(&scene, "again", UpgradePhase::Completed).await?;
    ledger.caught_up().await?;
    let after = machines(&scene).await?;
    assert!(before.is_disjoint(&after), "before {before:?}, after {after:?}");
    assert_eq!(after.len(), before.len(), "{after:?}");
    assert_eq!(versions(&scene).await?, at);
    for (pool, made) in [(Pool::ControlPlane, 2), (Pool::Workers("md-0".to_owned()), 4)] {
        let ever = ledger.machines_by_version(NAME)?;
        let of_pool = &ever[&(pool.clone(), rows.version(33))];
        assert_eq!(of_pool.len(), made, "{pool:?}: {of_pool:#?}");
        let templates: BTreeSet<&str> = of_pool
            .iter()
            .filter_map(|machine| machine.template.as_ref())
            .map(|template| template.name.as_str())
            .collect();
        assert_eq!(templates.len(), 1, "{pool:?}: {templates:?}");
    }

    scene.apply_object(restart).await?;
    tokio::time::sleep(STILL).await;
    assert_eq!(machines(&scene).await?, after, "it was applied again");

    rollback(&scene, "back", "Rollback", "again").await?;
    let refused = ended(&scene, "back", UpgradePhase::Refused).await?;
    let reasons: Vec<&str> = refused.health.iter().map(|row| row.reason.as_str()).collect();
    assert_eq!(reasons, ["NoWayBack"], "{refused:?}");
    assert_eq!(machines(&scene).await?, after);
    Ok(())
}

fn spec(version: &str) -> Value {
    json!({ "clusterName": NAME, "operation": "Restart", "target": version })
}
