//! What a Cluster's annotation asks for is written down in a record.

use std::sync::Arc;

use instar_api::{ClusterUpgrade, EventReason, STARTED_ANNOTATION};
use instar_capi::Cluster;
use instar_watch::Key;
use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{Context, Done};
use crate::{
    api::{Error, FIELD_MANAGER, call},
    metrics::Written as Counted,
    upgrade_spec::{AnnotationRequest, CurrentVersions, Upgrades, annotation_mistake, from_annotation},
};

/// When a record came to be.
pub(super) enum Created {
    Now,
    /// One of its name was there.
    Before,
}

impl Context {
    /// Once for each mistake, and again after a restart.
    pub(super) fn report_mistake(&self, cluster: &Cluster) {
        let mistake = annotation_mistake(cluster);
        let is_new = self.memory.is_new_mistake(&Key::of(cluster), mistake.as_deref());
        if let Some(mistake) = mistake.filter(|_| is_new) {
            let cluster = cluster.object_ref(&());
            self.publish(&[cluster], EventReason::AnnotationWithoutEffect, &mistake);
        }
    }

    /// Where something is written, its watch wakes the Cluster, and this pass is done.
    pub(super) async fn annotated(
        &self,
        cluster: &Cluster,
        known: &[Arc<ClusterUpgrade>],
        upgrades: &Upgrades,
        versions: impl FnOnce() -> CurrentVersions,
    ) -> Result<Option<Done>, Error> {
        let about = Key::of(cluster);
        match from_annotation(cluster, known, upgrades, versions) {
            AnnotationRequest::Nothing => {}
            AnnotationRequest::Create(record) => return self.make(&record).await.map(Some),
            AnnotationRequest::Retarget(record, target) => return self.retarget(&record, &target).await.map(Some),
            AnnotationRequest::Waits(active) => {
                let note = format!("The version annotation waits until ClusterUpgrade {active} has finished");
                if self.memory.is_news(&about, &note) {
                    let cluster = cluster.object_ref(&());
                    self.publish(&[cluster], EventReason::VersionAnnotationWaits, &note);
                }
                return Ok(None);
            }
        }
        self.memory.forget_note(&about);
        Ok(None)
    }

    pub(super) async fn make(&self, record: &ClusterUpgrade) -> Result<Done, Error> {
        // That it is there already is by us, a moment ago: the cache is behind.
        self.create(record).await.map(|_| Done::Wrote)
    }

    pub(super) async fn create(&self, record: &ClusterUpgrade) -> Result<Created, Error> {
        self.may_write()?;
        let mut record = record.clone();
        let now = Timestamp::now().to_string();
        record.annotations_mut().insert(STARTED_ANNOTATION.to_owned(), now);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let name = record.name_any();
        let doing = || format!("making ClusterUpgrade {name}");
        match call(doing, self.records(&record).create(&parameters, &record)).await {
            Err(Error::Call {
                source: kube::Error::Api(status),
                ..
            }) if status.is_already_exists() => return Ok(Created::Before),
            made => {
                made?;
                self.counters.wrote(Counted::Record);
            }
        }
        Ok(Created::Now)
    }

    async fn retarget(&self, record: &ClusterUpgrade, target: &str) -> Result<Done, Error> {
        self.may_write()?;
        let name = record.name_any();
        let patch = json!({
            "metadata": { "resourceVersion": record.resource_version() },
            "spec": { "target": target },
        });
        self.patch_record(record, &patch, || {
            format!("setting the target of ClusterUpgrade {name}")
        })
        .await?;
        self.counters.wrote(Counted::Retarget);
        Ok(Done::Wrote)
    }

    /// A merge patch of a record, but for its status.
    pub(super) async fn patch_record(
        &self,
        record: &ClusterUpgrade,
        patch: &serde_json::Value,
        doing: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.records(record);
        call(doing, api.patch(&record.name_any(), &parameters, &Patch::Merge(patch)))
            .await
            .map(drop)
    }

    pub(super) fn records(&self, record: &ClusterUpgrade) -> Api<ClusterUpgrade> {
        Api::namespaced(self.client.clone(), &record.namespace().unwrap_or_default())
    }
}
