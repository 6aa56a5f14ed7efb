//! From files to what is printed.

use std::io::Write;

use clap::Parser;
use serde_json::Value;

use super::{
    files::{self, Files},
    input, *,
};
use crate::{Outcome, cli::Cli, yaml};

const CLASS: &str = include_str!("testdata/class.yaml");
const TEMPLATES: &str = include_str!("testdata/templates.yaml");
const RELEASES: &str = include_str!("testdata/releases.yaml");

fn args(line: &str) -> WireArgs {
    let cli = Cli::try_parse_from(["instar", "wire", "-f", "x"].into_iter().chain(line.split_whitespace()));
    cli.unwrap().into_wire().unwrap()
}

fn files(texts: &[&str]) -> Result<Files, files::Error> {
    let mut files = Files::default();
    for (at, text) in texts.iter().enumerate() {
        files.add(format!("{at}.yaml"), text)?;
    }
    Ok(files)
}

fn wired(texts: &[&str], line: &str) -> Result<Answer, Error> {
    let args = args(line);
    let input = input::from_files(&files(texts)?, args.namespace.as_deref(), args.class.as_deref())?;
    answer(&input, &args)
}

fn done(texts: &[&str]) -> Answer {
    wired(texts, "").unwrap()
}

fn error(texts: &[&str], line: &str) -> String {
    wired(texts, line).unwrap_err().to_string()
}

#[test]
fn a_class_is_wired_from_files() {
    let answer = done(&[CLASS, TEMPLATES, RELEASES]);
    assert_eq!(answer.outcome, Outcome::Done);
    insta::assert_snapshot!("wired", answer.text);
    insta::assert_snapshot!("notes", answer.notes.join("\n"));
}

#[test]
fn the_order_of_inputs_never_matters() {
    let expected = done(&[CLASS, TEMPLATES, RELEASES]);
    let one = [RELEASES, TEMPLATES, CLASS].join("\n---\n");
    for texts in [
        vec![RELEASES, TEMPLATES, CLASS],
        vec![TEMPLATES, CLASS, RELEASES],
        vec![&one],
    ] {
        let answer = done(&texts);
        assert_eq!(answer.text, expected.text);
    }
}

#[test]
fn json_and_yaml_are_the_same_class() {
    let texts = [CLASS, TEMPLATES, RELEASES];
    let json: Value = serde_json::from_str(&wired(&texts, "-o json").unwrap().text).unwrap();
    assert_eq!(yaml::read(&done(&texts).text).unwrap(), [json]);
}

#[test]
fn check_fails_until_the_class_is_applied() {
    let answer = wired(&[CLASS, TEMPLATES, RELEASES], "--check").unwrap();
    assert_eq!((answer.outcome, answer.text.as_str()), (Outcome::CheckFailed, ""));
    let last = answer.notes.last().unwrap();
    assert!(
        last.starts_with(
            "check failed: ClusterClass fleet/docker is not up to date: instar wire would change spec.patches ("
        ) && last.contains("spec.kubernetesVersions"),
        "{last}"
    );

    let applied = done(&[CLASS, TEMPLATES, RELEASES]).text;
    let answer = wired(&[&applied, TEMPLATES, RELEASES], "--check").unwrap();
    assert_eq!((answer.outcome, answer.text.as_str()), (Outcome::Done, ""));
    assert_eq!(done(&[&applied, TEMPLATES, RELEASES]).text, applied);
}

#[test]
fn strict_prints_nothing_that_could_be_applied_by_halves() {
    let answer = wired(&[CLASS, TEMPLATES, RELEASES], "--strict").unwrap();
    assert_eq!((answer.outcome, answer.text.as_str()), (Outcome::CheckFailed, ""));
    assert!(
        answer.notes.iter().any(|note| note.starts_with("not wired: ")),
        "{:?}",
        answer.notes
    );
    assert!(answer.notes.iter().any(|note| note.starts_with("release left out: ")));
}

#[test]
fn a_template_that_is_missing_is_named() {
    let answer = done(&[CLASS, RELEASES]);
    let missing = answer
        .notes
        .iter()
        .filter(|note| note.contains("the template is missing from the input"));
    assert_eq!(missing.count(), 3, "{:?}", answer.notes);
}

#[test]
fn without_a_release_nothing_is_unwired() {
    let applied = done(&[CLASS, TEMPLATES, RELEASES]).text;
    assert_eq!(
        error(&[&applied, TEMPLATES], ""),
        "found no KubernetesRelease to wire: create one first, or add its file with -f"
    );
    let number = RELEASES.split("---\n").nth(2).unwrap();
    let said = error(&[&applied, TEMPLATES, number], "");
    assert!(
        said.contains("(release left out: KubernetesRelease number in 2.yaml"),
        "{said}"
    );
}

/// A row of a team's own catalog, which sets a further pointer.
const OF_TEAM: &str = "
apiVersion: upgrade.cluster.x-k8s.io/v1alpha1
kind: KubernetesRelease
metadata: {name: team-v1.34.3}
spec:
  catalog: team
  version: v1.34.3
  machineImages:
    - kind: DevMachineTemplate
      values:
        - {pointer: /spec/template/spec/customImage, value: team}
        - {pointer: /spec/template/spec/further, value: team}
";

#[test]
fn rows_of_another_catalog_do_not_count() {
    let expected = done(&[CLASS, TEMPLATES, RELEASES]);
    let answer = done(&[CLASS, TEMPLATES, RELEASES, OF_TEAM]);
    assert_eq!((answer.text, answer.notes), (expected.text.clone(), expected.notes));
    let answer = wired(&[&expected.text, TEMPLATES, RELEASES, OF_TEAM], "--check").unwrap();
    assert_eq!(answer.outcome, Outcome::Done, "{:?}", answer.notes);

    let label = "  labels:\n    upgrade.cluster.x-k8s.io/catalog: team\n";
    let of_team = CLASS.replacen("  labels:\n", label, 1);
    let answer = done(&[&of_team, TEMPLATES, RELEASES, OF_TEAM]);
    assert!(answer.text.contains("/spec/template/spec/further"), "{}", answer.text);
    assert!(!answer.text.contains("v1.33"), "{}", answer.text);
    let unreadable = answer.notes.iter().filter(|note| note.starts_with("release left out"));
    assert_eq!(unreadable.count(), 0, "{:?}", answer.notes);
    assert_eq!(
        error(&[&of_team, TEMPLATES, RELEASES], ""),
        "found no KubernetesRelease of catalog team to wire: create one first, or add its file with -f"
    );
}

#[test]
fn the_class_must_be_clear() {
    let other = CLASS.replace("name: docker\n", "name: other\n");
    assert_eq!(
        error(&[CLASS, &other], ""),
        "the files contain more than one ClusterClass, ClusterClass fleet/docker, ClusterClass fleet/other: name one as CLASS, and its namespace with -n if the names are equal"
    );
    let answer = wired(&[CLASS, &other, TEMPLATES, RELEASES], "other").unwrap();
    assert!(answer.text.contains("name: other"), "{}", answer.text);
    assert_eq!(
        error(&[TEMPLATES, RELEASES], "-n fleet"),
        "no ClusterClass of namespace fleet in 0.yaml, 1.yaml: add its file, or use the name of one in the cluster"
    );
    assert_eq!(
        error(
            &[&CLASS.replace(
                "cluster.x-k8s.io/v1beta2\nkind: ClusterClass",
                "cluster.x-k8s.io/v1beta1\nkind: ClusterClass"
            )],
            ""
        ),
        "ClusterClass of apiVersion cluster.x-k8s.io/v1beta1 can't be wired: expected kind ClusterClass of apiVersion cluster.x-k8s.io/v1beta2 (kubectl get clusterclasses.v1beta2.cluster.x-k8s.io prints it so)"
    );
}

#[test]
fn what_is_given_twice_must_be_the_same() {
    assert_eq!(
        done(&[CLASS, CLASS, TEMPLATES, RELEASES]).text,
        done(&[CLASS, TEMPLATES, RELEASES]).text
    );
    let changed = CLASS.replace("default-worker", "another-worker");
    assert_eq!(
        error(&[CLASS, &changed], ""),
        "ClusterClass fleet/docker is in 0.yaml (document 1) and in 1.yaml (document 1), with different content: remove one of them"
    );
}

#[test]
fn templates_count_in_the_version_and_namespace_of_the_class_only() {
    let old = TEMPLATES.replace(
        "infrastructure.cluster.x-k8s.io/v1beta2",
        "infrastructure.cluster.x-k8s.io/v1beta1",
    );
    let said = error(&[CLASS, &old, RELEASES], "");
    assert!(said.contains("has apiVersion infrastructure.cluster.x-k8s.io/v1beta1, but the class refers to apiVersion infrastructure.cluster.x-k8s.io/v1beta2"), "{said}");
    let elsewhere = TEMPLATES.replace("namespace: fleet", "namespace: other");
    assert_eq!(
        done(&[CLASS, TEMPLATES, &elsewhere, RELEASES]).text,
        done(&[CLASS, TEMPLATES, RELEASES]).text
    );
    let nowhere = TEMPLATES.replace("  namespace: fleet\n", "");
    assert_eq!(
        done(&[CLASS, &nowhere, RELEASES]).text,
        done(&[CLASS, TEMPLATES, RELEASES]).text
    );
    let said = error(&[CLASS, TEMPLATES, &nowhere, RELEASES], "");
    assert!(
        said.contains(" is in more than one file, ") && !said.contains("0.yaml"),
        "{said}"
    );
}

#[test]
fn lists_are_read_as_what_they_hold() {
    let items: Vec<Value> = yaml::read(RELEASES).unwrap();
    let bare: Vec<Value> = items
        .iter()
        .cloned()
        .map(|mut item| {
            item.as_object_mut()
                .unwrap()
                .retain(|field, _| field != "apiVersion" && field != "kind");
            item
        })
        .collect();
    let by_kubectl = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items});
    let by_the_server = serde_json::json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "KubernetesReleaseList", "items": bare,
    });
    let expected = done(&[CLASS, TEMPLATES, RELEASES]).text;
    for list in [by_kubectl, by_the_server] {
        assert_eq!(done(&[CLASS, TEMPLATES, &list.to_string()]).text, expected);
    }
}

#[test]
fn files_and_standard_input_are_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(CLASS.as_bytes()).unwrap();
    let rest = [TEMPLATES, RELEASES].join("\n---\n");
    let paths = [file.path().to_owned(), "-".into()];
    let read = Files::read(&paths, rest.as_bytes()).unwrap();
    let input = input::from_files(&read, None, None).unwrap();
    assert_eq!(
        answer(&input, &args("")).unwrap().text,
        done(&[CLASS, TEMPLATES, RELEASES]).text
    );

    let twice = Files::read(&["-".into(), "-".into()], rest.as_bytes()).unwrap_err();
    assert_eq!(twice.to_string(), "standard input can be read only once: use -f - once");
    let missing = Files::read(&["/no/such/file".into()], rest.as_bytes()).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read /no/such/file");
}

#[test]
fn what_is_no_object_is_named() {
    assert_eq!(
        files(&["a: 1\n"]).unwrap_err().to_string(),
        "0.yaml (document 1) is not a Kubernetes object: apiVersion is missing"
    );
    assert_eq!(files(&["a: [\n"]).unwrap_err().to_string(), "0.yaml is not valid YAML");
}
