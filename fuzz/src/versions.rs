//! Versions, minors, their order and their skew.

use std::cmp::Ordering;

use instar_domain::{
    BuildOrder, KubeVersion, Minor,
    skew::{self, ApiServers},
};

/// What is kept of a text in the message of a refusal, and the words around it.
const LONGEST_REFUSAL: usize = 1024;

/// A version is read as it is printed, versions have one order whichever is asked, and no skew is
/// too odd for a verdict. The input is a text on each line.
pub fn versions(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let read: Vec<KubeVersion> = text.split('\n').take(4).filter_map(read).collect();
    for a in &read {
        assert_eq!(a.compare(a), BuildOrder::Equal, "{a} and itself");
        for b in &read {
            two(a, b);
            for c in &read {
                three(a, b, c);
            }
        }
    }
}

fn read(text: &str) -> Option<KubeVersion> {
    if let Ok(minor) = text.parse::<Minor>() {
        assert_eq!(minor.to_string(), text, "a minor is printed as it was read");
    }
    match text.parse::<KubeVersion>() {
        Ok(version) => {
            assert_eq!(version.to_string(), text, "a version is printed as it was read");
            let json = serde_json::to_string(&version).expect("a version has a JSON form");
            let again: KubeVersion = serde_json::from_str(&json).expect("its JSON form is a version");
            assert_eq!(again, version);
            let minor = version.minor().to_string();
            assert_eq!(minor.parse(), Ok(version.minor()), "{minor}");
            Some(version)
        }
        Err(refusal) => {
            assert!(refusal.to_string().len() < LONGEST_REFUSAL, "{refusal}");
            None
        }
    }
}

fn two(a: &KubeVersion, b: &KubeVersion) {
    let (there, back) = (a.compare(b), b.compare(a));
    let turned = match there {
        BuildOrder::Less => BuildOrder::Greater,
        BuildOrder::Greater => BuildOrder::Less,
        BuildOrder::Equal => BuildOrder::Equal,
        BuildOrder::Different => BuildOrder::Different,
    };
    assert_eq!(back, turned, "{b} and {a}");
    match a.precedence(b) {
        Ordering::Less => assert_eq!(there, BuildOrder::Less, "{a} and {b}"),
        Ordering::Greater => assert_eq!(there, BuildOrder::Greater, "{a} and {b}"),
        Ordering::Equal => assert_eq!((a.minor(), a.patch()), (b.minor(), b.patch()), "{a} and {b}"),
    }
    assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a} and {b}");
    assert_eq!(a == b, a.cmp(b) == Ordering::Equal, "{a} and {b}");
    assert_eq!(skew::api_servers(a, b), skew::api_servers(b, a), "{a} and {b}");
    assert_eq!(
        skew::kubelet(a, b),
        skew::kubelet_with(a, &ApiServers::at(b)),
        "{a} below {b}"
    );
    let same_minor = a.minor() == b.minor();
    assert_eq!(skew::kubeadm_join(a, b).is_ok(), same_minor, "{a} joins {b}");
    assert!(!same_minor || skew::kubeadm_installs(a, b).is_ok(), "{a} installs {b}");
    assert!(
        !same_minor || skew::kubeadm_with_kubelet(a, b).is_ok(),
        "{a} starts {b}"
    );
}

fn three(a: &KubeVersion, b: &KubeVersion, c: &KubeVersion) {
    if a <= b && b <= c {
        assert!(a <= c, "{a}, {b} and {c}");
    }
    let servers = ApiServers::observed([b, c]).expect("two are some");
    assert!(servers.lowest() <= servers.highest(), "{b} and {c}");
    let kubelet = skew::kubelet_with(a, &servers);
    if kubelet.is_ok() {
        assert!(
            skew::kubelet(a, b).is_ok() && skew::kubelet(a, c).is_ok(),
            "{a} below {b} and {c}"
        );
    }
    // A kube-proxy of the kubelet's version has the kubelet's limits.
    assert_eq!(skew::kube_proxy_with(a, a, &servers), kubelet, "{a} below {b} and {c}");
    if let Err(violation) = skew::kube_proxy_with(a, b, &servers) {
        assert!(!violation.to_string().is_empty());
    }
}
