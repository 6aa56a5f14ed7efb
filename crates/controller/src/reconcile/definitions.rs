//! CustomResourceDefinitions of ours that don't fit this program: nothing is written, and an Event says so on each.

use instar_api::EventReason;
use instar_watch::{DefinitionsAre, DefinitionsFit, Refusal};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::Recorder;

use crate::events::{UPGRADE, event, post};

/// Posts Events for as long as this process runs, whether it leads or not: while none fits, none leads.
pub(crate) async fn report_definitions(recorder: Recorder, mut fit: DefinitionsFit) {
    loop {
        match fit.known() {
            DefinitionsAre::Unknown(_) | DefinitionsAre::Fit => {}
            DefinitionsAre::Refused(refused) => {
                for refusal in &refused {
                    let about = reference(refusal);
                    post(
                        &recorder,
                        &event(EventReason::CrdSkew, &refusal.message, UPGRADE),
                        &about,
                    )
                    .await;
                }
            }
        }
        fit.changed().await;
    }
}

fn reference(refusal: &Refusal) -> ObjectReference {
    ObjectReference {
        api_version: Some("apiextensions.k8s.io/v1".to_owned()),
        kind: Some("CustomResourceDefinition".to_owned()),
        name: Some(refusal.definition.name().to_owned()),
        uid: refusal.uid.clone(),
        ..ObjectReference::default()
    }
}
