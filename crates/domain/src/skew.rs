//! How far apart the parts of a cluster may be.
//!
//! Sources: Kubernetes' version skew policy (kubernetes.io/releases/version-skew-policy) and
//! kubeadm's (in "Creating a cluster with kubeadm"). What is left out: kubectl, which is no part of
//! a cluster, and the controller manager and the scheduler, which come in one image with their API
//! server. That no minor is skipped is [`api_servers`]: in an upgrade, old and new run beside each
//! other.
//!
//! Minors alone count. Patches, pre-releases and build tags never do, and of two majors nothing can
//! be said but that they differ.

mod api_servers;
mod limits;
mod violation;

pub use api_servers::ApiServers;
pub use violation::{Part, Peer, SkewViolation};

use crate::{KubeVersion, Minor};
use limits::{not_newer, same_major, same_minor, within_ahead, within_behind};

/// From this minor on kubelets and kube-proxies may be three minors behind; before it, two.
const THREE_SINCE: Minor = Minor { major: 1, minor: 25 };

/// How many minors API servers may be apart.
const API_SERVERS_APART: u64 = 1;

/// How many minors what kubeadm installs may be behind kubeadm.
const INSTALLED_BEHIND: u64 = 1;

/// How many minors the kubelet of a machine may be behind its kubeadm.
const KUBELET_BEHIND_KUBEADM: u64 = 3;

/// How many minors a kubelet may be behind its API server.
#[must_use]
pub fn kubelet_may_be_behind(kubelet: Minor) -> u64 {
    two_or_three(kubelet)
}

/// Kubernetes grants the third minor to what is new enough for it, be it the older side or not.
fn two_or_three(part: Minor) -> u64 {
    if part < THREE_SINCE { 2 } else { 3 }
}

/// Whether two API servers may run beside each other: "the newest and oldest kube-apiserver
/// instances must be within one minor version". Which is given first is no matter.
///
/// # Errors
/// What the lower one is, seen from the higher one.
pub fn api_servers(lowest: &KubeVersion, highest: &KubeVersion) -> Result<(), SkewViolation> {
    let (lowest, highest) = (lowest.minor(), highest.minor());
    let peer = Part::HighestApiServer.at(lowest.max(highest));
    let lowest = lowest.min(highest);
    same_major(lowest, peer)?;
    within_behind(lowest, peer, API_SERVERS_APART)
}

/// Whether a kubelet may run against one API server.
///
/// # Errors
/// What the kubelet is, seen from the API server.
pub fn kubelet(kubelet: &KubeVersion, api_server: &KubeVersion) -> Result<(), SkewViolation> {
    let peer = Part::ApiServer.at(api_server.minor());
    node_part(kubelet.minor(), peer, peer)
}

/// Whether a kubelet may run against every API server of a control plane: "kubelet must not be
/// newer than kube-apiserver", and "may be up to three minor versions older" (two before v1.25).
/// Where API servers differ, the lowest is the limit above and the highest the limit below.
///
/// # Errors
/// What the kubelet is, seen from the API server whose limit it breaks.
pub fn kubelet_with(kubelet: &KubeVersion, api_servers: &ApiServers) -> Result<(), SkewViolation> {
    let (lowest, highest) = api_servers.peers();
    node_part(kubelet.minor(), lowest, highest)
}

/// Whether a kube-proxy may run beside a kubelet, against every API server of a control plane.
///
/// Against API servers its rules are the kubelet's, by its own version. Beside the kubelet it "may
/// be up to three minor versions older or newer", and "kube-proxy < 1.25 may only be up to two minor
/// versions older or newer": it is the version of the kube-proxy that grants the third, whatever the
/// kubelet's is.
///
/// # Errors
/// What the kube-proxy is, seen from the part whose limit it breaks.
pub fn kube_proxy_with(
    kube_proxy: &KubeVersion,
    kubelet: &KubeVersion,
    api_servers: &ApiServers,
) -> Result<(), SkewViolation> {
    let proxy = kube_proxy.minor();
    let kubelet = Part::Kubelet.at(kubelet.minor());
    let (lowest, highest) = api_servers.peers();
    same_major(proxy, kubelet)?;
    node_part(proxy, lowest, highest)?;
    let allowed = two_or_three(proxy);
    within_behind(proxy, kubelet, allowed)?;
    within_ahead(proxy, kubelet, allowed)
}

/// Whether a machine may join with its kubeadm, which has to be of the major and the minor of the one
/// that last created or upgraded the control plane. The images that Cluster API boots have a kubeadm
/// of the Machine's own version.
///
/// # Errors
/// What the joining kubeadm is, seen from that of the control plane.
pub fn kubeadm_join(kubeadm: &KubeVersion, control_plane: &KubeVersion) -> Result<(), SkewViolation> {
    let (kubeadm, peer) = (kubeadm.minor(), Part::KubeadmOfControlPlane.at(control_plane.minor()));
    same_major(kubeadm, peer)?;
    same_minor(kubeadm, peer)
}

/// Whether kubeadm can install a Kubernetes version: one of its own minor, or of the one before.
///
/// # Errors
/// What the version is, seen from kubeadm.
pub fn kubeadm_installs(kubeadm: &KubeVersion, target: &KubeVersion) -> Result<(), SkewViolation> {
    at_or_behind(target.minor(), Part::Kubeadm.at(kubeadm.minor()), INSTALLED_BEHIND)
}

/// Whether kubeadm can start the kubelet on its machine: one of its own minor, or up to three older.
/// kubeadm's policy knows no exception for old kubelets; what they may be behind their API server is
/// [`kubelet_with`].
///
/// # Errors
/// What the kubelet is, seen from kubeadm.
pub fn kubeadm_with_kubelet(kubeadm: &KubeVersion, kubelet: &KubeVersion) -> Result<(), SkewViolation> {
    at_or_behind(
        kubelet.minor(),
        Part::Kubeadm.at(kubeadm.minor()),
        KUBELET_BEHIND_KUBEADM,
    )
}

/// How many minors older than its API server a kubelet may be: 3, and 2 before v1.25.
#[must_use]
pub fn kubelet_lag(kubelet: Minor) -> u64 {
    two_or_three(kubelet)
}

/// Majors come before all minors: a part that is of another one is not "newer" or "behind".
fn node_part(part: Minor, lowest: Peer, highest: Peer) -> Result<(), SkewViolation> {
    same_major(part, lowest)?;
    same_major(part, highest)?;
    not_newer(part, lowest)?;
    within_behind(part, highest, two_or_three(part))
}

fn at_or_behind(part: Minor, peer: Peer, allowed: u64) -> Result<(), SkewViolation> {
    same_major(part, peer)?;
    not_newer(part, peer)?;
    within_behind(part, peer, allowed)
}

#[cfg(test)]
mod tests;
