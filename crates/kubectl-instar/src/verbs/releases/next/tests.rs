use instar_api::KubernetesReleaseSpec;
use serde_json::{Value, json};

use super::*;

fn from(spec: Value) -> KubernetesReleaseSpec {
    serde_json::from_value(spec).unwrap()
}

fn next(name: &str, spec: &KubernetesReleaseSpec, version: &str, revision: u32) -> String {
    row((name, spec), &version.parse().unwrap(), revision, None)
        .yaml()
        .unwrap()
}

#[test]
fn the_next_row_is_the_other_one_with_the_new_version() {
    let old = from(json!({
        "version": "v1.35.4", "revision": 2,
        "support": { "tier": "Latest", "since": "2026-01-01", "endOfLife": "2027-02-28" },
        "upgradesFrom": ">=1.34.2, <1.36.0",
        "machineImages": [
            { "kind": "K", "role": "Worker", "values": [
                { "pointer": "/spec/image", "value": "ubuntu-2404-kube-v1.35.4" },
                { "pointer": "/spec/name", "value": "kube-1-35-4-x11.35.4" },
                { "pointer": "/spec/id", "value": "ami-0123" },
                { "pointer": "/spec/source", "json": "{\"url\":\"https://example.org/1.35.4/image\"}" },
            ] },
        ],
        "components": { "etcd": { "imageTag": "3.6.6-0" }, "coreDNS": { "imageTag": "v1.13.1", "imageRepository": "example.org/dns" } },
    }));
    insta::assert_snapshot!(next("v1.35.4-2", &old, "v1.36.3", 1), @r#"
    apiVersion: upgrade.cluster.x-k8s.io/v1alpha1
    kind: KubernetesRelease
    metadata:
      name: v1.36.3-1
    spec:
      version: v1.36.3
      revision: 1
      # Check: set endOfLife, the last day on which you support this row.
      # Give the row that was the Latest before the tier Supported.
      support:
        tier: Latest
      # Check: it was ">=1.34.2, <1.36.0".
      upgradesFrom: ">=1.35.0, <1.37.0"
      machineImages:
      - apiGroup: infrastructure.cluster.x-k8s.io
        kind: K
        role: Worker
        values:
        - pointer: /spec/image
          value: ubuntu-2404-kube-v1.36.3
        - pointer: /spec/name
          value: kube-1-36-3-x11.35.4
        # Check: this value doesn't name the version, so it is that of the other row.
        - pointer: /spec/id
          value: ami-0123
        - pointer: /spec/source
          json: "{\"url\":\"https://example.org/1.36.3/image\"}"
      components:
        etcd:
          imageTag: 3.6.8-0
        coreDNS:
          # Check: the tag is that of Kubernetes' own image; see that example.org/dns has it.
          imageTag: v1.14.2
          imageRepository: example.org/dns
    "#);
}

#[test]
fn etcd_is_one_from_which_a_safe_way_leads_on() {
    let old = from(json!({ "version": "v1.32.9" }));
    let text = next("row", &old, "v1.33.6", 1);
    assert!(
        text.contains(
            "  # kubeadm v1.33.6 brings 3.5.24-0, from which no safe way leads to 3.6.\n      imageTag: 3.5.26-0\n"
        ),
        "{text}"
    );
    assert!(text.contains("  name: v1.33.6-1\n"), "{text}");
    // Neither goes back.
    let old = from(
        json!({ "version": "v1.34.1", "components": { "etcd": { "imageTag": "3.6.9-0" }, "coreDNS": { "imageTag": "v1.12.9" } } }),
    );
    let text = next("v1.34.1-1", &old, "v1.34.3", 1);
    assert!(
        text.contains("imageTag: 3.6.9-0") && text.contains("imageTag: v1.12.9"),
        "{text}"
    );
    // Of a minor that is not known nothing is said.
    let text = next("v1.34.1-1", &old, "v1.99.0", 1);
    assert!(
        text.contains("doesn't know which etcd and CoreDNS kubeadm v1.99.0 brings"),
        "{text}"
    );
    assert!(text.contains("imageTag: 3.6.9-0"), "{text}");
}

#[test]
fn the_same_version_is_a_new_image() {
    let old = from(json!({
        "version": "v1.35.4", "machineImages": [{ "kind": "K", "values": [{ "pointer": "/spec/image", "value": "kube-v1.35.4" }] }],
        "components": { "etcd": { "imageTag": "3.6.6-0" } },
    }));
    let text = next("flatcar-v1.35.4-1", &old, "v1.35.4", 2);
    assert!(text.contains("  name: flatcar-v1.35.4-2\n"), "{text}");
    assert!(text.contains("# Check: put the new image here.\n"), "{text}");
    assert!(!text.contains("coreDNS"), "{text}");
}

#[test]
fn what_a_distribution_puts_behind_a_version_is_left_to_a_person() {
    let old = from(json!({
        "version": "v1.33.5+vendor.1", "machineImages": [{ "kind": "K", "values": [{ "pointer": "/spec/image", "value": "kube-v1.33.5---vendor.1" }] }],
    }));
    let text = next("v1.33.5---vendor.1-1", &old, "v1.34.3+vendor.2", 1);
    assert!(text.contains("  name: v1.34.3-vendor.2-1\n"), "{text}");
    assert!(text.contains("value: kube-v1.34.3---vendor.1"), "{text}");
    assert!(
        text.contains("only the three numbers of the version were replaced"),
        "{text}"
    );
}

#[test]
fn what_is_printed_is_read_back() {
    let old = from(
        json!({ "version": "v1.35.4", "machineImages": [{ "kind": "K", "values": [{ "pointer": "/spec/a", "value": "x: # y" }] }] }),
    );
    let document = row(("a", &old), &"v1.36.3".parse().unwrap(), 1, Some("b"));
    let read = instar::yaml::read(&document.yaml().unwrap()).unwrap();
    assert_eq!(read[0]["metadata"]["name"], "b");
    assert_eq!(from(read[0]["spec"].clone()), document.spec);
}
