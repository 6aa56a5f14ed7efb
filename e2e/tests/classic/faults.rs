//! Two controllers, and nobody who decides between them.

use instar_e2e::{Result, journeys::Scene};

use crate::{
    catalog::Rows,
    cluster::{FULL, assert_two_minors},
    controller::Controller,
    upgrade::{assert_record, begin, completed},
};

/// Both write, and neither knows of the other.
pub(crate) async fn two_controllers_without_the_lease(scene: Scene) -> Result<()> {
    let rows = Rows::new(4);
    let mut first = Controller::start(&scene).await?;
    let mut second = Controller::start_second(&scene).await?;
    let ledger = begin(&scene, &rows, &FULL).await?;
    completed(&scene, &rows, &FULL, &first).await?;
    second.runs()?;
    assert_two_minors(&ledger, &rows).await?;
    assert_record(&scene, &rows, &FULL).await?;
    first.kill().await?;
    second.kill().await
}
