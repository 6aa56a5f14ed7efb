//! What a Cluster's annotation asks for.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{
    ClusterUpgrade, ClusterUpgradeSpec, RECORD_ANNOTATION, REQUEST_NUMBER_LABEL, UpgradePhase, VERSION_ANNOTATION,
};
use instar_capi::{Cluster, labels::CLUSTER_NAME};
use instar_domain::{KubeVersion, Minor};
use instar_planner::{hash, label_value, slug};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt, core::ObjectMeta};

use super::active::{Upgrades, finished_phase};

/// What the annotation comes to.
#[derive(Debug)]
pub(crate) enum AnnotationRequest {
    /// Nothing that isn't there already.
    Nothing,
    /// A record.
    Create(Box<ClusterUpgrade>),
    /// Another target of the record that it made, which isn't completed.
    Retarget(Arc<ClusterUpgrade>, String),
    /// It waits until the upgrade of that name, which was not made for the annotation, has finished.
    Waits(String),
}

/// The versions that a Cluster is at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CurrentVersions {
    /// Its control plane can't be seen yet.
    Unseen,
    /// One of its parts can't be read.
    Unreadable,
    /// At these: its control plane's and its pools'.
    At(Vec<KubeVersion>),
}

impl CurrentVersions {
    /// Whether all of it satisfies a target: then the target moves nothing, whatever the catalog has.
    fn satisfy(&self, target: &str) -> bool {
        let Self::At(versions) = self else { return false };
        if let Ok(full) = target.parse::<KubeVersion>() {
            return versions.iter().all(|version| *version == full);
        }
        let minor = target.parse::<Minor>();
        minor.is_ok_and(|minor| versions.iter().all(|version| version.minor() == minor))
    }
}

/// What the annotation asks for beside what is there.
pub(crate) fn from_annotation(
    cluster: &Cluster,
    known: &[Arc<ClusterUpgrade>],
    upgrades: &Upgrades,
    current_versions: impl FnOnce() -> CurrentVersions,
) -> AnnotationRequest {
    let text = cluster.annotations().get(VERSION_ANNOTATION);
    let Some(target) = text.map(|text| text.trim()).filter(|text| !text.is_empty()) else {
        return AnnotationRequest::Nothing;
    };
    let active = upgrades.active.as_ref();
    let latest = known
        .iter()
        .filter(|upgrade| upgrade.metadata.deletion_timestamp.is_none())
        .max_by_key(|upgrade| ordinal(upgrade))
        .filter(|upgrade| ordinal(upgrade) > 0);
    let own = active.filter(|active| ordinal(active) > 0).or(latest);
    if own.is_some_and(|own| own.spec.target == target) {
        return AnnotationRequest::Nothing;
    }
    if let Some(active) = active.filter(|active| ordinal(active) == 0) {
        return AnnotationRequest::Waits(active.name_any());
    }
    // Refused, it tries again; all else that is over is history.
    let goes_on = |own: &&Arc<ClusterUpgrade>| finished_phase(own).is_none_or(|phase| phase == UpgradePhase::Refused);
    if let Some(own) = own.filter(goes_on) {
        return AnnotationRequest::Retarget(Arc::clone(own), target.to_owned());
    }
    let current_versions = current_versions();
    if current_versions == CurrentVersions::Unseen || current_versions.satisfy(target) {
        return AnnotationRequest::Nothing;
    }
    let ordinal = latest.map_or(0, |latest| ordinal(latest)) + 1;
    AnnotationRequest::Create(Box::new(record(cluster, target, ordinal)))
}

/// The sequence number among the records of the annotation; 0 where it was not made for it.
pub(super) fn ordinal(upgrade: &ClusterUpgrade) -> u32 {
    let label = upgrade.labels().get(REQUEST_NUMBER_LABEL);
    label.and_then(|label| label.parse().ok()).unwrap_or_default()
}

/// The record of the edit that set a topology Cluster's version. The same edit has the same name.
pub(crate) fn record_of(cluster: &Cluster, version: &str) -> ClusterUpgrade {
    let mut upgrade = record(cluster, version, 0);
    upgrade.labels_mut().remove(REQUEST_NUMBER_LABEL);
    upgrade
        .annotations_mut()
        .insert(RECORD_ANNOTATION.to_owned(), "true".to_owned());
    upgrade
}

/// The record of an edit that named another release of the version that a topology Cluster runs, which may be one that it
/// had before: each time it gets another one.
pub(crate) fn record_of_release(cluster: &Cluster, release: &str, known: &[Arc<ClusterUpgrade>]) -> ClusterUpgrade {
    let name = cluster.name_any();
    let is_over = |ordinal: &u32| {
        let record = record_name(&name, release, *ordinal);
        let mut known = known.iter().filter(|known| known.name_any() == record);
        known.any(|known| finished_phase(known).is_some())
    };
    let most = u32::try_from(known.len()).unwrap_or(u32::MAX);
    let over = (1..=most).take_while(is_over).last();
    let mut upgrade = record(cluster, release, over.unwrap_or_default() + 1);
    upgrade.labels_mut().remove(REQUEST_NUMBER_LABEL);
    upgrade
        .annotations_mut()
        .insert(RECORD_ANNOTATION.to_owned(), "true".to_owned());
    upgrade
}

fn record(cluster: &Cluster, target: &str, ordinal: u32) -> ClusterUpgrade {
    let name = cluster.name_any();
    let owner = owned_by(cluster);
    let spec = ClusterUpgradeSpec {
        cluster_name: name.clone(),
        target: target.to_owned(),
        ..ClusterUpgradeSpec::default()
    };
    let mut upgrade = ClusterUpgrade::new(&record_name(&name, target, ordinal), spec);
    let labels = [
        (CLUSTER_NAME.to_owned(), label_value(&name)),
        (REQUEST_NUMBER_LABEL.to_owned(), ordinal.to_string()),
    ];
    upgrade.metadata = ObjectMeta {
        namespace: cluster.namespace(),
        labels: Some(BTreeMap::from(labels)),
        owner_references: Some(vec![owner]),
        ..upgrade.metadata
    };
    upgrade
}

/// The owner of what is made for a Cluster.
pub(super) fn owned_by(cluster: &Cluster) -> OwnerReference {
    OwnerReference {
        api_version: Cluster::api_version(&()).into_owned(),
        kind: Cluster::kind(&()).into_owned(),
        name: cluster.name_any(),
        uid: cluster.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }
}

/// The same wish has the same name, so that a second try makes no second record.
fn record_name(cluster: &str, target: &str, ordinal: u32) -> String {
    let hash = hash(&format!("{cluster}\n{target}\n{ordinal}"));
    format!("{cluster}-{}-{hash}", slug(target, 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade_spec::tests::{of_annotation, reopened, upgrade};
    use UpgradePhase::{Completed, ControlPlane, Pending, Refused, Workers};
    use instar_capi::ClusterSpec;

    fn cluster(target: &str) -> Cluster {
        let mut cluster = Cluster::new("c", ClusterSpec::default());
        let annotation = (VERSION_ANNOTATION.to_owned(), target.to_owned());
        cluster.metadata.annotations = Some(BTreeMap::from([annotation]));
        cluster
    }

    fn at(versions: &[&str]) -> CurrentVersions {
        CurrentVersions::At(versions.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn ask(target: &str, known: &[Arc<ClusterUpgrade>], current_versions: CurrentVersions) -> AnnotationRequest {
        let upgrades = Upgrades::sort(known.to_vec(), None, None);
        from_annotation(&cluster(target), known, &upgrades, || current_versions)
    }

    fn made(asked: AnnotationRequest) -> ClusterUpgrade {
        match asked {
            AnnotationRequest::Create(upgrade) => *upgrade,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_makes_one_record_by_one_name() {
        let current_versions = || at(&["v1.34.1"]);
        let first = made(ask(" v1.35.4+vmware.1 ", &[], current_versions()));
        assert_eq!(first.spec.target, "v1.35.4+vmware.1");
        assert!(
            first.name_any().starts_with("c-v1-35-4-vmware-1-"),
            "{}",
            first.name_any()
        );
        assert_eq!(first.metadata.owner_references.as_ref().unwrap()[0].name, "c");
        assert_eq!(first.labels()[REQUEST_NUMBER_LABEL], "1");
        let again = made(ask("v1.35.4+vmware.1", &[], current_versions()));
        assert_eq!(again.name_any(), first.name_any());
        let other = made(ask("v1.35.4-vmware.1", &[], current_versions()));
        assert_ne!(other.name_any(), first.name_any());
        assert!(matches!(ask(" ", &[], current_versions()), AnnotationRequest::Nothing));
        assert!(matches!(
            ask("v1.35", &[Arc::new(first)], current_versions()),
            AnnotationRequest::Retarget(_, target) if target == "v1.35"
        ));
    }

    #[test]
    fn each_change_of_the_release_has_a_record_of_its_own() {
        let known = |phase| {
            let record = record_of_release(&cluster("x"), "v1.35.4-2", &[]);
            let mut known = upgrade(&record.name_any(), 1, phase).as_ref().clone();
            record.spec.clone_into(&mut known.spec);
            [Arc::new(known)]
        };
        let name = |known: &[Arc<ClusterUpgrade>]| record_of_release(&cluster("x"), "v1.35.4-2", known).name_any();
        let first = name(&[]);
        assert!(first.starts_with("c-v1-35-4-2-"), "{first}");
        assert_eq!(name(&known(UpgradePhase::Workers)), first);
        assert_ne!(name(&known(UpgradePhase::Completed)), first);
        assert_ne!(record_of(&cluster("x"), "v1.35.4-2").name_any(), first);
    }

    #[test]
    fn what_satisfies_it_already_makes_no_record() {
        let nothing =
            |target: &str, versions: &[&str]| matches!(ask(target, &[], at(versions)), AnnotationRequest::Nothing);
        assert!(nothing("v1.33", &["v1.33.5", "v1.33.5"]));
        assert!(nothing("v1.33", &["v1.33.9", "v1.33.5"]));
        assert!(nothing("v1.33.5", &["v1.33.5"]));
        assert!(!nothing("v1.33.9", &["v1.33.5"]));
        assert!(!nothing("v1.33.5-1", &["v1.33.5"]), "a release is asked for by name");
        assert!(!nothing("v1.34", &["v1.34.5", "v1.33.5"]), "the workers are to follow");
        // One that completed moves it no more either.
        let old = of_annotation(&upgrade("a", 1, Completed), 1, "v1.33");
        assert!(matches!(
            ask("v1.33", &[old], at(&["v1.33.5"])),
            AnnotationRequest::Nothing
        ));
    }

    #[test]
    fn a_control_plane_that_is_not_there_yet_is_waited_for() {
        assert!(matches!(
            ask("v1.34", &[], CurrentVersions::Unseen),
            AnnotationRequest::Nothing
        ));
        made(ask("v1.34", &[], CurrentVersions::Unreadable));
    }

    #[test]
    fn a_new_value_edits_the_record_that_is_not_completed() {
        for phase in [Pending, ControlPlane, Workers, Refused] {
            let own = of_annotation(&upgrade("a", 1, phase), 1, "v1.35");
            let asked = ask("v1.36", &[own], at(&["v1.34.1"]));
            let AnnotationRequest::Retarget(record, target) = asked else {
                panic!("{phase:?}: {asked:?}")
            };
            assert_eq!((record.name_any().as_str(), target.as_str()), ("a", "v1.36"));
        }
        // Also to a value that the control plane satisfies: it stops there.
        let own = of_annotation(&upgrade("a", 1, Workers), 1, "v1.35");
        let asked = ask("v1.34", &[own], at(&["v1.34.1"]));
        assert!(matches!(asked, AnnotationRequest::Retarget(..)), "{asked:?}");
    }

    #[test]
    fn after_a_completed_one_it_makes_another() {
        let own = of_annotation(&upgrade("a", 1, Completed), 1, "v1.34");
        let second = made(ask("v1.35", &[Arc::clone(&own)], at(&["v1.34.1"])));
        assert_eq!(second.labels()[REQUEST_NUMBER_LABEL], "2");
        // Back to a value that it once had: that is a wish too, and it is refused with a reason.
        let second = of_annotation(&upgrade("b", 1, Completed), 2, "v1.35");
        let third = made(ask("v1.34", &[second, own], at(&["v1.35.1"])));
        assert_eq!(third.labels()[REQUEST_NUMBER_LABEL], "3");
    }

    #[test]
    fn it_waits_for_one_made_by_hand() {
        let by_hand = upgrade("b", 2, ControlPlane);
        let own = of_annotation(&upgrade("a", 1, Completed), 1, "v1.34");
        for known in [vec![Arc::clone(&by_hand)], vec![own, by_hand]] {
            let asked = ask("v1.35", &known, at(&["v1.34.1"]));
            assert!(
                matches!(&asked, AnnotationRequest::Waits(name) if name == "b"),
                "{asked:?}"
            );
        }
        // One that has finished doesn't matter.
        made(ask("v1.35", &[upgrade("b", 2, Completed)], at(&["v1.34.1"])));
        let asked = ask("v1.35", &[reopened("b", 2, Completed)], at(&["v1.34.1"]));
        assert!(matches!(asked, AnnotationRequest::Waits(_)), "{asked:?}");
    }
}
