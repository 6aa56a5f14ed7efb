use proptest::prelude::*;

use super::*;

fn version(text: &str) -> KubeVersion {
    text.parse().unwrap()
}

fn between(one: &str, other: &str) -> ApiServers {
    ApiServers::observed(&[version(one), version(other)]).unwrap()
}

fn said(verdict: Result<(), SkewViolation>) -> String {
    verdict.map_or_else(|violation| violation.to_string(), |()| "fine".to_owned())
}

#[test]
fn a_kubelet_and_one_api_server() {
    for (node, server, expected) in [
        ("v1.34.0", "v1.34.9", "fine"),
        ("v1.34.9", "v1.34.0", "fine"),
        ("v1.35.0", "v1.34.9", "newer than the API server (v1.34)"),
        ("v1.31.0", "v1.34.0", "fine"),
        (
            "v1.30.0",
            "v1.34.0",
            "4 minors behind the API server (v1.34), where the limit is 3",
        ),
        ("v1.25.0", "v1.28.0", "fine"),
        ("v1.24.0", "v1.26.0", "fine"),
        (
            "v1.24.0",
            "v1.27.0",
            "3 minors behind the API server (v1.27), where the limit is 2",
        ),
        ("v1.34.0", "v2.0.0", "of another major than the API server (v2.0)"),
        ("v2.0.0", "v1.34.0", "of another major than the API server (v1.34)"),
        // A pre-release of a minor is of that minor, though it comes before the release.
        ("v1.35.0-rc.1", "v1.34.9", "newer than the API server (v1.34)"),
        ("v1.35.0", "v1.35.0-alpha.1", "fine"),
        (
            "v1.31.9",
            "v1.35.0-rc.1",
            "4 minors behind the API server (v1.35), where the limit is 3",
        ),
        ("v1.25.0-rc.1", "v1.28.0", "fine"),
        ("v1.34.3+vmware.9", "v1.34.3+vmware.1", "fine"),
        ("v1.35.0+a", "v1.34.3+b", "newer than the API server (v1.34)"),
    ] {
        let (node, server) = (version(node), version(server));
        assert_eq!(said(kubelet(&node, &server)), expected, "{node} below {server}");
        assert_eq!(
            kubelet(&node, &server),
            kubelet_with(&node, &ApiServers::at(&server)),
            "{node} below {server}"
        );
    }
}

#[test]
fn a_kubelet_and_a_control_plane_in_mid_rollout() {
    for (node, one, other, expected) in [
        ("v1.33.0", "v1.33.5", "v1.34.3", "fine"),
        (
            "v1.34.3",
            "v1.33.5",
            "v1.34.3",
            "newer than the lowest API server (v1.33)",
        ),
        ("v1.31.0", "v1.34.3", "v1.33.5", "fine"),
        (
            "v1.30.0",
            "v1.33.5",
            "v1.34.3",
            "4 minors behind the highest API server (v1.34), where the limit is 3",
        ),
        (
            "v1.24.17",
            "v1.26.0",
            "v1.27.0",
            "3 minors behind the highest API server (v1.27), where the limit is 2",
        ),
        ("v1.35.0", "v1.34.0", "v1.34.1", "newer than the API server (v1.34)"),
        (
            "v1.34.0",
            "v1.34.0",
            "v2.0.0",
            "of another major than the highest API server (v2.0)",
        ),
        (
            "v2.0.0",
            "v1.34.0",
            "v2.0.0",
            "of another major than the lowest API server (v1.34)",
        ),
    ] {
        let node = version(node);
        let verdict = kubelet_with(&node, &between(one, other));
        assert_eq!(said(verdict), expected, "{node} below {one} and {other}");
    }
}

#[test]
fn api_servers_of_one_control_plane() {
    for (one, other, expected) in [
        ("v1.33.5", "v1.34.3", "fine"),
        ("v1.34.0-rc.1", "v1.33.5+vmware.1", "fine"),
        (
            "v1.32.0",
            "v1.34.0-rc.1",
            "2 minors behind the highest API server (v1.34), where the limit is 1",
        ),
        (
            "v1.34.0",
            "v2.0.0",
            "of another major than the highest API server (v2.0)",
        ),
        (
            "v2.35.0",
            "v1.34.0",
            "of another major than the highest API server (v2.35)",
        ),
    ] {
        let (one, other) = (version(one), version(other));
        assert_eq!(said(api_servers(&one, &other)), expected, "{one} and {other}");
        assert_eq!(said(api_servers(&other, &one)), expected, "{other} and {one}");
    }
}

#[test]
fn a_kube_proxy_and_what_it_runs_with() {
    for (proxy, node, one, other, expected) in [
        ("v1.33.5", "v1.33.0", "v1.33.5", "v1.34.3", "fine"),
        (
            "v1.34.3",
            "v1.33.0",
            "v1.33.5",
            "v1.34.3",
            "newer than the lowest API server (v1.33)",
        ),
        (
            "v1.30.0",
            "v1.32.0",
            "v1.33.5",
            "v1.34.3",
            "4 minors behind the highest API server (v1.34), where the limit is 3",
        ),
        (
            "v1.24.0",
            "v1.25.0",
            "v1.27.0",
            "v1.27.0",
            "3 minors behind the API server (v1.27), where the limit is 2",
        ),
        // The kube-proxy grants the third minor, not the kubelet.
        ("v1.25.0", "v1.22.0", "v1.25.0", "v1.25.0", "fine"),
        (
            "v1.24.0",
            "v1.21.0",
            "v1.24.0",
            "v1.24.0",
            "3 minors newer than the kubelet beside it (v1.21), where the limit is 2",
        ),
        (
            "v1.24.0",
            "v1.27.0",
            "v1.26.0",
            "v1.26.0",
            "3 minors behind the kubelet beside it (v1.27), where the limit is 2",
        ),
        (
            "v1.34.0",
            "v2.0.0",
            "v1.34.0",
            "v1.34.0",
            "of another major than the kubelet beside it (v2.0)",
        ),
        (
            "v1.34.0",
            "v1.34.0",
            "v2.0.0",
            "v2.0.0",
            "of another major than the API server (v2.0)",
        ),
    ] {
        let (proxy, node) = (version(proxy), version(node));
        let verdict = kube_proxy_with(&proxy, &node, &between(one, other));
        assert_eq!(said(verdict), expected, "{proxy} beside {node} below {one} and {other}");
    }
}

#[test]
fn a_kubeadm_and_what_it_works_on() {
    let joined = "not of the same minor as the kubeadm that last created or upgraded the control plane (v1.34)";
    for (kubeadm, control_plane, expected) in [
        ("v1.34.9", "v1.34.3", "fine"),
        ("v1.34.0-rc.1", "v1.34.3+vmware.1", "fine"),
        ("v1.33.5", "v1.34.3", joined),
        ("v1.35.0", "v1.34.3", joined),
        (
            "v2.34.3",
            "v1.34.3",
            "of another major than the kubeadm that last created or upgraded the control plane (v1.34)",
        ),
    ] {
        let (kubeadm, control_plane) = (version(kubeadm), version(control_plane));
        assert_eq!(
            said(kubeadm_join(&kubeadm, &control_plane)),
            expected,
            "{kubeadm} to {control_plane}"
        );
    }
    for (kubeadm, target, expected) in [
        ("v1.34.0", "v1.34.3", "fine"),
        ("v1.34.0", "v1.33.5", "fine"),
        ("v1.34.0", "v1.35.0-rc.1", "newer than kubeadm (v1.34)"),
        (
            "v1.34.0",
            "v1.32.9",
            "2 minors behind kubeadm (v1.34), where the limit is 1",
        ),
        ("v2.0.0", "v1.34.0", "of another major than kubeadm (v2.0)"),
    ] {
        let (kubeadm, target) = (version(kubeadm), version(target));
        assert_eq!(
            said(kubeadm_installs(&kubeadm, &target)),
            expected,
            "{kubeadm} and {target}"
        );
    }
    for (kubeadm, node, expected) in [
        ("v1.34.0", "v1.34.3", "fine"),
        ("v1.34.0", "v1.31.0", "fine"),
        ("v1.26.0", "v1.23.0", "fine"),
        ("v1.34.9", "v1.35.0", "newer than kubeadm (v1.34)"),
        (
            "v1.34.0",
            "v1.30.9",
            "4 minors behind kubeadm (v1.34), where the limit is 3",
        ),
        ("v1.34.0", "v2.34.0", "of another major than kubeadm (v1.34)"),
    ] {
        let (kubeadm, node) = (version(kubeadm), version(node));
        assert_eq!(
            said(kubeadm_with_kubelet(&kubeadm, &node)),
            expected,
            "{kubeadm} and {node}"
        );
    }
}

#[test]
fn observed_versions_have_two_ends() {
    let versions = ["v1.34.3", "v1.33.5", "v1.34.0-rc.1"].map(version);
    let servers = ApiServers::observed(&versions).unwrap();
    assert_eq!(
        (servers.lowest(), servers.highest()),
        (&version("v1.33.5"), &version("v1.34.3"))
    );
    assert_eq!(ApiServers::observed(&[]), None);
}

/// Majors that are the same more often than not, minors near each other or at the ends of what fits.
fn any_version() -> impl Strategy<Value = KubeVersion> {
    let minor = prop_oneof![8 => 20u64..40, 1 => Just(0), 1 => Just(u64::MAX)];
    let major = prop_oneof![8 => Just(1u64), 1 => Just(0), 1 => Just(u64::MAX)];
    (major, minor, 0u64..3, "(-rc\\.[0-9])?", "(\\+[a-z]\\.[0-9])?")
        .prop_map(|(major, minor, patch, pre, build)| version(&format!("v{major}.{minor}.{patch}{pre}{build}")))
}

/// The same minor, with nothing after it.
fn bare(full: &KubeVersion) -> KubeVersion {
    version(&format!("{}.0", full.minor()))
}

proptest! {
    #[test]
    fn minors_alone_count(a in any_version(), b in any_version(), c in any_version(), d in any_version()) {
        let servers = ApiServers::observed([&c, &d]).unwrap();
        let (x, y) = (bare(&a), bare(&b));
        let bare_servers = ApiServers::observed(&[bare(&c), bare(&d)]).unwrap();
        prop_assert_eq!(kubelet_with(&a, &servers), kubelet_with(&x, &bare_servers));
        prop_assert_eq!(kube_proxy_with(&a, &b, &servers), kube_proxy_with(&x, &y, &bare_servers));
        prop_assert_eq!(kubelet(&a, &b), kubelet(&x, &y));
        prop_assert_eq!(api_servers(&a, &b), api_servers(&x, &y));
        prop_assert_eq!(kubeadm_join(&a, &b), kubeadm_join(&x, &y));
        prop_assert_eq!(kubeadm_installs(&a, &b), kubeadm_installs(&x, &y));
        prop_assert_eq!(kubeadm_with_kubelet(&a, &b), kubeadm_with_kubelet(&x, &y));
    }

    /// What one kubelet may, a newer one may that is not newer than the lowest API server.
    #[test]
    fn a_newer_kubelet_is_never_further_behind(node in 18u64..40, newer in 0u64..4, lowest in 18u64..40, apart in 0u64..3) {
        let at = |minor: u64| version(&format!("v1.{minor}.0"));
        let servers = ApiServers::observed(&[at(lowest), at(lowest + apart)]).unwrap();
        if kubelet_with(&at(node), &servers).is_ok() && node + newer <= lowest {
            prop_assert!(kubelet_with(&at(node + newer), &servers).is_ok());
        }
    }

    /// An API server more never allows what was refused.
    #[test]
    fn more_api_servers_never_allow_more(node in any_version(), proxy in any_version(), a in any_version(), b in any_version()) {
        let one = ApiServers::at(&a);
        let two = ApiServers::observed([&a, &b]).unwrap();
        if kubelet_with(&node, &one).is_err() {
            prop_assert!(kubelet_with(&node, &two).is_err());
        }
        if kube_proxy_with(&proxy, &node, &one).is_err() {
            prop_assert!(kube_proxy_with(&proxy, &node, &two).is_err());
        }
    }

    /// Upgrading a control plane only ever leaves kubelets behind.
    #[test]
    fn a_kubelet_that_was_left_behind_stays_so(node in any_version(), a in any_version(), b in any_version()) {
        let left = |server: &KubeVersion| matches!(kubelet(&node, server), Err(SkewViolation::TooFarBehind { .. }));
        if left(&a) && a.minor() <= b.minor() && a.minor().major == b.minor().major {
            prop_assert!(left(&b));
        }
    }
}
