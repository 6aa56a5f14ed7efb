//! Two controllers, and nobody who decides between them.

use instar_e2e::{
    Result,
    support::{
        classic::{SMALL, violations},
        controller::Controller,
        journeys::JourneyContext,
        upgrade::{self, assert_record, begin_prepared, completed},
    },
};

pub(crate) async fn prepare(scene: JourneyContext) -> Result<()> {
    upgrade::prepare(&scene, &SMALL).await
}

/// Both write, and neither knows of the other.
pub(crate) async fn without_the_lease(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let mut first = Controller::start(&scene).await?;
    let mut second = Controller::start_second(&scene).await?;
    let ledger = begin_prepared(&scene, &rows).await?;
    completed(&scene, &rows, &SMALL, &first).await?;
    second.runs()?;
    let broken = violations(&ledger, &rows, &SMALL).await?;
    assert!(broken.is_empty(), "{broken:#?}");
    assert_record(&scene, &rows, &SMALL).await?;
    first.kill().await?;
    second.kill().await
}
