use serde_json::json;

use super::*;

fn pool(place: PoolPlace, image: &str, labels: &[(&str, &str)]) -> ObservedPool {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    ObservedPool {
        place,
        version: None,
        labels: labels.iter().map(owned).collect(),
        template: Some(Template {
            group: INFRASTRUCTURE.to_owned(),
            kind: "VSphereMachineTemplate".to_owned(),
            object: json!({ "spec": { "template": { "spec": { "template": image, "numCPUs": 4 } } } }),
        }),
    }
}

fn workers(name: &str) -> PoolPlace {
    PoolPlace::MachineDeployment(name.to_owned())
}

fn printed(pools: Vec<ObservedPool>, etcd: Option<&str>) -> String {
    let observed = ObservedCluster {
        version: "v1.33.5".parse().unwrap(),
        kubeadm: Some(ObservedKubeadm {
            etcd: ObservedEtcd::Stacked(ObservedComponent {
                tag: etcd.map(ToOwned::to_owned),
                repository: None,
            }),
            core_dns: ObservedComponent::default(),
        }),
        pools,
        unread: Vec::new(),
    };
    row(&observed, None, &Pointers::new()).yaml().unwrap()
}

#[test]
fn pools_that_share_an_image_share_an_entry() {
    let all = printed(
        vec![
            pool(PoolPlace::ControlPlane, "kube", &[]),
            pool(workers("md-0"), "kube", &[]),
        ],
        Some("3.5.26-0"),
    );
    assert!(
        all.contains("role: Any") && all.matches("kind: VSphere").count() == 1,
        "{all}"
    );
    assert!(all.contains("imageTag: 3.5.26-0") && !all.contains("safe way"), "{all}");
    let by_role = printed(
        vec![
            pool(PoolPlace::ControlPlane, "cp", &[]),
            pool(workers("md-0"), "kube", &[]),
            pool(workers("md-1"), "kube", &[]),
        ],
        None,
    );
    assert!(
        by_role.contains("role: ControlPlane") && by_role.contains("role: Worker"),
        "{by_role}"
    );
    assert_eq!(by_role.matches("kind: VSphere").count(), 2, "{by_role}");
    assert!(
        by_role.contains("kubeadm v1.33.5 brings 3.5.21-0") && by_role.contains("no safe way leads to 3.6"),
        "{by_role}"
    );
}

#[test]
fn pools_that_differ_are_told_apart_by_a_label() {
    let text = printed(
        vec![
            pool(PoolPlace::ControlPlane, "cp", &[]),
            pool(workers("gpu"), "kube-gpu", &[("arch", "amd64"), ("gpu", "true")]),
            pool(workers("md-0"), "kube", &[("arch", "amd64")]),
        ],
        None,
    );
    assert_eq!(text.matches("role: Worker").count(), 2, "{text}");
    assert!(text.contains("gpu: \"true\"") && !text.contains("arch"), "{text}");
    assert!(
        text.contains("what MachineDeployment md-0 has. Give its machines a label"),
        "{text}"
    );
}

#[test]
fn a_label_has_to_be_of_all_pools_with_the_image() {
    let gpu = ("gpu", "true");
    let shared = printed(
        vec![
            pool(workers("gpu-0"), "kube-gpu", &[("disk", "fast"), gpu]),
            pool(workers("gpu-1"), "kube-gpu", &[gpu]),
            pool(workers("md-0"), "kube", &[("size", "small")]),
        ],
        None,
    );
    assert!(shared.contains("gpu: \"true\"") && !shared.contains("disk"), "{shared}");
    assert_eq!(shared.matches("role: Worker").count(), 2, "{shared}");
    let each = printed(
        vec![
            pool(workers("md-0"), "kube", &[]),
            pool(workers("gpu-0"), "kube-gpu", &[("disk", "fast")]),
            pool(workers("gpu-1"), "kube-gpu", &[("site", "north")]),
        ],
        None,
    );
    assert_eq!(each.matches("role: Worker").count(), 3, "{each}");
    let at = |text: &str| each.find(text).unwrap();
    assert!(at("disk: fast") < at("site: north"), "{each}");
    assert!(
        at("site: north") < at("value: kube\n"),
        "none without labels before: {each}"
    );
}

#[test]
fn one_entry_at_most_has_no_label() {
    let text = printed(
        vec![
            pool(workers("md-0"), "kube", &[]),
            pool(workers("md-1"), "kube-other", &[]),
        ],
        None,
    );
    assert_eq!(text.matches("role: Worker").count(), 1, "{text}");
    assert!(text.contains("MachineDeployment md-1 has another image"), "{text}");
}

#[test]
fn an_image_of_workers_is_none_of_the_control_plane() {
    let text = printed(vec![pool(workers("md-0"), "kube", &[])], None);
    assert!(text.contains("role: Worker") && !text.contains("role: Any"), "{text}");
    assert!(text.contains("image of the control plane is missing"), "{text}");
    let mut unread = pool(PoolPlace::ControlPlane, "kube", &[]);
    unread.template = None;
    let text = printed(vec![unread, pool(workers("md-0"), "kube", &[])], None);
    assert!(text.contains("role: Worker") && !text.contains("role: Any"), "{text}");
}

#[test]
fn a_pool_of_another_version_is_told_of() {
    let mut behind = pool(workers("md-0"), "kube", &[]);
    behind.version = Some("v1.32.9".parse().unwrap());
    let text = printed(vec![pool(PoolPlace::ControlPlane, "kube", &[]), behind], None);
    assert!(
        text.contains("# Check: MachineDeployment md-0 is asked to run v1.32.9"),
        "{text}"
    );
}

#[test]
fn a_users_pointer_takes_the_place_of_what_is_known() {
    let template = json!({ "spec": { "template": { "spec": { "template": "kube", "numCPUs": 4, "disks": [1] } } } });
    let pointers = |pointers: &[&str]| {
        let pointers = pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
        Pointers::from([("VSphereMachineTemplate".to_owned(), pointers)])
    };
    let found = |pointers: &Pointers| {
        let values = values("VSphereMachineTemplate", INFRASTRUCTURE, &template, pointers);
        values
            .into_iter()
            .map(|value| serde_json::to_value(value).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found(&Pointers::new()),
        [json!({ "pointer": "/spec/template/spec/template", "value": "kube" })]
    );
    assert_eq!(
        found(&pointers(&[
            "/spec/template/spec/numCPUs",
            "/spec/template/spec/disks",
            "/spec/none"
        ])),
        [
            json!({ "pointer": "/spec/template/spec/numCPUs", "value": 4 }),
            json!({ "pointer": "/spec/template/spec/disks", "json": "[1]" }),
        ]
    );
}
