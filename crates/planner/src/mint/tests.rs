use std::sync::Arc;

use instar_capi::Lifecycle;
use jiff::Timestamp;

use super::*;
use crate::snapshot::{ClusterKind, Initialization, ResourceVersion};

fn kube(version: &str) -> KubeVersion {
    version.parse().unwrap()
}

fn release(version: &str) -> String {
    format!("{version}-1").replace('+', "-")
}

fn source(name: &str) -> Template {
    let labels = [
        ("team", "red"),
        ("topology.cluster.x-k8s.io/owned", ""),
        ("argocd.argoproj.io/instance", "x"),
        ("kustomize.toolkit.fluxcd.io/name", "x"),
        ("app.kubernetes.io/instance", "x"),
        ("app.kubernetes.io/managed-by", "Helm"),
        ("applyset.kubernetes.io/part-of", "x"),
    ];
    let annotations = [
        ("note", "kept"),
        ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
        ("cluster.x-k8s.io/cloned-from-name", "x"),
        ("cluster.x-k8s.io/cloned-from-groupkind", "x"),
        ("argocd.argoproj.io/tracking-id", "x"),
        ("meta.helm.sh/release-name", "x"),
        ("clusterctl.cluster.x-k8s.io/block-move", ""),
    ];
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Template {
        api_version: "infrastructure.cluster.x-k8s.io/v1beta1".to_owned(),
        kind: "VSphereMachineTemplate".to_owned(),
        name: name.to_owned(),
        resource_version: ResourceVersion("7".to_owned()),
        labels: map(&labels),
        content: Some(Arc::new(TemplateContent {
            spec: json!({"template": {"spec": {
                "template": "ubuntu-v1.33.5", "providerID": "vsphere://1", "network": {"devices": [{"dhcp4": true}]},
            }}}),
            labels: map(&labels),
            annotations: map(&annotations),
            owners: Vec::new(),
        })),
        kubelet_arguments: None,
        created: Timestamp::UNIX_EPOCH,
        lifecycle: Lifecycle::Active,
    }
}

fn cluster(uid: &str) -> Cluster {
    Cluster {
        namespace: "default".to_owned(),
        name: "blue".to_owned(),
        uid: uid.to_owned(),
        created: None,
        generation: 1,
        lifecycle: Lifecycle::Active,
        kind: ClusterKind::Classic(Box::default()),
        conditions: Vec::new(),
        initialization: Initialization::Done,
        labels: BTreeMap::new(),
    }
}

fn values(pairs: &[(&str, Value)]) -> Values {
    pairs
        .iter()
        .map(|(at, value)| (at.parse().unwrap(), value.clone()))
        .collect()
}

fn minted(
    source: &Template,
    version: &str,
    set: &[(&str, Value)],
    extra: &[(&str, Value)],
) -> Result<Minted, PointerError> {
    mint(&MintOrder {
        source,
        content: source.content.as_ref().unwrap(),
        release: &release(version),
        version: &kube(version),
        values: &values(set),
        extra: &values(extra),
        cluster: &cluster("u-1"),
        role: Role::Worker,
    })
}

const IMAGE: &str = "/spec/template/spec/template";

#[test]
fn the_whole_object() {
    let extra = [
        ("/spec/template/spec/numCPUs", json!(8)),
        ("/spec/template/spec/disk/additional/size~1gi", json!(40)),
    ];
    let minted = minted(
        &source("blue-md-0"),
        "v1.34.3",
        &[(IMAGE, json!("ubuntu-v1.34.3"))],
        &extra,
    )
    .unwrap();
    insta::assert_snapshot!(format!("{:#}", minted.object), @r#"
    {
      "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
      "kind": "VSphereMachineTemplate",
      "metadata": {
        "annotations": {
          "note": "kept",
          "upgrade.cluster.x-k8s.io/rendered": "{\"spec\":\"5dc7e24fff15befe34c728c04104b0f4f60f9ecc962d8e5d165773e7c0603062\",\"values\":\"ae24010647fd03a8d3c9e305a3ac776aa1450c207ce5ce5a7255e19a62760896\"}"
        },
        "labels": {
          "cluster.x-k8s.io/cluster-name": "blue",
          "team": "red",
          "upgrade.cluster.x-k8s.io/release": "v1.34.3-1",
          "upgrade.cluster.x-k8s.io/role": "worker",
          "upgrade.cluster.x-k8s.io/source": "blue-md-0"
        },
        "name": "blue-md-0-v1-34-3-5dc7e24f",
        "namespace": "default",
        "ownerReferences": [
          {
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "name": "blue",
            "uid": "u-1"
          }
        ]
      },
      "spec": {
        "template": {
          "spec": {
            "disk": {
              "additional": {
                "size/gi": 40
              }
            },
            "network": {
              "devices": [
                {
                  "dhcp4": true
                }
              ]
            },
            "numCPUs": 8,
            "template": "ubuntu-v1.34.3"
          }
        }
      }
    }
    "#);
}

#[test]
fn a_template_of_another_group_stays_in_it() {
    const GROUP: &str = "vmware.infrastructure.cluster.x-k8s.io";
    let mut source = source("blue-md-0");
    source.api_version = format!("{GROUP}/v1beta2");
    let spec = json!({"template": {"spec": {
        "className": "best-effort-large", "imageName": "ubuntu-v1.33.5", "storageClass": "gold", "providerID": "vsphere://1",
    }}});
    Arc::make_mut(source.content.as_mut().unwrap()).spec = spec;
    let image = "/spec/template/spec/imageName";
    let minted = minted(&source, "v1.34.3", &[(image, json!("ubuntu-v1.34.3"))], &[]).unwrap();
    assert_eq!(
        (&*minted.template.group, &*minted.template.kind),
        (GROUP, "VSphereMachineTemplate")
    );
    assert_eq!(minted.object["apiVersion"], json!(source.api_version));
    assert_eq!(
        minted.object["spec"]["template"]["spec"],
        json!({"className": "best-effort-large", "imageName": "ubuntu-v1.34.3", "storageClass": "gold"})
    );
}

#[test]
fn the_name_is_of_what_is_rendered_and_for_which_cluster() {
    let name = |source: &Template, image: &str| {
        minted(source, "v1.34.3", &[(IMAGE, json!(image))], &[])
            .unwrap()
            .template
            .name
    };
    let first = name(&source("md"), "a");
    let mut moved = source("md");
    moved.resource_version = ResourceVersion("8".to_owned());
    moved.labels.clear();
    Arc::make_mut(moved.content.as_mut().unwrap()).labels.clear();
    assert_eq!(
        name(&moved, "a"),
        first,
        "neither its labels nor what the server counts"
    );
    let present = source("md");
    let name_for = |cluster: &Cluster| {
        let minted = mint(&MintOrder {
            source: &present,
            content: present.content.as_ref().unwrap(),
            release: "v1.34.3-1",
            version: &"v1.34.3".parse().unwrap(),
            values: &values(&[(IMAGE, json!("a"))]),
            extra: &Values::new(),
            cluster,
            role: Role::Worker,
        });
        minted.unwrap().template.name
    };
    assert_eq!(name_for(&cluster("u-2")), first, "clusterctl move changes uids");
    let another = Cluster {
        name: "green".to_owned(),
        ..cluster("u-1")
    };
    assert_ne!(
        name_for(&another),
        first,
        "Clusters that share a template each have a copy"
    );
    assert_ne!(name(&source("md"), "b"), first);
    let mut other_kind = source("md");
    other_kind.kind = "AWSMachineTemplate".to_owned();
    assert_ne!(name(&other_kind, "a"), first);
}

#[test]
fn names_are_labels_of_dns() {
    let long = "a-very-long-name-of-a-machine-deployment-in-a-very-long-cluster-name";
    for (base, version, expected) in [
        ("md-0", "v1.34.3", "md-0-v1-34-3-"),
        ("md.0", "v1.35.0-rc.1", "md-0-v1-35-0-rc-1-"),
        ("md-0", "v1.33.5+vmware.1-fips.2", "md-0-v1-33-5-vmware-1-fips-2-"),
        (
            long,
            "v1.34.3",
            "a-very-long-name-of-a-machine-deployment-in-a-v1-34-3-",
        ),
        (
            "md-0",
            "v1.34.3-averyveryverylongprerelease.99",
            "md-0-v1-34-3-averyveryverylon-",
        ),
        // A user's own name stays, whatever it looks like.
        ("md-v1-33-5-0123abcd", "v1.34.3", "md-v1-33-5-0123abcd-v1-34-3-"),
    ] {
        let name = minted(&source(base), version, &[], &[]).unwrap().template.name;
        let (rest, hash) = name.split_at(name.len() - 8);
        assert_eq!(rest, expected);
        assert!(
            name.len() <= 63 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{name}"
        );
    }
}

#[test]
fn a_chain_keeps_its_base() {
    let mut template = source("md-0");
    for (version, expected) in [
        ("v1.34.3", "md-0-v1-34-3-"),
        ("v1.34.3+vmware.1", "md-0-v1-34-3-vmware-1-"),
        ("v1.35.0", "md-0-v1-35-0-"),
    ] {
        let next = minted(&template, version, &[(IMAGE, json!(version))], &[]).unwrap();
        assert!(next.template.name.starts_with(expected), "{}", next.template.name);
        let source = &next.object["metadata"]["labels"][SOURCE_LABEL];
        assert_eq!(source.as_str(), Some(template.name.as_str()));
        template.name = next.template.name;
        template.labels.insert(RELEASE_LABEL.to_owned(), version.to_owned());
    }
}

#[test]
fn what_is_in_the_way_is_named() {
    let error = minted(
        &source("md"),
        "v1.34.3",
        &[("/spec/template/spec/network/devices/name", json!(1))],
        &[],
    );
    let message = error.unwrap_err().to_string();
    assert_eq!(
        message,
        "/spec/template/spec/network/devices/name leads through something that is no object"
    );
}

#[test]
fn long_names_become_labels() {
    assert_eq!(label_value("short"), "short");
    let (a, b) = (label_value(&"a".repeat(80)), label_value(&"a".repeat(81)));
    assert_eq!(a.len(), 63);
    assert_ne!(a, b);
}

/// A template of Cluster API Provider vSphere with a value in each field that a user may have set.
fn of_vsphere() -> Template {
    Template {
        api_version: "infrastructure.cluster.x-k8s.io/v1beta2".to_owned(),
        content: Some(Arc::new(TemplateContent {
            spec: json!({ "template": { "metadata": { "labels": { "team": "red" } }, "spec": {
                "providerID": "vsphere://4216f9e7-1a2b-3c4d-5e6f-0123456789ab",
                "failureDomain": "zone-a",
                "powerOffMode": "trySoft",
                "guestSoftPowerOffTimeoutSeconds": 120,
                "namingStrategy": { "template": "{{ .machine.name }}" },
                "template": "/DC0/vm/ubuntu-v1.33.5",
                "cloneMode": "linkedClone",
                "snapshot": "base",
                "server": "vc.example.org",
                "thumbprint": "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D",
                "datacenter": "DC0",
                "folder": "/DC0/vm/prod",
                "datastore": "LocalDS_0",
                "storagePolicyName": "gold",
                "resourcePool": "/DC0/host/DC0_C0/Resources",
                "network": {
                    "devices": [{ "networkName": "VM Network", "dhcp4": true, "nameservers": ["10.0.0.2"] }],
                    "preferredAPIServerCidr": "10.0.0.0/8",
                },
                "numCPUs": 4,
                "numCoresPerSocket": 0,
                "memoryMiB": 8192,
                "diskGiB": 40,
                "additionalDisksGiB": [20, 30],
                "dataDisks": [{ "name": "etcd", "sizeGiB": 20, "provisioningMode": "Thin" }],
                "customVMXKeys": { "guestinfo.a/b": "~1", "guestinfo.metadata": "x" },
                "tagIDs": ["urn:vmomi:InventoryServiceTag:5736bf56-49f5-4667-b38c-b97e09dc9578:GLOBAL"],
                "pciDevices": [{ "deviceId": 4298, "vendorId": 4318, "customLabel": "gpu" }],
                "os": "Linux",
                "hardwareVersion": "vmx-17",
            } } }),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            owners: Vec::new(),
        })),
        ..source("vsphere")
    }
}

#[test]
fn a_template_of_vsphere_is_carried_but_for_the_vm_that_it_names() {
    let source = of_vsphere();
    let before = source.content.as_ref().unwrap().spec.pointer("/template/spec").unwrap();
    let spec = |extra: &[(&str, Value)]| {
        let minted = minted(&source, "v1.34.3", &[(IMAGE, json!("/DC0/vm/ubuntu-v1.34.3"))], extra).unwrap();
        assert_eq!(
            minted.object.pointer("/spec/template/metadata/labels/team"),
            Some(&json!("red"))
        );
        minted.object.pointer("/spec/template/spec").unwrap().clone()
    };
    let mut expected = before.clone();
    expected["template"] = json!("/DC0/vm/ubuntu-v1.34.3");
    expected.as_object_mut().unwrap().remove("providerID");
    assert_eq!(spec(&[]), expected);
    // What differs from pool to pool is set by the upgrade's patches, and nothing else changes with it.
    let network = json!({ "devices": [{ "networkName": "DMZ", "dhcp6": true }] });
    for (field, value) in [
        ("resourcePool", json!("/DC0/host/DC0_C1/Resources")),
        ("datastore", json!("LocalDS_1")),
        ("network", network),
        ("network/devices", json!([{ "networkName": "DMZ", "dhcp4": true }])),
        ("failureDomain", json!("zone-b")),
        ("cloneMode", json!("fullClone")),
        ("snapshot", json!("other")),
        ("tagIDs", json!([])),
        ("customVMXKeys/guestinfo.a~1b", json!("c")),
    ] {
        let mut expected = expected.clone();
        *expected.pointer_mut(&format!("/{field}")).unwrap() = value.clone();
        let pointer = format!("/spec/template/spec/{field}");
        assert_eq!(spec(&[(&pointer, value)]), expected, "{field}");
    }
}

#[test]
fn no_patch_names_a_vm_that_exists() {
    let source = of_vsphere();
    let extra = [("/spec/template/spec/providerID", json!("vsphere://1"))];
    let minted = minted(&source, "v1.34.3", &[(IMAGE, json!("u"))], &extra);
    let provider_id = minted.map(|minted| minted.object.pointer("/spec/template/spec/providerID").cloned());
    assert_eq!(provider_id, Ok(None));
}
