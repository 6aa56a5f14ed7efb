use instar_api::KubernetesReleaseSpec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn row(name: &str, version: &str, revision: u32, tier: &str) -> (String, KubernetesReleaseSpec) {
    let spec = serde_json::from_value(json!({"version": version, "revision": revision, "support": {"tier": tier}}));
    (name.to_owned(), spec.unwrap())
}

fn rows() -> Vec<(String, KubernetesReleaseSpec)> {
    vec![
        row("v1.33.5-1", "v1.33.5", 1, "Deprecated"),
        row("v1.34.3-1", "v1.34.3", 1, "Supported"),
        row("v1.34.3-2", "v1.34.3", 2, "Supported"),
        row("v1.34.3-3", "v1.34.3", 3, "Preview"),
        row("v1.35.4-1", "v1.35.4", 1, "Supported"),
        row("v1.35.5-1", "v1.35.5", 1, "Preview"),
        row("fleet-36", "v1.36.3", 1, "Latest"),
    ]
}

fn catalog() -> Catalog {
    let rows = rows();
    Catalog::new(rows.iter().map(|(name, spec)| (name.as_str(), spec)))
}

fn today() -> Date {
    "2026-11-20".parse().unwrap()
}

fn resolve(asked: &str, present: Option<&str>, offered: Option<&[&str]>) -> Result<String, String> {
    let present: Option<KubeVersion> = present.map(|text| text.parse().unwrap());
    let offered: Option<Vec<KubeVersion>> = offered.map(|list| list.iter().map(|text| text.parse().unwrap()).collect());
    let catalog = catalog();
    match catalog.resolve(asked, present.as_ref(), offered.as_deref(), today()) {
        Ok(Resolved::Unchanged) => Ok("unchanged".to_owned()),
        Ok(Resolved::Release(row)) => Ok(row.name().to_owned()),
        Err(miss) => Err(miss.to_string()),
    }
}

#[test]
fn resolves() {
    for (asked, present, expected) in [
        ("v1.36.3", None, "fleet-36"),
        ("1.36.3", None, "fleet-36"),
        ("1.35", None, "v1.35.4-1"),
        ("1.34", Some("v1.34.1"), "unchanged"),
        ("v1.34.3", None, "v1.34.3-2"),
        ("v1.34.3-1", None, "v1.34.3-1"),
        ("v1.34.3-3", None, "v1.34.3-3"),
        ("fleet-36", None, "fleet-36"),
        ("vfleet-36", None, "fleet-36"),
        ("v1.35", None, "v1.35.4-1"),
        ("v1.35.5", None, "v1.35.5-1"),
        ("v1.33.5", None, "v1.33.5-1"),
        ("v1.35", Some("v1.34.3"), "v1.35.4-1"),
        // What runs is what was asked for, even where the catalog has newer rows, or none.
        ("v1.34", Some("v1.34.1"), "unchanged"),
        ("v1.34.3", Some("v1.34.3"), "unchanged"),
        ("v1.30", Some("v1.30.9"), "unchanged"),
        // A row that is named is meant, also at the version that runs.
        ("v1.34.3-2", Some("v1.34.3"), "v1.34.3-2"),
    ] {
        assert_eq!(
            resolve(asked, present, None).as_deref(),
            Ok(expected),
            "{asked} at {present:?}"
        );
    }
}

#[test]
fn a_prefix_takes_only_what_is_offered() {
    assert_eq!(resolve("v1.35", None, Some(&["v1.35.4"])).as_deref(), Ok("v1.35.4-1"));
    assert_eq!(
        resolve("v1.36", Some("v1.34.3"), Some(&["v1.34.3", "v1.35.4"])).unwrap_err(),
        "\"v1.36\" has no row whose version the class lists in kubernetesVersions; it has v1.33.5, v1.34.3, v1.35.4, v1.35.5, v1.36.3; the nearest that would work is v1.35.4"
    );
}

#[test]
fn a_miss_explains_itself() {
    for (asked, present, message) in [
        (
            "v1.37.0",
            None,
            "\"v1.37.0\" is not in the catalog; it has v1.33.5, v1.34.3, v1.35.4, v1.35.5, v1.36.3; the nearest that would work is v1.36.3",
        ),
        (
            "v1.35.9",
            None,
            "\"v1.35.9\" is not in the catalog; it has v1.33.5, v1.34.3, v1.35.4, v1.35.5, v1.36.3; the nearest that would work is v1.35.4",
        ),
        (
            "v1.34.3-9",
            None,
            "\"v1.34.3-9\" is not in the catalog; it has v1.33.5, v1.34.3, v1.35.4, v1.35.5, v1.36.3; the nearest that would work is v1.34.3-2",
        ),
        (
            "v1.36.3-rc.1",
            None,
            "\"v1.36.3-rc.1\" is not in the catalog; it has v1.33.5, v1.34.3, v1.35.4, v1.35.5, v1.36.3; the nearest that would work is v1.36.3",
        ),
        (
            "v1.33",
            None,
            "\"v1.33\" has no row that is supported (name a full version to take one that isn't); it has v1.33.5, v1.34.3, v1.35.4, v1.35.5, v1.36.3; the nearest that would work is v1.34.3",
        ),
        (
            "banana",
            Some("v1.36.3"),
            "\"banana\" is not in the catalog; it has v1.33.5, v1.34.3, v1.35.4, v1.35.5, v1.36.3; none of them would work",
        ),
    ] {
        assert_eq!(resolve(asked, present, None).unwrap_err(), message);
    }
    let empty = Catalog::default();
    assert_eq!(
        empty.resolve("v1.34.3", None, None, today()).unwrap_err().to_string(),
        "\"v1.34.3\" is not in the catalog, which is empty: create a KubernetesRelease first"
    );
}

#[test]
fn rows_that_cannot_be_read_are_left_out_and_named() {
    let (name, mut spec) = row("bad", "v1.34.3", 9, "Supported");
    spec.upgrades_from = Some("=>1".to_owned());
    let catalog = Catalog::new([(name.as_str(), &spec)]);
    assert_eq!(catalog.versions().count(), 0);
    assert!(
        catalog.unreadable()[0]
            .to_string()
            .starts_with("KubernetesRelease bad: spec.upgradesFrom")
    );
}

proptest! {
    #[test]
    fn the_order_of_rows_does_not_matter(seed in Just(rows()).prop_shuffle(), asked in "(v1\\.3[3-7](\\.[3-5])?|fleet-36|v1\\.34\\.3-[1-4])") {
        let shuffled = Catalog::new(seed.iter().map(|(name, spec)| (name.as_str(), spec)));
        let sorted = catalog();
        prop_assert_eq!(shuffled.resolve(&asked, None, None, today()), sorted.resolve(&asked, None, None, today()));
    }

    #[test]
    fn what_is_unchanged_is_what_runs(asked in "\\PC{0,20}", minor in 30u64..38) {
        let present: KubeVersion = format!("v1.{minor}.1").parse().unwrap();
        let catalog = catalog();
        if let Ok(Resolved::Unchanged) = catalog.resolve(&asked, Some(&present), None, today()) {
            let present = present.to_string();
            prop_assert!(present.starts_with(&asked) || present.trim_start_matches('v').starts_with(&asked));
        }
    }
}
