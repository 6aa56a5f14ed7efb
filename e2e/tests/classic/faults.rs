//! Two controllers, and nobody who decides between them.

use instar_e2e::{
    Result,
    support::{
        catalog::Rows,
        classic::{SMALL, violations},
        journeys::JourneyContext,
    },
};

use crate::{
    controller::Controller,
    upgrade::{assert_record, begin, completed},
};

/// Both write, and neither knows of the other.
pub(crate) async fn two_controllers_without_the_lease(scene: JourneyContext) -> Result<()> {
    let rows = Rows::new(4);
    let mut first = Controller::start(&scene).await?;
    let mut second = Controller::start_second(&scene).await?;
    let ledger = begin(&scene, &rows, &SMALL).await?;
    completed(&scene, &rows, &SMALL, &first).await?;
    second.runs()?;
    let broken = violations(&ledger, &rows, &SMALL).await?;
    assert!(broken.is_empty(), "{broken:#?}");
    assert_record(&scene, &rows, &SMALL).await?;
    first.kill().await?;
    second.kill().await
}
