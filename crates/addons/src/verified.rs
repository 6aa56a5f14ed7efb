//! The workloads that are verified at the end of an upgrade, as gates of its last point.

use instar_api::{ClusterSide, NamedWorkload, Observe, WorkloadKind};
use instar_planner::{AddonOwner, ControlPlane, Flavor, KubeadmAddon};

use crate::{
    rollout::{ImageTag, Rollout},
    verdict::Gate,
};

/// A workload of the workload cluster that has to be rolled out.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedWorkload {
    pub(crate) owner: AddonOwner,
    pub(crate) gate: Gate,
}

/// Whether a workload may be missing.
#[derive(Clone, Copy)]
enum Presence {
    Required,
    Optional,
}

impl Presence {
    const fn least(self) -> u16 {
        match self {
            Self::Required => 1,
            Self::Optional => 0,
        }
    }
}

/// What a KubeadmControlPlane updates once its Machines are there: kube-proxy to the version, CoreDNS to the tag of its
/// spec, which the release pins; without one, any tag will do. One that isn't there was left out or replaced by its user,
/// and one that Cluster API leaves alone is the user's. Other control planes have other ways.
/// Source: `UpdateKubeProxyImageInfo` and `UpdateCoreDNS` of cluster-api's controlplane/kubeadm/pkg.
#[must_use]
pub fn system_workloads(control_plane: &ControlPlane) -> Vec<VerifiedWorkload> {
    let Flavor::Kubeadm {
        cluster_configuration, ..
    } = &control_plane.flavor
    else {
        return Vec::new();
    };
    let of = |addon: KubeadmAddon| {
        let (kind, name, tag) = match addon {
            // Tags have no plus sign.
            KubeadmAddon::KubeProxy => {
                let tag = control_plane.version.to_string().replace('+', "_");
                (WorkloadKind::DaemonSet, "kube-proxy", Some(tag))
            }
            KubeadmAddon::CoreDns => {
                let tag = cluster_configuration.dns.image_tag.clone();
                (WorkloadKind::Deployment, "coredns", tag)
            }
        };
        // The container has the name of its workload.
        let image = tag.map(|tag| ImageTag { container: name, tag });
        VerifiedWorkload {
            owner: AddonOwner::Kubernetes,
            gate: gate(name.to_owned(), (kind, "kube-system", name), Presence::Optional, image),
        }
    };
    let updated = KubeadmAddon::ALL.into_iter();
    updated
        .filter(|addon| !control_plane.skipped_addons.contains(addon))
        .map(of)
        .collect()
}

/// Those that a policy names.
pub fn named_workloads<'a>(
    policy: &'a str,
    workloads: &'a [NamedWorkload],
) -> impl Iterator<Item = VerifiedWorkload> + 'a {
    workloads.iter().map(move |workload| {
        let NamedWorkload { kind, namespace, name } = workload;
        VerifiedWorkload {
            owner: AddonOwner::Policy(policy.to_owned()),
            gate: gate(workload.to_string(), (*kind, namespace, name), Presence::Required, None),
        }
    })
}

fn gate(
    called: String,
    (kind, namespace, name): (WorkloadKind, &str, &str),
    presence: Presence,
    image: Option<ImageTag>,
) -> Gate {
    let observe = Observe {
        cluster: ClusterSide::Workload,
        api_version: "apps/v1".to_owned(),
        kind: kind.as_str().to_owned(),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        label_selector: None,
        min_objects: presence.least(),
    };
    Gate::of_rollout(called, observe, Rollout { kind, image })
}
