use instar_api::KubernetesReleaseSpec;

use super::*;
use crate::{Fallback, Wiring};

const IMAGE: &str = "/spec/template/spec/backend/image";

fn catalog_of(rows: &[Value]) -> Catalog {
    let specs: Vec<(String, KubernetesReleaseSpec)> = rows
        .iter()
        .map(|row| {
            let spec: KubernetesReleaseSpec = serde_json::from_value(row.clone()).unwrap();
            (format!("{}-{}", spec.version, spec.revision), spec)
        })
        .collect();
    Catalog::new(specs.iter().map(|(name, spec)| (name.as_str(), spec)))
}

fn row(version: &str) -> Value {
    json!({
        "version": version,
        "machineImages": [{"kind": "DevMachineTemplate", "values": [{"pointer": IMAGE, "value": format!("image-{version}")}]}],
        "components": {"etcd": {"imageTag": "3.6.5-0"}, "coreDNS": {"imageTag": "v1.12.1"}},
    })
}

fn catalog() -> Catalog {
    catalog_of(&[row("v1.34.3"), row("v1.35.4")])
}

fn reference(kind: &str, name: &str) -> TemplateRef {
    let group = if kind == "KubeadmControlPlaneTemplate" {
        "controlplane"
    } else {
        "infrastructure"
    };
    TemplateRef {
        api_version: format!("{group}.cluster.x-k8s.io/v1beta2"),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn class() -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "ClusterClass",
        "metadata": {"name": "c", "namespace": "ns"},
        "spec": {
            "controlPlane": {
                "templateRef": reference("KubeadmControlPlaneTemplate", "kcp"),
                "machineInfrastructure": {"templateRef": reference("DevMachineTemplate", "cp")},
            },
            "workers": {
                "machineDeployments": [
                    {"class": "small", "infrastructure": {"templateRef": reference("DevMachineTemplate", "bare")}, "unknownToUs": 1},
                    {"class": "large", "infrastructure": {"templateRef": reference("DevMachineTemplate", "bare")}},
                    {"class": "whole", "infrastructure": {"templateRef": reference("DevMachineTemplate", "cp")}},
                ],
                "machinePools": [{"class": "pool", "infrastructure": {"templateRef": reference("DevMachinePoolTemplate", "mp")}}],
            },
            "patches": [{"name": "own", "definitions": [], "unknownToUs": true}],
        },
    })
}

fn templates() -> Templates {
    let template = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    [
        (
            reference("KubeadmControlPlaneTemplate", "kcp"),
            template(json!({"kubeadmConfigSpec": {}})),
        ),
        (reference("DevMachineTemplate", "cp"), template(json!({"backend": {}}))),
        (reference("DevMachineTemplate", "bare"), template(json!({}))),
        (reference("DevMachinePoolTemplate", "mp"), template(json!({}))),
    ]
    .into()
}

fn unwired(wired: &Wired) -> Vec<String> {
    wired.unwired.iter().map(ToString::to_string).collect()
}

#[test]
fn wires_and_reads_it_back() {
    let wired = wire(&class(), &templates(), &catalog()).unwrap();
    let text = serde_json::to_string_pretty(&wired.class["spec"]).unwrap();
    insta::assert_snapshot!("wired_class", text);
    assert_eq!(
        unwired(&wired),
        [
            "DevMachinePoolTemplate mp: no release has an image for DevMachinePoolTemplate of workers: add one to spec.machineImages of a new row"
        ]
    );

    let spec: ClusterClassSpec = serde_json::from_value(wired.class["spec"].clone()).unwrap();
    let wiring = Wiring::read(&spec).unwrap();
    let image: JsonPointer = IMAGE.parse().unwrap();
    let stops = [(image.clone(), Fallback::Stop)].into();
    assert_eq!(wiring.control_plane(&reference("DevMachineTemplate", "cp")), stops);
    for worker in ["small", "large", "whole"] {
        assert_eq!(
            wiring.machine_deployment(worker, &reference("DevMachineTemplate", "any")),
            stops,
            "{worker}"
        );
    }
    assert!(
        wiring
            .machine_deployment("other", &reference("DevMachineTemplate", "any"))
            .is_empty()
    );
    assert!(
        wiring
            .machine_pool("pool", &reference("DevMachinePoolTemplate", "mp"))
            .is_empty()
    );
    let kubeadm: Vec<String> = wiring
        .kubeadm(&reference("KubeadmControlPlaneTemplate", "kcp"))
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        kubeadm,
        [
            "/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/dns/imageTag",
            "/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/etcd/local/imageTag",
        ]
    );
    let bare: ClusterClassSpec = serde_json::from_value(class()["spec"].clone()).unwrap();
    assert!(Wiring::read(&bare).is_none());
}

#[test]
fn a_second_run_changes_nothing() {
    let once = wire(&class(), &templates(), &catalog()).unwrap();
    let twice = wire(&once.class, &templates(), &catalog()).unwrap();
    assert_eq!(once, twice);
}

#[test]
fn the_class_own_patches_stay_and_come_first() {
    let wired = wire(&class(), &templates(), &catalog()).unwrap();
    let patches = wired.class["spec"]["patches"].as_array().unwrap();
    assert_eq!(patches[0], class()["spec"]["patches"][0]);
    assert_eq!(wired.class["spec"]["workers"], class()["spec"]["workers"]);
}

#[test]
fn a_changed_text_does_not_count_as_rendered() {
    let mut wired = wire(&class(), &templates(), &catalog()).unwrap().class;
    let patch = wired
        .pointer_mut("/spec/patches/1/definitions/1/jsonPatches/0/valueFrom/template")
        .unwrap();
    *patch = json!("ubuntu");
    let spec: ClusterClassSpec = serde_json::from_value(wired["spec"].clone()).unwrap();
    assert!(
        Wiring::read(&spec)
            .unwrap()
            .control_plane(&reference("DevMachineTemplate", "cp"))
            .is_empty()
    );
}

#[test]
fn a_finding_is_said_once_with_the_rows_that_it_is_true_of() {
    let mut further = row("v1.36.3");
    further["machineImages"][0]["values"] = json!([{"pointer": "/spec/template/spec/other", "value": 1}]);
    let others = ["v1.32.8", "v1.33.5", "v1.34.3", "v1.35.4"];
    for (rows, whose) in [
        (1, "release v1.32.8-1 sets"),
        (2, "releases v1.32.8-1 and v1.33.5-1 set"),
        (4, "releases v1.32.8-1, v1.33.5-1 and 2 more set"),
    ] {
        let mut all: Vec<Value> = others.iter().take(rows).map(|version| row(version)).collect();
        all.push(further.clone());
        let named = unwired(&wire(&class(), &templates(), &catalog_of(&all)).unwrap());
        let about: Vec<&String> = named
            .iter()
            .filter(|line| line.starts_with("DevMachineTemplate bare at /spec/template/spec/other: "))
            .collect();
        assert!(matches!(&*about, [line] if line.contains(whose)), "{named:#?}");
    }
}

#[test]
fn a_value_of_the_template_is_what_rows_without_one_keep() {
    let mut bare = row("v1.33.5");
    bare["machineImages"][0]["values"] = json!([{"pointer": "/spec/template/spec/other", "value": 1}]);
    let catalog = catalog_of(&[bare, row("v1.34.3")]);
    let mut templates = templates();
    let own = json!({"spec": {"template": {"spec": {"backend": {"image": "own"}}}}});
    templates.insert(reference("DevMachineTemplate", "cp"), own);
    let wired = wire(&class(), &templates, &catalog).unwrap();
    let named = unwired(&wired);
    let missing = |template: &str, pointer: &str, release: &str| {
        let line = format!(
            "DevMachineTemplate {template} at {pointer}: release {release} sets no value there, others do, and the template has none: Clusters of this class can't use that release"
        );
        assert!(named.contains(&line), "{line} is not in {named:#?}");
    };
    missing("bare", IMAGE, "v1.33.5-1");
    missing("cp", "/spec/template/spec/other", "v1.34.3-1");
    assert!(
        !named
            .iter()
            .any(|line| line.starts_with(&format!("DevMachineTemplate cp at {IMAGE}")))
    );
    let spec: ClusterClassSpec = serde_json::from_value(wired.class["spec"].clone()).unwrap();
    let rendered = Wiring::read(&spec)
        .unwrap()
        .control_plane(&reference("DevMachineTemplate", "cp"));
    assert_eq!(rendered[&IMAGE.parse().unwrap()], Fallback::Own);
}

#[test]
fn what_would_undo_an_own_patch_is_named() {
    let mut class = class();
    class["spec"]["patches"] = json!([{
        "name": "own",
        "definitions": [{
            "selector": {"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevMachineTemplate", "matchResources": {}},
            "jsonPatches": [{"op": "add", "path": "/spec/template/spec/backend", "value": {"size": 1}}],
        }],
    }]);
    let named = unwired(&wire(&class, &templates(), &catalog()).unwrap());
    assert!(
        named.contains(&format!("DevMachineTemplate bare at {IMAGE}: the template lacks /spec/template/spec/backend, and adding it would undo what the class' own patch \"own\" writes at /spec/template/spec/backend: put /spec/template/spec/backend: {{}} into the template")),
        "{named:#?}"
    );
}

#[test]
fn an_external_etcd_is_left_alone() {
    let mut templates = templates();
    let kcp = json!({"spec": {"template": {"spec": {"kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"external": {"endpoints": ["e"]}}}}}}}});
    templates.insert(reference("KubeadmControlPlaneTemplate", "kcp"), kcp);
    let wired = wire(&class(), &templates, &catalog()).unwrap();
    assert_eq!(
        wired.class["metadata"]["annotations"][ETCD_ANNOTATION],
        json!("external")
    );
    let spec: ClusterClassSpec = serde_json::from_value(wired.class["spec"].clone()).unwrap();
    let rendered = Wiring::read(&spec)
        .unwrap()
        .kubeadm(&reference("KubeadmControlPlaneTemplate", "kcp"));
    assert!(
        rendered.keys().all(|pointer| !pointer.as_str().contains("etcd")),
        "{rendered:?}"
    );
    assert!(
        unwired(&wired).contains(
            &"KubeadmControlPlaneTemplate kcp: its etcd is external, so etcd's image is left alone".to_owned()
        )
    );
}

#[test]
fn versions_are_those_of_the_catalog_and_of_the_class() {
    let mut preview = row("v1.35.9");
    preview["support"] = json!({"tier": "Preview"});
    let catalog = catalog_of(&[row("v1.31.1"), row("v1.33.5"), row("v1.34.3"), preview]);
    let mut class = class();
    class["spec"]["kubernetesVersions"] = json!(["v1.34.1", "1.34"]);
    let wired = wire(&class, &templates(), &catalog).unwrap();
    assert_eq!(
        wired.class["spec"]["kubernetesVersions"],
        json!(["v1.33.5", "v1.34.1", "v1.34.3"])
    );
    let named = unwired(&wired);
    for line in [
        "spec.kubernetesVersions: v1.31.1: is left out: a minor above it has no release, and Cluster API allows no gap",
        "spec.kubernetesVersions: v1.34.1: has no release, so no path through it is accepted; it stays, since a Cluster may use it",
        "spec.kubernetesVersions: \"1.34\": is left out: it is no version",
    ] {
        assert!(named.contains(&line.to_owned()), "{line} is not in {named:#?}");
    }
}

#[test]
fn a_missing_template_is_named() {
    let mut templates = templates();
    templates.remove(&reference("DevMachineTemplate", "bare"));
    let named = unwired(&wire(&class(), &templates, &catalog()).unwrap());
    assert!(named.contains(&"DevMachineTemplate bare: the template is missing from the input, so the parents that it lacks aren't known: give it too".to_owned()), "{named:#?}");
}

#[test]
fn only_a_class_is_wired() {
    let error = wire(
        &json!({"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "ClusterClass"}),
        &Templates::new(),
        &catalog(),
    );
    assert!(
        error.unwrap_err().to_string().starts_with(
            "ClusterClass of apiVersion cluster.x-k8s.io/v1beta1 can't be wired: expected kind ClusterClass"
        )
    );
}

/// The wired class with one more patch at a place among its own and ours.
fn with_patch(at: usize, operation: &Value) -> ClusterClassSpec {
    let mut spec = wire(&class(), &templates(), &catalog()).unwrap().class["spec"].clone();
    let selector = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevMachineTemplate",
        "matchResources": {"controlPlane": true, "machineDeploymentClass": {"names": ["small"]}},
    });
    let patch = json!({"name": "late", "definitions": [{"selector": selector, "jsonPatches": [operation]}]});
    spec["patches"].as_array_mut().unwrap().insert(at, patch);
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_later_patch_takes_out_what_it_writes_over() {
    let template = reference("DevMachineTemplate", "cp");
    // The class' own patch, the control plane's, the pools', and then the end.
    let (first, between, last) = (0, 2, 3);
    for (op, path, at, overrides) in [
        ("add", IMAGE, last, true),
        ("replace", IMAGE, last, true),
        ("remove", IMAGE, last, true),
        ("remove", "/spec/template/spec/backend", last, true),
        ("add", "/spec/template/spec", last, true),
        ("add", "/spec/template/spec/backend/image/tag", last, true),
        ("add", "/spec/template/spec/backend/imageOfAnother", last, false),
        ("add", "/spec/template/metadata/labels", last, false),
        ("add", IMAGE, between, true),
        ("add", IMAGE, first, false),
        ("remove", "/spec/template/spec/backend", first, false),
    ] {
        let spec = with_patch(at, &json!({"op": op, "path": path, "value": "x"}));
        let wiring = Wiring::read(&spec).unwrap();
        let renders = !wiring.control_plane(&template).is_empty();
        assert_eq!(renders, !overrides, "{op} {path} at {at}");
        // The pools' patch comes after the place between.
        let of_pool = !wiring.machine_deployment("small", &template).is_empty();
        assert_eq!(of_pool, !overrides || at == between, "{op} {path} at {at}");
        assert!(
            !wiring.machine_deployment("large", &template).is_empty(),
            "another class of pools"
        );
        let kubeadm = wiring.kubeadm(&reference("KubeadmControlPlaneTemplate", "kcp"));
        assert_eq!(kubeadm.len(), 2, "a template of another kind");
    }
}

#[test]
fn wiring_again_mends_the_order() {
    let spec = with_patch(3, &json!({"op": "add", "path": IMAGE, "value": "x"}));
    let mut late = class();
    late["spec"] = json!(spec);
    let wired = wire(&late, &templates(), &catalog()).unwrap();
    assert_ne!(wired.class, late);
    let spec: ClusterClassSpec = serde_json::from_value(wired.class["spec"].clone()).unwrap();
    let rendered = Wiring::read(&spec)
        .unwrap()
        .control_plane(&reference("DevMachineTemplate", "cp"));
    assert_eq!(rendered.len(), 1);
}
