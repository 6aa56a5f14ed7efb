//! Properties of sequences of edits.

use proptest::prelude::*;

use super::*;

/// A change of the Cluster, or of the catalog.
#[derive(Debug, Clone)]
enum Edit {
    Version(String),
    Drop,
    Garble(String),
    AddPool(u8, bool),
    RemovePool(u8),
    NameByHand(u8, u8),
    NewRow(u8, u8),
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => "v1\\.3[2-7](\\.[0-9])?|r3[3-6]|r3[3-6]-[1-3]|[a-z.]{0,6}".prop_map(Edit::Version),
        1 => Just(Edit::Drop),
        1 => "\\PC{0,20}".prop_map(Edit::Garble),
        1 => (0u8..4, any::<bool>()).prop_map(|(pool, arm)| Edit::AddPool(pool, arm)),
        1 => (0u8..4).prop_map(Edit::RemovePool),
        1 => (33u8..37, 1u8..4).prop_map(|(minor, revision)| Edit::NameByHand(minor, revision)),
        1 => (33u8..37, 1u8..4).prop_map(|(minor, revision)| Edit::NewRow(minor, revision)),
    ]
}

fn patch_of(minor: u8) -> &'static str {
    match minor {
        33 => "v1.33.5",
        34 => "v1.34.3",
        35 => "v1.35.4",
        _ => "v1.36.3",
    }
}

fn apply(edit: &Edit, cluster: &mut Value) {
    let pools = |cluster: &mut Value| {
        cluster["spec"]["topology"]["workers"]["machineDeployments"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    match edit {
        Edit::Version(version) => set_version(version)(cluster),
        Edit::Drop => cluster["metadata"]["annotations"] = json!({}),
        Edit::Garble(text) => cluster["metadata"]["annotations"][RELEASES_ANNOTATION] = json!(text),
        Edit::AddPool(pool, arm) => {
            let mut all = pools(cluster);
            all.retain(|old| old["name"] != format!("p{pool}"));
            all.push(json!({"class": if *arm { "arm" } else { "worker" }, "name": format!("p{pool}")}));
            cluster["spec"]["topology"]["workers"]["machineDeployments"] = json!(all);
        }
        Edit::RemovePool(pool) => {
            let mut all = pools(cluster);
            all.retain(|old| old["name"] != format!("p{pool}"));
            cluster["spec"]["topology"]["workers"]["machineDeployments"] = json!(all);
        }
        Edit::NameByHand(minor, revision) => {
            let mut named = pins(cluster);
            named.releases.insert(
                v(patch_of(*minor)),
                Pin {
                    release: format!("r{minor}-{revision}"),
                    ..Pin::default()
                },
            );
            cluster["metadata"]["annotations"][RELEASES_ANNOTATION] = json!(named.to_annotation());
        }
        Edit::NewRow(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Whatever is done, in whatever order: a verdict comes, a second look finds nothing to do
    /// (seen in `write`), the version that runs stays pinned as it was unless another row of it
    /// was named, and every version on the way has a pin.
    #[test]
    fn pins_hold(script in prop::collection::vec(edits(), 1..12)) {
        let mut world = World::new();
        let mut now = world.create("v1.33.5");
        for edit in script {
            if let Edit::NewRow(minor, revision) = edit {
                world.rows.retain(|(name, _)| *name != format!("r{minor}-{revision}"));
                world.rows.push(row(&format!("r{minor}-{revision}"), patch_of(minor), "3.6.5-0"));
                continue;
            }
            let Ok((next, _)) = world.edit(&now, |cluster| apply(&edit, cluster)) else { continue };
            let (before, after) = (pins(&now), pins(&next));
            let runs: KubeVersion = now["spec"]["topology"]["version"].as_str().unwrap().parse().unwrap();
            let wanted: KubeVersion = next["spec"]["topology"]["version"].as_str().unwrap().parse().unwrap();
            prop_assert!(after.covers(&runs) && after.covers(&wanted), "{edit:?}: {after:?}");
            for minor in runs.minor().minor..=wanted.minor().minor {
                prop_assert!(after.releases.keys().any(|version| version.minor().minor == minor), "{edit:?}: {after:?}");
            }
            let (was, is) = (&before.releases[&runs], &after.releases[&runs]);
            let named = match &edit {
                Edit::Version(text) => text.starts_with('r'),
                Edit::NameByHand(..) => true,
                Edit::Drop | Edit::Garble(_) | Edit::AddPool(..) | Edit::RemovePool(_) | Edit::NewRow(..) => false,
            };
            if !named {
                prop_assert_eq!((&was.release, &was.kubeadm, &was.control_plane), (&is.release, &is.kubeadm, &is.control_plane), "{:?}", edit);
                for pool in ["md-0", "md-1"] {
                    prop_assert_eq!(was.machine_deployment(pool), is.machine_deployment(pool), "{:?}", edit);
                }
            }
            now = next;
        }
    }
}
