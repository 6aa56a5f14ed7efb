//! Why Cluster API takes a Machine for one that isn't up to date, where it is: its kubelet's version has the mark of a
//! distribution, and the Machine's has another or none. Cluster API compares the two as texts.
//! Source: `setMachinesUpToDateCondition` and `setRollingOutCondition` of cluster-api's kubeadmcontrolplane, and the same of
//! its machine and machinedeployment, v1.14; <https://github.com/kubernetes-sigs/cluster-api/issues/14086>.

use instar_domain::KubeVersion;

/// Whether this is all that a condition's message gives as reasons, and there is one.
pub(super) fn are_all(message: &str) -> bool {
    let mut reasons = message.lines().filter(|line| !is_heading(line)).peekable();
    reasons.peek().is_some() && reasons.all(|reason| is_one(reason).unwrap_or(false))
}

/// How many machines it is about.
fn is_heading(line: &str) -> bool {
    line.starts_with("Rolling out ") && line.ends_with(" not up-to-date replicas")
}

fn is_one(reason: &str) -> Option<bool> {
    let versions = reason.strip_prefix("* Node.status.nodeInfo.kubeletVersion ")?;
    let (kubelet, machine) = versions.strip_suffix(" required")?.split_once(", ")?;
    let [kubelet, machine] = [kubelet, machine].map(|text| text.parse::<KubeVersion>().ok());
    Some(kubelet?.is_same_upstream(&machine?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_are_no_reason() {
        for (message, expected) in [
            (
                "* Node.status.nodeInfo.kubeletVersion v1.34.3+k0s, v1.34.3 required",
                true,
            ),
            (
                "Rolling out 2 not up-to-date replicas\n\
                 * Node.status.nodeInfo.kubeletVersion v1.34.3-eks-cb19647, v1.34.3 required\n\
                 * Node.status.nodeInfo.kubeletVersion v1.34.3-eks-0a1b2c3, v1.34.3 required",
                true,
            ),
            (
                "Rolling out 2 not up-to-date replicas\n* Version v1.33.5, v1.34.3 required\n\
                 * Node.status.nodeInfo.kubeletVersion v1.34.3+k0s, v1.34.3 required",
                false,
            ),
            (
                "* Node.status.nodeInfo.kubeletVersion v1.33.5+k0s, v1.34.3 required",
                false,
            ),
            (
                "* Node.status.nodeInfo.kubeletVersion v1.34.3-rc.1, v1.34.3 required",
                false,
            ),
            ("Rolling out 1 not up-to-date replicas", false),
            ("* In-place update in progress", false),
            ("", false),
        ] {
            assert_eq!(are_all(message), expected, "{message}");
        }
    }
}
