//! Upgrades, what they keep, and policies.

use instar_admission::cluster_state::{CachedUpgrade, Kept, TemplateKey};

use super::*;

fn upgrade(name: &str, cluster: &str, phase: &str, path: &[&str]) -> Value {
    json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "ClusterUpgrade",
        "metadata": {"name": name, "namespace": "ns", "generation": 2},
        "spec": {"clusterName": cluster, "target": "v1.36"},
        "status": {"phase": phase, "path": path, "observedGeneration": 2, "poolCount": 1},
    })
}

fn marked(mut upgrade: Value) -> Value {
    upgrade["metadata"]["annotations"] = json!({"upgrade.cluster.x-k8s.io/finished": "Completed"});
    upgrade
}

#[test]
fn upgrades_that_go_on_are_found_by_their_cluster_and_by_their_releases() {
    let fixture = Fixture::new();
    let mut edited = upgrade("edited", "one", "Completed", &["r2"]);
    edited["metadata"]["generation"] = json!(3);
    let mut moved = marked(upgrade("moved", "one", "Pending", &[]));
    moved["status"] = json!(null);
    let mut new = upgrade("new", "two", "Pending", &[]);
    new["status"] = json!(null);
    fixture.list::<Upgrade>([
        upgrade("going", "one", "Workers", &["r1", "r2"]),
        upgrade("held", "two", "Held", &["r2"]),
        upgrade("completed", "one", "Completed", &["r1"]),
        upgrade("refused", "one", "Refused", &["r1"]),
        edited,
        moved,
        // The status knows better than an annotation that wasn't taken away yet.
        marked(upgrade("again", "one", "ControlPlane", &["r1"])),
        new,
    ]);
    let seen = |name: &str, path: &[&str]| CachedUpgrade {
        override_window: None,
        name: name.to_owned(),
        target: "v1.36".to_owned(),
        path: path.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(
        fixture.caches.upgrades("ns", "one"),
        [
            seen("again", &["r1"]),
            seen("edited", &["r2"]),
            seen("going", &["r1", "r2"])
        ]
    );
    assert_eq!(
        fixture.caches.upgrades("ns", "two"),
        [seen("held", &["r2"]), seen("new", &[])]
    );
    assert_eq!(fixture.caches.upgrading_to("r1"), ["ns/again", "ns/going"]);
    assert_eq!(fixture.caches.upgrading_to("r2"), ["ns/edited", "ns/going", "ns/held"]);

    fixture.apply::<Upgrade>(upgrade("going", "one", "Completed", &["r1", "r2"]));
    fixture.delete::<Upgrade>(upgrade("held", "two", "Held", &["r2"]));
    assert_eq!(fixture.caches.upgrading_to("r1"), ["ns/again"]);
    assert_eq!(fixture.caches.upgrading_to("r2"), ["ns/edited"]);
    assert_eq!(fixture.caches.upgrades("ns", "two"), [seen("new", &[])]);
}

#[test]
fn what_is_kept_is_found_by_its_template() {
    let fixture = Fixture::new();
    let template = |name: &str, state: &str, until: Option<&str>| json!({"kind": "DevMachineTemplate", "name": name, "release": "r1", "state": state, "keptUntil": until});
    let mut newest = upgrade("newest", "one", "Completed", &["r1"]);
    newest["status"]["templates"] = json!([
        template("old", "Kept", Some("2026-12-01T00:00:00Z")),
        template("used", "InUse", None),
        template("unused", "Unused", Some("2026-12-01T00:00:00Z")),
        template("set", "InMachineSet", None),
    ]);
    let mut older = upgrade("older", "one", "Completed", &["r1"]);
    older["status"]["templates"] = json!([template("old", "Kept", Some("2026-11-01T00:00:00Z"))]);
    fixture.list::<Upgrade>([newest.clone(), older.clone()]);
    let kept = |name: &'static str| {
        fixture.caches.kept(&TemplateKey {
            group: "infrastructure.cluster.x-k8s.io",
            kind: "DevMachineTemplate",
            namespace: "ns",
            name,
        })
    };
    let by = |upgrade: &str, until: Option<&str>| Kept {
        upgrade: upgrade.to_owned(),
        cluster: "one".to_owned(),
        until: until.map(|until| until.parse().unwrap()),
    };
    assert_eq!(kept("old"), Some(by("newest", Some("2026-12-01T00:00:00Z"))));
    for other in ["used", "unused", "set", "never"] {
        assert_eq!(kept(other), None, "{other}");
    }
    older["status"]["templates"] = json!([template("old", "Kept", None)]);
    fixture.apply::<Upgrade>(older.clone());
    assert_eq!(kept("old"), Some(by("older", None)));
    fixture.delete::<Upgrade>(older);
    newest["status"]["templates"] = json!([template("old", "InUse", None)]);
    fixture.apply::<Upgrade>(newest);
    assert_eq!(kept("old"), None);
}

#[test]
fn policies_are_found_by_their_namespace() {
    let fixture = Fixture::new();
    let policy = |namespace: &str, name: &str, tier: &str| {
        json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "UpgradePolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterSelector": {"matchLabels": {"tier": tier}}},
        })
    };
    let mut odd = policy("a", "odd", "gold");
    odd["spec"]["rules"] = json!("none");
    fixture.list::<Policy>([
        policy("a", "two", "silver"),
        policy("a", "one", "gold"),
        policy("b", "one", "lead"),
        odd,
    ]);
    let tiers = |namespace: &str| -> Vec<String> {
        let policies = fixture.caches.policies(namespace);
        let selectors = policies
            .iter()
            .map(|policy| policy.cluster_selector.match_labels.clone().unwrap());
        selectors.map(|labels| labels["tier"].clone()).collect()
    };
    assert_eq!(tiers("a"), ["gold", "silver"]);
    assert_eq!(tiers("b"), ["lead"]);
    fixture.apply::<Policy>(policy("a", "one", "tin"));
    fixture.delete::<Policy>(policy("a", "two", "silver"));
    assert_eq!(tiers("a"), ["tin"]);
    assert!(tiers("c").is_empty());
}
