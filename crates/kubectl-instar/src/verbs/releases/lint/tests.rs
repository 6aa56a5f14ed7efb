use std::fs;

use super::*;

const TODAY: &str = "2026-11-30";

/// What is printed of these files.
fn printed(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let read = files::read(&[folder.path().to_owned()], io::empty()).unwrap();
    let findings = findings(&read, TODAY.parse().unwrap()).unwrap();
    let prefix = format!("{}/", folder.path().display());
    findings
        .iter()
        .map(|finding| line(finding).replace(&prefix, ""))
        .collect()
}

const ROW: &str = "\
apiVersion: upgrade.cluster.x-k8s.io/v1alpha1
kind: KubernetesRelease
metadata:
  name: v1.34.3-1
spec:
  version: v1.34.3
  machineImages:
    - kind: DevMachineTemplate
      values:
        - pointer: /spec/template/spec/image
          value: kube-v1.34.3
  components:
    etcd:
      imageTag: 3.6.5-0
";

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let second = ROW
        .replace("v1.34.3-1", "v1.34.3-2")
        .replace("    - kind:", "    - kin:");
    let third = ROW
        .replace("v1.34.3-1", "V1.34.3_3")
        .replace("/spec/template/spec/image", "/spec/a/0");
    let text = format!("# rows\n{ROW}---\n{second}---\n# the third\n{third}");
    let lines = printed(&[("rows.yaml", &text)]);
    let begins = [
        "rows.yaml:24: error: KubernetesRelease v1.34.3-2: spec.machineImages[0]: kind is missing: set it [schema]",
        "rows.yaml:24: error: KubernetesRelease v1.34.3-2: spec.machineImages[0].kin: there is no such field",
        "rows.yaml:36: error: KubernetesRelease V1.34.3_3: metadata.name: \"V1.34.3_3\" is no name",
        "rows.yaml:38: error: KubernetesRelease V1.34.3_3: spec: machineImages[0].values[0]: \"/spec/a/0\" is not a JSON Pointer",
    ];
    assert_eq!(lines.len(), begins.len(), "{lines:#?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    assert!(lines[3].ends_with("[release-readable]"), "{}", lines[3]);
}

#[test]
fn what_is_wrong_with_the_set_is_named() {
    let newer = ROW.replace("1.34.3", "1.36.1").replace("3.6.5-0", "3.6.8-0");
    let other = ROW.replace("3.6.5-0", "3.6.4-0");
    let lines = printed(&[
        ("a.yaml", ROW),
        ("b/c.yml", &other),
        ("b/d.yaml", &newer),
        ("b/notes.txt", "not: [yaml"),
        (
            "class.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: v1.34.3-1}\n",
        ),
    ]);
    assert_eq!(
        lines,
        [
            "a.yaml:1: error: no row is of v1.35, and a control plane can't skip a minor: no cluster gets from v1.34 to v1.36; add a row of v1.35 [gap]",
            "b/c.yml:1: error: KubernetesRelease v1.34.3-1: a.yaml:1 has another row of this name: give one of them a higher revision and another name [same-name]",
        ]
    );
}

#[test]
fn a_list_and_another_version_of_the_api_are_read() {
    let indented = ROW.replace('\n', "\n    ");
    let list = format!("apiVersion: v1\nkind: List\nitems:\n  - {}", indented.trim_end());
    assert_eq!(printed(&[("list.yaml", &list)]), [] as [String; 0]);
    let lines = printed(&[("row.yaml", &ROW.replace("v1alpha1", "v1beta7"))]);
    assert_eq!(
        lines,
        [
            "row.yaml:1: error: KubernetesRelease v1.34.3-1: apiVersion: \"upgrade.cluster.x-k8s.io/v1beta7\" is not known: it is upgrade.cluster.x-k8s.io/v1alpha1 [schema]"
        ]
    );
}

#[test]
fn the_samples_are_fine() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/samples/");
    for sample in ["catalog-in-memory.yaml", "vsphere/catalog.yaml"] {
        let read = files::read(&[PathBuf::from(format!("{samples}{sample}"))], io::empty()).unwrap();
        let findings = findings(&read, TODAY.parse().unwrap()).unwrap();
        assert_eq!(findings, [], "{sample}");
        assert!(read.rows.len() > 2);
    }
}

#[test]
fn what_cant_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.yaml");
    fs::write(&path, "a: [").unwrap();
    let error = files::read(&[path], io::empty()).unwrap_err();
    assert!(matches!(error, Error::Yaml { .. }), "{error}");
    assert_eq!(error.exit(), Exit::Unknown);
    let read = files::read(&[PathBuf::from("-")], ROW.as_bytes()).unwrap();
    assert_eq!(read.rows[0].place.file, "standard input");
}
