//! CustomResourceDefinitions of ours that don't fit this program: nothing is written, and an Event says so on each.

use instar_api::EventReason;
use instar_watch::{DefinitionsAre, DefinitionsFit, Refusal};
use k8s_openapi::api::core::v1::ObjectReference;

use super::Context;

impl Context {
    /// Posts Events for as long as this process leads.
    pub(crate) async fn report_definitions(&self, mut fit: DefinitionsFit) {
        loop {
            match fit.known() {
                DefinitionsAre::Unknown(_) | DefinitionsAre::Fit => {}
                DefinitionsAre::Refused(refused) => {
                    for refusal in &refused {
                        let about = [reference(refusal)];
                        self.publish(&about, EventReason::CrdSkew, &refusal.message).await;
                    }
                }
            }
            fit.changed().await;
        }
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
