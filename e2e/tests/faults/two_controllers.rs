//! Two controllers, and nobody who decides between them.

use instar_api::PATH_ANNOTATION;
use instar_e2e::{
    Result,
    support::{
        classic::{NAME, SMALL, clusters, violations},
        controller::Controller,
        journeys::JourneyContext,
        upgrade::{self, UPGRADE, assert_record, begin_prepared, completed},
    },
    wait::wait_for,
};
use kube::ResourceExt;

pub(crate) async fn prepare(scene: JourneyContext) -> Result<()> {
    upgrade::prepare(&scene, &SMALL).await
}

/// Both write, and neither knows of the other. A newer row of the target comes on the way, and changes nothing: what
/// was pinned at the beginning is what is done.
pub(crate) async fn without_the_lease(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let mut first = Controller::start(&scene).await?;
    let mut second = Controller::start_second(&scene).await?;
    let ledger = begin_prepared(&scene, &rows).await?;
    wait_for("the path to be pinned", UPGRADE, || async {
        let cluster = clusters(&scene).get(NAME).await?;
        match cluster.annotations().get(PATH_ANNOTATION) {
            Some(_) => Ok(()),
            None => Err(format!("{:?}", cluster.metadata.annotations).into()),
        }
    })
    .await?;
    scene.apply_object(rows.row(35, 2)).await?;
    completed(&scene, &rows, &SMALL, &first).await?;
    second.runs()?;
    let broken = violations(&ledger, &rows, &SMALL).await?;
    assert!(broken.is_empty(), "{broken:#?}");
    assert_record(&scene, &rows, &SMALL).await?;
    first.kill().await?;
    second.kill().await
}
