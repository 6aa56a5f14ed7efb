use std::sync::Arc;

use instar_api::{CATALOG_LABEL, KubernetesReleaseSpec, LandingMark, PATH_ANNOTATION, Pin, RELEASES_ANNOTATION};
use instar_capi::{KubeadmControlPlane, labels::UNSAFE_VERSION};
use instar_catalog::{Catalog, Catalogs};
use serde_json::{Value, json};
use std::collections::BTreeSet;

use super::*;
use crate::cluster_state::{CachedWorker, Versions};

mod catalogs;
mod completion;
mod properties;
mod refusals;
mod release_change;
mod restored;

const IMAGE: &str = "/spec/template/spec/image";
const ETCD: &str = "/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/etcd/local/imageTag";

/// What is known, as values that a test changes before it asks.
struct World {
    rows: Vec<(String, KubernetesReleaseSpec)>,
    class: Option<Value>,
    /// Its spec.
    control_plane: Option<Value>,
    /// Its status.
    rollout: Value,
    running: Option<Versions>,
    workers: Vec<CachedWorker>,
    requester: Requester,
}

fn row(name: &str, version: &str, etcd: &str) -> (String, KubernetesReleaseSpec) {
    let image = |value: &str| json!([{"pointer": IMAGE, "value": format!("{value}-{name}")}]);
    let spec = json!({
        "version": version,
        "machineImages": [
            {"kind": "DevMachineTemplate", "labels": {"arch": "arm64"}, "values": image("arm")},
            {"kind": "DevMachineTemplate", "values": image("amd")},
        ],
        "components": {"etcd": {"imageTag": etcd}},
    });
    (name.to_owned(), serde_json::from_value(spec).unwrap())
}

fn reference(kind: &str) -> Value {
    let group = if kind == "KubeadmControlPlaneTemplate" {
        "controlplane"
    } else {
        "infrastructure"
    };
    json!({"apiVersion": format!("{group}.cluster.x-k8s.io/v1beta2"), "kind": kind, "name": "t"})
}

fn bare_class() -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "ClusterClass",
        "metadata": {"namespace": "ns", "name": "class"},
        "spec": {
            "controlPlane": {
                "templateRef": reference("KubeadmControlPlaneTemplate"),
                "machineInfrastructure": {"templateRef": reference("DevMachineTemplate")},
            },
            "workers": {"machineDeployments": [
                {"class": "worker", "infrastructure": {"templateRef": reference("DevMachineTemplate")}},
                {"class": "arm", "metadata": {"labels": {"arch": "arm64"}}, "infrastructure": {"templateRef": reference("DevMachineTemplate")}},
            ]},
        },
    })
}

impl World {
    fn new() -> Self {
        let rows = vec![
            row("r33", "v1.33.5", "3.5.26-0"),
            row("r34", "v1.34.3", "3.6.5-0"),
            row("r35", "v1.35.4", "3.6.6-0"),
            row("r36", "v1.36.3", "3.6.8-0"),
        ];
        let mut world = Self {
            rows,
            class: Some(bare_class()),
            control_plane: None,
            rollout: json!({"observedGeneration": 1, "replicas": 3, "upToDateReplicas": 3}),
            running: None,
            workers: Vec::new(),
            requester: Requester::Other,
        };
        world.wire();
        world
    }

    /// The catalog of the class.
    fn catalog(&self) -> Arc<Catalog> {
        let class = self.class.as_ref();
        let name = class.and_then(|class| class["metadata"]["labels"][CATALOG_LABEL].as_str());
        let rows = self.rows.iter().map(|(name, spec)| (name.as_str(), spec));
        Catalogs::new(rows).of(&name.unwrap_or_default().into())
    }

    /// Wires the class with the rows that there are now.
    fn wire(&mut self) {
        let class = self.class.clone().unwrap();
        let template = json!({"spec": {"template": {"spec": {}}}});
        let templates = ["KubeadmControlPlaneTemplate", "DevMachineTemplate"]
            .into_iter()
            .map(|kind| (serde_json::from_value(reference(kind)).unwrap(), template.clone()))
            .collect();
        self.class = Some(instar_wiring::wire(&class, &templates, &self.catalog()).unwrap().class);
    }

    fn row(&mut self, name: &str) -> &mut KubernetesReleaseSpec {
        &mut self.rows.iter_mut().find(|(known, _)| known == name).unwrap().1
    }

    /// As with every rule enforced: what a policy may switch off refuses too.
    fn admit(&self, old: Option<&Value>, new: &Value) -> Result<Admitted, String> {
        let admitted = self.judge(old, new)?;
        match admitted.findings.first() {
            None => Ok(admitted),
            Some(finding) => Err(finding.to_string()),
        }
    }

    /// With what is found.
    fn judge(&self, old: Option<&Value>, new: &Value) -> Result<Admitted, String> {
        let read = |value: &Value| serde_json::from_value::<Cluster>(value.clone()).unwrap();
        let class: Option<ClusterClass> = self.class.clone().map(|class| serde_json::from_value(class).unwrap());
        let control_plane = self.control_plane.as_ref().map(|spec| {
            let group = "controlplane.cluster.x-k8s.io/v1beta2";
            let object = json!({
                "apiVersion": group, "kind": "KubeadmControlPlane",
                "metadata": {"name": "c", "generation": 1}, "spec": spec, "status": self.rollout,
            });
            serde_json::from_value::<KubeadmControlPlane>(object).unwrap()
        });
        let facts = Facts {
            catalog: &self.catalog(),
            class: class.as_ref(),
            control_plane: control_plane.as_ref(),
            running: self.running.as_ref(),
            workers: &self.workers,
            today: jiff::civil::date(2026, 11, 20),
            requester: self.requester,
        };
        let old = old.map(read);
        admit(old.as_ref(), &read(new), facts).map_err(|denial| denial.to_string())
    }

    /// Admits and writes, as the API server would, and sees that a second look finds nothing to do.
    fn write(&self, old: Option<&Value>, mut new: Value) -> Result<(Value, Vec<String>), String> {
        let admitted = self.admit(old, &new)?;
        if let Some(version) = &admitted.version {
            new["spec"]["topology"]["version"] = json!(version);
        }
        let annotations = &mut new["metadata"]["annotations"];
        match &admitted.pins {
            AnnotationChange::None => {}
            AnnotationChange::Set(pins) => annotations[RELEASES_ANNOTATION] = json!(pins),
            AnnotationChange::Remove => drop(annotations.as_object_mut().unwrap().remove(RELEASES_ANNOTATION)),
        }
        match &admitted.version_check {
            AnnotationChange::None => {}
            AnnotationChange::Set(mark) => new["metadata"]["annotations"][UNSAFE_VERSION] = json!(mark),
            AnnotationChange::Remove => {
                drop(
                    new["metadata"]["annotations"]
                        .as_object_mut()
                        .unwrap()
                        .remove(UNSAFE_VERSION),
                );
            }
        }
        let again = self.admit(old, &new)?;
        assert!(!again.changes(), "a second look changes {again:?}");
        Ok((new, admitted.warnings))
    }

    fn edit(&self, old: &Value, change: impl FnOnce(&mut Value)) -> Result<(Value, Vec<String>), String> {
        let mut new = old.clone();
        change(&mut new);
        self.write(Some(old), new)
    }

    fn create(&self, version: &str) -> Value {
        self.write(None, cluster(version)).unwrap().0
    }
}

fn cluster(version: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": {"namespace": "ns", "name": "c", "annotations": {}},
        "spec": {"topology": {
            "classRef": {"name": "class"},
            "version": version,
            "workers": {"machineDeployments": [{"class": "worker", "name": "md-0"}, {"class": "worker", "name": "md-1"}]},
        }},
    })
}

fn set_version(version: &str) -> impl FnOnce(&mut Value) {
    move |cluster| cluster["spec"]["topology"]["version"] = json!(version)
}

fn pins(cluster: &Value) -> Pins {
    Pins::from_annotation(
        cluster["metadata"]["annotations"][RELEASES_ANNOTATION]
            .as_str()
            .unwrap(),
    )
    .unwrap()
}

fn pinned(cluster: &Value) -> Vec<String> {
    pins(cluster)
        .releases
        .iter()
        .map(|(version, pin)| format!("{version}={}", pin.release))
        .collect()
}

fn v(text: &str) -> KubeVersion {
    text.parse().unwrap()
}

fn image(values: &instar_api::Values) -> &str {
    values
        .get(&IMAGE.parse().unwrap())
        .and_then(Value::as_str)
        .unwrap_or("nothing")
}

#[test]
fn a_created_cluster_gets_the_pins_of_its_version() {
    let created = World::new().create("v1.33.5");
    let pins = pins(&created);
    assert!(pins.adopted.is_empty());
    let pin = &pins.releases[&v("v1.33.5")];
    assert_eq!(
        (pin.release.as_str(), image(&pin.control_plane), image(&pin.workers)),
        ("r33", "amd-r33", "amd-r33")
    );
    assert_eq!(pin.etcd_tag(), Some("3.5.26-0"));
    assert!(pin.machine_deployments.is_empty());
}

#[test]
fn a_prefix_or_a_name_becomes_a_version() {
    let world = World::new();
    for asked in ["v1.36", "r36"] {
        let (created, warnings) = world.write(None, cluster(asked)).unwrap();
        assert_eq!(created["spec"]["topology"]["version"], "v1.36.3");
        assert_eq!(warnings, [format!("{asked} means v1.36.3, release r36")]);
    }
}

#[test]
fn an_edit_pins_every_version_on_the_way() {
    let world = World::new();
    let (edited, warnings) = world.edit(&world.create("v1.33.5"), set_version("v1.35.4")).unwrap();
    assert_eq!(pinned(&edited), ["v1.33.5=r33", "v1.34.3=r34", "v1.35.4=r35"]);
    assert!(warnings.is_empty(), "{warnings:?}");
    // What nothing needs any more goes with the next edit of the version.
    let (next, _) = world.edit(&edited, set_version("v1.36")).unwrap();
    assert_eq!(pinned(&next), ["v1.35.4=r35", "v1.36.3=r36"]);
    // Without Cluster API's guarantee nothing goes.
    let (unsafe_next, _) = world
        .edit(&edited, |cluster| {
            cluster["metadata"]["annotations"][UNSAFE_VERSION] = json!("");
            set_version("v1.36.3")(cluster);
        })
        .unwrap();
    assert_eq!(
        pinned(&unsafe_next),
        ["v1.33.5=r33", "v1.34.3=r34", "v1.35.4=r35", "v1.36.3=r36"]
    );
}

#[test]
fn what_a_landing_has_left_does_not_count_in_the_next_edit() {
    let world = World::new();
    let (mut landed, _) = world.edit(&world.create("v1.33.5"), set_version("v1.34.3")).unwrap();
    let mark = LandingMark::new(v("v1.35.4"), v("v1.34.3")).to_annotation();
    landed["metadata"]["annotations"][UNSAFE_VERSION] = json!(mark);
    let (onward, _) = world.edit(&landed, set_version("v1.35.4")).unwrap();
    assert_eq!(onward["metadata"]["annotations"][UNSAFE_VERSION], Value::Null);
    assert_eq!(pinned(&onward), ["v1.34.3=r34", "v1.35.4=r35"]);
}

#[test]
fn a_cluster_kept_in_git_never_moves_by_itself() {
    let mut world = World::new();
    let created = world.create("v1.34");
    world.rows.push(row("r34-2", "v1.34.9", "3.6.5-0"));
    world.rows.push(row("r34-3", "v1.34.3", "3.6.6-0"));
    world.wire();
    for asked in ["v1.34", "v1.34.3"] {
        let (again, _) = world.edit(&created, set_version(asked)).unwrap();
        assert_eq!(again, created, "{asked}");
    }
    // A release's name is an explicit choice, and moves it.
    let (moved, _) = world.edit(&created, set_version("r34-3")).unwrap();
    assert_eq!(pinned(&moved), ["v1.34.3=r34-3"]);
    assert_eq!(moved["spec"]["topology"]["version"], "v1.34.3");
    let (again, _) = world.edit(&moved, set_version("r34-3")).unwrap();
    assert_eq!(again, moved);
}

#[test]
fn dropped_or_garbled_pins_are_put_back() {
    let world = World::new();
    let created = world.create("v1.33.5");
    let (dropped, _) = world
        .edit(&created, |cluster| cluster["metadata"]["annotations"] = json!({}))
        .unwrap();
    assert_eq!(dropped, created);
    let (garbled, warnings) = world
        .edit(&created, |cluster| {
            cluster["metadata"]["annotations"][RELEASES_ANNOTATION] = json!("{");
        })
        .unwrap();
    assert_eq!(garbled, created);
    assert!(warnings[0].ends_with("it was put back"), "{warnings:?}");
    // Also in the same edit as another version.
    let (moved, _) = world
        .edit(&created, |cluster| {
            cluster["metadata"]["annotations"] = json!({});
            set_version("v1.34.3")(cluster);
        })
        .unwrap();
    assert_eq!(pinned(&moved), ["v1.33.5=r33", "v1.34.3=r34"]);
}

#[test]
fn a_classic_clusters_pins_and_path_are_put_back() {
    let cluster = |annotations: serde_json::Value| -> Cluster {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "ns", "annotations": annotations}, "spec": {},
        }))
        .unwrap()
    };
    let facts = Facts {
        catalog: &Catalog::default(),
        class: None,
        control_plane: None,
        running: None,
        workers: &[],
        today: jiff::civil::date(2026, 11, 20),
        requester: Requester::Other,
    };
    let old = cluster(json!({RELEASES_ANNOTATION: "pins", PATH_ANNOTATION: "path", "another": "x"}));
    let none = || AnnotationChange::None;
    let pins = || AnnotationChange::Set("pins".to_owned());
    let path = || AnnotationChange::Set("path".to_owned());
    for (edited, expected) in [
        (
            json!({RELEASES_ANNOTATION: "pins", PATH_ANNOTATION: "path"}),
            (none(), none()),
        ),
        (
            json!({RELEASES_ANNOTATION: "{", PATH_ANNOTATION: "path"}),
            (pins(), none()),
        ),
        (json!({RELEASES_ANNOTATION: "pins"}), (none(), path())),
        (json!({}), (pins(), path())),
    ] {
        let admitted = admit(Some(&old), &cluster(edited), facts).unwrap();
        assert_eq!(admitted.warnings.is_empty(), !admitted.changes(), "{admitted:?}");
        assert_eq!((admitted.pins, admitted.path), expected);
    }
    // What wasn't there is taken away.
    let added = admit(Some(&cluster(json!({}))), &old, facts).unwrap();
    assert_eq!(
        (added.pins, added.path),
        (AnnotationChange::Remove, AnnotationChange::Remove)
    );
    // What a restored one brings along is kept or refused.
    let garbled = admit(None, &old, facts).unwrap_err();
    assert_eq!(garbled.rule, Rule::RestoredCluster, "{garbled}");
    let restored = cluster(json!({RELEASES_ANNOTATION: Pins::default().to_annotation(), PATH_ANNOTATION: "path"}));
    assert_eq!(admit(None, &restored, facts).unwrap(), Admitted::default());
    let pins = r#"{"adopted":"","releases":{"v1.33.5":{"release":"r33"}}}"#;
    let unknown = admit(None, &cluster(json!({RELEASES_ANNOTATION: pins})), facts).unwrap();
    assert!(
        unknown.findings[0].to_string().contains("which is not in the catalog"),
        "{unknown:?}"
    );
}

#[test]
fn a_running_cluster_is_adopted_at_its_first_edit() {
    let mut world = World::new();
    world.control_plane =
        Some(json!({"kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"imageTag": "3.5.26-0"}}}}}));
    let running = cluster("v1.33.5");
    // Anything else than the version leaves it alone.
    let (same, _) = world
        .edit(&running, |cluster| {
            cluster["spec"]["topology"]["workers"]["machineDeployments"] = json!([{"class": "worker", "name": "new"}]);
        })
        .unwrap();
    assert!(same["metadata"]["annotations"].get(RELEASES_ANNOTATION).is_none());
    let (edited, warnings) = world.edit(&running, set_version("v1.35.4")).unwrap();
    assert_eq!(pins(&edited).adopted, [v("v1.33.5")].into());
    assert_eq!(pinned(&edited), ["v1.34.3=r34", "v1.35.4=r35"]);
    assert_eq!(
        warnings,
        ["Cluster ns/c is adopted: v1.33.5 stays as its class renders it"]
    );
    // The adopted version goes like any other.
    let (next, _) = world.edit(&edited, set_version("v1.36.3")).unwrap();
    assert_eq!(
        (pins(&next).adopted, pinned(&next)),
        (
            BTreeSet::new(),
            vec!["v1.35.4=r35".to_owned(), "v1.36.3=r36".to_owned()]
        )
    );
}

#[test]
fn pools_that_differ_are_named_and_added_ones_get_their_pins() {
    let world = World::new();
    let created = world.create("v1.33.5");
    let (added, _) = world
        .edit(&created, |cluster| {
            let pools = cluster["spec"]["topology"]["workers"]["machineDeployments"]
                .as_array_mut()
                .unwrap();
            pools.push(json!({"class": "arm", "name": "arm-0"}));
            pools.push(json!({"class": "worker", "name": "labelled", "metadata": {"labels": {"arch": "arm64"}}}));
            pools.push(json!({"class": "worker", "name": "plain"}));
        })
        .unwrap();
    let pin = pins(&added).releases.remove(&v("v1.33.5")).unwrap();
    assert_eq!(
        pin.machine_deployments.keys().collect::<Vec<_>>(),
        ["arm-0", "labelled"]
    );
    assert_eq!(
        (
            image(pin.machine_deployment("arm-0")),
            image(pin.machine_deployment("plain"))
        ),
        ("arm-r33", "amd-r33")
    );
    // What stands at the next version is the same for a pool as for one that was there from the start.
    let (next, _) = world.edit(&added, set_version("v1.34.3")).unwrap();
    assert_eq!(
        image(pins(&next).releases[&v("v1.34.3")].machine_deployment("arm-0")),
        "arm-r34"
    );
    // Labels of a pool that was there move nothing of a version in use.
    let (relabelled, _) = world
        .edit(&next, |cluster| {
            cluster["spec"]["topology"]["workers"]["machineDeployments"][0]["metadata"] =
                json!({"labels": {"arch": "arm64"}});
        })
        .unwrap();
    assert_eq!(pins(&relabelled), pins(&next));
}

#[test]
fn the_first_pool_of_a_cluster_without_workers_gets_its_pins() {
    let world = World::new();
    let mut bare = cluster("v1.33.5");
    bare["spec"]["topology"]["workers"] = json!({});
    let (created, _) = world.write(None, bare).unwrap();
    let (added, _) = world
        .edit(&created, |cluster| {
            cluster["spec"]["topology"]["workers"] =
                json!({"machineDeployments": [{"class": "worker", "name": "md-0"}]});
        })
        .unwrap();
    assert_eq!(
        image(pins(&added).releases[&v("v1.33.5")].machine_deployment("md-0")),
        "amd-r33"
    );
}

#[test]
fn clusters_of_other_classes_are_left_alone() {
    let mut world = World::new();
    world.class = Some(bare_class());
    let foreign = cluster("v9.9.9");
    assert_eq!(world.write(None, foreign.clone()).unwrap().0, foreign);
    let (moved, _) = world.edit(&foreign, set_version("v9.10.0")).unwrap();
    assert!(moved["metadata"]["annotations"].get(RELEASES_ANNOTATION).is_none());
    let classic = json!({"metadata": {"namespace": "ns", "name": "c"}, "spec": {}});
    assert_eq!(world.admit(None, &classic), Ok(Admitted::default()));
}

#[test]
fn pins_are_edited_by_naming_rows() {
    let mut world = World::new();
    world.rows.push(row("r34-2", "v1.34.3", "3.6.6-0"));
    let start = world.create("v1.33.5");
    let by_hand = |release: &str, version: &str| {
        let mut edited = pins(&start);
        edited.releases.insert(
            v(version),
            Pin {
                release: release.to_owned(),
                ..Pin::default()
            },
        );
        edited.to_annotation()
    };
    let put =
        |text: String| move |cluster: &mut Value| cluster["metadata"]["annotations"][RELEASES_ANNOTATION] = json!(text);
    // Named for a step that comes with the same edit: it is taken, with the row's values.
    let text = by_hand("r34", "v1.34.3");
    let (moved, _) = world
        .edit(&start, |cluster| {
            put(text)(cluster);
            set_version("v1.35.4")(cluster);
        })
        .unwrap();
    assert_eq!(pinned(&moved), ["v1.33.5=r33", "v1.34.3=r34", "v1.35.4=r35"]);
    assert_eq!(image(&pins(&moved).releases[&v("v1.34.3")].workers), "amd-r34");
    let rule = "[rule pins-by-hand]";
    let field = "Cluster ns/c: metadata.annotations[upgrade.cluster.x-k8s.io/releases]: ";
    for (release, version, message) in [
        (
            "gone",
            "v1.33.5",
            "release \"gone\", named for v1.33.5, is not in the catalog; name one that is (kubectl get kubernetesreleases) ",
        ),
        (
            "r34",
            "v1.33.5",
            "release r34 is of v1.34.3, and is named for v1.33.5; name a release of v1.33.5 ",
        ),
        (
            "r33",
            "v1.33.5",
            "the values of release r33 for v1.33.5 can't be edited; create a KubernetesRelease with the values that you want, and name it there ",
        ),
    ] {
        let refused = world.edit(&start, put(by_hand(release, version))).unwrap_err();
        assert_eq!(refused, format!("{field}{message}{rule}"));
    }
    // A pin that is taken out by hand comes back.
    let (back, _) = world.edit(&start, put(Pins::default().to_annotation())).unwrap();
    assert_eq!(back, start);
}

#[test]
fn rows_at_their_end_warn() {
    let mut world = World::new();
    world.row("r34").support.tier = instar_api::Tier::Deprecated;
    world.row("r35").support.end_of_life = Some("2026-11-19".parse().unwrap());
    let old = world.create("v1.33.5");
    let mut new = old.clone();
    set_version("v1.35.4")(&mut new);
    let admitted = world.judge(Some(&old), &new).unwrap();
    let found: Vec<_> = admitted
        .findings
        .iter()
        .map(|finding| (finding.what.as_str(), finding.strictest))
        .collect();
    // The one on the way is not what was asked for, so no policy refuses it.
    assert_eq!(
        found,
        [
            ("release r34 (v1.34.3) is deprecated", instar_api::Enforcement::Warn),
            (
                "release r35 (v1.35.4) reached its end of life on 2026-11-19",
                instar_api::Enforcement::Enforce
            ),
        ]
    );
}

#[test]
fn a_cluster_that_goes_is_left_alone() {
    let world = World::new();
    let mut going = world.create("v1.33.5");
    going["metadata"]["deletionTimestamp"] = json!("2026-11-20T00:00:00Z");
    let mut edited = going.clone();
    set_version("v1.0.0")(&mut edited);
    assert_eq!(world.admit(Some(&going), &edited), Ok(Admitted::default()));
}
