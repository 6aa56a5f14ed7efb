use instar_domain::KubeVersion;
use jiff::civil::Date;
use serde_json::json;

use super::*;
use crate::Resolved;

fn rows() -> Vec<(String, KubernetesReleaseSpec)> {
    [
        ("v1.34.3-1", "v1.34.3", ""),
        ("v1.35.4-1", "v1.35.4", ""),
        ("flatcar-v1.34.3", "v1.34.3", "flatcar"),
        ("flatcar-v1.35.5", "v1.35.5", "flatcar"),
        ("test-v1.36.3", "v1.36.3", "test"),
    ]
    .into_iter()
    .map(|(name, version, catalog)| {
        let spec = json!({ "version": version, "catalog": catalog });
        (name.to_owned(), serde_json::from_value(spec).unwrap())
    })
    .collect()
}

fn catalog(name: &str) -> Arc<Catalog> {
    let rows = rows();
    let rows = rows.iter().map(|(name, spec)| (name.as_str(), spec));
    Catalogs::new(rows).of(&CatalogName::from(name))
}

fn today() -> Date {
    "2026-11-20".parse().unwrap()
}

#[test]
fn each_catalog_resolves_within_itself() {
    for (name, asked, expected) in [
        ("", "v1.34", "v1.34.3-1"),
        ("flatcar", "v1.34", "flatcar-v1.34.3"),
        ("flatcar", "v1.34.3", "flatcar-v1.34.3"),
        ("", "v1.35", "v1.35.4-1"),
        ("flatcar", "v1.35", "flatcar-v1.35.5"),
        ("flatcar", "flatcar-v1.35.5", "flatcar-v1.35.5"),
        ("test", "v1.36.3", "test-v1.36.3"),
    ] {
        let catalog = catalog(name);
        let Ok(Resolved::Release(row)) = catalog.resolve(asked, None, None, today()) else {
            panic!("{asked} in {name:?}");
        };
        assert_eq!(row.name(), expected, "{asked} in {name:?}");
        assert_eq!(row.catalog(), catalog.name());
    }
}

#[test]
fn a_row_of_another_catalog_is_named_with_its_catalog() {
    for (name, asked, message) in [
        (
            "",
            "test-v1.36.3",
            "\"test-v1.36.3\" is a release of catalog test, and the Cluster's is the default catalog, which has v1.34.3, v1.35.4; the nearest that would work is v1.35.4",
        ),
        (
            "flatcar",
            "v1.36.3",
            "\"v1.36.3\" is in catalog test, and the Cluster's is catalog flatcar, which has v1.34.3, v1.35.5; the nearest that would work is v1.35.5",
        ),
        (
            "flatcar",
            "v1.36",
            "\"v1.36\" is in catalog test, and the Cluster's is catalog flatcar, which has v1.34.3, v1.35.5; the nearest that would work is v1.35.5",
        ),
        (
            "flatcar",
            "v1.35.4",
            "\"v1.35.4\" is in the default catalog, and the Cluster's is catalog flatcar, which has v1.34.3, v1.35.5; the nearest that would work is v1.35.5",
        ),
        (
            "test",
            "v1.40.0",
            "\"v1.40.0\" is not in catalog test; it has v1.36.3; the nearest that would work is v1.36.3",
        ),
        (
            "none",
            "v1.34.3",
            "\"v1.34.3\" is in catalog flatcar, and the Cluster's is catalog none, which is empty: create a KubernetesRelease with spec.catalog none first",
        ),
    ] {
        let miss = catalog(name).resolve(asked, None, None, today()).unwrap_err();
        assert_eq!(miss.to_string(), message);
    }
}

#[test]
fn what_runs_is_found_in_any_catalog() {
    let catalog = catalog("flatcar");
    let version: KubeVersion = "v1.34.3".parse().unwrap();
    assert_eq!(catalog.named("v1.34.3-1"), None);
    assert_eq!(catalog.named_anywhere("v1.34.3-1").unwrap().version(), &version);
    let names = |rows: Vec<&Release>| rows.into_iter().map(|row| row.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(catalog.rows_of(&version).collect()), ["flatcar-v1.34.3"]);
    assert_eq!(
        names(catalog.rows_anywhere(&version).collect()),
        ["flatcar-v1.34.3", "v1.34.3-1"]
    );
}

#[test]
fn a_row_that_cannot_be_read_is_left_out_of_its_catalog() {
    let mut rows = rows();
    rows[4].1.upgrades_from = Some("=>1".to_owned());
    let catalogs = Catalogs::new(rows.iter().map(|(name, spec)| (name.as_str(), spec)));
    let unreadable = |name: &str| catalogs.of(&CatalogName::from(name)).unreadable().len();
    assert_eq!((unreadable(""), unreadable("test")), (0, 1));
    assert_eq!(catalogs.unreadable().count(), 1);
}
